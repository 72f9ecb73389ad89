/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of guest memory: shared by the files of src/mem/ only.
 *
 *   mem.c        slots, creation, reset           residency.c  who is asked for a frame, states
 *   backing.c    host memory behind the slots
 *   comein.c     back from stores and files       access.c     the door for devices
 *   spare.c      host pages handed on
 *   discard.c    host pages given back in runs    balloon.c    what the guest gives back
 *   image.c      frames equal to disk blocks      ticket.c     disk writes that are under way
 *   age.c        idle ages                        victims.c    which frames leave next
 *   evict.c      how they leave                   equal.c      sharing of equal pages
 *   settled.c    compressed pages that go on      stores.c     opening, figures
 *   service.c    when, and how many
 *   smart.c      the smart-paging file            check.c      the proof
 *   track.c      observers, write tracking
 */
#ifndef UMBRA_MEM_INTERNAL_H
#define UMBRA_MEM_INTERNAL_H

#include <stdatomic.h>

#include "base/clock.h"
#include "base/invariant.h"
#include "base/log.h"
#include "mem/age.h"
#include "mem/balloon.h"
#include "mem/image.h"
#include "mem/mem.h"
#include "mem/reclaim.h"
#include "mem/store/share.h"
#include "mem/store/swap.h"
#include "mem/store/zstore.h"

#define MEM_SLOTS_MAX     2
#define MEM_OBSERVERS_MAX 8
#define MEM_NO_INDEX      UINT64_MAX

/* backing.c. fd: the file that all slots lie in, -1: none; give_back: the advice that does so */
struct backing {
    int fd, give_back;
};

/* Host pages to be given back, as runs of indexes. */
#define DISCARD_RUNS_MAX 256
struct discard_run {
    uint64_t first, count;
};
struct discard {
    struct discard_run run[DISCARD_RUNS_MAX];
    unsigned runs;
    uint64_t pages, keep; /* in the runs; of these, so many may wait to be handed on */
    uint64_t arrivals;    /* so many had come in at the last service */
    uint64_t arrival_ns;  /* the last service that found more */
    int fd;               /* spare.c */
    bool one_by_one;      /* the kernel does not take several at once */
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
    uint64_t frames;     /* with a key */
    uint64_t compressed; /* of these, in the compressed store */
    /* how many of them left, and came back, of late: both are halved when many have left */
    uint32_t left, back;
    uint64_t hand; /* evict.c looks for compressed ones from here on */
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
 * Copies of shared pages that were left inside an instruction: it may still read there (M5), so the
 * drop waits. A ring; one instruction touches far fewer pages.
 */
#define SHARES_LEFT_MAX 64
struct shares_left {
    share_id id[SHARES_LEFT_MAX];
    unsigned first, count;
};

/*
 * How many neighbours to bring in with a page, by how it went before (comein.c). first, last: what
 * was read last, in indexes or blocks
 */
#define AHEAD_MAX      64 /* of blocks of a disk */
#define AHEAD_SWAP_MAX 16
enum ahead_kind { AHEAD_SWAP, AHEAD_IMAGE, AHEAD_KINDS }; /* SWAP: both files of the VM */
struct ahead {
    uint64_t first, last;
    unsigned window;
    uint64_t used, used_before;
};

/* The next to leave (victims.c), idlest first. */
struct victims {
    enum page_state from;
    uint32_t *index;
    size_t room, count, next;
    unsigned lowest_rank;
    uint64_t hand;
    uint64_t age_scan; /* when it was made */
    bool spares_poor, spares_files;
    unsigned poor_factor;
    bool made;
};

/*
 * The smart-paging file (smart.c).
 * path:       NULL: there is to be none;  file: NULL: there is none now
 * is_refused: the host failed it: no page goes there until orders allow none any more
 * cursor:     index where draining goes on;  begun_ns: when the file was made
 * past:       figures of files that are gone;  log: a guest can restart as often as it likes
 */
struct smart {
    char *path;
    const struct aio_faults *faults;
    struct swap *file;
    bool is_refused;
    uint64_t cursor, begun_ns, retry_ns;
    uint8_t *pages; /* SMART_SLICE of them, while the file is there */
    struct swap_info past;
    struct log_limit log;
};
#define SMART_SLICE 64

/* last_ns: frames grew older; second_ns: those that are idle for a second did */
struct ageing {
    uint64_t last_ns, second_ns;
    uint64_t arrivals; /* so many had come in by then */
};

/*
 * settled.c. here: compressed pages by the seconds that they are idle, as the hand goes around;
 * back: such that came back; came: all that came in meanwhile; both forget slowly.
 * seconds: idle for so long, a compressed page goes on; AGE_SECONDS: none does
 */
struct settled {
    uint32_t here[AGE_SECONDS], back[AGE_SECONDS];
    uint64_t came, arrivals, budget;
    uint64_t hand, second_ns;
    unsigned seconds;
};

enum stall_kind { STALL_NONE, STALL_READ, STALL_SPACE };
struct stall {
    enum stall_kind kind;
    uint64_t index; /* STALL_READ: of the frame that could not be read */
    uint64_t tried_ns;
    char text[256];
};

/*
 * Frames are numbered through all slots ("index") for the arrays: slot_first[s] + (gfn - base_gfn).
 *
 * state: enum page_state        track: MEM_TRACK_*        age: idle periods and AGE_AHEAD
 * interval: how long it was idle between its uses, in the mean (below)
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
    uint8_t *interval;
    uint8_t *flag;
    uint32_t *place;
    hva_t zero_page;
    struct mem_ledger ledger;
    struct mem_observer observers[MEM_OBSERVERS_MAX];
    size_t observer_count;

    struct backing backing;
    struct discard discard;
    struct mem_balloon_stats balloon;
    struct image_map image;
    struct ticket_book tickets;

    struct share *share;
    struct zstore *zstore;
    struct swap *swap;
    struct smart smart;
    uint64_t compress_limit_bytes;
    struct shares_left shares_left;
    struct ahead ahead[AHEAD_KINDS];
    uint8_t *scratch;      /* AHEAD_MAX pages */
    uint64_t io_errors;    /* of disk images */
    uint64_t swap_read_ns; /* what a page from the swap file takes, in the mean of the last ones */

    struct victims victims, oldest; /* resident ones; compressed ones */
    struct ageing ageing;
    uint64_t scan_at, scan_ns;
    uint64_t looks_in_vain; /* pages that left since one had an equal, looked at or not */

    struct mem_reclaim_stats stats;
    struct mem_orders orders;
    struct settled settled;
    uint64_t latency[MEM_LATENCIES][MEM_LATENCY_BUCKETS];
    /* more frames in host memory than this: the hook is called, once until the next service */
    uint64_t trigger_pages;
    bool pressure_told;
    uint64_t noted_bytes; /* mem_note_beside, since the limit was last set */
    void (*pressure_hook)(void *arg);
    void *pressure_arg;
    struct stall stall;
    atomic_uint hurries; /* mem_hurry without mem_hurry_over */
};

/* The host page waits in `discard`: what it holds is void. */
#define FLAG_DISCARD 1
/* Read ahead from a disk image, not from the swap file. */
#define FLAG_AHEAD_IMAGE 2
/* Did not compress well when it left last: costs a slow way back. */
#define FLAG_POOR 4

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

/* stall.c; the text is printf's. */
void stall_set(struct guest_mem *mem, enum stall_kind kind, uint64_t index, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void stall_clear(struct guest_mem *mem, enum stall_kind kind);
/* A frame that could not be read is tried again. */
void stall_retry(struct guest_mem *mem, uint64_t now_ns);

/*
 * comein.c: a compressed, swapped or image frame becomes resident, perhaps with neighbours. False:
 * a stall was set.
 */
bool comein(struct guest_mem *mem, uint64_t index) MUST_USE;

/* Before any page was read the disk is taken for a slow one. */
#define SWAP_READ_SLOW_NS UINT64_C(400000)

/* A frame that was read ahead is used for the first time. */
void ahead_used(struct guest_mem *mem, uint64_t index);

/* The host page of a frame that has none yet reads as zeros from here on. */
void own_page_ready(struct guest_mem *mem, uint64_t index);
/* The same for who writes all of it: what it holds is void. */
void own_page_take(struct guest_mem *mem, uint64_t index);
/* Frames that came in from stores and files so far. */
uint64_t mem_arrivals(const struct guest_mem *mem);
/* Tells the hook when there are too many host pages. */
void pressure_check(struct guest_mem *mem);

/* The frame lies in `to` at `place` now; its host page goes back. */
void frame_leaves(struct guest_mem *mem, uint64_t index, enum page_state to, uint32_t place);

/* equal.c */
enum frame_map { FRAME_MAPPED, FRAME_UNMAPPED };
/* Shares the resident frame if an equal page is held or remembered. */
bool equal_try(struct guest_mem *mem, uint64_t index, enum frame_map map);
/* The same for one that leaves; seldom done while that finds nothing. */
bool equal_try_leaving(struct guest_mem *mem, uint64_t index);
void equal_leave(struct guest_mem *mem, share_id id);
void equal_drop_left(struct guest_mem *mem);
/* Looks at the next frames, at most the ordered pace allows, until the deadline. */
void equal_scan(struct guest_mem *mem, uint64_t now_ns, uint64_t deadline_ns);
bool page_is_zero(const void *page);

/* age.c, victims.c */
/* Answers when frames grow older next without pressure. */
uint64_t age_work(struct guest_mem *mem, uint64_t now_ns);
uint64_t victims_next(struct guest_mem *mem, struct victims *v);
/* By what is known of it now it should leave before those that the list still has. */
bool victims_is_before_others(const struct guest_mem *mem, const struct victims *v, uint64_t index);
void victims_remake(struct guest_mem *mem, struct victims *v);
/* Without regard for who compresses: a list made with it had nobody who could leave. */
void victims_remake_unsparing(struct guest_mem *mem, struct victims *v);
void victims_fini(struct victims *v);
/* The compressed store takes more without sending its oldest pages away. */
bool store_has_room(const struct guest_mem *mem);

/*
 * evict.c. left: frames that left host memory; is_busy: some could not because the swap file's
 * staging is full; is_end: no candidate is left in this round
 */
#define EVICT_BATCH 64
struct evicted {
    size_t left;
    bool is_busy, is_end;
};
struct evicted evict_batch(struct guest_mem *mem, size_t want);
/* The oldest compressed pages go on to the swap file or their disk block; how many did. */
size_t evict_overflow(struct guest_mem *mem, size_t want);
/* Compressed frames go on likewise; how many did, from the first on. */
size_t evict_compressed(struct guest_mem *mem, const uint64_t *index, size_t count);
/*
 * A frame that is in the smart-paging file, with what it holds, goes to the compressed store or the
 * swap file. False: neither takes it now.
 */
bool evict_from_smart(struct guest_mem *mem, uint64_t index, const void *page);

/* settled.c */
/* A compressed or swapped page comes back; its age is what it was idle. */
void settled_note_back(struct guest_mem *mem, uint64_t index);
/* A slice of work. */
void settled_work(struct guest_mem *mem);

/* smart.c */
/* A page may go there now. */
bool smart_is_allowed(const struct guest_mem *mem);
/* SWAP_FULL: not allowed, or refused. */
enum swap_put smart_put(struct guest_mem *mem, uint64_t index, const void *page, uint32_t *slot);
/* Begins and ends I/O, drains until the deadline what must go, removes the empty file. */
void smart_service(struct guest_mem *mem, uint64_t now_ns, uint64_t deadline_ns);
/* The file fails and some of its pages have moved elsewhere. False: it works, or none could. */
bool smart_gives_way(struct guest_mem *mem);
/* When it wants to be called next; UINT64_MAX: never. */
uint64_t smart_due(const struct guest_mem *mem, uint64_t now_ns);
/* All frames of the file have left it. */
void smart_close(struct guest_mem *mem);
void smart_info(const struct guest_mem *mem, struct swap_info *out);

/* The file that holds a SWAPPED or SMART frame. */
static inline struct swap *mem_file_of(const struct guest_mem *mem, uint64_t index)
{
    return mem->state[index] == PAGE_SMART ? mem->smart.file : mem->swap;
}

/* stores.c */
void stores_close(struct guest_mem *mem);
void stores_reset(struct guest_mem *mem);
void stores_sync_stats(struct guest_mem *mem);
/* Compressed pages that lie scattered move together; a slice of it. */
void stores_compact(struct guest_mem *mem);
uint64_t stores_staged_pages(const struct guest_mem *mem);
/* Host memory without what is on its way to files. */
uint64_t stores_held_bytes(const struct guest_mem *mem);

void latency_note(struct guest_mem *mem, enum mem_latency which, uint64_t ns);

void mem_notify_unmap(struct guest_mem *mem, gfn_t gfn);
void mem_notify_unmap_many(struct guest_mem *mem, const gfn_t *gfns, size_t count);

/* backing.c: private, until backing_share: all slots, of so many bytes together */
void backing_init(struct guest_mem *mem);
/* If the host can; else they stay private. */
void backing_share(struct guest_mem *mem, uint64_t bytes);
/* Host memory for a slot that begins at this offset of all; NULL. */
void *backing_map(const struct guest_mem *mem, uint64_t offset, uint64_t bytes);
void backing_close(struct guest_mem *mem);
/* Whole pages of a slot; they read as zeros then. */
void backing_give_back(const struct guest_mem *mem, void *at, uint64_t bytes);

/* discard.c: the frame has no use for its host page any more. */
void discard_add(struct guest_mem *mem, uint64_t index);
void discard_flush(struct guest_mem *mem);
/* The same, but for those that wait to be handed on. */
void discard_settle(struct guest_mem *mem);
/* The frame that was added last; false: none. */
bool discard_last(const struct guest_mem *mem, uint64_t *index);
/* It is not to be given back: its host page is another frame's now. */
void discard_forget_last(struct guest_mem *mem);
/* The frame has its own host page, which still waits, with any bytes again. False: it has none. */
bool discard_take_back(struct guest_mem *mem, uint64_t index);

/* spare.c */
void spare_init(struct guest_mem *mem);
/* Whether host pages can be handed on; asks the host once. */
bool spare_open(struct guest_mem *mem);
void spare_close(struct guest_mem *mem);
/* The frame, which has no host page, gets that of one that left; what it holds is void. */
bool spare_take(struct guest_mem *mem, uint64_t index);

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
/*
 * A frame with a key leaves (dropped or compressed) or comes back. Those that come back again and
 * again are kept compressed while there is room; those that do not are dropped.
 */
void image_note_left(struct guest_mem *mem);
void image_note_back(struct guest_mem *mem);
bool image_come_back(const struct guest_mem *mem);
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
