/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where user code runs directly on the host's CPU (docs/direct.md): one stub process for a view of
 * user mode, whose pages are copies of what the data TLB and the fetch TLB knew for it.
 *
 * Invariants
 *   D1  a page that the stub can read or write was an entry of c->tlb for the view, with that
 *       right. It outlives the entry until the translation is taken away: by a flush of its
 *       address, its frame or all, by the frame's write protection, or by a later entry of the page
 *       and view that says less or something else (tier.h: flushed, frames, filled)
 *   D2  a page that it can execute was fetched for the view, and goes with its translation as
 *       above, with writes to its frame and the end of its code page. It had a decoded block when
 *       it was mapped, so that writes are heard of, and nothing that scan.h refuses; it is not
 *       writable
 *   D3  what was queued to go is gone before guest code runs
 */
#ifndef UMBRA_CPU_TRANSLATE_SPACE_H
#define UMBRA_CPU_TRANSLATE_SPACE_H

#include "cpu/direct/stub.h"
#include "cpu/interp/block.h"
#include "cpu/translate/mappings.h"

#define SPACE_CREDIT_NS 20000000 /* of a new one */
#define SPACE_AGES      15u      /* times that frames grow older while its pages count as used */

/*
 * view:      that it belongs to
 * most_mapped: pages, at most since judge asked
 * rests, credit_ns, not_before_ns, since_ns: whether it is worth it (direct.c)
 * is_filled: what the TLB learns is mapped at once; else all of it by space_fill
 * has_run:   since frames grew older, which they have so often: ages
 * failed:    the host refused something: not used again until another view has it; has_told: once
 */
struct space {
    struct stub *stub;
    const struct guest_mem *mem;
    uint32_t view;
    bool in_use, is_filled, failed, has_told, has_run;
    unsigned rests, most_mapped, ages;
    int64_t credit_ns;
    uint64_t used, not_before_ns, since_ns;
    struct mappings pages;
};

/* The file that guest memory lies in, -1: it is in none. */
int space_file(const struct guest_mem *mem);

/* Begins anew for the present view. ERR: no process for it. */
enum err space_take(struct space *s, const struct interp *c) MUST_USE;

/* The view has no window any more. */
void space_leave(struct space *s);

/* The host refused something, err_text() says what: it is not used again for this view. */
void space_fails(struct space *s);

/* Everything that was mapped is not. */
void space_empty(struct space *s);

/* The TLB knows lin for the present view, which is the space's; perhaps. */
void space_learn(struct space *s, struct interp *c, uint64_t lin);

/* How many pages the TLB knows for the view that are not mapped. */
unsigned space_missing(struct space *s, const struct interp *c);

/* Maps all that the TLBs know already. */
void space_fill(struct space *s, struct interp *c);

/* Is the page of code at lin mapped already? */
bool space_has_code(struct space *s, uint64_t lin);

/*
 * The code at lin, where c->rip is, may run in it from now on; false: not so. Raises what a fetch
 * raises.
 */
bool space_take_code(struct space *s, struct interp *c, uint64_t lin);

/*
 * It has stopped before an instruction at lin that must not run there. If that was a guess, because
 * the next page was not known, the page comes again when the translator has been there.
 */
void space_meet_trap(struct space *s, uint64_t lin);

/* Is the page there now, where the stub lacked it or a right? Translates it as a read does. */
bool space_take_data(struct space *s, struct interp *c, uint64_t lin);

/* What is mapped of a page, a frame, a page of code goes; only_writes: what may be written. */
void space_forget_page(struct space *s, uint64_t page);
void space_forget_frame(struct space *s, gfn_t gfn, bool only_writes);
void space_forget_code(struct space *s, const struct code_page *p);

/* A page of the view is this entry of the TLB from now on, and nothing else. */
void space_filled(struct space *s, const struct tlb_entry *e, uint64_t page);

/* Frames grow older: tells of those that are mapped, or forgets all: true. */
bool space_grow_older(struct space *s, struct guest_mem *mem);

#endif
