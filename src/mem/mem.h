/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest believes is RAM: slots (GFN -> HVA), one state per GFN, and the only door to it.
 *
 *     HVA = slot.userspace_addr + ((GFN - slot.base_gfn) << 12)
 *
 * The ledger counts GFNs by state; the counts always sum to the size of guest memory
 * (docs/memory.md draws the states and who moves a page from one to the other).
 *
 * Invariants
 *   M1  every GFN of a slot is in exactly one state; sum of ledger == total pages
 *   M2  slots do not overlap and are sorted by base_gfn
 *   M3  host memory for a frame is taken only by mem_make_resident
 *   M4  a frame with MEM_TRACK_* set is never handed out as writable without its tracker hearing of
 *       the write
 *   M5  a frame leaves residency (reclaim, balloon) only between two instructions of the guest: an
 *       HVA answered inside one stays good until its end
 *   M6  what a page holds is in one place only: its own host page, a store, the swap file, a disk
 *       image, or nowhere because it is zeros
 *
 * Threads: one, the vCPU's, or another while the vCPU is held. Counters may be read by any thread.
 */
#ifndef UMBRA_MEM_MEM_H
#define UMBRA_MEM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

/* clang-format off */
/* In this order: up to BALLOONED a page reads as zeros, from RESIDENT on it has a host page. */
#define PAGE_STATE_LIST(X)                                                                         \
    X(ABSENT,     "absent",     "never touched, or given back by the guest")                       \
    X(ZERO,       "zero",       "reads as zeros, never written since")                             \
    X(BALLOONED,  "ballooned",  "in the guest's balloon")                                          \
    X(SHARED,     "shared",     "equal to other pages, held once for all of them")                 \
    X(COMPRESSED, "compressed", "held compressed")                                                 \
    X(SWAPPED,    "swapped",    "in the VM's swap file")                                           \
    X(IMAGE,      "image",      "equal to a block of a disk image, dropped")                       \
    X(SMART,      "smart",      "in the smart-paging file")                                        \
    X(RESIDENT,   "resident",   "in host memory of its own")                                       \
    X(PINNED,     "pinned",     "the same, and must stay there")
/* clang-format on */

#define PAGE_STATE_ENUM(name, word, help) PAGE_##name,
enum page_state { PAGE_STATE_LIST(PAGE_STATE_ENUM) PAGE_STATES };

/* "absent", "zero", ... */
const char *page_state_name(enum page_state state);

/* Why writes to a frame must be heard of (bits). */
enum mem_track {
    MEM_TRACK_CODE = 1,  /* an engine holds decoded or translated instructions of it */
    MEM_TRACK_TABLE = 2, /* the shadow MMU wants to hear of writes to this guest table */
    MEM_TRACK_IMAGE = 4, /* equal to a block of a disk image until it is written (mem/image.h) */
};

struct mem_slot {
    gfn_t base_gfn;
    uint64_t pages;
    hva_t userspace_addr;
};

/* Hears of what happens to frames, in the order of registration. Any function may be NULL. */
struct mem_observer {
    void *arg;
    /*
     * the frame's HVA or permission changes: drop every translation to it (called before it
     * changes)
     */
    void (*unmap)(void *arg, gfn_t gfn);
    /*
     * the same for several frames that leave together, so that a TLB need be searched or flushed
     * but once; NULL: unmap is called for each
     */
    void (*unmap_many)(void *arg, const gfn_t *gfns, size_t count);
    /* forget which frames were used: the next use of each calls mem_note_used again */
    void (*age)(void *arg);
    /* the same for all frames at once; NULL: unmap is called for each frame that is not absent */
    void (*unmap_all)(void *arg);
    /* a frame starts to be tracked: withdraw write access from every translation to it */
    void (*write_protect)(void *arg, gfn_t gfn);
    /*
     * bytes of a tracked frame were written by somebody (a device, boot code, an engine's slow
     * path)
     */
    void (*written)(void *arg, gpa_t gpa, size_t bytes);
};

struct guest_mem;

/* Gap below 4 GiB that is never RAM: 3 GiB .. 4 GiB. RAM above 3 GiB continues at 4 GiB. */
#define MEM_HOLE_START UINT64_C(0xc0000000)
#define MEM_HOLE_END   UINT64_C(0x100000000)

/*
 * size_bytes: multiple of 4096, at least 1 MiB. Reserves host address space only.
 * ERR_INVAL when the size is not usable, ERR_NOMEM when the host refuses.
 */
enum err mem_create(struct guest_mem **out, uint64_t size_bytes) MUST_USE;
/*
 * The same, but other processes can map the guest's pages (mem_share_of). Where the host cannot
 * have it so, the memory is private as ever.
 */
enum err mem_create_shareable(struct guest_mem **out, uint64_t size_bytes) MUST_USE;
void mem_destroy(struct guest_mem *mem);

uint64_t mem_size_bytes(const struct guest_mem *mem);
const struct mem_slot *mem_slots(const struct guest_mem *mem, size_t *count);
const struct mem_slot *mem_find_slot(const struct guest_mem *mem, gfn_t gfn); /* NULL: not RAM */

/* ERR_INTERNAL when there are too many. The observer is known by its arg, which must stay valid. */
enum err mem_add_observer(struct guest_mem *mem, const struct mem_observer *observer) MUST_USE;
void mem_remove_observer(struct guest_mem *mem, const void *arg);

/*
 * MEM_FOR_OVERWRITE: every byte of the page is written before anybody reads it, so what it holds is
 * not brought in (VSwapper's false reads). Whatever was there is undefined afterwards.
 */
enum mem_intent { MEM_FOR_READ, MEM_FOR_WRITE, MEM_FOR_OVERWRITE };

enum mem_answer {
    MEM_OK,         /* *hva is valid for the intent */
    MEM_NOT_RAM,    /* no slot: a device or a hole */
    MEM_HOST_ERROR, /* err_text() says what */
    MEM_NOT_READY,  /* mem_peek only: mem_make_resident has work to do */
};

/*
 * Step 6 of a memory access: makes the frame usable. A page that reads as zeros and is asked for
 * reading answers with the shared zero page (read-only!); a shared page answers with the one copy
 * (read-only!). Asked for writing, a page becomes PAGE_RESIDENT (observers' unmap is called first
 * when it was readable elsewhere before). Compressed, swapped and image pages come in; their
 * neighbours may come in too. Nothing leaves (M5). *writable says whether *hva may be written.
 *
 * MEM_HOST_ERROR: what the page holds cannot be had now; mem_stall() says so too when trying again
 * later may help, and nothing is lost.
 */
enum mem_answer mem_make_resident(struct guest_mem *mem, gfn_t gfn, enum mem_intent intent,
                                  hva_t *hva, bool *writable);

/*
 * The same without side effects: MEM_OK only when the frame can be used for the intent as it is; an
 * absent frame, or a zero one asked for writing, answers MEM_NOT_READY.
 */
enum mem_answer mem_peek(const struct guest_mem *mem, gfn_t gfn, enum mem_intent intent, hva_t *hva,
                         bool *writable);

/*
 * The frame was used: its age begins again. Called by whoever fills a translation cache, for every
 * fill.
 */
void mem_note_used(struct guest_mem *mem, gfn_t gfn);

/*
 * What the limit counts beside the guest's memory grew by so much (an engine's code): pages have as
 * much less, until all of it is measured at the next service.
 */
void mem_note_beside(struct guest_mem *mem, uint64_t bytes);

/*
 * Why the guest cannot go on for now, in words for the user ("no space left for NAME.vswp: free
 * some and the guest goes on"); NULL when it can. A stall ends by itself when mem_service or
 * mem_make_resident succeeds.
 */
const char *mem_stall(const struct guest_mem *mem);

/*
 * The file in which a host address of a slot lies, and where in it: *offset is that of the byte.
 * -1, *offset as it was: the memory is private, or the address is none of a slot (the zero page, a
 * shared page's copy). The file is mem's own: not to be closed, cut or extended. Only what a frame
 * has while it is resident may be touched through it: touching anything else makes a host page
 * that nobody counts. A page that leaves goes from the file, and so from every mapping of it.
 */
int mem_share_of(const struct guest_mem *mem, hva_t hva, uint64_t *offset);

/* The shared page that absent and zero frames are read from; never to be written. */
hva_t mem_zero_page(const struct guest_mem *mem);

/* PAGE_ABSENT for frames that are not RAM. */
enum page_state mem_page_state(const struct guest_mem *mem, gfn_t gfn);

/*
 * A resident frame stays resident, or may leave again. False: not RAM, or the host failed
 * (err_text()).
 */
bool mem_pin(struct guest_mem *mem, gfn_t gfn) MUST_USE;
void mem_unpin(struct guest_mem *mem, gfn_t gfn);

struct mem_ledger {
    uint64_t pages[PAGE_STATES];
};
struct mem_ledger mem_ledger(const struct guest_mem *mem);

/* Counts every GFN and compares with the ledger; false (and err_text) on the first disagreement. */
bool mem_check(const struct guest_mem *mem);

/*
 * Tracking. Setting the first bit of a frame calls write_protect of all observers. mem_track
 * answers 0 for frames that are not RAM.
 */
unsigned mem_track(const struct guest_mem *mem, gfn_t gfn);
void mem_track_set(struct guest_mem *mem, gfn_t gfn, enum mem_track why);
void mem_track_clear(struct guest_mem *mem, gfn_t gfn, enum mem_track why);

/*
 * The writer of a tracked frame says so (after the bytes changed); calls `written` of all
 * observers.
 */
void mem_note_written(struct guest_mem *mem, gpa_t gpa, size_t bytes);

/*
 * The door for devices and boot code: copies, checks bounds, crosses pages, makes pages resident
 * and tells trackers. False when any byte is not RAM (nothing is copied then) or the host failed
 * (err_text()).
 */
bool mem_read(struct guest_mem *mem, gpa_t gpa, void *buf, size_t bytes) MUST_USE;
bool mem_write(struct guest_mem *mem, gpa_t gpa, const void *buf, size_t bytes) MUST_USE;
bool mem_fill_zero(struct guest_mem *mem, gpa_t gpa, size_t bytes) MUST_USE;
/*
 * Like mem_read, but leaves each page in the state it is in: compressed and swapped pages are read
 * into buf only. For inspection, and for devices that copy (a guest that writes a page to its own
 * swap).
 */
bool mem_read_through(struct guest_mem *mem, gpa_t gpa, void *buf, size_t bytes) MUST_USE;
/* For a device that copies: mem_read_through, or mem_read when the orders are without cures. */
bool mem_read_for_device(struct guest_mem *mem, gpa_t gpa, void *buf, size_t bytes) MUST_USE;
bool mem_is_ram(const struct guest_mem *mem, gpa_t gpa, uint64_t bytes);

/* Machine reset: every page goes back to absent, its place in stores and files is free again;
 * trackers and observers are told. */
void mem_reset(struct guest_mem *mem);

#endif
