/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables of chance: 64 frames are tables of every level, of two formats at once (32-bit guests
 * change between PAE and 2-level) and data, all through each other: aliases, cycles, tables that
 * map themselves, writes to tables through the mappings they make. Each answer of the CPU goes into
 * a checksum, which any right CPU finds.
 *
 * What is stored anywhere is an entry that leads nowhere but into the arena, whole or by halves, so
 * that no mapping reaches this code. All edits are followed by a flush: there is one right answer.
 */
#include "guest.h"

#define ARENA  0xc00000ul
#define FRAMES 64u
#define STRIDE 0x10000ul /* frames lie all over the arena's large pages */
#define HOT    16u       /* entries of a table in use */
#define STEPS  20000u

#define RESERVED (1ull << 50)
/*
 * A and D of an 8-byte entry, or of two 4-byte ones: CPUs differ in when the upper levels get
 * theirs.
 */
#define ACCESSED 0x0000006000000060ull

/* 32-bit: window 1 GiB up; 64-bit: the second to fifth entry of the top table. */
#define WINDOW_SHIFT (GUEST_BITS == 64 ? 39 : 30)

#define SUM       (GUEST_BITS == 64 ? 0xc14697ef3fc17411ull : 0x1cfc1eb7f73d1780ull)
#define FINAL_SUM (GUEST_BITS == 64 ? 0xff6467af89495648ull : 0xb8d1af27b0b797aaull)

static uint64_t seed = 0x1234567;
static uint64_t sum, final_sum;

static uint32_t chance(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

static void add(uint64_t *to, uint64_t value)
{
    *to = (*to ^ value) * 0x9e3779b97f4a7c15ull;
    *to ^= *to >> 29;
}

static uint64_t *frame(unsigned n)
{
    return (uint64_t *)(ARENA + n % FRAMES * STRIDE);
}

static uint64_t entry(void)
{
    uint32_t r = chance();
    uint64_t e = (word)frame(r >> 16) | P_P;

    if (r & 3)
        e |= P_W;
    if (r & 0xc)
        e |= P_U;
    e |= r & (P_A | P_D);
    if ((r & 0x700) == 0)
        e |= P_NX;
    switch (r >> 11 & 15) {
    case 0:
        return 0;
    case 1: /* not present in either half */
        return ((uint64_t)chance() << 32 | chance() | RESERVED) & ~0x0000000100000001ull;
    case 2:
        return (e & ~0xfff000ull) | ARENA | (r >> 22 & 1) << 21 | P_PS;
    case 3:
        return e | RESERVED;
    default:
        return e;
    }
}

static void put(volatile uint64_t *at, uint64_t value)
{
    *at = value;
}

static void flush(void)
{
    set_cr3(get_cr3());
}

/* --- one access, from either ring --- */

static volatile uint64_t stored;

static word user_read(word at)
{
    word v;
    asm volatile(FAULTS("mov (%1), %0") : "=&r"(v) : "r"(at) : "memory");
    return v;
}

static word user_write(word at)
{
    asm volatile(FAULTS("mov %1, (%0)")::"r"(at), "r"((word)stored) : "memory");
    return 0;
}

static word pick_address(void)
{
    uint32_t r = chance();
    word at = (word)(1 + (r & (GUEST_BITS == 64 ? 3 : 1))) << WINDOW_SHIFT;
    unsigned bits = paging_format == PAGING_2LEVEL ? 10 : 9;

    for (unsigned shift = 12, n = 0; shift < WINDOW_SHIFT; shift += bits, n++)
        at |= (word)(r >> (4 + 4 * n) & (HOT - 1)) << shift;
    return at | (r >> 28) % HOT * 8;
}

static void access(void)
{
    uint32_t r = chance();
    word at = pick_address(), value;
    bool is_write = (r & 7) == 0, is_user = r & 8;

    if (is_write)
        stored = entry();
    else if (r & 0x10)
        at += r >> 8 & 0xff8; /* all of the page */
    value = is_user ? call_user(is_write ? user_write : user_read, at)
                    : (is_write ? user_write : user_read)(at);
    if (last.f.vector != NO_FAULT) {
        word error = last.f.error;

        check(1, last.f.vector, PF);
        check(2, last.cr2, at);
        add(&sum, error & 8 ? error & ~1ul : error); /* not all CPUs set P with RSVD */
    } else {
        add(&sum, value & ~ACCESSED);
    }
    if (is_write)
        flush();
}

/* --- edits --- */

static void set_window(unsigned n, uint64_t value)
{
    word *root = (word *)(get_cr3() & ~0xffful);

    if (GUEST_BITS == 64)
        put((uint64_t *)root + 1 + n, value);
    else if (paging_format == PAGING_PAE) /* an entry of the register table has no rights */
        put((uint64_t *)root + 1 + (n & 1), (value & 0xfff000) | P_P);
    else
        ((volatile uint32_t *)root)[0x100 * (1 + (n & 1)) + (chance() & (HOT - 1))] =
            (uint32_t)value;
}

static void edit(void)
{
    unsigned count = 1 + (chance() & 3);

    while (count--) {
        uint32_t r = chance();

        if ((r & 15) == 0)
            set_window(r >> 4 & 3, (word)frame(r >> 8) | P_RWU);
        else if (GUEST_BITS == 32 && (r & 0x10)) /* one 4-byte entry: half of an 8-byte one */
            ((volatile uint32_t *)frame(r >> 8))[r >> 14 & (HOT - 1)] = (uint32_t)entry();
        else
            put(frame(r >> 8) + (r >> 14 & (HOT - 1)), entry());
    }
    flush();
}

/* --- formats --- */

static word roots[2]; /* PAE, 2-level */

static void change_format(void)
{
    bool to_pae = paging_format != PAGING_PAE;

    set_cr0(get_cr0() & ~0x80000000ul);
    set_cr4((get_cr4() & ~0x20ul) | (to_pae ? 0x20 : 0));
    paging_format = to_pae ? PAGING_PAE : PAGING_2LEVEL;
    set_cr3(roots[to_pae ? 0 : 1]);
    set_cr0(get_cr0() | 0x80000000ul);
}

static void start(void)
{
    memset((void *)ARENA, 0, FRAMES * STRIDE); /* a firmware may have left something */
    if (GUEST_BITS == 32) {
        paging_start(PAGING_PAE);
        roots[0] = get_cr3();
        set_cr0(get_cr0() & ~0x80000000ul);
        paging_start(PAGING_2LEVEL);
        roots[1] = get_cr3();
        for (unsigned i = 0; i < 4 * HOT; i++)
            set_window(i, entry());
        change_format();
    }
    for (unsigned i = 0; i < FRAMES; i++)
        for (unsigned e = 0; e < HOT; e++)
            put(frame(i) + e, entry());
    for (unsigned i = 0; i < 4; i++)
        set_window(i, (word)frame(i) | P_RWU);
    set_cr0(get_cr0() | 0x10000);
    flush();
}

GUEST
{
    start();
    for (unsigned i = 0; i < STEPS; i++) {
        uint32_t r = chance();

        if (GUEST_BITS == 32 && (r & 0x3f) == 1)
            change_format();
        else if ((r & 0x7f) == 2)
            set_cr0(get_cr0() ^ 0x10000);
        else if ((r & 3) == 0)
            edit();
        else
            access();
    }
    for (unsigned i = 0; i < FRAMES; i++)
        for (unsigned e = 0; e < HOT; e++) {
            add(&sum, frame(i)[e] & ~ACCESSED);
            add(&final_sum, frame(i)[e]);
        }
    check(3, sum, SUM);
    /* QEMU's TCG sets A in a large entry with reserved bits, too: "TCGT". */
    if (cpuid(0x40000000, 0).b != 0x54474354)
        check(4, final_sum, FINAL_SUM);
}
