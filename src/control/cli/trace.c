/* SPDX-License-Identifier: Apache-2.0 */
/* umbra trace NAME: faults and table events as they happen. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/api/qmp_client.h"
#include "control/api/qmp_trace.h"
#include "control/cli/command.h"
#include "control/trace_view.h"

/* How long the last lines may take when the user ends the trace. */
#define FAREWELL_MS 200

struct trace_run {
    const char *name, *perfetto;
    bool json;
    uint64_t count, seconds; /* 0: no limit */
    json_t *arguments;
    struct trace_chrome chrome;
    uint64_t shown, dropped;
    bool vm_ended, interrupted;
    int signal_fd;
    FILE *out; /* collects what is to be written: text, size */
    char *text;
    size_t size;
};

static const struct option_spec trace_options[] = {
    {"filter", "LIST", "only these, comma-separated: events, groups, gva=LOW[-HIGH], gfn=N"},
    {"count", "N", "end after N events"},
    {"seconds", "N", "end after N seconds"},
    {"json", NULL, "one JSON object a line, for programs"},
    {"perfetto", "FILE", "write a file for a trace viewer instead of text"},
    {NULL, NULL, NULL},
};

static enum err take_count(const struct option_spec *spec, const char *value, uint64_t *out)
{
    char *end;

    *out = strtoull(value, &end, 10);
    if (!*value || *end || *value == '-' || !*out || *out > 1000000000000u)
        return err_new(ERR_INVAL, "--%s: '%.40s' is not a number from 1 on", spec->name, value);
    return ERR_OK;
}

/* gva=LOW[-HIGH] */
static void take_range(json_t *arguments, char *range)
{
    char *dash = strchr(range, '-');

    if (dash)
        *dash = '\0';
    json_object_set_new(arguments, "gva-low", json_string(range));
    json_object_set_new(arguments, "gva-high", json_string(dash ? dash + 1 : range));
}

static enum err take_filter(json_t *arguments, const char *list)
{
    json_t *events = json_array();
    char *copy = strdup(list), *rest = copy;
    enum err err = ERR_OK;

    for (char *word = copy ? strsep(&rest, ",") : NULL; word && !err; word = strsep(&rest, ",")) {
        if (!strncmp(word, "gva=", 4))
            take_range(arguments, word + 4);
        else if (!strncmp(word, "gfn=", 4))
            json_object_set_new(arguments, "gfn", json_string(word + 4));
        else if (tracer_events_named(word))
            json_array_append_new(events, json_string(word));
        else
            err =
                err_new(ERR_INVAL,
                        "--filter: there is no event '%.40s'; umbra trace --help lists them", word);
    }
    if (json_array_size(events))
        json_object_set(arguments, "events", events);
    json_decref(events);
    free(copy);
    return err;
}

static enum err set_option(void *arg, const struct option_spec *spec, const char *value)
{
    struct trace_run *run = arg;

    if (!strcmp(spec->name, "filter"))
        return take_filter(run->arguments, value);
    if (!strcmp(spec->name, "count"))
        return take_count(spec, value, &run->count);
    if (!strcmp(spec->name, "seconds"))
        return take_count(spec, value, &run->seconds);
    if (!strcmp(spec->name, "perfetto"))
        run->perfetto = value;
    else
        run->json = true;
    return ERR_OK;
}

static enum err take_name(void *arg, const char *word)
{
    struct trace_run *run = arg;

    if (run->name)
        return err_new(ERR_INVAL, "one VM at a time: '%.40s' is a second name", word);
    run->name = word;
    return ERR_OK;
}

static void print_help(void)
{
    puts("umbra trace NAME [--filter LIST] [--count N | --seconds N] [--json] [--perfetto "
         "FILE]\n\nExamples:\n"
         "  umbra trace web1                             every fault and flush, step by step; "
         "Ctrl-C ends it\n"
         "  umbra trace web1 --filter true,hidden_dirty --count 20\n"
         "  umbra trace web1 --filter all,gva=0x400000-0x4fffff\n"
         "  umbra trace web1 --seconds 2 --perfetto web1.json   then open web1.json in "
         "ui.perfetto.dev\n"
         "  umbra trace web1 --json | jq .event\n\n"
         "Times are nanoseconds. A reader that is too slow loses events, which are counted; the "
         "guest does not\n"
         "wait.\n\nOptions:");
    options_print(trace_options, stdout);
    puts("\nEvents; a group is what stands before the first underscore, all is all of them. "
         "Without a filter:\n"
         "all but hit.");
    tracer_print_events(stdout);
}

/* ---- the stream ---- */

static bool is_over(const struct trace_run *run)
{
    return run->vm_ended || run->interrupted || (run->count && run->shown >= run->count);
}

/*
 * Writes what has been collected. Standard output may be a pipe that nobody reads: a signal must
 * end the trace then, too, so each piece waits for room and for signals together. After a signal
 * what is left goes out as long as there is room.
 */
static enum err write_collected(struct trace_run *run)
{
    enum err err = ERR_OK;

    fflush(run->out);
    for (size_t at = 0; at < run->size && !err;) {
        struct pollfd fds[] = {{.fd = STDOUT_FILENO, .events = POLLOUT},
                               {.fd = run->signal_fd, .events = POLLIN}};
        size_t piece = run->size - at < PIPE_BUF ? run->size - at : PIPE_BUF;
        int ready = run->interrupted ? poll(fds, 1, FAREWELL_MS) : poll(fds, 2, -1);

        run->interrupted |= fds[1].revents != 0;
        if (!ready)
            break;
        if (!fds[0].revents)
            continue;
        ssize_t n = write(STDOUT_FILENO, run->text + at, piece);

        if (n >= 0)
            at += (size_t)n;
        else if (errno != EINTR && errno != EAGAIN)
            err = err_errno(ERR_IO, "cannot write to standard output");
    }
    rewind(run->out);
    return err;
}

static void show(struct trace_run *run, const json_t *record)
{
    if (run->chrome.file)
        trace_chrome_add(&run->chrome, record);
    if (run->json) {
        json_dumpf(record, run->out, JSON_COMPACT);
        fputc('\n', run->out);
    } else if (!run->chrome.file) {
        trace_print(record, run->out);
    }
    run->shown++;
}

static enum err take_message(struct trace_run *run, const json_t *message)
{
    const char *event = json_string_value(json_object_get(message, "event"));
    const json_t *data = json_object_get(message, "data");
    json_int_t dropped = json_integer_value(json_object_get(data, "dropped"));
    size_t i;
    json_t *record;
    enum err err;

    if (event && !strcmp(event, "SHUTDOWN"))
        run->vm_ended = true;
    if (!event || strcmp(event, "X_UMBRA_TRACE"))
        return ERR_OK;
    json_array_foreach(json_object_get(data, "records"), i, record)
    {
        if (!is_over(run))
            show(run, record);
    }
    err = write_collected(run);
    if (dropped) {
        run->dropped += (uint64_t)dropped;
        fprintf(stderr,
                "umbra: %" JSON_INTEGER_FORMAT
                " events dropped here: they came faster than they were read\n",
                dropped);
    }
    return err;
}

static uint64_t now_ms(void)
{
    return host_ns() / 1000000;
}

static int wait_ms(const struct trace_run *run, uint64_t end_ms, uint64_t now)
{
    if (!run->seconds)
        return -1;
    return end_ms - now < INT_MAX ? (int)(end_ms - now) : INT_MAX;
}

/* Until a limit, a signal, or the end of the VM. */
static enum err follow(struct trace_run *run, struct qmp_link *link)
{
    uint64_t end_ms = now_ms() + run->seconds * 1000;
    enum err err = ERR_OK;

    while (!err && !is_over(run)) {
        struct pollfd fds[] = {{.fd = link->fd, .events = POLLIN},
                               {.fd = run->signal_fd, .events = POLLIN}};
        uint64_t now = now_ms();
        json_t *message = NULL;

        if (run->seconds && now >= end_ms)
            break;
        poll(fds, 2, wait_ms(run, end_ms, now));
        if (fds[1].revents)
            break;
        do {
            err = qmp_link_take(link, &message);
            if (!err && message)
                err = take_message(run, message);
            json_decref(message);
        } while (!err && message && !is_over(run));
    }
    return err;
}

/* Tracing goes off now, or at the latest when the connection closes. */
static void end_trace(struct qmp_link *link)
{
    json_t *result = NULL;

    if (!qmp_link_call(link, QMP_TRACE_STOP, &result))
        json_decref(result);
}

static enum err trace_vm(struct trace_run *run, struct qmp_link *link)
{
    json_t *result = NULL;
    enum err err = ERR_OK, close_err;

    if (run->perfetto)
        err = trace_chrome_open(&run->chrome, run->perfetto, run->name);
    if (!err)
        err = qmp_link_call_with(link, QMP_TRACE_START, run->arguments, &result);
    json_decref(result);
    if (!err) {
        run->signal_fd = cli_signal_fd();
        run->out = open_memstream(&run->text, &run->size);
        err = run->out ? follow(run, link) : err_errno(ERR_NOMEM, "no memory for a trace");
        if (!err && !run->vm_ended)
            end_trace(link);
        if (run->out)
            fclose(run->out);
        free(run->text);
        close(run->signal_fd);
    }
    close_err = trace_chrome_close(&run->chrome);
    return err ? err : close_err;
}

int command_trace(int count, char *const *words)
{
    struct trace_run run = {.arguments = json_object()};
    const struct option_sink sink = {.arg = &run, .set = set_option, .positional = take_name};
    struct qmp_link link;
    bool want_help;
    enum err err = options_parse(trace_options, count, words, &sink, &want_help);

    if (!err && want_help) {
        print_help();
        json_decref(run.arguments);
        return STATUS_OK;
    }
    if (!err && !run.name)
        err = err_new(ERR_INVAL, "name the VM; umbra ps lists those that run");
    if (!err)
        err = qmp_link_open(&link, run.name, QMP_LINK_PATIENT_S);
    if (!err) {
        err = trace_vm(&run, &link);
        qmp_link_close(&link);
    }
    json_decref(run.arguments);
    if (err)
        return cli_fail(err);
    fprintf(stderr, "umbra: %llu events, %llu dropped%s%s%s\n", (unsigned long long)run.shown,
            (unsigned long long)run.dropped, run.vm_ended ? "; the VM has ended" : "",
            run.perfetto ? "; the trace is in " : "", run.perfetto ? run.perfetto : "");
    return STATUS_OK;
}
