/* SPDX-License-Identifier: Apache-2.0 */
/* SMAP and accesses that no operand names: a descriptor table in a user page faults, AC or not. */
#include "guest.h"

static void no_user_bit(word from, word to)
{
    for (word va = from; va < to; va += 0x200000)
        pte_write(va, 2, pte_read(va, 2) & ~P_U);
}

GUEST
{
    uint8_t *page = page_alloc();

    paging_on();
    if (!(cpuid(7, 0).b >> 20 & 1))
        return;
    no_user_bit(0, 0x1000000);
    no_user_bit(0xfec00000, 0xff000000 - 1);
    page_map(SCRATCH, (word)page, P_RWU);
    set_cr3(get_cr3());
    set_cr4(get_cr4() | 1u << 21);
    /* LAR reads the LDT there: AC lets operands pass, not this. */
    memcpy(page, gdt, 0x80);
    gdt[SEL_FREE / 8] = descriptor(SCRATCH, 0x7f, 0x82, 0);
    gdt[SEL_FREE / 8 + 1] = 0;
    asm volatile("lldt %w0" ::"r"(SEL_FREE));
    set_flags(get_flags() | 0x40000);
    asm volatile(FAULTS("movl (%0), %%eax") ::"r"(SCRATCH) : "eax", "memory");
    check_no_fault(1);
    asm volatile(FAULTS("lar %%ax, %%eax") ::"a"(SEL_KDATA | 4) : "memory", "cc");
    check_pf(2, 1, (void *)(SCRATCH + SEL_KDATA));
    set_flags(get_flags() & ~0x40000ul);
}
