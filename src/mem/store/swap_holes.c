/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Space of the file that nobody needs goes back to the file system as holes. A page that came back
 * often leaves again soon, and writing over what is there costs a third of writing into a hole:
 * so a cluster is only punched when it has been quiet for two seconds, when writing fails (the disk
 * is full), or when somebody asks. A hole of a few pages takes the file system as long as one of
 * many: it waits for half a minute, by when its neighbours may have come back, too.
 */
#include <errno.h>

#include "mem/store/swap_private.h"

static void punch_done(struct aio_request *request, int result)
{
    struct swap_op *op = request->arg;
    struct swap *sw = op->sw;

    op->is_busy = false;
    sw->punches_in_flight--;
    if (!result)
        return;
    for (unsigned i = 0; i < op->count; i++)
        swap_note_stale(sw, op->first + i);
    if (result == -EOPNOTSUPP || result == -ENOSYS) {
        sw->cannot_punch = true; /* the file does not shrink; nothing else changes */
        return;
    }
    sw->errors++; /* no trouble for the guest */
    sw->punch_retry_ns = host_ns() + SWAP_RETRY_NS;
}

/* Remains of nobody, from slot on: the first one; slots: none. */
static uint64_t next_stale(const struct swap *sw, uint64_t slot)
{
    uint64_t word = slot / 64, bits;

    if (slot >= sw->slots.slots)
        return sw->slots.slots;
    bits = sw->slots.stale[word] & ~sw->slots.used[word] & ~UINT64_C(0) << slot % 64;
    while (!bits && ++word < sw->slots.words)
        bits = sw->slots.stale[word] & ~sw->slots.used[word];
    return bits ? word * 64 + (unsigned)__builtin_ctzll(bits) : sw->slots.slots;
}

static bool is_stale(const struct swap *sw, uint64_t slot)
{
    return slot < sw->slots.slots && swap_bit(sw->slots.stale, slot) &&
           !swap_bit(sw->slots.used, slot);
}

static bool is_due(const struct swap *sw, uint64_t slot, uint32_t quiet_ticks)
{
    return sw->hunts_all || sw->tick - sw->slots.touched[slot / 64] >= quiet_ticks;
}

/* How long its cluster must have been quiet, by the size of the hole that could be there. */
static uint32_t quiet_for(const struct swap *sw, uint64_t first)
{
    uint64_t end = first + 1;

    while (end - first < SWAP_HOLE_PAGES && is_stale(sw, end))
        end++;
    return end - first < SWAP_HOLE_PAGES ? SWAP_LONG_QUIET_TICKS : SWAP_QUIET_TICKS;
}

/* The first slot from here on that an operation in flight covers; slots: none. */
static uint64_t next_in_flight(const struct swap *sw, uint64_t slot)
{
    uint64_t nearest = sw->slots.slots;

    for (unsigned i = 0; i < SWAP_OPS; i++) {
        const struct swap_op *op = &sw->op[i];
        if (swap_op_overlaps(op, slot, 1))
            return slot;
        if (op->is_busy && op->first > slot && op->first < nearest)
            nearest = op->first;
    }
    return nearest;
}

/* One hole from the cursor on; false: none is left, or enough are on their way. */
static bool punch_next_run(struct swap *sw)
{
    struct swap_op *op;
    uint64_t first, end, limit;
    uint32_t quiet;

    if (sw->punches_in_flight >= SWAP_PUNCH_OPS || !(op = swap_op_get(sw)))
        return false;
    first = next_stale(sw, sw->hole_cursor);
    sw->hole_cursor = first;
    if (first >= sw->slots.slots)
        return false;
    limit = next_in_flight(sw, first);
    quiet = quiet_for(sw, first);
    if (limit == first || !is_due(sw, first, quiet)) {
        sw->freed_count++; /* for the next hunt */
        sw->hole_cursor =
            limit == first || quiet > SWAP_QUIET_TICKS ? first + 1 : (first / 64 + 1) * 64;
        return true;
    }
    for (end = first; end < limit && is_stale(sw, end) && is_due(sw, end, quiet); end++)
        swap_bit_clear(sw->slots.stale, end);
    sw->hole_cursor = end;
    op->first = (uint32_t)first;
    op->count = (uint32_t)(end - first);
    op->request.iov_count = 0;
    op->request.done = punch_done;
    sw->punches_in_flight++;
    swap_op_submit(op, AIO_PUNCH);
    return true;
}

static void hunt_begin(struct swap *sw, uint64_t now, bool all)
{
    sw->hole_cursor = 0;
    sw->hunts_all = all;
    sw->hunt_ns = now;
    sw->freed_count = 0;
}

void swap_holes_work(struct swap *sw, uint64_t now)
{
    bool is_full = sw->failed[SWAP_WRITING];

    if (sw->cannot_punch || now < sw->punch_retry_ns)
        return;
    if (is_full && sw->freed_count && !sw->hunts_all)
        hunt_begin(sw, now, is_full);
    else if (sw->hole_cursor >= sw->slots.slots && sw->freed_count &&
             (is_full || now - sw->hunt_ns >= SWAP_HUNT_NS))
        hunt_begin(sw, now, is_full);
    while (punch_next_run(sw))
        ;
}

void swap_punch(struct swap *sw)
{
    hunt_begin(sw, host_ns(), true);
    swap_work(sw, SWAP_WHEN_DUE);
}
