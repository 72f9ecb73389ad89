/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSRs: unknown ones and non-canonical addresses raise #GP; bases take what they are given;
 * reserved bits.
 */
#include "guest.h"

#define REFUSED(n, msr, value)                                                                     \
    asm volatile(FAULTS("wrmsr") ::"c"(msr), "a"((uint32_t)(value)),                               \
                 "d"((uint32_t)((uint64_t)(value) >> 32)) : "memory");                             \
    check_fault(n, GP, 0, 0)
#define UNKNOWN(n, msr)                                                                            \
    asm volatile(FAULTS("rdmsr") ::"c"(msr), "a"(0x11), "d"(0x22) : "memory");                     \
    check_fault(n, GP, 0, 0);                                                                      \
    check(n, last.f.ax, 0x11);                                                                     \
    check(n, last.f.dx, 0x22);                                                                     \
    REFUSED(n, msr, 0)

static const uint32_t bases[] = {MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS, MSR_LSTAR, MSR_CSTAR,
                                 MSR_SYSENTER_CS + 1, MSR_SYSENTER_CS + 2};

GUEST
{
    UNKNOWN(1, 0x12345678);
    UNKNOWN(2, 0x4b564dff); /* next to kvmclock's, but none of them */
    UNKNOWN(3, 0xc0001fff);
    REFUSED(4, MSR_EFER, rdmsr(MSR_EFER) | 1u << 9);
    REFUSED(5, MSR_EFER, rdmsr(MSR_EFER) & ~0x100ull); /* LME while paging */
    REFUSED(6, 0x277, 0x0007040600070403);             /* PAT: 3 is no memory type */
    for (unsigned i = 0; i < sizeof(bases) / 4; i++) {
        uint64_t old = rdmsr(bases[i]);

        wrmsr(bases[i], 0x00007ffffffff123);
        check(10 + i, rdmsr(bases[i]), 0x00007ffffffff123);
        wrmsr(bases[i], 0xffff800000000456);
        check(10 + i, rdmsr(bases[i]), 0xffff800000000456);
        REFUSED(20 + i, bases[i], 0x0000800000000000);
        REFUSED(30 + i, bases[i], 0xffff7fffffffffff);
        check(40 + i, rdmsr(bases[i]), 0xffff800000000456);
        wrmsr(bases[i], old);
    }
    wrmsr(MSR_SFMASK, 0x47700);
    check(50, rdmsr(MSR_SFMASK), 0x47700);
    wrmsr(0x277, 0x0007040600070406);
    check(51, rdmsr(0x277), 0x0007040600070406);
    check(52, rdmsr(MSR_APIC_BASE) & 0xfffff900, 0xfee00900); /* BSP, enabled, at its place */
    wrmsr(0x10, 0x123456789000);
    check(53, rdtsc() >> 40, 0x12);
    check(54, rdtsc() >= 0x123456789000, 1);
    wrmsr(0x3b, rdmsr(0x3b) + 0x10000000000); /* TSC_ADJUST moves it too */
    check(55, rdtsc() >> 40, 0x13);
    (void)rdmsr(0x179); /* kernels look for banks of machine checks even where CPUID offers none */
    check(56, rdmsr(0x17a), 0);
    wrmsr(0x17a, 0);
    REFUSED(57, 0x17a, 8);
}
