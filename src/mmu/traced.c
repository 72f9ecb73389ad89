/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trace strategy: every frame that holds a table with a shadow page is tracked, and each write
 * to it is followed at once. The shadow is always in step, so no flush concerns it. A table that is
 * written without being used stops being one.
 */
#include "mmu/internal.h"

static void made(struct mmu *mmu, struct shadow_page *page)
{
    if (!page->in_registers)
        follow_track(mmu, page);
}

static bool is_current(struct mmu *mmu, struct shadow_page *page, unsigned index)
{
    return page->sync == SYNC_STEP || lazy_is_current(mmu, page, index);
}

static void flush_address(struct mmu *mmu, gva_t gva)
{
    (void)mmu;
    (void)gva;
}

static void used_again(struct mmu *mmu, struct shadow_page *page)
{
    (void)mmu;
    page->writes = 0;
}

static bool written(struct mmu *mmu, struct shadow_page *page, unsigned start, unsigned end)
{
    /* A fork writes each entry once; who writes more often without any use writes no table. */
    bool is_flood = ++page->writes > page->entries && page != mmu->cur->page;

    if (is_flood || follow_is_no_table(mmu, page, start, end))
        shadow_zap(mmu, page, ZAP_UNSHADOW);
    else
        follow_range(mmu, page, start, end);
    return true;
}

const struct sync_ops sync_trace = {
    .name = "trace",
    .made = made,
    .used_again = used_again,
    .is_current = is_current,
    .flush_address = flush_address,
    .written = written,
};
