/* SPDX-License-Identifier: Apache-2.0 */
/* 2-level tables: translation of small and 4 MiB pages, A and D bits, faults. */
#include "guest.h"

GUEST
{
    volatile uint32_t *page = page_alloc(), *alias = (volatile uint32_t *)SCRATCH;
    volatile uint32_t *large = (volatile uint32_t *)(SCRATCH + 0x400000);

    paging_start(PAGING_2LEVEL);
    page[0] = 0x12345678;
    page_map(SCRATCH, (word)page, P_RWU);
    check(1, pte_read(SCRATCH, 1) & (P_A | P_D), 0);
    check(2, alias[0], 0x12345678);
    check(3, pte_read(SCRATCH, 1) & (P_A | P_D), P_A);
    check(4, pte_read(SCRATCH, 2) & P_A, P_A);
    alias[1] = 0xabcd;
    check(5, page[1], 0xabcd);
    check(6, pte_read(SCRATCH, 1) & (P_A | P_D), P_A | P_D);

    page_map_large((word)large, 0x400000, P_RWU);
    check(10, pte_read((word)large, 2) & (P_A | P_D), 0);
    large[0x300000 / 4] = 77;
    check(11, *(volatile uint32_t *)0x700000, 77);
    check(12, pte_read((word)large, 2) & (P_A | P_D), P_A | P_D);

    /* PAT of a large entry is bit 12; it must not become an address bit. */
    pte_write((word)large, 2, 0x400000 | P_RWU | P_PS | 1u << 12);
    invlpg(large);
    check(20, large[0x300000 / 4], 77);

    /* Not present at either level; write to read-only with WP. */
    pte_write(SCRATCH, 1, 0);
    invlpg(alias);
    asm volatile(FAULTS("movl 8(%0), %%eax") ::"r"(alias) : "eax", "memory");
    check_pf(30, 0, alias + 2);
    asm volatile(FAULTS("movl %%eax, 8(%0)") ::"r"(alias) : "memory");
    check_pf(31, 2, alias + 2);
    asm volatile(FAULTS("movl %%eax, (%0)") ::"r"(SCRATCH + 0x10000000) : "memory");
    check_pf(32, 2, (void *)(SCRATCH + 0x10000000));
    page_map(SCRATCH, (word)page, P_P);
    set_cr0(get_cr0() & ~0x10000ul);
    alias[2] = 5; /* CPL 0 without WP writes */
    check(33, page[2], 5);
    check(34, pte_read(SCRATCH, 1) & P_D, P_D);
    set_cr0(get_cr0() | 0x10000);
    asm volatile(FAULTS("movl %%eax, 8(%0)") ::"r"(alias) : "memory");
    check_pf(35, 3, alias + 2);
    check(36, page[2], 5);
}
