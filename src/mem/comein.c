/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages come back: expanded, read from the swap file, the smart-paging file or a disk image.
 *
 * Neighbours come with them, read at the same time: the next pages in guest order that are in the
 * swap file too (pages between them may be elsewhere), or dropped pages of the blocks that follow.
 * How many is learned: while accesses are in sequence, or what was read ahead is used, the window
 * grows; else it shrinks, so that random access pays for one page only. Read-ahead never passes the
 * limit.
 *
 * Invariants
 *   C1  a frame changes its state only after its bytes are complete in its host page
 *   C2  after a failure its host page is given back and its place is kept
 */
#include <string.h>

#include "mem/internal.h"

void latency_note(struct guest_mem *mem, enum mem_latency which, uint64_t ns)
{
    unsigned bucket = ns ? 63 - (unsigned)__builtin_clzll(ns) : 0;

    mem->latency[which][bucket < MEM_LATENCY_BUCKETS ? bucket : MEM_LATENCY_BUCKETS - 1]++;
}

/* --- read-ahead --- */

#define AHEAD_SPAN 64 /* frames after the one that is wanted are looked at */
#define AHEAD_NEAR 16

#define READS_IN_MEAN 16

void ahead_used(struct guest_mem *mem, uint64_t index)
{
    enum ahead_kind kind = mem->flag[index] & FLAG_AHEAD_IMAGE ? AHEAD_IMAGE : AHEAD_SWAP;

    mem->flag[index] &= (uint8_t)~FLAG_AHEAD_IMAGE;
    mem->ahead[kind].used++;
    if (kind == AHEAD_IMAGE)
        image_note_back(mem);
    mem->stats.readahead_used++;
}

/*
 * How many pages to read at `at`, itself counted, and in which direction. In sequence means: not
 * further from what was read last than `near`.
 */
static unsigned ahead_window(struct guest_mem *mem, enum ahead_kind kind, uint64_t at,
                             uint64_t near, int *step)
{
    struct ahead *a = &mem->ahead[kind];
    unsigned most = kind == AHEAD_SWAP ? AHEAD_SWAP_MAX : AHEAD_MAX;
    uint64_t own = mem_own_pages(mem);
    uint64_t room = own < mem->trigger_pages ? mem->trigger_pages - own : 0;
    bool has_last = a->window > 0;
    bool follows = has_last && at > a->last && at - a->last <= near;
    bool precedes = has_last && at < a->first && a->first - at <= near;

    *step = precedes && !follows ? -1 : 1;
    if (mem->orders.without_cures)
        return 1;
    if (follows || precedes)
        a->window = a->window < 2 ? 4 : a->window * 2;
    else if (a->used == a->used_before)
        a->window /= 2;
    if (a->window > most)
        a->window = most;
    if (a->window < 1)
        a->window = 1;
    a->used_before = a->used;
    a->first = a->last = at;
    return room < a->window ? (room ? (unsigned)room : 1) : a->window;
}

static void arrived(struct guest_mem *mem, uint64_t index, bool is_ahead, enum ahead_kind kind)
{
    mem->age[index] = is_ahead ? AGE_AHEAD : 0;
    if (is_ahead && kind == AHEAD_IMAGE)
        mem->flag[index] |= FLAG_AHEAD_IMAGE;
    mem->stats.readahead += is_ahead;
    mem_set_state(mem, index, PAGE_RESIDENT);
}

/* --- compressed --- */

static void from_zstore(struct guest_mem *mem, uint64_t index)
{
    uint64_t begin = host_ns();

    settled_note_back(mem, index);
    own_page_take(mem, index);
    zstore_get(mem->zstore, mem->place[index], mem_index_ptr(mem, index));
    zstore_free(mem->zstore, mem->place[index]);
    mem_set_state(mem, index, PAGE_RESIDENT);
    if (image_has(mem, index))
        image_note_back(mem);
    mem->stats.came_from_compressed++;
    uint64_t ns = host_ns() - begin;
    latency_note(mem, MEM_LATENCY_COMPRESSED, ns);
    mem->stats.fault_ns += ns;
}

/* --- swap file and smart-paging file --- */

/*
 * The frames to read with `index`, itself the first, in the order of `step`. Frames between them
 * that are not in the same file are passed over.
 */
static unsigned swap_neighbours(const struct guest_mem *mem, uint64_t index, int step,
                                unsigned window, uint64_t frames[AHEAD_SWAP_MAX])
{
    unsigned count = 1;

    frames[0] = index;
    for (unsigned k = 1; k <= AHEAD_SPAN && count < window; k++) {
        uint64_t at = index + (uint64_t)((int64_t)step * (int)k);
        if (at >= mem->total_pages)
            break;
        if (mem->state[at] == mem->state[index] &&
            !swap_is_staged(mem_file_of(mem, at), mem->place[at]))
            frames[count++] = at;
    }
    return count;
}

static bool swap_failed(struct guest_mem *mem, uint64_t index, bool was_read)
{
    const char *trouble = swap_trouble(mem_file_of(mem, index));
    const char *name = mem->state[index] == PAGE_SMART ? "smart-paging file" : "swap file";

    if (was_read)
        stall_set(mem, STALL_READ, index,
                  "a page of the %s is not what was written there: the guest cannot go on "
                  "without it",
                  name);
    else
        stall_set(mem, STALL_READ, index, "cannot read the %s: %s; the guest goes on when it can",
                  name, trouble ? trouble : err_text());
    err_note(ERR_IO, "%s", mem->stall.text);
    return false;
}

static void note_read(struct guest_mem *mem, uint64_t ns)
{
    mem->swap_read_ns -= mem->swap_read_ns / READS_IN_MEAN;
    mem->swap_read_ns += ns / READS_IN_MEAN;
}

static bool from_file(struct guest_mem *mem, uint64_t index)
{
    struct swap *file = mem_file_of(mem, index);
    bool is_smart = mem->state[index] == PAGE_SMART;
    uint64_t frames[AHEAD_SWAP_MAX] = {index};
    uint32_t slots[AHEAD_SWAP_MAX];
    void *pages[AHEAD_SWAP_MAX];
    bool ok[AHEAD_SWAP_MAX] = {false};
    uint64_t begin = host_ns();
    bool staged = swap_is_staged(file, mem->place[index]);
    unsigned count = 1;

    settled_note_back(mem, index);
    if (!staged) {
        int step;
        unsigned window = ahead_window(mem, AHEAD_SWAP, index, AHEAD_NEAR, &step);
        count = swap_neighbours(mem, index, step, window, frames);
        mem->ahead[AHEAD_SWAP].first = step > 0 ? index : frames[count - 1];
        mem->ahead[AHEAD_SWAP].last = step > 0 ? frames[count - 1] : index;
    }
    for (unsigned i = 0; i < count; i++) {
        own_page_take(mem, frames[i]);
        slots[i] = mem->place[frames[i]];
        pages[i] = mem_index_ptr(mem, frames[i]);
    }
    bool was_read = swap_get(file, slots, pages, ok, count);
    if (!ok[0] && count > 1) /* alone, so that the answer is about this page */
        was_read = swap_get(file, slots, pages, ok, 1);
    for (unsigned i = 0; i < count; i++) {
        if (!ok[i]) {
            discard_add(mem, frames[i]);
            continue;
        }
        swap_free(file, slots[i]);
        arrived(mem, frames[i], i > 0, AHEAD_SWAP);
    }
    discard_settle(mem);
    stores_sync_stats(mem);
    uint64_t ns = host_ns() - begin;
    mem->stats.fault_ns += ns;
    if (mem->state[index] != PAGE_RESIDENT)
        return swap_failed(mem, index, was_read);
    if (staged) {
        mem->stats.came_from_staging++;
    } else {
        mem->stats.came_from_smart += is_smart;
        mem->stats.came_from_swap += !is_smart;
        latency_note(mem, is_smart ? MEM_LATENCY_SMART : MEM_LATENCY_SWAP, ns);
        note_read(mem, ns);
    }
    return true;
}

/* --- disk image --- */

static enum err read_image(struct guest_mem *mem, unsigned disk, uint64_t block, void *to,
                           size_t count)
{
    const struct mem_image_source *source = &mem->image.source;

    if (!source->read)
        return err_new(ERR_IO, "disk %u is gone, which holds pages of the guest", disk);
    enum err err = source->read(source->arg, disk, block, to, count);
    if (err)
        mem->io_errors++;
    else
        mem->stats.image_read_bytes += count << PAGE_SHIFT;
    return err;
}

static bool image_failed(struct guest_mem *mem, uint64_t index)
{
    stall_set(
        mem, STALL_READ, index,
        "cannot read a page of the guest back from its disk: %s; the guest goes on when it can",
        err_text());
    err_note(ERR_IO, "%s", mem->stall.text);
    return false;
}

static bool from_image(struct guest_mem *mem, uint64_t index)
{
    uint64_t frames[AHEAD_MAX] = {index};
    uint64_t begin = host_ns();
    uint64_t block;
    unsigned disk, count = 1;
    int step;

    image_where(mem, index, &disk, &block);
    unsigned window = ahead_window(mem, AHEAD_IMAGE, image_key(disk, block), 1, &step);
    while (step > 0 && count < window) {
        frames[count] = image_find_dropped(mem, disk, block + count);
        if (frames[count] == MEM_NO_INDEX)
            break;
        count++;
    }
    enum err err = read_image(mem, disk, block, mem->scratch, count);
    if (err && count > 1) {
        count = 1;
        err = read_image(mem, disk, block, mem->scratch, count);
    }
    stores_sync_stats(mem);
    if (err)
        return image_failed(mem, index);
    for (unsigned i = 0; i < count; i++) {
        own_page_take(mem, frames[i]);
        memcpy(mem_index_ptr(mem, frames[i]), mem->scratch + (i << PAGE_SHIFT), PAGE_SIZE);
        arrived(mem, frames[i], i > 0, AHEAD_IMAGE);
    }
    mem->ahead[AHEAD_IMAGE].last = image_key(disk, block) + count - 1;
    mem->stats.came_from_image++;
    image_note_back(mem);
    uint64_t ns = host_ns() - begin;
    latency_note(mem, MEM_LATENCY_IMAGE, ns);
    mem->stats.fault_ns += ns;
    return true;
}

bool comein(struct guest_mem *mem, uint64_t index)
{
    bool here = true;

    switch ((enum page_state)mem->state[index]) {
    case PAGE_COMPRESSED:
        from_zstore(mem, index);
        break;
    case PAGE_SWAPPED:
    case PAGE_SMART:
        here = from_file(mem, index);
        break;
    default:
        here = from_image(mem, index);
        break;
    }
    if (here && mem->stall.index == index)
        stall_clear(mem, STALL_READ);
    pressure_check(mem);
    return here;
}

bool mem_copy_out(struct guest_mem *mem, uint64_t index, void *page)
{
    uint64_t block;
    unsigned disk;
    bool ok = false;

    switch ((enum page_state)mem->state[index]) {
    case PAGE_COMPRESSED:
        zstore_get(mem->zstore, mem->place[index], page);
        return true;
    case PAGE_SWAPPED:
    case PAGE_SMART: {
        bool was_read = swap_get(mem_file_of(mem, index), &mem->place[index], &page, &ok, 1);
        if (!was_read || !ok)
            return swap_failed(mem, index, was_read);
        break;
    }
    default:
        image_where(mem, index, &disk, &block);
        if (read_image(mem, disk, block, page, 1))
            return image_failed(mem, index);
        break;
    }
    mem->stats.double_paging_saved++;
    stores_sync_stats(mem);
    return true;
}
