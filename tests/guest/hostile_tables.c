/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables that no kernel would make: in the registers of a chip, beyond memory, in ROM's place,
 * of nothing but noise. What an access then answers is the machine's choice; that it answers, and
 * that the guest goes on, is not.
 */
#include "guest.h"

#define WINDOW 0x8000000000ul /* the second entry of the top table */
#define LAPIC  0xfee00000ul
#define IOAPIC 0xfec00000ul
#define BEYOND 0x40000000ul
#define ARENA  0xc00000ul

static uint64_t seed = 77;

static uint64_t noise(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void try_read(word va)
{
    asm volatile(FAULTS("movb (%0), %%al")::"r"(va) : "eax", "memory");
    if (last.f.vector != NO_FAULT)
        check(1, last.f.vector, PF);
}

/* Everywhere below one entry of the top table. */
static void try_all(uint64_t *entry, uint64_t value)
{
    *entry = value;
    set_cr3(get_cr3());
    for (unsigned i = 0; i < 64; i++)
        try_read(WINDOW + (noise() & 0x7fffffffff));
    for (unsigned i = 0; i < 16; i++)
        try_read(WINDOW + i * 0x40201000ul);
}

GUEST
{
    static const uint64_t places[] = {LAPIC,   IOAPIC,     BEYOND,       0xa0000,
                                      0xf0000, 0xfffff000, 0xfffffff000, 0xfffffffff000,
                                      0,       0xfd000000};
    uint64_t *pml4 = (uint64_t *)(get_cr3() & ~0xffful);
    uint64_t *chain[3] = {page_alloc(), page_alloc(), page_alloc()};
    uint64_t *noisy = (uint64_t *)ARENA;

    /* At each level below a good chain. */
    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        try_all(&pml4[1], places[i] | P_RWU);
        pml4[1] = (word)chain[0] | P_RWU;
        for (unsigned depth = 0; depth < 3; depth++) {
            for (unsigned n = 0; n < 512; n++)
                chain[depth][n] = places[i] | P_RWU;
            try_all(&pml4[1], (word)chain[0] | P_RWU);
            for (unsigned n = 0; n < 512 && depth < 2; n++)
                chain[depth][n] = (word)chain[depth + 1] | P_RWU;
        }
    }

    /* Cycles: a table of its own at all levels, and two of each other. */
    try_all(&pml4[1], (word)pml4 | P_P);
    for (unsigned n = 0; n < 512; n++) {
        chain[0][n] = (word)chain[1] | P_RWU;
        chain[1][n] = (word)chain[0] | P_RWU;
    }
    try_all(&pml4[1], (word)chain[0] | P_RWU);

    /* Noise, and noise that leads into noise. The guest itself is out of reach: reads only. */
    for (unsigned n = 0; n < 0x400000 / 8; n++)
        noisy[n] = noise() | (n & 1 ? P_P : 0);
    for (unsigned round = 0; round < 200; round++)
        try_all(&pml4[1], (ARENA + (noise() & 0x3ff000)) | P_RWU);
    for (unsigned n = 0; n < 0x400000 / 8; n++)
        noisy[n] = (ARENA + (noise() & 0x3ff000)) | (noise() & 0x80000000000001e6) | P_P;
    for (unsigned round = 0; round < 200; round++)
        try_all(&pml4[1], (ARENA + (noise() & 0x3ff000)) | P_RWU);
    check(2, *(volatile uint32_t *)(ARENA + 0x1000) != 0, 1);
    pml4[1] = 0;
    set_cr3(get_cr3());
    try_read(WINDOW);
    check_pf(3, 0, (void *)WINDOW);
}
