/* SPDX-License-Identifier: Apache-2.0 */
/* Times in buckets of an eighth of a power of two: percentiles within 9 %. */
#ifndef UMBRA_WORKLOAD_LATENCY_H
#define UMBRA_WORKLOAD_LATENCY_H

#include <stdint.h>

#define LATENCY_BUCKETS (64u * 8u)

struct latency {
    uint64_t count, max;
    uint32_t bucket[LATENCY_BUCKETS];
};

static inline void latency_add(struct latency *l, uint64_t ticks)
{
    unsigned power = ticks < 8 ? 3 : 63 - (unsigned)__builtin_clzll(ticks);
    l->bucket[power * 8 + (ticks >> (power - 3) & 7)]++;
    l->count++;
    if (ticks > l->max)
        l->max = ticks;
}

/* The time that `permille` of 1,000 accesses did not pass: the lower end of its bucket. */
static inline uint64_t latency_ticks(const struct latency *l, unsigned permille)
{
    uint64_t wanted = l->count * permille / 1000, seen = 0;
    for (unsigned b = 0; b < LATENCY_BUCKETS; b++) {
        seen += l->bucket[b];
        if (seen > wanted)
            return (UINT64_C(8) + b % 8) << (b / 8) >> 3;
    }
    return l->max;
}

#endif
