/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XSAVE: enabled by OSXSAVE, XCR0 checks, component mask, init state, header checks. Passes where
 * it is not offered.
 */
#include "guest.h"

static uint8_t area[4096] __attribute__((aligned(64)));
static uint8_t pattern[16] __attribute__((aligned(16)));

static void xsetbv(uint32_t index, uint64_t v)
{
    asm volatile(FAULTS("xsetbv")::"c"(index), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))
                 : "memory");
}

static uint64_t xgetbv(void)
{
    uint32_t lo, hi;
    asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

GUEST
{
    if (!(cpuid(1, 0).c & 1u << 26))
        return;
    check(1, cpuid(1, 0).c >> 27 & 1, 0);
    asm volatile(FAULTS("xgetbv") ::"c"(0) : "eax", "edx", "memory");
    check_fault(2, UD, 0, 0);
    set_cr4(get_cr4() | 0x40000);
    check(3, cpuid(1, 0).c >> 27 & 1, 1);
    check(4, xgetbv(), 1);
    xsetbv(0, 0); /* x87 is not optional */
    check_fault(5, GP, 0, 0);
    xsetbv(0, 5); /* AVX without SSE */
    check_fault(6, GP, 0, 0);
    xsetbv(0, 1ull << 62);
    check_fault(7, GP, 0, 0);
    xsetbv(1, 3);
    check_fault(8, GP, 0, 0);
    xsetbv(0, 3);
    check_no_fault(9);
    check(10, xgetbv(), 3);
    check(11, cpuid(13, 0).a & 3, 3);
    check(12, cpuid(13, 0).b, 576);

    for (unsigned i = 0; i < 16; i++)
        pattern[i] = (uint8_t)(i + 0x40);
    memset(area, 0, sizeof(area));
    asm volatile("fninit\n\tfld1\n\tmovaps %1, %%xmm3\n\t"
                 "xsave %0" : "=m"(area) : "m"(pattern), "a"(3), "d"(0));
    check(20, *(uint64_t *)(area + 512), 3);
    check(21, memcmp(area + 160 + 48, pattern, 16), 0);
    check(22, area[4], 0x80);
    memset(area + 160, 0xee, 256);
    asm volatile("xsave %0" : "=m"(area) : "a"(1), "d"(0)); /* x87 only */
    check(23, area[160], 0xee);
    check(24, *(uint64_t *)(area + 512), 3); /* bits not asked for stay */
    /* Components missing in the header are put in their initial state. */
    *(uint64_t *)(area + 512) = 1;
    asm volatile("xrstor %1\n\tmovups %%xmm3, %0" : "=m"(pattern) : "m"(area), "a"(3), "d"(0));
    check(25, pattern[0] | pattern[15], 0);
    uint16_t sw;
    asm volatile("fnstsw %0" : "=a"(sw));
    check(26, sw >> 11 & 7, 7);
    *(uint64_t *)(area + 512) = 4; /* not enabled in XCR0 */
    asm volatile(FAULTS("xrstor %0") ::"m"(area), "a"(3), "d"(0) : "memory");
    check_fault(27, GP, 0, 0);
    *(uint64_t *)(area + 512) = 1;
    *(uint64_t *)(area + 520) = 1;
    asm volatile(FAULTS("xrstor %0") ::"m"(area), "a"(3), "d"(0) : "memory");
    check_fault(28, GP, 0, 0);
    asm volatile(FAULTS("xsave (%0)") ::"r"(area + 16), "a"(3), "d"(0) : "memory");
    check_fault(29, GP, 0, 0);
}
