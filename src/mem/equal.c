/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Equal pages held once ([Waldspurger02 4.1]). A page that is seen for the first time is only
 * remembered; when an equal one comes and the remembered frame still holds the same bytes, both
 * become users of one copy. Compared byte by byte each time: a hash never decides.
 *
 * Invariants
 *   E1  users of a copy == frames in PAGE_SHARED that have it as their place, and drops that wait
 *   E2  the copy is never written: a shared frame is answered read-only, and broken before a write
 */
#include <string.h>

#include "mem/internal.h"

/*
 * Of pages that leave, all are looked at until so many in a row had no equal; then, of each CYCLE,
 * only the first LOOKS, until one has.
 */
#define FRUITLESS 4096u
#define CYCLE     16384u
#define LOOKS     1024u

bool page_is_zero(const void *page)
{
    const char *p = page;

    return p[0] == 0 && memcmp(p, p + 1, PAGE_SIZE - 1) == 0;
}

static void drop_first(struct guest_mem *mem)
{
    struct shares_left *left = &mem->shares_left;

    share_drop(mem->share, left->id[left->first]);
    left->first = (left->first + 1) % SHARES_LEFT_MAX;
    left->count--;
}

void equal_leave(struct guest_mem *mem, share_id id)
{
    struct shares_left *left = &mem->shares_left;

    if (left->count == SHARES_LEFT_MAX)
        drop_first(mem);
    left->id[(left->first + left->count) % SHARES_LEFT_MAX] = id;
    left->count++;
}

void equal_drop_left(struct guest_mem *mem)
{
    while (mem->shares_left.count)
        drop_first(mem);
}

static bool is_sharable(const struct guest_mem *mem, uint64_t index)
{
    return mem->state[index] == PAGE_RESIDENT && !mem->track[index];
}

static void becomes_user(struct guest_mem *mem, uint64_t index, share_id id, enum frame_map map)
{
    if (map == FRAME_MAPPED)
        mem_notify_unmap(mem, mem_index_gfn(mem, index));
    frame_leaves(mem, index, PAGE_SHARED, id);
    mem->stats.evicted_shared++;
}

/* The frame that was remembered for this hash, if it still holds the same. */
static share_id pair_up(struct guest_mem *mem, uint64_t index, uint64_t hash, const void *page)
{
    uint64_t who = share_hint(mem->share, hash, index);
    share_id id;

    if (who >= mem->total_pages || who == index || !is_sharable(mem, who) ||
        memcmp(mem_index_ptr(mem, who), page, PAGE_SIZE) != 0)
        return 0;
    id = share_add(mem->share, hash, page);
    if (!id)
        return 0;
    becomes_user(mem, who, id, FRAME_MAPPED);
    return share_find(mem->share, hash, page);
}

bool equal_try(struct guest_mem *mem, uint64_t index, enum frame_map map)
{
    const void *page = mem_index_ptr(mem, index);
    uint64_t hash;
    share_id id;

    if (!mem->share || !is_sharable(mem, index))
        return false;
    hash = share_hash(page);
    id = share_find(mem->share, hash, page);
    if (!id)
        id = pair_up(mem, index, hash, page);
    if (!id)
        return false;
    becomes_user(mem, index, id, map);
    return true;
}

bool equal_try_leaving(struct guest_mem *mem, uint64_t index)
{
    uint64_t *in_vain = &mem->looks_in_vain;

    if (*in_vain >= FRUITLESS && (*in_vain - FRUITLESS) % CYCLE >= LOOKS) {
        ++*in_vain;
        return false;
    }
    bool is_shared = equal_try(mem, index, FRAME_UNMAPPED);
    *in_vain = is_shared ? 0 : *in_vain + 1;
    return is_shared;
}

/* Only frames that were idle for a period: what is in use would be written or missed soon. */
static void scan_one(struct guest_mem *mem, uint64_t index)
{
    if (!is_sharable(mem, index) || age_seconds(mem->age[index]) == 0)
        return;
    mem->stats.scan_pages++;
    if (page_is_zero(mem_index_ptr(mem, index))) {
        mem_notify_unmap(mem, mem_index_gfn(mem, index));
        frame_leaves(mem, index, PAGE_ZERO, 0);
        mem->stats.evicted_zero++;
        return;
    }
    mem->stats.scan_shared += equal_try(mem, index, FRAME_MAPPED);
}

void equal_scan(struct guest_mem *mem, uint64_t now_ns, uint64_t deadline_ns)
{
    uint64_t pace = mem->orders.share_scan_pages_per_s;
    uint64_t passed = now_ns - mem->scan_ns;

    if (!pace || !mem->share) {
        mem->scan_ns = now_ns;
        return;
    }
    if (passed > UINT64_C(1000000000))
        passed = UINT64_C(1000000000);
    uint64_t due = passed * pace / UINT64_C(1000000000);
    if (!due)
        return;
    mem->scan_ns = now_ns;
    if (due > mem->total_pages)
        due = mem->total_pages;
    for (uint64_t n = 0; n < due; n++) {
        if (n % 64 == 63 && host_ns() > deadline_ns)
            break;
        scan_one(mem, mem->scan_at);
        mem->scan_at = mem->scan_at + 1 < mem->total_pages ? mem->scan_at + 1 : 0;
    }
    discard_settle(mem);
}
