/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walker for all formats.
 *
 *   for each level from the top:
 *     read the entry                      not RAM reads as all ones, absent memory as zeros
 *     not present    -> fault, P = 0
 *     reserved bit   -> fault, P = 1, RSVD = 1
 *     rights &= entry's rights
 *     leaf?          -> check the access; then A, and D for a write, in one exchange
 *     else           -> A, go down
 *
 * So a walk that faults has set A only in the entries above the one that stopped it, and D is set
 * only by a write that will be done (SDM 3A 4.8). A and D are set by compare-exchange on the
 * guest's own memory; losing it starts the walk again from the top.
 */
#include "mmu/walk.h"

enum entry_result { ENTRY_OK, ENTRY_CHANGED, ENTRY_HOST_ERROR };

/* False: host error. */
static bool read_entry(struct guest_mem *mem, const struct paging *pg, enum walk_mode mode,
                       unsigned level, unsigned index, struct walk_step *s)
{
    const struct format *f = pg->format;
    hva_t hva;
    bool writable;

    if (level == f->top && f->root_in_registers) {
        s->entry = pg->regs[index];
        s->in_ram = true;
        return true;
    }
    enum mem_answer answer;
    if (mode == WALK_PROBE) {
        answer = mem_peek(mem, s->table, MEM_FOR_READ, &hva, &writable);
    } else {
        answer = mem_make_resident(mem, s->table, MEM_FOR_READ, &hva, &writable);
        mem_note_used(mem, s->table);
    }
    s->in_ram = answer != MEM_NOT_RAM;
    switch (answer) {
    case MEM_OK:
        s->entry = table_entry(hva_ptr(hva), f->entry_bytes, index);
        return true;
    case MEM_NOT_READY: /* somewhere else, and to stay there */
        s->entry = 0;
        return mem_read_through(mem, gpa_add(gfn_gpa(s->table), (uint64_t)index * f->entry_bytes),
                                &s->entry, f->entry_bytes);
    case MEM_NOT_RAM:
        s->entry = f->entry_bytes == 8 ? UINT64_MAX : UINT32_MAX;
        return true;
    case MEM_HOST_ERROR:
        break;
    }
    return false;
}

/* A table may hold itself: then one entry stands for several levels. */
static void note_set(const struct paging *pg, const struct mmu_access *access, struct walk *out,
                     unsigned index, uint64_t set)
{
    gfn_t table = out->step[out->level].table;

    for (unsigned l = out->level; l <= pg->format->top; l++) {
        if (out->step[l].table.v == table.v && paging_index(pg, l, access->gva) == index &&
            !(l == pg->format->top && pg->format->root_in_registers))
            out->step[l].entry |= set;
    }
}

static enum entry_result set_bits(struct guest_mem *mem, const struct paging *pg,
                                  const struct mmu_access *access, struct walk *out, uint64_t set)
{
    struct walk_step *s = &out->step[out->level];
    unsigned index = paging_index(pg, out->level, access->gva);
    unsigned bytes = pg->format->entry_bytes;
    hva_t hva;
    bool writable, done;

    if ((s->entry & set) == set)
        return ENTRY_OK;
    if (mem_make_resident(mem, s->table, MEM_FOR_WRITE, &hva, &writable) != MEM_OK)
        return ENTRY_HOST_ERROR;
    if (bytes == 8) {
        uint64_t old = s->entry;
        done = __atomic_compare_exchange_n((uint64_t *)hva_ptr(hva) + index, &old, old | set, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    } else {
        uint32_t old = (uint32_t)s->entry;
        done =
            __atomic_compare_exchange_n((uint32_t *)hva_ptr(hva) + index, &old, old | (uint32_t)set,
                                        false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    }
    if (!done)
        return ENTRY_CHANGED;
    note_set(pg, access, out, index, set);
    if (mem_track(mem, s->table))
        mem_note_written(mem, gpa_add(gfn_gpa(s->table), (uint64_t)index * bytes), bytes);
    return ENTRY_OK;
}

uint32_t walk_cause(const struct paging *pg, const struct mmu_access *access)
{
    return (access->kind == MMU_WRITE ? PF_W : 0) | (access->user ? PF_U : 0) |
           (access->kind == MMU_FETCH && pg->fetch_bit ? PF_I : 0);
}

static void fault(struct walk *out, uint32_t why)
{
    out->kind = WALK_GUEST_FAULT;
    out->why = why;
}

static void add_rights(const struct paging *pg, unsigned level, uint64_t entry, struct rights *r)
{
    if (pg->format->level[level].no_rights)
        return;
    r->user = r->user && (entry & PTE_U);
    r->write = r->write && (entry & PTE_W);
    r->nx = r->nx || (pg->nxe && (entry & PTE_NX));
}

/* The leaf: is the access allowed, then A and D. */
static enum entry_result finish(struct guest_mem *mem, const struct paging *pg,
                                const struct mmu_access *access, bool ac, enum walk_mode mode,
                                struct walk *out)
{
    struct walk_step *s = &out->step[out->level];
    const struct format_level *l = &pg->format->level[out->level];

    out->page_base = paging_page_base(pg, out->level, s->entry);
    uint64_t in_page = access->gva.v & ((UINT64_C(1) << l->shift) - 1);
    out->page_gpa = gpa_add(out->page_base, in_page & PAGE_MASK);
    /* Kept also while keys are off: they may be turned on without a flush. */
    if (pg->format->id >= FORMAT_4LEVEL)
        out->rights.pkey = (uint8_t)(s->entry >> PTE_PKEY_SHIFT & 15);
    out->kind = WALK_OK;
    if (mode == WALK_PROBE)
        return ENTRY_OK;

    struct allowed a = rights_allow(pg, out->rights, view_of(access, ac));
    if (!allowed_kind(&a, access->kind)) {
        fault(out, PF_P | (key_refuses(&a, access->kind) ? PF_PK : 0));
        return ENTRY_OK;
    }
    uint64_t set = PTE_A | (access->kind == MMU_WRITE ? PTE_D : 0);
    return set_bits(mem, pg, access, out, set);
}

/* One walk from the top; ENTRY_CHANGED: an entry moved under it. */
static enum entry_result walk_once(struct guest_mem *mem, const struct paging *pg,
                                   const struct mmu_access *access, bool ac, enum walk_mode mode,
                                   struct walk *out)
{
    gfn_t table = pg->root;

    out->rights = (struct rights){.user = true, .write = true, .nx = false, .pkey = 0};
    for (unsigned level = pg->format->top;; level--) {
        unsigned index = paging_index(pg, level, access->gva);
        struct walk_step *s = &out->step[level];

        out->level = level;
        s->table = table;
        if (!read_entry(mem, pg, mode, level, index, s))
            return ENTRY_HOST_ERROR;
        if (!(s->entry & PTE_P)) {
            fault(out, 0);
            return ENTRY_OK;
        }
        bool large = paging_is_large(pg, level, s->entry);
        if (s->entry & pg->reserved[level][large]) {
            fault(out, PF_P | PF_RSVD);
            return ENTRY_OK;
        }
        add_rights(pg, level, s->entry, &out->rights);
        if (large || level == 1)
            return finish(mem, pg, access, ac, mode, out);
        if (mode == WALK_ACCESS && !pg->format->level[level].no_rights) {
            enum entry_result r = set_bits(mem, pg, access, out, PTE_A);
            if (r != ENTRY_OK)
                return r;
        }
        table = gpa_gfn(gpa_make(s->entry & PTE_ADDR));
    }
}

void walk_guest(struct guest_mem *mem, const struct paging *pg, const struct mmu_access *access,
                bool ac, enum walk_mode mode, struct walk *out)
{
    enum entry_result r;

    /*
     * Each turn beyond the first means that somebody else changed an entry: nobody can spin alone.
     */
    do
        r = walk_once(mem, pg, access, ac, mode, out);
    while (r == ENTRY_CHANGED);
    if (r == ENTRY_HOST_ERROR)
        out->kind = WALK_HOST_ERROR;
}
