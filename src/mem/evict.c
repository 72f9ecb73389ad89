/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames leave host memory, up to EVICT_BATCH at a time: candidates that have somewhere to go are
 * chosen, all translations to them are dropped at once, then each goes to the lightest place that
 * takes it.
 *
 *   image -> zero -> shared -> compressed -> swap file, or smart-paging file -> stays
 *
 * Pages that equal disk blocks and come back again and again are compressed instead of dropped,
 * while the store has room: the disk takes ten times as long. They keep their tie to the block, so
 * that they can be dropped from the store for nothing.
 *
 * What was tracked stays tracked: whoever writes the frame later says so, wherever the frame was
 * meanwhile.
 */
#include "mem/internal.h"

#define DROP_SCAN 4096

/* What may be done with frames of this batch. */
struct ways {
    bool share, compress, smart, swap;
    bool keeps_files; /* compressed */
    bool is_busy;
};

/* Where a page went. */
struct away {
    enum page_state state;
    uint32_t place;
};

void frame_leaves(struct guest_mem *mem, uint64_t index, enum page_state to, uint32_t place)
{
    mem->age[index] &= AGE_MAX;
    mem->flag[index] &= (uint8_t)~FLAG_AHEAD_IMAGE;
    mem->place[index] = place;
    mem_set_state(mem, index, to);
    discard_add(mem, index);
}

/* The store's slots are counted, so that a full swap file is known before pages are unmapped. */
static bool swap_has_room(const struct guest_mem *mem)
{
    struct swap_info info;

    swap_get_info(mem->swap, &info);
    return info.used < info.slots;
}

static struct ways ways_now(const struct guest_mem *mem)
{
    unsigned means = mem->orders.means;
    struct ways w = {
        .share = (means & MEM_MEANS_SHARE) && mem->share,
        .compress = (means & MEM_MEANS_COMPRESS) && mem->zstore,
        .smart = smart_is_allowed(mem),
        .swap = (means & MEM_MEANS_SWAP) && mem->swap && swap_has_room(mem),
    };
    w.keeps_files = w.compress && image_come_back(mem) && store_has_room(mem);
    return w;
}

/* A page that equals its disk block is nowhere but there from now on. */
static void note_dropped(struct guest_mem *mem)
{
    mem->stats.evicted_image++;
    mem->stats.silent_writes_saved++;
}

/* SWAP_FULL and SWAP_BUSY are remembered in `w`: the next frames need not try. */
static bool was_put(enum swap_put put, struct ways *w, bool *way, uint64_t *counter)
{
    *counter += put == SWAP_OK;
    w->is_busy = put == SWAP_BUSY;
    if (put == SWAP_FULL)
        *way = false;
    return put == SWAP_OK;
}

static bool to_file(struct guest_mem *mem, uint64_t index, const void *page, struct ways *w,
                    struct away *to)
{
    to->state = PAGE_SMART;
    if (w->smart && !w->is_busy &&
        was_put(smart_put(mem, index, page, &to->place), w, &w->smart, &mem->stats.evicted_smart))
        return true;
    to->state = PAGE_SWAPPED;
    return w->swap && !w->is_busy &&
           was_put(swap_put(mem->swap, index, page, &to->place), w, &w->swap,
                   &mem->stats.evicted_swapped);
}

static void drop_compressed(struct guest_mem *mem, uint64_t index)
{
    zstore_free(mem->zstore, mem->place[index]);
    mem_set_state(mem, index, PAGE_IMAGE);
    note_dropped(mem);
}

/* Compressed pages of files that do not come back after all: from the hand on, a part of all. */
static size_t drop_files(struct guest_mem *mem, size_t want)
{
    size_t dropped = 0;

    for (unsigned n = 0; n < DROP_SCAN && dropped < want; n++) {
        uint64_t i = mem->image.hand;
        mem->image.hand = i + 1 < mem->total_pages ? i + 1 : 0;
        if (mem->state[i] != PAGE_COMPRESSED || !image_has(mem, i))
            continue;
        drop_compressed(mem, i);
        dropped++;
    }
    return dropped;
}

/* A compressed page goes on to its disk block or to the file. */
static bool goes_on(struct guest_mem *mem, uint64_t i, struct ways *w)
{
    struct away to;

    if (image_has(mem, i)) {
        drop_compressed(mem, i);
        return true;
    }
    zstore_get(mem->zstore, mem->place[i], mem->scratch);
    if (!to_file(mem, i, mem->scratch, w, &to))
        return false;
    zstore_free(mem->zstore, mem->place[i]);
    mem->place[i] = to.place;
    mem_set_state(mem, i, to.state);
    mem->stats.compressed_to_swap++;
    return true;
}

static size_t overflow(struct guest_mem *mem, struct ways *w, size_t want)
{
    size_t moved = 0;

    for (unsigned lists = 0; moved < want && lists < 2;) {
        uint64_t i = victims_next(mem, &mem->oldest);
        if (i == MEM_NO_INDEX) {
            lists++;
            victims_remake(mem, &mem->oldest);
            continue;
        }
        if (!goes_on(mem, i, w))
            break;
        moved++;
    }
    return moved;
}

size_t evict_overflow(struct guest_mem *mem, size_t want)
{
    struct ways w = ways_now(mem);

    return mem->zstore && mem->ledger.pages[PAGE_COMPRESSED] ? overflow(mem, &w, want) : 0;
}

size_t evict_compressed(struct guest_mem *mem, const uint64_t *index, size_t count)
{
    struct ways w = ways_now(mem);
    size_t gone = 0;

    while (gone < count && goes_on(mem, index[gone], &w))
        gone++;
    return gone;
}

static bool to_zstore(struct guest_mem *mem, uint64_t index, const void *page, struct ways *w,
                      struct away *to)
{
    enum zstore_put put = zstore_put(mem->zstore, page, (uint32_t)index, &to->place);

    to->state = PAGE_COMPRESSED;
    if (put == ZSTORE_FULL && overflow(mem, w, EVICT_BATCH))
        put = zstore_put(mem->zstore, page, (uint32_t)index, &to->place);
    mem->stats.refused_full += put == ZSTORE_FULL;
    mem->stats.refused_compress += put == ZSTORE_POOR;
    if (put == ZSTORE_POOR)
        mem->flag[index] |= FLAG_POOR;
    else if (put == ZSTORE_OK)
        mem->flag[index] &= (uint8_t)~FLAG_POOR;
    mem->stats.evicted_compressed += put == ZSTORE_OK;
    return put == ZSTORE_OK;
}

static bool to_store(struct guest_mem *mem, uint64_t index, const void *page, struct ways *w,
                     struct away *to)
{
    return (w->compress && to_zstore(mem, index, page, w, to)) || to_file(mem, index, page, w, to);
}

bool evict_from_smart(struct guest_mem *mem, uint64_t index, const void *page)
{
    struct ways w = ways_now(mem);
    struct away to;

    w.smart = false;
    if (!to_store(mem, index, page, &w, &to))
        return false;
    swap_free(mem->smart.file, mem->place[index]);
    mem->place[index] = to.place;
    mem_set_state(mem, index, to.state);
    return true;
}

static bool drop(struct guest_mem *mem, uint64_t index)
{
    note_dropped(mem);
    frame_leaves(mem, index, PAGE_IMAGE, 0);
    return true;
}

/*
 * What costs nothing to bring back comes first, for the whole batch: an equal of a page must still
 * be there when it is its turn.
 */
static bool evict_for_nothing(struct guest_mem *mem, uint64_t index, const struct ways *w)
{
    if (mem->state[index] != PAGE_RESIDENT)
        return true; /* it went along with its equal */
    if (image_has(mem, index)) {
        image_note_left(mem);
        return !w->keeps_files && drop(mem, index);
    }
    if (page_is_zero(mem_index_ptr(mem, index))) {
        mem->stats.evicted_zero++;
        frame_leaves(mem, index, PAGE_ZERO, 0);
        return true;
    }
    return w->share && equal_try_leaving(mem, index);
}

static bool evict_to_store(struct guest_mem *mem, uint64_t index, struct ways *w)
{
    const void *page = mem_index_ptr(mem, index);
    struct away to;

    if (mem->state[index] != PAGE_RESIDENT)
        return true;
    if (image_has(mem, index)) {
        if (!w->compress || !to_zstore(mem, index, page, w, &to))
            return drop(mem, index);
    } else if (!(w->compress && to_zstore(mem, index, page, w, &to))) {
        /* Now it is known not to compress: others may have to leave before it. */
        if (!victims_is_before_others(mem, &mem->victims, index) ||
            !to_file(mem, index, page, w, &to))
            return false;
    }
    frame_leaves(mem, index, to.state, to.place);
    return true;
}

/* Without a store that takes anything, only these leave; the others need not be unmapped. */
static bool may_leave(const struct guest_mem *mem, uint64_t index, const struct ways *w)
{
    return w->share || w->compress || w->smart || w->swap || image_has(mem, index) ||
           page_is_zero(mem_index_ptr(mem, index));
}

struct evicted evict_batch(struct guest_mem *mem, size_t want)
{
    struct ways w = ways_now(mem);
    struct evicted out = {0};
    uint64_t index[EVICT_BATCH];
    gfn_t gfn[EVICT_BATCH];
    size_t place[EVICT_BATCH]; /* in the list, to go on there when the swap file is busy */
    size_t count = 0, done = 0;

    if (want > EVICT_BATCH)
        want = EVICT_BATCH;
    if (mem->image.compressed && !image_come_back(mem))
        out.left = drop_files(mem, want);
    while (count < want) {
        uint64_t i = victims_next(mem, &mem->victims);
        if (i == MEM_NO_INDEX) {
            out.is_end = true;
            break;
        }
        if (mem->orders.without_cures)
            image_unlink(mem, i); /* from before these orders */
        if (!may_leave(mem, i, &w))
            continue;
        mem->stats.file_pages_first += image_has(mem, i);
        place[count] = mem->victims.next - 1;
        index[count] = i;
        gfn[count++] = mem_index_gfn(mem, i);
    }
    if (!count)
        return out;
    mem_notify_unmap_many(mem, gfn, count);
    for (size_t i = 0; i < count; i++)
        out.left += evict_for_nothing(mem, index[i], &w);
    for (; done < count && !w.is_busy; done++) {
        bool was_here = mem->state[index[done]] == PAGE_RESIDENT;
        out.left += evict_to_store(mem, index[done], &w) && was_here;
    }
    if (w.is_busy)
        mem->victims.next = place[done - 1];
    out.is_busy = w.is_busy;
    discard_settle(mem);
    return out;
}
