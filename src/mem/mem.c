/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots, page states and the ledger. The arrays by frame are mapped without reservation, as guest
 * memory is (backing.c).
 */
#include "mem/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "mem/internal.h"

#define MEM_SIZE_MIN (UINT64_C(1) << 20)
/* Frames are numbered with 32 bits in the tables; the host's own limit is met long before. */
#define MEM_SIZE_MAX (UINT64_C(1) << 43)

void *mem_reserve(uint64_t bytes, int prot)
{
    void *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* The arrays by frame; the first is its trackers' own and outlives a reset. */
struct array {
    void **at;
    uint64_t bytes;
};
#define ARRAYS 6

static void arrays_of(struct guest_mem *mem, struct array out[ARRAYS])
{
    out[0] = (struct array){(void **)&mem->track, mem->total_pages * sizeof *mem->track};
    out[1] = (struct array){(void **)&mem->state, mem->total_pages * sizeof *mem->state};
    out[2] = (struct array){(void **)&mem->age, mem->total_pages * sizeof *mem->age};
    out[3] = (struct array){(void **)&mem->flag, mem->total_pages * sizeof *mem->flag};
    out[4] = (struct array){(void **)&mem->place, mem->total_pages * sizeof *mem->place};
    out[5] = (struct array){(void **)&mem->interval, mem->total_pages * sizeof *mem->interval};
}

static enum err add_slot(struct guest_mem *mem, uint64_t base_gpa, uint64_t bytes)
{
    void *p = backing_map(mem, mem->total_pages << PAGE_SHIFT, bytes);
    if (!p)
        return err_errno(ERR_NOMEM,
                         "the host refuses %" PRIu64 " MiB of address space for guest memory",
                         bytes >> 20);

    struct mem_slot *slot = &mem->slots[mem->slot_count];
    slot->base_gfn = gpa_gfn(gpa_make(base_gpa));
    slot->pages = bytes >> PAGE_SHIFT;
    slot->userspace_addr = hva_from_ptr(p);
    mem->slot_first[mem->slot_count] = mem->total_pages;
    mem->slot_count++;
    mem->total_pages += slot->pages;
    return ERR_OK;
}

static enum err populate(struct guest_mem *mem, uint64_t size_bytes)
{
    uint64_t low = size_bytes < MEM_HOLE_START ? size_bytes : MEM_HOLE_START;

    enum err err = add_slot(mem, 0, low);
    if (!err && size_bytes > low)
        err = add_slot(mem, MEM_HOLE_END, size_bytes - low);
    if (err)
        return err;

    void *zero = mem_reserve(PAGE_SIZE, PROT_READ);
    mem->zero_page = hva_from_ptr(zero);
    mem->scratch = mem_reserve(AHEAD_MAX * PAGE_SIZE, PROT_READ | PROT_WRITE);
    bool refused = !zero || !mem->scratch;
    struct array array[ARRAYS];
    arrays_of(mem, array);
    for (unsigned i = 0; i < ARRAYS; i++) {
        *array[i].at = mem_reserve(array[i].bytes, PROT_READ | PROT_WRITE);
        refused = refused || !*array[i].at;
    }
    if (refused)
        return err_errno(ERR_NOMEM, "the host refuses the tables for guest memory");
    mem->ledger.pages[PAGE_ABSENT] = mem->total_pages;
    return image_init(mem);
}

enum backing_kind { BACKING_PRIVATE, BACKING_SHAREABLE };

static enum err create(struct guest_mem **out, uint64_t size_bytes, enum backing_kind kind)
{
    *out = NULL;
    if (size_bytes < MEM_SIZE_MIN)
        return err_new(ERR_INVAL, "guest memory of %" PRIu64 " bytes is too small: use at least 1M",
                       size_bytes);
    if (size_bytes % PAGE_SIZE)
        return err_new(ERR_INVAL,
                       "guest memory of %" PRIu64
                       " bytes is not a multiple of 4096: use a size like 512M",
                       size_bytes);
    if (size_bytes > MEM_SIZE_MAX)
        return err_new(ERR_INVAL,
                       "guest memory of %" PRIu64
                       " MiB is more than this host can address: use less",
                       size_bytes >> 20);

    struct guest_mem *mem = calloc(1, sizeof *mem);
    if (!mem)
        return err_errno(ERR_NOMEM, "guest memory");
    spare_init(mem);
    backing_init(mem);
    if (kind == BACKING_SHAREABLE)
        backing_share(mem, size_bytes);
    enum err err = populate(mem, size_bytes);
    if (err) {
        mem_destroy(mem);
        return err;
    }
    mem->trigger_pages = UINT64_MAX;
    mem->victims.from = PAGE_RESIDENT;
    mem->oldest.from = PAGE_COMPRESSED;
    mem->swap_read_ns = SWAP_READ_SLOW_NS;
    mem->settled.seconds = AGE_SECONDS;
    mem->orders = (struct mem_orders){.limit_bytes = UINT64_MAX, .target_bytes = UINT64_MAX};
    *out = mem;
    return ERR_OK;
}

enum err mem_create(struct guest_mem **out, uint64_t size_bytes)
{
    return create(out, size_bytes, BACKING_PRIVATE);
}

enum err mem_create_shareable(struct guest_mem **out, uint64_t size_bytes)
{
    return create(out, size_bytes, BACKING_SHAREABLE);
}

void mem_destroy(struct guest_mem *mem)
{
    if (!mem)
        return;
    for (size_t s = 0; s < mem->slot_count; s++)
        munmap(hva_ptr(mem->slots[s].userspace_addr), mem->slots[s].pages << PAGE_SHIFT);
    backing_close(mem);
    spare_close(mem);
    stores_close(mem);
    image_fini(mem);
    if (mem->scratch)
        munmap(mem->scratch, AHEAD_MAX * PAGE_SIZE);
    struct array array[ARRAYS];
    arrays_of(mem, array);
    for (unsigned i = 0; i < ARRAYS; i++) {
        if (*array[i].at)
            munmap(*array[i].at, array[i].bytes);
    }
    if (mem->zero_page.v)
        munmap(hva_ptr(mem->zero_page), PAGE_SIZE);
    free(mem);
}

uint64_t mem_size_bytes(const struct guest_mem *mem)
{
    return mem->total_pages << PAGE_SHIFT;
}

const struct mem_slot *mem_slots(const struct guest_mem *mem, size_t *count)
{
    *count = mem->slot_count;
    return mem->slots;
}

const struct mem_slot *mem_find_slot(const struct guest_mem *mem, gfn_t gfn)
{
    const struct mem_slot *slot = NULL;

    return mem_index(mem, gfn, &slot) == MEM_NO_INDEX ? NULL : slot;
}

/*
 * Frames whose content the trackers know go first, so that they forget it while the frames still
 * exist.
 */
static void reset_tell(struct guest_mem *mem)
{
    for (size_t s = 0; s < mem->slot_count; s++) {
        for (uint64_t p = 0; p < mem->slots[s].pages; p++) {
            if (mem->track[mem->slot_first[s] + p])
                mem_note_written(mem, gfn_gpa(gfn_make(mem->slots[s].base_gfn.v + p)), PAGE_SIZE);
        }
    }
    for (size_t o = 0; o < mem->observer_count; o++) {
        const struct mem_observer *ob = &mem->observers[o];
        if (ob->unmap_all) {
            ob->unmap_all(ob->arg);
            continue;
        }
        if (!ob->unmap)
            continue;
        for (size_t s = 0; s < mem->slot_count; s++) {
            for (uint64_t p = 0; p < mem->slots[s].pages; p++) {
                if (mem->state[mem->slot_first[s] + p] != PAGE_ABSENT)
                    ob->unmap(ob->arg, gfn_make(mem->slots[s].base_gfn.v + p));
            }
        }
    }
}

void mem_reset(struct guest_mem *mem)
{
    discard_flush(mem);
    reset_tell(mem);
    image_reset(mem);
    stores_reset(mem);
    for (size_t s = 0; s < mem->slot_count; s++) {
        backing_give_back(mem, hva_ptr(mem->slots[s].userspace_addr),
                          mem->slots[s].pages << PAGE_SHIFT);
    }
    struct array array[ARRAYS];
    arrays_of(mem, array);
    for (unsigned i = 1; i < ARRAYS; i++) {
        int rc = madvise(*array[i].at, array[i].bytes, MADV_DONTNEED);
        invariant(rc == 0);
    }
    mem->ledger = (struct mem_ledger){0};
    mem->ledger.pages[PAGE_ABSENT] = mem->total_pages;
}
