/* SPDX-License-Identifier: Apache-2.0 */
/* MOV to CR0 and CR4 refuses what makes no sense: #GP(0), nothing changed. */
#include "guest.h"

GUEST
{
    word cr0 = get_cr0(), cr4 = get_cr4();

    /* Paging with LME but without PAE is refused; so is leaving PAE or LME inside. */
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 0x100);
    asm volatile(FAULTS("mov %0, %%cr0") ::"r"(get_cr0() | 0x80000000) : "memory");
    check_fault(20, GP, 0, 0);
    /* PAE alone is fine */
    asm volatile(FAULTS("mov %0, %%cr4") ::"r"(get_cr4() | 0x20) : "memory");
    check_no_fault(24);
    set_cr4(get_cr4() & ~0x20ul);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~0x100ull);
    /* PG, not PE */
    asm volatile(FAULTS("mov %0, %%cr0") ::"r"((get_cr0() | 0x80000000) & ~1u) : "memory");
    check_fault(21, GP, 0, 0);
    asm volatile(FAULTS("mov %0, %%cr0") ::"r"((get_cr0() | 0x20000000) & ~0x40000000u) : "memory");
    check_fault(22, GP, 0, 0); /* NW without CD */
    asm volatile(FAULTS("mov %0, %%cr4") ::"r"(get_cr4() | 1u << 30) : "memory");
    check_fault(23, GP, 0, 0);
    check(25, get_cr0(), cr0);
    check(26, get_cr4(), cr4);
    asm volatile(FAULTS(".byte 0x0f, 0x22, 0xc8") ::: "memory"); /* there is no CR1 */
    check_fault(27, UD, 0, 0);
    asm volatile(FAULTS(".byte 0x0f, 0x22, 0xe8") ::: "memory"); /* nor CR5 */
    check_fault(28, UD, 0, 0);
    asm volatile(FAULTS("wrmsr") ::"c"(MSR_EFER), "a"(1u << 9), "d"(0) : "memory");
    check_fault(29, GP, 0, 0);

    /* CLTS, LMSW: sets PE only, never clears it. */
    set_cr0(cr0 | 8);
    asm volatile("clts");
    check(30, get_cr0(), cr0);
    asm volatile("lmsw %w0" ::"r"(0xe));
    check(31, get_cr0(), cr0 | 0xf);
    asm volatile("lmsw %w0" ::"r"((uint32_t)cr0));
    check(32, get_cr0(), cr0);
    uint32_t msw;
    asm volatile("smsw %0" : "=r"(msw));
    check(33, msw, cr0);
}
