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

bool mem_read(struct guest_mem *mem, gpa_t gpa, void *buf, size_t bytes)
{
    uint8_t *to = buf;

    if (!mem_is_ram(mem, gpa, bytes)) {
        err_note(ERR_INVAL, "read of guest memory at 0x%llx outside RAM",
                 (unsigned long long)gpa.v);
        return false;
    }
    while (bytes) {
        size_t n = piece_bytes(gpa, bytes);
        hva_t hva;
        bool writable;
        if (mem_make_resident(mem, gpa_gfn(gpa), MEM_FOR_READ, &hva, &writable) != MEM_OK)
            return false;
        memcpy(to, (const uint8_t *)hva_ptr(hva) + gpa_offset(gpa), n);
        to += n;
        gpa = gpa_add(gpa, n);
        bytes -= n;
    }
    return true;
}

/* from NULL: zeros */
static bool store(struct guest_mem *mem, gpa_t gpa, const uint8_t *from, size_t bytes)
{
    if (!mem_is_ram(mem, gpa, bytes)) {
        err_note(ERR_INVAL, "write of guest memory at 0x%llx outside RAM",
                 (unsigned long long)gpa.v);
        return false;
    }
    while (bytes) {
        size_t n = piece_bytes(gpa, bytes);
        gfn_t gfn = gpa_gfn(gpa);
        hva_t hva;
        bool writable;
        /* A frame that reads as zeros already need not be taken for writing zeros. */
        if (from || mem_page_state(mem, gfn) >= PAGE_RESIDENT) {
            if (mem_make_resident(mem, gfn, MEM_FOR_WRITE, &hva, &writable) != MEM_OK)
                return false;
            uint8_t *to = (uint8_t *)hva_ptr(hva) + gpa_offset(gpa);
            if (from)
                memcpy(to, from, n);
            else
                memset(to, 0, n);
            if (mem_track(mem, gfn))
                mem_note_written(mem, gpa, n);
        }
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
