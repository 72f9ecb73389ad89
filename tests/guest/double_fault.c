/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which second faults make a #DF (SDM 3A table 6-5): contributory on contributory, either on a page
 * fault.
 */
#include "guest.h"

/* The gate of a vector: present or not, or pointing at a null selector. */
static void gate(unsigned vector, bool present, bool null)
{
    uint64_t *slot = &idt[vector * (GUEST_BITS / 32)];

    *slot |= 1ull << 47;
    *slot = (*slot & ~0xffff0000ull) | (null ? 0 : (uint64_t)SEL_KCODE << 16);
    if (!present)
        *slot &= ~(1ull << 47);
}

GUEST
{
    paging_on();
    /* benign first: the second is served alone */
    gate(UD, false, false);
    asm volatile(FAULTS("ud2") ::: "memory");
    check(1, last.f.vector, NP);
    gate(UD, true, true);
    asm volatile(FAULTS("ud2") ::: "memory");
    check(2, last.f.vector, GP);
    gate(UD, true, false);

    /* contributory, contributory */
    gate(GP, false, false);
    asm volatile(FAULTS("mov %0, %%es") ::"r"(GDT_SLOTS * 8) : "memory");
    check_fault(10, DF, 0, 0);
    gate(GP, true, false);
    gate(DE, true, true);
    asm volatile(FAULTS("divl %0") ::"r"(0), "a"(1), "d"(0) : "memory");
    check_fault(11, DF, 0, 0);
    gate(DE, true, false);

    /* page fault, contributory */
    gate(PF, false, false);
    asm volatile(FAULTS("movl %0, %%eax") ::"m"(*(uint32_t *)SCRATCH) : "eax", "memory");
    check_fault(12, DF, 0, 0);
    check(12, last.cr2, SCRATCH);
    gate(PF, true, false);
}
