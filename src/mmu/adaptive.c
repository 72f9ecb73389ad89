/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The adaptive strategy: each table is followed in the way that its own life suggests.
 *
 *              CALM_MIN flushes outlived unchanged
 *      loose ------------------------------------> step <-------------------+
 *        ^                                          |  leaf table written   |  all written lines
 *        |  FLOOD_MAX writes without a use          v                       |  were read again
 *        +---------------------------------------- unsync ------------------+
 *
 * A new table is loose: most die young, and hearing of their writes would cost more than comparing
 * what is used. A table that stays is followed: upper ones at once, leaf tables by noting which
 * lines of 64 bytes were written; those are read again when a leaf on them is used after a flush. A
 * table that nobody uses but somebody keeps writing is let go, whatever it has become; one without
 * parents is no table at all.
 */
#include "mmu/internal.h"

/* Writes are heard of from now on; what changed before is set right first. */
static void tighten(struct mmu *mmu, struct shadow_page *page)
{
    if (!shadow_table(mmu, page))
        return;
    follow_range(mmu, page, 0, page->entries * page->entry_bytes);
    follow_track(mmu, page);
}

static void used_again(struct mmu *mmu, struct shadow_page *page)
{
    page->writes = 0;
    if (page->sync == SYNC_LOOSE && !page->in_registers && ++page->calm >= mmu->calm_min)
        tighten(mmu, page);
}

/* Reads the entries of a written line again. */
static void sync_line(struct mmu *mmu, struct shadow_page *page, unsigned line)
{
    unsigned per_line = (1u << LINE_SHIFT) / page->entry_bytes;

    for (unsigned i = line * per_line; i < (line + 1) * per_line && i < page->entries; i++) {
        if (!(page->spte[i] & SPTE_P))
            continue;
        mmu->stats.sync_reads++;
        if (follow_entry(mmu, page, i)) {
            mmu->stats.sync_changes++;
            mmu->stats.interventions++;
        }
    }
    if (trace_wants(mmu, MMU_TRACE_table_sync))
        trace_page(mmu, MMU_TRACE_table_sync, page, gva_make(page->gva), line, line);
    page->written &= ~(UINT64_C(1) << line);
    if (!page->written) {
        page->sync = SYNC_STEP;
        mmu->stats.unsync_pages--;
    }
}

static bool is_current(struct mmu *mmu, struct shadow_page *page, unsigned index)
{
    if (page->sync == SYNC_LOOSE) {
        if (lazy_is_current(mmu, page, index))
            return true;
        page->calm = 0;
        follow_entry(mmu, page, index);
    } else if (page->sync == SYNC_UNSYNC && page->written >> line_of(page, index) & 1) {
        sync_line(mmu, page, line_of(page, index));
    }
    return page->spte[index] & SPTE_P;
}

/* The leaf is set right at once: the guest has changed it, and will use it. */
static void flush_address(struct mmu *mmu, gva_t gva)
{
    struct shadow_page *page = mmu->cur->page;

    while (page) {
        unsigned i = shadow_index(page, gva);
        uint64_t spte = page->spte[i];
        if (!(spte & SPTE_P))
            return;
        if (!(spte & SPTE_LK)) {
            is_current(mmu, page, i);
            page->fresh[i / 64] &= ~(UINT64_C(1) << i % 64); /* right now, not at a use */
            return;
        }
        page = spte_child(spte);
    }
}

static bool written(struct mmu *mmu, struct shadow_page *page, unsigned start, unsigned end)
{
    if (follow_is_no_table(mmu, page, start, end)) {
        shadow_zap(mmu, page, ZAP_UNSHADOW);
        return true;
    }
    if (++page->writes > mmu->flood_max) {
        mmu->stats.tables_loosened++;
        follow_loosen(mmu, page);
        return true;
    }
    if (page->level > 1) {
        follow_range(mmu, page, start, end);
        return true;
    }
    for (unsigned line = start >> LINE_SHIFT; line <= (end - 1) >> LINE_SHIFT; line++)
        page->written |= UINT64_C(1) << line;
    if (page->sync == SYNC_UNSYNC)
        return false;
    page->sync = SYNC_UNSYNC;
    mmu->stats.unsyncs++;
    mmu->stats.unsync_pages++;
    if (trace_wants(mmu, MMU_TRACE_table_unsync))
        trace_page(mmu, MMU_TRACE_table_unsync, page, gva_make(page->gva), start, end);
    return true;
}

static void filled(struct mmu *mmu, struct shadow_page *page, unsigned index)
{
    if (page->level == 1)
        follow_prefetch(mmu, page, index);
}

const struct sync_ops sync_adaptive = {
    .name = "adaptive",
    .used_again = used_again,
    .is_current = is_current,
    .flush_address = flush_address,
    .written = written,
    .filled = filled,
};
