/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accessed and dirty bits: set by exactly the accesses that happen, again after the guest cleared
 * them.
 */
#include "guest.h"

#define VA(i) ((volatile uint32_t *)(SCRATCH + (i) * 0x1000ul))
#define AD    (P_A | P_D)

static uint64_t bits(unsigned i)
{
    return pte_read((word)VA(i), 1) & AD;
}

static void clear(unsigned i)
{
    pte_write((word)VA(i), 1, pte_read((word)VA(i), 1) & ~AD);
    invlpg(VA(i));
}

GUEST
{
    uint32_t value = 0;

    paging_on();
    for (unsigned i = 0; i < 8; i++)
        page_map((word)VA(i), (word)page_alloc(), P_RWU);
    for (unsigned turn = 0; turn < 3; turn++) {
        for (unsigned i = 0; i < 8; i++)
            clear(i);
        (void)*VA(0);
        *VA(1) = 1;
        asm volatile("lock incl %0" : "+m"(*VA(2))::"cc");
        /* writes also when unequal */
        asm volatile("cmpxchgl %1, %0" : "+m"(*VA(3)) : "r"(1), "a"(77) : "cc");
        asm volatile("prefetcht0 %0" ::"m"(*VA(4)));
        asm volatile("movl -2(%1), %0" : "=r"(value) : "r"(VA(6))); /* across 5 and 6 */
        check(1, bits(0), P_A);
        check(2, bits(1), AD);
        check(3, bits(2), AD);
        check(4, bits(3), AD);
        check(5, bits(4) & P_D, 0);
        check(6, bits(5), P_A);
        check(7, bits(6), P_A);
        check(8, bits(7), 0);
        /* Read first, then write: D comes with the write. */
        clear(7);
        (void)*VA(7);
        check(9, bits(7), P_A);
        *VA(7) = turn;
        check(10, bits(7), AD);
        /* A write that faults does not make the page dirty. */
        pte_write((word)VA(7), 1, (pte_read((word)VA(7), 1) & ~(AD | P_W)));
        invlpg(VA(7));
        set_cr0(get_cr0() | 0x10000);
        asm volatile(FAULTS("movl $1, (%0)") ::"r"(VA(7)) : "memory");
        check_pf(11, 3, VA(7));
        check(12, bits(7) & P_D, 0);
        pte_write((word)VA(7), 1, pte_read((word)VA(7), 1) | P_W);
        invlpg(VA(7));
        /* Code that runs there is accessed. */
        *(volatile uint8_t *)VA(0) = 0xc3;
        clear(0);
        ((void (*)(void))VA(0))();
        check(13, bits(0), P_A);
        *VA(0) = 0;
    }
    /* Upper levels: A where the walk went through, nowhere else. */
    word far = SCRATCH + 0x20000000;
    page_map(far, (word)page_alloc(), P_RWU);
    check(20, pte_read(far, 2) & P_A, 0);
    (void)*(volatile uint32_t *)far;
    check(21, pte_read(far, 2) & P_A, P_A);
}
