/* SPDX-License-Identifier: Apache-2.0 */
/* 4-level tables: all levels' rights and A bits, 2 MiB and 1 GiB pages, high half, self map. */
#include "guest.h"

#define HIGH 0xffffffff80000000ul

static word read_user(word at)
{
    asm volatile(FAULTS("movl (%0), %%eax") ::"r"(at) : "eax", "memory");
    return last.f.vector == NO_FAULT ? 0 : last.f.error | 0x100;
}

static word write_user(word at)
{
    asm volatile(FAULTS("movl $1, (%0)") ::"r"(at) : "memory");
    return last.f.vector == NO_FAULT ? 0 : last.f.error | 0x100;
}

GUEST
{
    volatile uint32_t *page = page_alloc();

    set_cr0(get_cr0() | 0x10000);
    page[0] = 0xfeed;
    page_map(HIGH, (word)page, P_RWU);
    check(1, *(volatile uint32_t *)HIGH, 0xfeed);
    for (unsigned level = 1; level <= 4; level++)
        check(2, pte_read(HIGH, level) & P_A, P_A);
    check(3, pte_read(HIGH, 1) & P_D, 0);
    *(volatile uint32_t *)HIGH = 5;
    check(4, pte_read(HIGH, 1) & P_D, P_D);
    check(5, pte_read(HIGH, 2) & P_D, 0); /* D is for leaves */

    /* A right is there when every level gives it. */
    for (unsigned level = 4; level >= 1; level--) {
        uint64_t old = pte_read(HIGH, level);

        pte_write(HIGH, level, old & ~P_U);
        invlpg((void *)HIGH);
        check(10 + level, call_user(read_user, HIGH), 0x105);
        pte_write(HIGH, level, old & ~P_W);
        invlpg((void *)HIGH);
        check(20 + level, call_user(write_user, HIGH), 0x107);
        check(20 + level, call_user(read_user, HIGH), 0);
        check(24 + level, write_user(HIGH), 0x103);
        pte_write(HIGH, level, old & ~P_P);
        invlpg((void *)HIGH);
        check(30 + level, write_user(HIGH), 0x102);
        pte_write(HIGH, level, old);
        invlpg((void *)HIGH);
        check(40 + level, call_user(write_user, HIGH), 0);
    }

    /* 2 MiB: the low bits of the address come from the virtual one. */
    page_map_large(HIGH + 0x400000, 0x600000, P_RWU);
    *(volatile uint32_t *)0x7abcd0 = 0x77;
    check(50, *(volatile uint32_t *)(HIGH + 0x5abcd0), 0x77);
    check(51, pte_read(HIGH + 0x400000, 2) & (P_A | P_D), P_A);
    *(volatile uint32_t *)(HIGH + 0x5abcd0) = 0x78;
    check(52, pte_read(HIGH + 0x400000, 2) & (P_A | P_D), P_A | P_D);
    if (cpuid(0x80000001, 0).d >> 26 & 1) {
        pte_write(0x8000000000, 3, P_RWU | P_PS); /* 1 GiB from 0 */
        check(53, *(volatile uint32_t *)0x80007abcd0, 0x78);
        check(54, pte_read(0x8000000000, 3) & (P_A | P_D), P_A);
    }

    /* A table that maps itself: entry 510 of the top table. */
    uint64_t *pml4 = (uint64_t *)get_cr3();
    pml4[510] = (word)pml4 | P_P | P_W;
    volatile uint64_t *self = (volatile uint64_t *)0xffffff7fbfdfe000ul;
    check(60, self[510] & ~0xfffull, (word)pml4);
    check(61, self[511] & ~0xfffull, pml4[511] & ~0xfffull);
    /* The leaf tables seen through it: a write there changes the mapping. */
    volatile uint64_t *leaf =
        (volatile uint64_t *)(0xffffff0000000000ul + (HIGH >> 9 & 0x7ffffffff8));
    uint32_t *other = page_alloc();
    other[0] = 0xbeef;
    *leaf = (word)other | P_RWU;
    invlpg((void *)HIGH);
    check(62, *(volatile uint32_t *)HIGH, 0xbeef);
}
