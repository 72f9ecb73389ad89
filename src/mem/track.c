/* SPDX-License-Identifier: Apache-2.0 */
/* Observers and the tracking of writes. */
#include <string.h>

#include "mem/internal.h"
#include "mem/mem.h"

enum err mem_add_observer(struct guest_mem *mem, const struct mem_observer *observer)
{
    if (mem->observer_count == MEM_OBSERVERS_MAX)
        return err_new(ERR_INTERNAL, "more than %d observers of guest memory", MEM_OBSERVERS_MAX);
    mem->observers[mem->observer_count++] = *observer;
    return ERR_OK;
}

void mem_remove_observer(struct guest_mem *mem, const void *arg)
{
    size_t kept = 0;

    for (size_t o = 0; o < mem->observer_count; o++) {
        if (mem->observers[o].arg != arg)
            mem->observers[kept++] = mem->observers[o];
    }
    mem->observer_count = kept;
}

void mem_notify_unmap(struct guest_mem *mem, gfn_t gfn)
{
    for (size_t o = 0; o < mem->observer_count; o++) {
        const struct mem_observer *ob = &mem->observers[o];
        if (ob->unmap)
            ob->unmap(ob->arg, gfn);
    }
}

void mem_notify_unmap_many(struct guest_mem *mem, const gfn_t *gfns, size_t count)
{
    for (size_t o = 0; o < mem->observer_count; o++) {
        const struct mem_observer *ob = &mem->observers[o];
        if (ob->unmap_many) {
            ob->unmap_many(ob->arg, gfns, count);
            continue;
        }
        for (size_t i = 0; i < count && ob->unmap; i++)
            ob->unmap(ob->arg, gfns[i]);
    }
}

unsigned mem_track(const struct guest_mem *mem, gfn_t gfn)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    return index == MEM_NO_INDEX ? 0 : mem->track[index];
}

void mem_track_set(struct guest_mem *mem, gfn_t gfn, enum mem_track why)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    if (index == MEM_NO_INDEX)
        return;
    unsigned before = mem->track[index];
    mem->track[index] = (uint8_t)(before | (unsigned)why);
    if (before)
        return;
    for (size_t o = 0; o < mem->observer_count; o++) {
        const struct mem_observer *ob = &mem->observers[o];
        if (ob->write_protect)
            ob->write_protect(ob->arg, gfn);
    }
}

void mem_track_clear(struct guest_mem *mem, gfn_t gfn, enum mem_track why)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    if (index != MEM_NO_INDEX)
        mem->track[index] = (uint8_t)(mem->track[index] & ~(unsigned)why);
}

/* The first write ends a frame's likeness to a disk block; later ones are not asked for. */
static void forget_images(struct guest_mem *mem, gpa_t gpa, size_t bytes)
{
    gfn_t last = gpa_gfn(gpa_add(gpa, bytes - 1));

    for (gfn_t gfn = gpa_gfn(gpa); gfn.v <= last.v; gfn.v++) {
        const struct mem_slot *slot;
        uint64_t index = mem_index(mem, gfn, &slot);
        if (index != MEM_NO_INDEX && mem->track[index] & MEM_TRACK_IMAGE)
            image_forget(mem, index);
    }
}

void mem_note_written(struct guest_mem *mem, gpa_t gpa, size_t bytes)
{
    if (bytes)
        forget_images(mem, gpa, bytes);
    for (size_t o = 0; o < mem->observer_count; o++) {
        const struct mem_observer *ob = &mem->observers[o];
        if (ob->written)
            ob->written(ob->arg, gpa, bytes);
    }
}
