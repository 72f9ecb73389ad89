/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which instructions report a pending x87 exception: all waiting ones, MMX, EMMS; not the FN forms.
 */
#include "guest.h"

static uint8_t area[512] __attribute__((aligned(16)));
static uint16_t cw = 0x37b;
static uint32_t zero;

#define WAITS(n, text)                                                                             \
    asm volatile(FAULTS(text) ::"D"(area) : "memory");                                             \
    check_fault(n, MF, 0, 0)
#define PASSES(n, text)                                                                            \
    asm volatile(FAULTS(text) ::"D"(area) : "memory");                                             \
    check_no_fault(n)

GUEST
{
    uint16_t sw;

    set_cr0((get_cr0() | 0x20) & ~0xcul);
    asm volatile("fninit\n\tfldcw %0\n\tfld1\n\tfidivl %1" ::"m"(cw), "m"(zero));
    WAITS(1, "fld1");
    WAITS(2, "fwait");
    WAITS(3, "fldcw (" A(di) ")");
    WAITS(4, "faddp");
    WAITS(5, "fstl (" A(di) ")");
    WAITS(6, "paddb %%mm0, %%mm1");
    WAITS(7, "emms");
    WAITS(8, "fldenv (" A(di) ")");
    WAITS(9, "frstor (" A(di) ")");
    PASSES(20, "fnstsw (" A(di) ")");
    PASSES(21, "fnstcw (" A(di) ")");
    PASSES(22, "movups %%xmm0, %%xmm1");
    PASSES(23, "fxsave (" A(di) ")");
    WAITS(24, "fld1"); /* FXSAVE keeps it */
    PASSES(25, "fnstenv (" A(di) ")");
    PASSES(26, "fld1"); /* FNSTENV masks all */
    PASSES(27, "fninit");
    asm volatile("fninit\n\tfldcw %0\n\tfld1\n\tfidivl %1\n\tfnclex" ::"m"(cw), "m"(zero));
    asm volatile("fistpl %0" : "=m"(zero)); /* the operand was not divided */
    check(28, zero, 1);

    /* Stack overflow and underflow: invalid, with SF, C1 tells which. */
    cw = 0x37f;
    asm volatile("fninit\n\tfldcw %1\n\tfld1\n\tfld1\n\tfld1\n\tfld1\n\tfld1\n\tfld1\n\tfld1\n\t"
                 "fld1\n\tfld1\n\t"
                 "fnstsw %0" : "=a"(sw) : "m"(cw));
    check(30, sw & 0x2c1, 0x241);
    asm volatile("fninit\n\tfstp %%st(0)\n\tfnstsw %0" : "=a"(sw));
    check(31, sw & 0x2c1, 0x041);
}
