/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYSCALL and SYSRET: RCX, R11, flag mask, selectors, return to 64-bit and to compatibility mode,
 * SCE, CPL.
 */
#include "guest.h"

uint64_t seen64[8];
void syscall_entry(void), syscall_entry32(void);
extern const uint8_t user32[];

asm(".pushsection .text\n"
    "syscall_entry:\n\t"
    "mov %rcx, seen64\n\tmov %r11, seen64 + 8\n\tmov %cs, seen64 + 16\n\tmov %ss, seen64 + 24\n\t"
    "mov %rsp, seen64 + 32\n\tpushfq\n\tpop seen64 + 40\n\tinc %rax\n\tsysretq\n"
    "syscall_entry32: lea user32(%rip), %rcx\n\tmov $0x202 | 0x8d5, %r11\n\t"
    "mov $0xffffffff00000007, %rdx\n\tsysretl\n"
    ".code32\n"
    "user32: pushf\n\tpop %ebx\n\tmov %cs, %ecx\n\tmov $0xffffffff, %eax\n\tinc %eax\n\tjnz 1f\n\t"
    "mov %ss, %eax\n\tshl $16, %eax\n\tmov %cx, %ax\n"
    "1: int $0x81\n"
    ".code64\n.popsection");

static word user(word arg)
{
    word sp, ax, ip, flags;

    asm volatile("pushq $0x2408d7\n\tpopfq\n\tlea 1f(%%rip), %2\n\tmov %%rsp, %0\n\tmov %4, %1\n\t"
                 "syscall\n1: pushfq\n\tpop %3"
                 : "=&r"(sp), "=&a"(ax), "=&r"(ip), "=&r"(flags)
                 : "r"(arg)
                 : "rcx", "r11", "memory");
    check(1, ax, arg + 1);
    check(2, seen64[0], ip);
    check(3, seen64[1] & 0x8d7, 0x8d7);
    check(4, seen64[2], SEL_K64);
    check(5, seen64[3], SEL_KDATA2);
    check(6, seen64[4], sp); /* the stack stays the user's */
    check(7, seen64[5] & 0x240000, 0x200000);
    check(8, flags & 0x2408d7, 0x2408d7);
    uint16_t cs, ss;
    asm volatile("mov %%cs, %0\n\tmov %%ss, %1" : "=r"(cs), "=r"(ss));
    check(9, cs, SEL_U64);
    check(10, ss, SEL_UDATA2);
    asm volatile(FAULTS("sysretq") ::: "memory");
    check_fault(11, GP, 0, 0);
    return 0;
}

static word user_compat(word arg)
{
    asm volatile("syscall" ::"a"(arg) : "rcx", "r11", "rdx", "memory");
    return 0; /* comes back in 32-bit code, which leaves by itself */
}

static word user_off(word arg)
{
    asm volatile(FAULTS("syscall") ::"a"(arg) : "rcx", "r11", "memory");
    check_fault(30, UD, 0, 0);
    return 0;
}

GUEST
{
    wrmsr(MSR_STAR, (uint64_t)SEL_K64 << 32 | (uint64_t)SEL_U32B << 48);
    wrmsr(MSR_LSTAR, (word)syscall_entry);
    wrmsr(MSR_SFMASK, 0x40801);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1);
    call_user(user, 41);
    wrmsr(MSR_LSTAR, (word)syscall_entry32);
    check(20, call_user(user_compat, 0), (uint32_t)SEL_UDATA2 << 16 | SEL_U32B);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~1ull);
    call_user(user_off, 0);
    asm volatile(FAULTS("sysretq") ::: "memory");
    check_fault(31, UD, 0, 0);
}
