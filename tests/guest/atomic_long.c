/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions with several or long accesses: a fault in the middle leaves nothing half done. */
#include "atomic.h"

#define BELOW (SCRATCH - 0x1000) /* nor is the one before */

/* The stack is `at`: the fault leaves it, the memory around it and the registers. */
#define STACK_UNCHANGED(n, insn, at, code) STACK_MISSING(n, insn, at, code, EDGE)
#define STACK_MISSING(n, insn, at, code, missing)                                                  \
    asm volatile("push " A(bp) "\n\tmov " A(sp) ", saved_sp\n\tmov %0, " A(sp) "\n\t" FAULTS(insn) \
                 "mov " A(sp) ", left_sp\n\tmov saved_sp, " A(sp) "\n\tpop " A(bp)                 \
                 :                                                                                 \
                 : "b"(at), "D"(EDGE), "S"(page + 64), "a"(0x1234)                                 \
                 : "memory", "cc", "ecx", "edx");                                                  \
    check_fault(n, PF, code, 0);                                                                   \
    check(n, left_sp, at);                                                                         \
    check(n, last.f.di, EDGE);                                                                     \
    check(n, last.f.ax, 0x1234);                                                                   \
    check(n, last.cr2 & ~0xffful, missing);                                                        \
    check(n, memcmp(page, copy, 4096), 0)

word saved_sp, left_sp;
struct __attribute__((packed)) {
    uint32_t offset;
    uint16_t selector;
} far_pointer = {0x100000, SEL_UCODE};
static word user(word arg)
{
    (void)arg;
    UNCHANGED(7, "sgdt (" A(di) ")", EDGE - 4, 6, 0);
    UNCHANGED(8, "movups %%xmm0, (" A(di) ")", EDGE - 15, 6, 0);
    UNCHANGED(9, "fnsave (" A(di) ")", EDGE - 100, 6, 0);
    UNCHANGED(10, "fnstenv (" A(di) ")", EDGE - 20, 6, 0);
    UNCHANGED(11, "fxsave (" A(di) ")", EDGE - 256, 6, 0);
    UNCHANGED(12, "fstpt (" A(di) ")", EDGE - 6, 6, 0);
    UNCHANGED(13, "fxrstor (" A(di) ")", EDGE - 256, 4, 0);
    UNCHANGED(14, "movhps %%xmm0, (" A(di) ")", EDGE - 5, 6, 0);
    UNCHANGED(15, "fistpll (" A(di) ")", EDGE - 1, 6, 0);
    UNCHANGED(20, "cmpxchg8b (" A(di) ")", EDGE - 4, 6, 0);

    /* The operand is missing, the stack is there. */
    STACK_UNCHANGED(30, "push (" A(di) ")", SCRATCH + 512, 4);
    STACK_UNCHANGED(31, "pop (" A(di) ")", SCRATCH + 512, 6);
    STACK_UNCHANGED(32, "call *(" A(di) ")", SCRATCH + 512, 4);
    /* The stack's page ends within what is pushed or popped. */
    STACK_UNCHANGED(33, "push " A(ax), EDGE + sizeof(word) / 2, 6);
    STACK_UNCHANGED(34, "pop " A(ax), EDGE - sizeof(word) / 2, 4);
    STACK_UNCHANGED(35, "call 1f\n1:", EDGE + sizeof(word) / 2, 6);
    STACK_UNCHANGED(36, "enter $16, $0", EDGE + sizeof(word) / 2, 6);
    STACK_UNCHANGED(37, "ret", EDGE - sizeof(word) / 2, 4);
    STACK_UNCHANGED(38, "popf", EDGE - sizeof(word) / 2, 4);
    STACK_UNCHANGED(39, "pushf", EDGE + sizeof(word) / 2, 6);
    STACK_UNCHANGED(40, "iret" W, EDGE - 2 * sizeof(word), 4);
    STACK_UNCHANGED(41, "lret" W, EDGE - sizeof(word), 4);
    STACK_UNCHANGED(42, "push %%fs", EDGE + sizeof(word) / 2, 6);
#ifndef __x86_64__
    STACK_UNCHANGED(43, "pusha", EDGE + 16, 6);
    STACK_UNCHANGED(44, "popa", EDGE - 16, 4);
    STACK_UNCHANGED(45, "enter $16, $3", EDGE + 2, 6);
    STACK_UNCHANGED(46, "lcall *(%%edi)", EDGE - 16, 4);
    STACK_UNCHANGED(47, "pusha", EDGE + 2, 6);
    STACK_MISSING(50, "pusha", SCRATCH + 16, 6, BELOW);
    STACK_MISSING(51, "enter $16, $3", SCRATCH + 8, 6, BELOW);
#endif
    STACK_MISSING(52, "push (" A(si) ")", SCRATCH + sizeof(word) / 2, 6, BELOW);
    STACK_MISSING(53, "lcall *far_pointer", SCRATCH + 4, 6, BELOW); /* 32-bit operands */
    STACK_MISSING(54, "pushf", SCRATCH, 6, BELOW);
    return 0;
}

GUEST
{
    page_before_edge();

    call_user(user, 0); /* traps then have a stack of their own */
}
