/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time stamp counter only goes up, can be written, is refused to users by CR4.TSD; RDTSCP gives
 * TSC_AUX.
 */
#include "guest.h"

static word user(word arg)
{
    asm volatile(FAULTS("rdtsc") ::: "eax", "edx", "memory");
    if (arg) {
        check_fault(10, GP, 0, 0);
    } else {
        check_no_fault(11);
    }
    return 0;
}

GUEST
{
    uint64_t before = rdtsc(), first = before;

    for (unsigned i = 0; i < 10000; i++) {
        uint64_t now = rdtsc();
        check(1, now >= before, 1);
        before = now;
    }
    check(2, before > first, 1);
    first = rdtsc();
    pit_wait_us(10000);
    check(3, rdtsc() - first > 1000000, 1); /* at least 100 MHz */
    uint64_t msr = rdmsr(0x10);
    check(4, rdtsc() >= msr, 1);
    if (cpuid(0x80000001, 0).d >> 27 & 1) {
        uint32_t aux, lo, hi;
        wrmsr(0xc0000103, 0x1234);
        asm volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
        check(7, aux, 0x1234);
    }
    call_user(user, 0);
    set_cr4(get_cr4() | 4);
    call_user(user, 1);
    asm volatile(FAULTS("rdtsc") ::: "eax", "edx", "memory");
    check_no_fault(12);
}
