/* SPDX-License-Identifier: Apache-2.0 */
/* Access to debug registers: DR7.GD, DR4 and DR5 by CR4.DE, upper halves. */
#include "guest.h"

GUEST
{
    /*
     * GD: any access to a debug register faults, and is off inside. DR4 and DR5 are DR6 and DR7, or
     * nothing.
     */
    set_dr7(0x2400);
    asm volatile(FAULTS("mov %%dr0, " A(cx)) ::: "ecx", "memory");
    check_fault(1, DB, 0, 0);
    check(2, last.dr6 & 0x2000, 0x2000);
    check(3, get_dr7() & 0x2000, 0);
    set_dr6(0xffff0ff0);
    word dr4;
    asm volatile(".byte 0x0f, 0x21, 0xe0" : "=a"(dr4)); /* mov %dr4, %eax */
    check(4, dr4, 0xffff0ff0);
    set_cr4(get_cr4() | 8);
    asm volatile(FAULTS(".byte 0x0f, 0x21, 0xe0") ::: "eax", "memory");
    check_fault(5, UD, 0, 0);
    set_cr4(get_cr4() & ~8ul);
#ifdef __x86_64__
    asm volatile(FAULTS("mov %0, %%dr7") ::"r"(1ul << 32) : "memory");
    check_fault(6, GP, 0, 0);
    asm volatile(FAULTS("mov %0, %%dr6") ::"r"(1ul << 40) : "memory");
    check_fault(7, GP, 0, 0);
#endif
}
