/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of guest memory: shared by the files of src/mem/ only.
 *
 *   mem.c        slots, creation, reset           residency.c  who is asked for a frame, states
 *   comein.c     back from stores and files       access.c     the door for devices
 *   discard.c    host pages given back in runs    balloon.c    what the guest gives back
 *   image.c      frames equal to disk blocks      ticket.c     disk writes that are under way
 *   age.c        idle ages                        victims.c    which frames leave next
 *   evict.c      how they leave                   equal.c      sharing of equal pages
 *   service.c    when, and how many               stores.c     opening, figures
 *   check.c      the proof                        track.c      observers, write tracking
 */
#ifndef UMBRA_MEM_INTERNAL_H
#define UMBRA_MEM_INTERNAL_H

#include "base/invariant.h"
#include "mem/balloon.h"
#include "mem/image.h"
#include "mem/mem.h"
#include "mem/reclaim.h"

#define MEM_SLOTS_MAX     2
#define MEM_OBSERVERS_MAX 8
#define MEM_NO_INDEX      UINT64_MAX

/* Host pages to be given back, as runs of indexes. */
#define DISCARD_RUNS_MAX 64
struct discard_run {
    uint64_t first, count;
};
struct discard {
    struct discard_run run[DISCARD_RUNS_MAX];
    unsigned runs;
};

/*
 * Frames equal to disk blocks. Chained by block in a hash table; next is the index + 1 of the next
 * frame in the chain, as is head. key: disk and block, 0: none.
 */
#define IMAGE_CHAIN_MAX 64
struct image_map {
    struct mem_image_source source;
    uint64_t *key;
    uint32_t *next;
    uint32_t *head;
    uint64_t buckets;
    uint64_t frames; /* with a key */
};

/* Disk writes under way. A ticket's number is its place + 1 + a multiple of TICKETS_MAX. */
#define TICKETS_MAX 1024
struct ticket {
    uint64_t number; /* 0: free */
    uint64_t index, key;
};
struct ticket_book {
    struct ticket *ticket; /* TICKETS_MAX of them, made at the first use */
    unsigned high;         /* places from here on are free */
    uint64_t generation;
};

/*
 * Frames are numbered through all slots ("index") for the arrays: slot_first[s] + (gfn - base_gfn).
 *
 * state: enum page_state        track: MEM_TRACK_*        age: idle periods and AGE_AHEAD
 * flag: FLAG_*                  place: share_id, zstore_id or swap slot, by state
 */
struct guest_mem {
    struct mem_slot slots[MEM_SLOTS_MAX];
    uint64_t slot_first[MEM_SLOTS_MAX];
    size_t slot_count;
    uint64_t total_pages;
    uint8_t *state;
    uint8_t *track;
    uint8_t *age;
    uint8_t *flag;
    uint32_t *place;
    hva_t zero_page;
    struct mem_ledger ledger;
    struct mem_observer observers[MEM_OBSERVERS_MAX];
    size_t observer_count;

    struct discard discard;
    struct mem_balloon_stats balloon;
    struct image_map image;
    struct ticket_book tickets;

    struct mem_reclaim_stats stats;
    struct mem_orders orders;
    uint64_t latency[MEM_LATENCIES][MEM_LATENCY_BUCKETS];
    /* more frames in host memory than this: the hook is called, once until the next service */
    uint64_t trigger_pages;
    bool pressure_told;
    void (*pressure_hook)(void *arg);
    void *pressure_arg;
    char stall[256]; /* "" while the guest can go on */
};

/* The low bits of an age count periods; the mark says "read ahead and not used yet". */
#define AGE_MAX   127
#define AGE_AHEAD 128

/* The host page waits in `discard`: what it holds is void. */
#define FLAG_DISCARD 1

/* Address space that costs nothing until it is touched; NULL. */
void *mem_reserve(uint64_t bytes, int prot);

/* Index of a frame and its slot; MEM_NO_INDEX when it is not RAM. */
static inline uint64_t mem_index(const struct guest_mem *mem, gfn_t gfn,
                                 const struct mem_slot **slot)
{
    for (size_t s = 0; s < mem->slot_count; s++) {
        uint64_t off = gfn.v - mem->slots[s].base_gfn.v;
        if (off < mem->slots[s].pages) {
            *slot = &mem->slots[s];
            return mem->slot_first[s] + off;
        }
    }
    return MEM_NO_INDEX;
}

static inline hva_t mem_slot_hva(const struct mem_slot *slot, gfn_t gfn)
{
    return hva_make(slot->userspace_addr.v + ((gfn.v - slot->base_gfn.v) << PAGE_SHIFT));
}

/* The other way round; index < total_pages. */
static inline gfn_t mem_index_gfn(const struct guest_mem *mem, uint64_t index)
{
    size_t s = mem->slot_count - 1;

    while (s && index < mem->slot_first[s])
        s--;
    return gfn_make(mem->slots[s].base_gfn.v + (index - mem->slot_first[s]));
}

static inline void *mem_index_ptr(const struct guest_mem *mem, uint64_t index)
{
    size_t s = mem->slot_count - 1;

    while (s && index < mem->slot_first[s])
        s--;
    return (char *)hva_ptr(mem->slots[s].userspace_addr) +
           ((index - mem->slot_first[s]) << PAGE_SHIFT);
}

/* Moves the ledger; what the frame held before must be released. */
void mem_set_state(struct guest_mem *mem, uint64_t index, enum page_state to);

/* Host pages that frames have of their own. */
static inline uint64_t mem_own_pages(const struct guest_mem *mem)
{
    return mem->ledger.pages[PAGE_RESIDENT] + mem->ledger.pages[PAGE_PINNED];
}

/* mem_make_resident with the one who asks: devices' and CPUs' overwrites are counted apart. */
enum mem_user { MEM_USER_CPU, MEM_USER_DEVICE };
enum mem_answer mem_take(struct guest_mem *mem, gfn_t gfn, enum mem_intent intent,
                         enum mem_user user, hva_t *hva, bool *writable);

/*
 * What the frame holds is not wanted any more: frees its place and its ties to the disk, and leaves
 * it in `to` (ABSENT, ZERO, BALLOONED, or RESIDENT, when its host page reads as zeros). Observers
 * have been told.
 */
void mem_release(struct guest_mem *mem, uint64_t index, enum page_state to);

/* Whole pages of zeros: false when the frame must be written to instead. */
bool mem_zero_frame(struct guest_mem *mem, gfn_t gfn);

/* Copies a page that is not in host memory of its own; its state stays. */
bool mem_copy_out(struct guest_mem *mem, uint64_t index, void *page);

void mem_stall_set(struct guest_mem *mem, const char *text);
void mem_stall_clear(struct guest_mem *mem);

void mem_notify_unmap(struct guest_mem *mem, gfn_t gfn);
void mem_notify_unmap_many(struct guest_mem *mem, const gfn_t *gfns, size_t count);

/* discard.c: the frame has no use for its host page any more. */
void discard_add(struct guest_mem *mem, uint64_t index);
void discard_flush(struct guest_mem *mem);

/* image.c */
enum err image_init(struct guest_mem *mem) MUST_USE;
void image_fini(struct guest_mem *mem);
void image_reset(struct guest_mem *mem);
/* The frame does not equal its block any more, nor will it when a write ends. */
void image_forget(struct guest_mem *mem, uint64_t index);
/* The same, but writes under way may still make it equal to theirs. */
void image_unlink(struct guest_mem *mem, uint64_t index);
static inline bool image_has(const struct guest_mem *mem, uint64_t index)
{
    return mem->image.key[index] != 0;
}
void image_where(const struct guest_mem *mem, uint64_t index, unsigned *disk, uint64_t *block);
/* A PAGE_IMAGE frame of the block, MEM_NO_INDEX: none. */
uint64_t image_find_dropped(const struct guest_mem *mem, unsigned disk, uint64_t block);
bool image_check(const struct guest_mem *mem);
void image_link(struct guest_mem *mem, uint64_t index, uint64_t key);
uint64_t image_key(unsigned disk, uint64_t block);

/* ticket.c: the frame was written, or the blocks were (keys first .. last). */
void ticket_cancel_frame(struct guest_mem *mem, uint64_t index);
void ticket_cancel_blocks(struct guest_mem *mem, uint64_t first_key, uint64_t last_key);
bool ticket_has_frame(const struct guest_mem *mem, uint64_t index);

#endif
