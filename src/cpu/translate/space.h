/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where user code runs directly on the host's CPU (docs/direct.md): one stub process for a view of
 * user mode, whose pages are copies of what that view's window and the fetch TLB know.
 *
 * Invariants
 *   D1  a page that the stub can read or write is one of the window's entries with that right,
 *       which says so in `mapped`; so it goes with the entry (W1 of window.h)
 *   D2  a page that it can execute is one of exec, which flushes of its translation, writes to its
 *       frame and the end of its code page take away (tier.h). It had a decoded block when it was
 *       mapped, so that writes are heard of, and nothing that scan.h refuses; it is not writable
 *   D3  what was queued to go is gone before guest code runs
 */
#ifndef UMBRA_CPU_TRANSLATE_SPACE_H
#define UMBRA_CPU_TRANSLATE_SPACE_H

#include "cpu/direct/stub.h"
#include "cpu/interp/block.h"
#include "cpu/translate/window.h"

/* What is in window_entry.mapped beside the page. */
#define MAPPED_READ  1u
#define MAPPED_WRITE 2u

#define SPACE_CODE      4096u    /* pages of code at most */
#define SPACE_CREDIT_NS 20000000 /* of a new one */

struct space_code {
    uint64_t page;
    const struct code_page *code;
};

/*
 * window:    that it belongs to
 * exec:      by the page's number; code NULL: none
 * mapped, most_mapped: pages, now and at most since judge asked
 * rests, credit_ns, not_before_ns, since_ns: whether it is worth it (direct.c)
 * is_filled: what the window learns is mapped at once; else all of it by space_fill
 * failed:    the host refused something: not used again until another view has it; has_told: once
 */
struct space {
    struct stub *stub;
    const struct guest_mem *mem;
    struct window *window;
    bool in_use, is_filled, failed, has_told;
    unsigned rests, mapped, most_mapped;
    int64_t credit_ns;
    uint64_t used, not_before_ns, since_ns;
    struct space_code exec[SPACE_CODE];
};

/* The file that guest memory lies in, -1: it is in none. */
int space_file(const struct guest_mem *mem);

/* Begins anew for a window, whose view is the present one. ERR: no process for it. */
enum err space_take(struct space *s, const struct interp *c, struct window *window) MUST_USE;

/* The window is another view's. */
void space_leave(struct space *s);

/* The host refused something, err_text says what: it is not used again for this view. */
void space_fails(struct space *s);

/* Everything that was mapped is not. */
void space_empty(struct space *s);

/* The window has learnt an entry, or forgets it. */
void space_learn(struct space *s, struct window_entry *e);
void space_forget(struct space *s, struct window_entry *e);

/* How many pages the window knows that are not mapped. */
unsigned space_missing(const struct space *s);

/* Maps all that the window and the fetch TLB know already. */
void space_fill(struct space *s, struct interp *c);

/* Is the page of code at lin mapped already? */
bool space_has_code(struct space *s, uint64_t lin);

/* The code at lin may run in it from now on; false: not so. */
bool space_take_code(struct space *s, struct interp *c, uint64_t lin);

/* Is the page there now, where the stub did not have it? */
bool space_take_data(struct space *s, uint64_t lin);

/* Code of a page goes, of a linear page, all of it. */
void space_forget_code(struct space *s, const struct code_page *p);
void space_forget_page(struct space *s, uint64_t page);
void space_forget_all_code(struct space *s);

#endif
