/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest time and its timers: a binary heap ordered by due time, position kept in each timer.
 *
 * Where the host's TSC is invariant, guest time is that TSC minus its value at creation, scaled to
 * ns, so that reading it costs no system call and the guest's own TSC can never drift from it.
 * Elsewhere it is CLOCK_MONOTONIC.
 */
#include "base/clock.h"

#include <stdlib.h>
#include <time.h>

#include <cpuid.h>
#include <x86intrin.h>

#include "base/invariant.h"

/* Room from the start, so that a machine with few timers never sees an arm fail. */
#define HEAP_FIRST_CAPACITY 256

#define MEASURE_NS INT64_C(20000000)

/* A counter of this frequency counts nanoseconds. */
#define NS_KHZ 1000000

struct clock {
    struct clock_config config;
    bool by_tsc;
    uint64_t tsc_khz; /* of the host; CLOCK_INSTRUCTIONS: of nothing */
    uint64_t start;   /* TSC or ns at creation */
    uint64_t skipped; /* CLOCK_INSTRUCTIONS: ns added by clock_skip_to */
    struct clock_timer **heap;
    size_t count;
    size_t capacity;
};

uint64_t host_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* CPUID as the host's firmware or hypervisor tells the frequency; 0: it does not. */
static uint64_t told_tsc_khz(void)
{
    uint32_t a, b, c, d;

    if (__get_cpuid_count(0x15, 0, &a, &b, &c, &d) && a && b && c)
        return (uint64_t)c * b / a / 1000;
    if (__get_cpuid(1, &a, &b, &c, &d) && (c >> 31)) {
        __cpuid(0x40000000, a, b, c, d);
        if (a >= 0x40000010 && a < 0x40010000) {
            __cpuid(0x40000010, a, b, c, d);
            return a;
        }
    }
    return 0;
}

static uint64_t measured_tsc_khz(void)
{
    struct timespec pause = {.tv_nsec = MEASURE_NS};
    uint64_t ns = host_ns();
    uint64_t tsc = __rdtsc();

    nanosleep(&pause, NULL);
    ns = host_ns() - ns;
    tsc = __rdtsc() - tsc;
    return tsc * 1000000 / ns;
}

uint64_t host_tsc_khz(void)
{
    uint64_t khz = told_tsc_khz();

    if (!khz)
        khz = measured_tsc_khz();
    invariant(khz);
    return khz;
}

static bool has_invariant_tsc(void)
{
    uint32_t a, b, c, d;

    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8));
}

enum err clock_create(struct clock **out, const struct clock_config *config)
{
    struct clock *clock = calloc(1, sizeof(*clock));
    struct clock_timer **heap = calloc(HEAP_FIRST_CAPACITY, sizeof(*heap));

    if (!clock || !heap) {
        free(clock);
        free(heap);
        return err_new(ERR_NOMEM, "no memory for the clock");
    }
    clock->config = *config;
    clock->heap = heap;
    clock->capacity = HEAP_FIRST_CAPACITY;
    if (config->mode == CLOCK_HOST) {
        clock->by_tsc = has_invariant_tsc();
        if (clock->by_tsc) {
            clock->tsc_khz = config->host_tsc_khz ? config->host_tsc_khz : host_tsc_khz();
            clock->start = __rdtsc();
        } else {
            clock->start = host_ns();
        }
    }
    *out = clock;
    return ERR_OK;
}

void clock_destroy(struct clock *clock)
{
    if (!clock)
        return;
    free(clock->heap);
    free(clock);
}

enum clock_mode clock_mode(const struct clock *clock)
{
    return clock->config.mode;
}

uint64_t clock_now(const struct clock *clock)
{
    if (clock->config.mode == CLOCK_INSTRUCTIONS)
        return clock->config.instructions(clock->config.arg) * CLOCK_NS_PER_INSTRUCTION +
               clock->skipped;
    if (clock->by_tsc)
        return clock_ns_from_ticks(__rdtsc() - clock->start, clock->tsc_khz);
    return host_ns() - clock->start;
}

uint64_t clock_tsc(const struct clock *clock, uint64_t tsc_khz)
{
    if (clock->by_tsc && clock->tsc_khz == tsc_khz)
        return __rdtsc() - clock->start;
    return clock_ticks_from_ns(clock_now(clock), tsc_khz);
}

bool clock_get_tsc_scale(const struct clock *clock, uint64_t tsc_khz, struct clock_tsc_scale *out)
{
    bool is_same = clock->tsc_khz == tsc_khz;

    /* Two divisions that round are one only where the second is by 1. */
    if (!clock->by_tsc || (!is_same && tsc_khz != NS_KHZ))
        return false;
    *out = (struct clock_tsc_scale){
        .start = clock->start, .mul = is_same ? 1 : NS_KHZ, .div = is_same ? 1 : clock->tsc_khz};
    return true;
}

void clock_skip_to(struct clock *clock, uint64_t now_ns)
{
    uint64_t now = clock_now(clock);

    invariant(clock->config.mode == CLOCK_INSTRUCTIONS);
    if (now_ns != CLOCK_NEVER && now_ns > now)
        clock->skipped += now_ns - now;
}

static void heap_put(struct clock *clock, size_t at, struct clock_timer *timer)
{
    clock->heap[at] = timer;
    timer->heap_index = at + 1;
}

static void heap_up(struct clock *clock, size_t at)
{
    struct clock_timer *timer = clock->heap[at];

    while (at && clock->heap[(at - 1) / 2]->due_ns > timer->due_ns) {
        heap_put(clock, at, clock->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(clock, at, timer);
}

static void heap_down(struct clock *clock, size_t at)
{
    struct clock_timer *timer = clock->heap[at];

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= clock->count)
            break;
        if (child + 1 < clock->count && clock->heap[child + 1]->due_ns < clock->heap[child]->due_ns)
            child++;
        if (clock->heap[child]->due_ns >= timer->due_ns)
            break;
        heap_put(clock, at, clock->heap[child]);
        at = child;
    }
    heap_put(clock, at, timer);
}

static void heap_remove(struct clock *clock, struct clock_timer *timer)
{
    size_t at = timer->heap_index - 1;
    struct clock_timer *last;

    invariant(at < clock->count && clock->heap[at] == timer);
    timer->heap_index = 0;
    last = clock->heap[--clock->count];
    if (last == timer)
        return;
    heap_put(clock, at, last);
    heap_up(clock, at);
    heap_down(clock, last->heap_index - 1);
}

static enum err heap_grow(struct clock *clock)
{
    struct clock_timer **heap;

    if (clock->count < clock->capacity)
        return ERR_OK;
    heap = reallocarray(clock->heap, clock->capacity * 2, sizeof(*heap));
    if (!heap)
        return err_new(ERR_NOMEM, "no memory for a timer");
    clock->heap = heap;
    clock->capacity *= 2;
    return ERR_OK;
}

enum err clock_timer_arm(struct clock *clock, struct clock_timer *timer, uint64_t due_ns)
{
    uint64_t first = clock_next_due(clock);
    enum err err;

    if (timer->heap_index)
        heap_remove(clock, timer);
    err = heap_grow(clock);
    if (err)
        return err;
    timer->due_ns = due_ns;
    clock->heap[clock->count] = timer;
    heap_up(clock, clock->count++);
    if (due_ns < first && clock->config.on_earlier)
        clock->config.on_earlier(clock->config.arg);
    return ERR_OK;
}

void clock_timer_cancel(struct clock *clock, struct clock_timer *timer)
{
    if (timer->heap_index)
        heap_remove(clock, timer);
}

bool clock_timer_is_armed(const struct clock_timer *timer)
{
    return timer->heap_index != 0;
}

uint64_t clock_next_due(const struct clock *clock)
{
    return clock->count ? clock->heap[0]->due_ns : CLOCK_NEVER;
}

void clock_run_due(struct clock *clock)
{
    uint64_t now;

    if (!clock->count)
        return;
    now = clock_now(clock);
    while (clock->count && clock->heap[0]->due_ns <= now) {
        struct clock_timer *timer = clock->heap[0];

        heap_remove(clock, timer);
        timer->fn(timer->arg, now);
    }
}
