/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paging off and on, formats changed in between, PSE and NXE switched: each time the new meaning
 * counts.
 */
#include "guest.h"

GUEST
{
    uint32_t *page = page_alloc();
    volatile uint32_t *low = (volatile uint32_t *)0x600000;
    static const enum paging_format formats[] = {PAGING_2LEVEL, PAGING_PAE};

    page[0] = 0x1111;
    for (unsigned turn = 0; turn < 20; turn++) {
        paging_start(formats[turn & 1]);
        low[0] = 0x2222; /* identity */
        page_map(0x600000, (word)page, P_RWU);
        invlpg(low);
        check(1, low[0], 0x1111);
        low[1] = turn;
        set_cr0(get_cr0() & ~0x80000000ul);
        check(2, low[0], 0x2222);
        check(3, page[1], turn);
        set_cr0(get_cr0() | 0x80000000ul);
        check(4, low[1], turn);
        set_cr0(get_cr0() & ~0x80000000ul);
    }
    /* 2-level: an upper entry with PS set is a 4 MiB page with CR4.PSE and a table without. */
    paging_start(PAGING_2LEVEL);
    page_map(SCRATCH, (word)page, P_RWU);
    uint32_t *table = (uint32_t *)((word)page_entry(SCRATCH, 1) & ~0xffful);
    for (unsigned i = 0; i < 4; i++) /* low 16 MiB in small pages, for PSE goes away */
        for (unsigned j = 0; j < 1024; j++)
            (void)page_entry(i * 0x400000 + j * 0x1000, 1);
    pte_write(SCRATCH, 2, ((word)table & 0xffc00000) | P_RWU | P_PS);
    set_cr3(get_cr3());
    check(10, *(volatile uint32_t *)(SCRATCH + ((word)page & 0x3fffff)), 0x1111);
    pte_write(SCRATCH, 2, (word)table | P_RWU | P_PS);
    set_cr4(get_cr4() & ~0x10ul);
    check(11, *(volatile uint32_t *)SCRATCH, 0x1111);
}
