/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A faster tier above the interpreter: who makes something better of blocks that run often. The
 * block cache counts how often a block is entered, offers it when it is hot, and says when its code
 * was written. Without a tier (c->tier NULL) none of this costs anything.
 */
#ifndef UMBRA_CPU_INTERP_TIER_H
#define UMBRA_CPU_INTERP_TIER_H

#include <stddef.h>

#include "cpu/interp/interp.h"

/*
 * uops: the instructions, then one pseudo uop that says how the block ends; count: both. Before an
 * instruction that goes on in the next page lie op_cross and its bytes. host: the bytes of its
 * page. moves: the page runs at more than one address. looked_at: for the answer: 64-byte lines of
 * the page, beyond the block itself, whose bytes the tier has built on; when one of them is written
 * the block goes, too
 */
struct tier_block {
    const struct uop *uops;
    unsigned count;
    const uint8_t *host;
    bool moves;
    uint64_t looked_at;
};

/*
 * offer:      a hot block. head: the uop that enters it, which may be changed; the tier finds its
 *             own in head->extra later. False: the interpreter goes on with it for ever.
 * stale:      the code of a block that was taken was written; it may stay so for ever
 * revive:     it has the same bytes again, immediates aside, which patch may tell of later
 * patch:      the immediate of instruction u of a taken block is now these bytes; u->imm is right
 *             already. False: the tier's code cannot follow.
 * drop_all:   all blocks are gone
 * view:       c->view has changed
 * forget:     c->tlb[i], which has copies (c->tlb_copies[i]), changes
 * fetch:      c->fetch[i] changes
 * written:    bytes of a page were written whose p->direct.is_mapped is set, or it goes
 * flushed:    translations of a linear page, or of all, go; NULL: need not be told
 * frames:     translations to these frames go, or may write no longer; NULL: likewise
 * filled:     what c->tlb knows of a page for a view is this entry now; NULL: likewise
 * age:        frames grow older (mmu.h); true: the tier knows no translations that c->tlb has not;
 *             NULL: it never does
 * turn:       the outer loop begins a turn; NULL: need not be told
 * user:       code of level 3 is about to run, and events were looked at; true: it has run by
 *             other means, and events are to be looked at again. NULL: never
 */
struct tier_ops {
    bool (*offer)(struct interp *c, struct uop *head, struct tier_block *block);
    void (*stale)(struct interp *c, struct uop *head);
    void (*revive)(struct interp *c, struct uop *head);
    bool (*patch)(struct interp *c, struct uop *head, const struct uop *u, const uint8_t *bytes,
                  unsigned size);
    void (*drop_all)(struct interp *c);
    void (*view)(struct interp *c);
    void (*forget)(struct interp *c, unsigned i);
    void (*fetch)(struct interp *c, unsigned i);
    void (*written)(struct interp *c, struct code_page *p);
    void (*flushed)(struct interp *c, uint64_t page, bool all);
    void (*frames)(struct interp *c, const gfn_t *gfns, size_t count, bool only_writes);
    void (*filled)(struct interp *c, const struct tlb_entry *e, uint64_t page, uint32_t view);
    bool (*age)(struct interp *c);
    void (*turn)(struct interp *c);
    bool (*user)(struct interp *c);
};

/*
 * The instruction of an op_cross, which is u[2], has u->src bytes in the next page: these. They are
 * in the uop behind it, all of it but the fn, which op_stale may overwrite.
 */
#define CROSS_BYTES offsetof(struct uop, imm)

static inline const uint8_t *cross_tail(const struct uop *u)
{
    return (const uint8_t *)(u + 1) + CROSS_BYTES;
}

/*
 * Where an indirect JMP or CALL goes, by a majority vote over its runs: u->imm, and in u->dst how
 * many more went there than elsewhere.
 */
static inline void branch_note(const struct uop *u, uint64_t target)
{
    struct uop *w = (struct uop *)(uintptr_t)u;

    if (u->imm == (int64_t)target) {
        w->dst += u->dst < UINT8_MAX;
    } else if (u->dst) {
        w->dst--;
    } else {
        w->imm = (int64_t)target;
        w->dst = 1;
    }
}

static inline uint64_t branch_usual_target(const struct uop *u)
{
    return (uint64_t)u->imm;
}

static inline unsigned branch_majority(const struct uop *u)
{
    return u->dst;
}

/* The kinds of code that are offered. */
static inline bool tier_takes(const struct interp *c)
{
    return c->mode == CODE_64 || (c->mode == CODE_32 && !c->cs_limited);
}

static inline void tier_forget(struct interp *c, unsigned i)
{
    if (unlikely(c->tlb_copies[i]))
        c->tier->forget(c, i);
}

static inline void fetch_set(struct interp *c, unsigned i, uint64_t tag, struct code_page *page)
{
    if (unlikely(c->tier) && c->fetch[i].tag != TLB_NO_TAG)
        c->tier->fetch(c, i);
    c->fetch[i] = (struct fetch_entry){.tag = tag, .page = page};
}

#endif
