/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk writes under way: their frames will equal a block when the write ends, unless the frame or
 * the block changes before. The frame is tracked meanwhile, so its first write is heard of.
 *
 * The book is bounded; a write that finds it full makes its frame equal to nothing, which costs a
 * chance to drop the frame and nothing else.
 */
#include <stdlib.h>

#include "mem/internal.h"

static void shrink(struct ticket_book *book)
{
    while (book->high && !book->ticket[book->high - 1].number)
        book->high--;
}

bool ticket_has_frame(const struct guest_mem *mem, uint64_t index)
{
    const struct ticket_book *book = &mem->tickets;

    for (unsigned i = 0; i < book->high; i++) {
        if (book->ticket[i].number && book->ticket[i].index == index)
            return true;
    }
    return false;
}

void ticket_cancel_frame(struct guest_mem *mem, uint64_t index)
{
    struct ticket_book *book = &mem->tickets;

    for (unsigned i = 0; i < book->high; i++) {
        if (book->ticket[i].index == index)
            book->ticket[i].number = 0;
    }
    shrink(book);
}

static void drop_track(struct guest_mem *mem, uint64_t index)
{
    if (!image_has(mem, index) && !ticket_has_frame(mem, index))
        mem_track_clear(mem, mem_index_gfn(mem, index), MEM_TRACK_IMAGE);
}

void ticket_cancel_blocks(struct guest_mem *mem, uint64_t first_key, uint64_t last_key)
{
    struct ticket_book *book = &mem->tickets;

    for (unsigned i = 0; i < book->high; i++) {
        struct ticket *t = &book->ticket[i];
        if (!t->number || t->key < first_key || t->key > last_key)
            continue;
        t->number = 0;
        drop_track(mem, t->index);
    }
    shrink(book);
}

uint64_t mem_image_write_begins(struct guest_mem *mem, gfn_t gfn, unsigned disk, uint64_t block)
{
    struct ticket_book *book = &mem->tickets;
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);
    unsigned place = 0;

    if (index == MEM_NO_INDEX || disk >= MEM_DISKS_MAX || mem->state[index] <= PAGE_BALLOONED ||
        mem->orders.without_cures)
        return 0;
    if (!book->ticket) {
        book->ticket = calloc(TICKETS_MAX, sizeof *book->ticket);
        if (!book->ticket)
            return 0;
    }
    while (place < TICKETS_MAX && book->ticket[place].number)
        place++;
    if (place == TICKETS_MAX)
        return 0;
    book->generation++;
    book->ticket[place] = (struct ticket){.number = book->generation * TICKETS_MAX + place + 1,
                                          .index = index,
                                          .key = image_key(disk, block)};
    if (place >= book->high)
        book->high = place + 1;
    mem_track_set(mem, gfn, MEM_TRACK_IMAGE);
    return book->ticket[place].number;
}

void mem_image_write_done(struct guest_mem *mem, gfn_t gfn, uint64_t ticket, bool written)
{
    struct ticket_book *book = &mem->tickets;
    unsigned place = (unsigned)((ticket - 1) % TICKETS_MAX);
    struct ticket *t;

    if (!ticket || !book->ticket || book->ticket[place].number != ticket)
        return;
    t = &book->ticket[place];
    t->number = 0;
    if (written && mem_index_gfn(mem, t->index).v == gfn.v && mem->state[t->index] == PAGE_RESIDENT)
        image_link(mem, t->index, t->key);
    drop_track(mem, t->index);
    shrink(book);
}
