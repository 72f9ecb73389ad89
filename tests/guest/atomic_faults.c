/* SPDX-License-Identifier: Apache-2.0 */
/* One access across two pages: a fault on either leaves both as they were. */
#include "atomic.h"

GUEST
{
    page_before_edge();

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
