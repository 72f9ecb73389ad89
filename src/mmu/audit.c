/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit: proves the invariants of internal.h by looking at everything.
 */
#include <inttypes.h>

#include "mmu/internal.h"

struct count {
    uint64_t leaves, links;
};

/* Every node of a chain points at a present entry for which `head` is right, and back. */
static bool check_chain(struct mmu *mmu, node_id head, uint64_t *length, uint64_t limit)
{
    node_id before = 0;

    *length = 0;
    for (node_id n = head; n; n = node_page(mmu, n)->chain[node_index(n)].next) {
        const struct shadow_page *page = node_page(mmu, n);
        unsigned i = node_index(n);
        if (!page || i >= page->entries || !(page->spte[i] & SPTE_P)) {
            err_note(ERR_INTERNAL, "chain node %u is not a present entry", n);
            return false;
        }
        if (page->chain[i].prev != before || ++*length > limit) {
            err_note(ERR_INTERNAL, "chain is broken at node %u", n);
            return false;
        }
        before = n;
    }
    return true;
}

/* The leaf must say what its raw guest entry and role say (S4, S5). */
static bool check_leaf(struct mmu *mmu, const struct shadow_page *page, unsigned i)
{
    uint64_t spte = page->spte[i], raw = page->raw[i];
    bool user = (page->role & ROLE_USER) && (raw & PTE_U);
    bool write = (page->role & ROLE_WRITE) && (raw & PTE_W);
    bool nx = (page->role & ROLE_NX) || ((page->role & ROLE_NXE) && (raw & PTE_NX));
    bool good = (raw & PTE_P) && (raw & PTE_A) && !!(spte & SPTE_U) == user &&
                !!(spte & SPTE_W) == write && !!(spte & SPTE_NX) == nx &&
                !!(spte & SPTE_D) == !!(raw & PTE_D);

    if (good && !(spte & (SPTE_LG | SPTE_DV))) {
        gfn_t gfn = gpa_gfn(gpa_make(raw & PTE_ADDR));
        hva_t hva;
        bool writable;
        good = mem_peek(mmu->mem, gfn, MEM_FOR_READ, &hva, &writable) == MEM_OK &&
               (spte & SPTE_ADDR) == hva.v && (writable || !(spte & SPTE_HW));
    }
    if (!good)
        err_note(ERR_INTERNAL,
                 "shadow leaf level=%u gva=0x%" PRIx64 " index=%u spte=0x%" PRIx64 " raw=0x%" PRIx64
                 " does not follow from its guest entry",
                 page->level, page->gva, i, spte, raw);
    return good;
}

static bool check_link(struct mmu *mmu, const struct shadow_page *page, unsigned i)
{
    const struct shadow_page *child = spte_child(page->spte[i]);
    bool good = child->level + 1u == page->level && mmu->by_id[child->id] == child &&
                child->gva == page->gva + ((uint64_t)i << page->shift) &&
                child->gfn.v == (page->raw[i] & PTE_ADDR) >> PAGE_SHIFT && (page->raw[i] & PTE_P) &&
                child->linked != 0;
    /* Rights may only shrink on the way down. */
    if ((child->role & (ROLE_USER | ROLE_WRITE)) & ~page->role ||
        (page->role & ROLE_NX & ~child->role))
        good = false;
    if (!good)
        err_note(ERR_INTERNAL, "shadow link level=%u gva=0x%" PRIx64 " index=%u leads astray",
                 page->level, page->gva, i);
    return good;
}

/* A followed page: tracked, and in step except where it is known not to be (S9). */
static bool check_sync(struct mmu *mmu, struct shadow_page *page)
{
    bool is_tracked = mem_track(mmu->mem, page->gfn) & MEM_TRACK_TABLE;
    bool good = page->sync != SYNC_LOOSE ? is_tracked : is_tracked == follow_is_on(mmu, page->gfn);

    if (page->in_registers)
        good = page->sync == SYNC_LOOSE;
    good = good && (page->sync == SYNC_UNSYNC) == (page->written != 0);
    if (good && page->sync != SYNC_LOOSE && page->present_count) {
        uint64_t copy[PAGE_SIZE / sizeof(uint64_t)];
        const void *table = shadow_table(mmu, page);
        if (!table && mem_read_through(mmu->mem, gfn_gpa(page->gfn), copy, sizeof copy))
            table = copy;
        for (unsigned i = 0; table && i < page->entries; i++) {
            if ((page->spte[i] & SPTE_P) && !(page->written >> line_of(page, i) & 1) &&
                table_entry(table, page->entry_bytes, i) != page->raw[i])
                good = false;
        }
    }
    if (!good)
        err_note(ERR_INTERNAL,
                 "shadow page level=%u gva=0x%" PRIx64 " is not in step with its table",
                 page->level, page->gva);
    return good;
}

static bool check_page(struct mmu *mmu, const struct shadow_page *page, struct count *sum)
{
    unsigned present = 0;

    for (unsigned i = 0; i < page->entries; i++) {
        bool marked = page->present[i / 64] >> i % 64 & 1;
        if (marked != (page->spte[i] & SPTE_P)) {
            err_note(ERR_INTERNAL, "shadow page gva=0x%" PRIx64 ": bitmap and entry %u differ",
                     page->gva, i);
            return false;
        }
        if (!marked)
            continue;
        present++;
        if (page->spte[i] & SPTE_LK) {
            sum->links++;
            if (!check_link(mmu, page, i))
                return false;
        } else {
            sum->leaves += !(page->spte[i] & (SPTE_LG | SPTE_DV));
            if (!check_leaf(mmu, page, i))
                return false;
        }
    }
    if (present != page->present_count) {
        err_note(ERR_INTERNAL, "shadow page gva=0x%" PRIx64 ": %u entries counted, %u noted",
                 page->gva, present, page->present_count);
        return false;
    }
    for (const struct shadow_page *p = page->hash_next; p; p = p->hash_next) {
        if (p->gfn.v == page->gfn.v && p->gva == page->gva && p->role == page->role) {
            err_note(ERR_INTERNAL, "shadow page gva=0x%" PRIx64 " exists twice", page->gva);
            return false;
        }
    }
    return true;
}

/* All chains of the reverse map together hold each 4 KiB leaf once, on the chain of its frame. */
static bool check_rmap(struct mmu *mmu, uint64_t leaves)
{
    size_t count;
    const struct mem_slot *slots = mem_slots(mmu->mem, &count);
    uint64_t seen = 0;

    for (size_t s = 0; s < count; s++) {
        for (uint64_t p = 0; p < slots[s].pages; p++) {
            node_id head = mmu->rmap[s][p];
            uint64_t length;
            if (!head)
                continue;
            if (!check_chain(mmu, head, &length, leaves))
                return false;
            for (node_id n = head; n; n = node_page(mmu, n)->chain[node_index(n)].next) {
                uint64_t raw = node_page(mmu, n)->raw[node_index(n)];
                if ((raw & PTE_ADDR) >> PAGE_SHIFT != slots[s].base_gfn.v + p) {
                    err_note(ERR_INTERNAL,
                             "reverse map of frame 0x%" PRIx64 " holds another frame's entry",
                             slots[s].base_gfn.v + p);
                    return false;
                }
            }
            seen += length;
        }
    }
    if (seen != leaves) {
        err_note(ERR_INTERNAL, "reverse map holds %" PRIu64 " entries of %" PRIu64, seen, leaves);
        return false;
    }
    return true;
}

bool mmu_audit(struct mmu *mmu)
{
    struct count sum = {0};
    uint64_t pages = 0, parents = 0;

    for (struct shadow_page *p = mmu->newest; p; p = p->older) {
        uint64_t length;
        if (++pages > mmu->stats.shadow_pages)
            break;
        if (!check_page(mmu, p, &sum) || !check_sync(mmu, p) ||
            !check_chain(mmu, p->parents, &length, UINT32_MAX))
            return false;
        for (node_id n = p->parents; n; n = node_page(mmu, n)->chain[node_index(n)].next) {
            if (spte_child(node_page(mmu, n)->spte[node_index(n)]) != p) {
                err_note(ERR_INTERNAL,
                         "shadow page gva=0x%" PRIx64 " has a parent that links elsewhere", p->gva);
                return false;
            }
        }
        parents += length;
    }
    if (pages != mmu->stats.shadow_pages || pages > mmu->quota_pages) {
        err_note(ERR_INTERNAL,
                 "%" PRIu64 " shadow pages by age, %" PRIu64 " counted, quota %" PRIu64, pages,
                 mmu->stats.shadow_pages, mmu->quota_pages);
        return false;
    }
    if (parents != sum.links) {
        err_note(ERR_INTERNAL, "%" PRIu64 " links, %" PRIu64 " parents", sum.links, parents);
        return false;
    }
    return check_rmap(mmu, sum.leaves);
}
