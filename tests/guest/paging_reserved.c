/* SPDX-License-Identifier: Apache-2.0 */
/* Reserved bits of entries at each level: #PF with P and RSVD, by access kind. */
#include "guest.h"

/* Nothing else is below its entries at any level but the top one of PAE. */
#define VA (GUEST_BITS == 64 ? (word)0x8040000000ull : SCRATCH)

static void all(unsigned n, unsigned level, uint64_t bit)
{
    uint64_t old = pte_read(VA, level);

    pte_write(VA, level, old | bit);
    set_cr3(get_cr3());
    asm volatile(FAULTS("movl (%0), %%eax") ::"r"(VA) : "eax", "memory");
    check_pf(n, 9, (void *)VA);
    asm volatile(FAULTS("movl %%eax, 4(%0)") ::"r"(VA) : "memory");
    check_pf(n, 0xb, (char *)VA + 4);
    pte_write(VA, level, (old | bit) & ~P_P); /* means nothing when not present */
    set_cr3(get_cr3());
    asm volatile(FAULTS("movl (%0), %%eax") ::"r"(VA) : "eax", "memory");
    check_pf(n, 0, (void *)VA);
    pte_write(VA, level, old);
    set_cr3(get_cr3());
    asm volatile(FAULTS("movl (%0), %%eax") ::"r"(VA) : "eax", "memory");
    check_no_fault(n);
}

GUEST
{
    unsigned phys = cpuid(0x80000008, 0).a & 0xff;

    paging_on();
    page_map(VA, (word)page_alloc(), P_RWU);
    for (unsigned level = 1; level <= (GUEST_BITS == 64 ? 4 : 2); level++)
        all(level, level, 1ull << phys);
#ifdef __x86_64__
    all(10, 4, P_PS);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~0x800ull);
    for (unsigned level = 1; level <= 4; level++)
        all(10 + level, level, P_NX);
#endif
    page_map_large(VA + 0x200000, 0x400000, P_RWU | 1ull << 13);
    asm volatile(FAULTS("movl (%0), %%eax") ::"r"(VA + 0x200000) : "eax", "memory");
    check_pf(20, 9, (void *)(VA + 0x200000));
}
