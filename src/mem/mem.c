/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots, page states and the ledger.
 *
 *            read                    write
 *   absent --------> zero        absent, zero --------> resident        resident <----> pinned
 *          make_resident                  make_resident           mem_pin, mem_unpin
 *
 *   any --------> absent: mem_reset
 *
 * Host memory: one private anonymous mapping per slot without reservation. The kernel gives a page
 * at the first write, so absent and zero frames cost nothing; zero frames are read from one shared
 * page, so that reading does not even fill the host's page tables.
 */
#include "mem/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "mem/internal.h"

#define MEM_SIZE_MIN (UINT64_C(1) << 20)
/* A guest physical address has at most 52 bits; the host's own limit is met long before. */
#define MEM_SIZE_MAX (UINT64_C(1) << 46)

static void *reserve(uint64_t bytes, int prot)
{
    void *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static enum err add_slot(struct guest_mem *mem, uint64_t base_gpa, uint64_t bytes)
{
    void *p = reserve(bytes, PROT_READ | PROT_WRITE);
    if (!p)
        return err_errno(ERR_NOMEM,
                         "the host refuses %" PRIu64 " MiB of address space for guest memory",
                         bytes >> 20);
    /* Page by page on purpose: a huge page would cost 2 MiB for a guest that touched 4 KiB. */
    (void)madvise(p, bytes, MADV_NOHUGEPAGE);

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

    void *zero = reserve(PAGE_SIZE, PROT_READ);
    mem->state = reserve(mem->total_pages, PROT_READ | PROT_WRITE);
    mem->track = reserve(mem->total_pages, PROT_READ | PROT_WRITE);
    mem->zero_page = hva_from_ptr(zero);
    if (!zero || !mem->state || !mem->track)
        return err_errno(ERR_NOMEM, "the host refuses the tables for guest memory");
    mem->ledger.pages[PAGE_ABSENT] = mem->total_pages;
    return ERR_OK;
}

enum err mem_create(struct guest_mem **out, uint64_t size_bytes)
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
    enum err err = populate(mem, size_bytes);
    if (err) {
        mem_destroy(mem);
        return err;
    }
    *out = mem;
    return ERR_OK;
}

void mem_destroy(struct guest_mem *mem)
{
    if (!mem)
        return;
    for (size_t s = 0; s < mem->slot_count; s++)
        munmap(hva_ptr(mem->slots[s].userspace_addr), mem->slots[s].pages << PAGE_SHIFT);
    if (mem->state)
        munmap(mem->state, mem->total_pages);
    if (mem->track)
        munmap(mem->track, mem->total_pages);
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

static void set_state(struct guest_mem *mem, uint64_t index, enum page_state to)
{
    mem->ledger.pages[mem->state[index]]--;
    mem->ledger.pages[to]++;
    mem->state[index] = (uint8_t)to;
}

enum mem_answer mem_peek(const struct guest_mem *mem, gfn_t gfn, enum mem_intent intent, hva_t *hva,
                         bool *writable)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    if (index == MEM_NO_INDEX)
        return MEM_NOT_RAM;
    if (likely(mem->state[index] >= PAGE_RESIDENT)) {
        *hva = mem_slot_hva(slot, gfn);
        *writable = true;
        return MEM_OK;
    }
    if (mem->state[index] == PAGE_ABSENT || intent == MEM_FOR_WRITE)
        return MEM_NOT_READY;
    *hva = mem->zero_page;
    *writable = false;
    return MEM_OK;
}

enum mem_answer mem_make_resident(struct guest_mem *mem, gfn_t gfn, enum mem_intent intent,
                                  hva_t *hva, bool *writable)
{
    enum mem_answer answer = mem_peek(mem, gfn, intent, hva, writable);
    const struct mem_slot *slot = NULL;
    uint64_t index;

    if (likely(answer != MEM_NOT_READY))
        return answer;
    index = mem_index(mem, gfn, &slot);
    if (intent == MEM_FOR_READ) {
        set_state(mem, index, PAGE_ZERO);
        *hva = mem->zero_page;
        *writable = false;
        return MEM_OK;
    }
    if (mem->state[index] == PAGE_ZERO)
        mem_notify_unmap(mem, gfn);
    set_state(mem, index, PAGE_RESIDENT);
    *hva = mem_slot_hva(slot, gfn);
    *writable = true;
    return MEM_OK;
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
    set_state(mem, mem_index(mem, gfn, &slot), PAGE_PINNED);
    return true;
}

void mem_unpin(struct guest_mem *mem, gfn_t gfn)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    if (index != MEM_NO_INDEX && mem->state[index] == PAGE_PINNED)
        set_state(mem, index, PAGE_RESIDENT);
}

struct mem_ledger mem_ledger(const struct guest_mem *mem)
{
    return mem->ledger;
}

bool mem_check(const struct guest_mem *mem)
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
    reset_tell(mem);
    for (size_t s = 0; s < mem->slot_count; s++) {
        /* Private anonymous memory reads as zeros after MADV_DONTNEED. */
        int rc = madvise(hva_ptr(mem->slots[s].userspace_addr), mem->slots[s].pages << PAGE_SHIFT,
                         MADV_DONTNEED);
        invariant(rc == 0);
    }
    int rc = madvise(mem->state, mem->total_pages, MADV_DONTNEED);
    invariant(rc == 0);
    mem->ledger = (struct mem_ledger){0};
    mem->ledger.pages[PAGE_ABSENT] = mem->total_pages;
}
