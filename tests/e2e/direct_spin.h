/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UMBRA_TESTS_DIRECT_SPIN_H
#define UMBRA_TESTS_DIRECT_SPIN_H

#include <stdint.h>

static inline uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

/* A long computation without any system call. */
static inline uint64_t spin(uint64_t x, unsigned n)
{
    while (n--)
        x = mix(x + n);
    return x;
}

#endif
