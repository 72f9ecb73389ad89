/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of random numbers: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). */
#ifndef UMBRA_TESTS_FUZZ_DICE_H
#define UMBRA_TESTS_FUZZ_DICE_H

#include <stdbool.h>
#include <stdint.h>

struct dice {
    uint64_t s;
};

static inline uint64_t dice_next(struct dice *d)
{
    uint64_t z = (d->s += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static inline unsigned dice_below(struct dice *d, unsigned n)
{
    return (unsigned)(dice_next(d) >> 33) % n;
}

static inline bool dice_percent(struct dice *d, unsigned p)
{
    return dice_below(d, 100) < p;
}

#endif
