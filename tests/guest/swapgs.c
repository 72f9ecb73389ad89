/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FS and GS bases in 64-bit mode: MSRs, SWAPGS, selector loads, RDFSBASE; other bases and limits
 * are ignored.
 */
#include "guest.h"

static uint64_t area[8] = {10, 11, 12, 13, 14, 15, 16, 17};

static word user(word arg)
{
    uint64_t value;

    (void)arg;
    asm volatile("mov %%gs:8, %0" : "=r"(value));
    check(20, value, 13);
    asm volatile(FAULTS("swapgs") ::: "memory");
    check_fault(21, GP, 0, 0);
    return 0;
}

GUEST
{
    uint64_t value;

    wrmsr(MSR_GS_BASE, (word)&area[1]);
    wrmsr(MSR_KERNEL_GS, (word)&area[4]);
    asm volatile("mov %%gs:8, %0" : "=r"(value));
    check(1, value, 12);
    asm volatile("swapgs\n\tmov %%gs:8, %0" : "=r"(value)::"memory");
    check(2, value, 15);
    check(3, rdmsr(MSR_GS_BASE), (word)&area[4]);
    check(4, rdmsr(MSR_KERNEL_GS), (word)&area[1]);
    wrmsr(MSR_FS_BASE, (word)&area[5]);
    asm volatile("mov %%fs:-8, %0" : "=r"(value));
    check(5, value, 14);
    asm volatile("lea %%fs:16, %0" : "=r"(value)); /* LEA ignores the segment */
    check(6, value, 16);

    /* A selector load takes the 32-bit base of the descriptor. */
    gdt[SEL_FREE / 8] = descriptor((uint32_t)(word)&area[2], 0, 0xf3, 0);
    asm volatile("mov %0, %%fs" ::"r"(SEL_FREE));
    check(7, rdmsr(MSR_FS_BASE), (word)&area[2]);
    asm volatile("mov %%fs:24, %0" : "=r"(value)); /* the limit of one byte means nothing */
    check(8, value, 15);
    wrmsr(MSR_FS_BASE, 0x123456789abc);
    check(10, rdmsr(MSR_FS_BASE), 0x123456789abc);

    if (cpuid(7, 0).b & 1) {
        asm volatile(FAULTS("rdfsbase %%rax") ::: "rax", "memory");
        check_fault(11, UD, 0, 0);
        set_cr4(get_cr4() | 0x10000);
        asm volatile("rdfsbase %0" : "=r"(value));
        check(12, value, 0x123456789abc);
        asm volatile("wrgsbase %0" ::"r"(&area[6]));
        asm volatile("mov %%gs:0, %0" : "=r"(value));
        check(13, value, 16);
        asm volatile("wrfsbase %k0" ::"r"(-1ul));
        check(14, rdmsr(MSR_FS_BASE), 0xffffffff);
    }
    wrmsr(MSR_GS_BASE, (word)&area[2]);
    call_user(user, 0);
}
