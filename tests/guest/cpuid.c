/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID agrees with itself and with what the CPU does. */
#include "guest.h"

#define HAS(n, bit, insn)                                                                          \
    asm volatile(FAULTS(insn) ::"a"(area), "c"(0), "d"(0) : "memory", "cc");                       \
    check(n, last.f.vector == UD && ((bit) & 1), 0)

static uint8_t area[4096] __attribute__((aligned(64)));

GUEST
{
    struct cpuid zero = cpuid(0, 0), one = cpuid(1, 0), seven = cpuid(7, 0);
    struct cpuid ext = cpuid(0x80000001, 0), max = cpuid(0x80000000, 0);

    check(1, zero.a >= 7, 1);
    check(2, max.a >= 0x80000008, 1);
    check(3, (one.d & 0x07808111) == 0x07808111, 1); /* FPU TSC CX8 CMOV MMX FXSR SSE SSE2 */
    check(4, ext.d >> 29 & 1, 1);                       /* long mode */
    check(5, ext.d >> 20 & 1, 1);                       /* NX */
    check(6, ext.d >> 11 & 1 || GUEST_BITS == 32, 1);    /* SYSCALL */
    check(7, one.d >> 9 & 1, 1);                        /* APIC */
    check(8, one.b >> 24, apic_read(APIC_ID) >> 24);
    unsigned phys = cpuid(0x80000008, 0).a & 0xff;
    check(9, phys >= 36 && phys <= 52, 1);
    check(10, cpuid(0x80000008, 0).a >> 8 & 0xff, 48 + 9 * (seven.c >> 16 & 1));

    /* The ID flag can be changed; ECX of a leaf without subleaves does not matter. */
    set_flags(get_flags() ^ 0x200000);
    check(11, cpuid(1, 77).a, one.a);

    HAS(20, one.c >> 23, "popcnt %%ecx, %%ecx");
    HAS(21, one.c >> 0, "haddps %%xmm0, %%xmm0");
    HAS(22, one.c >> 9, "pshufb %%xmm0, %%xmm0");
    HAS(23, one.c >> 19, "ptest %%xmm0, %%xmm0");
    HAS(24, one.c >> 20, "crc32b %%cl, %%ecx");
    HAS(25, one.c >> 22, "movbe (" A(ax) "), %%ecx");
    HAS(26, one.c >> 30, "rdrand %%ecx");
    HAS(27, one.c >> 25, "aesenc %%xmm0, %%xmm0");
    HAS(28, one.c >> 1, "pclmulqdq $0, %%xmm0, %%xmm0");
    HAS(29, ext.d >> 27, "rdtscp");
    HAS(30, seven.b >> 18, "rdseed %%ecx");
    HAS(31, seven.b >> 19, "adcx %%ecx, %%ecx");
    HAS(32, seven.b >> 20, "clac");
    HAS(33, seven.b >> 23, "clflushopt (" A(ax) ")");
    HAS(34, seven.b >> 29, "sha1nexte %%xmm0, %%xmm0");
    HAS(35, one.c >> 3, "monitor");
#ifdef __x86_64__
    HAS(36, one.c >> 13, "cmpxchg16b (%%rax)");
#endif
}
