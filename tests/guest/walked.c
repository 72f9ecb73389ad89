/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest to look at: it tells its own page tables on the console, entry by entry, and when
 * somebody sends a byte, it goes on making true faults, hidden faults and flushes until a `q`
 * comes. Without a byte it ends.
 */
#include "guest.h"

#define COM1      0x3f8
#define UNTOUCHED 0xe00000ul /* RAM that nobody uses */

static void tell(const char *what, word va, const char *key, uint64_t value)
{
    say(what);
    say(" ");
    say_hex(va);
    say(" ");
    say(key);
    say(" ");
    say_hex(value);
    say("\n");
}

/* As the CPU walks it, read from the tables themselves, which are mapped 1:1. */
static void tell_walk(word va)
{
    uint64_t table = get_cr3() & 0xffffffffff000ull, entry = 0;
    unsigned level = 4;
    uint64_t size;

    for (;; level--) {
        uint64_t at = table + (va >> (12 + 9 * (level - 1)) & 511) * 8;
        static const char *const keys[] = {"", "at1", "at2", "at3", "at4"};
        static const char *const values[] = {"", "entry1", "entry2", "entry3", "entry4"};

        entry = *(volatile uint64_t *)at;
        tell("walk", va, keys[level], at);
        tell("walk", va, values[level], entry);
        if (!(entry & P_P) || level == 1 || entry & P_PS)
            break;
        table = entry & 0xffffffffff000ull;
    }
    size = 4096ull << 9 * (level - 1);
    if (entry & P_P)
        tell("walk", va, "gpa", (entry & 0xffffffffff000ull & ~(size - 1)) | (va & (size - 1)));
}

static bool byte_came(void)
{
    return inb(COM1 + 5) & 1;
}

static bool somebody_is_there(void)
{
    for (unsigned i = 0; i < 2000; i++) { /* 0.2 s */
        if (byte_came())
            return true;
        pit_wait_us(100);
    }
    return false;
}

/* One of each kind of event. */
static void stir(word other_root, void *page)
{
    word root = get_cr3();

    page_map(SCRATCH + 0x5000, (word)page, P_P);
    invlpg((void *)(SCRATCH + 0x5000));
    (void)*(volatile uint32_t *)(SCRATCH + 0x5000);
    asm volatile(FAULTS("movb $1, (%0)")::"r"(SCRATCH + 0x9000) : "memory");
    check(2, last.f.vector, PF);
    set_cr3(other_root);
    (void)*(volatile uint32_t *)(SCRATCH + 0x1000);
    set_cr3(root);
}

GUEST
{
    uint8_t *page = page_alloc(), *other_page = page_alloc();
    word root = get_cr3(), other_root = (word)page_alloc();
    const word mapped = SCRATCH + 0x1000, read_only = SCRATCH + 0x2000, absent = SCRATCH + 0x3000;

    page_map(mapped, (word)page, P_RWU);
    page_map(read_only, UNTOUCHED, P_P | P_U | P_NX);
    *(volatile uint32_t *)mapped = 0x12345678;
    check(1, *(volatile uint32_t *)read_only, 0);
    tell_walk(mapped + 0x234);
    tell_walk(read_only);
    tell_walk(absent);
    tell_walk((word)&guest_main);

    /* another address space: the same but for SCRATCH */
    uint64_t *pdpt = page_alloc();
    memcpy((void *)other_root, (void *)root, 4096);
    memcpy(pdpt, (void *)(word)(*(uint64_t *)root & 0xffffffffff000ull), 4096);
    pdpt[SCRATCH >> 30] = 0;
    *(uint64_t *)other_root = (word)pdpt | P_RWU;
    set_cr3(other_root);
    page_map(mapped, (word)other_page, P_RWU);
    (void)*(volatile uint32_t *)mapped;
    tell("other", other_root, "root", root);
    tell("other", mapped, "gpa", (word)other_page);
    set_cr3(root);
    say("ready\n");
    if (!somebody_is_there())
        return;
    while (!(byte_came() && inb(COM1) == 'q'))
        stir(other_root, page);
}
