/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the block cache (block.h): how blocks and their uops lie in the arena, and what block.c,
 * which builds and finds blocks, asks of code_cache.c, which keeps and drops them.
 *
 *   arena:  64 unused bytes | block, its uops | block, its uops | ... used ... | free ... limit
 */
#ifndef UMBRA_CPU_INTERP_CODE_CACHE_H
#define UMBRA_CPU_INTERP_CODE_CACHE_H

#include "cpu/interp/block.h"

#define CODE_PAGES_MAX 4096u
#define HASH_BUCKETS   4096u

/*
 * Pseudo uops of one block: op_count and op_end, and between them perhaps op_cross and its bytes.
 * Behind the uops lie the code and where its immediates are (rewrite.h).
 */
#define BLOCK_MAX_UOPS (BLOCK_MAX_INSNS + 2)
#define BLOCK_MAX_CODE (BLOCK_MAX_INSNS * 16u + 8u)
#define BLOCK_MAX_BYTES                                                                            \
    (sizeof(struct block) + BLOCK_MAX_UOPS * sizeof(struct uop) + BLOCK_MAX_CODE)

/*
 * Lies in the arena, directly before its uops. start, end: offsets in the page. bytes: all that it
 * executes. in: uops of other blocks that link here, chained by their `extra`. code: see rewrite.h,
 * NULL: none; insns instructions, of which the first is uop `first`. fns: of a dead block, whose
 * own are op_stale. taken: the tier has native code, which is made by looked_at's lines, too.
 */
struct block {
    struct block *next;
    struct uop *in;
    uint16_t start, end, uops, bytes;
    uint8_t *code;
    uop_fn **fns;
    uint64_t looked_at;
    uint32_t looked_sum;
    uint8_t first, insns;
    bool taken;
};

/* limit: bytes of the arena that may be used */
struct code_cache {
    char *arena;
    uint64_t used, limit;
    struct code_page *pool;
    unsigned pool_used;
    struct code_page *free_pages;
    struct code_page *hash[HASH_BUCKETS];
};

static inline struct uop *block_uops(struct block *b)
{
    return (struct uop *)(void *)(b + 1);
}

/*
 * The fetch TLB's answer for lin, translating and filling on a miss. Raises what the fetch raises.
 */
struct code_page *fetch_page(struct interp *c, uint64_t lin);

/* Room for one more block and two more pages, if need be by dropping all. Only between blocks. */
void code_make_room(struct interp *c);

/* Where the next block will lie; it counts from block_close on. */
struct block *block_open(struct code_cache *k);

/* The next bytes of the arena are in use. */
void code_took(struct interp *c, uint64_t bytes);

/* A block, new or living again, is the one of its offset. */
void block_enter(struct interp *c, struct code_page *p, struct block *b);

/*
 * Takes the block at block_open's place, of `bytes` bytes of code from offset `start` of the page
 * on and `uops` uops, into the page and the arena; answers its first uop.
 */
struct uop *block_close(struct interp *c, struct code_page *p, struct block *b, unsigned start,
                        unsigned bytes, unsigned uops);

/* Drops the blocks of p that overlap [start, end), whatever is there now. */
void page_drop_range(struct interp *c, struct code_page *p, unsigned start, unsigned end);

#endif
