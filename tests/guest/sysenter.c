/* SPDX-License-Identifier: Apache-2.0 */
/* SYSENTER and SYSEXIT: the three MSRs, flat segments, flags; CS of zero, CPL. */
#include "guest.h"

/* AMD CPUs have no SYSENTER in long mode. */
static bool missing(void)
{
    struct cpuid id = cpuid(0, 0);

    return GUEST_BITS == 64 && id.b != 0x756e6547;
}

word seen[8];
void sysenter_entry(void);
#ifdef __x86_64__
#define BASE    SEL_K64
#define SYSEXIT "sysexitl"
asm(".pushsection .text\n"
    "sysenter_entry: mov %rsp, seen\n\tmov %cs, seen + 8\n\tmov %ss, seen + 16\n\tpushfq\n\t"
    "pop seen + 24\n\t"
    "sysexitq\n"
    ".popsection");
#else
#define BASE    SEL_K32
#define SYSEXIT "sysexit"
asm(".pushsection .text\n"
    "sysenter_entry: mov %esp, seen\n\tmov %cs, seen + 4\n\tmov %ss, seen + 8\n\tpushfl\n\t"
    "pop seen + 12\n\t"
    "sysexit\n"
    ".popsection");
#endif
static uint8_t entry_stack[512] __attribute__((aligned(16)));

static word user(word arg)
{
    uint16_t cs, ss;

    (void)arg;
    set_flags(0x8d7);
    asm volatile("mov " A(sp) ", " A(cx) "\n\tlea 1f, " A(dx) "\n\tsysenter\n"
                 "1:" ::: "cx", "dx", "memory");
    asm volatile("mov %%cs, %0\n\tmov %%ss, %1" : "=r"(cs), "=r"(ss));
    check(1, seen[0], (word)(entry_stack + 512));
    check(2, seen[1], BASE);
    check(3, seen[2], BASE + 8);
    check(4, seen[3] & 0x20300, 0);
    check(5, cs, SEL_UCODE);
    check(6, ss, GUEST_BITS == 64 ? SEL_UDATA3 : SEL_UDATA);
    asm volatile(FAULTS(SYSEXIT) ::: "memory");
    check_fault(7, GP, 0, 0);
    return 0;
}

static word user_off(word arg)
{
    (void)arg;
    asm volatile(FAULTS("sysenter") ::: "memory");
    check_fault(10, GP, 0, 0);
    return 0;
}

GUEST
{
    if (missing())
        return;
    wrmsr(MSR_SYSENTER_CS, BASE);
    wrmsr(MSR_SYSENTER_CS + 1, (word)(entry_stack + 512));
    wrmsr(MSR_SYSENTER_CS + 2, (word)sysenter_entry);
    call_user(user, 0);
    wrmsr(MSR_SYSENTER_CS, 0);
    call_user(user_off, 0);
    asm volatile(FAULTS(SYSEXIT) ::: "memory");
    check_fault(11, GP, 0, 0);
}
