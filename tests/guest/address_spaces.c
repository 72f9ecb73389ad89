/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several address spaces: the same address holds other data and other code in each; tables are
 * shared and reused.
 */
#include "guest.h"

#define SPACES 8

typedef unsigned fn(void);

GUEST
{
    word root[SPACES], first;
    uint8_t *page[SPACES];

    paging_on();
    (void)page_entry(SCRATCH, 1);
    first = get_cr3();
    for (unsigned i = 0; i < SPACES; i++) {
        void *top = page_alloc();

        memcpy(top, (void *)first, 4096);
        root[i] = (word)top;
        page[i] = page_alloc();
        page[i][0] = 0xb8; /* mov $i, %eax; ret */
        page[i][1] = (uint8_t)i;
        page[i][5] = 0xc3;
        /* own tables from the top down to the page */
        unsigned levels = GUEST_BITS == 64 ? 4 : 3;
        char *entry = (char *)top;
        for (unsigned level = levels; level > 1; level--) {
            void *table = page_alloc();
            unsigned index = SCRATCH >> (12 + 9 * (level - 1)) & 511;

            ((uint64_t *)entry)[index] =
                (word)table | (level == 3 && GUEST_BITS == 32 ? P_P : P_RWU);
            if (level == 4) {
                uint64_t *old = (uint64_t *)(word)(((uint64_t *)first)[index] & ~0xfffull);
                memcpy(table, old, 4096);
            }
            entry = table;
        }
        ((uint64_t *)entry)[SCRATCH >> 12 & 511] = (word)page[i] | P_RWU;
    }
    for (unsigned turn = 0; turn < 2000; turn++) {
        unsigned i = turn * 5 % SPACES;

        set_cr3(root[i]);
        check(1, *(volatile uint8_t *)(SCRATCH + 1), i);
        check(2, ((fn *)SCRATCH)(), i);
        *(volatile uint32_t *)(SCRATCH + 64) += i;
    }
    for (unsigned i = 0; i < SPACES; i++)
        check(3, *(uint32_t *)(page[i] + 64), 250 * i);
    /* A space goes away and its top table becomes data, then another space. */
    set_cr3(root[0]);
    memset((void *)root[7], 0x5a, 4096);
    memcpy((void *)root[7], (void *)root[1], 4096);
    set_cr3(root[7]);
    check(4, *(volatile uint8_t *)(SCRATCH + 1), 1);
    set_cr3(first);
}
