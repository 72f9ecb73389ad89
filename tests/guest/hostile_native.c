/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that tries to reach what is not its own through code that has become native: each attempt
 * is made by instructions that have run often and well before. It aims at how such an engine looks
 * addresses up: by a table whose index is bits 12 to 23 of the address, with one entry a page.
 */
#include "guest.h"

#define OFTEN    250 /* more than any engine wants to see before it translates */
#define PAGE     4096ul
#define GOOD     (SCRATCH + 0x123000)
#define TOP      0x00007ffffffff000ul /* the last page below the hole */
#define FAR_FREE 0x0000000100000000ul /* canonical, nothing is there */

static uint64_t *frame, *other;

/* Always the same load and the same store. */
static __attribute__((noinline)) word load(word at)
{
    word v = 0;

    asm volatile(FAULTS("movq (%1), %0") : "+r"(v) : "r"(at) : "memory");
    return v;
}

static __attribute__((noinline)) void store(word at, word v)
{
    asm volatile(FAULTS("movq %1, (%0)")::"r"(at), "r"(v) : "memory");
}

static void warm_up(void)
{
    for (unsigned i = 0; i < OFTEN; i++) {
        store(GOOD + 8, i);
        check(1, load(GOOD + 8), i);
        check_no_fault(1);
    }
}

static void must_fault(unsigned n, word at)
{
    bool canonical = (word)((long)(at << 16) >> 16) == at;

    load(at);
    check(n, last.f.vector, canonical ? PF : GP);
    if (canonical)
        check(n, last.cr2, at);
    store(at, 0x4841434b4544);
    check(n, last.f.vector, canonical ? PF : GP);
    if (canonical)
        check(n, last.cr2, at);
    check(n, load(GOOD + 8), OFTEN - 1);
}

/* The same index, other bits above it; and every index with nothing behind. */
static void other_addresses_of_the_index(void)
{
    for (unsigned bit = 24; bit < 64; bit++) {
        word at = (GOOD + 8) ^ 1ul << bit;

        if (at >> 12 != (GOOD ^ 1ul << 30) >> 12) /* low memory is mapped */
            must_fault(10, at);
    }
    for (word page = 0; page < 4096; page++) {
        load(FAR_FREE + page * PAGE);
        check(11, last.f.vector, PF);
        check(11, last.cr2, FAR_FREE + page * PAGE);
        /* what an empty entry of this index might hold */
        load(FAR_FREE + (~page & 4095) * PAGE + 4088);
        check(12, last.f.vector, PF);
    }
    must_fault(13, ~0ul << 47 ^ 1ul << 46);
    must_fault(14, (GOOD + 8) | 0xffff000000000000);
}

/* Across the end of a page, into nothing, a hole or a page without rights. */
static void across_the_end(void)
{
    page_map(TOP, (word)frame, P_RWU);
    for (unsigned i = 0; i < OFTEN; i++) {
        check(20, load(TOP + 4088), load(GOOD + 4088));
        load(TOP + 4089 + i % 7);
        check(21, last.f.vector, GP);
        load(GOOD + 4089 + i % 7);
        check(22, last.f.vector, PF);
        check(22, last.cr2, GOOD + PAGE);
    }
    page_map(GOOD + PAGE, (word)other, P_P | P_U);
    for (unsigned i = 0; i < OFTEN; i++) {
        store(GOOD + 4092, ~0ul);
        check(23, last.f.vector, PF);
        check(23, last.cr2, GOOD + PAGE);
        check(23, frame[511], 0);
    }
    page_map(GOOD + PAGE, 0, 0);
    invlpg((void *)(GOOD + PAGE));
}

/* What was allowed is not any more: another frame, no write, nothing at all. */
static void rights_that_go(void)
{
    warm_up();
    other[1] = 77;
    page_map(GOOD, (word)other, P_RWU);
    invlpg((void *)GOOD);
    check(30, load(GOOD + 8), 77);
    store(GOOD + 8, 78);
    check(31, other[1], 78);
    check(31, frame[1], OFTEN - 1);
    page_map(GOOD, (word)other, P_P | P_U);
    invlpg((void *)GOOD);
    store(GOOD + 8, 79);
    check(32, last.f.vector, PF);
    check(32, load(GOOD + 8), 78);
    page_map(GOOD, 0, 0);
    invlpg((void *)GOOD);
    load(GOOD + 8);
    check(33, last.f.vector, PF);
    page_map(GOOD, (word)frame, P_RWU);
    invlpg((void *)GOOD);
}

static word user_load(word at)
{
    return load(at);
}

/* The user's turn with the kernel's address, warm on both sides. */
static void rings(void)
{
    page_map(GOOD, (word)frame, P_P | P_W);
    invlpg((void *)GOOD);
    for (unsigned i = 0; i < OFTEN; i++) {
        check(40, load(GOOD + 8), OFTEN - 1);
        call_user(user_load, GOOD + 8);
        check(41, last.f.vector, PF);
        check(41, last.f.error, 5);
        call_user(user_load, (word)other);
        check_no_fault(42);
    }
    page_map(GOOD, (word)frame, P_RWU);
    invlpg((void *)GOOD);
}

/* movabs $imm64, %rax; ret. The constant is code, too: mov $42, %eax; ret */
static const uint8_t within[] = {0x48, 0xb8, 0xb8, 0x2a, 0, 0, 0, 0xc3, 0x90, 0x90, 0xc3};

typedef word fn(void);

static void into_the_middle(void)
{
    uint8_t *code = page_alloc();

    memcpy(code, within, sizeof within);
    for (unsigned i = 0; i < OFTEN; i++) {
        check(50, ((fn *)code)(), 0x9090c30000002ab8);
        check(51, ((fn *)(code + 2))(), 42);
    }
    code[3] = 43; /* of both */
    check(52, ((fn *)(code + 2))(), 43);
    check(53, ((fn *)code)(), 0x9090c30000002bb8);
}

/* A compiler in the guest: new code at the same places, with a chain of calls from page to page. */
static void rewriting(void)
{
    uint8_t *code = page_alloc(), *callee = page_alloc();
    long distance = callee - (code + 10);

    page_map(SCRATCH, (word)callee, P_RWU); /* by which half of it is written */
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t *at = i % 2 ? callee : (uint8_t *)SCRATCH;

        code[0] = 0xbb; /* mov $i, %ebx; call callee; add %ebx, %eax; ret */
        memcpy(code + 1, &i, 4);
        code[5] = 0xe8;
        memcpy(code + 6, &distance, 4);
        memcpy(code + 10, (const uint8_t[]){0x01, 0xd8, 0xc3}, 3);
        at[0] = 0xb8; /* mov $2i, %eax; ret */
        memcpy(at + 1, &(unsigned){2 * i}, 4);
        at[5] = 0xc3;
        word v;
        asm volatile("call *%1" : "=a"(v) : "r"(code) : "rbx", "memory", "cc");
        check(60, v, 3 * i);
    }
    page_map(SCRATCH, 0, 0);
    invlpg((void *)SCRATCH);
}

GUEST
{
    paging_on();
    set_cr0(get_cr0() | 1u << 16); /* WP */
    frame = page_alloc();
    other = page_alloc();
    page_map(GOOD, (word)frame, P_RWU);
    warm_up();
    other_addresses_of_the_index();
    across_the_end();
    rights_that_go();
    rings();
    into_the_middle();
    rewriting();
}
