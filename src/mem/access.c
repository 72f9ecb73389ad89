/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door: copies between host buffers and guest memory, page by page, after one check of all
 * bounds.
 */
#include <string.h>

#include "mem/internal.h"
#include "mem/mem.h"

bool mem_is_ram(const struct guest_mem *mem, gpa_t gpa, uint64_t bytes)
{
    if (bytes == 0)
        return true;
    if (gpa.v + bytes - 1 < gpa.v)
        return false;
    for (size_t s = 0; s < mem->slot_count; s++) {
        uint64_t start = gfn_gpa(mem->slots[s].base_gfn).v;
        uint64_t size = mem->slots[s].pages << PAGE_SHIFT;
        if (gpa.v >= start && gpa.v - start < size)
            return bytes <= size - (gpa.v - start); /* slots do not touch: the hole lies between */
    }
    return false;
}

static size_t piece_bytes(gpa_t gpa, size_t left)
{
    size_t room = (size_t)(PAGE_SIZE - gpa_offset(gpa));

    return left < room ? left : room;
}

/* The index of the frame at gpa, which is RAM. */
static uint64_t index_at(const struct guest_mem *mem, gpa_t gpa)
{
    const struct mem_slot *slot;

    return mem_index(mem, gpa_gfn(gpa), &slot);
}

static bool read_in(struct guest_mem *mem, gpa_t gpa, void *to, size_t bytes)
{
    gfn_t gfn = gpa_gfn(gpa);
    hva_t hva;
    bool writable;

    if (mem_take(mem, gfn, MEM_FOR_READ, MEM_USER_DEVICE, &hva, &writable) != MEM_OK)
        return false;
    mem_note_used(mem, gfn);
    memcpy(to, (const uint8_t *)hva_ptr(hva) + gpa_offset(gpa), bytes);
    return true;
}

static bool read_past(struct guest_mem *mem, gpa_t gpa, void *to, size_t bytes)
{
    uint64_t index = index_at(mem, gpa);
    uint8_t page[PAGE_SIZE];

    if (mem->state[index] == PAGE_ABSENT) {
        memset(to, 0, bytes);
        return true;
    }
    if (mem->state[index] >= PAGE_RESIDENT || mem->state[index] <= PAGE_SHARED)
        return read_in(mem, gpa, to, bytes);
    if (bytes == PAGE_SIZE)
        return mem_copy_out(mem, index, to);
    if (!mem_copy_out(mem, index, page))
        return false;
    memcpy(to, page + gpa_offset(gpa), bytes);
    return true;
}

static bool read_with(struct guest_mem *mem, gpa_t gpa, uint8_t *to, size_t bytes,
                      bool (*read)(struct guest_mem *mem, gpa_t gpa, void *to, size_t bytes))
{
    if (!mem_is_ram(mem, gpa, bytes)) {
        err_note(ERR_INVAL, "read of guest memory at 0x%llx outside RAM",
                 (unsigned long long)gpa.v);
        return false;
    }
    while (bytes) {
        size_t n = piece_bytes(gpa, bytes);
        if (!read(mem, gpa, to, n))
            return false;
        to += n;
        gpa = gpa_add(gpa, n);
        bytes -= n;
    }
    return true;
}

bool mem_read(struct guest_mem *mem, gpa_t gpa, void *buf, size_t bytes)
{
    return read_with(mem, gpa, buf, bytes, read_in);
}

bool mem_read_through(struct guest_mem *mem, gpa_t gpa, void *buf, size_t bytes)
{
    return read_with(mem, gpa, buf, bytes, read_past);
}

bool mem_read_for_device(struct guest_mem *mem, gpa_t gpa, void *buf, size_t bytes)
{
    return read_with(mem, gpa, buf, bytes, mem->orders.without_cures ? read_in : read_past);
}

/* from NULL: zeros */
static bool store_piece(struct guest_mem *mem, gpa_t gpa, const uint8_t *from, size_t bytes)
{
    gfn_t gfn = gpa_gfn(gpa);
    enum mem_intent intent = bytes == PAGE_SIZE ? MEM_FOR_OVERWRITE : MEM_FOR_WRITE;
    hva_t hva;
    bool writable;

    /* A frame that reads as zeros already need not be taken for writing zeros. */
    if (!from && (mem->state[index_at(mem, gpa)] <= PAGE_BALLOONED ||
                  (bytes == PAGE_SIZE && mem_zero_frame(mem, gfn))))
        return true;
    if (mem_take(mem, gfn, intent, MEM_USER_DEVICE, &hva, &writable) != MEM_OK)
        return false;
    mem_note_used(mem, gfn);
    uint8_t *to = (uint8_t *)hva_ptr(hva) + gpa_offset(gpa);
    if (from)
        memcpy(to, from, bytes);
    else
        memset(to, 0, bytes);
    if (mem_track(mem, gfn))
        mem_note_written(mem, gpa, bytes);
    return true;
}

static bool store(struct guest_mem *mem, gpa_t gpa, const uint8_t *from, size_t bytes)
{
    if (!mem_is_ram(mem, gpa, bytes)) {
        err_note(ERR_INVAL, "write of guest memory at 0x%llx outside RAM",
                 (unsigned long long)gpa.v);
        return false;
    }
    while (bytes) {
        size_t n = piece_bytes(gpa, bytes);
        if (!store_piece(mem, gpa, from, n))
            return false;
        if (from)
            from += n;
        gpa = gpa_add(gpa, n);
        bytes -= n;
    }
    return true;
}

bool mem_write(struct guest_mem *mem, gpa_t gpa, const void *buf, size_t bytes)
{
    return store(mem, gpa, buf, bytes);
}

bool mem_fill_zero(struct guest_mem *mem, gpa_t gpa, size_t bytes)
{
    return store(mem, gpa, NULL, bytes);
}
