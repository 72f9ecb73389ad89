/* SPDX-License-Identifier: Apache-2.0 */
/* #NM and #UD of FPU and SSE instructions by CR0.TS, EM, MP and CR4.OSFXSR. */
#include "guest.h"

#define TS_BIT 8ul
#define EM_BIT 4ul
#define MP_BIT 2ul

static uint8_t area[512] __attribute__((aligned(16)));

#define TRY(text) asm volatile(FAULTS(text) ::"D"(area) : "memory")
#define FAULTY(n, text, vector)                                                                    \
    TRY(text);                                                                                     \
    check_fault(n, vector, 0, 0)
#define FINE(n, text)                                                                              \
    TRY(text);                                                                                     \
    check_no_fault(n)

GUEST
{
    word cr0 = get_cr0() & ~(TS_BIT | EM_BIT | MP_BIT);

    asm volatile("fninit");
    set_cr0(cr0 | TS_BIT);
    FAULTY(1, "fld1", NM);
    FAULTY(2, "fnstcw (" A(di) ")", NM);
    FAULTY(3, "movups %%xmm0, %%xmm1", NM);
    FAULTY(4, "paddb %%mm0, %%mm1", NM);
    FAULTY(5, "fxsave (" A(di) ")", NM);
    FAULTY(7, "ldmxcsr (" A(di) ")", NM);
    FINE(8, "fwait"); /* asks for MP too */
    FINE(9, "prefetcht0 (" A(di) ")");
    FINE(10, "sfence");
    set_cr0(cr0 | TS_BIT | MP_BIT);
    FAULTY(11, "fwait", NM);
    set_cr0(cr0 | EM_BIT);
    FAULTY(12, "fld1", NM);
    FAULTY(13, "movups %%xmm0, %%xmm1", UD);
    FAULTY(14, "paddb %%mm0, %%mm1", UD);
    FAULTY(15, "fxsave (" A(di) ")", NM);
    FINE(16, "fwait");
    set_cr0(cr0 | MP_BIT);
    FINE(20, "fld1");
    FINE(21, "fstp %%st(0)");
    set_cr4(get_cr4() & ~0x200ul);
    FAULTY(22, "movups %%xmm0, %%xmm1", UD);
    FINE(23, "paddb %%mm0, %%mm1\n\temms");
    FINE(24, "fxsave (" A(di) ")");
    set_cr4(get_cr4() | 0x200);
    FINE(25, "movups %%xmm0, %%xmm1");
}
