/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shadow pages: found by key, linked, filled, dropped, reclaimed.
 *
 * Dropping a page never goes down to its children: they stay in the hash without that parent, to be
 * linked again or to grow old. So nothing here recurses, whatever shape the guest gives its tables.
 */
#include <stdlib.h>
#include <string.h>

#include "mmu/internal.h"

#define QUOTA_MIN     512u
#define QUOTA_DIVISOR 50u /* of guest frames: 2 % */
#define FAULT_PAGES   LEVELS_MAX
#define RECLAIM_BATCH 16u
#define PLACES_MAX    16u

enum err shadow_init(struct mmu *mmu)
{
    uint64_t quota = (mem_size_bytes(mmu->mem) >> PAGE_SHIFT) / QUOTA_DIVISOR;
    const uint64_t id_limit = UINT64_C(1) << (32 - NODE_INDEX_BITS);

    if (quota < QUOTA_MIN)
        quota = QUOTA_MIN;
    if (quota > id_limit - 1)
        quota = id_limit - 1;
    mmu->quota_pages = quota;
    mmu->id_max = (uint32_t)quota + 1; /* id 0 is nobody's: node 0 means none */
    mmu->id_count = 1;
    mmu->by_id = calloc(mmu->id_max, sizeof *mmu->by_id);
    if (!mmu->by_id)
        return err_errno(ERR_NOMEM, "shadow pages");
    return ERR_OK;
}

void shadow_fini(struct mmu *mmu)
{
    for (uint32_t i = 1; mmu->by_id && i < mmu->id_count; i++)
        free(mmu->by_id[i]);
    free(mmu->by_id);
}

static size_t block_bytes(unsigned entries)
{
    size_t bytes =
        sizeof(struct shadow_page) + entries * (2 * sizeof(uint64_t) + sizeof(struct chain_links));
    return (bytes + 63) & ~(size_t)63;
}

static struct shadow_page **bucket_of(struct mmu *mmu, gfn_t gfn)
{
    return &mmu->hash[(gfn.v * UINT64_C(0x9e3779b97f4a7c15)) >> 52];
}

/* --- age: newest .. oldest, with a second chance for the referenced --- */

static void age_insert(struct mmu *mmu, struct shadow_page *page)
{
    page->older = mmu->newest;
    page->newer = NULL;
    if (mmu->newest)
        mmu->newest->newer = page;
    else
        mmu->oldest = page;
    mmu->newest = page;
}

static void age_remove(struct mmu *mmu, struct shadow_page *page)
{
    if (page->newer)
        page->newer->older = page->older;
    else
        mmu->newest = page->older;
    if (page->older)
        page->older->newer = page->newer;
    else
        mmu->oldest = page->newer;
}

void shadow_make_room(struct mmu *mmu)
{
    if (mmu->stats.shadow_pages + FAULT_PAGES <= mmu->quota_pages)
        return;
    /* Two rounds: the first may only take away second chances. */
    uint64_t looks = 2 * mmu->stats.shadow_pages;
    unsigned freed = 0;
    while (freed < RECLAIM_BATCH && looks-- > 0) {
        struct shadow_page *page = mmu->oldest;
        if (page->referenced || page == mmu->cur->page) {
            page->referenced = false;
            age_remove(mmu, page);
            age_insert(mmu, page);
            continue;
        }
        shadow_zap(mmu, page, ZAP_QUOTA);
        freed++;
    }
    invariant(mmu->stats.shadow_pages + FAULT_PAGES <= mmu->quota_pages);
}

/* --- making and finding --- */

/* A block big enough for `entries`, reusing spare ones of the same size. NULL: no memory. */
static struct shadow_page *take_block(struct mmu *mmu, unsigned entries)
{
    for (struct shadow_page **p = &mmu->spare; *p; p = &(*p)->hash_next) {
        struct shadow_page *page = *p;
        if (page->entries == entries) {
            *p = page->hash_next;
            return page;
        }
    }
    /* All spare blocks have the wrong size: give one back for its id, or take a new id. */
    uint32_t id;
    if (mmu->id_count < mmu->id_max) {
        id = mmu->id_count;
    } else if (mmu->spare) {
        struct shadow_page *other = mmu->spare;
        id = other->id;
        mmu->spare = other->hash_next;
        mmu->stats.shadow_bytes -= block_bytes(other->entries);
        mmu->by_id[id] = NULL;
        free(other);
    } else {
        return NULL;
    }
    struct shadow_page *page = aligned_alloc(64, block_bytes(entries));
    if (!page)
        return NULL; /* an id without block is skipped by everybody */
    if (id == mmu->id_count)
        mmu->id_count++;
    memset(page, 0, sizeof *page);
    page->id = id;
    page->entries = (uint16_t)entries;
    page->spte = (uint64_t *)(page + 1);
    page->raw = page->spte + entries;
    page->chain = (struct chain_links *)(page->raw + entries);
    mmu->by_id[id] = page;
    mmu->stats.shadow_bytes += block_bytes(entries);
    mem_note_beside(mmu->mem, block_bytes(entries));
    return page;
}

static void reset_block(struct shadow_page *page)
{
    page->referenced = false;
    page->is_root = false;
    page->present_count = 0;
    page->parents = 0;
    page->linked = 0;
    page->table = NULL;
    page->sync = SYNC_LOOSE;
    page->calm = 0;
    page->writes = 0;
    page->written = 0;
    memset(page->prefetched, 0, sizeof page->prefetched);
    memset(page->present, 0, sizeof page->present);
    memset(page->spte, 0, page->entries * sizeof *page->spte);
}

/*
 * Frames of tables come back as tables of other processes, elsewhere, and what they were before
 * lies in the way. So a frame is a table of one level at PLACES_MAX places at most; the one to go
 * is the oldest, if possible one that was not used for a while. No table on the way down from the
 * root is of the level below it.
 */
static void limit_places(struct mmu *mmu, gfn_t gfn, unsigned level)
{
    struct shadow_page *oldest = NULL;
    unsigned places = 0;

    for (struct shadow_page *p = *bucket_of(mmu, gfn); p; p = p->hash_next) {
        if (p->gfn.v != gfn.v || p->level != level || p->is_root)
            continue;
        places++;
        if (!oldest || !p->referenced || oldest->referenced)
            oldest = p;
    }
    if (places >= PLACES_MAX)
        shadow_zap(mmu, oldest, ZAP_PLACES);
}

struct shadow_page *shadow_get(struct mmu *mmu, gfn_t gfn, uint64_t gva, uint32_t role)
{
    struct shadow_page **bucket = bucket_of(mmu, gfn);

    for (struct shadow_page *p = *bucket; p; p = p->hash_next) {
        if (p->gfn.v == gfn.v && p->gva == gva && p->role == role)
            return p;
    }
    const struct format *f = mmu->pg.format;
    unsigned level = role >> ROLE_LEVEL_SHIFT & 7;
    limit_places(mmu, gfn, level);
    bool in_registers = f->root_in_registers && level == f->top;
    if (!in_registers && !mem_find_slot(mmu->mem, gfn))
        return NULL;
    if (mmu->stats.shadow_pages >= mmu->quota_pages)
        return NULL;
    struct shadow_page *page = take_block(mmu, 1u << f->level[level].bits);
    if (!page)
        return NULL;
    reset_block(page);
    page->gfn = gfn;
    page->gva = gva;
    page->role = role;
    page->level = (uint8_t)level;
    page->shift = f->level[level].shift;
    page->entry_bytes = f->entry_bytes;
    page->in_registers = in_registers;
    page->fresh_since = mmu->now;
    page->hash_next = *bucket;
    *bucket = page;
    age_insert(mmu, page);
    if (++mmu->stats.shadow_pages > mmu->stats.shadow_pages_peak)
        mmu->stats.shadow_pages_peak = mmu->stats.shadow_pages;
    if (mmu->sync->made)
        mmu->sync->made(mmu, page);
    return page;
}

const void *shadow_table(struct mmu *mmu, struct shadow_page *page)
{
    hva_t hva;
    bool writable;

    if (page->in_registers)
        return mmu->pg.regs;
    if (likely(page->table != NULL))
        return page->table;
    if (mem_peek(mmu->mem, page->gfn, MEM_FOR_READ, &hva, &writable) == MEM_OK)
        page->table = hva_ptr(hva);
    return page->table;
}

struct shadow_page *shadow_of_frame(struct mmu *mmu, gfn_t gfn)
{
    return *bucket_of(mmu, gfn);
}

void shadow_forget_table(struct mmu *mmu, gfn_t gfn)
{
    for (struct shadow_page *p = *bucket_of(mmu, gfn); p; p = p->hash_next) {
        if (p->gfn.v == gfn.v)
            p->table = NULL;
    }
}

/* --- entries --- */

gpa_t shadow_leaf_gpa(const struct shadow_page *page, unsigned index)
{
    if (page->spte[index] & (SPTE_LG | SPTE_DV))
        return gpa_make(page->spte[index] & SPTE_ADDR);
    return gpa_make(page->raw[index] & PTE_ADDR);
}

static void mark_present(struct shadow_page *page, unsigned index, uint64_t raw, uint64_t spte)
{
    page->spte[index] = spte;
    page->raw[index] = raw;
    page->present[index / 64] |= UINT64_C(1) << index % 64;
    page->fresh[index / 64] |= UINT64_C(1) << index % 64;
    page->prefetched[index / 64] &= ~(UINT64_C(1) << index % 64);
    page->present_count++;
}

void shadow_set_leaf(struct mmu *mmu, struct shadow_page *page, unsigned index, uint64_t raw,
                     uint64_t spte)
{
    if (page->spte[index] & SPTE_P)
        shadow_drop(mmu, page, index);
    mark_present(page, index, raw, spte);
    if (!(spte & (SPTE_LG | SPTE_DV)))
        chain_add(mmu, rmap_head(mmu, gpa_gfn(gpa_make(raw & PTE_ADDR))), page, index);
}

void shadow_set_link(struct mmu *mmu, struct shadow_page *page, unsigned index, uint64_t raw,
                     struct shadow_page *child)
{
    if (page->spte[index] & SPTE_P)
        shadow_drop(mmu, page, index);
    mark_present(page, index, raw, (uint64_t)(uintptr_t)child | SPTE_LK | SPTE_P);
    chain_add(mmu, &child->parents, page, index);
    /* What the child holds was right for others; here it must be proved anew (S7). */
    child->linked = ++mmu->now;
    if (child->present_count == 0)
        child->fresh_since = child->linked;
}

void shadow_drop(struct mmu *mmu, struct shadow_page *page, unsigned index)
{
    uint64_t spte = page->spte[index];

    if (spte & SPTE_LK)
        chain_del(mmu, &spte_child(spte)->parents, page, index);
    else if (!(spte & (SPTE_LG | SPTE_DV)))
        chain_del(mmu, rmap_head(mmu, gpa_gfn(gpa_make(page->raw[index] & PTE_ADDR))), page, index);
    page->spte[index] = 0;
    page->present[index / 64] &= ~(UINT64_C(1) << index % 64);
    page->present_count--;
}

void shadow_zap(struct mmu *mmu, struct shadow_page *page, enum zap_reason why)
{
    uint64_t *const counts[] = {
        [ZAP_QUOTA] = &mmu->stats.zaps_quota,
        [ZAP_PLACES] = &mmu->stats.zaps_places,
        [ZAP_UNSHADOW] = &mmu->stats.zaps_unshadow,
        [ZAP_RESET] = &mmu->stats.zaps_reset,
    };

    ++*counts[why];
    if (trace_wants(mmu, MMU_TRACE_zap))
        trace_page(mmu, MMU_TRACE_zap, page, gva_make(page->gva), page->present_count, 0);
    for (unsigned w = 0; page->present_count && w < ENTRIES_MAX / 64; w++) {
        while (page->present[w])
            shadow_drop(mmu, page, w * 64 + (unsigned)__builtin_ctzll(page->present[w]));
    }
    while (page->parents)
        shadow_drop(mmu, node_page(mmu, page->parents), node_index(page->parents));
    if (page->is_root)
        root_forget_page(mmu, page);
    follow_loosen(mmu, page);

    struct shadow_page **p = bucket_of(mmu, page->gfn);
    while (*p != page)
        p = &(*p)->hash_next;
    *p = page->hash_next;
    age_remove(mmu, page);
    page->hash_next = mmu->spare;
    mmu->spare = page;
    mmu->stats.shadow_pages--;
    mmu->stats.shadow_pages_zapped++;
}

void shadow_zap_all(struct mmu *mmu)
{
    while (mmu->newest)
        shadow_zap(mmu, mmu->newest, ZAP_RESET);
}
