/* SPDX-License-Identifier: Apache-2.0 */
/* A clock that stands still until a test moves it, and an interrupt line that counts. */
#ifndef UMBRA_TESTS_MACHINE_TIME_H
#define UMBRA_TESTS_MACHINE_TIME_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "machine/irq.h"

static inline uint64_t time_no_instructions(void *arg)
{
    (void)arg;
    return 0;
}

static inline struct clock *time_create(void)
{
    const struct clock_config config = {
        .mode = CLOCK_INSTRUCTIONS,
        .instructions = time_no_instructions,
    };
    struct clock *clock;

    assert_int_equal(clock_create(&clock, &config), ERR_OK);
    return clock;
}

/* Moves time to each due moment on the way and runs what is due there. */
static inline void time_advance(struct clock *clock, uint64_t ns)
{
    uint64_t end = clock_now(clock) + ns;

    while (clock_next_due(clock) <= end) {
        clock_skip_to(clock, clock_next_due(clock));
        clock_run_due(clock);
    }
    clock_skip_to(clock, end);
}

struct line_probe {
    bool level;
    unsigned rises;
};

static inline void line_probe_set(void *arg, unsigned pin, bool level)
{
    struct line_probe *probe = arg;

    (void)pin;
    if (level && !probe->level)
        probe->rises++;
    probe->level = level;
}

static inline struct irq_line line_to(struct line_probe *probe)
{
    return (struct irq_line){.set = line_probe_set, .arg = probe};
}

#endif
