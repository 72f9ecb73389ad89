/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace records as JSON text, written by hand: a trace may have a hundred thousand of them a
 * second.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/invariant.h"
#include "control/tracer.h"

struct text {
    char *buf;
    size_t used, size;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    t->used += (size_t)vsnprintf(t->buf + t->used, t->size - t->used, format, args);
    va_end(args);
    invariant(t->used < t->size);
}

static const char *access_name(unsigned kind)
{
    return kind == MMU_READ ? "read" : kind == MMU_WRITE ? "write" : "fetch";
}

struct row {
    const char *name, *text;
};

#define EVENT_ROW(name, text) {#name, text},
static const struct row event_rows[] = {MMU_TRACE_EVENTS(EVENT_ROW)};
static const struct row step_rows[] = {MMU_STEPS(EVENT_ROW)};

/* A CPU whose TSC is behind the one that started the trace gives 0. */
static uint64_t ns_since(uint64_t tsc, uint64_t tsc_start, uint64_t tsc_khz)
{
    return tsc > tsc_start ? clock_ns_from_ticks(tsc - tsc_start, tsc_khz) : 0;
}

static void add_steps(struct text *t, const struct mmu_trace_record *r, uint64_t start_ns,
                      uint64_t tsc_start, uint64_t tsc_khz)
{
    uint64_t before = start_ns;

    add(t, ",\"steps\":{");
    for (unsigned i = 0; i < r->steps; i++) {
        uint64_t now = ns_since(r->at[i + 1], tsc_start, tsc_khz);

        if (now < before)
            now = before; /* the thread has moved to such a CPU */
        add(t, "%s\"%s\":%" PRIu64, i ? "," : "", step_rows[i].name, now - before);
        before = now;
    }
    add(t, "},\"ns\":%" PRIu64, before - start_ns);
}

static void add_access(struct text *t, const struct mmu_trace_record *r)
{
    add(t, ",\"access\":\"%s\",\"mode\":\"%s\"", access_name(r->kind),
        r->user       ? "user"
        : r->implicit ? "implicit"
                      : "kernel");
    if (r->steps > MMU_STEP_read_cause)
        add(t, ",\"error_code\":%" PRIu32, r->error_code);
    if (r->steps > MMU_STEP_walk_guest)
        add(t, ",\"level\":%u", r->level);
    if (r->has_gfn)
        add(t, ",\"gfn\":\"0x%" PRIx64 "\"", r->gfn.v);
    if (r->hva.v)
        add(t,
            ",\"hva\":\"0x%" PRIx64 "\",\"before\":\"%s\",\"after\":\"%s\",\"rights\":\"%c%c%c\"",
            r->hva.v, page_state_name(r->before), page_state_name(r->after),
            r->may_read ? 'r' : '-', r->may_write ? 'w' : '-', r->may_exec ? 'x' : '-');
    if (r->steps > MMU_STEP_set_entry)
        add(t, ",\"set\":%s", r->set ? "true" : "false");
}

static void add_table_event(struct text *t, const struct mmu_trace_record *r)
{
    if (r->has_gfn)
        add(t, ",\"table_gfn\":\"0x%" PRIx64 "\",\"level\":%u", r->gfn.v, r->level);
    if (r->event == MMU_TRACE_switch_cr3)
        add(t, ",\"old_cr3\":\"0x%" PRIx64 "\",\"new_cr3\":\"0x%" PRIx64 "\"", r->old_value,
            r->new_value);
    else if (r->event == MMU_TRACE_flush_invpcid)
        add(t, ",\"of_pcid\":%" PRIu64 ",\"type\":%" PRIu64, r->old_value, r->new_value);
    else if (r->event == MMU_TRACE_zap)
        add(t, ",\"entries\":%" PRIu64, r->old_value);
    else if (r->event == MMU_TRACE_table_write || r->event == MMU_TRACE_table_unsync)
        add(t, ",\"from_byte\":%" PRIu64 ",\"to_byte\":%" PRIu64, r->old_value, r->new_value);
    else if (r->event == MMU_TRACE_table_sync)
        add(t, ",\"line\":%" PRIu64, r->new_value);
    else if (r->event == MMU_TRACE_table_prefetch)
        add(t, ",\"entry\":\"0x%" PRIx64 "\"", r->new_value);
}

size_t tracer_format(const struct mmu_trace_record *r, uint64_t tsc_start, uint64_t tsc_khz,
                     char *buf, size_t buf_bytes)
{
    struct text t = {.buf = buf, .size = buf_bytes};
    uint64_t start_ns = ns_since(r->at[0], tsc_start, tsc_khz);
    bool is_access = MMU_TRACE_ACCESSES >> r->event & 1;

    add(&t, "{\"t_ns\":%" PRIu64 ",\"vcpu\":0,\"event\":\"%s\",\"text\":\"%s\"", start_ns,
        event_rows[r->event].name, event_rows[r->event].text);
    if (is_access || r->event == MMU_TRACE_flush_invlpg || r->has_gfn ||
        r->event == MMU_TRACE_flush_invpcid)
        add(&t, ",\"gva\":\"0x%" PRIx64 "\"", r->gva.v);
    if (is_access)
        add_access(&t, r);
    else
        add_table_event(&t, r);
    add(&t, ",\"cr3\":\"0x%" PRIx64 "\",\"pcid\":%u", r->cr3, r->pcid);
    if (r->steps)
        add_steps(&t, r, start_ns, tsc_start, tsc_khz);
    add(&t, "}");
    return t.used;
}
