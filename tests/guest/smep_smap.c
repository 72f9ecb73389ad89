/* SPDX-License-Identifier: Apache-2.0 */
/* SMEP and SMAP, where CPUID offers them: fetch and data of user pages by the supervisor; AC. */
#include "guest.h"

#define VA ((volatile uint32_t *)SCRATCH)
#define READ()  asm volatile(FAULTS("movl (%0), %%eax") ::"r"(VA) : "eax", "memory")
#define WRITE() asm volatile(FAULTS("movl $1, (%0)") ::"r"(VA) : "memory")
#define FETCH() asm volatile(FAULTS("jmp *%0") ::"r"(VA) : "memory")

static void no_user_bit(word from, word to)
{
    for (word va = from; va < to; va += 0x200000)
        pte_write(va, 2, pte_read(va, 2) & ~P_U);
}

GUEST
{
    struct cpuid seven = cpuid(7, 0);
    uint8_t *page = page_alloc();

    paging_on();
    /* The kernel's own pages become supervisor pages. */
    no_user_bit(0, 0x1000000);
    no_user_bit(0xfec00000, 0xff000000 - 1);
    page_map(SCRATCH, (word)page, P_RWU);
    set_cr3(get_cr3());
    page[0] = 0xcc;
    if (seven.b >> 7 & 1) {
        FETCH();
        check(1, last.f.vector, BP);
        set_cr4(get_cr4() | 1u << 20);
        FETCH();
        check_pf(2, 0x11, VA);
        READ();
        check_no_fault(3);
        set_cr4(get_cr4() & ~(1ul << 20));
        FETCH();
        check(4, last.f.vector, BP);
    }
    if (seven.b >> 20 & 1) {
        set_cr4(get_cr4() | 1u << 21);
        READ();
        check_pf(10, 1, VA);
        WRITE();
        check_pf(11, 3, VA);
        asm volatile("stac");
        READ();
        check_no_fault(12);
        asm volatile("clac");
        READ();
        check_pf(13, 1, VA);
        set_flags(get_flags() | 0x40000);
        WRITE();
        check_no_fault(14);
        set_flags(get_flags() & ~0x40000ul);
        page[0] = 0xcc;
        FETCH(); /* SMAP is for data */
        check(15, last.f.vector, BP);
        set_cr4(get_cr4() & ~(1ul << 21));
        READ();
        check_no_fault(17);
    }
}
