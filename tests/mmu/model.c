/* SPDX-License-Identifier: Apache-2.0 */
#include "model.h"

#include <string.h>

/* Bit numbers of tables 4-4 to 4-20 that depend on MAXPHYADDR, written M there. */
enum { M = 100, M_1 = 99, M_20 = 80, M_19 = 81 };

enum meaning { FLAG, IGNORED, ADDRESS, RESERVED, KEY, XD };

struct row {
    int high, low;
    enum meaning meaning;
};

/* clang-format off */
/* Flags in bits 5:0 are the same everywhere but in PAE's PDPTEs. */
#define COMMON {5, 0, FLAG}
#define END    {-1, -1, IGNORED}

static const struct row pde_4m[] = {/* table 4-4 */
    COMMON, {7, 6, FLAG}, {8, 8, FLAG}, {11, 9, IGNORED}, {12, 12, FLAG}, {M_20, 13, ADDRESS},
    {21, M_19, RESERVED}, {31, 22, ADDRESS}, END};
static const struct row pde_32[] = {/* table 4-5; bit 7: 0, or ignored without PSE */
    COMMON, {6, 6, IGNORED}, {7, 7, FLAG}, {11, 8, IGNORED}, {31, 12, ADDRESS}, END};
static const struct row pte_32[] = {/* table 4-6 */
    COMMON, {8, 6, FLAG}, {11, 9, IGNORED}, {31, 12, ADDRESS}, END};
static const struct row pdpte_pae[] = {/* table 4-8 */
    {0, 0, FLAG}, {2, 1, RESERVED}, {4, 3, FLAG}, {8, 5, RESERVED}, {11, 9, IGNORED},
    {M_1, 12, ADDRESS}, {63, M, RESERVED}, END};
static const struct row pde_2m_pae[] = {/* table 4-9 */
    COMMON, {8, 6, FLAG}, {11, 9, IGNORED}, {12, 12, FLAG}, {20, 13, RESERVED}, {M_1, 21, ADDRESS},
    {62, M, RESERVED}, {63, 63, XD}, END};
static const struct row pde_pae[] = {/* table 4-10 */
    COMMON, {6, 6, IGNORED}, {7, 7, FLAG}, {11, 8, IGNORED}, {M_1, 12, ADDRESS}, {62, M, RESERVED},
    {63, 63, XD}, END};
static const struct row pte_pae[] = {/* table 4-11 */
    COMMON, {8, 6, FLAG}, {11, 9, IGNORED}, {M_1, 12, ADDRESS}, {62, M, RESERVED},
    {63, 63, XD}, END};
static const struct row pml5e_pml4e[] = {/* tables 4-14 and 4-15 */
    COMMON, {6, 6, IGNORED}, {7, 7, RESERVED}, {11, 8, IGNORED}, {M_1, 12, ADDRESS},
    {51, M, RESERVED}, {62, 52, IGNORED}, {63, 63, XD}, END};
static const struct row pdpte_1g[] = {/* table 4-16 */
    COMMON, {8, 6, FLAG}, {11, 9, IGNORED}, {12, 12, FLAG}, {29, 13, RESERVED}, {M_1, 30, ADDRESS},
    {51, M, RESERVED}, {58, 52, IGNORED}, {62, 59, KEY}, {63, 63, XD}, END};
static const struct row pdpte_pde[] = {/* tables 4-17 and 4-19 */
    COMMON, {6, 6, IGNORED}, {7, 7, FLAG}, {11, 8, IGNORED}, {M_1, 12, ADDRESS}, {51, M, RESERVED},
    {62, 52, IGNORED}, {63, 63, XD}, END};
static const struct row pde_2m[] = {/* table 4-18 */
    COMMON, {8, 6, FLAG}, {11, 9, IGNORED}, {12, 12, FLAG}, {20, 13, RESERVED}, {M_1, 21, ADDRESS},
    {51, M, RESERVED}, {58, 52, IGNORED}, {62, 59, KEY}, {63, 63, XD}, END};
static const struct row pte[] = {/* table 4-20 */
    COMMON, {8, 6, FLAG}, {11, 9, IGNORED}, {M_1, 12, ADDRESS}, {51, M, RESERVED},
    {58, 52, IGNORED}, {62, 59, KEY}, {63, 63, XD}, END};

/* clang-format on */

/* Linear address bits shift + index_bits - 1 : shift choose the entry. */
struct step {
    unsigned shift, index_bits;
    const struct row *table, *page; /* entry that references a table, that maps a page */
};

static const struct step steps_32[] = {{22, 10, pde_32, pde_4m}, {12, 10, NULL, pte_32}};
static const struct step steps_pae[] = {
    {30, 2, pdpte_pae, NULL}, {21, 9, pde_pae, pde_2m_pae}, {12, 9, NULL, pte_pae}};
static const struct step steps_long[] = {{48, 9, pml5e_pml4e, NULL},
                                         {39, 9, pml5e_pml4e, NULL},
                                         {30, 9, pdpte_pde, pdpte_1g},
                                         {21, 9, pdpte_pde, pde_2m},
                                         {12, 9, NULL, pte}};

/* Table 4-4 takes for M the smaller of 40 and MAXPHYADDR; no 4-byte entry has the others. */
static int bit_number(int n, unsigned maxphyaddr)
{
    int small = maxphyaddr < 40 ? (int)maxphyaddr : 40;

    switch (n) {
    case M:
        return (int)maxphyaddr;
    case M_1:
        return (int)maxphyaddr - 1;
    case M_20:
        return small - 20;
    case M_19:
        return small - 19;
    default:
        return n;
    }
}

static uint64_t reserved_bits(const struct row *row, unsigned maxphyaddr, bool xd)
{
    uint64_t mask = 0;

    for (; row && row->high >= 0; row++) {
        if (row->meaning == RESERVED || (row->meaning == XD && !xd)) {
            int high = bit_number(row->high, maxphyaddr);
            for (int bit = bit_number(row->low, maxphyaddr); bit <= high; bit++)
                mask |= UINT64_C(1) << bit;
        }
    }
    return mask;
}

static bool bit(uint64_t v, unsigned n)
{
    return v >> n & 1;
}

void model_init(struct model *m, const struct mmu_context *ctx, unsigned maxphyaddr)
{
    const struct step *steps = steps_32;

    memset(m, 0, sizeof *m);
    m->maxphyaddr = maxphyaddr;
    bool pae = bit(ctx->cr4, 5);
    m->wp = bit(ctx->cr0, 16);
    m->smep = bit(ctx->cr4, 20);
    m->smap = bit(ctx->cr4, 21);
    m->pge = bit(ctx->cr4, 7);
    m->xd = pae && bit(ctx->efer, 11);
    m->fetch_bit = m->smep || m->xd;
    m->entry_bytes = pae ? 8 : 4;
    if (!bit(ctx->cr0, 31)) {
        m->mode = MODEL_OFF;
        return;
    }
    if (!pae) {
        m->mode = MODEL_32BIT;
        m->levels = 2;
        m->top = ctx->cr3 & 0xfffff000;
    } else if (!bit(ctx->efer, 10)) {
        m->mode = MODEL_PAE;
        m->levels = 3;
        steps = steps_pae;
        memcpy(m->pdpte, ctx->pdpte, sizeof m->pdpte);
    } else {
        bool five = bit(ctx->cr4, 12);
        m->mode = five ? MODEL_5LEVEL : MODEL_4LEVEL;
        m->levels = five ? 5 : 4;
        steps = five ? steps_long : steps_long + 1;
        m->top = ctx->cr3 % (UINT64_C(1) << maxphyaddr) / 4096 * 4096;
        m->keys = bit(ctx->cr4, 22);
        m->pkru = ctx->pkru;
    }
    for (unsigned i = 0; i < m->levels; i++) {
        struct model_level *l = &m->level[i];
        l->shift = steps[i].shift;
        l->index_bits = steps[i].index_bits;
        l->is_last = !steps[i].table;
        l->may_map_page = steps[i].page && (pae || l->is_last || bit(ctx->cr4, 4));
        l->in_registers = steps[i].table == pdpte_pae;
        l->reserved[0] = reserved_bits(steps[i].table, maxphyaddr, m->xd);
        l->reserved[1] = reserved_bits(steps[i].page, maxphyaddr, m->xd);
    }
}

/* Bits high:low of v, in their place. */
static uint64_t part(uint64_t v, unsigned high, unsigned low)
{
    return v << (63 - high) >> (63 - high) >> low << low;
}

static void end_at_page(const struct model *m, const struct model_level *l, uint64_t entry,
                        uint64_t gva, struct model_walk *w)
{
    uint64_t base =
        m->entry_bytes == 8 ? part(entry, m->maxphyaddr - 1, l->shift) : part(entry, 31, l->shift);

    if (m->mode == MODEL_32BIT && !l->is_last)
        base |= part(entry, 20, 13) << (32 - 13); /* those above M are reserved: zero here */
    w->shift = l->shift;
    w->page = base | (l->shift > 12 ? part(gva, l->shift - 1, 12) : 0);
    w->dirty = bit(entry, 6);
    w->global = m->pge && bit(entry, 8);
    if (m->mode >= MODEL_4LEVEL)
        w->key = (unsigned)(entry >> 59) & 15;
}

void model_walk(const struct model *m, uint64_t gva, model_load *load, void *arg,
                struct model_walk *w)
{
    uint64_t table = m->top;

    memset(w, 0, sizeof *w);
    w->user = w->write = w->accessed = true;
    if (m->mode == MODEL_OFF) {
        w->page = part(gva, 31, 12);
        w->dirty = true;
        return;
    }
    for (unsigned i = 0; i < m->levels; i++) {
        const struct model_level *l = &m->level[i];
        uint64_t index = gva >> l->shift & ((1u << l->index_bits) - 1);
        uint64_t gpa = table + index * m->entry_bytes;
        uint64_t entry = l->in_registers ? m->pdpte[index] : load(arg, gpa, m->entry_bytes);

        w->entry[i].gpa = l->in_registers ? 0 : gpa;
        w->entry[i].value = entry;
        w->entry[i].in_registers = l->in_registers;
        w->entries = i + 1;
        if (!bit(entry, 0)) {
            w->faults = true;
            return;
        }
        bool maps_page = l->is_last || (l->may_map_page && bit(entry, 7));
        if (!l->in_registers) {
            if (entry & l->reserved[maps_page]) {
                w->faults = true;
                w->why = PF_P | PF_RSVD;
                return;
            }
            w->write = w->write && bit(entry, 1);
            w->user = w->user && bit(entry, 2);
            w->accessed = w->accessed && bit(entry, 5);
            w->xd = w->xd || (m->xd && bit(entry, 63));
        }
        if (maps_page) {
            end_at_page(m, l, entry, gva, w);
            return;
        }
        table = m->entry_bytes == 8 ? part(entry, m->maxphyaddr - 1, 12) : part(entry, 31, 12);
    }
}

/* SDM 3A 4.6.1, in its order; 4.6.2 for keys. */
struct model_rights model_rights(const struct model *m, const struct model_walk *w,
                                 const struct mmu_access *a, bool ac)
{
    struct model_rights r = {{true, true, true}, {false, false, false}};

    if (m->mode == MODEL_OFF)
        return r;
    if (!a->user && !w->user) {
        r.allowed[MMU_WRITE] = !m->wp || w->write;
        r.allowed[MMU_FETCH] = !w->xd;
    } else if (!a->user) {
        bool open = !m->smap || (ac && !a->implicit);
        r.allowed[MMU_READ] = open;
        r.allowed[MMU_WRITE] = open && (!m->wp || w->write);
        r.allowed[MMU_FETCH] = !m->smep && !w->xd;
    } else if (!w->user) {
        r.allowed[MMU_READ] = r.allowed[MMU_WRITE] = r.allowed[MMU_FETCH] = false;
    } else {
        r.allowed[MMU_WRITE] = w->write;
        r.allowed[MMU_FETCH] = !w->xd;
    }
    if (m->keys && w->user) {
        bool access_disable = bit(m->pkru, 2 * w->key);
        bool write_disable = bit(m->pkru, 2 * w->key + 1) && (a->user || m->wp);
        r.key[MMU_READ] = access_disable;
        r.key[MMU_WRITE] = access_disable || write_disable;
        r.allowed[MMU_READ] &= !r.key[MMU_READ];
        r.allowed[MMU_WRITE] &= !r.key[MMU_WRITE];
    }
    return r;
}

void model_access(const struct model *m, const struct model_walk *w, const struct mmu_access *a,
                  bool ac, struct model_answer *out)
{
    memset(out, 0, sizeof *out);
    /* SDM 3A 4.7 */
    if (a->kind == MMU_WRITE)
        out->code |= PF_W;
    if (a->user)
        out->code |= PF_U;
    if (a->kind == MMU_FETCH && m->fetch_bit)
        out->code |= PF_I;
    if (w->faults) {
        out->faults = true;
        out->code |= w->why;
    } else {
        struct model_rights r = model_rights(m, w, a, ac);
        out->faults = !r.allowed[a->kind];
        out->code |= PF_P | (r.key[a->kind] ? PF_PK : 0);
    }
    /* SDM 3A 4.8 */
    for (unsigned i = 0; i < w->entries; i++) {
        bool is_end = i + 1 == w->entries;
        if (w->entry[i].in_registers || (is_end && out->faults))
            continue;
        out->set[i] = 0x20;
        if (is_end && a->kind == MMU_WRITE)
            out->set[i] |= 0x40;
        out->set[i] &= ~w->entry[i].value;
    }
}

bool model_pdpte_refused(uint64_t pdpte, unsigned maxphyaddr)
{
    return bit(pdpte, 0) && (pdpte & reserved_bits(pdpte_pae, maxphyaddr, true));
}

static bool is_whole(const struct row *row, unsigned maxphyaddr, unsigned bits)
{
    uint64_t seen = 0;

    for (; row->high >= 0; row++) {
        int high = bit_number(row->high, maxphyaddr);
        for (int n = bit_number(row->low, maxphyaddr); n <= high; n++) {
            if (bit(seen, (unsigned)n))
                return false;
            seen |= UINT64_C(1) << n;
        }
    }
    return seen == (bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1);
}

bool model_tables_are_whole(const char **what)
{
    static const struct {
        const char *name;
        const struct row *row;
        unsigned bits;
    } tables[] = {{"4-4", pde_4m, 32},     {"4-5", pde_32, 32},       {"4-6", pte_32, 32},
                  {"4-8", pdpte_pae, 64},  {"4-9", pde_2m_pae, 64},   {"4-10", pde_pae, 64},
                  {"4-11", pte_pae, 64},   {"4-15", pml5e_pml4e, 64}, {"4-16", pdpte_1g, 64},
                  {"4-17", pdpte_pde, 64}, {"4-18", pde_2m, 64},      {"4-20", pte, 64}};

    for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++) {
        for (unsigned phys = 32; phys <= 52; phys++) {
            *what = tables[i].name;
            if (!is_whole(tables[i].row, phys, tables[i].bits))
                return false;
        }
    }
    return true;
}
