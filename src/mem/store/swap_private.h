/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the swap store: file, cipher, slots, writer, holes, reader.
 *
 * A slot is one page of the file. What is true of it, and where it is written down:
 *
 *                     slots.used   staged[slot]   slots.stale
 *     free                0             0         does the file hold remains there?
 *     staged              1           entry       does the file hold remains there?
 *     stored              1             0         0
 *
 * Invariants:
 *   S1  a run of slots that an operation in flight writes or punches is in no other write or punch
 *   S2  the ciphertext of a used slot is in its staging entry until a write of it has succeeded
 *   S3  an entry that a write in flight reads from is not given away: freed meanwhile, it is an
 *       orphan until the write ends
 *   S4  what the file holds at a slot that is not stored is marked stale until a hole is there, or
 *       is being punched or overwritten by an operation in flight
 */
#ifndef UMBRA_MEM_STORE_SWAP_PRIVATE_H
#define UMBRA_MEM_STORE_SWAP_PRIVATE_H

#include <limits.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/clock.h"
#include "mem/store/swap.h"

/* ---- the file (swap_file.c) ---- */

struct swap_file {
    int fd;
    enum swap_use use;
    char *path;
    uint64_t bytes;
    bool is_direct;             /* past the page cache */
    uint64_t unforgotten_bytes; /* buffered only: transferred since the page cache was dropped */
    dev_t device;
    ino_t inode;
};

enum err swap_file_create(struct swap_file *file, enum swap_use use, const char *path,
                          uint64_t bytes) MUST_USE;
void swap_file_remove(struct swap_file *file);
/* All holes again. False: the file system refused, err_text(). */
bool swap_file_clear(struct swap_file *file);
/* Buffered files: what was transferred there need not stay in the page cache. */
void swap_file_forget(struct swap_file *file, uint64_t offset, uint64_t bytes);

/* ---- the cipher (swap_crypt.c): AES-256-XTS, one data unit per page, tweak = slot ---- */

struct swap_crypt;

enum err swap_crypt_create(struct swap_crypt **out) MUST_USE;
void swap_crypt_destroy(struct swap_crypt *crypt);
void swap_encrypt(struct swap_crypt *crypt, uint32_t slot, const void *page, void *out);
void swap_decrypt(struct swap_crypt *crypt, uint32_t slot, const void *in, void *page);

/* ---- slots (swap_slots.c) ---- */

struct swap_slots {
    uint64_t slots, pages, words, used_count, fresh_words;
    uint64_t cursor;        /* word where the last search for room ended */
    uint64_t *used, *stale; /* bit per slot */
    uint32_t *slot_of;      /* index -> slot + 1, 0: none; NULL: every index has its own slot */
    uint32_t *touched;      /* per word: tick of the newest put or free */
    uint32_t *index_of;     /* slot -> index, of used slots */
    uint32_t *cluster_of;   /* group of 64 indexes -> word, and back: only true where both agree */
    uint32_t *group_of;
    void *area;
    size_t area_bytes;
};

enum err swap_slots_init(struct swap_slots *s, uint64_t slots, uint64_t pages) MUST_USE;
void swap_slots_fini(struct swap_slots *s);
/* The best slot for this index; SWAP_NO_SLOT: all are taken. */
uint32_t swap_slots_take(struct swap_slots *s, uint64_t index);
void swap_slots_give(struct swap_slots *s, uint32_t slot);
void swap_slots_give_all(struct swap_slots *s);
bool swap_slots_check(const struct swap_slots *s);

static inline bool swap_bit(const uint64_t *bits, uint64_t n)
{
    return bits[n / 64] >> n % 64 & 1;
}

static inline void swap_bit_set(uint64_t *bits, uint64_t n)
{
    bits[n / 64] |= UINT64_C(1) << n % 64;
}

static inline void swap_bit_clear(uint64_t *bits, uint64_t n)
{
    bits[n / 64] &= ~(UINT64_C(1) << n % 64);
}

/* ---- the whole ---- */

#define SWAP_OPS       32 /* writes and punches in flight */
#define SWAP_READ_OPS  4  /* reads in flight, of up to a cluster each */
#define SWAP_NO_ENTRY  0  /* entries count from 1 */
#define SWAP_RETRY_NS  UINT64_C(100000000)
#define SWAP_LATE_NS   UINT64_C(50000000)  /* a staged page is written at the latest after this */
#define SWAP_HUNT_NS   UINT64_C(500000000) /* between two looks for holes */
#define SWAP_PUNCH_OPS 8                   /* of the operations in flight, for holes */

/* Time in the tables is in ticks of 2^28 ns, a quarter of a second. */
#define SWAP_TICK_SHIFT  28
#define SWAP_QUIET_TICKS 8
/* Smaller holes than this wait longer. */
#define SWAP_HOLE_PAGES       16
#define SWAP_LONG_QUIET_TICKS 120
#define SWAP_DUE_PAGES        (SWAP_STAGING_PAGES / 2)
/* Staging that is empty keeps so much of its memory; more goes back, once in so long. */
#define SWAP_REST_PAGES 64
#define SWAP_REST_NS    UINT64_C(1000000000)

enum swap_way { SWAP_WRITING, SWAP_READING };

enum swap_entry_state { ENTRY_FREE, ENTRY_WAITING, ENTRY_WRITING, ENTRY_ORPHAN };

struct swap_entry {
    enum swap_entry_state state;
    uint32_t slot;
    uint16_t next; /* of the free list */
};

/* A write or a punch in flight. */
struct swap_op {
    struct aio_request request;
    struct swap *sw;
    bool is_busy;
    uint32_t first, count;
    uint16_t entry[SWAP_CLUSTER_PAGES];
    struct iovec iov[SWAP_CLUSTER_PAGES];
};

struct swap_read_op {
    struct aio *aio;
    struct aio_request request;
    struct iovec iov;
    int result;
};

struct swap {
    struct swap_file file;
    struct swap_crypt *crypt;
    struct swap_slots slots;
    struct aio *aio;
    struct aio *aio_at_once; /* for single reads */

    uint64_t *sum;    /* per slot: hash of what was put */
    uint16_t *staged; /* per slot: entry */
    void *area;       /* holds both */
    size_t area_bytes;

    uint8_t *memory; /* staging pages, then the buffers of reads */
    size_t memory_bytes;
    struct swap_entry entry[SWAP_STAGING_PAGES + 1];
    uint16_t free_entry;
    uint16_t touched;      /* entries up to this one may hold host memory */
    uint64_t rested_ns;    /* when that was given back last */
    uint64_t staged_count; /* entries that hold a used slot */
    uint64_t waiting_count;
    uint64_t oldest_ns; /* when the first of the waiting came */

    /* The round being written: slot << 16 | entry, ascending. */
    uint64_t round[SWAP_STAGING_PAGES];
    unsigned round_count, round_next;

    struct swap_op op[SWAP_OPS];
    unsigned writes_in_flight;
    struct swap_read_op read_op[SWAP_READ_OPS];

    /* A hunt for holes goes through the file once, with pauses while punches are on their way. */
    uint64_t hole_cursor; /* slots: no hunt is on */
    uint64_t hunt_ns;     /* when the newest began */
    uint64_t freed_count; /* not 0: remains that this hunt does not see */
    bool hunts_all;       /* this one: also in clusters that are not quiet */
    unsigned punches_in_flight;
    uint32_t tick;
    uint64_t punch_retry_ns;
    bool cannot_punch;

    bool failed[2]; /* by enum swap_way: the newest of that way */
    uint64_t retry_ns;
    char trouble[2][PATH_MAX + 160];

    uint64_t read_bytes, write_bytes, errors, checksum_errors, sequential_reads;
    uint64_t writes_ended; /* successes and failures, for swap_wait_room */
};

static inline uint8_t *swap_entry_page(const struct swap *sw, uint16_t entry)
{
    return sw->memory + (uint64_t)(entry - 1) * PAGE_SIZE;
}

static inline uint8_t *swap_read_buffer(const struct swap *sw, unsigned op)
{
    return sw->memory + (SWAP_STAGING_PAGES + (uint64_t)op * SWAP_CLUSTER_PAGES) * PAGE_SIZE;
}

/* error: errno */
void swap_note_failure(struct swap *sw, enum swap_way way, int error);
void swap_free_entry(struct swap *sw, uint16_t entry);
/* Remains are at this free slot, or were left there. */
void swap_note_stale(struct swap *sw, uint32_t slot);
struct swap_op *swap_op_get(struct swap *sw); /* NULL: all are busy */
void swap_op_submit(struct swap_op *op, enum aio_op what);
bool swap_op_overlaps(const struct swap_op *op, uint64_t first, uint64_t count);
void swap_holes_work(struct swap *sw, uint64_t now);
bool swap_ops_check(const struct swap *sw);

#endif
