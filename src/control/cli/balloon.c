/* SPDX-License-Identifier: Apache-2.0 */
/*
 * umbra balloon NAME [SIZE]: what a guest keeps of its memory, by its own balloon.
 *
 *   ask --> watch --> reached
 *             |-----> stands still for 5 s: say why --> the next means, without the guest
 *             |-----> time is over          } status 1
 *             `-----> Ctrl-C: leave it there }
 */
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
#include "mem/policy.h"

#define LOOK_MS       100
#define LOOK_EARLY_MS 20 /* within the first second: small balloons are quick */
#define PLAIN_LINE_NS UINT64_C(1000000000)
#define PAGE_BYTES    UINT64_C(4096)
/* A guest that says it has less than this free has nothing to give. */
#define FREE_LOW_BYTES (UINT64_C(16) << 20)

struct balloon_run {
    const char *name, *size_text;
    uint64_t size, within_ns; /* 0: no limit */
    bool json, hint;
    struct qmp_link link;
    int signal_fd;
    bool on_terminal, line_open, interrupted;
    uint64_t began_ns, printed_ns, printed_bytes;
    uint64_t from_bytes; /* the guest's size at the beginning */
};

/* One look at the VM. */
struct look {
    bool driver, paused, stalled, hinting_now;
    uint64_t now_ns, guest, target, actual, ballooned, host, still_ns;
    uint64_t free, available, resident_wish; /* UINT64_MAX: not known, none */
};

static const struct option_spec balloon_options[] = {
    {"within", "T", "wait no longer than this: 10s, 500ms, 2m"},
    {"hint", NULL, "ask the guest once for pages that are free just now"},
    {"json", NULL, "print the present state for programs"},
    {NULL, NULL, NULL},
};

static enum err set_option(void *arg, const struct option_spec *spec, const char *value)
{
    struct balloon_run *run = arg;

    if (!strcmp(spec->name, "within"))
        return duration_parse(value, &run->within_ns);
    if (!strcmp(spec->name, "hint"))
        run->hint = true;
    else
        run->json = true;
    return ERR_OK;
}

static enum err take_word(void *arg, const char *word)
{
    struct balloon_run *run = arg;

    if (!run->name) {
        run->name = word;
        return ERR_OK;
    }
    if (run->size_text)
        return err_new(ERR_INVAL, "'%.40s' is one word too many: a name and a size", word);
    run->size_text = word;
    run->size = UINT64_MAX;
    return strcmp(word, "all") ? size_parse(word, &run->size) : ERR_OK;
}

static void print_help(void)
{
    puts("umbra balloon NAME [SIZE [--within T]] [--hint] [--json]\n\nExamples:\n"
         "  umbra balloon web1                   what its balloon holds, and what the guest says\n"
         "  umbra balloon web1 256M              the guest shall make do with 256M\n"
         "  umbra balloon web1 256M --within 10s\n"
         "  umbra balloon web1 all               let it grow to all of its memory again\n"
         "  umbra balloon web1 --hint            take what the guest has free just now\n\n"
         "The guest chooses the pages, so nothing is lost and nothing is written to disk. Where it "
         "has none to give\n"
         "or no driver for the balloon, the rest is taken without its help, as umbra swap does.\n"
         "Ctrl-C leaves the balloon where it is.\n\nOptions:");
    options_print(balloon_options, stdout);
    puts("\nExit status: 0 reached, 1 not reached, 2 usage, 4 the host failed.");
}

/* ---- looking ---- */

static uint64_t number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? (uint64_t)json_integer_value(value) : UINT64_MAX;
}

static bool flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static enum err look_at(struct balloon_run *run, struct look *l)
{
    json_t *state;
    enum err err = qmp_link_call(&run->link, "x-umbra-balloon", &state);

    if (err)
        return err;
    *l = (struct look){
        .driver = flag(state, "driver"),
        .paused = flag(state, "paused"),
        .stalled = flag(state, "stalled"),
        .hinting_now = flag(state, "hinting_now"),
        .now_ns = host_ns(),
        .guest = number(state, "guest_bytes"),
        .target = number(state, "target_bytes"),
        .actual = number(state, "actual_bytes"),
        .ballooned = number(state, "ballooned_bytes"),
        .host = number(state, "host_bytes"),
        .still_ns = number(state, "still_ns"),
        .free = number(state, "guest_free_bytes"),
        .available = number(state, "guest_available_bytes"),
        .resident_wish = number(state, "resident_wish_bytes"),
    };
    json_decref(state);
    return ERR_OK;
}

static enum err ask(struct balloon_run *run, uint64_t bytes)
{
    json_t *arguments = json_pack("{s:I}", "value", (json_int_t)bytes);
    json_t *result = NULL;
    enum err err = qmp_link_call_with(&run->link, "balloon", arguments, &result);

    json_decref(result);
    json_decref(arguments);
    return err;
}

/* The wish of umbra swap: host memory for the guest's pages; UINT64_MAX: no such wish any more. */
static enum err ask_resident(struct balloon_run *run, uint64_t bytes)
{
    json_t *arguments =
        json_pack("{s:o}", "resident",
                  bytes == UINT64_MAX ? json_string("all") : json_integer((json_int_t)bytes));
    json_t *result = NULL;
    enum err err = qmp_link_call_with(&run->link, "x-umbra-swap", arguments, &result);

    json_decref(result);
    json_decref(arguments);
    return err;
}

/* ---- telling ---- */

#define SIZE_TEXT(bytes) size_format((char[16]){0}, 16, (bytes))

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static double gib_per_second(uint64_t bytes, uint64_t ns)
{
    return ns ? (double)bytes / (double)(UINT64_C(1) << 30) / seconds(ns) : 0;
}

static void end_line(struct balloon_run *run)
{
    if (run->line_open)
        fputc('\n', stderr);
    run->line_open = false;
}

/* A line rewritten on a terminal; elsewhere one a second, when something has changed. */
static void tell_progress(struct balloon_run *run, uint64_t bytes, const char *what)
{
    uint64_t now = host_ns();

    if (!run->on_terminal && (now < run->printed_ns + PLAIN_LINE_NS || bytes == run->printed_bytes))
        return;
    fprintf(stderr, "%sumbra: %s: %s %s, asked for %s%s", run->on_terminal ? "\r\033[K" : "",
            run->name, what, SIZE_TEXT(bytes), SIZE_TEXT(run->size), run->on_terminal ? "" : "\n");
    run->line_open = run->on_terminal;
    run->printed_ns = now;
    run->printed_bytes = bytes;
}

static const char *why_stuck(const struct balloon_run *run, const struct look *l)
{
    if (l->paused)
        return "the VM is paused";
    if (l->stalled)
        return "the guest waits for the host";
    if (!l->driver)
        return "the guest has no driver for it (virtio_balloon), or has not loaded it yet";
    if (run->size < l->actual && l->free != UINT64_MAX && l->free < FREE_LOW_BYTES)
        return "the guest has no free memory to give";
    if (run->size < l->actual && l->available != UINT64_MAX && l->available < FREE_LOW_BYTES)
        return "the guest has no memory left that it could give without swapping";
    if (l->target < run->size)
        return "the limit of the VM (umbra run --limit) wants the balloon larger";
    return "the guest's driver does not answer";
}

static void print_state(const struct balloon_run *run, const struct look *l, const json_t *state)
{
    const json_t *counters = json_object_get(state, "counters");

    printf("%s: the guest believes it has %s and keeps %s; %s are in its balloon\n", run->name,
           SIZE_TEXT(l->guest), SIZE_TEXT(l->actual), SIZE_TEXT(l->guest - l->actual));
    if (l->target != l->actual)
        printf("asked to keep: %s\n", SIZE_TEXT(l->target));
    printf("driver: %s; free page reporting: %s; hints: %s\n", l->driver ? "yes" : "none",
           flag(state, "reporting") ? "on" : "off", flag(state, "hinting") ? "yes" : "no");
    if (l->free != UINT64_MAX)
        printf("the guest says: %s free", SIZE_TEXT(l->free));
    if (l->free != UINT64_MAX && l->available != UINT64_MAX)
        printf(", %s could be had without swapping", SIZE_TEXT(l->available));
    if (l->free != UINT64_MAX)
        putchar('\n');
    printf("given back so far: %s by balloon, %s reported free, %s hinted; %" PRIu64
           " runs of neighbours, of which %" PRIu64 " of 2M or more\n",
           SIZE_TEXT(number(counters, "inflated") * PAGE_BYTES),
           SIZE_TEXT(number(counters, "reported") * PAGE_BYTES),
           SIZE_TEXT(number(counters, "hinted") * PAGE_BYTES), number(counters, "host_runs"),
           number(counters, "host_huge"));
}

/* The first look asks the guest for its figures; the second has them. */
static enum err show(struct balloon_run *run)
{
    struct look l;
    json_t *state = NULL;
    enum err err = look_at(run, &l);

    if (!err && l.driver && !l.paused)
        poll(NULL, 0, LOOK_MS);
    if (!err)
        err = look_at(run, &l);
    if (!err)
        err = qmp_link_call(&run->link, "x-umbra-balloon", &state);
    if (err)
        return err;
    if (run->json) {
        json_dumpf(state, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_state(run, &l, state);
    }
    json_decref(state);
    return ERR_OK;
}

/* ---- watching ---- */

/* Waits a moment. False: the user wants to end. */
static bool wait_a_moment(struct balloon_run *run)
{
    struct pollfd fd = {.fd = run->signal_fd, .events = POLLIN};
    bool early = host_ns() - run->began_ns < PLAIN_LINE_NS;

    run->interrupted = poll(&fd, 1, early ? LOOK_EARLY_MS : LOOK_MS) > 0;
    return !run->interrupted;
}

static bool is_late(const struct balloon_run *run, uint64_t now)
{
    return run->within_ns && now - run->began_ns >= run->within_ns;
}

enum watch_end { WATCH_REACHED, WATCH_STUCK, WATCH_LATE, WATCH_INTERRUPTED };

/* BALLOON: until the guest keeps what was asked. RESIDENT: until the host holds no more of it. */
enum watch_what { WATCH_BALLOON, WATCH_RESIDENT };

static enum err watch(struct balloon_run *run, enum watch_what what, struct look *l,
                      enum watch_end *end)
{
    uint64_t last = UINT64_MAX, moved_ns = 0;

    for (;;) {
        enum err err = look_at(run, l);
        uint64_t is = what == WATCH_BALLOON ? l->actual : l->host;

        if (err)
            return err;
        tell_progress(run, is, what == WATCH_BALLOON ? "the guest keeps" : "the host holds");
        if (is != last)
            moved_ns = l->now_ns;
        last = is;
        *end = WATCH_REACHED;
        if (is == run->size || (what == WATCH_RESIDENT && is < run->size))
            return ERR_OK;
        /* First: who gave a time wants no other means after it, however long a look took. */
        *end = WATCH_LATE;
        if (is_late(run, l->now_ns))
            return ERR_OK;
        *end = WATCH_STUCK;
        if (l->now_ns - moved_ns >= POLICY_STUCK_NS)
            return ERR_OK;
        *end = WATCH_INTERRUPTED;
        if (!wait_a_moment(run))
            return ERR_OK;
    }
}

static int tell_end(struct balloon_run *run, const struct look *l, enum watch_end end)
{
    bool shrank = l->actual <= run->from_bytes;
    uint64_t moved = shrank ? run->from_bytes - l->actual : l->actual - run->from_bytes;
    uint64_t took = l->now_ns - run->began_ns;

    /* the moment of the last page, not of our look */
    if (l->still_ns < took)
        took -= l->still_ns;
    end_line(run);
    printf("%s keeps %s of %s: %s %s the balloon in %.2f s, %.2f GiB/s\n", run->name,
           SIZE_TEXT(l->actual), SIZE_TEXT(l->guest), SIZE_TEXT(moved),
           shrank ? "went into" : "came out of", seconds(took), gib_per_second(moved, took));
    if (end == WATCH_LATE)
        printf("not reached in time: %s were asked; the balloon goes on\n", SIZE_TEXT(run->size));
    if (end == WATCH_INTERRUPTED)
        printf("interrupted: the balloon stays where it is\n");
    return end == WATCH_REACHED ? STATUS_OK : STATUS_NOT_REACHED;
}

static enum err use_next_means(struct balloon_run *run, struct look *l, int *status)
{
    uint64_t before = l->host;
    enum watch_end end = WATCH_REACHED;
    uint64_t began = host_ns();
    enum err err;

    fprintf(stderr, "umbra: %s: the rest is taken without the guest, as umbra swap does\n",
            run->name);
    err = ask_resident(run, run->size);
    if (!err)
        err = watch(run, WATCH_RESIDENT, l, &end);
    if (err)
        return err;
    end_line(run);
    printf("the host holds %s of it now: %s taken without the guest in %.2f s\n",
           SIZE_TEXT(l->host), SIZE_TEXT(before > l->host ? before - l->host : 0),
           seconds(l->now_ns - began));
    if (end != WATCH_REACHED)
        printf("not reached: %s were asked\n", SIZE_TEXT(run->size));
    *status = end == WATCH_REACHED ? STATUS_OK : STATUS_NOT_REACHED;
    return ERR_OK;
}

static enum err resize(struct balloon_run *run, int *status)
{
    struct look l;
    enum watch_end end = WATCH_REACHED;
    enum err err = look_at(run, &l);

    if (err)
        return err;
    if (!strcmp(run->size_text, "all"))
        run->size = l.guest;
    if (run->size > l.guest || run->size < PAGE_BYTES)
        return err_new(ERR_INVAL, "the guest has %s of memory: it can keep that or less, not '%s'",
                       SIZE_TEXT(l.guest), run->size_text);
    run->size &= ~(PAGE_BYTES - 1);
    run->from_bytes = l.actual;
    run->began_ns = host_ns();
    /* what was to be held without the guest is not to stand in the way of a guest that grows */
    if (l.resident_wish != UINT64_MAX && l.resident_wish < run->size)
        err = ask_resident(run, UINT64_MAX);
    if (!err)
        err = ask(run, run->size);
    if (!err)
        err = watch(run, WATCH_BALLOON, &l, &end);
    if (!err && end == WATCH_INTERRUPTED)
        err = ask(run, l.actual);
    if (err)
        return err;
    if (end != WATCH_STUCK) {
        *status = tell_end(run, &l, end);
        return ERR_OK;
    }
    end_line(run);
    fprintf(stderr, "umbra: %s: the balloon is stuck: %s\n", run->name, why_stuck(run, &l));
    *status = tell_end(run, &l, end);
    return run->size < l.actual ? use_next_means(run, &l, status) : ERR_OK;
}

static enum err hint(struct balloon_run *run, int *status)
{
    struct look l;
    json_t *result = NULL;
    uint64_t before;
    enum err err = look_at(run, &l);

    before = l.host;
    run->began_ns = host_ns();
    if (!err)
        err = qmp_link_call(&run->link, "x-umbra-balloon-hint", &result);
    json_decref(result);
    do {
        if (!err)
            err = look_at(run, &l);
    } while (!err && l.hinting_now && !is_late(run, l.now_ns) && wait_a_moment(run));
    if (err)
        return err;
    printf("the host holds %s of %s now: %s less, in %.2f s\n", SIZE_TEXT(l.host), run->name,
           SIZE_TEXT(before > l.host ? before - l.host : 0), seconds(l.now_ns - run->began_ns));
    *status = l.hinting_now ? STATUS_NOT_REACHED : STATUS_OK;
    return ERR_OK;
}

static enum err check_words(const struct balloon_run *run)
{
    if (!run->name)
        return err_new(ERR_INVAL, "name the VM; umbra ps lists those that run");
    if (run->within_ns && !run->size_text && !run->hint)
        return err_new(ERR_INVAL, "--within goes with a size");
    if (run->size_text && (run->hint || run->json))
        return err_new(ERR_INVAL, "--%s goes without a size", run->hint ? "hint" : "json");
    return ERR_OK;
}

int command_balloon(int count, char *const *words)
{
    struct balloon_run run = {.on_terminal = isatty(STDERR_FILENO)};
    const struct option_sink sink = {.arg = &run, .set = set_option, .positional = take_word};
    int status = STATUS_OK;
    bool want_help;
    enum err err = options_parse(balloon_options, count, words, &sink, &want_help);

    if (!err && want_help) {
        print_help();
        return STATUS_OK;
    }
    if (!err)
        err = check_words(&run);
    if (!err)
        err = qmp_link_open(&run.link, run.name, QMP_LINK_PATIENT_S);
    if (err)
        return cli_fail(err);
    run.signal_fd = cli_signal_fd();
    if (run.size_text)
        err = resize(&run, &status);
    else if (run.hint)
        err = hint(&run, &status);
    else
        err = show(&run);
    end_line(&run);
    close(run.signal_fd);
    qmp_link_close(&run.link);
    return err ? cli_fail(err) : status;
}
