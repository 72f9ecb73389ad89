/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arming a chip's timer: the clock has room for all of a board's timers from its creation, so it
 * never fails.
 */
#ifndef UMBRA_MACHINE_TIMER_H
#define UMBRA_MACHINE_TIMER_H

#include "base/clock.h"
#include "base/invariant.h"

static inline void machine_timer_arm(struct clock *clock, struct clock_timer *timer,
                                     uint64_t due_ns)
{
    enum err err = clock_timer_arm(clock, timer, due_ns);

    invariant(err == ERR_OK);
}

#endif
