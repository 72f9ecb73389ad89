/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 64-bit call gates: 16 bytes, stack from the TSS with a null SS, far return to user; what they
 * refuse.
 */
#include "guest.h"

#define S(i) (SEL_FREE + 8 * (i))
enum { GATE = 0, GATE_32 = 2, GATE_BAD = 4 };

uint64_t seen64[8];
void gate_target(void);
asm(".pushsection .text\n"
    "gate_target:\n\t"
    "mov %cs, seen64\n\tmov %ss, seen64 + 8\n\tmov %rsp, seen64 + 16\n\t"
    "mov (%rsp), %rax\n\tmov %rax, seen64 + 24\n\tmov 8(%rsp), %rax\n\tmov %rax, seen64 + 32\n\t"
    "mov 16(%rsp), %rax\n\tmov %rax, seen64 + 40\n\tmov 24(%rsp), %rax\n\tmov %rax, seen64 + 48\n\t"
    "lretq\n"
    ".popsection");

struct __attribute__((packed)) {
    uint32_t offset;
    uint16_t selector;
} far_gate;

static word user(word arg)
{
    word sp, after, back;

    (void)arg;
    far_gate.selector = S(GATE) | 3;
    far_gate.offset = 0x999;
    asm volatile("mov %%rsp, %0\n\tlea 1f(%%rip), %2\n\tlcall *far_gate\n1: mov %%rsp, %1"
                 : "=&r"(sp), "=&r"(after), "=&r"(back)::"rax", "memory");
    check(1, seen64[0], SEL_K64);
    check(2, seen64[1], 0); /* null, RPL 0 */
    check(3, seen64[2], *(word *)((char *)tss + 4) - 32);
    check(4, seen64[3], back);
    check(5, seen64[4], SEL_U64);
    check(6, seen64[5], sp);
    check(7, seen64[6] & 0xffff, SEL_UDATA);
    check(8, after, sp);
    far_gate.selector = S(GATE_32) | 3;
    asm volatile(FAULTS("lcall *far_gate") ::: "memory"); /* must lead to 64-bit code */
    check_fault(9, GP, SEL_K32, 0);
    far_gate.selector = S(GATE_BAD) | 3;
    /* type bits of the upper half are not 0 */
    asm volatile(FAULTS("lcall *far_gate") ::: "memory");
    check_fault(10, GP, S(GATE_BAD), 0);
    far_gate.selector = SEL_TSS | 3;
    asm volatile(FAULTS("lcall *far_gate") ::: "memory"); /* no tasks here */
    check_fault(11, GP, SEL_TSS, 0);
    return 0;
}

GUEST
{
    gate_set(&gdt[SEL_FREE / 8 + GATE], (word)gate_target, SEL_K64, 0xec, 0);
    gate_set(&gdt[SEL_FREE / 8 + GATE_32], (word)gate_target, SEL_K32, 0xec, 0);
    gate_set(&gdt[SEL_FREE / 8 + GATE_BAD], (word)gate_target, SEL_K64, 0xec, 0);
    gdt[SEL_FREE / 8 + GATE_BAD + 1] |= 0x0cull << 40;
    call_user(user, 0);
}
