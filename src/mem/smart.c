/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smart-paging file: takes pages in place of the swap file while orders allow, which they do
 * during a restart only, and goes away when it is empty (docs/smart-paging.md).
 *
 *    none --first page--> filling --orders allow less--> draining --empty--> none
 *      ^                     `-----the host fails it---->    |
 *      `------------------- reset: all is forgotten ---------'
 *
 * Invariants
 *   P1  a frame is PAGE_SMART exactly while a slot of the file holds what it holds
 *   P2  a page leaves the file only when it is complete elsewhere, or nobody wants it any more
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "mem/internal.h"

#define MS       UINT64_C(1000000)
#define RETRY_NS (100 * MS)
#define WORK_NS  (10 * MS) /* between two looks at I/O under way */

static uint64_t in_file(const struct guest_mem *mem)
{
    return mem->ledger.pages[PAGE_SMART];
}

/* How many pages may stay. */
static uint64_t pages_kept(const struct guest_mem *mem)
{
    return mem->smart.is_refused ? 0 : mem->orders.smart_limit_bytes >> PAGE_SHIFT;
}

/* ---- the file ---- */

static void refuse(struct guest_mem *mem, const char *why, const char *advice)
{
    mem->smart.is_refused = true;
    mem->stats.smart_failures++;
    log_limited(&mem->smart.log, LOG_WARN, "smart",
                "smart paging ends for this restart, the swap file takes over: %s%s", why, advice);
}

static bool open_file(struct guest_mem *mem)
{
    struct smart *s = &mem->smart;

    s->pages = mem_reserve(SMART_SLICE * PAGE_SIZE, PROT_READ | PROT_WRITE);
    if (!s->pages) {
        refuse(mem, "no memory", "");
        return false;
    }
    if (swap_open(&s->file, SWAP_FOR_SMART_PAGING, s->path, mem->total_pages << PAGE_SHIFT,
                  mem->total_pages, s->faults)) {
        refuse(mem, err_text(), "");
        smart_close(mem);
        return false;
    }
    s->begun_ns = host_ns();
    s->cursor = s->retry_ns = 0;
    mem->stats.smart_files++;
    return true;
}

void smart_close(struct guest_mem *mem)
{
    struct smart *s = &mem->smart;

    if (s->file) {
        struct swap_info info;
        smart_info(mem, &info);
        s->past = info;
        mem->stats.smart_file_ns += host_ns() - s->begun_ns;
        swap_close(s->file);
    }
    if (s->pages)
        munmap(s->pages, SMART_SLICE * PAGE_SIZE);
    s->file = NULL;
    s->pages = NULL;
}

void smart_info(const struct guest_mem *mem, struct swap_info *out)
{
    const struct swap_info *past = &mem->smart.past;

    *out = (struct swap_info){0};
    if (mem->smart.file)
        swap_get_info(mem->smart.file, out);
    out->read_bytes += past->read_bytes;
    out->write_bytes += past->write_bytes;
    out->errors += past->errors;
    out->checksum_errors += past->checksum_errors;
    out->sequential_reads += past->sequential_reads;
}

/* ---- in ---- */

bool smart_is_allowed(const struct guest_mem *mem)
{
    const struct smart *s = &mem->smart;

    return s->path && in_file(mem) < pages_kept(mem) && !(s->file && swap_trouble(s->file));
}

enum swap_put smart_put(struct guest_mem *mem, uint64_t index, const void *page, uint32_t *slot)
{
    if (!smart_is_allowed(mem) || (!mem->smart.file && !open_file(mem)))
        return SWAP_FULL;
    return swap_put(mem->smart.file, index, page, slot);
}

/* ---- out ---- */

/* Pages that may come into host memory without being asked for. */
static uint64_t room_pages(const struct guest_mem *mem)
{
    const struct mem_orders *orders = &mem->orders;
    uint64_t most =
        orders->limit_bytes < orders->target_bytes ? orders->limit_bytes : orders->target_bytes;
    uint64_t held = stores_held_bytes(mem);

    if (most == UINT64_MAX)
        return UINT64_MAX;
    return most / 4 * 3 > held ? (most / 4 * 3 - held) >> PAGE_SHIFT : 0;
}

/* It stays as old as it is: nobody has used it. */
static void to_host_memory(struct guest_mem *mem, uint64_t index, const void *page)
{
    uint8_t age = mem->age[index];

    own_page_take(mem, index);
    memcpy(mem_index_ptr(mem, index), page, PAGE_SIZE);
    swap_free(mem->smart.file, mem->place[index]);
    mem->age[index] = age;
    mem_set_state(mem, index, PAGE_RESIDENT);
}

/* The next frames of the file, in guest order. */
static unsigned next_frames(struct guest_mem *mem, uint64_t want, uint64_t frames[SMART_SLICE])
{
    const uint8_t *state = mem->state, *found;
    unsigned count = 0;
    uint64_t at = mem->smart.cursor;

    for (unsigned rounds = 0; rounds < 2 && !count; rounds++, at = 0) {
        while (count < want && count < SMART_SLICE && at < mem->total_pages &&
               (found = memchr(state + at, PAGE_SMART, mem->total_pages - at))) {
            frames[count++] = (uint64_t)(found - state);
            at = frames[count - 1] + 1;
        }
    }
    if (count)
        mem->smart.cursor = frames[count - 1] + 1;
    return count;
}

/* How many of at most `want` frames left the file. */
static unsigned drain_slice(struct guest_mem *mem, uint64_t want)
{
    uint64_t frames[SMART_SLICE];
    uint32_t slots[SMART_SLICE] = {0};
    void *pages[SMART_SLICE] = {NULL};
    bool ok[SMART_SLICE] = {false};
    unsigned count = next_frames(mem, want, frames), left = 0;

    for (unsigned i = 0; i < count; i++) {
        slots[i] = mem->place[frames[i]];
        pages[i] = mem->smart.pages + i * PAGE_SIZE;
    }
    if (!swap_get(mem->smart.file, slots, pages, ok, count))
        return 0; /* the cursor is behind them: others are tried first */
    for (unsigned i = 0; i < count; i++) {
        if (!ok[i])
            continue;
        if (room_pages(mem)) {
            to_host_memory(mem, frames[i], pages[i]);
        } else if (!evict_from_smart(mem, frames[i], pages[i])) {
            mem->smart.cursor = frames[i];
            break;
        }
        left++;
    }
    mem->stats.smart_drained += left;
    return left;
}

static void drain(struct guest_mem *mem, uint64_t now_ns, uint64_t deadline_ns)
{
    if (now_ns < mem->smart.retry_ns)
        return;
    while (in_file(mem) > pages_kept(mem)) {
        if (!drain_slice(mem, in_file(mem) - pages_kept(mem))) {
            mem->smart.retry_ns = now_ns + (swap_trouble(mem->smart.file) ? RETRY_NS : WORK_NS);
            return;
        }
        if (host_ns() > deadline_ns)
            return;
    }
}

static void look_for_trouble(struct guest_mem *mem)
{
    const char *trouble = swap_trouble(mem->smart.file);

    if (trouble && !mem->smart.is_refused)
        refuse(mem, trouble, "; free space there, or choose another folder (--smart-paging-dir)");
}

bool smart_gives_way(struct guest_mem *mem)
{
    if (!mem->smart.file || !swap_trouble(mem->smart.file))
        return false;
    look_for_trouble(mem);
    return in_file(mem) && drain_slice(mem, SMART_SLICE);
}

void smart_service(struct guest_mem *mem, uint64_t now_ns, uint64_t deadline_ns)
{
    struct smart *s = &mem->smart;

    if (!s->file) {
        s->is_refused = s->is_refused && mem->orders.smart_limit_bytes;
        return;
    }
    swap_work(s->file, SWAP_WHEN_DUE);
    look_for_trouble(mem);
    drain(mem, now_ns, deadline_ns);
    if (!in_file(mem) && !pages_kept(mem))
        smart_close(mem);
}

uint64_t smart_due(const struct guest_mem *mem, uint64_t now_ns)
{
    const struct smart *s = &mem->smart;

    if (!s->file)
        return UINT64_MAX;
    if (in_file(mem) > pages_kept(mem) || !pages_kept(mem))
        return s->retry_ns > now_ns ? s->retry_ns : now_ns + MS;
    return now_ns + WORK_NS;
}
