/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shadow pages: found by key, linked, filled, dropped, reclaimed.
 *
 * Dropping a page never goes down to its children: they stay in the hash without that parent, to be
 * linked again or to grow old. So nothing here recurses, whatever shape the guest gives its tables.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mmu/internal.h"

#define QUOTA_MIN     512u
#define QUOTA_DIVISOR 50u /* of guest frames: 2 % */
#define FAULT_PAGES   LEVELS_MAX
#define RECLAIM_BATCH 16u
#define PLACES_MAX    16u
#define IDLE_MAX      32u /* times that frames grow older: from two seconds on */
#define ENTRIES_BYTES (ENTRIES_MAX * (2 * sizeof(uint64_t) + sizeof(struct chain_links)))

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
    void *p = mmap(NULL, mmu->id_max * ENTRIES_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    mmu->entries = p == MAP_FAILED ? NULL : p;
    if (!mmu->by_id || !mmu->entries)
        return err_errno(ERR_NOMEM, "shadow pages");
    /* A huge page would cost 2 MiB for a few tables. */
    (void)madvise(p, mmu->id_max * ENTRIES_BYTES, MADV_NOHUGEPAGE);
    return ERR_OK;
}

void shadow_fini(struct mmu *mmu)
{
    for (uint32_t i = 1; mmu->by_id && i < mmu->id_count; i++)
        free(mmu->by_id[i]);
    free(mmu->by_id);
    if (mmu->entries)
        munmap(mmu->entries, mmu->id_max * ENTRIES_BYTES);
}

/* What the entries of a page take; less than a page is not given back. */
static size_t entries_bytes(unsigned entries)
{
    size_t bytes = entries * (2 * sizeof(uint64_t) + sizeof(struct chain_links));

    return (bytes + PAGE_SIZE - 1) & PAGE_MASK;
}

static void entries_hold(struct mmu *mmu, struct shadow_page *page, unsigned entries)
{
    page->entries = (uint16_t)entries;
    page->spte = (uint64_t *)(mmu->entries + page->id * ENTRIES_BYTES);
    page->raw = page->spte + entries;
    page->chain = (struct chain_links *)(page->raw + entries);
    page->is_held = true;
    mmu->stats.shadow_bytes += entries_bytes(entries);
    mem_note_beside(mmu->mem, entries_bytes(entries));
}

/* They read as zeros when they are held again. */
static void entries_give_back(struct mmu *mmu, struct shadow_page *page)
{
    size_t bytes = entries_bytes(page->entries);

    if (!page->is_held)
        return;
    (void)madvise(page->spte, bytes, MADV_DONTNEED);
    page->is_held = false;
    mmu->stats.shadow_bytes -= bytes;
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

/* One not in use, with room for `entries`: if possible one that has it already. NULL: no memory. */
static struct shadow_page *take_spare(struct mmu *mmu, unsigned entries)
{
    struct shadow_page **best = &mmu->spare;

    for (struct shadow_page **p = &mmu->spare; *p; p = &(*p)->hash_next) {
        if ((*p)->is_held && (*p)->entries == entries) {
            best = p;
            break;
        }
    }
    struct shadow_page *page = *best;
    if (page)
        *best = page->hash_next;
    return page;
}

static struct shadow_page *take_block(struct mmu *mmu, unsigned entries)
{
    struct shadow_page *page = take_spare(mmu, entries);

    if (!page) {
        if (mmu->id_count == mmu->id_max)
            return NULL;
        page = aligned_alloc(_Alignof(struct shadow_page), sizeof *page);
        if (!page)
            return NULL;
        memset(page, 0, sizeof *page);
        page->id = mmu->id_count++;
        mmu->by_id[page->id] = page;
        mmu->stats.shadow_bytes += sizeof *page;
    }
    if (page->entries != entries)
        entries_give_back(mmu, page);
    if (!page->is_held)
        entries_hold(mmu, page, entries);
    return page;
}

static void reset_block(struct shadow_page *page)
{
    page->referenced = false;
    page->idle = 0;
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
        [ZAP_QUOTA] = &mmu->stats.zaps_quota,       [ZAP_PLACES] = &mmu->stats.zaps_places,
        [ZAP_UNSHADOW] = &mmu->stats.zaps_unshadow, [ZAP_IDLE] = &mmu->stats.zaps_idle,
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

void shadow_grow_older(struct mmu *mmu)
{
    for (struct shadow_page *page = mmu->newest, *older; page; page = older) {
        older = page->older;
        if (page->referenced || page == mmu->cur->page)
            page->idle = 0;
        else
            page->idle++;
        page->referenced = false;
        if (page->idle < IDLE_MAX)
            continue;
        shadow_zap(mmu, page, ZAP_IDLE);
        entries_give_back(mmu, page);
    }
}
