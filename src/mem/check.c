/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proof that the ledger, the frames and the places where pages lie agree:
 *
 *   ledger == count of the states              slots do not overlap
 *   slots of both files, compressed pages: one frame each, and no more are in use than frames say
 *   shared copies: as many users as frames and waiting drops say
 *   associations with disk blocks: both ways   frames without a host page by their state have none
 */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "mem/internal.h"

static bool wrong(const char *what)
{
    err_note(ERR_INTERNAL, "%s", what);
    return false;
}

static bool check_ledger(const struct guest_mem *mem)
{
    struct mem_ledger seen = {0};
    uint64_t sum = 0;

    for (uint64_t i = 0; i < mem->total_pages; i++) {
        if (mem->state[i] >= PAGE_STATES) {
            err_note(ERR_INTERNAL, "page index %" PRIu64 " has no state: %u", i, mem->state[i]);
            return false;
        }
        seen.pages[mem->state[i]]++;
    }
    for (unsigned s = 0; s < PAGE_STATES; s++) {
        sum += mem->ledger.pages[s];
        if (seen.pages[s] != mem->ledger.pages[s]) {
            err_note(ERR_INTERNAL,
                     "ledger says %" PRIu64 " pages in state %u, counted are %" PRIu64,
                     mem->ledger.pages[s], s, seen.pages[s]);
            return false;
        }
    }
    if (sum != mem->total_pages) {
        err_note(ERR_INTERNAL, "ledger sums to %" PRIu64 " pages of %" PRIu64, sum,
                 mem->total_pages);
        return false;
    }
    for (size_t s = 1; s < mem->slot_count; s++) {
        if (mem->slots[s].base_gfn.v < mem->slots[s - 1].base_gfn.v + mem->slots[s - 1].pages) {
            err_note(ERR_INTERNAL, "slots %zu and %zu overlap", s - 1, s);
            return false;
        }
    }
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* The places of all frames in a state, sorted; NULL: the host refuses memory for the check. */
static uint32_t *places_in(const struct guest_mem *mem, enum page_state state, size_t extra,
                           size_t *count)
{
    uint32_t *place = calloc(mem->ledger.pages[state] + extra + 1, sizeof *place);

    *count = 0;
    if (!place)
        return NULL;
    for (uint64_t i = 0; i < mem->total_pages; i++) {
        if (mem->state[i] == state)
            place[(*count)++] = mem->place[i];
    }
    return place;
}

static bool are_distinct(const struct guest_mem *mem, enum page_state state)
{
    size_t count;
    uint32_t *place = places_in(mem, state, 0, &count);
    bool distinct = place != NULL;

    if (!place)
        return false;
    qsort(place, count, sizeof *place, by_number);
    for (size_t i = 1; i < count; i++)
        distinct = distinct && place[i] != place[i - 1];
    free(place);
    return distinct;
}

static bool check_shared(const struct guest_mem *mem)
{
    const struct shares_left *left = &mem->shares_left;
    size_t count;
    uint32_t *id = places_in(mem, PAGE_SHARED, SHARES_LEFT_MAX, &count);
    bool agree = id != NULL;

    if (!id)
        return wrong("the host refuses memory for the check");
    for (unsigned i = 0; i < left->count; i++)
        id[count++] = left->id[(left->first + i) % SHARES_LEFT_MAX];
    qsort(id, count, sizeof *id, by_number);
    for (size_t i = 0, run; i < count; i += run) {
        run = 1;
        while (i + run < count && id[i + run] == id[i])
            run++;
        agree = agree && share_users(mem->share, id[i]) == run;
    }
    free(id);
    return agree ? share_check(mem->share, count) : wrong("users of shared pages miscounted");
}

static bool check_file(const struct guest_mem *mem, const struct swap *file, enum page_state state)
{
    struct swap_info info = {0};

    if (file)
        swap_get_info(file, &info);
    if (info.used != mem->ledger.pages[state] || !are_distinct(mem, state))
        return wrong(state == PAGE_SMART ? "the smart-paging file does not hold what frames say"
                                         : "the swap file does not hold what frames say");
    return !file || swap_check(file);
}

static bool check_stores(const struct guest_mem *mem)
{

    if (!mem->share && mem->ledger.pages[PAGE_SHARED])
        return wrong("pages are shared, but nothing holds them");
    if (mem->share && !check_shared(mem))
        return false;
    if ((mem->zstore ? zstore_pages(mem->zstore) : 0) != mem->ledger.pages[PAGE_COMPRESSED] ||
        !are_distinct(mem, PAGE_COMPRESSED))
        return wrong("the compressed store does not hold what frames say");
    if (mem->zstore && !zstore_check(mem->zstore))
        return false;
    return check_file(mem, mem->swap, PAGE_SWAPPED) && check_file(mem, mem->smart.file, PAGE_SMART);
}

/* Some hosts answer that everything is there. */
static bool host_tells(void)
{
    unsigned char there = 1;
    void *fresh = mem_reserve(PAGE_SIZE, PROT_READ | PROT_WRITE);

    if (!fresh)
        return false;
    bool asked = mincore(fresh, PAGE_SIZE, &there) == 0;
    munmap(fresh, PAGE_SIZE);
    return asked && !(there & 1);
}

#define CHECK_PAGES 1024

static bool check_host_pages(const struct guest_mem *mem)
{
    unsigned char there[CHECK_PAGES];

    if (!host_tells())
        return true;
    for (size_t s = 0; s < mem->slot_count; s++) {
        for (uint64_t p = 0; p < mem->slots[s].pages; p += CHECK_PAGES) {
            uint64_t first = mem->slot_first[s] + p, left = mem->slots[s].pages - p;
            uint64_t count = left < CHECK_PAGES ? left : CHECK_PAGES;
            if (mincore(mem_index_ptr(mem, first), count << PAGE_SHIFT, there) != 0)
                return true;
            for (uint64_t i = 0; i < count; i++) {
                if (there[i] & 1 && mem->state[first + i] < PAGE_RESIDENT &&
                    !(mem->flag[first + i] & FLAG_DISCARD))
                    return wrong("a frame that left still has its host page");
            }
        }
    }
    return true;
}

bool mem_check(const struct guest_mem *mem)
{
    return check_ledger(mem) && check_stores(mem) && image_check(mem) && check_host_pages(mem);
}
