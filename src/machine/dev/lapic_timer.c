/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The APIC timer. The count is not stepped: an armed clock timer is the moment it reaches 0, and
 * the current count is worked out from the time left.
 */
#include "machine/dev/lapic_private.h"
#include "machine/timer.h"

/*
 * A periodic timer shorter than this would only make the guest drown: its interrupts come this far
 * apart.
 */
#define SHORTEST_PERIOD_NS 20000

/* Divide configuration: bits 3, 1, 0 are 0..6 for /2../128, 7 for /1. */
static unsigned divide_shift(uint32_t divide)
{
    return (((divide & 3) | (divide & 8) >> 1) + 1) & 7;
}

static unsigned mode(const struct lapic *lapic)
{
    return LVT_TIMER_MODE(lapic->lvt[LAPIC_LVT_TIMER]);
}

static uint64_t ns_of_count(const struct lapic *lapic, uint32_t count)
{
    return (uint64_t)count << divide_shift(lapic->divide);
}

static void on_timer(void *arg, uint64_t now)
{
    struct lapic *lapic = arg;
    uint64_t period = ns_of_count(lapic, lapic->initial_count);

    if (mode(lapic) == TIMER_PERIODIC && period) {
        uint64_t due = lapic->timer.due_ns;

        if (period < SHORTEST_PERIOD_NS)
            period = SHORTEST_PERIOD_NS;
        machine_timer_arm(lapic->clock, &lapic->timer, due + ((now - due) / period + 1) * period);
    }
    lapic->tsc_deadline = 0;
    lapic_fire_lvt(lapic, LAPIC_LVT_TIMER);
}

void lapic_timer_init(struct lapic *lapic)
{
    lapic->timer = (struct clock_timer){.fn = on_timer, .arg = lapic};
}

void lapic_timer_stop(struct lapic *lapic)
{
    clock_timer_cancel(lapic->clock, &lapic->timer);
    lapic->tsc_deadline = 0;
}

uint32_t lapic_timer_current(const struct lapic *lapic)
{
    uint64_t now;

    if (!clock_timer_is_armed(&lapic->timer) || mode(lapic) == TIMER_DEADLINE)
        return 0;
    now = clock_now(lapic->clock);
    if (lapic->timer.due_ns <= now)
        return 0;
    return (uint32_t)((lapic->timer.due_ns - now) >> divide_shift(lapic->divide));
}

static void start(struct lapic *lapic, uint32_t count)
{
    if (count)
        machine_timer_arm(lapic->clock, &lapic->timer,
                          clock_now(lapic->clock) + ns_of_count(lapic, count));
    else
        clock_timer_cancel(lapic->clock, &lapic->timer);
}

void lapic_timer_set_initial(struct lapic *lapic, uint32_t value)
{
    if (mode(lapic) == TIMER_DEADLINE)
        return;
    lapic->initial_count = value;
    start(lapic, value);
}

void lapic_timer_set_divide(struct lapic *lapic, uint32_t value)
{
    uint32_t current = lapic_timer_current(lapic);

    lapic->divide = value & 0x0b;
    if (current)
        start(lapic, current);
}

void lapic_timer_set_lvt(struct lapic *lapic, uint32_t value)
{
    unsigned old_mode = mode(lapic);

    lapic->lvt[LAPIC_LVT_TIMER] = value;
    if ((old_mode == TIMER_DEADLINE) != (mode(lapic) == TIMER_DEADLINE)) {
        lapic->initial_count = 0;
        lapic_timer_stop(lapic);
    }
}

uint64_t lapic_timer_deadline(const struct lapic *lapic)
{
    return mode(lapic) == TIMER_DEADLINE ? lapic->tsc_deadline : 0;
}

/* Rounded up, so that at that time the TSC has reached the deadline. */
static uint64_t ns_of_deadline(const struct lapic *lapic, uint64_t deadline)
{
    if (deadline / lapic->tsc_khz >= CLOCK_NEVER / 1000000 - 1)
        return CLOCK_NEVER - 1;
    return clock_ns_from_ticks(deadline, lapic->tsc_khz) + 1;
}

void lapic_timer_set_deadline(struct lapic *lapic, uint64_t value)
{
    if (mode(lapic) != TIMER_DEADLINE)
        return;
    lapic->tsc_deadline = value;
    if (value)
        machine_timer_arm(lapic->clock, &lapic->timer, ns_of_deadline(lapic, value));
    else
        clock_timer_cancel(lapic->clock, &lapic->timer);
}
