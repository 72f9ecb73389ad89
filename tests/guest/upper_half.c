/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upper half of the address space, where kernels live: global pages in common, others that
 * differ between address spaces, with and without SMAP and PCID; what each flush makes fresh.
 */
#include "guest.h"

#define OWN    0xffff880000000000ul /* each space has tables of its own here, */
#define LOW    0x7f0000777000ul     /* and here, */
#define COMMON 0xffffffff80888000ul /* and here they have the same ones */
#define SPACES 2
#define KEEP   (1ul << 63)
#define WP     0x10000ul
#define PGE    0x80ul
#define SMAP   (1ul << 21)
#define PCIDE  (1ul << 17)

typedef unsigned fn(void);

static word root[SPACES];
static word page[SPACES]; /* its bytes: mov $space, %eax; ret */
static word pcids;        /* 1: the spaces have PCIDs, and no switch flushes */

static uint64_t *entry_of(word top, word va)
{
    uint64_t *table = (uint64_t *)top;

    for (unsigned level = 4; level > 1; level--) {
        uint64_t *entry = &table[va >> (12 + 9 * (level - 1)) & 511];

        if (!(*entry & P_P))
            *entry = (word)page_alloc() | P_RWU;
        table = (uint64_t *)(word)(*entry & 0xffffffffff000ull);
    }
    return &table[va >> 12 & 511];
}

static void enter(unsigned space)
{
    set_cr3(root[space] | (pcids ? (space + 1) | KEEP : 0));
}

/* The page at va is that of this space, as data and as code. */
static void check_page(unsigned n, word va, unsigned space)
{
    check(n, *(volatile uint8_t *)(va + 1), space);
    check(n + 1, ((fn *)va)(), space);
    check(n + 2, *(volatile uint8_t *)(va + 1), space);
}

static void switch_often(unsigned n, unsigned turns, unsigned pages)
{
    for (unsigned turn = 0; turn < turns; turn++) {
        unsigned space = turn & 1;

        enter(space);
        for (unsigned k = 0; k < pages; k++)
            check_page(n, OWN + k * 4096ul, space);
        check_page(n + 3, LOW, space);
        check_page(n + 6, COMMON, 0);
    }
}

/* The common page is this one from now on; flushed by the caller. */
static void common_is(unsigned space, uint64_t flags)
{
    *(volatile uint64_t *)entry_of(root[0], COMMON) = page[space] | flags;
}

static void check_common(unsigned n, unsigned space)
{
    for (unsigned k = 0; k < 4; k++) {
        check_page(n, COMMON, space);
        enter(k & 1);
    }
    check_page(n + 3, COMMON, space);
}

static void flush_common(void)
{
    common_is(1, P_P | P_W | P_G);
    invlpg((void *)COMMON);
    check_common(20, 1);
    common_is(0, P_P | P_W | P_G);
    set_cr4(get_cr4() & ~PGE);
    set_cr4(get_cr4() | PGE);
    check_common(24, 0);
    common_is(1, P_P | P_W);
    invlpg((void *)COMMON);
    check_common(28, 1);
    common_is(0, P_P | P_W); /* global no more: a CR3 load is enough */
    set_cr3(root[0] | (pcids ? 1 : 0));
    check_page(32, COMMON, 0);
    if (pcids)
        set_cr3(root[1] | 2);
    common_is(0, P_P | P_W | P_G);
    check_common(36, 0);
}

/* Rights of global pages: WP counts, and AC where SMAP does. */
static void check_rights(bool smap)
{
    word va = OWN + 0x1ff000;

    *entry_of(root[0], va) = page[0] | P_P | P_G;
    *entry_of(root[0], va - 4096) = page[0] | P_RWU | P_G;
    enter(0);
    for (unsigned k = 0; k < 4; k++) {
        set_cr0(get_cr0() & ~WP);
        asm volatile(FAULTS("movl $0, 64(%0)")::"r"(va) : "memory");
        check_no_fault(40);
        set_cr0(get_cr0() | WP);
        asm volatile(FAULTS("movl $0, 64(%0)")::"r"(va) : "memory");
        check_pf(41, 3, (void *)(va + 64));
        if (!smap)
            continue;
        asm volatile("stac");
        asm volatile(FAULTS("movl (%0), %%eax")::"r"(va - 4096) : "eax", "memory");
        check_no_fault(42);
        asm volatile("clac");
        asm volatile(FAULTS("movl (%0), %%eax")::"r"(va - 4096) : "eax", "memory");
        check_pf(43, 1, (void *)(va - 4096));
        enter(k & 1 ? 0 : 1);
        enter(0);
    }
    set_cr0(get_cr0() & ~WP);
}

static void check_all(bool smap)
{
    switch_often(0, 40, 3);
    switch_often(0, 10, 100);
    switch_often(0, 40, 3);
    enter(0);
    flush_common();
    check_rights(smap);
}

/* So many pages that are not global, for so long, that nothing can be gained by the others. */
static void check_isolated(void)
{
    bool smap = get_cr4() & SMAP;

    switch_often(0, 600, 40);
    check_all(smap);
    for (unsigned n = 0; n < 20000; n++)
        enter(n & 1);
    check_all(smap);
}

GUEST
{
    for (unsigned space = 0; space < SPACES; space++) {
        uint8_t *code = page_alloc();

        code[0] = 0xb8;
        code[1] = (uint8_t)space;
        code[5] = 0xc3;
        page[space] = (word)code;
        root[space] = (word)memcpy(page_alloc(), (void *)get_cr3(), 4096);
        for (unsigned k = 0; k < 300; k++)
            *entry_of(root[space], OWN + k * 4096ul) = (word)code | P_P | P_W;
        *entry_of(root[space], LOW) = (word)code | P_P | P_W;
    }
    *entry_of(root[0], COMMON) = page[0] | P_P | P_W | P_G;
    ((uint64_t *)root[1])[511] = ((uint64_t *)root[0])[511];
    set_cr4(get_cr4() | PGE);
    check_all(false);
    if (cpuid(7, 0).b >> 20 & 1) {
        for (word va = 0; va < 0x1000000; va += 0x200000)
            pte_write(va, 2, pte_read(va, 2) & ~P_U);
        set_cr3(get_cr3());
        set_cr4(get_cr4() | SMAP);
        check_all(true);
    }
    if (cpuid(1, 0).c >> 17 & 1) {
        set_cr3(root[0]);
        set_cr4(get_cr4() | PCIDE);
        pcids = 1;
        check_all(get_cr4() & SMAP);
    }
    check_isolated();
}
