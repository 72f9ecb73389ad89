/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One frame under tens of thousands of addresses: read, written, taken away and given back through
 * all of them; then the frame becomes a page table while all its mappings stand.
 */
#include "guest.h"

#define ALIASES 32768u
#define AT(i)   (SCRATCH + (word)(i)*4096)
#define TARGET  (SCRATCH + ALIASES * 4096ul) /* a 2 MiB region behind them */

static volatile uint32_t *at(unsigned i)
{
    return (volatile uint32_t *)AT(i);
}

static void map_all(uint32_t *frame, uint64_t flags)
{
    for (unsigned i = 0; i < ALIASES; i += 512) {
        uint64_t *table = page_entry(AT(i), 1);

        for (unsigned n = 0; n < 512; n++)
            table[n] = (word)frame | flags;
    }
    set_cr3(get_cr3());
}

static word read_fault(unsigned i)
{
    asm volatile(FAULTS("movl (%0), %%eax")::"r"(AT(i)) : "eax", "memory");
    return last.f.vector == NO_FAULT ? NO_FAULT : last.f.error;
}

static word write_fault(unsigned i, uint32_t v)
{
    asm volatile(FAULTS("movl %1, (%0)")::"r"(AT(i)), "r"(v) : "memory");
    return last.f.vector == NO_FAULT ? NO_FAULT : last.f.error;
}

GUEST
{
    uint32_t *frame = page_alloc(), *data[2] = {page_alloc(), page_alloc()};
    volatile uint64_t *entries = (volatile uint64_t *)frame;

    paging_on();
    set_cr0(get_cr0() | 0x10000);
    map_all(frame, P_RWU);
    for (unsigned i = 0; i < ALIASES; i++) {
        check(1, *at(i), i);
        *at(i) = i + 1;
    }
    for (unsigned i = 0; i < ALIASES; i += 512)
        check(2, pte_read(AT(i), 1) & (P_A | P_D), P_A | P_D);

    /* Read-only under every 97th address, absent under the one behind it. */
    for (unsigned i = 0; i + 1 < ALIASES; i += 97) {
        pte_write(AT(i), 1, (word)frame | P_P);
        pte_write(AT(i + 1), 1, 0);
        invlpg(at(i));
        invlpg(at(i + 1));
    }
    for (unsigned i = 0; i + 2 < ALIASES; i += 97) {
        check(3, read_fault(i), NO_FAULT);
        check(4, write_fault(i, 1), 3);
        check(5, read_fault(i + 1), 0);
        check(6, write_fault(i + 2, i), NO_FAULT);
        check(7, *at(i), i);
    }

    /* All of them gone; all of them back. */
    map_all(frame, 0);
    for (unsigned i = 0; i < ALIASES; i += 61)
        check(8, read_fault(i), 0);
    map_all(frame, P_RWU);
    memset(frame, 0, 4096);
    for (unsigned i = 0; i < ALIASES; i++)
        check(9, *at(i), 0);

    /* The frame is the table of the region behind: writes through any alias are edits. */
    data[0][0] = 0xaaaa;
    data[1][0] = 0xbbbb;
    pte_write(TARGET, 1, 0);
    pte_write(TARGET, 2, (word)frame | P_RWU);
    invlpg((void *)TARGET);
    for (unsigned i = 0; i < 2048; i++) {
        unsigned alias = i * 7919u % ALIASES, slot = i % 512;
        volatile uint32_t *through = (volatile uint32_t *)(TARGET + slot * 4096ul);

        ((volatile uint64_t *)at(alias))[slot] = (word)data[i & 1] | P_RWU;
        invlpg(through);
        check(10, *through, i & 1 ? 0xbbbb : 0xaaaa);
        check(11, entries[slot] & (P_A | P_D), P_A);
        *through = *through;
        check(12, ((volatile uint64_t *)at(alias ^ 1))[slot] & (P_A | P_D), P_A | P_D);
    }

    /* A table no more. */
    pte_write(TARGET, 2, 0);
    set_cr3(get_cr3());
    for (unsigned i = 0; i < ALIASES; i += 31) {
        *at(i) = i;
        check(13, *frame, i);
    }
}
