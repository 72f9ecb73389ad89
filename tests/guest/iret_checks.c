/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IRET and far returns: selectors are checked before anything changes; flags by CPL and IOPL; outer
 * rings.
 */
#include "guest.h"

#define S(i) (SEL_FREE + 8 * (i))
enum { ABSENT_CODE, CODE_DPL3 };

static uint32_t frame[5], sp_after;

/* IRET of a frame that is faulty: the stack pointer stays. */
#define IRET(n, ip, cs, fl, sp, ss, vector, error)                                                 \
    frame[0] = ip, frame[1] = cs, frame[2] = fl, frame[3] = sp, frame[4] = ss;                     \
    asm volatile("mov %%esp, %%ebx\n\t"                                                            \
                 "push %5\n\tpush %4\n\tpush %3\n\tpush %2\n\tpush %1\n\tmov %%esp, %%esi\n\t"     \
                 FAULTS("iret") "sub %%esp, %%esi\n\tmov %%esi, %0\n\tmov %%ebx, %%esp"            \
                 : "=m"(sp_after)                                                                  \
                 : "m"(frame[0]), "m"(frame[1]), "m"(frame[2]), "m"(frame[3]), "m"(frame[4])       \
                 : "ebx", "esi", "memory");                                                        \
    check_fault(n, vector, error, 0);                                                              \
    check(n, sp_after, 0)

static word user_iret(word arg)
{
    (void)arg;
    IRET(30, 0, SEL_K32, 2, 0, 0, GP, SEL_K32);     /* inward */
    IRET(31, 0, SEL_K32 | 3, 2, 0, 0, GP, SEL_K32); /* DPL < RPL for non-conforming code */
    IRET(32, 0, 0, 2, 0, 0, GP, 0);
    /* IF and IOPL do not change at CPL 3, the others do. */
    uint32_t flags;
    asm volatile("push %1\n\tpush %2\n\tpush $1f\n\tiret\n1: pushf\n\tpop %0"
                 : "=r"(flags)
                 : "i"(0x200 | 0x3000 | 0x40000 | 0x4000 | 0xcd5), "i"(SEL_U32)
                 : "memory", "cc");
    check(33, flags, 0x40000 | 0x4000 | 0xcd5 | 2);
    asm volatile("push $2\n\tpopf");
    return 5;
}

GUEST
{
    uint64_t *free = &gdt[SEL_FREE / 8];

    free[ABSENT_CODE] = descriptor(0, 0xfffff, 0x1b, 0xc);
    free[CODE_DPL3] = descriptor(0, 0xfffff, 0xfb, 0xc);
    IRET(1, 0, 0, 2, 0, 0, GP, 0);
    IRET(2, 0, 3, 2, 0, 0, GP, 0);
    IRET(3, 0, GDT_SLOTS * 8, 2, 0, 0, GP, GDT_SLOTS * 8);
    IRET(4, 0, SEL_KDATA, 2, 0, 0, GP, SEL_KDATA);
    IRET(5, 0, S(ABSENT_CODE), 2, 0, 0, NP, S(ABSENT_CODE));
    IRET(6, 0, S(CODE_DPL3), 2, 0, 0, GP, S(CODE_DPL3)); /* RPL 0, DPL 3 */
    IRET(7, 0, SEL_U32, 2, 0x1000, 0, GP, 0);             /* outer SS null */
    IRET(8, 0, SEL_U32, 2, 0x1000, SEL_KDATA, GP, SEL_KDATA);
    IRET(9, 0, SEL_U32, 2, 0x1000, SEL_UDATA & ~3, GP, SEL_UDATA & ~3);
    IRET(11, 0, SEL_U32, 2, 0x1000, GDT_SLOTS * 8 + 3, GP, GDT_SLOTS * 8);
    check(20, call_user(user_iret, 0), 5);

    /* IRET at the same ring: the flags of the frame all come, IOPL too. */
    uint32_t flags;
    asm volatile("push %1\n\tpush %2\n\tpush $1f\n\tiret\n1: pushf\n\tpop %0"
                 : "=r"(flags) : "i"(0x3000 | 0x8d5 | 0x40000), "i"(SEL_K32) : "memory", "cc");
    check(40, flags, 0x3000 | 0x8d5 | 0x40000 | 2);
    set_flags(2);
    /* POPF with a 16-bit operand leaves the upper half. */
    asm volatile("pushl $0x240002\n\tpopfl\n\tpushw $0x8d7\n\tpopfw\n\tpushfl\n\tpopl %0\n\t"
                 "pushl $2\n\tpopfl"
                 : "=r"(flags)::"memory", "cc");
    check(41, flags, 0x2408d7);

    /* NT: IRET is a task return, and there is no task to return to (back link 0 is not a TSS). */
    asm volatile("pushf\n\torl $0x4000, (%%esp)\n\tpopf\n\t" FAULTS("iret") "pushl $2\n\t"
                 "popfl" ::: "memory");
    check_fault(42, TS, 0, 0);
}
