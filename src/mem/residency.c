/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page states: who holds what a frame holds, and what asking for a frame does. Frames come in here
 * and never leave (M5); evict.c and balloon.c let them leave.
 *
 *   asked for   absent  zero, ballooned       shared     compressed, in a file        resident
 *   reading     zero    stays: zero page      stays      resident                     stays
 *   writing     resident (reads as zeros)     resident   resident                     stays
 *   overwriting resident (what it held is not brought in)                             stays
 */
#include <string.h>

#include "mem/internal.h"

static const char *const state_names[PAGE_STATES] = {
#define STATE_NAME(name, word, help) [PAGE_##name] = word,
    PAGE_STATE_LIST(STATE_NAME)
#undef STATE_NAME
};

const char *page_state_name(enum page_state state)
{
    return (unsigned)state < PAGE_STATES ? state_names[state] : "unknown";
}

void mem_set_state(struct guest_mem *mem, uint64_t index, enum page_state to)
{
    mem->ledger.pages[mem->state[index]]--;
    mem->ledger.pages[to]++;
    if (image_has(mem, index)) {
        mem->image.compressed += to == PAGE_COMPRESSED;
        mem->image.compressed -= mem->state[index] == PAGE_COMPRESSED;
    }
    mem->state[index] = (uint8_t)to;
}

static enum mem_answer answer_as_is(const struct guest_mem *mem, const struct mem_slot *slot,
                                    gfn_t gfn, uint64_t index, enum mem_intent intent, hva_t *hva,
                                    bool *writable)
{
    enum page_state state = (enum page_state)mem->state[index];

    if (likely(state >= PAGE_RESIDENT)) {
        *hva = mem_slot_hva(slot, gfn);
        *writable = true;
        return MEM_OK;
    }
    if (intent != MEM_FOR_READ || state == PAGE_ABSENT || state > PAGE_SHARED)
        return MEM_NOT_READY;
    *hva = state == PAGE_SHARED ? share_hva(mem->share, mem->place[index]) : mem->zero_page;
    *writable = false;
    return MEM_OK;
}

enum mem_answer mem_peek(const struct guest_mem *mem, gfn_t gfn, enum mem_intent intent, hva_t *hva,
                         bool *writable)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    if (index == MEM_NO_INDEX)
        return MEM_NOT_RAM;
    return answer_as_is(mem, slot, gfn, index, intent, hva, writable);
}

void pressure_check(struct guest_mem *mem)
{
    uint64_t pages = mem_own_pages(mem) + (mem->noted_bytes >> PAGE_SHIFT);

    if (likely(pages <= mem->trigger_pages) || mem->pressure_told)
        return;
    mem->pressure_told = true;
    if (mem->pressure_hook)
        mem->pressure_hook(mem->pressure_arg);
}

void mem_note_beside(struct guest_mem *mem, uint64_t bytes)
{
    mem->noted_bytes += bytes;
    pressure_check(mem);
}

void mem_release(struct guest_mem *mem, uint64_t index, enum page_state to)
{
    image_forget(mem, index);
    switch ((enum page_state)mem->state[index]) {
    case PAGE_SHARED:
        equal_leave(mem, mem->place[index]);
        break;
    case PAGE_COMPRESSED:
        zstore_free(mem->zstore, mem->place[index]);
        break;
    case PAGE_SWAPPED:
    case PAGE_SMART:
        swap_free(mem_file_of(mem, index), mem->place[index]);
        break;
    default:
        break;
    }
    mem->age[index] &= AGE_MAX;
    mem->interval[index] = 0;
    mem_set_state(mem, index, to);
}

void own_page_ready(struct guest_mem *mem, uint64_t index)
{
    if (mem->flag[index] & FLAG_DISCARD)
        discard_flush(mem);
    mem->flag[index] &= (uint8_t)~FLAG_AHEAD_IMAGE;
    mem->interval[index] = interval_next(mem->interval[index], mem->age[index]);
    mem->age[index] = 0;
}

void own_page_take(struct guest_mem *mem, uint64_t index)
{
    bool is_here = discard_take_back(mem, index);

    own_page_ready(mem, index);
    if (!is_here)
        (void)spare_take(mem, index);
}

/* The frame gets a host page that reads as zeros. */
static void own_zeros(struct guest_mem *mem, uint64_t index)
{
    own_page_ready(mem, index);
    mem_release(mem, index, PAGE_RESIDENT);
    pressure_check(mem);
}

static void break_shared(struct guest_mem *mem, uint64_t index, enum mem_intent intent)
{
    const void *copy = hva_ptr(share_hva(mem->share, mem->place[index]));

    own_page_ready(mem, index);
    if (intent == MEM_FOR_WRITE)
        memcpy(mem_index_ptr(mem, index), copy, PAGE_SIZE);
    mem->stats.came_from_shared++;
    own_zeros(mem, index);
}

/* Its bytes are not wanted: neither expanded nor read. */
static void overwrite(struct guest_mem *mem, uint64_t index, enum mem_user user)
{
    if (mem->state[index] != PAGE_COMPRESSED) {
        mem->stats.stale_reads_saved += user == MEM_USER_DEVICE;
        mem->stats.false_reads_saved += user == MEM_USER_CPU;
    }
    own_zeros(mem, index);
}

enum mem_answer mem_take(struct guest_mem *mem, gfn_t gfn, enum mem_intent intent,
                         enum mem_user user, hva_t *hva, bool *writable)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    if (index == MEM_NO_INDEX)
        return MEM_NOT_RAM;
    if (likely(answer_as_is(mem, slot, gfn, index, intent, hva, writable) == MEM_OK))
        return MEM_OK;
    switch ((enum page_state)mem->state[index]) {
    case PAGE_ABSENT:
        if (intent == MEM_FOR_READ)
            mem_set_state(mem, index, PAGE_ZERO);
        else
            own_zeros(mem, index);
        break;
    case PAGE_BALLOONED:
        mem->balloon.touched++;
        /* fallthrough */
    case PAGE_ZERO:
        mem_notify_unmap(mem, gfn);
        own_zeros(mem, index);
        break;
    case PAGE_SHARED:
        mem_notify_unmap(mem, gfn);
        break_shared(mem, index, intent);
        break;
    case PAGE_COMPRESSED:
    case PAGE_SWAPPED:
    case PAGE_SMART:
    case PAGE_IMAGE:
        if (intent == MEM_FOR_OVERWRITE && !mem->orders.without_cures)
            overwrite(mem, index, user);
        else if (!comein(mem, index))
            return MEM_HOST_ERROR;
        break;
    default:
        invariant(mem->state[index] < PAGE_STATES);
    }
    enum mem_answer answer = answer_as_is(mem, slot, gfn, index, intent, hva, writable);
    invariant(answer == MEM_OK);
    return answer;
}

bool mem_zero_frame(struct guest_mem *mem, gfn_t gfn)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    if (mem->state[index] >= PAGE_RESIDENT || mem->orders.without_cures)
        return false;
    mem_notify_unmap(mem, gfn);
    mem->stats.stale_reads_saved +=
        mem->state[index] >= PAGE_SWAPPED && mem->state[index] <= PAGE_SMART;
    mem_release(mem, index, PAGE_ZERO);
    if (mem->track[index])
        mem_note_written(mem, gfn_gpa(gfn), PAGE_SIZE);
    return true;
}

enum mem_answer mem_make_resident(struct guest_mem *mem, gfn_t gfn, enum mem_intent intent,
                                  hva_t *hva, bool *writable)
{
    enum mem_answer answer = mem_peek(mem, gfn, intent, hva, writable);

    if (likely(answer != MEM_NOT_READY))
        return answer;
    return mem_take(mem, gfn, intent, MEM_USER_CPU, hva, writable);
}

void mem_note_used(struct guest_mem *mem, gfn_t gfn)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    if (unlikely(index == MEM_NO_INDEX))
        return;
    uint8_t age = mem->age[index];
    if (likely(!age))
        return;
    if (age & AGE_AHEAD)
        ahead_used(mem, index);
    else
        mem->interval[index] = interval_next(mem->interval[index], age);
    mem->age[index] = 0;
}

hva_t mem_zero_page(const struct guest_mem *mem)
{
    return mem->zero_page;
}

enum page_state mem_page_state(const struct guest_mem *mem, gfn_t gfn)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    return index == MEM_NO_INDEX ? PAGE_ABSENT : (enum page_state)mem->state[index];
}

bool mem_pin(struct guest_mem *mem, gfn_t gfn)
{
    const struct mem_slot *slot;
    hva_t hva;
    bool writable;

    if (mem_make_resident(mem, gfn, MEM_FOR_WRITE, &hva, &writable) != MEM_OK)
        return false;
    mem_set_state(mem, mem_index(mem, gfn, &slot), PAGE_PINNED);
    return true;
}

void mem_unpin(struct guest_mem *mem, gfn_t gfn)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    if (index != MEM_NO_INDEX && mem->state[index] == PAGE_PINNED)
        mem_set_state(mem, index, PAGE_RESIDENT);
}

struct mem_ledger mem_ledger(const struct guest_mem *mem)
{
    return mem->ledger;
}
