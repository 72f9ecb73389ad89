/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest gives back. Whatever it says, a frame that is RAM and not pinned becomes one that
 * reads as zeros; the worst a lying guest reaches is to lose what it wrote there.
 *
 *   any but pinned --inflate--> ballooned --deflate--> absent
 *   any but pinned, ballooned --report--> absent       ballooned --written--> resident
 */
#include "mem/internal.h"

#define BATCH 256

/* Translations to the frame are gone already (unmap_batch). */
static void leave(struct guest_mem *mem, uint64_t index, enum page_state to)
{
    bool had_host_page = mem->state[index] >= PAGE_RESIDENT;

    mem_release(mem, index, to);
    if (mem->track[index])
        mem_note_written(mem, gfn_gpa(mem_index_gfn(mem, index)), PAGE_SIZE);
    if (had_host_page)
        discard_add(mem, index);
}

/* Frames that are about to leave; those that have no translation, or stay, are left out. */
static void unmap_batch(struct guest_mem *mem, const gfn_t *gfns, size_t count,
                        bool (*leaves)(enum page_state state))
{
    const struct mem_slot *slot;
    gfn_t going[BATCH];
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t index = mem_index(mem, gfns[i], &slot);

        if (index != MEM_NO_INDEX && mem->state[index] != PAGE_ABSENT && leaves(mem->state[index]))
            going[n++] = gfns[i];
    }
    if (n)
        mem_notify_unmap_many(mem, going, n);
}

static bool can_be_given(enum page_state state)
{
    return state != PAGE_PINNED && state != PAGE_BALLOONED;
}

static bool is_ballooned(enum page_state state)
{
    return state == PAGE_BALLOONED;
}

static uint64_t move_batch(struct guest_mem *mem, const gfn_t *gfns, size_t count,
                           bool (*leaves)(enum page_state state), enum page_state to)
{
    const struct mem_slot *slot;
    uint64_t moved = 0;

    unmap_batch(mem, gfns, count, leaves);
    for (size_t i = 0; i < count; i++) {
        uint64_t index = mem_index(mem, gfns[i], &slot);

        if (index == MEM_NO_INDEX || !leaves(mem->state[index])) {
            mem->balloon.ignored++;
            continue;
        }
        leave(mem, index, to);
        moved++;
    }
    return moved;
}

static uint64_t move(struct guest_mem *mem, const gfn_t *gfns, size_t count,
                     bool (*leaves)(enum page_state state), enum page_state to)
{
    uint64_t moved = 0;

    for (size_t done = 0; done < count; done += BATCH)
        moved +=
            move_batch(mem, gfns + done, count - done < BATCH ? count - done : BATCH, leaves, to);
    return moved;
}

uint64_t mem_balloon_inflate_many(struct guest_mem *mem, const gfn_t *gfns, size_t count)
{
    uint64_t moved = move(mem, gfns, count, can_be_given, PAGE_BALLOONED);

    mem->balloon.inflated += moved;
    return moved;
}

uint64_t mem_balloon_deflate_many(struct guest_mem *mem, const gfn_t *gfns, size_t count)
{
    uint64_t moved = move(mem, gfns, count, is_ballooned, PAGE_ABSENT);

    mem->balloon.deflated += moved;
    return moved;
}

bool mem_balloon_inflate(struct guest_mem *mem, gfn_t gfn)
{
    return mem_balloon_inflate_many(mem, &gfn, 1) == 1;
}

bool mem_balloon_deflate(struct guest_mem *mem, gfn_t gfn)
{
    return mem_balloon_deflate_many(mem, &gfn, 1) == 1;
}

void mem_report_free(struct guest_mem *mem, gfn_t first, uint64_t pages, enum mem_free_word word)
{
    uint64_t *count = word == MEM_FREE_REPORTED ? &mem->balloon.reported : &mem->balloon.hinted;
    uint64_t last = pages > UINT64_MAX - first.v ? UINT64_MAX : first.v + pages;
    gfn_t gfns[BATCH];

    /* Slot by slot, so that a wild count costs no more than there are pages. */
    for (size_t s = 0; s < mem->slot_count; s++) {
        uint64_t base = mem->slots[s].base_gfn.v;
        uint64_t end = base + mem->slots[s].pages;
        uint64_t to = last < end ? last : end;

        for (uint64_t g = first.v > base ? first.v : base; g < to;) {
            size_t n = 0;

            for (; n < BATCH && g < to; n++, g++)
                gfns[n] = gfn_make(g);
            *count += move_batch(mem, gfns, n, can_be_given, PAGE_ABSENT);
        }
    }
}

void mem_balloon_reset(struct guest_mem *mem)
{
    uint64_t left = mem->ledger.pages[PAGE_BALLOONED];

    for (uint64_t i = 0; i < mem->total_pages && left; i++) {
        if (mem->state[i] == PAGE_BALLOONED) {
            mem_notify_unmap(mem, mem_index_gfn(mem, i));
            leave(mem, i, PAGE_ABSENT);
            left--;
        }
    }
}

const struct mem_balloon_stats *mem_balloon_stats(const struct guest_mem *mem)
{
    return &mem->balloon;
}
