/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that is written while it has blocks: what a write leaves right is kept.
 *
 *   same bytes again                  nothing happens
 *   an immediate of a plain MOV, ADD, CMP, ...  goes into the uop and the native code, in place
 *   anything else                     the block dies, but stays with its page
 *   code is decoded where one died    and has its bytes again, immediates aside: it lives again
 *
 * Invariants
 *   B5  the copy of a living block's code says what its uops and native code do
 *   B6  native code lives on the bytes in its looked_at lines that it was made by
 */
#ifndef UMBRA_CPU_INTERP_REWRITE_H
#define UMBRA_CPU_INTERP_REWRITE_H

#include <Zydis/Zydis.h>

#include "cpu/interp/code_cache.h"

/* Wider writes are no stores of instructions: what they meet dies. */
#define REWRITE_MAX 64u

/* Where an immediate that may change lies in its instruction: size << 4 | offset; 0: none. */
uint8_t rewrite_immediate(const ZydisDecodedInstruction *i);

/*
 * Copies the code of a new block behind its uops; immediates: as above, one for each of `insns`
 * instructions, of which the first is uop `first`. Answers the bytes it took.
 */
unsigned block_remember(const struct code_page *p, struct block *b, unsigned first, unsigned insns,
                        const uint8_t *immediates);

/* The tier has made native code of b, and looked at these lines. */
void block_taken(struct code_page *p, struct block *b, uint64_t looked_at);

/* The page runs at another address than its native code is for: what is made anew is for any. */
void page_moves(struct interp *c, struct code_page *p);

/*
 * After a write to [start, end) of the page, which meets b or its looked_at lines: brings the
 * block up to date. False: it has to die.
 */
bool block_survives(struct interp *c, struct code_page *p, struct block *b, unsigned start,
                    unsigned end);

/* Puts a block, whose uops are not stale yet, among the dead ones of its page. */
void block_bury(struct interp *c, struct code_page *p, struct block *b);

/* A dead block that is right for offset `off` now, alive again; NULL: none. */
struct block *block_revive(struct interp *c, struct code_page *p, unsigned off);

#endif
