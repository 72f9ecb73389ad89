/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87: unmasked exceptions wait for the next waiting instruction (#MF); masked ones give their
 * default result.
 */
#include "guest.h"

static uint16_t cw;
static uint32_t zero, one = 1;

GUEST
{
    uint16_t sw;
    uint32_t image[27];

    set_cr0((get_cr0() | 0x20) & ~0xcul);
    asm volatile("fninit\n\tfnstcw %0\n\tfnstsw %1" : "=m"(cw), "=a"(sw));
    check(1, cw, 0x37f);
    check(2, sw, 0);
    /* masked: infinity */
    asm volatile("fildl %1\n\tfidivl %2\n\tfnstsw %0" : "=a"(sw) : "m"(one), "m"(zero));
    check(3, sw & 0x84ff, 0x0004);
    asm volatile("fxam\n\tfnstsw %0\n\tfstp %%st(0)" : "=a"(sw));
    check(4, sw & 0x4500, 0x0500);

    cw = 0x37b; /* ZM clear */
    asm volatile("fninit\n\tfldcw %0\n\tfildl %1" ::"m"(cw), "m"(one));
    asm volatile(FAULTS("fidivl %0") ::"m"(zero) : "memory");
    check_no_fault(5); /* it is pending only */
    asm volatile("fnstsw %0" : "=a"(sw));
    check(6, sw & 0x80ff, 0x8084);
    asm volatile(FAULTS("fwait") ::: "memory");
    check_fault(8, MF, 0, 0);
    asm volatile(FAULTS("fnstcw %0") ::"m"(cw) : "memory"); /* does not wait */
    check_no_fault(9);
    asm volatile("fnstenv %0" : "=m"(image));
    check(10, image[1] & 0x80, 0x80);
    asm volatile("fnclex");
    asm volatile(FAULTS("fwait") ::: "memory");
    check_no_fault(11);
    asm volatile("fninit");
}
