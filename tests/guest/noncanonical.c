/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Non-canonical addresses: #GP(0), with RSP or RBP as base #SS(0); jumps, calls and returns to
 * them.
 */
#include "guest.h"

#define HOLE 0x0000800000000000ul

#define TRY(n, vector, text)                                                                       \
    asm volatile(FAULTS(text) ::"a"(HOLE), "b"(HOLE - 4) : "rcx", "memory");                       \
    check_fault(n, vector, 0, 0)

GUEST
{
    TRY(1, GP, "movl (%%rax), %%ecx");
    TRY(2, GP, "movl %%ecx, (%%rax)");
    TRY(3, GP, "movq (%%rbx), %%rcx"); /* begins below, ends in the hole */
    TRY(4, GP, "lock incl (%%rax)");
    TRY(5, GP, "fxsave (%%rax)");
    asm volatile("mov %%rbp, %%rdx\n\t"
                 "mov %%rax, %%rbp\n\t" FAULTS("movl (%%rbp), %%ecx") "mov %%rdx, %%rbp"
                 ::"a"(HOLE) : "rcx", "rdx", "memory");
    check_fault(6, SS, 0, 0);
    asm volatile("mov %%rbp, %%rdx\n\t"
                 "mov %%rax, %%rbp\n\t" FAULTS("movl %%ds:(%%rbp), %%ecx") "mov %%rdx, %%rbp"
                 ::"a"(HOLE) : "rcx", "rdx", "memory");
    check(7, last.f.vector, SS); /* a prefix for DS means nothing in 64-bit mode */
    asm volatile("mov %%rbp, %%rdx\n\t"
                 "mov %%rax, %%rbp\n\t" FAULTS("movl %%fs:(%%rbp), %%ecx") "mov %%rdx, %%rbp"
                 ::"a"(HOLE) : "rcx", "rdx", "memory");
    check_fault(8, GP, 0, 0);
    TRY(9, GP, "jmp *%%rax");
    TRY(10, GP, "call *%%rax");
    asm volatile(FAULTS("push %%rax\n\tret") "pop %%rax" ::"a"(HOLE) : "memory");
    check_fault(11, GP, 0, 1);
    /* Others fault later, by the page: canonical, but nothing is there. */
    asm volatile(FAULTS("movl (%%rax), %%ecx") ::"a"(-0x800000000000) : "rcx", "memory");
    check_fault(12, PF, 0, 0);
    check(12, last.cr2, 0xffff800000000000);
    asm volatile(FAULTS("movl (%%rax), %%ecx") ::"a"(HOLE - 4) : "rcx", "memory");
    check_fault(13, PF, 0, 0);
    /* INVLPG, LEA and NOP do not care. */
    asm volatile(FAULTS("invlpg (%%rax)\n\tlea (%%rax), %%rcx\n\tnopl (%%rax)\n\t"
                        "prefetcht0 (%%rax)")
                 ::"a"(HOLE) : "rcx", "memory");
    check_no_fault(14);
    /* IRET to the hole: #GP of the IRET or at the target, but a #GP(0). */
    asm volatile("mov %%rsp, %%rdx\n\tpush %1\n\tpush %%rdx\n\tpush $2\n\tpush %2\n\t"
                 "push %%rax\n\t" FAULTS("iretq")
                 "mov %%rdx, %%rsp" ::"a"(HOLE), "i"(SEL_KDATA2), "i"(SEL_K64) : "rdx", "memory");
    check(15, last.f.vector, GP);
    check(15, last.f.error, 0);
}
