/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host pages given back in runs: a system call for one page costs as much as for many, and a huge
 * page of the host's can only be freed as a whole.
 *
 * Pages are collected as runs of neighbours that grow at either end (a balloon counts downwards);
 * at the flush the runs are sorted and joined, and given back all by one call where the kernel lets
 * a process advise itself so (Linux 6.15): the host's TLBs are then flushed once, not for each run.
 *
 * Under pressure the last of them wait for frames that come in (spare.c): up to discard.keep pages.
 *
 * Invariants
 *   D1  a frame with FLAG_DISCARD lies in exactly one run and has no host page by its state
 *   D2  before a frame gets its host page again, its run is flushed: it reads as zeros then; who
 *       writes all of it takes it out of its run instead
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "mem/internal.h"

#define HUGE_PAGES 512
/* The process itself, without a descriptor: PIDFD_SELF_THREAD_GROUP of linux/pidfd.h. */
#define SELF (-10001)

void discard_add(struct guest_mem *mem, uint64_t index)
{
    struct discard *d = &mem->discard;

    if (mem->flag[index] & FLAG_DISCARD)
        return;
    mem->flag[index] |= FLAG_DISCARD;
    d->pages++;
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
        d->pages = 1;
    }
    d->run[d->runs++] = (struct discard_run){.first = index, .count = 1};
}

static int by_first(const void *a, const void *b)
{
    const struct discard_run *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

/* Runs for the host: joined, and cut where a slot ends. */
struct to_host {
    struct iovec iov[DISCARD_RUNS_MAX + MEM_SLOTS_MAX];
    unsigned count;
};

static void to_host_add_run(struct guest_mem *mem, struct to_host *t, uint64_t first,
                            uint64_t count)
{
    t->iov[t->count++] = (struct iovec){mem_index_ptr(mem, first), count << PAGE_SHIFT};
    for (uint64_t i = 0; i < count; i++)
        mem->flag[first + i] &= (uint8_t)~FLAG_DISCARD;
    mem->balloon.host_runs++;
    mem->balloon.host_huge += count >= HUGE_PAGES;
    mem->balloon.host_pages += count;
}

/* Neighbours in number are none in host memory where a new slot begins. */
static void to_host_add(struct guest_mem *mem, struct to_host *t, uint64_t first, uint64_t count)
{
    for (size_t s = 1; s < mem->slot_count; s++) {
        uint64_t border = mem->slot_first[s];
        if (first < border && first + count > border) {
            to_host_add_run(mem, t, first, border - first);
            count -= border - first;
            first = border;
        }
    }
    if (count)
        to_host_add_run(mem, t, first, count);
}

/* How many whole runs went by one call; a kernel that knows no such call is not asked again. */
static unsigned give_back_at_once(struct guest_mem *mem, const struct to_host *t)
{
    unsigned done = 0;

    if (t->count < 2 || mem->discard.one_by_one)
        return 0;
    ssize_t bytes = process_madvise(SELF, t->iov, t->count, mem->backing.give_back, 0);
    mem->discard.one_by_one = bytes < 0;
    while (done < t->count && bytes >= (ssize_t)t->iov[done].iov_len)
        bytes -= (ssize_t)t->iov[done++].iov_len;
    return done;
}

static void give_back(struct guest_mem *mem, const struct to_host *t)
{
    for (unsigned i = give_back_at_once(mem, t); i < t->count; i++)
        backing_give_back(mem, t->iov[i].iov_base, t->iov[i].iov_len);
}

void discard_flush(struct guest_mem *mem)
{
    struct discard *d = &mem->discard;
    struct to_host t = {.count = 0};
    uint64_t first = 0, count = 0;

    if (!d->runs)
        return;
    qsort(d->run, d->runs, sizeof d->run[0], by_first);
    for (unsigned r = 0; r < d->runs; r++) {
        if (d->run[r].first == first + count) {
            count += d->run[r].count;
            continue;
        }
        to_host_add(mem, &t, first, count);
        first = d->run[r].first;
        count = d->run[r].count;
    }
    to_host_add(mem, &t, first, count);
    d->runs = 0;
    d->pages = 0;
    give_back(mem, &t);
}

void discard_settle(struct guest_mem *mem)
{
    struct discard *d = &mem->discard;
    struct discard_run kept[DISCARD_RUNS_MAX];
    unsigned count = 0;
    uint64_t pages = 0;

    if (d->pages <= d->keep)
        return;
    while (d->runs && pages + d->run[d->runs - 1].count <= d->keep) {
        pages += d->run[--d->runs].count;
        kept[count++] = d->run[d->runs];
    }
    discard_flush(mem);
    while (count)
        d->run[d->runs++] = kept[--count];
    d->pages = pages;
}

bool discard_last(const struct guest_mem *mem, uint64_t *index)
{
    const struct discard *d = &mem->discard;

    if (!d->runs)
        return false;
    *index = d->run[d->runs - 1].first + d->run[d->runs - 1].count - 1;
    return true;
}

void discard_forget_last(struct guest_mem *mem)
{
    struct discard *d = &mem->discard;
    struct discard_run *last = &d->run[d->runs - 1];

    last->count--;
    mem->flag[last->first + last->count] &= (uint8_t)~FLAG_DISCARD;
    d->pages--;
    d->runs -= last->count == 0;
}

/* Without page n of it, there is one run less, the same, or one more. */
static void run_cut(struct discard *d, unsigned r, uint64_t n)
{
    struct discard_run *run = &d->run[r];
    struct discard_run rest = {.first = run->first + n + 1, .count = run->count - n - 1};

    run->count = n;
    if (!n && rest.count)
        *run = rest;
    else if (!n)
        memmove(run, run + 1, (--d->runs - r) * sizeof *run);
    else if (rest.count)
        d->run[d->runs++] = rest;
}

bool discard_take_back(struct guest_mem *mem, uint64_t index)
{
    struct discard *d = &mem->discard;
    unsigned r = 0;

    if (!(mem->flag[index] & FLAG_DISCARD) || d->runs == DISCARD_RUNS_MAX)
        return false;
    while (index - d->run[r].first >= d->run[r].count)
        r++;
    run_cut(d, r, index - d->run[r].first);
    mem->flag[index] &= (uint8_t)~FLAG_DISCARD;
    d->pages--;
    return true;
}

void mem_give_back_flush(struct guest_mem *mem)
{
    discard_flush(mem);
}
