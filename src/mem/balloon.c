/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest gives back. Whatever it says, a frame that is RAM and not pinned becomes one that
 * reads as zeros; the worst a lying guest reaches is to lose what it wrote there.
 *
 *   any but pinned --inflate--> ballooned --deflate--> absent
 *   any but pinned, ballooned --report--> absent       ballooned --written--> resident
 */
#include "mem/internal.h"

static void leave(struct guest_mem *mem, uint64_t index, enum page_state to)
{
    bool had_host_page = mem->state[index] >= PAGE_RESIDENT;

    if (mem->state[index] != PAGE_ABSENT)
        mem_notify_unmap(mem, mem_index_gfn(mem, index));
    mem_release(mem, index, to);
    if (mem->track[index])
        mem_note_written(mem, gfn_gpa(mem_index_gfn(mem, index)), PAGE_SIZE);
    if (had_host_page)
        discard_add(mem, index);
}

bool mem_balloon_inflate(struct guest_mem *mem, gfn_t gfn)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    if (index == MEM_NO_INDEX || mem->state[index] == PAGE_PINNED ||
        mem->state[index] == PAGE_BALLOONED) {
        mem->balloon.ignored++;
        return false;
    }
    leave(mem, index, PAGE_BALLOONED);
    mem->balloon.inflated++;
    return true;
}

bool mem_balloon_deflate(struct guest_mem *mem, gfn_t gfn)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    if (index == MEM_NO_INDEX || mem->state[index] != PAGE_BALLOONED) {
        mem->balloon.ignored++;
        return false;
    }
    leave(mem, index, PAGE_ABSENT);
    mem->balloon.deflated++;
    return true;
}

void mem_report_free(struct guest_mem *mem, gfn_t first, uint64_t pages, enum mem_free_word word)
{
    uint64_t *count = word == MEM_FREE_REPORTED ? &mem->balloon.reported : &mem->balloon.hinted;
    uint64_t last = pages > UINT64_MAX - first.v ? UINT64_MAX : first.v + pages;

    /* Slot by slot, so that a wild count costs no more than there are pages. */
    for (size_t s = 0; s < mem->slot_count; s++) {
        uint64_t base = mem->slots[s].base_gfn.v;
        uint64_t end = base + mem->slots[s].pages;
        uint64_t to = last < end ? last : end;

        for (uint64_t g = first.v > base ? first.v : base; g < to; g++) {
            uint64_t index = mem->slot_first[s] + (g - base);
            if (mem->state[index] == PAGE_PINNED || mem->state[index] == PAGE_BALLOONED) {
                mem->balloon.ignored++;
                continue;
            }
            (*count)++;
            if (mem->state[index] != PAGE_ABSENT)
                leave(mem, index, PAGE_ABSENT);
        }
    }
}

void mem_balloon_reset(struct guest_mem *mem)
{
    uint64_t left = mem->ledger.pages[PAGE_BALLOONED];

    for (uint64_t i = 0; i < mem->total_pages && left; i++) {
        if (mem->state[i] == PAGE_BALLOONED) {
            leave(mem, i, PAGE_ABSENT);
            left--;
        }
    }
}

const struct mem_balloon_stats *mem_balloon_stats(const struct guest_mem *mem)
{
    return &mem->balloon;
}
