/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops that need all registers: some are only in addresses, or in addresses and in LEA; what they
 * hold is still there behind the loop, whichever way it ends.
 */
#include "guest.h"

#define WORDS 1500u /* more than two pages */

struct registers {
    uint64_t rcx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
};

/* Sums of two arrays by one index, sums of sums, and of r15; ends at rbp, or where r12 has 0. */
#define ADD_UP(r, r15)                                                                             \
    asm volatile("push %%rbp\n\tpush %%rbx\n\tmov %[r], %%rbx\n\t"                                 \
                 "mov 8(%%rbx), %%r12\n\tmov 16(%%rbx), %%r13\n\tmov 24(%%rbx), %%rbp\n\t"         \
                 "push %%rbx\n\txor %%ecx, %%ecx\n\txor %%r8d, %%r8d\n\txor %%r9d, %%r9d\n\t"      \
                 "xor %%r10d, %%r10d\n\txor %%r11d, %%r11d\n\txor %%r14d, %%r14d\n\t"              \
                 "xor %%r15d, %%r15d\n\txor %%esi, %%esi\n\txor %%edi, %%edi\n"                    \
                 "1: mov (%%r12,%%rcx,8), %%rax\n\tmov (%%r13,%%rcx,8), %%rdx\n\t"                 \
                 "add %%rax, %%r8\n\tadd %%rdx, %%r9\n\tadd %%r8, %%r10\n\tadd %%r9, %%r11\n\t"    \
                 "mov %%r10d, %%r14d\n\t" r15 "\n\tadd %%r14, %%rsi\n\t"                           \
                 "add %%r15, %%rdi\n\ttest %%rax, %%rax\n\tjz 2f\n\t"                              \
                 "add $1, %%rcx\n\tcmp %%rbp, %%rcx\n\tjne 1b\n"                                   \
                 "2: pop %%rbx\n\tmov %%rcx, (%%rbx)\n\tmov %%rsi, 8(%%rbx)\n\t"                   \
                 "mov %%rdi, 16(%%rbx)\n\tmov %%rbp, 24(%%rbx)\n\tmov %%r8, 32(%%rbx)\n\t"         \
                 "mov %%r9, 40(%%rbx)\n\tmov %%r10, 48(%%rbx)\n\tmov %%r11, 56(%%rbx)\n\t"         \
                 "mov %%r12, 64(%%rbx)\n\tmov %%r13, 72(%%rbx)\n\tmov %%r14, 80(%%rbx)\n\t"        \
                 "mov %%r15, 88(%%rbx)\n\tpop %%rbx\n\tpop %%rbp"                                  \
                 : [r] "+a"(r)                                                                     \
                 :                                                                                 \
                 : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",      \
                   "r15", "memory", "cc")

static void add_up(struct registers *r, bool address)
{
    if (address)
        ADD_UP(r, "lea 3(%%r13), %%r15");
    else
        ADD_UP(r, "mov $7, %%r15d");
}

static void expect_with(unsigned n, const uint64_t *a, const uint64_t *b, uint64_t end,
                        bool address)
{
    struct registers r = {.rsi = (uint64_t)a, .rdi = (uint64_t)b, .rbp = end};
    struct registers want = {.rbp = end, .r12 = (uint64_t)a, .r13 = (uint64_t)b};

    add_up(&r, address);
    do {
        want.r8 += a[want.rcx];
        want.r9 += b[want.rcx];
        want.r10 += want.r8;
        want.r11 += want.r9;
        want.r14 = (uint32_t)want.r10;
        want.r15 = address ? (uint64_t)b + 3 : 7;
        want.rsi += want.r14;
        want.rdi += want.r15;
    } while (a[want.rcx] && ++want.rcx != end);
    for (unsigned i = 0; i < sizeof r / 8; i++)
        check(n + i, ((uint64_t *)&r)[i], ((uint64_t *)&want)[i]);
}

static void expect(unsigned n, const uint64_t *a, const uint64_t *b, uint64_t end)
{
    expect_with(n, a, b, end, false);
    expect_with(n + 50, a, b, end, true);
}

GUEST
{
    uint64_t *a = (uint64_t *)SCRATCH, *b = a + WORDS;

    paging_on();
    for (unsigned page = 0; page < 6; page++)
        page_map(SCRATCH + page * 0x1000, (word)page_alloc(), P_RWU);
    for (unsigned i = 0; i < WORDS; i++) {
        a[i] = i * 0x123456789abcdefull + 1;
        b[i] = ~a[i] << 3;
    }
    for (unsigned end = 1; end < 40; end++)
        expect(100, a + end, b + 2 * end, end);
    expect(200, a, b, WORDS);
    for (unsigned at = 1; at < WORDS; at += 97) {
        uint64_t was = a[at];

        a[at] = 0;
        expect(300, a, b, WORDS);
        a[at] = was;
    }
}
