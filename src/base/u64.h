/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic on sizes and counts. */
#ifndef UMBRA_BASE_U64_H
#define UMBRA_BASE_U64_H

#include <stdint.h>

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What is left of a after b: 0 where b is more. */
static inline uint64_t left_u64(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

#endif
