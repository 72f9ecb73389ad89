/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host pages given back in runs: a system call for one page costs as much as for many, and a huge
 * page of the host's can only be freed as a whole.
 *
 * Pages are collected as runs of neighbours that grow at either end (a balloon counts downwards);
 * at the flush the runs are sorted and joined.
 *
 * Invariants
 *   D1  a frame with FLAG_DISCARD lies in exactly one run and has no host page by its state
 *   D2  before a frame gets its host page again, its run is flushed: it reads as zeros then
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "mem/internal.h"

#define HUGE_PAGES 512

void discard_add(struct guest_mem *mem, uint64_t index)
{
    struct discard *d = &mem->discard;

    if (mem->flag[index] & FLAG_DISCARD)
        return;
    mem->flag[index] |= FLAG_DISCARD;
    if (d->runs) {
        struct discard_run *last = &d->run[d->runs - 1];
        if (index == last->first + last->count) {
            last->count++;
            return;
        }
        if (index + 1 == last->first) {
            last->first--;
            last->count++;
            return;
        }
    }
    if (d->runs == DISCARD_RUNS_MAX) {
        mem->flag[index] &= (uint8_t)~FLAG_DISCARD;
        discard_flush(mem);
        mem->flag[index] |= FLAG_DISCARD;
    }
    d->run[d->runs++] = (struct discard_run){.first = index, .count = 1};
}

static int by_first(const void *a, const void *b)
{
    const struct discard_run *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

static void give_back_run(struct guest_mem *mem, uint64_t first, uint64_t count)
{
    /* Private anonymous memory reads as zeros after MADV_DONTNEED. */
    int rc = madvise(mem_index_ptr(mem, first), count << PAGE_SHIFT, MADV_DONTNEED);

    invariant(rc == 0);
    for (uint64_t i = 0; i < count; i++)
        mem->flag[first + i] &= (uint8_t)~FLAG_DISCARD;
    mem->balloon.host_runs++;
    mem->balloon.host_huge += count >= HUGE_PAGES;
    mem->balloon.host_pages += count;
}

/* Neighbours in number are none in host memory where a new slot begins. */
static void give_back(struct guest_mem *mem, uint64_t first, uint64_t count)
{
    for (size_t s = 1; s < mem->slot_count; s++) {
        uint64_t border = mem->slot_first[s];
        if (first < border && first + count > border) {
            give_back_run(mem, first, border - first);
            count -= border - first;
            first = border;
        }
    }
    if (count)
        give_back_run(mem, first, count);
}

void discard_flush(struct guest_mem *mem)
{
    struct discard *d = &mem->discard;
    uint64_t first = 0, count = 0;

    qsort(d->run, d->runs, sizeof d->run[0], by_first);
    for (unsigned r = 0; r < d->runs; r++) {
        if (d->run[r].first == first + count) {
            count += d->run[r].count;
            continue;
        }
        give_back(mem, first, count);
        first = d->run[r].first;
        count = d->run[r].count;
    }
    give_back(mem, first, count);
    d->runs = 0;
}

void mem_give_back_flush(struct guest_mem *mem)
{
    discard_flush(mem);
}
