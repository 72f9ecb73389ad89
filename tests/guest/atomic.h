/* SPDX-License-Identifier: Apache-2.0 */
/* Accesses at the end of a page with nothing behind it, and what a fault must leave alone. */
#ifndef ATOMIC_H
#define ATOMIC_H

#include "guest.h"

#define EDGE (SCRATCH + 0x1000) /* the page before is there, the page behind is not */

static uint8_t *page, copy[4096];

static void fill(void)
{
    for (unsigned i = 0; i < 4096; i++)
        page[i] = (uint8_t)(i * 5 + 3);
    memcpy(copy, page, 4096);
}

/* Maps the page; CR0.WP set. */
static void page_before_edge(void)
{
    paging_on();
    page = page_alloc();
    fill();
    page_map(SCRATCH, (word)page, P_RWU);
    set_cr0(get_cr0() | 0x10000);
}

/* The access at di faults at CR2 = EDGE + off as a write or read; page and registers stay. */
#define UNCHANGED(n, insn, at, code, off)                                                          \
    asm volatile(FAULTS(insn) ::"D"(at), "a"(0x1234), "d"(0x5678), "S"(page), "c"(2), "b"(9)       \
                 : "memory", "cc");                                                                \
    check_fault(n, PF, code, 0);                                                                   \
    check(n, last.cr2, EDGE + (off));                                                              \
    check(n, last.f.ax, 0x1234);                                                                   \
    check(n, last.f.dx, 0x5678);                                                                   \
    check(n, last.f.cx, 2);                                                                        \
    check(n, last.f.di, at);                                                                       \
    check(n, last.f.si, (word)page);                                                               \
    check(n, memcmp(page, copy, 4096), 0)

#endif
