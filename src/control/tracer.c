/* SPDX-License-Identifier: Apache-2.0 */
#include "control/tracer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/clock.h"
#include "control/trace_ring.h"

#define RING_RECORDS (64u * 1024)
#define TICK_NS      10000000L

struct tracer {
    struct vm *vm;
    struct mmu_trace listener;
    struct tracer_filter filter;
    struct trace_ring ring;
    int tick_fd;
    uint64_t tsc_start, tsc_khz;
    uint64_t told, dropped_told;
};

struct event_row {
    const char *name, *text;
};

#define EVENT_ROW(name, text) {#name, text},
static const struct event_row event_rows[] = {MMU_TRACE_EVENTS(EVENT_ROW)};

struct tracer_filter tracer_filter_default(void)
{
    return (struct tracer_filter){
        .events = (UINT32_C(1) << MMU_TRACE_COUNT) - 1 - MMU_TRACE_BIT(hit),
        .gva_high = UINT64_MAX,
    };
}

uint32_t tracer_events_named(const char *word)
{
    size_t length = strlen(word);
    uint32_t events = 0;

    if (!strcmp(word, "all"))
        return (UINT32_C(1) << MMU_TRACE_COUNT) - 1;
    for (unsigned i = 0; i < MMU_TRACE_COUNT; i++) {
        const char *name = event_rows[i].name;

        if (!strncmp(name, word, length) && (!name[length] || name[length] == '_'))
            events |= UINT32_C(1) << i;
    }
    return length ? events : 0;
}

void tracer_print_events(FILE *out)
{
    for (unsigned i = 0; i < MMU_TRACE_COUNT; i++)
        fprintf(out, "  %-18s %s\n", event_rows[i].name, event_rows[i].text);
}

/* The vCPU's thread. */
static void tell(void *arg, const struct mmu_trace_record *record)
{
    struct tracer *t = arg;

    if (record->gva.v < t->filter.gva_low || record->gva.v > t->filter.gva_high)
        return;
    if (t->filter.has_gfn && !(record->has_gfn && record->gfn.v == t->filter.gfn))
        return;
    trace_ring_put(&t->ring, record);
}

static enum err start_tick(struct tracer *t)
{
    const struct itimerspec tick = {.it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS};

    t->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (t->tick_fd < 0 || timerfd_settime(t->tick_fd, 0, &tick, NULL))
        return err_errno(ERR_IO, "cannot make a timer for the trace");
    return ERR_OK;
}

static void listen_to(struct vm *vm, const struct mmu_trace *listener)
{
    vm_hold(vm);
    mmu_set_trace(vm_mmu(vm), listener);
    vm_release(vm);
}

enum err tracer_start(struct tracer **out, struct vm *vm, const struct tracer_filter *filter)
{
    struct tracer *t = aligned_alloc(64, (sizeof(*t) + 63) & ~(size_t)63);
    enum err err;

    *out = NULL;
    if (!t)
        return err_new(ERR_NOMEM, "no memory for a trace");
    memset(t, 0, sizeof(*t));
    t->tick_fd = -1;
    t->filter = *filter;
    t->listener = (struct mmu_trace){.arg = t, .mask = filter->events, .tell = tell};
    err = trace_ring_init(&t->ring, RING_RECORDS);
    if (!err)
        err = start_tick(t);
    if (err) {
        tracer_stop(t);
        return err;
    }
    t->vm = vm;
    t->tsc_khz = host_tsc_khz();
    t->tsc_start = __rdtsc();
    listen_to(vm, &t->listener);
    *out = t;
    return ERR_OK;
}

void tracer_stop(struct tracer *t)
{
    if (!t)
        return;
    if (t->vm)
        listen_to(t->vm, NULL);
    if (t->tick_fd >= 0)
        close(t->tick_fd);
    trace_ring_fini(&t->ring);
    free(t);
}

int tracer_fd(const struct tracer *t)
{
    return t->tick_fd;
}

void tracer_tick_seen(struct tracer *t)
{
    uint64_t ticks;
    ssize_t n = read(t->tick_fd, &ticks, sizeof(ticks));

    (void)n;
}

bool tracer_take(struct tracer *t, char *buf, size_t buf_bytes, uint64_t *dropped)
{
    uint64_t lost = trace_ring_dropped(&t->ring);
    struct mmu_trace_record record;
    size_t used = 0;

    while (buf_bytes - used >= TRACER_RECORD_BYTES + 3 && trace_ring_take(&t->ring, &record)) {
        buf[used] = used ? ',' : '[';
        used++;
        used += tracer_format(&record, t->tsc_start, t->tsc_khz, buf + used, buf_bytes - used);
        t->told++;
    }
    *dropped = lost - t->dropped_told;
    t->dropped_told = lost;
    if (!used && !*dropped)
        return false;
    memcpy(buf + used, used ? "]" : "[]", used ? 2 : 3);
    return true;
}

uint64_t tracer_told(const struct tracer *t)
{
    return t->told;
}

uint64_t tracer_dropped(const struct tracer *t)
{
    return trace_ring_dropped(&t->ring);
}
