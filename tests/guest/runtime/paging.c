/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest page tables of three formats under one interface. Tables come from page_alloc, identity
 * mapped.
 *
 *   level        4      3      2      1
 *   2-level                    10     10 bits of index, 4-byte entries
 *   PAE                 2      9      9
 *   4-level      9      9      9      9
 */
#include "guest.h"

#define POOL_START 0x800000ul
#define POOL_END   0xc00000ul

enum paging_format paging_format = GUEST_BITS == 64 ? PAGING_4LEVEL : PAGING_NONE;
static word pool_next = POOL_START;

void *page_alloc(void)
{
    void *page = (void *)pool_next;

    pool_next += 4096;
    if (pool_next > POOL_END)
        fail(126, "page pool is empty");
    return memset(page, 0, 4096);
}

static unsigned levels(void)
{
    static const uint8_t count[] = {
        [PAGING_2LEVEL] = 2, [PAGING_PAE] = 3, [PAGING_4LEVEL] = 4, [PAGING_5LEVEL] = 5};
    return count[paging_format];
}

static uint64_t entry_read(const void *entry)
{
    return paging_format == PAGING_2LEVEL ? *(const volatile uint32_t *)entry
                                          : *(const volatile uint64_t *)entry;
}

static void entry_write(void *entry, uint64_t value)
{
    if (paging_format == PAGING_2LEVEL) {
        *(volatile uint32_t *)entry = (uint32_t)value;
    } else if (GUEST_BITS == 64) {
        *(volatile uint64_t *)entry = value;
    } else if (((volatile uint32_t *)entry)[1] == (uint32_t)(value >> 32)) {
        /* perhaps the entry that maps its own table */
        ((volatile uint32_t *)entry)[0] = (uint32_t)value;
    } else { /* never valid with half a value */
        ((volatile uint32_t *)entry)[0] = 0;
        ((volatile uint32_t *)entry)[1] = (uint32_t)(value >> 32);
        ((volatile uint32_t *)entry)[0] = (uint32_t)value;
    }
}

void *page_entry(word va, unsigned level)
{
    unsigned bits = paging_format == PAGING_2LEVEL ? 10 : 9;
    unsigned size = paging_format == PAGING_2LEVEL ? 4 : 8;
    word table = get_cr3() & ~0xfffull;

    if (paging_format == PAGING_PAE)
        table = get_cr3() & ~31ul;
    for (unsigned l = levels();; l--) {
        unsigned index = (uint64_t)va >> (12 + bits * (l - 1)) & ((1u << bits) - 1);
        char *entry = (char *)table + index * size;

        if (l == level)
            return entry;
        if (!(entry_read(entry) & P_P)) {
            uint64_t flags = l == 3 && paging_format == PAGING_PAE ? P_P : P_RWU;

            entry_write(entry, (word)page_alloc() | flags);
        } else if (l == 2 && entry_read(entry) & P_PS) { /* split: same mapping in small pages */
            uint64_t large = entry_read(entry);
            char *small = page_alloc();

            for (unsigned i = 0; i < 4096 / size; i++)
                entry_write(small + i * size, (large & ~P_PS) + i * 4096ull);
            entry_write(entry, (word)small | P_RWU);
            set_cr3(get_cr3());
        }
        table = (word)(entry_read(entry) & 0xffffffffff000ull);
    }
}

uint64_t pte_read(word va, unsigned level)
{
    return entry_read(page_entry(va, level));
}

void pte_write(word va, unsigned level, uint64_t value)
{
    entry_write(page_entry(va, level), value);
}

void page_map(word va, uint64_t pa, uint64_t flags)
{
    pte_write(va, 1, pa | flags);
}

void page_map_large(word va, uint64_t pa, uint64_t flags)
{
    pte_write(va, 2, pa | flags | P_PS);
}

void paging_start(enum paging_format format)
{
    word large = format == PAGING_2LEVEL ? 0x400000 : 0x200000;

    paging_format = format;
    set_cr3((word)page_alloc());
    if (format == PAGING_PAE) /* all four are read when CR3 is loaded */
        for (unsigned i = 0; i < 4; i++)
            entry_write((void *)(get_cr3() + i * 8), (word)page_alloc() | P_P);
    set_cr4((get_cr4() & ~0x20ul) | 0x10 | (format == PAGING_PAE ? 0x20 : 0));
    for (word va = 0; va < 0x1000000; va += large)
        page_map_large(va, va, P_RWU);
    for (word va = 0xfec00000; va < 0xff000000 && va; va += large)
        page_map_large(va, va, P_RWU | P_PCD | P_PWT);
    set_cr3(get_cr3());
    set_cr0(get_cr0() | 0x80000000ul);
}
