/* SPDX-License-Identifier: Apache-2.0 */
/* umbra swap NAME --resident SIZE: takes host memory back without the guest's help, and reports. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/api/qmp_client.h"
#include "control/cli/command.h"
#include "control/duration.h"
#include "control/size.h"
#include "mem/reclaim.h"

#define MIB               1048576.0
#define WITHIN_DEFAULT_NS UINT64_C(60000000000)
#define LOOK_MS           200
#define TELL_NS           UINT64_C(1000000000)

/*
 * before, after: the answers of x-umbra-memory around the reclaim;  begin_ns: when it was asked for
 */
struct swap_run {
    const char *name, *resident;
    uint64_t target_bytes, within_ns; /* target: UINT64_MAX: all */
    bool json, interrupted;
    int signal_fd;
    uint64_t begin_ns, end_ns;
    json_t *before, *after;
};

static const struct option_spec swap_options[] = {
    {"resident", "SIZE", "what the guest may keep in host memory; all: no such wish any more"},
    {"within", "TIME", "the time that it may take: 10s, 500ms, 2m (default 60s)"},
    {"json", NULL, "print JSON for programs"},
    {NULL, NULL, NULL},
};

static enum err set_option(void *arg, const struct option_spec *spec, const char *value)
{
    struct swap_run *run = arg;

    if (!strcmp(spec->name, "json")) {
        run->json = true;
        return ERR_OK;
    }
    if (!strcmp(spec->name, "within"))
        return duration_parse(value, &run->within_ns);
    run->resident = value;
    run->target_bytes = UINT64_MAX;
    return strcmp(value, "all") ? size_parse(value, &run->target_bytes) : ERR_OK;
}

static enum err take_name(void *arg, const char *word)
{
    struct swap_run *run = arg;

    if (run->name)
        return err_new(ERR_INVAL, "one VM at a time: '%.40s' is a second name", word);
    run->name = word;
    return ERR_OK;
}

static void print_help(void)
{
    puts(
        "umbra swap NAME --resident SIZE [--within TIME] [--json]\n"
        "umbra swap NAME --resident all\n\nExamples:\n"
        "  umbra swap web1 --resident 200M               keep at most 200M of it in host memory\n"
        "  umbra swap web1 --resident 200M --within 5s   and hurry\n"
        "  umbra swap web1 --resident all                no such wish any more\n\n"
        "The guest is not asked and does not notice. Idle pages are dropped, shared, compressed or "
        "written\n"
        "to the swap file, whichever is lightest. The wish stays in force.\n\nOptions:");
    options_print(swap_options, stdout);
    puts("\nExit status: 0 reached, 1 not reached within the time, 2 usage, 4 the host failed.");
}

static uint64_t held(const json_t *memory)
{
    return (uint64_t)json_integer_value(json_object_get(memory, "host_bytes"));
}

static uint64_t flow(const struct swap_run *run, const char *key)
{
    const json_t *before = json_object_get(run->before, "flows");
    const json_t *after = json_object_get(run->after, "flows");

    return (uint64_t)(json_integer_value(json_object_get(after, key)) -
                      json_integer_value(json_object_get(before, key)));
}

static bool is_reached(const struct swap_run *run)
{
    return held(run->after) <= run->target_bytes;
}

/* ---- the way there ---- */

static enum err look(struct swap_run *run, struct qmp_link *link)
{
    json_decref(run->after);
    run->after = NULL;
    return qmp_link_call(link, "x-umbra-memory", &run->after);
}

static enum err order(const struct swap_run *run, struct qmp_link *link)
{
    bool all = run->target_bytes == UINT64_MAX;
    json_t *arguments = json_object(), *result = NULL;
    enum err err;

    json_object_set_new(arguments, "resident",
                        all ? json_string("all") : json_integer((json_int_t)run->target_bytes));
    if (!all)
        json_object_set_new(arguments, "within-ms",
                            json_integer((json_int_t)((run->within_ns + 999999) / 1000000)));
    err = qmp_link_call_with(link, "x-umbra-swap", arguments, &result);
    json_decref(arguments);
    json_decref(result);
    return err;
}

static void tell(const struct swap_run *run, uint64_t now)
{
    const char *stall = json_string_value(json_object_get(run->after, "stall"));

    fprintf(stderr,
            "umbra: %5.1f s: %.1f MiB of the guest are in host memory, %.1f are asked%s%s\n",
            (double)(now - run->begin_ns) / 1e9, (double)held(run->after) / MIB,
            (double)run->target_bytes / MIB, stall && stall[0] ? "; " : "", stall ? stall : "");
}

/* Until it is reached, the time is over, or the user has enough of it. */
static enum err follow(struct swap_run *run, struct qmp_link *link)
{
    uint64_t told = run->begin_ns;
    enum err err = look(run, link);

    while (!err && !is_reached(run) && host_ns() < run->begin_ns + run->within_ns) {
        struct pollfd fd = {.fd = run->signal_fd, .events = POLLIN};

        if (poll(&fd, 1, LOOK_MS) > 0) {
            run->interrupted = true;
            break;
        }
        err = look(run, link);
        if (!err && host_ns() >= told + TELL_NS) {
            told = host_ns();
            tell(run, told);
        }
    }
    run->end_ns = host_ns();
    return err;
}

/* ---- the report ---- */

static const struct {
    const char *key, *text;
} means[] = {
    {"evicted_image", "dropped, a disk image holds them"},
    {"evicted_zero", "dropped, they were zeros"},
    {"evicted_shared", "shared"},
    {"evicted_compressed", "compressed"},
    {"evicted_swapped", "written to the swap file"},
};

#define MEANS (sizeof(means) / sizeof(means[0]))

static double seconds(const struct swap_run *run)
{
    return (double)(run->end_ns - run->begin_ns) / 1e9;
}

/* Less than nothing is nothing: the guest has taken pages meanwhile. */
static double taken_mib(const struct swap_run *run)
{
    double taken = ((double)held(run->before) - (double)held(run->after)) / MIB;

    return taken > 0 ? taken : 0;
}

static void print_json(const struct swap_run *run)
{
    json_t *by = json_object(), *report;

    for (size_t i = 0; i < MEANS; i++)
        json_object_set_new(by, means[i].key, json_integer((json_int_t)flow(run, means[i].key)));
    report =
        json_pack("{s:s, s:I, s:I, s:I, s:b, s:b, s:f, s:f, s:o}", "name", run->name, "asked_bytes",
                  (json_int_t)run->target_bytes, "before_bytes", (json_int_t)held(run->before),
                  "after_bytes", (json_int_t)held(run->after), "reached", is_reached(run),
                  "interrupted", run->interrupted, "seconds", seconds(run), "mib_per_second",
                  seconds(run) > 0 ? taken_mib(run) / seconds(run) : 0.0, "pages_by_means", by);
    json_dumpf(report, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(report);
}

static void print_text(const struct swap_run *run)
{
    const char *stall = json_string_value(json_object_get(run->after, "stall"));

    printf("%s: %.1f MiB of the guest are in host memory after %.2f s: %s\n", run->name,
           (double)held(run->after) / MIB, seconds(run),
           is_reached(run)    ? "reached"
           : run->interrupted ? "interrupted"
                              : "not reached");
    printf("taken back: %.1f MiB, %.1f MiB/s\n", taken_mib(run),
           seconds(run) > 0 ? taken_mib(run) / seconds(run) : 0.0);
    for (size_t i = 0; i < MEANS; i++) {
        uint64_t pages = flow(run, means[i].key);

        if (pages)
            printf("  %8.1f MiB  %s\n", (double)pages * PAGE_SIZE / MIB, means[i].text);
    }
    if (stall && stall[0])
        printf("the guest waits: %s\n", stall);
    printf("this stays in force until: umbra swap %s --resident all\n", run->name);
}

static enum err swap_vm(struct swap_run *run)
{
    struct qmp_link link;
    enum err err = qmp_link_open(&link, run->name, QMP_LINK_PATIENT_S);

    if (err)
        return err;
    err = look(run, &link);
    run->before = json_incref(run->after);
    run->begin_ns = run->end_ns = host_ns();
    if (!err)
        err = order(run, &link);
    if (!err && run->target_bytes != UINT64_MAX) {
        run->signal_fd = cli_signal_fd();
        err = follow(run, &link);
        close(run->signal_fd);
    }
    qmp_link_close(&link);
    return err;
}

int command_swap(int count, char *const *words)
{
    struct swap_run run = {.within_ns = WITHIN_DEFAULT_NS};
    const struct option_sink sink = {.arg = &run, .set = set_option, .positional = take_name};
    bool want_help, reached = true;
    enum err err = options_parse(swap_options, count, words, &sink, &want_help);

    if (!err && want_help) {
        print_help();
        return STATUS_OK;
    }
    if (!err && !run.name)
        err = err_new(ERR_INVAL, "name the VM; umbra ps lists those that run");
    if (!err && !run.resident)
        err = err_new(ERR_INVAL, "how much may stay? e.g. umbra swap %.40s --resident 200M",
                      run.name);
    if (!err)
        err = swap_vm(&run);
    if (!err && run.target_bytes != UINT64_MAX) {
        reached = is_reached(&run);
        if (run.json)
            print_json(&run);
        else
            print_text(&run);
    }
    json_decref(run.before);
    json_decref(run.after);
    if (err)
        return cli_fail(err);
    return reached ? STATUS_OK : STATUS_NOT_REACHED;
}
