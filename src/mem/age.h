/* SPDX-License-Identifier: Apache-2.0 */
/* What the bytes say that tell how long a frame has been idle, and how long it usually is. */
#ifndef UMBRA_MEM_AGE_H
#define UMBRA_MEM_AGE_H

#include <stdint.h>

/* The low bits of an age: see age.c; the mark says "read ahead and not used yet". */
#define AGE_MAX    127
#define AGE_SECOND 16
#define AGE_AHEAD  128
/* Above all age_seconds. */
#define AGE_SECONDS (AGE_MAX - AGE_SECOND + 2)

static inline unsigned age_seconds(uint8_t age)
{
    unsigned a = age & AGE_MAX;

    return a < AGE_SECOND ? 0 : a - AGE_SECOND + 1;
}

/* In sixteenths. */
static inline unsigned age_parts(uint8_t age)
{
    unsigned a = age & AGE_MAX;

    return a < AGE_SECOND ? a : (a - AGE_SECOND + 1) * AGE_SECOND;
}

/*
 * How long a frame was idle between its uses, in the mean: the last time counts for a quarter. In a
 * byte: sixteenths up to four seconds, then seconds. 0: not known.
 */
#define INTERVAL_FINE   64u
#define INTERVAL_WEIGHT 4u
static inline unsigned interval_parts(uint8_t interval)
{
    return interval < INTERVAL_FINE ? interval
                                    : INTERVAL_FINE + (interval - INTERVAL_FINE) * AGE_SECOND;
}

static inline uint8_t interval_next(uint8_t interval, uint8_t age)
{
    unsigned before = interval_parts(interval), parts = age_parts(age);

    if (before)
        parts = (before * (INTERVAL_WEIGHT - 1) + parts) / INTERVAL_WEIGHT;
    return (uint8_t)(parts < INTERVAL_FINE ? parts
                                           : INTERVAL_FINE + (parts - INTERVAL_FINE) / AGE_SECOND);
}

#endif
