/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the shadow MMU: shared by the files of src/mmu/ only.
 *
 * Invariants (audit.c proves S1 to S5, S8 and S9 on demand)
 *   S1  a shadow page is known by (guest table frame, linear address it begins at, role) and only
 *       once
 *   S2  every present leaf with a frame is on that frame's chain of the reverse map, and nothing
 *       else is
 *   S3  every link is on its child's chain of parents, and nothing else is
 *   S4  no entry describes a guest entry that was not present
 *   S5  a cached HVA is the one that mem answers, and writable only while the frame is resident
 *   S6  a link is followed only after its guest entry was compared with what it was when it was
 *       linked
 *   S7  a leaf is used only if it was right at some use since its root became current and since the
 *       last flush that covers it: it is marked fresh and page.fresh_since >= need, the newest of
 *       these and of page.linked on the way
 *   S8  the count of pages never passes the quota; room is made before the guest's tables are read;
 *       the current root is not reclaimed
 *   S9  a frame is tracked as a table exactly while a page that shadows a table in it is not loose;
 *       every present entry of such a page equals the guest's, except on lines marked written
 */
#ifndef UMBRA_MMU_INTERNAL_H
#define UMBRA_MMU_INTERNAL_H

#include "base/invariant.h"
#include "base/log.h"
#include "mmu/format.h"
#include "mmu/mmu.h"
#include "mmu/rights.h"
#include "mmu/trace.h"
#include "mmu/walk.h"

/*
 * A shadow entry: flags, protection key and an address.
 *
 *   63      56 55  52 51                                12 11                            0
 *  +----------+------+------------------------------------+--+--+--+--+--+--+--+--+--+--+--+
 *  |    0     | pkey |  address (see below)               |  G  D NX  U  W HW DV LG LK  P  |
 *  +----------+------+------------------------------------+--+--+--+--+--+--+--+--+--+--+--+
 *
 *   4 KiB leaf   HVA as mem answered it; not HW: of the zero page, or of one that frames share
 *   LG leaf      GPA of the large page; the HVA is found per 4 KiB when an answer is given
 *   DV leaf      GPA of a page that is not RAM
 *   LK           pointer to the child shadow page (64-byte aligned)
 */
#define SPTE_P          UINT64_C(0x001) /* present */
#define SPTE_LK         UINT64_C(0x002) /* link to a shadow page */
#define SPTE_LG         UINT64_C(0x004) /* large page */
#define SPTE_DV         UINT64_C(0x008) /* device */
#define SPTE_HW         UINT64_C(0x010) /* host page may be written */
#define SPTE_W          UINT64_C(0x020)
#define SPTE_U          UINT64_C(0x040)
#define SPTE_NX         UINT64_C(0x080)
#define SPTE_D          UINT64_C(0x100) /* dirty in the guest's table */
#define SPTE_G          UINT64_C(0x200) /* global in the guest's table */
#define SPTE_ADDR       UINT64_C(0x000ffffffffff000)
#define SPTE_PKEY_SHIFT 52

static inline struct rights spte_rights(uint64_t spte)
{
    return (struct rights){.user = spte & SPTE_U,
                           .write = spte & SPTE_W,
                           .nx = spte & SPTE_NX,
                           .pkey = (uint8_t)(spte >> SPTE_PKEY_SHIFT & 15)};
}

/*
 * Role: all but place that changes what a shadow page's entries mean. Format, level, what the
 * levels above allow (u, w, nx), EFER.NXE, CR4.PSE; for PAE roots also bits 11:5 of CR3, since four
 * tables of 32 bytes begin in different places of one frame.
 */
#define ROLE_FORMAT_SHIFT 0
#define ROLE_LEVEL_SHIFT  3
#define ROLE_USER         0x0040u
#define ROLE_WRITE        0x0080u
#define ROLE_NX           0x0100u
#define ROLE_NXE          0x0200u
#define ROLE_LARGE        0x0400u
#define ROLE_SUB_SHIFT    11
#define ROLE_ACCESS       (ROLE_USER | ROLE_WRITE | ROLE_NX)

/* One place in a chain: page id << NODE_INDEX_BITS | entry index; 0: none. */
typedef uint32_t node_id;
#define NODE_INDEX_BITS 10
#define NODE_INDEX_MASK ((1u << NODE_INDEX_BITS) - 1)
#define ENTRIES_MAX     (1u << NODE_INDEX_BITS)

struct chain_links {
    node_id prev, next;
};

/*
 * How a page follows its guest table (S9).
 *
 * loose:  writes to the table are not heard of; what is used after a flush is compared first
 * step:   each write is heard of; the present entries equal the guest's
 * unsync: each write is heard of and only noted: lines marked written may be out of date
 */
enum page_sync { SYNC_LOOSE, SYNC_STEP, SYNC_UNSYNC };

#define CALM_MIN  8u
#define FLOOD_MAX 16u

#define LINE_SHIFT 6u /* a guest table is one frame: 64 lines of 64 bytes */

/*
 * present, fresh: bitmaps of entries
 * fresh_since: every leaf marked fresh was right at some moment not before this
 * linked:      when a link to this page was last made (S7)
 * written:     bitmap of lines written since the page was last in step
 * calm:        flushes outlived without a change, while loose
 * writes:      writes heard of since the page was last used after a flush
 * prefetched:  bitmap of leaves set ahead of their use and not used yet
 * table:       the guest's table as host memory, while it is there; NULL: ask mem again
 * referenced:  used since pages last grew older (quota) and since frames did (mem's age)
 * idle:        so many times frames have grown older without a use
 * is_held:     spte, raw and chain take host memory
 * raw:         guest entry that spte[i] was made from
 * chain:       neighbours of spte[i] on a frame's chain (leaf) or on the child's chain of parents
 *              (link)
 */
struct shadow_page {
    gfn_t gfn;
    uint64_t gva;
    uint32_t role;
    uint32_t id;
    uint8_t level, shift, entry_bytes;
    bool in_registers;
    bool referenced;
    bool is_held;
    uint8_t idle;
    bool is_root; /* some root may point here */
    uint16_t entries;
    uint16_t present_count;
    node_id parents;
    enum page_sync sync;
    uint8_t calm;
    uint16_t writes;
    uint64_t written;
    uint64_t fresh_since, linked;
    const void *table;
    struct shadow_page *hash_next, *older, *newer;
    uint64_t present[ENTRIES_MAX / 64];
    uint64_t fresh[ENTRIES_MAX / 64];
    uint64_t prefetched[ENTRIES_MAX / 64];
    uint64_t *spte, *raw;
    struct chain_links *chain;
} __attribute__((aligned(64))); /* a link to it has flags in the lowest bits */

/*
 * A root: everything that gives linear addresses a meaning and a view. Its TLB tag is asid.
 *
 * page:  NULL: not made yet, reclaimed, or the guest's root table is not RAM
 * need:  leaves must be at least that fresh (S7)
 */
struct root {
    bool used;
    uint64_t cr3;
    uint32_t role, pcid, view, pkru;
    struct shadow_page *page;
    unsigned asid;
    uint64_t asid_made, need;
};

/*
 * The roots that see global translations alike: all but CR3 and PCID is the same. Their TLB entries
 * of global translations have one tag.
 */
struct root_family {
    uint32_t role, view, pkru;
    unsigned asid; /* 0: not used */
    uint64_t asid_made;
};

#define ROOTS            256u
#define FAMILIES         16u
#define ASIDS            1024u
#define PCIDS            4096u
#define HASH_SIZE        4096u
#define LARGE_FILL_SHIFT 12
#define LARGE_FILL_BITS  (1u << LARGE_FILL_SHIFT)

/*
 * A strategy: how the shadow follows the guest's tables. NULL where it has nothing to do.
 *
 * made:        a shadow page was made, still empty
 * used_again:  the first use of a page after a flush
 * is_current:  does the entry still follow from the guest's? asked for links of loose pages and for
 *              leaves not known to be fresh. May set the entry anew; false: it is out of date, or
 *              gone
 * flush_address: the guest flushed one address of the current context
 * written:     the table that `page` shadows was written, bytes [start, end); may drop the page.
 *              True: more was done about it than to note it
 * filled:      a walk has set a leaf: its neighbours may be set ahead of their use
 */
struct sync_ops {
    const char *name;
    void (*made)(struct mmu *mmu, struct shadow_page *page);
    void (*used_again)(struct mmu *mmu, struct shadow_page *page);
    bool (*is_current)(struct mmu *mmu, struct shadow_page *page, unsigned index);
    void (*flush_address)(struct mmu *mmu, gva_t gva);
    bool (*written)(struct mmu *mmu, struct shadow_page *page, unsigned start, unsigned end);
    void (*filled)(struct mmu *mmu, struct shadow_page *page, unsigned index);
};

struct oracle;

struct mmu {
    struct paging pg;
    struct mmu_context context; /* that pg was made of, CR3 aside */
    struct root *cur;
    struct guest_mem *mem;
    struct mmu_tlb_ops tlb;
    const struct sync_ops *sync;
    struct mmu_stats stats;

    /* shadow pages */
    struct shadow_page **by_id;
    uint8_t *entries; /* of all ids, ENTRIES_BYTES each: address space */
    uint32_t id_count, id_max;
    struct shadow_page *spare; /* not in use, chained by hash_next */
    struct shadow_page *hash[HASH_SIZE];
    struct shadow_page *newest, *oldest;
    uint64_t quota_pages;

    /* heads of the chains of the reverse map, by frame */
    node_id *rmap[2];

    /* roots, tags and the clock of flushes */
    struct root roots[ROOTS];
    struct root_family families[FAMILIES], *family; /* the current root's */
    unsigned next_family;                           /* the next to be given to others */
    unsigned next_asid;
    uint64_t asid_floor; /* tags made before this are void */
    uint64_t now;
    uint64_t flushed_all;
    uint64_t flushed_global; /* the last flush that global translations do not outlive */
    uint64_t flushed_pcid[PCIDS];
    bool pcide;
    /*
     * adaptive: unchanged flushes until a table is followed; writes without a use until it is not
     */
    unsigned calm_min, flood_max;
    bool walking; /* a write to a table now is the walker's own, of A or D */
    /* regions whose TLB fills may have come from a large page, hashed: of 2 or 4 MiB, of 1 GiB */
    uint64_t large_fill[LARGE_FILL_BITS / 64];
    uint64_t huge_fill;

    unsigned maxphyaddr;
    struct oracle *oracle;
    bool audit_exits;
    const struct mmu_trace *trace; /* NULL: nobody listens */
};

/* --- shadow.c --- */
enum err shadow_init(struct mmu *mmu) MUST_USE;
void shadow_fini(struct mmu *mmu);

/* Makes room for one fault's pages within the quota. May drop any page but the current root's. */
void shadow_make_room(struct mmu *mmu);

/* Finds or makes the page; NULL: the table is not RAM, or the host has no memory for it. */
struct shadow_page *shadow_get(struct mmu *mmu, gfn_t gfn, uint64_t gva, uint32_t role);

void shadow_set_leaf(struct mmu *mmu, struct shadow_page *page, unsigned index, uint64_t raw,
                     uint64_t spte);
void shadow_set_link(struct mmu *mmu, struct shadow_page *page, unsigned index, uint64_t raw,
                     struct shadow_page *child);
void shadow_drop(struct mmu *mmu, struct shadow_page *page, unsigned index);
enum zap_reason { ZAP_QUOTA, ZAP_PLACES, ZAP_UNSHADOW, ZAP_IDLE, ZAP_RESET };
void shadow_zap(struct mmu *mmu, struct shadow_page *page, enum zap_reason why);
void shadow_zap_all(struct mmu *mmu);
/* Frames grow older: so do pages, and those that were long idle go, their host memory with them. */
void shadow_grow_older(struct mmu *mmu);

/* The guest's table as host memory; NULL: it cannot be read as it is, only a walk brings it in. */
const void *shadow_table(struct mmu *mmu, struct shadow_page *page);

/* The pages that shadow a table in this frame are those with its gfn in this list. */
struct shadow_page *shadow_of_frame(struct mmu *mmu, gfn_t gfn);

/* The frame got another HVA: pages that shadow a table in it ask again. */
void shadow_forget_table(struct mmu *mmu, gfn_t gfn);

static inline struct shadow_page *spte_child(uint64_t spte)
{
    return (struct shadow_page *)(uintptr_t)(spte & ~UINT64_C(63));
}

static inline unsigned shadow_index(const struct shadow_page *page, gva_t gva)
{
    return (unsigned)(gva.v >> page->shift) & (page->entries - 1u);
}

/* First byte of the page that leaf spte[index] maps, in guest physical memory. */
gpa_t shadow_leaf_gpa(const struct shadow_page *page, unsigned index);

/* --- rmap.c --- */
enum err rmap_init(struct mmu *mmu) MUST_USE;
void rmap_fini(struct mmu *mmu);

/* Head of the chain of a frame; NULL: not RAM. */
node_id *rmap_head(struct mmu *mmu, gfn_t gfn);
void chain_add(struct mmu *mmu, node_id *head, struct shadow_page *page, unsigned index);
void chain_del(struct mmu *mmu, node_id *head, struct shadow_page *page, unsigned index);

static inline struct shadow_page *node_page(const struct mmu *mmu, node_id node)
{
    return mmu->by_id[node >> NODE_INDEX_BITS];
}

static inline unsigned node_index(node_id node)
{
    return node & NODE_INDEX_MASK;
}

extern const struct mem_observer mmu_mem_observer;

/* --- root.c --- */
/* The shadow page of the current root; NULL as for shadow_get. */
struct shadow_page *root_page(struct mmu *mmu);
void root_forget_page(struct mmu *mmu, const struct shadow_page *page);
uint32_t role_for(const struct paging *pg, unsigned level);

/* The TLB is about to hold a 4 KiB piece of a page of 1 << shift bytes. */
void root_note_large_fill(struct mmu *mmu, unsigned shift, gva_t gva);

/* Drops all that the TLB has. */
void root_flush_tlb(struct mmu *mmu);
/* Frames grow older. */
void root_age_tlb(struct mmu *mmu);

/* Drops what the TLB has of a GVA in every tag, large pages wholly. */
void root_flush_tlb_page(struct mmu *mmu, gva_t gva);

/* --- trace.c --- */
static inline bool trace_wants(const struct mmu *mmu, enum mmu_trace_event event)
{
    return unlikely(mmu->trace != NULL) && (mmu->trace->mask >> event & 1);
}

/* An event that is no access, in the current address space; asks nobody whether it is wanted. */
void trace_event(struct mmu *mmu, enum mmu_trace_event event, gva_t gva, uint64_t old_value,
                 uint64_t new_value);

/* The same for an event of one shadow page. */
void trace_page(struct mmu *mmu, enum mmu_trace_event event, const struct shadow_page *page,
                gva_t gva, uint64_t old_value, uint64_t new_value);

/* --- follow.c --- */
/* Starts and ends hearing of writes to the page's table; it must be in step by then. */
void follow_track(struct mmu *mmu, struct shadow_page *page);
void follow_loosen(struct mmu *mmu, struct shadow_page *page);

/* Are writes to tables in this frame to be heard of? */
bool follow_is_on(struct mmu *mmu, gfn_t gfn);

/*
 * Compares a present entry with the guest's and sets or drops it accordingly. True: it had changed.
 */
bool follow_entry(struct mmu *mmu, struct shadow_page *page, unsigned index);

/* The same for all present entries with a byte in [start, end) of the table. */
void follow_range(struct mmu *mmu, struct shadow_page *page, unsigned start, unsigned end);

/* Sets leaves around `index`, in its line, that the guest has made and used before. */
void follow_prefetch(struct mmu *mmu, struct shadow_page *page, unsigned index);

/*
 * Does this write say that the frame is no table any more? Nobody writes two entries at once
 * (single bits are cleared by accesses of one byte, though), and a table that no other one points
 * to is none.
 */
bool follow_is_no_table(const struct mmu *mmu, const struct shadow_page *page, unsigned start,
                        unsigned end);

/* Somebody has written a tracked table. */
void follow_written(struct mmu *mmu, gpa_t gpa, size_t bytes);

static inline unsigned line_of(const struct shadow_page *page, unsigned index)
{
    return index * page->entry_bytes >> LINE_SHIFT;
}

/* --- lazy.c, traced.c, adaptive.c --- */
extern const struct sync_ops sync_lazy, sync_trace, sync_adaptive;

/* What lazy does for a loose page. */
bool lazy_is_current(struct mmu *mmu, struct shadow_page *page, unsigned index);

/* --- oracle.c --- */
enum err oracle_create(struct oracle **out, struct mmu *mmu) MUST_USE;
void oracle_destroy(struct oracle *oracle);
/* from_shadow: the answer came from the shadow, so the guest's tables may have moved on since */
void oracle_check(struct oracle *oracle, const struct mmu_access *access, bool ac,
                  const struct mmu_result *answer, bool from_shadow);
void oracle_context(struct oracle *oracle, const struct mmu_context *ctx, enum mmu_switch how);
void oracle_invlpg(struct oracle *oracle, gva_t gva);
void oracle_invpcid(struct oracle *oracle, unsigned type, unsigned pcid, gva_t gva);

#endif
