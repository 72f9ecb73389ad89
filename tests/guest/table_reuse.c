/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables as ordinary memory: written through other mappings, by string moves, reused as data
 * and as code.
 */
#include "guest.h"

#define VA(i) ((volatile uint32_t *)(SCRATCH + (i) * 0x1000ul))

GUEST
{
    uint32_t *page[16];
    uint64_t *table, *alias;

    paging_on();
    for (unsigned i = 0; i < 16; i++) {
        page[i] = page_alloc();
        page[i][0] = i;
        page_map((word)VA(i), (word)page[i], P_RWU);
        check(1, *VA(i), i);
    }
    table = page_entry(SCRATCH, 1);
    /* Through an alias, reversed by hand. */
    alias = (uint64_t *)(SCRATCH + 0x10000000);
    page_map((word)alias, (word)table, P_RWU);
    for (unsigned i = 0; i < 16; i++)
        alias[i] = (word)page[15 - i] | P_RWU;
    set_cr3(get_cr3());
    for (unsigned i = 0; i < 16; i++)
        check(2, *VA(i), 15 - i);
    /* By REP MOVS, one entry up. */
    uint64_t saved[16];
    memcpy(saved, table, sizeof(saved));
    memcpy(table + 1, saved, 15 * 8);
    set_cr3(get_cr3());
    for (unsigned i = 1; i < 16; i++)
        check(3, *VA(i), 16 - i);
    /* Two upper entries share one table: a change shows in both. */
    word twin = SCRATCH + 0x600000;
    pte_write(twin, 2, pte_read(SCRATCH, 2));
    check(4, *(volatile uint32_t *)(twin + 0x1000), 15);
    table[1] = (word)page[3] | P_RWU;
    invlpg(VA(1));
    invlpg((void *)(twin + 0x1000));
    check(5, *VA(1), 3);
    check(6, *(volatile uint32_t *)(twin + 0x1000), 3);
    /* Another table takes its place; the old one becomes data with anything in it. */
    uint64_t *fresh = page_alloc();
    for (unsigned i = 0; i < 16; i++)
        fresh[i] = (word)page[i] | P_RWU;
    pte_write(SCRATCH, 2, (word)fresh | P_RWU);
    pte_write(twin, 2, 0);
    set_cr3(get_cr3());
    for (unsigned i = 0; i < 512; i++)
        table[i] = ~0ull / 3 * i;
    for (unsigned i = 0; i < 16; i++)
        check(7, *VA(i), i);
    asm volatile(FAULTS("movl (%0), %%eax") ::"r"(twin) : "eax", "memory");
    check_pf(8, 0, (void *)twin);
    /* ... and code. */
    memcpy(table, (uint8_t[]){0xb8, 0x44, 0x33, 0x22, 0x11, 0xc3}, 6);
    check(9, ((unsigned (*)(void))table)(), 0x11223344);
    /* A page of data becomes a table while its data mapping stays. */
    uint64_t *data = page_alloc();
    for (unsigned i = 0; i < 16; i++)
        data[i] = (word)page[15 - i] | P_RWU;
    pte_write(SCRATCH, 2, (word)data | P_RWU);
    set_cr3(get_cr3());
    for (unsigned i = 0; i < 16; i++)
        check(10, *VA(i), 15 - i);
    for (unsigned turn = 0; turn < 500; turn++) {
        data[2] = (word)page[turn & 15] | P_RWU;
        invlpg(VA(2));
        check(11, *VA(2), turn & 15);
    }
    /* Levels mixed up: the leaf table also serves as the upper one of another address. */
    pte_write(SCRATCH + 0x20000000, 2, (word)data | P_RWU);
    check(12, *(volatile uint32_t *)(SCRATCH + 0x20000000 + 0x3000), 12);
}
