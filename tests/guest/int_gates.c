/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INT n: DPL and presence of gates, IDT limit, trap and interrupt gates, bad gate types, error
 * codes.
 */
#include "guest.h"

static word user(word arg)
{
    (void)arg;
    asm volatile(FAULTS("int $0x40") ::: "memory"); /* DPL 0 */
    check_fault(1, GP, 0x40 * 8 + 2, 0);
    asm volatile(FAULTS("int3") ::: "memory");
    check_fault(2, GP, 3 * 8 + 2, 0);
    asm volatile(FAULTS("int $14") ::: "memory");
    check_fault(3, GP, 14 * 8 + 2, 0);
    asm volatile(FAULTS("int $0x41") ::: "memory"); /* DPL 3 */
    check_fault(4, 0x41, 0, 2);
    asm volatile(FAULTS("ud2") ::: "memory"); /* exceptions do not look at DPL */
    check_fault(5, UD, 0, 0);
    return 0;
}

static uint64_t *slot(unsigned vector)
{
    return &idt[vector * (GUEST_BITS / 32)];
}

static word in_gate_flags;

static void note_flags(struct frame *f)
{
    (void)f;
    in_gate_flags = get_flags();
}

GUEST
{
    idt_dpl(0x41, 3);
    call_user(user, 0);

    *slot(0x42) &= ~(1ull << 47);
    asm volatile(FAULTS("int $0x42") ::: "memory");
    check_fault(10, NP, 0x42 * 8 + 2, 0);
    *slot(0x43) = (*slot(0x43) & ~(0x1full << 40)) | 2ull << 40; /* an LDT is no gate */
    asm volatile(FAULTS("int $0x43") ::: "memory");
    check_fault(11, GP, 0x43 * 8 + 2, 0);
    *slot(0x44) &= ~0xffff0000ull; /* null selector */
    asm volatile(FAULTS("int $0x44") ::: "memory");
    check_fault(12, GP, 0, 0);
    *slot(0x44) |= (uint64_t)SEL_KDATA << 16; /* not code */
    asm volatile(FAULTS("int $0x44") ::: "memory");
    check_fault(13, GP, SEL_KDATA, 0);
    gdt[SEL_FREE / 8] = gdt[SEL_KCODE / 8] & ~(1ull << 47); /* code that is not there */
    *slot(0x44) = (*slot(0x44) & ~0xffff0000ull) | (uint64_t)SEL_FREE << 16;
    asm volatile(FAULTS("int $0x44") ::: "memory");
    check_fault(14, NP, SEL_FREE, 0);
    gdt[SEL_FREE / 8] = gdt[SEL_UCODE / 8]; /* code of the outer ring */
    asm volatile(FAULTS("int $0x44") ::: "memory");
    check_fault(15, GP, SEL_FREE, 0);

    struct table_ptr shorter = {0x50 * (GUEST_BITS / 4) - 1, (word)idt};
    asm volatile("lidt %0" ::"m"(shorter));
    asm volatile(FAULTS("int $0x50") ::: "memory");
    check_fault(20, GP, 0x50 * 8 + 2, 0);
    asm volatile(FAULTS("int $0x4f") ::: "memory");
    check_fault(21, 0x4f, 0, 2);
    asm volatile("lidt %0" ::"m"(idt_ptr));

    hook[0x46] = hook[0x47] = note_flags;
    *slot(0x47) |= 1ull << 40; /* trap gate */
    sti();
    asm volatile("int $0x46");
    check(30, in_gate_flags & 0x200, 0);
    asm volatile("int $0x47");
    check(31, in_gate_flags & 0x200, 0x200);
    check(32, get_flags() & 0x200, 0x200);
    set_flags(get_flags() | 0x4000); /* NT is cleared inside and comes back */
    asm volatile("int $0x47");
    check(33, in_gate_flags & 0x4000, 0);
    check(34, get_flags() & 0x4000, 0x4000);
    set_flags(2);
}
