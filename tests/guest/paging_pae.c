/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PAE: four pointers read when CR3 is loaded, 2 MiB pages, physical addresses beyond 4 GiB, NX,
 * table placement.
 */
#include "guest.h"

GUEST
{
    volatile uint32_t *page = page_alloc();
    uint64_t *pdpt;

    paging_start(PAGING_PAE);
    pdpt = (uint64_t *)get_cr3();
    page[0] = 1;
    for (unsigned i = 0; i < 4; i++) {
        word va = i * 0x40000000ul + 0x10000000;

        page_map(va, (word)page, P_RWU);
        check(1, *(volatile uint32_t *)va, i + 1);
        *(volatile uint32_t *)va = i + 2;
        check(2, pte_read(va, 1) & (P_A | P_D), P_A | P_D);
    }
    check(3, page[0], 5);

    page_map_large(SCRATCH + 0x200000, 0x400000, P_RWU);
    *(volatile uint32_t *)0x5fff00 = 0x55;
    check(5, *(volatile uint32_t *)(SCRATCH + 0x3fff00), 0x55);

    /* The pointer table needs 32 bytes of alignment only. */
    uint64_t *odd = (uint64_t *)((char *)page_alloc() + 0x7e0);
    memcpy(odd, pdpt, 32);
    set_cr3((word)odd);
    check(6, *(volatile uint32_t *)(SCRATCH + 0x10000000), 5);
    /* A pointer that is not there: 1 GiB is gone. */
    odd[1] = 0;
    set_cr3((word)odd);
    asm volatile(FAULTS("movl (%0), %%eax") ::"r"(SCRATCH + 0x10000000) : "eax", "memory");
    check_pf(7, 0, (void *)(SCRATCH + 0x10000000));
    set_cr3((word)pdpt);
    check(8, *(volatile uint32_t *)(SCRATCH + 0x10000000), 5);

    /* Beyond the RAM: the upper half of an entry counts. */
    page_map(SCRATCH, 0x100000000ull + (word)page, P_RWU);
    *(volatile uint32_t *)SCRATCH = 99;
    check(9, page[0], 5);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 0x800);
    page_map(SCRATCH, (word)page, P_RWU | P_NX);
    invlpg((void *)SCRATCH);
    asm volatile(FAULTS("jmp *%0") ::"r"(SCRATCH) : "memory");
    check_pf(10, 0x11, (void *)SCRATCH);
}
