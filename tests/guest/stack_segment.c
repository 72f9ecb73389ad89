/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of the stack segment: #SS(0) at PUSH, POP, CALL, frames; in ring 3, so that traps have a
 * stack.
 */
#include "guest.h"

#define SEL_STACK (SEL_FREE | 3)

static uint8_t area[0x2000] __attribute__((aligned(4096)));
word saved_sp, left_sp;

#define TRY(n, insn, at)                                                                           \
    asm volatile("mov %%esp, saved_sp\n\tmov %%ebp, %%ecx\n\tmov %0, %%ss\n\tmov %1, %%esp\n\t"    \
                 "mov %1, %%ebp\n\t" FAULTS(insn)                                                  \
                 "mov %%esp, left_sp\n\tmov %2, %%ss\n\tmov saved_sp, %%esp\n\tmov %%ecx, %%ebp"   \
                 ::"S"(SEL_STACK), "b"(at), "D"(SEL_UDATA) : "eax", "ecx", "edx", "memory")
#define OUTSIDE(n, insn, at)                                                                       \
    TRY(n, insn, at);                                                                              \
    check_fault(n, SS, 0, 0);                                                                      \
    check(n, left_sp, at)

static word user(word arg)
{
    (void)arg;
    OUTSIDE(1, "push %%eax", 0);
    OUTSIDE(2, "push %%eax", 2);
    OUTSIDE(3, "pop %%eax", 0x1000);
    OUTSIDE(4, "pop %%eax", 0xffe);
    OUTSIDE(5, "pusha", 28);
    OUTSIDE(6, "popa", 0x1000 - 28);
    OUTSIDE(7, "call 1f\n1:", 0);
    OUTSIDE(8, "ret", 0x1000);
    OUTSIDE(9, "movl 0x800(%%ebp), %%eax", 0x800);
    OUTSIDE(10, "movl %%eax, -4(%%esp)", 0);
    OUTSIDE(11, "enter $0, $0", 2);
    OUTSIDE(12, "pushf", 0);
    OUTSIDE(13, "iret", 0x1000 - 8);
    TRY(20, "push %%eax", 4);
    check_no_fault(20);
    check(20, left_sp, 0);
    TRY(21, "movl %%ds:0x100000(%%ebp), %%eax", 0);
    check_no_fault(21);
    return 0;
}

GUEST
{
    gdt[SEL_FREE / 8] = descriptor((uint32_t)area, 0xfff, 0xf3, 4);
    call_user(user, 0);
}
