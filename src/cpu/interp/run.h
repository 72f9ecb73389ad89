/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a handler ends a block. All of these retire the instruction u (and the block's instructions before it)
 * and answer the uop to run next or NULL when the outer loop must look at events.
 */
#ifndef UMBRA_CPU_INTERP_RUN_H
#define UMBRA_CPU_INTERP_RUN_H

#include "cpu/interp/interp.h"

/* Falls through to the next instruction after a change of mode, mapping or interruptibility (rule R5). */
const struct uop *goto_next_insn(struct interp *c, const struct uop *u);

/*
 * Goes to a new RIP (already cut to size by the caller and already checked: canonical or within the CS
 * limit, #GP raised before anything changed). Used by indirect and far branches.
 */
const struct uop *goto_rip(struct interp *c, const struct uop *u, uint64_t rip);

/* Leaves to the outer loop with c->rip = rip: for instructions after which everything may have changed. */
const struct uop *leave_to(struct interp *c, const struct uop *u, uint64_t rip);

/* Retires u, then delivers a trap-like event (INT n, INT3, INTO, single step) with the given return RIP. */
const struct uop *leave_with_event(struct interp *c, const struct uop *u, enum event_kind kind, uint8_t vector,
                                   uint64_t return_rip);

/* Retires u and stops in HLT; the engine's run answers ENGINE_EXIT_HALTED when nothing is pending. */
const struct uop *leave_halted(struct interp *c, const struct uop *u);

/* Decodes and runs exactly one instruction at c->rip without the cache's blocks (TF, breakpoints). */
void interp_step(struct interp *c);

#endif
