/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 64-bit mode: CS, DS, ES, SS have no base, whatever the prefix; bases of FS and GS must be
 * canonical.
 */
#include "guest.h"

static uint64_t area[8] = {10, 11, 12, 13, 14, 15, 16, 17};

GUEST
{
    uint64_t value;

    gdt[SEL_FREE / 8] = descriptor(0x1000, 0, 0x93, 0);
    asm volatile("mov %1, %%es\n\tmov %%es:(%2), %0\n\tmov %3, %%es"
                 : "=&r"(value) : "r"(SEL_FREE), "r"(area), "r"(SEL_KDATA2));
    check(1, value, 10); /* ES has no base here */
    asm volatile("mov %1, %%ds\n\tmov (%2), %0\n\tmov %3, %%ds"
                 : "=&r"(value) : "r"(SEL_FREE), "r"(area + 1), "r"(SEL_KDATA2));
    check(2, value, 11);
    asm volatile("mov %1, %%ss\n\tpush %2\n\tpop %0\n\tmov %3, %%ss"
                 : "=&r"(value) : "r"(SEL_FREE), "r"(77ul), "r"(SEL_KDATA2));
    check(3, value, 77);
    asm volatile("mov %0, %%es\n\tmov %0, %%ds" ::"r"(0)); /* null is no reason to fault */
    asm volatile("mov %%es:(%1), %0" : "=r"(value) : "r"(area + 3));
    check(4, value, 13);
    if (cpuid(7, 0).b & 1) {
        set_cr4(get_cr4() | 0x10000);
        asm volatile(FAULTS("wrfsbase %0") ::"r"(0x800000000000) : "memory");
        check_fault(5, GP, 0, 0);
    }
}
