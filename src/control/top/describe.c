/* SPDX-License-Identifier: Apache-2.0 */
#include "control/top/describe.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/size.h"
#include "control/top/format.h"

/* A line that grows; what does not fit is left out. */
struct line {
    char text[TOP_LINE_BYTES];
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(line->text + line->used, sizeof(line->text) - line->used, fmt, args);
    va_end(args);
    if (n > 0)
        line->used += (size_t)n;
    if (line->used >= sizeof(line->text))
        line->used = sizeof(line->text) - 1;
}

/* The same after ", " where something is there already. */
#define LIST(line, ...) (add(line, "%s", (line)->used ? ", " : ""), add(line, __VA_ARGS__))

const char *top_row_state(const struct top_row *row)
{
    if (row->is_silent)
        return "not answering";
    return row->has_now ? row->now.state : "asked";
}

/* ---- lines ---- */

static void memory_line(const struct top_sample *s, struct line *line)
{
    char size[16], part[16];

    add(line, "believes %s", size_format(size, sizeof(size), s->guest));
    LIST(line, "holds %s", size_format(size, sizeof(size), s->held));
    if (s->limit == TOP_UNKNOWN) {
        LIST(line, "no limit");
    } else {
        add(line, " of at most %s", size_format(size, sizeof(size), s->limit));
        add(line, " (%s)",
            top_format_part(part, sizeof(part), s->limit ? (double)s->held / (double)s->limit : 0));
    }
    if (s->available != TOP_UNKNOWN)
        add(line, "; the guest could give %s", size_format(size, sizeof(size), s->available));
}

static void pages_line(const struct top_sample *s, struct line *line)
{
    char size[16];

    for (unsigned i = 0; i < PAGE_STATES; i++) {
        enum page_state state = top_bar_order[i];

        if (s->pages[state])
            LIST(line, "%s %s", size_format(size, sizeof(size), s->pages[state] * PAGE_SIZE),
                 page_state_name(state));
    }
}

static void flow_line(const struct top_row *row, enum top_way way, struct line *line)
{
    const struct top_rates *rates = &row->rates;
    char rate[16];

    for (unsigned i = 0; i < TOP_FLOW_KINDS; i++) {
        if (top_flow_way(i) == way && rates->per_second[i] > 0)
            LIST(line, "%s %s", top_format_rate(rate, sizeof(rate), rates->per_second[i]),
                 top_flow_word(i));
    }
    if (!line->used)
        add(line, row->has_rates ? "nothing" : "not known yet");
}

static void waits_line(const struct top_row *row, struct line *line)
{
    char waiting[16], reclaiming[16];

    if (row->has_rates)
        add(line, "%s of the time for pages, %s for reclaim; stalls: %" PRIu64 " now, ",
            top_format_part(waiting, sizeof(waiting), row->rates.waiting),
            top_format_part(reclaiming, sizeof(reclaiming), row->rates.reclaiming),
            row->rates.stalls);
    else
        add(line, "stalls: ");
    add(line, "%" PRIu64 " in all", row->now.stalls);
}

static void latency_line(const struct top_row *row, struct line *line)
{
    char median[16], most[16];

    for (unsigned s = 0; s < TOP_SOURCES; s++) {
        const struct top_latency *l = &row->rates.latency[s];

        if (row->has_rates && l->count)
            add(line, "%s%s %s, %s", line->used ? "; " : "half, 99 % within: ", top_source_word(s),
                top_format_ns(median, sizeof(median), l->median_ns),
                top_format_ns(most, sizeof(most), l->p99_ns));
    }
    if (!line->used)
        add(line, row->has_rates ? "no page was brought in" : "not known yet");
}

void top_describe_policy(const struct top_row *row, char *buf, size_t buf_bytes)
{
    const struct top_sample *s = &row->now;
    const char *phase = strcmp(s->phase, "restarting") ? "" : "restarting; ";

    if (!row->has_now)
        snprintf(buf, buf_bytes, "-");
    else if (s->stall[0])
        snprintf(buf, buf_bytes, "%sthe guest waits: %s", phase, s->stall);
    else if (s->why[0])
        snprintf(buf, buf_bytes, "%s%s: %s", phase, s->rung, s->why);
    else
        snprintf(buf, buf_bytes, "%snothing to do", phase);
}

static void pool_line(const struct top_model *model, const struct top_row *row, struct line *line)
{
    const struct top_pool *pool = NULL;
    const json_t *member = top_model_member(model, row->name, &pool);
    const char *phase = json_string_value(json_object_get(member, "phase"));
    const char *why = json_string_value(json_object_get(member, "why"));
    json_int_t smart = json_integer_value(json_object_get(member, "smart"));
    char size[16];

    if (!member)
        return;
    add(line, "%s leases it %s", pool->name,
        size_format(size, sizeof(size),
                    (uint64_t)json_integer_value(json_object_get(member, "lease"))));
    if (phase)
        add(line, "; %s", phase);
    if (smart > 0)
        add(line, "; %s of smart paging", size_format(size, sizeof(size), (uint64_t)smart));
    if (why && why[0])
        add(line, "; %s", why);
}

void top_describe_vm(const struct top_model *model, const struct top_row *row, top_line_fn fn,
                     void *arg)
{
    static const struct {
        const char *label;
        enum top_way way;
    } ways[] = {{"out/s", TOP_OUT}, {"in/s", TOP_IN}};
    struct line line = {.used = 0};
    char policy[TOP_LINE_BYTES];

    if (!row->has_now) {
        fn(arg, "state", row->is_silent ? "does not answer" : "was asked just now");
        return;
    }
    memory_line(&row->now, &line);
    fn(arg, "memory", line.text);
    line = (struct line){.used = 0};
    pages_line(&row->now, &line);
    fn(arg, "pages", line.text);
    for (unsigned i = 0; i < 2; i++) {
        line = (struct line){.used = 0};
        flow_line(row, ways[i].way, &line);
        fn(arg, ways[i].label, line.text);
    }
    line = (struct line){.used = 0};
    waits_line(row, &line);
    fn(arg, "waits", line.text);
    line = (struct line){.used = 0};
    latency_line(row, &line);
    fn(arg, "latency", line.text);
    top_describe_policy(row, policy, sizeof(policy));
    fn(arg, "policy", policy);
    line = (struct line){.used = 0};
    pool_line(model, row, &line);
    if (line.used)
        fn(arg, "pool", line.text);
}

/* ---- heads ---- */

void top_describe_pool(const struct top_pool *pool, char *buf, size_t buf_bytes)
{
    char bytes[16], free_bytes[16], shortage[16], leases[16];
    const char *name;
    json_t *member;
    uint64_t leased = 0;

    if (pool->is_silent || !pool->members) {
        snprintf(buf, buf_bytes, "pool %s: its manager does not answer", pool->name);
        return;
    }
    json_object_foreach(pool->members, name, member) leased +=
        (uint64_t)json_integer_value(json_object_get(member, "lease"));
    snprintf(buf, buf_bytes, "pool %s: %s; %s of %s free, %s missing; leases of %zu VM%s: %s",
             pool->name, pool->state, size_format(free_bytes, sizeof(free_bytes), pool->free),
             size_format(bytes, sizeof(bytes), pool->bytes),
             size_format(shortage, sizeof(shortage), pool->shortage),
             json_object_size(pool->members), json_object_size(pool->members) == 1 ? "" : "s",
             size_format(leases, sizeof(leases), leased));
}

void top_describe_sums(const struct top_model *model, char *buf, size_t buf_bytes)
{
    struct top_sums sums = top_model_sums(model);
    char guest[16], held[16], in[16], out[16];

    if (!sums.vms) {
        snprintf(buf, buf_bytes, "no VM runs");
        return;
    }
    snprintf(buf, buf_bytes, "%zu VM%s of %s hold%s %s; pages/s: %s in, %s out", sums.vms,
             sums.vms == 1 ? "" : "s", size_format(guest, sizeof(guest), sums.guest),
             sums.vms == 1 ? "s" : "", size_format(held, sizeof(held), sums.held),
             top_format_rate(in, sizeof(in), sums.in_per_second),
             top_format_rate(out, sizeof(out), sums.out_per_second));
}
