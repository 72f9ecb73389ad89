/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After INVLPG, CR3 and CR4 writes the tables count; a mapping that appears needs none; other pages
 * stay right.
 */
#include "guest.h"

#define VA(i) ((volatile uint32_t *)(SCRATCH + (i) * 0x1000ul))

GUEST
{
    uint32_t *a = page_alloc(), *b = page_alloc();

    paging_on();
    a[0] = 0xa;
    b[0] = 0xb;
    for (unsigned i = 0; i < 200; i++) {
        bool odd = i & 1;

        page_map((word)VA(0), (word)(odd ? a : b), P_RWU);
        invlpg(VA(0));
        check(1, *VA(0), odd ? 0xa : 0xb);
        *VA(0) = odd ? 0xa : 0xb;
    }
    for (unsigned i = 1; i < 100; i++) { /* from nothing to something */
        asm volatile(FAULTS("movl (%0), %%eax") ::"r"(VA(i)) : "eax", "memory");
        check_pf(2, 0, VA(i));
        page_map((word)VA(i), (word)(i & 1 ? a : b), P_RWU);
        check(3, *VA(i), i & 1 ? 0xa : 0xb);
    }
    for (unsigned i = 1; i < 100; i++)
        page_map((word)VA(i), (word)(i & 1 ? b : a), P_RWU);
    set_cr3(get_cr3());
    for (unsigned i = 1; i < 100; i++)
        check(4, *VA(i), i & 1 ? 0xb : 0xa);
    /* Global pages outlive CR3 writes, but not INVLPG, nor a change of PGE. */
    set_cr4(get_cr4() | 0x80);
    page_map((word)VA(100), (word)a, P_RWU | P_G);
    check(5, *VA(100), 0xa);
    page_map((word)VA(100), (word)b, P_RWU | P_G);
    invlpg(VA(100));
    check(6, *VA(100), 0xb);
    page_map((word)VA(100), (word)a, P_RWU | P_G);
    set_cr4(get_cr4() & ~0x80ul);
    check(7, *VA(100), 0xa);
    set_cr4(get_cr4() | 0x80);
    page_map((word)VA(100), (word)b, P_RWU);
    set_cr4(get_cr4() & ~0x80ul);
    check(8, *VA(100), 0xb);
    /* Rights taken away. */
    page_map((word)VA(0), (word)a, P_P);
    invlpg(VA(0));
    set_cr0(get_cr0() | 0x10000);
    asm volatile(FAULTS("movl $1, (%0)") ::"r"(VA(0)) : "memory");
    check_pf(9, 3, VA(0));
    set_cr0(get_cr0() & ~0x10000ul);
    *VA(0) = 3;
    check(10, a[0], 3);
    set_cr0(get_cr0() | 0x10000);
    asm volatile(FAULTS("movl $1, (%0)") ::"r"(VA(0)) : "memory");
    check_pf(11, 3, VA(0));
    /* INVLPG of an address in a large page drops all of it. */
    word large = SCRATCH + 0x800000;
    page_map_large(large, 0x400000, P_RWU);
    *(volatile uint32_t *)0x400000 = 1;
    *(volatile uint32_t *)0x600000 = 2;
    *(volatile uint32_t *)0x401000 = 11;
    *(volatile uint32_t *)0x601000 = 12;
    check(12, *(volatile uint32_t *)large, 1);
    check(13, *(volatile uint32_t *)(large + 0x1000), 11);
    page_map_large(large, 0x600000, P_RWU);
    invlpg((void *)(large + 0x5000));
    check(14, *(volatile uint32_t *)large, 2);
    check(15, *(volatile uint32_t *)(large + 0x1000), 12);
    /* Small pages in the place of a large one, and back. */
    uint64_t entry = pte_read(large, 2);
    pte_write(large, 2, (word)page_alloc() | P_RWU);
    page_map(large, (word)b, P_RWU);
    set_cr3(get_cr3());
    check(16, *(volatile uint32_t *)large, 0xb);
    asm volatile(FAULTS("movl (%0), %%eax") ::"r"(large + 0x1000) : "eax", "memory");
    check_pf(17, 0, (void *)(large + 0x1000));
    pte_write(large, 2, entry);
    set_cr3(get_cr3());
    check(18, *(volatile uint32_t *)(large + 0x1000), 12);
}
