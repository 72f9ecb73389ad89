/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The EXT bit of an error code: set when the fault happened while another exception was being
 * delivered.
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
    /* benign first: the second is served alone */
    gate(UD, false, false);
    asm volatile(FAULTS("ud2") ::: "memory");
    check_fault(1, NP, UD * 8 + 2 + 1, 0); /* EXT: happened while delivering */
    gate(UD, true, true);
    asm volatile(FAULTS("ud2") ::: "memory");
    check_fault(2, GP, 1, 0);
    gate(UD, true, false);

    /* INT n of a bad gate is no fault in a fault: plain #NP, without EXT */
    gate(0x60, false, false);
    asm volatile(FAULTS("int $0x60") ::: "memory");
    check_fault(13, NP, 0x60 * 8 + 2, 0);
}
