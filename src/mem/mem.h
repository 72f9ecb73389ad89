/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest believes is RAM: slots (GFN -> HVA), one state per GFN, and the only door to it.
 *
 *     HVA = slot.userspace_addr + ((GFN - slot.base_gfn) << 12)
 *
 * Page states now: absent (never touched), zero (read, never written: the shared zero page),
 * resident, pinned (resident and must stay). Later: ballooned, shared, compressed, swapped, smart.
 * The ledger counts GFNs by state; the counts always sum to the size of guest memory.
 *
 * Invariants
 *   M1  every GFN of a slot is in exactly one state; sum of ledger == total pages
 *   M2  slots do not overlap and are sorted by base_gfn
 *   M3  host memory is taken only by mem_make_resident for writing
 *   M4  a frame with MEM_TRACK_* set is never handed out as writable without its tracker hearing of
 *       the write
 *
 * Lock: the owner's machine lock, or single-threaded use; the vCPU thread may call
 * mem_make_resident alone while it is the only vCPU.
 */
#ifndef UMBRA_MEM_MEM_H
#define UMBRA_MEM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

enum page_state { PAGE_ABSENT, PAGE_ZERO, PAGE_RESIDENT, PAGE_PINNED, PAGE_STATES };

/* Why writes to a frame must be heard of (bits). */
enum mem_track {
    MEM_TRACK_CODE = 1,  /* an engine holds decoded or translated instructions of it */
    MEM_TRACK_TABLE = 2, /* the shadow MMU wants to hear of writes to this guest table */
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
void mem_destroy(struct guest_mem *mem);

uint64_t mem_size_bytes(const struct guest_mem *mem);
const struct mem_slot *mem_slots(const struct guest_mem *mem, size_t *count);
const struct mem_slot *mem_find_slot(const struct guest_mem *mem, gfn_t gfn); /* NULL: not RAM */

/* ERR_INTERNAL when there are too many. The observer is known by its arg, which must stay valid. */
enum err mem_add_observer(struct guest_mem *mem, const struct mem_observer *observer) MUST_USE;
void mem_remove_observer(struct guest_mem *mem, const void *arg);

enum mem_intent { MEM_FOR_READ, MEM_FOR_WRITE };

enum mem_answer {
    MEM_OK,         /* *hva is valid for the intent */
    MEM_NOT_RAM,    /* no slot: a device or a hole */
    MEM_HOST_ERROR, /* err_text() says what */
    MEM_NOT_READY,  /* mem_peek only: mem_make_resident has work to do */
};

/*
 * Step 6 of a memory access: makes the frame usable. An absent page asked for reading answers with
 * the shared zero page (read-only!) and becomes PAGE_ZERO; asked for writing it becomes
 * PAGE_RESIDENT (observers' unmap is called first when it was PAGE_ZERO). *writable says whether
 * *hva may be written.
 */
enum mem_answer mem_make_resident(struct guest_mem *mem, gfn_t gfn, enum mem_intent intent,
                                  hva_t *hva, bool *writable);

/*
 * The same without side effects: MEM_OK only when the frame can be used for the intent as it is; an
 * absent frame, or a zero one asked for writing, answers MEM_NOT_READY.
 */
enum mem_answer mem_peek(const struct guest_mem *mem, gfn_t gfn, enum mem_intent intent, hva_t *hva,
                         bool *writable);

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
bool mem_is_ram(const struct guest_mem *mem, gpa_t gpa, uint64_t bytes);

/* Machine reset: every page goes back to absent, trackers and observers are told. */
void mem_reset(struct guest_mem *mem);

#endif
