/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads and stores of 2 to 16 bytes at each byte around the end of a page, run after run; then with
 * the page behind mapped elsewhere, without a right, and gone.
 */
#include "guest.h"

#define EDGE   (SCRATCH + 0x1000)
#define OTHER  (SCRATCH + 0x4000) /* the end of another page */
#define ROUNDS 4u                 /* often enough for what an engine learns about code and pages */
#define AROUND 24
#define WIDEST 16

/* The bytes from EDGE - AROUND on as they have to be. */
static uint8_t want[2 * AROUND + WIDEST];

static uint8_t *page, *second;

static void fill(unsigned seed)
{
    for (unsigned i = 0; i < sizeof want; i++) {
        want[i] = (uint8_t)(seed + 37 * i);
        if (i < AROUND)
            page[4096 - AROUND + i] = want[i];
        else
            second[i - AROUND] = want[i];
    }
}

static uint64_t wanted(unsigned at, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = bytes; i-- > 0;)
        v = v << 8 | want[at + i];
    return v;
}

static void loads(unsigned n, unsigned at)
{
    const volatile uint8_t *p = (uint8_t *)EDGE - AROUND + at;
    uint64_t a = 0, b = 0, flags, both[2] __attribute__((aligned(16)));

    asm volatile("movzwl (%[p]), %k[a]" : [a] "=r"(a) : [p] "r"(p) : "memory");
    check(n, a, wanted(at, 2));
    asm volatile("mov (%[p]), %k[a]\n\tmov 4(%[p]), %k[b]"
                 : [a] "=&r"(a), [b] "=&r"(b)
                 : [p] "r"(p)
                 : "memory");
    check(n + 1, (uint32_t)a, wanted(at, 4));
    check(n + 1, (uint32_t)b, wanted(at + 4, 4));
    a = 3;
    asm volatile("stc\n\tadc (%[p]), %[a]" : [a] "+r"(a) : [p] "r"(p) : "memory", "cc");
    check(n + 2, a, wanted(at, 8) + 4);
    a = wanted(at, 8);
    asm volatile("cmp (%[p]), %[a]\n\tsete %b[flags]\n\tmovzbl %b[flags], %k[flags]"
                 : [flags] "=r"(flags)
                 : [p] "r"(p), [a] "r"(a)
                 : "memory", "cc");
    check(n + 3, flags, 1);
    asm volatile("movups (%[p]), %%xmm5\n\tmovaps %%xmm5, %[both]"
                 : [both] "=m"(both)
                 : [p] "r"(p)
                 : "memory");
    check(n + 4, both[0], wanted(at, 8));
    check(n + 4, both[1], wanted(at + 8, 8));
    asm volatile("mov (%[p]), %%r9\n\tmov %%r9, %[a]" : [a] "=r"(a) : [p] "r"(p) : "memory", "r9");
    check(n + 5, a, wanted(at, 8));
}

static void put_wanted(unsigned at, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        want[at + i] = (uint8_t)(v >> 8 * i);
}

static void check_all(unsigned n)
{
    for (unsigned i = 0; i < sizeof want; i++)
        check(n, i < AROUND ? page[4096 - AROUND + i] : second[i - AROUND], want[i]);
}

/* Both pages by accesses of their own, as most programs have them. */
static void touch(word edge)
{
    *(volatile uint32_t *)(edge - 64) += 1;
    *(volatile uint32_t *)(edge + 256) += 1;
}

/* Whatever an engine has kept of an access to EDGE is of another one now. */
static void look_elsewhere(void)
{
    asm volatile("movups (%0), %%xmm6" ::"r"(OTHER - 8) : "memory");
}

static void stores(unsigned n, unsigned at, uint64_t v)
{
    volatile uint8_t *p = (uint8_t *)EDGE - AROUND + at;

    look_elsewhere();
    asm volatile("mov %w[v], (%[p])" ::[v] "r"(v), [p] "r"(p) : "memory");
    put_wanted(at, v, 2);
    check_all(n);
    v = v * 3 + 1;
    look_elsewhere();
    asm volatile("mov %k[v], (%[p])" ::[v] "r"(v), [p] "r"(p) : "memory");
    put_wanted(at, v, 4);
    check_all(n + 1);
    v = v * 3 + 1;
    look_elsewhere();
    asm volatile("mov %[v], %%r9\n\tmov %%r9, (%[p])" ::[v] "r"(v), [p] "r"(p) : "memory", "r9");
    put_wanted(at, v, 8);
    check_all(n + 2);
    v = v * 3 + 1;
    look_elsewhere();
    asm volatile("movq %[v], %%xmm3\n\tmovq %%xmm3, %%xmm4\n\tpunpcklqdq %%xmm4, %%xmm3\n\t"
                 "movups %%xmm3, (%[p])" ::[v] "r"(v),
                 [p] "r"(p)
                 : "memory");
    put_wanted(at, v, 8);
    put_wanted(at + 8, v, 8);
    check_all(n + 3);
    look_elsewhere();
    asm volatile("movl $0x7654321, (%[p])" ::[p] "r"(p) : "memory");
    put_wanted(at, 0x7654321, 4);
    check_all(n + 4);
    look_elsewhere();
    asm volatile("addl $5, (%[p])" ::[p] "r"(p) : "memory", "cc");
    put_wanted(at, 0x7654326, 4);
    check_all(n + 5);
}

static void all(unsigned n, unsigned seed)
{
    fill(seed);
    for (unsigned at = 0; at < 2 * AROUND; at++) {
        touch(EDGE);
        touch(OTHER);
        for (unsigned round = 0; round < ROUNDS; round++) {
            loads(n, at);
            stores(n + 10, at, UINT64_C(0x1f3d5b7997b5d3f1) * (at + round + seed));
        }
    }
}

static void map_second(uint8_t *to, uint64_t flags)
{
    page_map(EDGE, (word)to, flags);
    invlpg((void *)EDGE);
}

/* Nothing of it is stored. */
static void refused(unsigned n, word error)
{
    for (unsigned at = AROUND - 15; at < AROUND; at++) {
        word p = EDGE - AROUND + at;

        asm volatile(FAULTS("movups %%xmm3, (%0)")::"r"(p) : "memory");
        check_pf(n, error, (void *)EDGE);
        check_all(n + 1);
    }
}

GUEST
{
    uint8_t *third;

    paging_on();
    set_cr0(get_cr0() | 0x10000); /* WP */
    set_cr4(get_cr4() | 0x200);   /* OSFXSR */
    page = page_alloc();
    second = page_alloc();
    third = page_alloc();
    page_map(SCRATCH, (word)page, P_RWU);
    map_second(second, P_RWU);
    page_map(OTHER - 0x1000, (word)page_alloc(), P_RWU);
    page_map(OTHER, (word)page_alloc(), P_RWU);
    all(1, 1);
    second = third;
    map_second(second, P_RWU);
    all(21, 2);
    /* Read-only: for the kernel, too. */
    map_second(second, P_P | P_U);
    refused(41, 3);
    for (unsigned at = 0; at < 2 * AROUND; at++)
        loads(43, at);
    pte_write(EDGE, 1, 0);
    invlpg((void *)EDGE);
    refused(51, 2);
    map_second(second, P_RWU);
    all(61, 3);
    /* The first page's turn. */
    page_map(SCRATCH, (word)page, P_P | P_U);
    invlpg((void *)SCRATCH);
    asm volatile(FAULTS("movq %%rax, (%0)")::"r"(EDGE - 3) : "memory");
    check_pf(81, 3, (void *)(EDGE - 3));
    check_all(82);
}
