/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several accesses by one register, over the end of a page and up to a page that refuses: each
 * happens or faults for itself. Vectors and flags among them stay what they are.
 */
#include "guest.h"

#define TWO    ((volatile uint8_t *)SCRATCH) /* two pages, then one that is read-only */
#define THIRD  (TWO + 0x2000)
#define AROUND (TWO + 0x1000)
#define ROUNDS 6u /* often enough for what an engine learns about code and pages */

static uint64_t load(const volatile uint8_t *p)
{
    uint64_t v = 0;

    for (unsigned i = 8; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static void loads(unsigned n)
{
    for (int at = -72; at < 8; at++) {
        const volatile uint8_t *p = AROUND + at;
        uint64_t a, b, c, d, carry;

        asm volatile("cmp %[p], %[p]\n\t" /* ZF, no CF */
                     "mov (%[p]), %[a]\n\tmov 8(%[p]), %[b]\n\tlea 24(%[p]), %[p]\n\t"
                     "mov -8(%[p]), %[c]\n\tadd $40, %[p]\n\tmov -32(%[p]), %[d]\n\t"
                     "cmp $0, %[b]\n\tmov -64(%[p]), %[b]\n\tmov -56(%[p]), %[b]\n\t"
                     "setb %b[carry]\n\tmovzbl %b[carry], %k[carry]"
                     : [p] "+r"(p), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d),
                       [carry] "=&r"(carry)::"memory", "cc");
        check(n, a, load(AROUND + at));
        check(n, b, load(AROUND + at + 8));
        check(n, c, load(AROUND + at + 16));
        check(n, d, load(AROUND + at + 32));
        check(n, carry, 0);
    }
}

/* Runs `what` on a, b and c with the stack pointer `at` bytes beyond AROUND. */
#define ON_STACK(at, a, b, c, what)                                                                \
    asm volatile("mov %%rsp, %%r15\n\tmov %[sp], %%rsp\n\t" what "mov %%r15, %%rsp"                \
                 : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c)                                           \
                 : [sp] "r"(AROUND + (at))                                                         \
                 : "memory", "cc", "r15")

static void stack(unsigned n)
{
    for (int at = -16; at <= 48; at += 8) {
        uint64_t a = n, b = n + 1, c = n + 2;

        ON_STACK(at, a, b, c,
                 "push %[a]\n\tpush %[b]\n\tpush %[c]\n\tsub $8, %%rsp\n\tmov %[a], (%%rsp)\n\t"
                 "pop %[c]\n\tpop %[a]\n\tpop %[b]\n\tadd $8, %%rsp\n\tadd -8(%%rsp), %[c]\n\t");
        check(n, a, n + 2);
        check(n, b, n + 1);
        check(n, c, 2 * n);
    }
}

/* A call's return address, pushed over the end of a page behind other pushes. */
static void calls(unsigned n)
{
    for (int at = -16; at <= 48; at += 8) {
        uint64_t a = n, b = n + 1, c = 0;

        ON_STACK(at, a, b, c,
                 "push %[a]\n\tpush %[b]\n\tcall 1f\n\tjmp 2f\n\t"
                 "1: mov 8(%%rsp), %[c]\n\tadd 16(%%rsp), %[c]\n\tret\n\t"
                 "2: pop %[a]\n\tpop %[b]\n\t");
        check(n, a, n + 1);
        check(n, b, n);
        check(n, c, 2 * n + 1);
    }
}

/* What comes before the fault has happened, what comes after has not. */
static void refused(unsigned n, uint64_t value)
{
    asm volatile(FAULTS("mov %%rax, (%%rdi)\n\tmov %%rax, 8(%%rdi)\n\tmov %%rax, -8(%%rdi)")
                 :
                 : "a"(value), "D"(THIRD - 8)
                 : "memory");
    check_pf(n, 3, THIRD);
    check(n, last.f.ip - faults_ip, 3);
    check(n, load(THIRD - 8), value);
    check(n, load(THIRD - 16) == value, 0);
    check(n, load(THIRD), 0);
}

static float ones[8] __attribute__((aligned(16))) = {1, 1, 1, 1, 1, 1, 1, 1};
static float zeros[4] __attribute__((aligned(16)));
static uint32_t unmasked = 0x1f80 & ~0x200u, usual = 0x1f80;

static void vectors(unsigned n)
{
    uint8_t out[16];
    uint32_t a = 0, c = 0;

    for (int at = -40; at < 0; at++) {
        asm volatile("movups (%1), %%xmm9\n\tmovups 16(%1), %%xmm0\n\tpxor %%xmm9, %%xmm0\n\t"
                     "movups %%xmm0, (%0)" ::"r"(out),
                     "r"(AROUND + at)
                     : "memory");
        check(n, load(out), load(AROUND + at) ^ load(AROUND + at + 16));
        check(n, load(out + 8), load(AROUND + at + 8) ^ load(AROUND + at + 24));
    }
    asm volatile(FAULTS("movups (%0), %%xmm1\n\tmovaps 16(%0), %%xmm1")::"D"(ones + 1) : "memory");
    check_fault(n, GP, 0, 3);
    /* what others do between leaves them alone */
    asm volatile("movups (%2), %%xmm15\n\tcpuid\n\tmovups %%xmm15, (%3)"
                 : "+a"(a), "+c"(c)
                 : "r"(AROUND), "r"(out)
                 : "ebx", "edx", "memory");
    check(n, load(out), load(AROUND));
    /* exceptions that are unmasked from the middle of a block on */
    asm volatile("movaps %0, %%xmm0" ::"m"(ones));
    asm volatile(FAULTS("ldmxcsr (%%rsi)\n\tdivps (%%rdi), %%xmm0")::"S"(&unmasked), "D"(zeros)
                 : "memory");
    check_fault(n, XM, 0, 3);
    asm volatile("ldmxcsr %0" ::"m"(usual));
    set_cr0(get_cr0() | 8);
    asm volatile(FAULTS("movaps %%xmm0, %%xmm1")::: "memory");
    check_fault(n, NM, 0, 0);
    asm volatile("clts");
}

GUEST
{
    uint8_t *pages[3];

    for (unsigned i = 3; i-- > 0;) {
        pages[i] = page_alloc();
        page_map(SCRATCH + 0x1000 * i, (word)pages[i], i < 2 ? P_RWU : P_P | P_U);
    }
    set_cr0(get_cr0() | 0x10000);
    for (unsigned i = 0; i < 0x2000; i++)
        TWO[i] = (uint8_t)(i * 7 + i / 256);
    for (unsigned round = 0; round < ROUNDS; round++) {
        loads(1);
        vectors(2);
        refused(3, 0x1111111111111111 * (round + 1));
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        stack(4);
        calls(5);
    }
}
