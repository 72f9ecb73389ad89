/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 32-bit call gates: stack switch with parameter copy, far return to the outer ring, conforming
 * code, checks.
 */
#include "guest.h"

#define S(i) (SEL_FREE + 8 * (i))
enum { GATE, GATE_DPL0, GATE_ABSENT, GATE_DATA, CONFORMING, GATE_SAME, GATE_NULL };

word seen[12];
void gate_target(void);
void conforming_target(void);
void same_target(void);

/* The inner stack: return EIP, CS, three parameters, outer ESP, outer SS. */
asm(".pushsection .text\n"
    "gate_target:\n\t"
    "mov $0x10, %eax\n\tmov %eax, %ds\n\t"
    "mov %cs, seen\n\tmov %ss, seen + 4\n\tmov %esp, seen + 8\n\t"
    "mov 4(%esp), %eax\n\tmov %eax, seen + 12\n\t"
    "mov 8(%esp), %eax\n\tmov %eax, seen + 16\n\t"
    "mov 16(%esp), %eax\n\tmov %eax, seen + 20\n\t"
    "mov 20(%esp), %eax\n\tmov %eax, seen + 24\n\t"
    "mov 24(%esp), %eax\n\tmov %eax, seen + 28\n\t"
    "mov $0x23, %eax\n\tmov %eax, %fs\n\t"
    "mov $0x10, %eax\n\tmov %eax, %gs\n\t" /* a return to ring 3 makes this null */
    "lret $12\n"
    "conforming_target: mov %cs, seen\n\tlret\n"
    "same_target: mov %esp, seen + 8\n\tmov %cs, seen\n\tlret\n"
    ".popsection");

static word user(word arg)
{
    uint32_t sp, after, fs, gs;

    (void)arg;
    asm volatile("mov %%esp, %0\n\tpush $0x111\n\tpush $0x222\n\tpush $0x333\n\t"
                 "lcall %4, $0x1234\n\t"
                 "mov %%esp, %1\n\tmov %%fs, %2\n\tmov %%gs, %3"
                 : "=&r"(sp), "=&r"(after), "=&r"(fs), "=&r"(gs)
                 : "i"(S(GATE) | 3)
                 : "eax", "memory");
    /* the target left the kernel's, the return null */
    asm volatile("mov %0, %%ds" ::"r"(SEL_UDATA));
    check(1, seen[0], SEL_K32);
    check(2, seen[1], SEL_KDATA);
    check(3, seen[2], tss[1] - 7 * 4);
    check(4, seen[3], SEL_U32);
    check(5, seen[4], 0x333);
    check(6, seen[5], 0x111);
    check(7, seen[6], sp - 12);
    check(8, seen[7], SEL_UDATA);
    check(9, after, sp); /* lret $12 released them on both stacks */
    check(10, fs, SEL_UDATA);
    check(11, gs, 0);

    asm volatile("lcall %0, $conforming_target" ::"i"(S(CONFORMING)) : "eax", "memory");
    check(13, seen[0], S(CONFORMING) | 3);

    asm volatile(FAULTS("lcall %0, $0") ::"i"(S(GATE_DPL0) | 3) : "memory");
    check_fault(20, GP, S(GATE_DPL0), 0);
    asm volatile(FAULTS("lcall %0, $0") ::"i"(S(GATE_ABSENT) | 3) : "memory");
    check_fault(21, NP, S(GATE_ABSENT), 0);
    asm volatile(FAULTS("lcall %0, $0") ::"i"(S(GATE_DATA) | 3) : "memory");
    check_fault(22, GP, SEL_KDATA, 0);
    asm volatile(FAULTS("lcall %0, $0") ::"i"(S(GATE_NULL) | 3) : "memory");
    check_fault(23, GP, 0, 0);
    /* a jump never goes inward */
    asm volatile(FAULTS("ljmp %0, $0") ::"i"(S(GATE) | 3) : "memory");
    check_fault(24, GP, SEL_K32, 0);
    asm volatile(FAULTS("lcall %0, $0") ::"i"(SEL_K32) : "memory");
    check_fault(25, GP, SEL_K32, 0);
    asm volatile(FAULTS("lcall %0, $0") ::"i"(SEL_UDATA) : "memory");
    check_fault(26, GP, SEL_UDATA & ~3, 0);
    asm volatile(FAULTS("lcall $3, $0") ::: "memory");
    check_fault(27, GP, 0, 0);
    asm volatile(FAULTS("lcall %0, $0") ::"i"(GDT_SLOTS * 8) : "memory");
    check_fault(28, GP, GDT_SLOTS * 8, 0);
    return 0;
}

GUEST
{
    uint64_t *free = &gdt[SEL_FREE / 8];
    uint32_t sp, now;

    gate_set(&free[GATE], (word)gate_target, SEL_K32, 0xec, 3);
    gate_set(&free[GATE_DPL0], (word)gate_target, SEL_K32, 0x8c, 0);
    gate_set(&free[GATE_ABSENT], (word)gate_target, SEL_K32, 0x6c, 0);
    gate_set(&free[GATE_DATA], (word)gate_target, SEL_KDATA, 0xec, 0);
    gate_set(&free[GATE_NULL], (word)gate_target, 0, 0xec, 0);
    gate_set(&free[GATE_SAME], (word)same_target, SEL_K32, 0xec, 3);
    free[CONFORMING] = descriptor(0, 0xfffff, 0x9f, 0xc);
    call_user(user, 0);

    /* From ring 0 through a gate to ring 0: no switch, no copy. */
    asm volatile("mov %%esp, %0\n\tlcall %2, $0\n\tmov %%esp, %1"
                 : "=&r"(sp), "=&r"(now) : "i"(S(GATE_SAME)) : "memory");
    check(30, seen[0], SEL_K32);
    check(31, seen[2], sp - 8);
    check(32, now, sp);
}
