/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a handler ends a block. All of these retire the instruction u (and the block's instructions
 * before it) and answer the uop to run next or NULL when the outer loop must look at events.
 */
#ifndef UMBRA_CPU_INTERP_RUN_H
#define UMBRA_CPU_INTERP_RUN_H

#include "cpu/interp/interp.h"

/*
 * Falls through to the next instruction after a change of mode, mapping or interruptibility (rule
 * R5).
 */
const struct uop *goto_next_insn(struct interp *c, const struct uop *u);

/*
 * Goes to a new RIP (already cut to size by the caller and already checked: canonical or within the
 * CS limit, #GP raised before anything changed). Used by indirect and far branches.
 */
const struct uop *goto_rip(struct interp *c, const struct uop *u, uint64_t rip);

/* Raises the #GP(0) of a branch to an RIP that is not canonical or beyond the CS limit. */
void check_branch_target(struct interp *c, const struct uop *u, uint64_t rip);

/*
 * Leaves to the outer loop with c->rip = rip: for instructions after which everything may have
 * changed.
 */
const struct uop *leave_to(struct interp *c, const struct uop *u, uint64_t rip);

/*
 * Leaves to the outer loop at u itself, which is not retired: a REP instruction that was
 * interrupted after whole iterations.
 */
const struct uop *leave_at(struct interp *c, const struct uop *u);

/*
 * Retires u, then delivers a trap-like event (INT n, INT3, INTO, single step) with the given
 * return RIP.
 */
const struct uop *leave_with_event(struct interp *c, const struct uop *u, enum event_kind kind,
                                   uint8_t vector, uint64_t return_rip);

/*
 * Retires u and stops in HLT; the engine's run answers ENGINE_EXIT_HALTED when nothing is pending.
 */
const struct uop *leave_halted(struct interp *c, const struct uop *u);

/* Has the outer loop something to look at (budget used up, interrupt, kick) once u is retired? */
static inline bool must_leave(struct interp *c)
{
    return c->icount >= atomic_load_explicit(&c->icount_stop, memory_order_relaxed);
}

/* Counts the block's instructions up to and including u. */
static inline void retire(struct interp *c, const struct uop *u)
{
    c->icount += u->n;
    c->mem_operands += u->m;
}

/*
 * The rest of branch_direct when there is no link or the outer loop must run. u is retired
 * already.
 */
const struct uop *branch_direct_slow(struct interp *c, const struct uop *u);

/*
 * A taken direct branch (or a block's end): u->imm is the target as offset from the page of the
 * block.
 */
static inline const struct uop *branch_direct(struct interp *c, const struct uop *u)
{
    retire(c, u);
    if (likely(u->link && !must_leave(c)))
        GO(u->link);
    return branch_direct_slow(c, u);
}

/*
 * Decodes and runs exactly one instruction at c->rip without the cache's blocks (TF, breakpoints).
 */
void interp_step(struct interp *c);

/* Pseudo uops of the block builder. */
uop_fn op_end;      /* after the last instruction of a block: goes on at its offset */
uop_fn op_leave;    /* the same through the outer loop, which checks limits */
uop_fn op_stale;    /* of a block whose code was written: back to the outer loop at this address */
uop_fn op_cross;    /* guards the one instruction of a block that crosses into the next page */
uop_fn op_count;    /* at the head of a block: counts its runs */
uop_fn op_skip;     /* at the head of a block that is not counted any more */
uop_fn op_ud;       /* #UD */
uop_fn op_too_long; /* #GP(0): more than 15 bytes */

#endif
