/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders, and the slices of work that fulfil them.
 *
 *   limit  +--------------------------------------------------
 *          | kept for pages on their way to the swap file, up to the allowance
 *   soft   +-- a fault that passes this asks for service ------
 *          | margin: what one service makes free, so that one in so many faults pays
 *          +-- down to here
 *
 * So the guest goes on while its pages are written, and the sum stays below the limit all the same:
 * when more than the allowance is on its way, service waits for the file. When nothing can leave
 * any more, the guest waits (stall.c).
 */
#include <inttypes.h>

#include "mem/internal.h"

#define NO_DEADLINE  UINT64_MAX
#define MARGIN_PAGES 64
/* Kept for pages that go to the file next, beyond those that are on their way now. */
#define STAGED_NEXT 256
/* Host pages that wait to be handed on: as what comes in frees compressed room, more than 64. */
#define SPARE_MARGINS  2
#define MS             UINT64_C(1000000)
#define STALL_POLL_NS  (100 * MS)
#define TARGET_POLL_NS (20 * MS)
#define BACKGROUND_NS  (10 * MS)
#define SPARES_NS      (50 * MS)

static bool may_swap(const struct guest_mem *mem)
{
    return mem->swap && mem->orders.means & MEM_MEANS_SWAP;
}

static uint64_t allowance_bytes(const struct guest_mem *mem)
{
    uint64_t most = SWAP_STAGING_PAGES * PAGE_SIZE, part = mem->orders.limit_bytes / 32;

    return may_swap(mem) || smart_is_allowed(mem) ? (part < most ? part : most) & PAGE_MASK : 0;
}

/* While few pages are on their way, most of the allowance is the guest's. */
static uint64_t soft_bytes(const struct guest_mem *mem)
{
    uint64_t most = allowance_bytes(mem);
    uint64_t kept = (stores_staged_pages(mem) + STAGED_NEXT) << PAGE_SHIFT;

    return mem->orders.limit_bytes - (kept < most ? kept : most);
}

static uint64_t margin_bytes(uint64_t soft)
{
    uint64_t most = MARGIN_PAGES * PAGE_SIZE, part = soft / 16;

    return (part < most ? part : most) & PAGE_MASK;
}

/* All that is not host pages of frames: the trigger counts these only. */
static uint64_t beside_bytes(const struct guest_mem *mem)
{
    return stores_held_bytes(mem) + (mem->discard.pages << PAGE_SHIFT) -
           (mem_own_pages(mem) << PAGE_SHIFT);
}

static void set_trigger(struct guest_mem *mem, uint64_t most_bytes)
{
    uint64_t beside = beside_bytes(mem);

    mem->trigger_pages = most_bytes > beside ? (most_bytes - beside) >> PAGE_SHIFT : 0;
}

bool mem_set_limit(struct guest_mem *mem, uint64_t limit_bytes)
{
    mem->orders.limit_bytes = limit_bytes;
    mem->trigger_pages = UINT64_MAX;
    mem->noted_bytes = 0;
    if (limit_bytes == UINT64_MAX)
        return false;
    set_trigger(mem, soft_bytes(mem));
    return mem_own_pages(mem) > mem->trigger_pages;
}

void mem_set_orders(struct guest_mem *mem, const struct mem_orders *orders)
{
    mem->orders = *orders;
    if (mem_set_limit(mem, orders->limit_bytes))
        pressure_check(mem);
}

void mem_set_pressure_hook(struct guest_mem *mem, void (*hook)(void *arg), void *arg)
{
    mem->pressure_hook = hook;
    mem->pressure_arg = arg;
}

void mem_hurry(struct guest_mem *mem)
{
    atomic_fetch_add(&mem->hurries, 1);
}

void mem_hurry_over(struct guest_mem *mem)
{
    atomic_fetch_sub(&mem->hurries, 1);
}

static bool is_hurried(struct guest_mem *mem)
{
    return atomic_load_explicit(&mem->hurries, memory_order_relaxed);
}

/* Waits until something has been written. False: it fails, or nothing is on its way. */
static bool wait_for(struct swap *file)
{
    struct swap_info info;

    if (!file)
        return false;
    swap_get_info(file, &info);
    if (!info.staged)
        return false;
    swap_work(file, SWAP_ALL_NOW);
    if (swap_trouble(file))
        return false;
    swap_wait_room(file);
    return !swap_trouble(file);
}

static bool wait_for_file(struct guest_mem *mem)
{
    return !is_hurried(mem) &&
           (wait_for(mem->smart.file) || smart_gives_way(mem) || wait_for(mem->swap));
}

static void work_on_files(struct guest_mem *mem, enum swap_flush flush)
{
    if (mem->smart.file)
        swap_work(mem->smart.file, flush);
    if (mem->swap)
        swap_work(mem->swap, flush);
}

static size_t pages_above(uint64_t held, uint64_t goal)
{
    return (size_t)((held - goal + PAGE_SIZE - 1) >> PAGE_SHIFT);
}

enum reclaimed { RECLAIM_DONE, RECLAIM_LATER, RECLAIM_END };

/*
 * Down to the goal. LATER: out of time, in a hurry, or the file is busy;
 * END: nothing more can leave. Without a
 * deadline it waits for the file instead.
 */
static enum reclaimed reclaim(struct guest_mem *mem, uint64_t goal, uint64_t deadline_ns)
{
    bool is_fresh = false; /* the list was made anew and nothing has left since */
    uint64_t held;

    while ((held = stores_held_bytes(mem)) > goal) {
        struct evicted e = evict_batch(mem, pages_above(held, goal));
        if (e.left) {
            is_fresh = false;
        } else if (e.is_busy) {
            if (deadline_ns != NO_DEADLINE)
                return RECLAIM_LATER;
            if (!wait_for_file(mem))
                return RECLAIM_END;
        } else if (e.is_end && !is_fresh) {
            victims_remake(mem, &mem->victims);
            is_fresh = true;
        } else if (e.is_end && mem->victims.spares_poor) {
            victims_remake_unsparing(mem, &mem->victims);
        } else if (e.is_end && !evict_overflow(mem, EVICT_BATCH)) {
            if (deadline_ns != NO_DEADLINE || !wait_for_file(mem))
                return RECLAIM_END;
        }
        if (is_hurried(mem) || (deadline_ns != NO_DEADLINE && host_ns() > deadline_ns))
            return RECLAIM_LATER;
    }
    return RECLAIM_DONE;
}

static const char *why_no_space(const struct guest_mem *mem)
{
    struct swap_info info;

    if (!may_swap(mem))
        return "swapping is not allowed";
    swap_get_info(mem->swap, &info);
    return info.used < info.slots ? "what is left must stay" : "the swap file is full";
}

static void stall_for_space(struct guest_mem *mem)
{
    const char *trouble = mem->swap ? swap_trouble(mem->swap) : NULL;

    if (trouble)
        stall_set(mem, STALL_SPACE, MEM_NO_INDEX, "%s: the guest goes on when that is possible",
                  trouble);
    else
        stall_set(mem, STALL_SPACE, MEM_NO_INDEX,
                  "the guest holds its limit of %" PRIu64
                  " MiB of host memory and nothing more can "
                  "leave: %s; raise the limit and it goes on",
                  mem->orders.limit_bytes >> 20, why_no_space(mem));
}

/* False: in a hurry, it is to go on soon. */
static bool keep_limit(struct guest_mem *mem)
{
    uint64_t limit = mem->orders.limit_bytes;
    uint64_t allowance = allowance_bytes(mem), soft = soft_bytes(mem);
    uint64_t margin = margin_bytes(soft);
    uint64_t goal = soft - margin - (mem->discard.keep << PAGE_SHIFT);
    enum reclaimed how = RECLAIM_DONE;

    if (limit == UINT64_MAX) {
        stall_clear(mem, STALL_SPACE);
        return true;
    }
    /* As soon as a batch is worth it, so that host pages to be handed on do not run out. */
    if (stores_held_bytes(mem) > goal + margin / 2)
        how = reclaim(mem, goal, NO_DEADLINE);
    /* A page that leaves is in the staging until it is written. */
    while (stores_staged_pages(mem) << PAGE_SHIFT > allowance && wait_for_file(mem))
        continue;
    while (mem_host_bytes(mem) > limit && wait_for_file(mem))
        continue;
    set_trigger(mem, how == RECLAIM_DONE ? soft_bytes(mem) : limit);
    if (mem_host_bytes(mem) > limit && is_hurried(mem))
        return false;
    if (mem_host_bytes(mem) > limit)
        stall_for_space(mem);
    else
        stall_clear(mem, STALL_SPACE);
    return true;
}

/* Answers when to go on. */
static uint64_t keep_target(struct guest_mem *mem, uint64_t now_ns, uint64_t deadline_ns)
{
    if (mem->orders.target_bytes == UINT64_MAX)
        return UINT64_MAX;
    switch (reclaim(mem, mem->orders.target_bytes, deadline_ns)) {
    case RECLAIM_LATER:
        work_on_files(mem, SWAP_WHEN_DUE);
        return host_ns() > deadline_ns ? now_ns : now_ns + MS;
    case RECLAIM_END:
        work_on_files(mem, SWAP_ALL_NOW);
        return now_ns + STALL_POLL_NS;
    case RECLAIM_DONE:
        work_on_files(mem, SWAP_ALL_NOW);
        break;
    }
    return now_ns + TARGET_POLL_NS;
}

/* Host pages are handed on while pages come in all the time; without that they go back soon. */
static void spare_decide(struct guest_mem *mem, uint64_t now_ns)
{
    uint64_t came = mem_arrivals(mem);
    /* A target is to be met by all that is held. */
    bool is_limited =
        mem->orders.limit_bytes != UINT64_MAX && mem->orders.target_bytes == UINT64_MAX;

    if (came != mem->discard.arrivals)
        mem->discard.arrival_ns = now_ns;
    mem->discard.arrivals = came;
    mem->discard.keep = 0;
    if (is_limited && now_ns - mem->discard.arrival_ns < SPARES_NS && spare_open(mem))
        mem->discard.keep = SPARE_MARGINS * margin_bytes(mem->orders.limit_bytes) >> PAGE_SHIFT;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t mem_service(struct guest_mem *mem, uint64_t now_ns, uint64_t budget_ns)
{
    uint64_t begin = host_ns();
    uint64_t deadline = begin + budget_ns;

    mem->pressure_told = false;
    spare_decide(mem, now_ns);
    discard_settle(mem);
    equal_drop_left(mem);
    stores_compact(mem);
    work_on_files(mem, SWAP_WHEN_DUE);
    stall_retry(mem, now_ns);
    smart_service(mem, now_ns, deadline);
    uint64_t next = age_work(mem, now_ns);
    next = earlier(next, keep_target(mem, now_ns, deadline));
    equal_scan(mem, now_ns, deadline);
    if (mem->orders.limit_bytes != UINT64_MAX && may_swap(mem) && !smart_is_allowed(mem))
        settled_work(mem);
    discard_settle(mem);
    /* Last: on its way elsewhere a page may take more room for a moment. */
    if (!keep_limit(mem))
        next = now_ns;
    work_on_files(mem, SWAP_WHEN_DUE);
    if (mem->orders.share_scan_pages_per_s || stores_staged_pages(mem) || mem->discard.pages)
        next = earlier(next, now_ns + BACKGROUND_NS);
    next = earlier(next, smart_due(mem, now_ns));
    if (mem->stall.kind != STALL_NONE)
        next = earlier(next, now_ns + STALL_POLL_NS);
    stores_sync_stats(mem);
    mem->stats.service_ns += host_ns() - begin;
    return next;
}
