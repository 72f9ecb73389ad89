/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four PAE pointers are registers: changes count when CR3 is loaded; reserved bits are #GP
 * then.
 */
#include "guest.h"

GUEST
{
    uint64_t *pdpt;

    paging_start(PAGING_PAE);
    pdpt = (uint64_t *)get_cr3();
    volatile uint32_t *page = page_alloc();
    page[0] = 7;
    page_map(SCRATCH, (word)page, P_RWU);
    (void)*(volatile uint32_t *)SCRATCH;
    check(8, pdpt[1] & (P_A | P_W | P_U), 0); /* no A bit at this level */
    uint64_t old = pdpt[1];
    pdpt[1] = 0;
    invlpg((void *)SCRATCH);
    check(1, *(volatile uint32_t *)SCRATCH, 7);
    pdpt[1] = old | P_W; /* reserved */
    asm volatile(FAULTS("mov %0, %%cr3") ::"r"(pdpt) : "memory");
    check_fault(2, GP, 0, 0);
    check(3, *(volatile uint32_t *)SCRATCH, 7);
    pdpt[1] = P_W; /* not present: nothing is reserved */
    asm volatile(FAULTS("mov %0, %%cr3") ::"r"(pdpt) : "memory");
    check_no_fault(4);
    asm volatile(FAULTS("movl (%0), %%eax") ::"r"(SCRATCH) : "eax", "memory");
    check_pf(5, 0, (void *)SCRATCH);
    /* Turning paging on and CR4 flag changes load them too. */
    pdpt[1] = old;
    set_cr4(get_cr4() ^ 0x80);
    check(6, *(volatile uint32_t *)SCRATCH, 7);
    pdpt[1] = old | P_W;
    asm volatile(FAULTS("mov %0, %%cr4") ::"r"(get_cr4() ^ 0x80) : "memory");
    check_fault(7, GP, 0, 0);
    pdpt[1] = old;
}
