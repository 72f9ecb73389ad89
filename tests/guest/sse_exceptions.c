/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SSE: #XM for unmasked exceptions, #UD without OSXMMEXCPT; MXCSR flags, reserved bits; alignment.
 */
#include "guest.h"

static float four[4] __attribute__((aligned(16))) = {1, 2, 3, 4};
static float zeros[4] __attribute__((aligned(16)));
static uint32_t csr, now;
static uint8_t result[16] __attribute__((aligned(16)));

GUEST
{
    asm volatile("stmxcsr %0" : "=m"(csr));
    check(1, csr, 0x1f80);
    asm volatile("movaps %1, %%xmm0\n\tdivps %2, %%xmm0\n\t"
                 "stmxcsr %0" : "=m"(now) : "m"(four), "m"(zeros));
    check(2, now, 0x1f84); /* ZE, sticky */
    csr = 0x1f80 & ~0x200u;
    asm volatile("ldmxcsr %0\n\tmovaps %1, %%xmm0" ::"m"(csr), "m"(four));
    asm volatile(FAULTS("divps %0, %%xmm0") ::"m"(zeros) : "memory");
    check_fault(3, XM, 0, 0);
    asm volatile("movaps %%xmm0, %0\n\tstmxcsr %1" : "=m"(result), "=m"(now));
    check(4, memcmp(result, four, 16), 0); /* the destination stays */
    check(5, now, csr | 4);
    set_cr4(get_cr4() & ~0x400ul);
    asm volatile(FAULTS("divps %0, %%xmm0") ::"m"(zeros) : "memory");
    check_fault(6, UD, 0, 0);
    set_cr4(get_cr4() | 0x400);
    csr = 0x1f80;
    asm volatile("ldmxcsr %0" ::"m"(csr));
    static uint8_t image[512] __attribute__((aligned(16)));
    asm volatile("fxsave %0" : "=m"(image));
    image[26] = 1; /* the same in an image of FXSAVE */
    asm volatile(FAULTS("fxrstor %0") ::"m"(image) : "memory");
    check_fault(8, GP, 0, 0);
    now = 0x11f80;
    asm volatile(FAULTS("ldmxcsr %0") ::"m"(now) : "memory");
    check_fault(7, GP, 0, 0);

    asm volatile(FAULTS("movaps (%0), %%xmm1") ::"r"(result + 1) : "memory");
    check_fault(10, GP, 0, 0);
    asm volatile(FAULTS("paddd (%0), %%xmm1") ::"r"(result + 4) : "memory");
    check_fault(11, GP, 0, 0);
    asm volatile(FAULTS("movups (%0), %%xmm1") ::"r"(result + 1) : "memory");
    check_no_fault(12);
    asm volatile(FAULTS("movss 1(%0), %%xmm1") ::"r"(result) : "memory");
    check_no_fault(13);
    asm volatile(FAULTS("fxsave (%0)") ::"r"(result + 8) : "memory");
    check_fault(14, GP, 0, 0);
}
