/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instruction that reads and writes its operand faults as a write, with the operand unchanged.
 */
#include "guest.h"

#define ABSENT   ((volatile uint32_t *)SCRATCH)
#define READONLY ((volatile uint32_t *)(SCRATCH + 0x1000))

#define TRY(n, insn)                                                                               \
    asm volatile(FAULTS(insn) ::"D"(ABSENT + 3), "a"(1), "d"(2) : "memory", "cc");                 \
    check_pf(n, user_bit | 2, ABSENT + 3);                                                         \
    asm volatile(FAULTS(insn) ::"D"(READONLY), "a"(1), "d"(2) : "memory", "cc");                   \
    check_pf(n, user_bit | 3, READONLY);                                                           \
    check(n, *READONLY, 0x11223344);                                                               \
    check(n, last.f.ax, 1)

static word all(word user_bit)
{
    TRY(1, "lock incl (" A(di) ")");
    TRY(2, "addl %%eax, (" A(di) ")");
    TRY(3, "xaddl %%eax, (" A(di) ")");
    TRY(4, "xchgl %%eax, (" A(di) ")");
    TRY(5, "cmpxchgl %%edx, (" A(di) ")"); /* the compare fails: still a write */
    TRY(6, "lock cmpxchg8b (" A(di) ")");
    TRY(7, "shll $3, (" A(di) ")");
    TRY(8, "btsl $5, (" A(di) ")");
    TRY(9, "notb (" A(di) ")");
    TRY(10, "shldl $3, %%edx, (" A(di) ")");
    TRY(11, "negw (" A(di) ")");
    return 0;
}

GUEST
{
    uint32_t *page = page_alloc();

    paging_on();
    page[0] = 0x11223344;
    page_map(SCRATCH + 0x1000, (word)page, P_P | P_U);
    set_cr0(get_cr0() | 0x10000);
    all(0);
    call_user(all, 4);
}
