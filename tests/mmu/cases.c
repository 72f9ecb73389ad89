/* SPDX-License-Identifier: Apache-2.0 */
#include "cases.h"

#include <stdio.h>
#include <string.h>

#include "world.h"

#define TABLES    UINT64_C(0x10000) /* one frame per level */
#define DATA_PAGE UINT64_C(0x800000)
#define ADDRESSES 3 /* few: the test is of entries, not of the cache of shadow pages */
#define FLAG_NX   (UINT64_C(1) << 63)

enum { P = 0x01, W = 0x02, U = 0x04, A = 0x20, D = 0x40, PS = 0x80 };

/* largest: level of the largest page, from the top; long_mode: keys, and no PDPTE registers. */
static const struct shape {
    const char *name;
    unsigned levels, entry_bytes, largest;
    unsigned shift[5], index_bits;
    uint64_t cr4, efer;
    bool long_mode, pdpte_registers;
} shapes[] = {
    {"2-level", 2, 4, 1, {22, 12}, 10, 0, 0, false, false},
    {"2-level-pse", 2, 4, 0, {22, 12}, 10, 0x10, 0, false, false},
    {"pae", 3, 8, 1, {30, 21, 12}, 9, 0x20, 0, false, true},
    {"4-level", 4, 8, 1, {39, 30, 21, 12}, 9, 0x20, 0x500, true, false},
    {"5-level", 5, 8, 2, {48, 39, 30, 21, 12}, 9, 0x1020, 0x500, true, false},
};
#define SHAPES (sizeof shapes / sizeof *shapes)

static uint64_t power(uint64_t base, unsigned n)
{
    return n ? base * power(base, n - 1) : 1;
}

/* Tables in memory above a level, whose flags can be chosen. */
static unsigned upper_levels(const struct family *f)
{
    return f->level - (f->level && shapes[f->shape].pdpte_registers ? 1 : 0);
}

static unsigned stop_entries(const struct shape *s)
{
    return 64 + 32 * s->entry_bytes * 8;
}

static uint64_t count_of(const struct family *f)
{
    const struct shape *s = &shapes[f->shape];

    switch (f->kind) {
    case FAMILY_RIGHTS: {
        uint64_t upper = (f->nxe ? 8 : 4) * (f->all_a ? 2 : 1);
        return ACCESSES * (f->nxe ? 32u : 16u) * power(upper, upper_levels(f)) * 8 *
               (s->long_mode ? 5 : 1);
    }
    case FAMILY_STOP:
        return (uint64_t)ACCESSES * stop_entries(s) * power(2, upper_levels(f)) * 32;
    case FAMILY_BITS:
        return (uint64_t)ACCESSES * s->entry_bytes * 8 * 4 * (PHYS_MAX - PHYS_MIN + 1);
    }
    return 0;
}

static void add(struct family *families, unsigned *n, struct family f)
{
    static const char *const kinds[] = {"rights", "stop", "bits"};
    const struct shape *s = &shapes[f.shape];

    f.count = count_of(&f);
    snprintf(f.name, sizeof f.name, "%s %s level %u%s", s->name, kinds[f.kind], s->levels - f.level,
             f.kind == FAMILY_RIGHTS ? (f.nxe ? " nxe" : " no-nxe") : "");
    families[(*n)++] = f;
}

unsigned cases_families(struct family families[FAMILIES_MAX])
{
    unsigned n = 0;

    for (unsigned i = 0; i < SHAPES; i++) {
        const struct shape *s = &shapes[i];
        for (unsigned l = 0; l < s->levels; l++) {
            struct family f = {.shape = i, .level = l, .all_a = l < 4};
            if (l >= s->largest) {
                f.kind = FAMILY_RIGHTS;
                add(families, &n, f);
                f.nxe = true;
                if (s->entry_bytes == 8)
                    add(families, &n, f);
                f.nxe = false;
            }
            f.kind = FAMILY_STOP;
            add(families, &n, f);
            f.kind = FAMILY_BITS;
            add(families, &n, f);
        }
    }
    return n;
}

static unsigned take(uint64_t *n, unsigned radix)
{
    unsigned digit = (unsigned)(*n % radix);
    *n /= radix;
    return digit;
}

void cases_access(unsigned n, struct mmu_access *access, bool *ac)
{
    *ac = n & 1;
    n /= 2;
    access->user = n < 3;
    access->implicit = n >= 6;
    access->kind = (enum mmu_access_kind)(n % 3);
}

/* R/W, U/S and A by digit, XD when there. */
static uint64_t flags_of(unsigned digit)
{
    return (digit & 1 ? W : 0) | (digit & 2 ? U : 0) | (digit & 4 ? A : 0) |
           (digit & 8 ? FLAG_NX : 0);
}

/* Bits that mean nothing here: any of them may be set. */
static uint64_t noise(const struct shape *s, bool is_leaf, bool is_large, uint64_t dice)
{
    uint64_t mask = 0x18 | 0xe00;

    if (is_leaf)
        mask |= 0x100 | (is_large ? 0x1000 : 0x80); /* G and PAT change no right */
    else
        mask |= 0x40 | 0x100;
    if (s->long_mode)
        mask |= UINT64_C(0x7ff) << 52; /* a leaf's key among them */
    return dice & mask;
}

/* A page for a leaf at this level: mostly RAM, sometimes a device. */
static uint64_t page_at(const struct shape *s, unsigned level, uint64_t dice)
{
    unsigned shift = s->shift[level];

    if (shift == 12)
        return dice % 8 ? DATA_PAGE + (dice >> 3) % 64 * 4096 : UINT64_C(0x20000000);
    if (shift == 30)
        return dice % 4 ? 0 : UINT64_C(1) << 30;
    return dice % 8 ? (dice >> 3) % 4 << shift : UINT64_C(0x20000000);
}

static uint64_t address_at(const struct shape *s, unsigned entries, unsigned level, uint64_t dice)
{
    return level + 1 == entries ? page_at(s, level, dice) : TABLES + (level + 1) * 0x1000;
}

/* A canonical address with random indexes. */
static uint64_t gva_of(const struct shape *s, uint64_t dice)
{
    unsigned bits = s->long_mode ? s->shift[0] + 9 : 32;
    uint64_t gva = dice << (64 - bits);

    return s->long_mode ? (uint64_t)((int64_t)gva >> (64 - bits)) : gva >> (64 - bits);
}

static void place(const struct shape *s, struct test_case *c)
{
    c->entry_bytes = s->entry_bytes;
    c->ctx.cr3 = TABLES;
    for (unsigned i = 0; i < c->entries; i++) {
        unsigned bits = i == 0 && s->pdpte_registers ? 2 : s->index_bits;
        uint64_t index = c->access.gva.v >> s->shift[i] & ((1u << bits) - 1);
        c->at[i] = TABLES + i * 0x1000 + index * s->entry_bytes;
    }
    if (s->pdpte_registers) {
        c->ctx.pdpte[c->access.gva.v >> 30 & 3] = c->entry[0];
        c->at[0] = 0;
    }
}

/* Control bits by digit: WP SMEP SMAP NXE PKE. */
static void control(const struct shape *s, unsigned digit, struct test_case *c)
{
    c->ctx.cr0 = 0x80000001 | (digit & 1 ? 0x10000 : 0);
    c->ctx.cr4 = s->cr4 | (digit & 2 ? 0x100000 : 0) | (digit & 4 ? 0x200000 : 0) |
                 (digit & 16 ? 0x400000 : 0);
    c->ctx.efer = s->efer | (digit & 8 ? 0x800 : 0);
}

static void get_rights(const struct family *f, const struct shape *s, uint64_t n, uint64_t dice,
                       struct test_case *c)
{
    unsigned upper = (f->nxe ? 8 : 4) * (f->all_a ? 2 : 1);
    unsigned leaf = f->level;
    bool is_large = s->shift[leaf] != 12;

    c->entries = leaf + 1;
    unsigned digit = take(&n, f->nxe ? 32 : 16);
    uint64_t flags = flags_of((digit & 7) | (digit & 16 ? 8 : 0)) | (digit & 8 ? D : 0);
    c->entry[leaf] = flags | P | (is_large ? PS : 0) | noise(s, true, is_large, dice);
    for (unsigned i = leaf; i-- > 0;) {
        c->entry[i] = P;
        if (i == 0 && s->pdpte_registers)
            continue;
        digit = take(&n, upper);
        if (!f->all_a) /* digits: W U NX; A is drawn */
            digit = (digit & 3) | (digit & 4) << 1 | ((dice >> (13 + i) & 1) << 2);
        else if (!f->nxe)
            digit &= 7;
        c->entry[i] |= flags_of(digit) | noise(s, false, false, random_at(dice, i));
    }
    control(s, take(&n, 8) | (f->nxe ? 8u : 0), c);
    if (s->long_mode) {
        unsigned key = c->entry[leaf] >> 59 & 15;
        digit = take(&n, 5);
        c->ctx.pkru = (uint32_t)random_at(dice, 7);
        if (digit < 4) {
            c->ctx.cr4 |= 0x400000;
            c->ctx.pkru = (c->ctx.pkru & ~(3u << 2 * key)) | digit << 2 * key;
        }
    }
    for (unsigned i = 0; i <= leaf; i++)
        c->entry[i] |= address_at(s, c->entries, i, random_at(dice, 8 + i));
    c->maxphyaddr =
        PHYS_MIN + (unsigned)random_at(f->shape * 64 + leaf, n) % (PHYS_MAX - PHYS_MIN + 1);
}

/* Entries with all rights, from which one is then made the entry in question. */
static void get_plain(const struct shape *s, uint64_t dice, struct test_case *c)
{
    c->entries = s->levels;
    for (unsigned i = 0; i < s->levels; i++) {
        bool in_register = i == 0 && s->pdpte_registers;
        bool is_leaf = i + 1 == s->levels;
        c->entry[i] = P | address_at(s, s->levels, i, random_at(dice, 8 + i));
        if (!in_register)
            c->entry[i] |= W | U | noise(s, is_leaf, false, random_at(dice, i));
    }
    c->ctx.pkru = (uint32_t)random_at(dice, 7) & (uint32_t)random_at(dice, 6);
}

/* With PS the entry may map a page: then its address is one. */
static void set_entry(const struct shape *s, unsigned level, uint64_t flags, uint64_t dice,
                      struct test_case *c)
{
    bool is_large = (flags & PS) && level + 1 < s->levels && level >= s->largest;
    uint64_t address = is_large ? page_at(s, level, dice) : address_at(s, s->levels, level, dice);

    c->entry[level] = flags | address;
    if (s->entry_bytes == 4)
        c->entry[level] &= UINT32_MAX;
    if (level == 0 && s->pdpte_registers)
        c->entry[level] &= ~UINT64_C(0x1e6);
}

/* A PDPTE that MOV to CR3 would refuse never gets into the registers. */
static void keep_legal(const struct shape *s, struct test_case *c)
{
    uint64_t reserved = UINT64_C(0x1e6) | ~((UINT64_C(1) << c->maxphyaddr) - 1);

    if (s->pdpte_registers && (c->entry[0] & reserved))
        c->entry[0] &= ~(uint64_t)P;
}

static void get_stop(const struct family *f, const struct shape *s, uint64_t n, uint64_t dice,
                     struct test_case *c)
{
    get_plain(s, dice, c);
    unsigned digit = take(&n, stop_entries(s));
    if (digit < 64) {
        set_entry(s, f->level, flags_of(digit & 15) | (digit & 16 ? D : 0) | (digit & 32 ? PS : 0),
                  dice, c);
    } else {
        digit -= 64;
        set_entry(s, f->level, P | flags_of(digit & 15) | (digit & 16 ? PS : 0), dice, c);
        c->entry[f->level] ^= UINT64_C(1) << digit / 32;
    }
    for (unsigned i = f->level; i-- > 0;) {
        if (i == 0 && s->pdpte_registers)
            continue;
        c->entry[i] &= ~(uint64_t)(W | U);
        c->entry[i] |= flags_of(take(&n, 2) << 2 | (random_at(dice, 20 + i) & 3));
    }
    control(s, take(&n, 32), c);
    c->maxphyaddr =
        PHYS_MIN + (unsigned)random_at(f->shape * 64 + f->level, n) % (PHYS_MAX - PHYS_MIN + 1);
}

static void get_bits(const struct family *f, const struct shape *s, uint64_t n, uint64_t dice,
                     struct test_case *c)
{
    get_plain(s, dice, c);
    unsigned turned = take(&n, s->entry_bytes * 8);
    uint64_t flags = P | W | U | (take(&n, 2) ? PS : 0);
    unsigned nxe = take(&n, 2) * 8;
    c->maxphyaddr = PHYS_MIN + take(&n, PHYS_MAX - PHYS_MIN + 1);
    control(s, ((unsigned)random_at(dice, 21) & 23) | nxe, c);
    set_entry(s, f->level, flags, dice, c);
    c->entry[f->level] ^= UINT64_C(1) << turned;
}

void cases_get(const struct family *f, uint64_t n, struct test_case *out)
{
    const struct shape *s = &shapes[f->shape];
    uint64_t dice = random_at(f->shape << 16 | (uint64_t)f->level << 8 | f->kind, n);

    memset(out, 0, sizeof *out);
    cases_access(take(&n, ACCESSES), &out->access, &out->ac);
    out->access.gva = gva_make(gva_of(s, random_at(f->shape, dice % ADDRESSES)));
    switch (f->kind) {
    case FAMILY_RIGHTS:
        get_rights(f, s, n, dice, out);
        break;
    case FAMILY_STOP:
        get_stop(f, s, n, dice, out);
        break;
    case FAMILY_BITS:
        get_bits(f, s, n, dice, out);
        break;
    }
    keep_legal(s, out);
    place(s, out);
}
