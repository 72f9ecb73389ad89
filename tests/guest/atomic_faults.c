/* SPDX-License-Identifier: Apache-2.0 */
/* One access across two pages: a fault on either leaves both as they were. */
#include "guest.h"

#define EDGE (SCRATCH + 0x1000) /* the page before is there, the page behind is not */

static uint8_t *page, copy[4096];

static void fill(void)
{
    for (unsigned i = 0; i < 4096; i++)
        page[i] = (uint8_t)(i * 5 + 3);
    memcpy(copy, page, 4096);
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

GUEST
{
    paging_on();
    page = page_alloc();
    fill();
    page_map(SCRATCH, (word)page, P_RWU);
    set_cr0(get_cr0() | 0x10000);

    UNCHANGED(1, "movl %%eax, (" A(di) ")", EDGE - 2, 2, 0);
    UNCHANGED(2, "movw %%ax, (" A(di) ")", EDGE - 1, 2, 0);
    UNCHANGED(3, "movl (" A(di) "), %%eax", EDGE - 1, 0, 0);
    UNCHANGED(4, "movw (" A(di) "), %%ax", EDGE - 1, 0, 0);
    UNCHANGED(5, "movsl", EDGE - 3, 2, 0);
    UNCHANGED(6, "stosw", EDGE - 1, 2, 0);
#ifdef __x86_64__
    UNCHANGED(20, "movq %%rax, (%%rdi)", EDGE - 7, 2, 0);
#endif

    /* The second page is read-only: error 3 at its first byte, whatever the first page allows. */
    uint8_t *second = page_alloc();

    memset(second, 0x77, 4096);
    page_map(EDGE, (word)second, P_P | P_U);
    UNCHANGED(30, "movl %%eax, (" A(di) ")", EDGE - 2, 3, 0);
    check(30, second[0], 0x77);
    asm volatile("movl (%1), %0" : "=a"(*(uint32_t *)copy) : "r"(EDGE - 2));
    check(31, copy[2] | copy[3] << 8, 0x7777);
    /* The first page is the bad one: its own address, and the second page stays. */
    page_map(EDGE, (word)second, P_RWU);
    page_map(SCRATCH, (word)page, P_P | P_U);
    set_cr3(get_cr3());
    memcpy(copy, page, 4096);
    asm volatile(FAULTS("movl %%eax, (%0)") ::"r"(EDGE - 2), "a"(0) : "memory");
    check_pf(32, 3, (void *)(EDGE - 2));
    check(33, second[0], 0x77);
    /* Both good: the value lands in both. */
    page_map(SCRATCH, (word)page, P_RWU);
    invlpg((void *)SCRATCH);
    asm volatile("movl %1, (%0)" ::"r"(EDGE - 2), "r"(0x44332211) : "memory");
    check(34, page[4094] | page[4095] << 8 | second[0] << 16 | (uint32_t)second[1] << 24,
          0x44332211);
    asm volatile("lock addl %1, (%0)" ::"r"(EDGE - 1), "r"(0x01010101) : "memory", "cc");
    check(35, page[4095] | second[0] << 8 | second[1] << 16 | (uint32_t)second[2] << 24,
          0x78453423);
}
