/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoded-instruction cache.
 *
 *   linear RIP --fetch TLB--> code_page --slot[offset]--> first uop of a block in the arena
 *
 * A code page belongs to one guest-physical page and one code key (mode, and whether CS has a
 * limit). Blocks are straight-line runs of uops; they end at an unconditional branch, at the page's
 * end or at BLOCK_MAX_INSNS. An instruction that crosses into the next page is a block of its own,
 * guarded by a comparison of the bytes there.
 *
 * Invariants
 *   B1  a frame with a block in it has MEM_TRACK_CODE set, so every write to it is heard of
 *   B2  a written block's uops are all op_stale at once: links into it and the running block stay
 *       safe
 *   B3  arena memory is reused only after dropping everything, between blocks
 *   B4  a link joins two blocks of the same code page only
 */
#ifndef UMBRA_CPU_INTERP_BLOCK_H
#define UMBRA_CPU_INTERP_BLOCK_H

#include "cpu/interp/interp.h"

#define BLOCK_MAX_INSNS 64
#define CODE_LINE_SHIFT 6

struct block;

/*
 * What a tier that lets code run directly knows of a page. is_mapped: it wants to hear of each
 * write (tier.h, written), and has heard of so many; is_refused: not with these bytes; is_clean:
 * with these, as they are
 */
struct code_direct {
    bool is_mapped, is_refused, is_clean;
    uint8_t writes;
};

/*
 * slot: offset of the block's first uop in the arena in units of 8 bytes, 0: none. lines: 64-byte
 * lines with code. dead: blocks whose code was written, by their offsets (rewrite.h). moves: it has
 * run at more than one linear address.
 */
#define DEAD_BUCKETS_SHIFT 6
struct code_page {
    uint32_t slot[PAGE_SIZE];
    uint64_t lines;
    struct block *blocks;
    struct block *dead[1u << DEAD_BUCKETS_SHIFT];
    struct code_page *hash_next;
    const uint8_t *host;
    gfn_t gfn;
    unsigned key;
    bool moves;
    struct code_direct direct;
};

/* The 64-byte lines of a page that hold [start, end), as bits. */
static inline uint64_t block_lines(unsigned start, unsigned end)
{
    unsigned first = start >> CODE_LINE_SHIFT, last = (end - 1) >> CODE_LINE_SHIFT;

    return (UINT64_MAX << first) & (UINT64_MAX >> (63 - (last > 63 ? 63 : last)));
}

/* code_bytes: as in struct vcpu_config */
enum err code_cache_create(struct interp *c, uint64_t code_bytes) MUST_USE;
void code_cache_destroy(struct interp *c);
/* Bytes of host memory that it takes now. */
uint64_t code_cache_held(const struct interp *c);
void code_drop_all(struct interp *c);
/* The same if it takes more than a few MiB: most of it ran once and never again. */
void code_trim(struct interp *c);

/*
 * The uop at c->rip, decoded if need be; sets GPR_PAGE. Raises the fetch's #PF, #GP, ... and never
 * answers NULL.
 */
const struct uop *block_find(struct interp *c);

/*
 * Decodes the one instruction at c->rip into c->step (not cached) and answers it; raises like
 * block_find.
 */
const struct uop *block_decode_step(struct interp *c);

/* A block that has run often is offered to the tier above; answers the uop to go on with. */
const struct uop *block_offer(struct interp *c, const struct uop *head);

/*
 * Makes the branch uop `from` go on at `to`, the first uop of a block of the same page, until that
 * is dropped.
 */
void block_link(const struct uop *from, const struct uop *to);

/*
 * Already decoded block at a linear address, NULL: let the outer loop find it. Sets GPR_PAGE when
 * found.
 */
static inline const struct uop *block_lookup(struct interp *c, uint64_t lin)
{
    const struct fetch_entry *e = &c->fetch[fetch_index(lin, c->mix[half_of(lin)])];
    uint32_t slot;

    if (unlikely(e->tag != ((lin & PAGE_MASK) ^ c->fetch_view[half_of(lin)])))
        return NULL;
    slot = e->page->slot[lin & (PAGE_SIZE - 1)];
    if (unlikely(!slot))
        return NULL;
    GPR64(GPR_PAGE) = lin & PAGE_MASK;
    return (const struct uop *)(const void *)(c->arena + (uint64_t)slot * 8);
}

#endif
