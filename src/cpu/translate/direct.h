/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct execution: user code that computes for long runs on the host's CPU itself, in a stub
 * process that has nothing but the pages that it may use (docs/direct.md). All else, and the
 * first milliseconds of everything, is the translator's.
 */
#ifndef UMBRA_CPU_TRANSLATE_DIRECT_H
#define UMBRA_CPU_TRANSLATE_DIRECT_H

#include <stdbool.h>

#include "base/err.h"
#include "cpu/interp/interp.h"

struct direct;

/* Guest memory must be shareable (mem_share_fd). */
enum err direct_create(struct direct **out) MUST_USE;
void direct_destroy(struct direct *d);

/* See struct tier_ops. */
void direct_turn(struct interp *c);
bool direct_user(struct interp *c);
void direct_written(struct interp *c, struct code_page *p);
void direct_flushed(struct interp *c, uint64_t page, bool all);
void direct_frames(struct interp *c, const gfn_t *gfns, size_t count, bool only_writes);
void direct_filled(struct interp *c, const struct tlb_entry *e, uint64_t page, uint32_t view);
bool direct_age(struct interp *c);

/*
 * Native code goes on behind a change of the mapping, without a turn: code that changes it so often
 * does not compute for long.
 */
void direct_mapping_changed(struct interp *c);

/* Guest code that runs directly leaves, soon. Any thread. */
void direct_kick(struct direct *d);

#endif
