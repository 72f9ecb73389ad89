/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest time: nanoseconds since the machine was powered on, and the timers that hang on it.
 *
 * Two sources: the host's monotonic clock, or the count of retired instructions (then the same
 * input gives the same run). All functions but clock_now are called under the machine's lock.
 */
#ifndef UMBRA_BASE_CLOCK_H
#define UMBRA_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CLOCK_NEVER UINT64_MAX

enum clock_mode { CLOCK_HOST, CLOCK_INSTRUCTIONS };

/* CLOCK_INSTRUCTIONS: one retired instruction lasts this long. */
#define CLOCK_NS_PER_INSTRUCTION 4

/* A timer is embedded in its owner; zero-initialise, set fn and arg, then arm. */
struct clock_timer {
    uint64_t due_ns;
    void (*fn)(void *arg, uint64_t now_ns);
    void *arg;
    size_t heap_index; /* 0: not armed, else position + 1 */
};

struct clock;

/*
 * mode:           where time comes from
 * instructions:   CLOCK_INSTRUCTIONS only: retired instructions so far
 * on_earlier:     called when the next due time moved to an earlier moment (may be NULL)
 * host_tsc_khz:   CLOCK_HOST: frequency of the host's TSC where the caller knows it, 0: found out
 * here
 */
struct clock_config {
    enum clock_mode mode;
    uint64_t (*instructions)(void *arg);
    void (*on_earlier)(void *arg);
    void *arg;
    uint64_t host_tsc_khz;
};

enum err clock_create(struct clock **out, const struct clock_config *config) MUST_USE;
void clock_destroy(struct clock *clock);

enum clock_mode clock_mode(const struct clock *clock);

/* Guest time in ns. Monotonic. Any thread in CLOCK_HOST mode; the vCPU's thread otherwise. */
uint64_t clock_now(const struct clock *clock);

/*
 * A counter of tsc_khz that began at 0 with guest time; any thread as clock_now. Costs one RDTSC
 * where the frequency is that of the host's invariant TSC.
 */
uint64_t clock_tsc(const struct clock *clock, uint64_t tsc_khz);

/*
 * The same counter as (host's TSC - start) * mul / div, rounded down, for who reads it in code of
 * its own. False: it is not made of the host's TSC.
 */
struct clock_tsc_scale {
    uint64_t start, mul, div;
};
bool clock_get_tsc_scale(const struct clock *clock, uint64_t tsc_khz, struct clock_tsc_scale *out);

/*
 * Frequency of this host's TSC: from CPUID (0x15, or a hypervisor's 0x40000010), else measured for
 * 20 ms against CLOCK_MONOTONIC.
 */
uint64_t host_tsc_khz(void);

/* The host's CLOCK_MONOTONIC in ns, for what is measured or waited for on the host. */
uint64_t host_ns(void);

/* Exact (floor) without leaving 64 bits, for any khz below 2^43. */
static inline uint64_t clock_ticks_from_ns(uint64_t ns, uint64_t khz)
{
    return ns / 1000000 * khz + ns % 1000000 * khz / 1000000;
}

static inline uint64_t clock_ns_from_ticks(uint64_t ticks, uint64_t khz)
{
    return ticks / khz * 1000000 + ticks % khz * 1000000 / khz;
}

/*
 * The same for frequencies in Hz (below 2^34); the way back rounds up, so that by then the tick has
 * come.
 */
static inline uint64_t clock_ticks_of_hz(uint64_t ns, uint64_t hz)
{
    return ns / 1000000000 * hz + ns % 1000000000 * hz / 1000000000;
}

static inline uint64_t clock_ns_of_hz(uint64_t ticks, uint64_t hz)
{
    return ticks / hz * 1000000000 + (ticks % hz * 1000000000 + hz - 1) / hz;
}

/* CLOCK_INSTRUCTIONS: a halted machine jumps to the next due time. */
void clock_skip_to(struct clock *clock, uint64_t now_ns);

enum err clock_timer_arm(struct clock *clock, struct clock_timer *timer, uint64_t due_ns) MUST_USE;
void clock_timer_cancel(struct clock *clock, struct clock_timer *timer);
bool clock_timer_is_armed(const struct clock_timer *timer);

/* Next due time, CLOCK_NEVER when no timer is armed. */
uint64_t clock_next_due(const struct clock *clock);

/*
 * Runs every timer with due_ns <= now, in order of due time; `now` is read once. A callback may arm
 * timers again, for later than the `now_ns` it was given (a periodic owner skips the periods it
 * missed).
 */
void clock_run_due(struct clock *clock);

#endif
