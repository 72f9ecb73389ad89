/* SPDX-License-Identifier: Apache-2.0 */
/* One address explained; nothing here changes anything. */
#include "mmu/explain.h"

#include <string.h>

#include "mmu/internal.h"

static struct mmu_role role_of(uint32_t role)
{
    return (struct mmu_role){
        .format = (enum format_id)(role >> ROLE_FORMAT_SHIFT & 7),
        .level = role >> ROLE_LEVEL_SHIFT & 7,
        .user = role & ROLE_USER,
        .write = role & ROLE_WRITE,
        .nx = role & ROLE_NX,
        .nxe = role & ROLE_NXE,
        .large = role & ROLE_LARGE,
    };
}

/* The meaning of tables under another CR3: as MOV CR3 would make it, but nothing is loaded. */
static void paging_at(const struct mmu *mmu, uint64_t cr3, struct paging *pg)
{
    const uint64_t mask = pg->format->id <= FORMAT_PAE ? UINT64_C(0xfffff000) : PTE_ADDR;

    pg->root = gpa_gfn(gpa_make(cr3 & mask));
    if (pg->format->id != FORMAT_PAE)
        return;
    memset(pg->regs, 0, sizeof pg->regs);
    const gpa_t table = gpa_make(cr3 & 0xffffffe0u);
    if (mem_is_ram(mmu->mem, table, sizeof pg->regs) &&
        !mem_read_through(mmu->mem, table, pg->regs, sizeof pg->regs))
        memset(pg->regs, 0, sizeof pg->regs);
}

static uint64_t root_address(const struct paging *pg, uint64_t cr3)
{
    return gfn_gpa(pg->root).v | (pg->format->id == FORMAT_PAE ? cr3 & 0xfe0 : 0);
}

/*
 * The newest root of that address space, with the present format. Bits 11:0 of cr3 are a PCID if
 * not zero.
 */
static const struct root *find_known_root(const struct mmu *mmu, uint64_t address, uint64_t cr3)
{
    const struct root *best = NULL;
    uint64_t pcid = mmu->cur->pcid && mmu->pg.format->id >= FORMAT_4LEVEL ? cr3 & (PCIDS - 1) : 0;

    for (unsigned i = 0; i < ROOTS; i++) {
        const struct root *r = &mmu->roots[i];
        if (!r->used || r->cr3 != address ||
            ((r->role ^ mmu->cur->role) & ((1u << ROLE_SUB_SHIFT) - 1)))
            continue;
        if (pcid && r->pcid != pcid)
            continue;
        if (r == mmu->cur)
            return r;
        if (!best || (!best->page && r->page) || r->need > best->need)
            best = r;
    }
    return best;
}

static unsigned linear_bits(const struct paging *pg)
{
    return pg->format->id == FORMAT_5LEVEL ? 57 : pg->format->id == FORMAT_4LEVEL ? 48 : 32;
}

/* A linear address as the guest writes it. */
static uint64_t canonical(const struct paging *pg, uint64_t gva)
{
    unsigned shift = 64 - linear_bits(pg);

    return pg->format->id < FORMAT_4LEVEL ? gva : (uint64_t)((int64_t)(gva << shift) >> shift);
}

static bool is_canonical(const struct paging *pg, gva_t gva)
{
    return pg->format->id < FORMAT_4LEVEL ? gva.v <= UINT32_MAX : canonical(pg, gva.v) == gva.v;
}

static void explain_guest_level(const struct mmu *mmu, const struct paging *pg,
                                const struct walk *w, unsigned level, struct mmu_explain *out)
{
    struct mmu_explain_level *l = &out->level[level];
    const struct walk_step *s = &w->step[level];

    l->read = true;
    l->entry = s->entry;
    l->large = paging_is_large(pg, level, s->entry);
    l->reserved = s->entry & PTE_P ? s->entry & pg->reserved[level][l->large] : 0;
    if (level == pg->format->top && pg->format->root_in_registers) {
        l->place = MMU_TABLE_IN_REGISTERS;
        return;
    }
    l->entry_gpa = gpa_add(gfn_gpa(s->table), (uint64_t)l->index * pg->format->entry_bytes);
    l->state = mem_page_state(mmu->mem, s->table);
    l->table_tracked = mem_track(mmu->mem, s->table);
    l->place = !s->in_ram                ? MMU_TABLE_NOT_RAM
               : l->state == PAGE_ABSENT ? MMU_TABLE_ABSENT
                                         : MMU_TABLE_IN_RAM;
}

/* The guest's half: levels, rights, page. */
static void explain_guest(struct mmu *mmu, const struct paging *pg, struct mmu_explain *out)
{
    const struct mmu_access access = {.gva = out->gva, .kind = MMU_READ};
    struct walk w;

    walk_guest(mmu->mem, pg, &access, false, WALK_PROBE, &w);
    out->last = w.level;
    for (unsigned level = pg->format->top; level >= w.level; level--)
        explain_guest_level(mmu, pg, &w, level, out);
    out->why = w.why;
    switch (w.kind) {
    case WALK_OK:
        break;
    case WALK_GUEST_FAULT:
        out->end = w.why & PF_RSVD ? MMU_WALK_RESERVED : MMU_WALK_NOT_PRESENT;
        return;
    case WALK_HOST_ERROR:
        out->end = MMU_WALK_HOST_ERROR;
        return;
    }
    out->end = MMU_WALK_MAPPED;
    out->user = w.rights.user;
    out->write = w.rights.write;
    out->nx = w.rights.nx;
    out->pkey = w.rights.pkey;
    struct allowed user = rights_allow(pg, w.rights, (struct view){.user = true});
    struct allowed kernel = rights_allow(pg, w.rights, (struct view){.user = false});
    out->as_user = (struct mmu_rights){user.read, user.write, user.exec};
    out->as_kernel = (struct mmu_rights){kernel.read, kernel.write, kernel.exec};
    out->page_base = w.page_base;
    out->page_gpa = w.page_gpa;
    out->gpa = gpa_add(w.page_gpa, out->gva.v & (PAGE_SIZE - 1));
}

static uint64_t chain_length(const struct mmu *mmu, node_id head)
{
    uint64_t length = 0;

    for (node_id n = head; n; n = node_page(mmu, n)->chain[node_index(n)].next)
        length++;
    return length;
}

/* From frame to host. */
static void explain_frame(struct mmu *mmu, struct mmu_explain *out)
{
    const gfn_t gfn = gpa_gfn(out->page_gpa);
    bool writable;

    out->slot = mem_find_slot(mmu->mem, gfn);
    if (!out->slot)
        return;
    out->hva_formula =
        hva_make(out->slot->userspace_addr.v + ((gfn.v - out->slot->base_gfn.v) << PAGE_SHIFT));
    out->state = mem_page_state(mmu->mem, gfn);
    out->tracked = mem_track(mmu->mem, gfn);
    out->has_hva = mem_peek(mmu->mem, gfn, MEM_FOR_READ, &out->hva, &writable) == MEM_OK;
    out->hva_is_zero_page = out->has_hva && out->hva.v == mem_zero_page(mmu->mem).v;
    out->hva_is_shared = out->has_hva && !writable && !out->hva_is_zero_page;
    out->mappings = chain_length(mmu, *rmap_head(mmu, gfn));
}

static struct mmu_shadow_entry entry_of(const struct shadow_page *page, unsigned i)
{
    const uint64_t spte = page->spte[i];
    struct mmu_shadow_entry e = {.raw = page->raw[i]};

    if (spte & SPTE_LK)
        return e;
    e.large = spte & SPTE_LG;
    e.device = spte & SPTE_DV;
    e.host_writable = spte & SPTE_HW;
    e.user = spte & SPTE_U;
    e.write = spte & SPTE_W;
    e.nx = spte & SPTE_NX;
    e.dirty = spte & SPTE_D;
    e.global = spte & SPTE_G;
    e.pkey = spte_rights(spte).pkey;
    e.fresh = page->fresh[i / 64] >> i % 64 & 1;
    if (e.large || e.device)
        e.gpa = gpa_make(spte & SPTE_ADDR);
    else
        e.hva = hva_make(spte & SPTE_ADDR);
    return e;
}

/* Why a write does not pass the leaf that is there. */
static unsigned withheld(const struct mmu *mmu, const struct mmu_explain *out,
                         const struct mmu_shadow_entry *e)
{
    unsigned why = (e->write || !mmu->pg.wp ? 0u : (unsigned)MMU_WITHHELD_BY_GUEST) |
                   (e->dirty ? 0u : (unsigned)MMU_WITHHELD_CLEAN);

    if (e->device || out->end != MMU_WALK_MAPPED || !out->slot)
        return why;
    if (out->state < PAGE_RESIDENT)
        why |= MMU_WITHHELD_RESIDENCE;
    if (out->tracked & MEM_TRACK_CODE)
        why |= MMU_WITHHELD_CODE;
    if (out->tracked & MEM_TRACK_TABLE)
        why |= MMU_WITHHELD_TABLE;
    if (out->tracked & MEM_TRACK_IMAGE)
        why |= MMU_WITHHELD_IMAGE;
    return why;
}

/* The shadow's half: down its own links, beside the guest's levels. */
static void explain_shadow(const struct mmu *mmu, const struct root *root, struct mmu_explain *out)
{
    const struct shadow_page *page = root->page;

    while (page) {
        struct mmu_explain_level *l = &out->level[page->level];
        unsigned i = shadow_index(page, out->gva);

        l->page_id = page->id;
        l->page_table = page->gfn;
        l->page_gva = gva_make(canonical(&mmu->pg, page->gva));
        l->page_present = page->present_count;
        l->role = role_of(page->role);
        l->shadow = MMU_SHADOW_EMPTY;
        if (!(page->spte[i] & SPTE_P))
            return;
        l->spte = entry_of(page, i);
        l->agreement = l->read && l->entry == l->spte.raw ? MMU_AGREE : MMU_STALE;
        if (l->agreement == MMU_STALE)
            out->agreement = MMU_STALE;
        if (!(page->spte[i] & SPTE_LK)) {
            l->shadow = MMU_SHADOW_LEAF;
            if (out->agreement == MMU_STALE)
                return;
            out->agreement = MMU_AGREE;
            out->withheld = withheld(mmu, out, &l->spte);
            return;
        }
        l->shadow = MMU_SHADOW_LINK;
        page = spte_child(page->spte[i]);
    }
}

void mmu_explain(struct mmu *mmu, gva_t gva, const uint64_t *cr3, struct mmu_explain *out)
{
    struct paging pg = mmu->pg;
    const struct root *root = mmu->cur;

    memset(out, 0, sizeof *out);
    out->gva = gva;
    out->format = pg.format;
    out->sync = mmu->sync->name;
    out->cr3 = mmu->cur->cr3;
    out->pcid = (uint16_t)mmu->cur->pcid;
    if (cr3 && pg.format->id != FORMAT_OFF) {
        paging_at(mmu, *cr3, &pg);
        out->cr3 = root_address(&pg, *cr3);
        root = find_known_root(mmu, out->cr3, *cr3);
        out->pcid = root ? (uint16_t)root->pcid : 0;
    }
    out->is_current = root == mmu->cur;
    out->root_known = root != NULL;
    out->asid = root ? root->asid : 0;
    for (unsigned level = pg.format->top; level >= 1; level--) {
        if (pg.format->level[level].bits)
            out->level[level].index = paging_index(&pg, level, gva);
    }
    if (!is_canonical(&pg, gva)) {
        out->end = MMU_WALK_NOT_CANONICAL;
        out->last = pg.format->top + 1u;
        return;
    }
    explain_guest(mmu, &pg, out);
    if (out->end == MMU_WALK_MAPPED)
        explain_frame(mmu, out);
    if (root)
        explain_shadow(mmu, root, out);
}

size_t mmu_roots(const struct mmu *mmu, struct mmu_root_info *out, size_t max)
{
    size_t count = 0;

    for (unsigned i = 0; i < ROOTS; i++) {
        const struct root *r = &mmu->roots[i];
        if (!r->used)
            continue;
        struct mmu_root_info info = {
            .cr3 = r->cr3,
            .pcid = (uint16_t)r->pcid,
            .is_current = r == mmu->cur,
            .wp = r->view & 1,
            .smep = r->view & 2,
            .smap = r->view & 4,
            .pke = r->view & 8,
            .pkru = r->pkru,
            .asid = r->asid,
            .used = r == mmu->cur ? mmu->now : r->need,
            .role = role_of(r->role),
            .present = r->page ? r->page->present_count : 0,
        };
        size_t at = count < max ? count++ : max;
        for (; at > 0 &&
               (info.is_current || (!out[at - 1].is_current && out[at - 1].used < info.used));
             at--) {
            if (at < max)
                out[at] = out[at - 1];
        }
        if (at < max)
            out[at] = info;
    }
    return count;
}

uint64_t mmu_longest_chain(struct mmu *mmu, gfn_t *gfn)
{
    uint64_t longest = 0;

    *gfn = gfn_make(0);
    for (const struct shadow_page *p = mmu->newest; p; p = p->older) {
        for (unsigned w = 0; w < ENTRIES_MAX / 64; w++) {
            for (uint64_t left = p->present[w]; left; left &= left - 1) {
                unsigned i = w * 64 + (unsigned)__builtin_ctzll(left);
                if ((p->spte[i] & (SPTE_LK | SPTE_LG | SPTE_DV)) || p->chain[i].prev)
                    continue; /* not on a chain, or not at its head */
                uint64_t length = chain_length(mmu, p->id << NODE_INDEX_BITS | i);
                if (length > longest) {
                    longest = length;
                    *gfn = gpa_gfn(gpa_make(p->raw[i] & PTE_ADDR));
                }
            }
        }
    }
    return longest;
}
