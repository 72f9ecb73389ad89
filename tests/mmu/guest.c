/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#include <string.h>

#define TABLES    UINT64_C(0x10000)
#define DATA      UINT64_C(0x800000)
#define DEVICE    UINT64_C(0x20000000)
#define FLAG_NX   (UINT64_C(1) << 63)
#define CR4_PCIDE 0x20000u

enum { P = 0x01, W = 0x02, U = 0x04, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };

/*
 * The three modes of 8-byte entries use the same tables: 4-level paging begins one level lower, and
 * PDPTEs in registers reference page directories. top: level of the tables that CR3, or a PDPTE,
 * references.
 */
static const struct mode {
    const char *name;
    unsigned levels, entry_bytes, top;
    unsigned shift[5];
    uint64_t cr4, efer;
    bool has_registers;
} modes[] = {
    {"2-level", 2, 4, 0, {22, 12}, 0x10, 0, false},
    {"5-level", 5, 8, 0, {48, 39, 30, 21, 12}, 0x1020, 0x500, false},
    {"4-level", 5, 8, 1, {48, 39, 30, 21, 12}, 0x20, 0x500, false},
    {"pae", 5, 8, 3, {48, 39, 30, 21, 12}, 0x20, 0, true},
};
#define MODES ((unsigned)(sizeof modes / sizeof *modes))

static const struct mode *mode_of(const struct guest *g)
{
    return &modes[g->mode];
}

const char *guest_mode_name(const struct guest *g)
{
    return mode_of(g)->name;
}

uint64_t guest_data_page(unsigned n)
{
    return DATA + n * UINT64_C(4096);
}

static uint64_t table_gpa(unsigned table)
{
    return TABLES + table * UINT64_C(4096);
}

uint64_t guest_slot_gpa(const struct guest *g, unsigned slot)
{
    return table_gpa(slot / 2) + g->index[slot % 2] * g->entry_bytes;
}

static bool chance(struct guest *g, unsigned percent)
{
    return dice_roll(&g->dice, 100) < percent;
}

static uint64_t target(struct guest *g, unsigned level, bool is_page)
{
    unsigned shift = mode_of(g)->shift[level];

    if (!is_page) {
        unsigned below = chance(g, 3) ? dice_roll(&g->dice, g->levels) : level + 1;
        return table_gpa(below * TABLES_EACH + dice_roll(&g->dice, TABLES_EACH));
    }
    if (chance(g, 8))
        return shift == 30 ? UINT64_C(1) << 30 : DEVICE;
    if (shift == 12)
        return guest_data_page(dice_roll(&g->dice, DATA_PAGES));
    return shift == 30 ? 0 : (uint64_t)dice_roll(&g->dice, 3) << shift;
}

static uint64_t new_entry(struct guest *g, unsigned level)
{
    const struct mode *s = mode_of(g);
    bool is_last = level + 1 == g->levels;
    bool is_large = !is_last && s->shift[level] <= 30 && chance(g, 25);
    uint64_t e = target(g, level, is_last || is_large);

    e |= (chance(g, 96) ? P : 0) | (chance(g, 85) ? W : 0) |
         (chance(g, g->levels == 2 ? 76 : 95) ? U : 0) | (chance(g, 50) ? A : 0) |
         (chance(g, 50) ? D : 0) | (is_large ? PS : 0);
    if (is_last || is_large)
        e |= (chance(g, 30) ? G : 0);
    if (g->entry_bytes == 8) {
        e |= chance(g, g->ctx.efer & 0x800 ? 8 : 1) ? FLAG_NX : 0;
        if (!g->may_be_pae)
            e |= (uint64_t)dice_roll(&g->dice, 16) << 59;
        if (chance(g, 1))
            e |= UINT64_C(1) << 51;
    }
    return g->entry_bytes == 8 ? e : e & UINT32_MAX;
}

uint64_t guest_edit(struct guest *g, unsigned slot)
{
    static const uint64_t flags[] = {P, W, U, A, D, G, PS, FLAG_NX};
    unsigned how = dice_roll(&g->dice, 10);
    uint64_t now = g->memory[slot];
    uint64_t next = g->before[slot];

    if (how < 4)
        next = now ^ flags[dice_roll(&g->dice, g->entry_bytes == 8 ? 8 : 7)];
    else if (how < 8)
        next = new_entry(g, slot / 2 / TABLES_EACH);
    g->before[slot] = now;
    g->memory[slot] = next;
    return next;
}

static uint64_t new_register(struct guest *g)
{
    return target(g, 2, false) | (chance(g, 90) ? P : 0);
}

void guest_edit_register(struct guest *g)
{
    unsigned root = dice_roll(&g->dice, TABLES_EACH);

    g->registers[root][g->index[dice_roll(&g->dice, 2)] % 4] = new_register(g);
}

unsigned guest_address(struct guest *g)
{
    unsigned n = dice_roll(&g->dice, chance(g, 80) ? 3 : g->addresses);

    return n * 5 % g->addresses;
}

void guest_load_cr3(struct guest *g, unsigned root, unsigned pcid)
{
    const struct mode *m = mode_of(g);

    if (m->has_registers) {
        g->ctx.cr3 = TABLES + root * UINT64_C(32);
        memcpy(g->ctx.pdpte, g->registers[root], sizeof g->ctx.pdpte);
    } else {
        g->ctx.cr3 = table_gpa(m->top * TABLES_EACH + root) | (guest_has_pcid(g) ? pcid : 0);
    }
}

static void choose_addresses(struct guest *g)
{
    const struct mode *m = mode_of(g);
    unsigned first = m->top - (m->has_registers ? 1 : 0), used = g->levels - first;

    g->addresses = 1u << used;
    for (unsigned n = 0; n < g->addresses; n++) {
        uint64_t gva = 0;
        for (unsigned l = 0; l < used; l++) {
            uint64_t index = g->index[n >> l & 1];
            gva |= (m->has_registers && l == 0 ? index % 4 : index) << m->shift[first + l];
        }
        unsigned top = m->shift[first] + 8;
        if ((m->efer & 0x400) && gva >> top & 1)
            gva |= ~UINT64_C(0) << top;
        g->gva[n] = gva;
    }
}

static void enter_mode(struct guest *g, unsigned mode)
{
    g->mode = mode;
    g->ctx.cr4 = (g->ctx.cr4 & ~UINT64_C(0x21030)) | modes[mode].cr4;
    g->ctx.efer = (g->ctx.efer & ~UINT64_C(0x500)) | modes[mode].efer;
    if (g->pcide && modes[mode].efer)
        g->ctx.cr4 |= CR4_PCIDE;
    choose_addresses(g);
    guest_load_cr3(g, 0, 1);
}

bool guest_change_mode(struct guest *g)
{
    if (!g->may_be_pae)
        return false;
    enter_mode(g, 1 + dice_roll(&g->dice, MODES - 1));
    return true;
}

void guest_init(struct guest *g, uint64_t seed)
{
    memset(g, 0, sizeof *g);
    g->dice.seed = seed;
    g->mode = dice_roll(&g->dice, MODES);
    const struct mode *m = mode_of(g);
    g->levels = m->levels;
    g->entry_bytes = m->entry_bytes;
    g->may_be_pae = m->has_registers || (m->levels == 5 && chance(g, 30));
    g->pcide = m->levels == 5 && chance(g, 60);
    g->maxphyaddr = chance(g, 50) ? 40 : 36;
    g->index[0] = dice_roll(&g->dice, 511);
    g->index[1] = g->index[0] + 1;
    g->ctx.cr0 = 0x80000001 | (chance(g, 70) ? 0x10000 : 0);
    g->ctx.cr4 = (chance(g, 70) ? 0x80 : 0) | (chance(g, 50) ? 0x100000 : 0) |
                 (chance(g, 50) ? 0x200000 : 0) | (chance(g, 50) ? 0x400000 : 0);
    g->ctx.efer = chance(g, 70) ? 0x800 : 0;
    g->ctx.pkru = (uint32_t)(dice_bits(&g->dice) & dice_bits(&g->dice));
    g->percent[0] = 100;
    g->percent[1] = chance(g, 60) ? 100 : 15;
    g->percent[2] = chance(g, 40) ? 100 : 8;
    g->slots = g->levels * TABLES_EACH * 2;
    for (unsigned n = 0; n < g->slots; n++)
        g->memory[n] = g->before[n] = new_entry(g, n / 2 / TABLES_EACH);
    for (unsigned n = 0; n < TABLES_EACH * 4; n++)
        g->registers[n / 4][n % 4] = g->levels == 5 ? new_register(g) : 0;
    enter_mode(g, g->mode);
}
