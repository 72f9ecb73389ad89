/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which data TLB entries are of a frame: a list for each hash of a frame, through the entries, so
 * that nobody looks through the whole TLB for them.
 *
 *   head[hash of the frame] ──▶ entry ⇄ entry ⇄ entry
 *
 * Invariant TF1: an entry that has a tag is in the list of the frame in its note.
 */
#ifndef UMBRA_CPU_INTERP_TLB_FRAMES_H
#define UMBRA_CPU_INTERP_TLB_FRAMES_H

#include <stdint.h>

#include "base/addr.h"

struct interp;
struct tlb_entry;

#define TLB_HEADS   16384u
#define TLB_IS_HEAD 0x8000u

/* Entries by number + 1, 0: none. prev: TLB_IS_HEAD | hash for a list's first; 0: in no list. */
struct tlb_link {
    uint16_t next, prev;
};

typedef void tlb_change_fn(struct interp *c, struct tlb_entry *e);

/* c->tlb[i] is of this frame from now on. */
void tlb_frame_set(struct interp *c, unsigned i, gfn_t gfn);
/* It is of none. */
void tlb_frame_clear(struct interp *c, unsigned i);

/* change, which may clear the entry, for each entry of the frame. */
void tlb_frame_each(struct interp *c, gfn_t gfn, tlb_change_fn *change);
/* For all that are of any frame. */
void tlb_frames_all(struct interp *c, tlb_change_fn *change);

#endif
