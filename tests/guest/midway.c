/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions of several steps that fault on one of them: registers and memory are as before, and
 * the error code is that of the step that failed.
 */
#include "guest.h"

/* Page 0 and 3 are there, page 1 is not, page 2 is read-only. */
#define VA(i) (SCRATCH + (i) * 0x1000ul)
#define GAP   VA(1)
#define RO    VA(2)
#define WS    ((word)sizeof(word))
#define AX    0x5a5a5a5aul

static uint8_t *page[4];
static uint8_t before[4][4096];
word saved_sp; /* for the asm */
static word source, target;

/* Runs text at CPL 3 with that stack and frame pointer. */
#define STEP(stack, frame, text)                                                                   \
    asm volatile("push " A(bp) "\n\tmov " A(sp) ", saved_sp\n\t"                                   \
                 "mov " A(bx) ", " A(bp) "\n\tmov " A(cx) ", " A(sp) "\n\t" FAULTS(text)           \
                 "mov saved_sp, " A(sp) "\n\tpop " A(bp)                                           \
                 ::"c"((word)(stack)), "b"((word)(frame)), "a"(AX), "d"(3ul), "S"(source),         \
                 "D"(target)                                                                       \
                 : "memory", "cc")

static void keep(void)
{
    for (unsigned i = 0; i < 4; i++)
        memcpy(before[i], page[i], 4096);
}

static void unchanged(unsigned n, word stack, word frame, word error, word cr2)
{
    check_pf(n, error, (void *)cr2);
    check(n, last.f.ip, faults_ip);
    check(n, last.f.ax, AX);
    check(n, last.f.bx, frame);
    check(n, last.f.cx, stack);
    check(n, last.f.dx, 3);
    check(n, last.f.si, source);
    check(n, last.f.di, target);
    check(n, last.f.sp, stack);
    check(n, last.f.bp, frame);
    for (unsigned i = 0; i < 4; i++)
        check(n, (uint64_t)memcmp(before[i], page[i], 4096), 0);
}

#define BAD(n, stack, frame, text, error, cr2)                                                     \
    keep();                                                                                        \
    for (unsigned round_ = 0; round_ < rounds; round_++) {                                         \
        STEP(stack, frame, text);                                                                  \
        unchanged(n, stack, frame, error, cr2);                                                    \
    }

static void stacks(unsigned rounds)
{
    source = VA(0);
    target = GAP;
    /* The stack is what is not there, or may not be written. */
    BAD(1, RO, 0, "push " A(ax), 6, RO - WS);
    BAD(2, VA(3), 0, "push " A(ax), 7, VA(3) - WS);
    BAD(3, VA(3), 0, "push (" A(si) ")", 7, VA(3) - WS);
    BAD(4, VA(3), 0, "pushf", 7, VA(3) - WS);
    BAD(5, VA(3), 0, "call 1f\n1:", 7, VA(3) - WS);
    *(word *)page[0] = VA(0) + 8 * WS;
    BAD(6, VA(3), 0, "call *(" A(si) ")", 7, VA(3) - WS);
    BAD(7, VA(3), 0, "call *" A(ax), 7, VA(3) - WS);
    BAD(8, GAP + 8, 0, "pop " A(ax), 4, GAP + 8);
    BAD(9, GAP, 0, "popf", 4, GAP);
    BAD(10, GAP, 0, "ret", 4, GAP);
    BAD(11, GAP, 0, "ret $16", 4, GAP);
    BAD(12, VA(0) + 64, GAP, "leave", 4, GAP);
    BAD(13, VA(3), 0, "enter $16, $0", 7, VA(3) - WS);
    BAD(14, VA(3) + WS, GAP + 64, "enter $16, $3", 4, GAP + 64 - WS);
    BAD(15, VA(3) + 2 * WS, VA(3) + 128, "enter $16, $3", 7, VA(3) - WS);
    /* Where the stack pointer would end must be writable, too. */
    BAD(16, VA(3) + 64, VA(3), "enter $256, $0", 7, VA(3) + 64 - WS - 256);
    /* The operand is what is not there: nothing is pushed or popped. */
    BAD(20, VA(0) + 64, 0, "push (" A(di) ")", 4, GAP);
    BAD(21, VA(0) + 64, 0, "pop (" A(di) ")", 6, GAP);
    BAD(22, GAP - WS, 0, "pop (" A(sp) ")", 6, GAP);
    BAD(23, VA(0) + 64, 0, "call *(" A(di) ")", 4, GAP);
    BAD(24, VA(0) + 64, 0, "jmp *(" A(di) ")", 4, GAP);
    /* Across pages: neither half is written. */
    BAD(25, GAP + WS / 2, 0, "push " A(ax), 6, GAP);
    BAD(26, GAP + WS / 2, 0, "call 1f\n1:", 6, GAP);
    BAD(27, VA(3) + WS / 2, 0, "push " A(ax), 7, VA(3) - WS / 2);
    BAD(28, GAP - WS / 2, 0, "pop " A(ax), 4, GAP);
    BAD(29, GAP - WS / 2, 0, "ret", 4, GAP);
    BAD(30, VA(0) + 64, GAP - WS / 2, "leave", 4, GAP);
#ifndef __x86_64__
    BAD(31, VA(3) + 16, 0, "pusha", 7, VA(3) - 4);
    BAD(32, GAP - 16, 0, "popa", 4, GAP);
    BAD(33, GAP + 2, 0, "pushl %%ds", 6, GAP);
    BAD(34, GAP - 2, 0, "popl %%ds", 4, GAP);
#endif
    BAD(35, GAP - WS, 0, "iret", 4, GAP);
    BAD(36, GAP - WS, 0, "lret" W, 4, GAP);
    BAD(37, GAP - 2 * WS, 0, "iret", 4, GAP);
}

#define OPERANDS(n, from, to, text, error, cr2)                                                    \
    source = (from), target = (to);                                                                \
    BAD(n, VA(0) + 256, 0, text, error, cr2)

static void operands(unsigned rounds)
{
    OPERANDS(40, GAP, VA(0), "movs" W, 4, GAP);
    OPERANDS(41, GAP, RO, "movs" W, 4, GAP); /* read before it is written */
    OPERANDS(42, VA(0), RO, "movs" W, 7, RO);
    OPERANDS(43, GAP, VA(0), "lods" W, 4, GAP);
    OPERANDS(44, VA(0), RO, "stosb", 7, RO);
    OPERANDS(45, VA(0), GAP, "div" W " (" A(di) ")", 4, GAP);
    OPERANDS(46, VA(0), GAP, "imul (" A(di) "), " A(ax), 4, GAP);
    OPERANDS(47, VA(0), GAP, "cmovz (" A(di) "), " A(ax), 4, GAP);
    OPERANDS(48, VA(0), GAP, "cmovnz (" A(di) "), " A(ax), 4, GAP);
    OPERANDS(49, VA(0), RO, "setz (" A(di) ")", 7, RO);
    OPERANDS(50, VA(0), RO, "setnz (" A(di) ")", 7, RO);
    OPERANDS(51, VA(0), 0, "bts " A(ax) ", (" A(si) ")", 6, VA(0) + AX / (8 * WS) * WS);
    OPERANDS(52, VA(0), 0, "bt " A(ax) ", (" A(si) ")", 4, VA(0) + AX / (8 * WS) * WS);
    OPERANDS(53, GAP - 4, 0, "lfs (" A(si) "), %%eax", 4, GAP);
    OPERANDS(54, GAP - 5, 0, "lgs (" A(si) "), %%eax", 4, GAP - 5 + 5);
    OPERANDS(55, GAP, 0, "mov (" A(si) "), %%fs", 4, GAP);
    OPERANDS(56, GAP - 1, 0, "mov (" A(si) "), %%es", 4, GAP);
    OPERANDS(57, VA(0), GAP - 4, "fistpll (" A(di) ")", 6, GAP);
    OPERANDS(58, VA(0), GAP - 9, "fstpt (" A(di) ")", 6, GAP);
    OPERANDS(59, VA(0), VA(3) - 9, "fstpt (" A(di) ")", 7, VA(3) - 9);
    OPERANDS(60, GAP - 9, 0, "fldt (" A(si) ")", 4, GAP);
    OPERANDS(61, GAP - 1, 0, "fldcw (" A(si) ")", 4, GAP);
    OPERANDS(62, VA(0), GAP - 1, "fnstcw (" A(di) ")", 6, GAP);
    OPERANDS(63, VA(0), RO, "lock orb $0, (" A(di) ")", 7, RO);
    OPERANDS(64, VA(0), RO, "lock cmpxchg8b (" A(di) ")", 7, RO);
#ifdef __x86_64__
    if (cpuid(1, 0).c >> 13 & 1) {
        OPERANDS(65, VA(0), RO, "lock cmpxchg16b (%%rdi)", 7, RO);
        OPERANDS(66, VA(0), GAP, "cmpxchg16b (%%rdi)", 6, GAP);
    }
    OPERANDS(67, VA(0), GAP, "movnti %%rax, (%%rdi)", 6, GAP);
#else
    OPERANDS(68, GAP - 4, 0, "bound %%eax, (%%esi)", 4, GAP);
    OPERANDS(69, GAP - 4, 0, "lds (%%esi), %%eax", 4, GAP);
    OPERANDS(70, GAP - 4, 0, "ljmp *(%%esi)", 4, GAP);
    OPERANDS(71, GAP - 4, 0, "lcall *(%%esi)", 4, GAP);
#endif
    OPERANDS(72, VA(0), GAP - 8, "movups %%xmm0, (" A(di) ")", 6, GAP);
    OPERANDS(73, VA(0), VA(3) - 8, "movups %%xmm0, (" A(di) ")", 7, VA(3) - 8);
    OPERANDS(74, VA(0), GAP - 2, "movss %%xmm0, (" A(di) ")", 6, GAP);
    OPERANDS(75, GAP - 2, 0, "cvtsi2ss (" A(si) "), %%xmm0", 4, GAP);
    /* Not aligned counts first. */
    STEP(VA(0) + 256, 0, "movaps -8(" A(di) "), %%xmm0");
    check_fault(76, GP, 0, 0);
    source = GAP;
    STEP(VA(0) + 256, 0, "prefetcht0 (" A(si) ")\n\tnopl (" A(si) ")\n\tlea (" A(si) "), " A(di));
    check_no_fault(77);
    uint16_t status = 1;
    asm volatile("fnstsw %0" : "=m"(status));
    check(78, status & 0x3800, 0x3800); /* the one that was loaded is still there */
}

static word steps(word rounds)
{
    asm volatile("fninit\n\tfld1");
    stacks((unsigned)rounds);
    operands((unsigned)rounds);
    return 0;
}

GUEST
{
    paging_on();
    set_cr0(get_cr0() | 0x10000);
    for (unsigned i = 0; i < 4; i++)
        page[i] = page_alloc();
    set_cr4(get_cr4() | 0x200);
    page_map(VA(0), (word)page[0], P_RWU);
    page_map(RO, (word)page[2], P_P | P_U);
    page_map(VA(3), (word)page[3], P_RWU);
    call_user(steps, 40);
}
