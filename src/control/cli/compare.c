/* SPDX-License-Identifier: Apache-2.0 */
/* umbra compare: techniques of meeting a shortage, measured on one guest and one workload. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/command.h"
#include "control/compare/report.h"
#include "control/compare/series.h"
#include "control/duration.h"
#include "control/paths.h"
#include "control/size.h"
#include "control/vm.h"

#define MIB       (UINT64_C(1) << 20)
#define GUEST_OWN (88 * MIB)
/* So little that booting alone is a shortage. */
#define RESTART_SPARE (8 * MIB)
#define ROUNDS_MOST   64
#define SECONDS_MOST  3600

static const struct option_spec compare_options[] = {
    {"workload", "NAME", "sequential, random, hot, read, restart (default hot)"},
    {"command", "TEXT", "the workload is this command of the guest's shell, over and over"},
    {"means", "LIST", "enough, balloon, swap, cures, compress, smart, ladder (default all)"},
    {"memory", "SIZE", "what the guest believes it has (default 512M)"},
    {"limit", "SIZE", "what the VM may hold in the shortage (default: a half of --memory)"},
    {"load", "SIZE", "what the workload uses (default: three quarters of --memory, or less)"},
    {"seconds", "TIME", "how long each run is measured (default 10s)"},
    {"rounds", "N", "so often, and medians of the figures (default 1)"},
    {"quick", NULL, "a first look: --memory 192M --limit 128M --seconds 3"},
    {"json", "FILE", "write all figures and samples as JSON; -: to standard output"},
    {"html", "FILE", "write one self-contained page with plots"},
    {"kernel", "FILE", "kernel of the guest (default: the cached guest's)"},
    {"initrd", "FILE", "its initramfs, whose /init runs /umbra-run (default: the cached guest's)"},
    {"dir", "DIR", "where temporary files and swap files lie (default $TMPDIR, or /var/tmp)"},
    {NULL, NULL, NULL},
};

struct compare_words {
    struct compare_plan plan;
    const char *json, *html;
    bool quick, has_workload;
    char kernel[512], initrd[512], program[512];
};

static void print_help(void)
{
    puts(
        "umbra compare [options]\n\n"
        "Runs one guest with one workload under one shortage of host memory, again and again, each "
        "time\nwith other means of meeting it, and tells what each costs: as measured.\n\n"
        "Examples:\n"
        "  umbra compare --quick\n"
        "  umbra compare --workload random --rounds 3 --html random.html\n"
        "  umbra compare --command 'tar c /bin | gzip > /dev/null' --means enough,swap,ladder\n\n"
        "Options:");
    options_print(compare_options, stdout);
    puts("\nMeans:");
    for (const struct compare_means *m = compare_means; m->name; m++)
        printf("  %-10s %s\n", m->name, m->idea);
    puts("\nExit status: 0 all runs succeeded, 1 some did not, 2 usage, 4 the host failed.");
}

static enum err set_seconds(struct compare_plan *plan, const char *value)
{
    uint64_t ns;
    enum err err = duration_parse(value, &ns);

    if (!err && ns > SECONDS_MOST * UINT64_C(1000000000))
        return err_new(ERR_INVAL, "--seconds: an hour is the most");
    if (!err)
        plan->seconds = (double)ns * 1e-9;
    return err;
}

static enum err set_rounds(struct compare_plan *plan, const char *value)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);

    if (end == value || *end || value[0] == '-' || !n || n > ROUNDS_MOST)
        return err_new(ERR_INVAL, "--rounds: '%.40s' is no number from 1 to %d", value,
                       ROUNDS_MOST);
    plan->rounds = (unsigned)n;
    return ERR_OK;
}

static enum err set_option(void *arg, const struct option_spec *spec, const char *value)
{
    struct compare_words *w = arg;
    const struct {
        const char *name, **word;
    } words[] = {
        {"command", &w->plan.command}, {"json", &w->json},          {"html", &w->html},
        {"kernel", &w->plan.kernel},   {"initrd", &w->plan.initrd}, {"dir", &w->plan.folder},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (!strcmp(spec->name, words[i].name)) {
            *words[i].word = value;
            return ERR_OK;
        }
    }
    if (!strcmp(spec->name, "workload")) {
        w->has_workload = true;
        return compare_choose_workload(&w->plan, value);
    }
    if (!strcmp(spec->name, "means"))
        return compare_choose_means(&w->plan, value);
    if (!strcmp(spec->name, "memory"))
        return size_parse(value, &w->plan.memory_bytes);
    if (!strcmp(spec->name, "limit"))
        return size_parse(value, &w->plan.limit_bytes);
    if (!strcmp(spec->name, "load"))
        return size_parse(value, &w->plan.load_bytes);
    if (!strcmp(spec->name, "seconds"))
        return set_seconds(&w->plan, value);
    if (!strcmp(spec->name, "rounds"))
        return set_rounds(&w->plan, value);
    w->quick = true;
    return ERR_OK;
}

/* Three quarters of the guest, but its kernel needs room, too. */
static uint64_t load_default(uint64_t memory)
{
    uint64_t most = memory > GUEST_OWN ? (memory - GUEST_OWN) / MIB * MIB : 0;
    uint64_t part = memory / 4 * 3 / MIB * MIB;

    return part < most ? part : most;
}

/* What is not said follows from what is. */
static void fill_in(struct compare_words *w)
{
    struct compare_plan *plan = &w->plan;
    const char *tmp = getenv("TMPDIR");

    if (!plan->memory_bytes)
        plan->memory_bytes = w->quick ? 192 * MIB : 512 * MIB;
    if (!plan->limit_bytes && plan->workload->restarts)
        plan->limit_bytes = vm_least_limit(plan->memory_bytes) + RESTART_SPARE;
    if (!plan->load_bytes && plan->workload->restarts)
        plan->load_bytes = plan->memory_bytes / 8 / MIB * MIB;
    if (!plan->limit_bytes)
        plan->limit_bytes = w->quick && plan->memory_bytes == 192 * MIB
                                ? 128 * MIB
                                : plan->memory_bytes / 2 / MIB * MIB;
    if (!plan->load_bytes)
        plan->load_bytes = load_default(plan->memory_bytes);
    if (plan->seconds == 0)
        plan->seconds = w->quick ? 3 : 10;
    plan->warm_seconds = w->quick ? 1 : 2;
    if (!plan->folder)
        plan->folder = tmp && tmp[0] == '/' ? tmp : "/var/tmp";
}

/* Beside this program in a build tree, or where it was installed. */
static enum err find_program(struct compare_words *w)
{
    static const char *const places[] = {"src/workload/owner", "../libexec/umbra/owner"};
    char self[400];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        slash[1] = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(w->program, sizeof(w->program), "%s%s", self, places[i]);
        if (!access(w->program, R_OK)) {
            w->plan.program = w->program;
            return ERR_OK;
        }
    }
    return err_new(ERR_NOTFOUND, "the workload's program is missing, %s; run: make install",
                   w->program);
}

static enum err find_guest(struct compare_words *w)
{
    enum err err = ERR_OK;

    if (!w->plan.kernel) {
        err = paths_guest_file(w->kernel, sizeof(w->kernel), "vmlinuz");
        w->plan.kernel = w->kernel;
    }
    if (!err && !w->plan.initrd) {
        err = paths_guest_file(w->initrd, sizeof(w->initrd), "initrd.img");
        w->plan.initrd = w->initrd;
    }
    if (err)
        return err;
    if (!access(w->plan.kernel, R_OK) && !access(w->plan.initrd, R_OK))
        return ERR_OK;
    if (w->plan.kernel == w->kernel || w->plan.initrd == w->initrd)
        return err_new(ERR_NOTFOUND, "there is no cached guest yet; get one with: make guest "
                                     "(or name --kernel and --initrd)");
    return err_new(ERR_NOTFOUND, "cannot read %s",
                   access(w->plan.kernel, R_OK) ? w->plan.kernel : w->plan.initrd);
}

static enum err take_words(struct compare_words *w, int count, char *const *words, bool *want_help)
{
    const struct option_sink sink = {.arg = w, .set = set_option};
    enum err err;

    *w = (struct compare_words){.plan = {.rounds = 1}};
    err = compare_choose_workload(&w->plan, "hot");
    if (!err)
        err = compare_choose_means(&w->plan, "all");
    if (!err)
        err = options_parse(compare_options, count, words, &sink, want_help);
    if (err || *want_help)
        return err;
    if (w->plan.command && w->has_workload)
        return err_new(ERR_INVAL, "--workload and --command exclude each other");
    if (w->plan.command)
        err = compare_choose_workload(&w->plan, "command");
    else if (!strcmp(w->plan.workload->name, "command"))
        return err_new(ERR_INVAL, "--workload command needs --command TEXT");
    fill_in(w);
    if (!err)
        err = compare_check_plan(&w->plan);
    if (!err)
        err = find_guest(w);
    return err ? err : find_program(w);
}

/* ---- what is written ---- */

/* At the beginning, so that a bad name does not waste the runs. */
static enum err open_report(const char *path, FILE **out)
{
    *out = NULL;
    if (!path)
        return ERR_OK;
    *out = !strcmp(path, "-") ? stdout : fopen(path, "we");
    return *out ? ERR_OK : err_errno(ERR_INVAL, "cannot write %s", path);
}

static enum err close_report(const char *path, FILE *out)
{
    bool bad;

    if (!out || out == stdout)
        return ERR_OK;
    bad = ferror(out);
    if (fclose(out) || bad)
        return err_errno(ERR_IO, "cannot write %s", path);
    return ERR_OK;
}

static void write_json(const struct compare_result *result, FILE *out)
{
    json_t *json = compare_json(result);

    json_dumpf(json, out, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    fputc('\n', out);
    json_decref(json);
}

static bool has_failures(const struct compare_result *result)
{
    for (size_t c = 0; c < result->count; c++) {
        if (result->columns[c].good < result->columns[c].rounds)
            return true;
    }
    return false;
}

static enum err compare(struct compare_words *w, FILE *json, FILE *html, int *status)
{
    struct compare_result result;
    enum compare_end end;
    int signal_fd = cli_signal_fd();
    enum err err = compare_run_all(&w->plan, signal_fd, &result, &end);

    *status = STATUS_OK;
    if (!err && end == COMPARE_INTERRUPTED) {
        fprintf(stderr, "umbra: interrupted; nothing is left of it\n");
        *status = STATUS_NOT_REACHED;
    } else if (!err) {
        if (json != stdout)
            compare_print_table(&result, stdout);
        if (json)
            write_json(&result, json);
        if (html)
            compare_print_html(&result, html);
        if (has_failures(&result))
            *status = STATUS_NOT_REACHED;
    }
    compare_result_fini(&result);
    close(signal_fd);
    return err;
}

int command_compare(int count, char *const *words)
{
    struct compare_words w;
    FILE *json = NULL, *html = NULL;
    bool want_help = false;
    int status = STATUS_OK;
    enum err err = take_words(&w, count, words, &want_help);

    if (!err && want_help) {
        print_help();
        return STATUS_OK;
    }
    if (!err)
        err = open_report(w.json, &json);
    if (!err)
        err = open_report(w.html, &html);
    if (!err)
        err = compare(&w, json, html, &status);
    enum err closed = close_report(w.json, json);
    if (!closed)
        closed = close_report(w.html, html);
    if (err || closed)
        return cli_fail(err ? err : closed);
    return status;
}
