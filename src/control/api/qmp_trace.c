/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/qmp_trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static bool take_number(const json_t *value, uint64_t *out)
{
    const char *text = json_string_value(value);
    char *end;

    if (json_is_integer(value)) {
        *out = (uint64_t)json_integer_value(value);
        return true;
    }
    if (!text || !*text || *text == '-')
        return false;
    errno = 0;
    *out = strtoull(text, &end, 0);
    return !*end && !errno;
}

static bool take_events(const json_t *list, uint32_t *events, const char **bad)
{
    size_t i;
    json_t *word;

    *events = 0;
    *bad = "events";
    if (!json_is_array(list))
        return false;
    json_array_foreach(list, i, word)
    {
        uint32_t named = json_is_string(word) ? tracer_events_named(json_string_value(word)) : 0;

        if (!named) {
            *bad = json_is_string(word) ? json_string_value(word) : "events";
            return false;
        }
        *events |= named;
    }
    return *events != 0;
}

/* False: *bad is what cannot be used. */
static bool take_filter(const json_t *arguments, struct tracer_filter *filter, const char **bad)
{
    const char *key;
    json_t *value;

    *filter = tracer_filter_default();
    json_object_foreach((json_t *)arguments, key, value)
    {
        bool good = false;

        *bad = key;
        if (!strcmp(key, "events"))
            good = take_events(value, &filter->events, bad);
        else if (!strcmp(key, "gva-low"))
            good = take_number(value, &filter->gva_low);
        else if (!strcmp(key, "gva-high"))
            good = take_number(value, &filter->gva_high);
        else if (!strcmp(key, "gfn"))
            good = filter->has_gfn = take_number(value, &filter->gfn);
        if (!good)
            return false;
    }
    return true;
}

static json_t *start(struct qmp_trace *trace, const void *client, struct qmp_call *call)
{
    struct tracer_filter filter;
    const char *bad = "";

    if (trace->tracer)
        return qmp_fail(call, QMP_GENERIC, "%s follows this VM already; one trace at a time",
                        trace->client == client ? "this connection" : "another trace");
    if (!take_filter(call->arguments, &filter, &bad))
        return qmp_fail(call, QMP_GENERIC, "Parameter '%.60s' cannot be used", bad);
    if (tracer_start(&trace->tracer, call->vm, &filter))
        return qmp_fail(call, QMP_GENERIC, "%s", err_text());
    trace->client = client;
    return json_object();
}

static json_t *stop(struct qmp_trace *trace, const void *client, struct qmp_call *call)
{
    json_t *result;

    if (!trace->tracer || trace->client != client)
        return qmp_fail(call, QMP_GENERIC, "%s follows nothing", "this connection");
    result = json_pack("{s:I, s:I}", "told", (json_int_t)tracer_told(trace->tracer), "dropped",
                       (json_int_t)tracer_dropped(trace->tracer));
    qmp_trace_forget(trace, client);
    return result;
}

json_t *qmp_trace_run(struct qmp_trace *trace, const char *name, const void *client,
                      struct qmp_call *call)
{
    if (!strcmp(name, QMP_TRACE_START))
        return start(trace, client, call);
    if (json_object_size(call->arguments))
        return qmp_fail(call, QMP_GENERIC, "%s takes no arguments", name);
    return stop(trace, client, call);
}

void qmp_trace_forget(struct qmp_trace *trace, const void *client)
{
    if (!trace->tracer || trace->client != client)
        return;
    tracer_stop(trace->tracer);
    trace->tracer = NULL;
    trace->client = NULL;
}

bool qmp_trace_next(struct qmp_trace *trace, char buf[QMP_TRACE_MESSAGE_BYTES])
{
    static const char head[] = "{\"event\":\"X_UMBRA_TRACE\",\"data\":{\"records\":";
    const size_t room = QMP_TRACE_MESSAGE_BYTES - sizeof(head) - 160; /* for the tail */
    struct timeval now;
    uint64_t dropped;
    size_t used = sizeof(head) - 1;

    if (!trace->tracer || !tracer_take(trace->tracer, buf + used, room, &dropped))
        return false;
    memcpy(buf, head, used);
    used += strlen(buf + used);
    gettimeofday(&now, NULL);
    snprintf(buf + used, QMP_TRACE_MESSAGE_BYTES - used,
             ",\"dropped\":%" PRIu64 "},\"timestamp\":{\"seconds\":%lld,\"microseconds\":%ld}}\r\n",
             dropped, (long long)now.tv_sec, (long)now.tv_usec);
    return true;
}
