/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that the guest gives back: its balloon, and what it reports as free. The guest's frame
 * numbers are taken from its word but never trusted: what is not RAM or is given twice is counted
 * and ignored; a page in use that the guest gives away reads as zeros from then on, which is its
 * own loss.
 *
 * Neighbours are collected and given to the host in runs, in whichever direction they come;
 * mem_give_back_flush gives the rest. Called between instructions only (M5).
 */
#ifndef UMBRA_MEM_BALLOON_H
#define UMBRA_MEM_BALLOON_H

#include "base/stats.h"
#include "mem/mem.h"

/* clang-format off */
#define MEM_BALLOON_COUNTERS(X)                                                                    \
    X(inflated,        "pages that went into the balloon")                                         \
    X(deflated,        "pages that came out of it")                                                \
    X(touched,         "ballooned pages that the guest wrote to all the same")                     \
    X(reported,        "pages reported free")                                                      \
    X(hinted,          "pages hinted free")                                                        \
    X(ignored,         "frame numbers of no RAM, of pinned pages, or given twice")                 \
    X(host_runs,       "runs of neighbours given to the host")                                     \
    X(host_huge,       "of these, 2 MiB or more")                                                  \
    X(host_pages,      "pages in these runs")
/* clang-format on */

struct mem_balloon_stats {
    MEM_BALLOON_COUNTERS(STATS_FIELD)
};

/* False: ignored (and counted). */
bool mem_balloon_inflate(struct guest_mem *mem, gfn_t gfn);
bool mem_balloon_deflate(struct guest_mem *mem, gfn_t gfn);

/* The same for many, whose translations are dropped together. Answer how many moved. */
uint64_t mem_balloon_inflate_many(struct guest_mem *mem, const gfn_t *gfns, size_t count);
uint64_t mem_balloon_deflate_many(struct guest_mem *mem, const gfn_t *gfns, size_t count);

enum mem_free_word { MEM_FREE_REPORTED, MEM_FREE_HINTED };

/* Becomes absent. Pages outside RAM are ignored. */
void mem_report_free(struct guest_mem *mem, gfn_t first, uint64_t pages, enum mem_free_word word);

/* Every ballooned page becomes absent: the balloon's device was reset. */
void mem_balloon_reset(struct guest_mem *mem);

void mem_give_back_flush(struct guest_mem *mem);

const struct mem_balloon_stats *mem_balloon_stats(const struct guest_mem *mem);

#endif
