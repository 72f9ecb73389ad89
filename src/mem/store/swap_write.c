/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From staging to the file. Staged pages are written in rounds: a round is what waits at
 * its beginning, in the order of the file, as runs of up to a cluster; what comes meanwhile waits
 * for the next round. So the disk sees ascending offsets and runs as long as there are, and each
 * page waits for two rounds at most.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/invariant.h"
#include "mem/store/swap_private.h"

struct swap_op *swap_op_get(struct swap *sw)
{
    for (unsigned i = 0; i < SWAP_OPS; i++)
        if (!sw->op[i].is_busy)
            return &sw->op[i];
    return NULL;
}

bool swap_op_overlaps(const struct swap_op *op, uint64_t first, uint64_t count)
{
    return op->is_busy && first < (uint64_t)op->first + op->count && op->first < first + count;
}

/* S1 */
static bool is_in_flight(const struct swap *sw, uint32_t slot)
{
    for (unsigned i = 0; i < SWAP_OPS; i++)
        if (swap_op_overlaps(&sw->op[i], slot, 1))
            return true;
    return false;
}

void swap_op_submit(struct swap_op *op, enum aio_op what)
{
    struct swap *sw = op->sw;

    op->is_busy = true;
    op->request.op = what;
    op->request.fd = sw->file.fd;
    op->request.iov = op->iov;
    op->request.offset = (uint64_t)op->first * PAGE_SIZE;
    op->request.bytes = (uint64_t)op->count * PAGE_SIZE;
    op->request.arg = op;
    aio_submit(sw->aio, &op->request);
}

/* ---- writes ---- */

static void wait_again(struct swap *sw, uint16_t entry)
{
    sw->entry[entry].state = ENTRY_WAITING;
    if (!sw->waiting_count++)
        sw->oldest_ns = host_ns();
}

static void write_done(struct aio_request *request, int result)
{
    struct swap_op *op = request->arg;
    struct swap *sw = op->sw;

    op->is_busy = false;
    sw->writes_in_flight--;
    sw->writes_ended++;
    for (unsigned i = 0; i < op->count; i++) {
        uint16_t entry = op->entry[i];
        uint32_t slot = op->first + i;
        if (sw->entry[entry].state == ENTRY_ORPHAN || result) {
            /* Perhaps used again, then by a page that is staged: S4 either way. */
            swap_note_stale(sw, slot);
            if (sw->entry[entry].state == ENTRY_ORPHAN)
                swap_free_entry(sw, entry);
            else
                wait_again(sw, entry);
            continue;
        }
        swap_bit_clear(sw->slots.stale, slot);
        sw->staged[slot] = SWAP_NO_ENTRY;
        sw->staged_count--;
        swap_free_entry(sw, entry);
    }
    if (result) {
        sw->round_count = sw->round_next = 0; /* the next one begins with these again */
        sw->retry_ns = host_ns() + SWAP_RETRY_NS;
        swap_note_failure(sw, SWAP_WRITING, -result);
        return;
    }
    sw->write_bytes += (uint64_t)op->count * PAGE_SIZE;
    sw->failed[SWAP_WRITING] = false;
    sw->retry_ns = 0; /* what failed before this one may go at once */
    swap_file_forget(&sw->file, op->request.offset, op->request.bytes);
}

static int by_slot(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void round_begin(struct swap *sw)
{
    sw->round_count = sw->round_next = 0;
    for (uint16_t entry = 1; entry <= SWAP_STAGING_PAGES; entry++)
        if (sw->entry[entry].state == ENTRY_WAITING)
            sw->round[sw->round_count++] = (uint64_t)sw->entry[entry].slot << 16 | entry;
    qsort(sw->round, sw->round_count, sizeof(sw->round[0]), by_slot);
}

/* The next of the round that still waits; 0: the round is over. */
static uint16_t round_peek(struct swap *sw, uint32_t *slot)
{
    while (sw->round_next < sw->round_count) {
        uint64_t next = sw->round[sw->round_next];
        uint16_t entry = (uint16_t)next;
        *slot = (uint32_t)(next >> 16);
        if (sw->entry[entry].state == ENTRY_WAITING && sw->entry[entry].slot == *slot)
            return entry;
        sw->round_next++; /* freed since */
    }
    return SWAP_NO_ENTRY;
}

static bool write_next_run(struct swap *sw)
{
    struct swap_op *op = swap_op_get(sw);
    uint16_t entry;
    uint32_t slot = SWAP_NO_SLOT;

    if (!op)
        return false;
    op->count = 0;
    while (op->count < SWAP_CLUSTER_PAGES && (entry = round_peek(sw, &slot))) {
        if (op->count && slot != op->first + op->count)
            break;
        if (is_in_flight(sw, slot)) { /* punched, or written for its life before */
            if (op->count)
                break;
            sw->round_next++; /* comes with the next round */
            continue;
        }
        if (!op->count)
            op->first = slot;
        op->entry[op->count] = entry;
        op->iov[op->count] = (struct iovec){swap_entry_page(sw, entry), PAGE_SIZE};
        op->count++;
        sw->round_next++;
        sw->entry[entry].state = ENTRY_WRITING;
        sw->waiting_count--;
    }
    if (!op->count)
        return false;
    op->request.iov_count = op->count;
    op->request.done = write_done;
    sw->writes_in_flight++;
    swap_op_submit(op, AIO_WRITE);
    return true;
}

static void write_due(struct swap *sw, enum swap_flush flush, uint64_t now)
{
    uint32_t slot;

    if (now < sw->retry_ns)
        return;
    for (;;) {
        if (!round_peek(sw, &slot)) {
            bool due = flush == SWAP_ALL_NOW || sw->waiting_count >= SWAP_DUE_PAGES ||
                       now - sw->oldest_ns >= SWAP_LATE_NS;
            if (!sw->waiting_count || !due)
                return;
            round_begin(sw);
        }
        if (!write_next_run(sw))
            return;
    }
}

/* ---- all ---- */

/* The memory of staging that a burst filled is the host's again. */
static void rest(struct swap *sw, uint64_t now)
{
    bool is_empty = !sw->staged_count && !sw->writes_in_flight;

    if (!is_empty || sw->touched <= SWAP_REST_PAGES || now - sw->rested_ns < SWAP_REST_NS)
        return;
    (void)madvise(sw->memory, sw->touched * PAGE_SIZE, MADV_DONTNEED);
    sw->touched = 0;
    sw->rested_ns = now;
}

void swap_work(struct swap *sw, enum swap_flush flush)
{
    uint64_t now;

    aio_reap(sw->aio);
    now = host_ns();
    sw->tick = (uint32_t)(now >> SWAP_TICK_SHIFT);
    /* On a full disk holes make room for the writes. */
    if (sw->failed[SWAP_WRITING])
        swap_holes_work(sw, now);
    write_due(sw, flush, now);
    if (!sw->failed[SWAP_WRITING])
        swap_holes_work(sw, now);
    rest(sw, now);
    aio_flush(sw->aio);
}

void swap_wait_room(struct swap *sw)
{
    uint64_t ended = sw->writes_ended;

    swap_work(sw, SWAP_ALL_NOW);
    while (sw->writes_ended == ended && sw->writes_in_flight) {
        aio_wait_some(sw->aio);
        swap_work(sw, SWAP_WHEN_DUE);
    }
}

bool swap_ops_check(const struct swap *sw)
{
    for (unsigned i = 0; i < SWAP_OPS; i++) {
        const struct swap_op *op = &sw->op[i];
        for (unsigned k = 0; op->is_busy && k < i; k++) {
            if (swap_op_overlaps(&sw->op[k], op->first, op->count)) {
                err_note(ERR_INTERNAL, "swap: two operations in flight on slot %u", op->first);
                return false;
            }
        }
    }
    return true;
}
