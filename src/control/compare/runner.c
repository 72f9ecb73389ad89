/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   BOOT --"owner: live"--> WARM --time--> RECLAIM --target held, or time--> SETTLE --time-->
 *   [RESTART --"owner: live" again--> SETTLE_AGAIN --time-->]
 *   ASKED --"owner: measuring"--> MEASURE --time--> ENDING --report--> DONE
 */
#include "control/compare/runner.h"

#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/api/qmp_client.h"
#include "control/compare/child.h"
#include "control/compare/statistics.h"
#include "control/listen.h"
#include "control/paths.h"

#define MIB (UINT64_C(1) << 20)

#define SAMPLE_S       0.125
#define SAMPLE_HASTE_S 0.02 /* while the target is not held yet */
#define BOOT_MOST_S    240
#define BALLOON_S      1
#define RECLAIM_MOST_S 20
#define ANSWER_MOST_S  600 /* one round of a command, or a guest that swaps */
#define MANAGER_MOST_S 60
#define SILENT_MOST_S  60
#define OFF_SECONDS    20
#define BALLOON_SPARE  (2 * MIB)

enum phase { BOOT, WARM, RECLAIM, SETTLE, RESTART, SETTLE_AGAIN, ASKED, MEASURE, ENDING, DONE };

struct runner {
    const struct compare_plan *plan;
    const struct compare_means *means;
    const char *label, *folder;
    char name[48];
    struct compare_run *run;
    struct child child, manager;
    uint64_t done_before; /* accesses before the restart */
    struct qmp_link link;
    bool is_linked, was_linked;
    enum phase phase;
    double phase_s, next_sample_s, next_balloon_s, shortage_s, answered_s; /* of the host's clock */
};

static double now_s(void)
{
    return (double)host_ns() * 1e-9;
}

static void fail(struct runner *r, const char *why)
{
    if (!r->run->failed[0])
        snprintf(r->run->failed, sizeof(r->run->failed), "%s", why);
    r->phase = DONE;
}

static void enter(struct runner *r, enum phase phase)
{
    static const char *const says[] = {
        [WARM] = "the workload runs, with enough memory",
        [RECLAIM] = "the host takes memory back",
        [RESTART] = "the guest restarts",
        [MEASURE] = "measuring",
    };

    r->phase = phase;
    r->phase_s = now_s();
    if (phase < sizeof(says) / sizeof(says[0]) && says[phase])
        fprintf(stderr, "umbra: %s: %s\n", r->label, says[phase]);
}

/* ---- what the guest says ---- */

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void take_report(struct runner *r, const char *text)
{
    json_t *report = json_loads(text, 0, NULL);

    if (!report)
        return fail(r, "the workload's report cannot be read");
    r->run->report = (struct compare_report){
        .seconds = number(report, "seconds"),
        .accesses = number(report, "accesses"),
        .median_ns = number(report, "median_ns"),
        .p99_ns = number(report, "p99_ns"),
        .max_ns = number(report, "max_ns"),
        .mismatches = number(report, "mismatches"),
    };
    json_decref(report);
    if (r->run->report.mismatches > 0)
        return fail(r, "the workload found memory that did not hold what it had written");
    enter(r, DONE);
}

static void take_line(void *arg, char *line)
{
    struct runner *r = arg;
    double now = now_s();
    char *end;

    if (!strcmp(line, "owner: live") && r->phase == BOOT) {
        r->run->marks.live = now;
        enter(r, WARM);
    } else if (!strcmp(line, "owner: live") && r->phase == RESTART) {
        size_t count = r->run->tick_count;

        r->run->marks.live_again = now;
        r->done_before = count ? r->run->ticks[count - 1].done : 0;
        enter(r, SETTLE_AGAIN);
        if (!compare_add_tick(r->run, now, r->done_before)) /* nothing was done meanwhile */
            fail(r, "no memory for samples");
    } else if (!strncmp(line, "owner: done ", 12)) {
        uint64_t done = strtoull(line + 12, &end, 10);

        if (!*end && !compare_add_tick(r->run, now, r->done_before + done))
            fail(r, "no memory for samples");
    } else if (!strcmp(line, "owner: measuring") && r->phase == ASKED) {
        r->run->marks.measure = now;
        enter(r, MEASURE);
    } else if (!strncmp(line, "owner: {", 8)) {
        take_report(r, line + 7);
    } else if (strstr(line, "Out of memory") || strstr(line, "ended with status") ||
               strstr(line, "Kernel panic") ||
               (!strncmp(line, "owner: ", 7) && strncmp(line, "owner: filled", 13) != 0 &&
                r->phase < ENDING)) {
        if (r->phase != DONE) {
            snprintf(r->run->failed, sizeof(r->run->failed), "in the guest: %.250s", line);
            r->phase = DONE;
        }
    }
}

/* ---- what its hypervisor says ---- */

#define NO_LIMIT UINT64_MAX

static bool ask(struct runner *r, const char *command, const char *key, uint64_t bytes)
{
    json_t *value = bytes == NO_LIMIT ? json_string("none") : json_integer((json_int_t)bytes);
    json_t *arguments = json_pack("{s:o}", key, value), *result = NULL;
    enum err err = qmp_link_call_with(&r->link, command, arguments, &result);

    json_decref(arguments);
    json_decref(result);
    if (err)
        fail(r, err_text());
    return !err;
}

static void order(struct runner *r, const char *command)
{
    json_t *result = NULL;

    if (qmp_link_call(&r->link, command, &result))
        fail(r, err_text());
    json_decref(result);
}

/* False: none could be had. */
static bool sample(struct runner *r)
{
    struct compare_sample s;
    json_t *memory = NULL;

    r->next_sample_s = now_s() + (r->phase == RECLAIM ? SAMPLE_HASTE_S : SAMPLE_S);
    if (!r->is_linked) {
        r->is_linked = !qmp_link_open(&r->link, r->name, QMP_LINK_BRIEF_S);
        if (r->is_linked && !r->was_linked && r->means->shortage != SHORTAGE_POOL)
            ask(r, "x-umbra-limit", "bytes", NO_LIMIT);
        r->was_linked |= r->is_linked;
        return false;
    }
    if (qmp_link_call(&r->link, "x-umbra-memory", &memory)) {
        /* It may be busy taking memory back, at once; what it answers late is not wanted. */
        qmp_link_close(&r->link);
        r->is_linked = false;
        if (r->phase < ENDING && now_s() - r->answered_s > SILENT_MOST_S)
            fail(r, err_text());
        return false;
    }
    r->answered_s = now_s();
    compare_sample_take(memory, now_s(), &s);
    json_decref(memory);
    if (!compare_add_sample(r->run, &s))
        fail(r, "no memory for samples");
    return true;
}

static const struct compare_sample *newest(const struct runner *r)
{
    return &r->run->samples[r->run->sample_count - 1];
}

/* What the guest's pages may take so that all of the VM stays within the limit. */
static uint64_t balloon_size(const struct runner *r)
{
    const struct compare_sample *s = newest(r);
    uint64_t beside = s->process - s->host + BALLOON_SPARE;

    return (r->plan->limit_bytes > beside ? r->plan->limit_bytes - beside : 0) & ~(MIB - 1);
}

/* As a manager does it: what the machine needs beside its guest changes. */
static void adjust_balloon(struct runner *r)
{
    double now = now_s();

    if (r->means->shortage != SHORTAGE_BALLOON || r->phase < RECLAIM || now < r->next_balloon_s)
        return;
    r->next_balloon_s = now + BALLOON_S;
    ask(r, "balloon", "value", balloon_size(r));
}

/* late_s: since when it might have begun; a busy VM or host may take a while to answer. */
static void begin_shortage(struct runner *r, double late_s)
{
    if (!sample(r)) {
        if (late_s > SILENT_MOST_S)
            fail(r, "the VM does not answer on its control socket");
        return;
    }
    r->shortage_s = newest(r)->at_s;
    r->next_sample_s = r->shortage_s;
    enter(r, RECLAIM);
    if (r->means->shortage == SHORTAGE_LIMIT)
        ask(r, "x-umbra-limit", "bytes", r->plan->limit_bytes);
}

/* The policy measures what the process holds five times a second: a hundredth above is held. */
static bool holds_target(const struct runner *r)
{
    return r->means->shortage == SHORTAGE_NONE ||
           newest(r)->process <= r->plan->limit_bytes + r->plan->limit_bytes / 100;
}

/* ---- time ---- */

static void advance(struct runner *r)
{
    double passed = now_s() - r->phase_s;

    if ((r->phase == BOOT || r->phase == RESTART) && passed > BOOT_MOST_S)
        return fail(r, "the guest did not start the workload in time");
    if (r->phase == WARM && passed >= r->plan->warm_seconds)
        return begin_shortage(r, passed - r->plan->warm_seconds);
    if (r->phase == RECLAIM && (holds_target(r) || passed > RECLAIM_MOST_S)) {
        r->run->marks.is_reached = holds_target(r);
        r->run->marks.reached = newest(r)->at_s;
        return enter(r, SETTLE);
    }
    if (r->phase == SETTLE && r->plan->workload->restarts && passed >= r->plan->warm_seconds) {
        r->run->marks.reset = now_s();
        order(r, "system_reset");
        return enter(r, RESTART);
    }
    if ((r->phase == SETTLE || r->phase == SETTLE_AGAIN) && passed >= r->plan->warm_seconds) {
        child_press(&r->child, 'm');
        return enter(r, ASKED);
    }
    if (r->phase == MEASURE && passed >= r->plan->seconds) {
        sample(r);
        r->run->marks.end = now_s();
        child_press(&r->child, 'e');
        return enter(r, ENDING);
    }
    if ((r->phase == ASKED || r->phase == ENDING) && passed > ANSWER_MOST_S)
        fail(r, "the workload does not answer any more");
}

static enum compare_end follow(struct runner *r, int signal_fd)
{
    while (r->phase != DONE) {
        double wait = r->next_sample_s - now_s();
        struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN},
                               {.fd = r->child.console, .events = POLLIN}};

        if (poll(fds, 2, wait > 0 ? (int)(wait * 1e3) + 1 : 0) < 0)
            continue;
        if (fds[0].revents)
            return COMPARE_INTERRUPTED;
        if (fds[1].revents)
            child_read(&r->child, take_line, r);
        if (r->child.console < 0 && r->phase != DONE)
            fail(r, "the VM ended before its workload did");
        if (r->phase != DONE && now_s() >= r->next_sample_s)
            sample(r);
        if (r->phase != DONE && r->was_linked)
            advance(r);
        if (r->phase < ENDING && r->is_linked)
            adjust_balloon(r);
    }
    return COMPARE_RAN;
}

/* ---- beginning and end ---- */

/* A manager keeps a twentieth free: with so much more, the VM may hold the limit. */
static enum err start_manager(struct runner *r)
{
    char memory[32], messages[512], path[512];
    const char *words[] = {"umbra", "host", "--name", r->name, "--memory", memory, NULL};
    const struct timespec tick = {.tv_nsec = 20000000};
    enum err err;

    snprintf(memory, sizeof(memory), "%" PRIu64, r->plan->limit_bytes / 19 * 20);
    snprintf(messages, sizeof(messages), "%s/manager", r->folder);
    err = child_start(&r->manager, words, messages);
    for (unsigned i = 0; !err && i < MANAGER_MOST_S * 50; i++) {
        if (!paths_pool_socket(path, sizeof(path), r->name, PATHS_CREATE) && listener_answers(path))
            return ERR_OK;
        nanosleep(&tick, NULL);
    }
    return err ? err : err_new(ERR_IO, "the manager of the pool does not start");
}

static enum err start(struct runner *r)
{
    char memory[32], limit[32], compress[32], initrd[512], swap[512], disk[512], messages[512];
    const char *words[] = {
        /* clang-format off */
        "umbra", "run",
        "--name", r->name,
        "--memory", memory,
        "--kernel", r->plan->kernel,
        "--initrd", initrd,
        "--append", "console=ttyS0 quiet panic=-1",
        "--swap-dir", r->folder,
        "--means", r->means->allowed,
        "--cures", r->means->cures,
        "--compress", compress,
        "--disk", swap,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        /* clang-format on */
    };
    size_t count = 0;

    snprintf(memory, sizeof(memory), "%" PRIu64, r->plan->memory_bytes);
    snprintf(limit, sizeof(limit), "%" PRIu64, r->plan->limit_bytes);
    snprintf(compress, sizeof(compress), "%" PRIu64, r->plan->limit_bytes / 2);
    snprintf(initrd, sizeof(initrd), "%s/initrd", r->folder);
    snprintf(swap, sizeof(swap), "%s/swap", r->folder);
    snprintf(disk, sizeof(disk), "%s/disk", r->folder);
    snprintf(messages, sizeof(messages), "%s/messages", r->folder);
    while (words[count])
        count++;
    if (r->plan->workload->has_file) {
        words[count++] = "--disk";
        words[count++] = disk;
    }
    if (!r->plan->workload->restarts)
        words[count++] = "--no-reboot";
    if (r->means->shortage == SHORTAGE_POOL) {
        words[count++] = "--pool";
        words[count++] = r->name;
        words[count++] = "--startup";
        words[count++] = memory;
    } else { /* lifted at once, but it decides how much decoded code may be kept */
        words[count++] = "--limit";
        words[count++] = limit;
    }
    return child_start(&r->child, words, messages);
}

/* The last thing that `umbra run` said is why it ended, if it did by itself. */
static void add_message(struct runner *r)
{
    char path[512], line[240], last[240] = "";
    FILE *in;

    snprintf(path, sizeof(path), "%s/messages", r->folder);
    in = fopen(path, "re");
    while (in && fgets(line, sizeof(line), in)) {
        line[strcspn(line, "\n")] = '\0';
        if (!strncmp(line, "umbra: ", 7))
            memcpy(last, line, sizeof(last));
    }
    if (in)
        fclose(in);
    size_t at = strlen(r->run->failed);
    if (last[0])
        snprintf(r->run->failed + at, sizeof(r->run->failed) - at, " (%s)", last);
}

/* Times count from the shortage. */
static void shift(struct compare_run *run, double zero_s)
{
    for (size_t i = 0; i < run->sample_count; i++)
        run->samples[i].at_s -= zero_s;
    for (size_t i = 0; i < run->tick_count; i++)
        run->ticks[i].at_s -= zero_s;
    run->marks.live -= zero_s;
    run->marks.reached -= zero_s;
    run->marks.measure -= zero_s;
    run->marks.end -= zero_s;
    run->marks.reset -= zero_s;
    run->marks.live_again -= zero_s;
}

enum compare_end compare_run_once(const struct compare_plan *plan,
                                  const struct compare_means *means, const char *folder,
                                  int signal_fd, const char *label, struct compare_run *run)
{
    struct runner r = {.plan = plan,
                       .means = means,
                       .label = label,
                       .folder = folder,
                       .run = run,
                       .manager = {.pid = -1}};
    enum compare_end end = COMPARE_RAN;

    *run = (struct compare_run){0};
    snprintf(r.name, sizeof(r.name), "compare-%d", (int)getpid());
    if (compare_make_files(plan, folder) ||
        (means->shortage == SHORTAGE_POOL && start_manager(&r)) || start(&r)) {
        fail(&r, err_text());
        child_end(&r.manager, 0);
        return COMPARE_RAN;
    }
    fprintf(stderr, "umbra: %s: booting\n", label);
    r.phase_s = r.next_sample_s = now_s();
    double begun_s = r.phase_s;
    end = follow(&r, signal_fd);
    if (r.is_linked)
        qmp_link_close(&r.link);
    child_end(&r.child, end == COMPARE_RAN && !run->failed[0] ? OFF_SECONDS : 0);
    child_end(&r.manager, 0);
    if (run->failed[0]) {
        add_message(&r);
        return end;
    }
    run->booted_s = run->marks.live - begun_s;
    shift(run, r.shortage_s);
    compare_figures_make(run, means->shortage, &run->figures);
    return end;
}
