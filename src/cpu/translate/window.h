/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows: what native code asks instead of the interp's data TLB. One window for each view
 * (address space, privilege, AC), so that a tag needs no view in it and one compare tells hit,
 * right and that the access stays in the page:
 *
 *   x = address ^ entry[index].tag     the offset in the page, if it is a hit
 *   x > 0x1000 - bytes                 miss
 *   x + entry[index].host              the host address
 *
 * Invariant W1: a window's entry is a copy of the rights in the c->tlb[i] of its page and view;
 * whoever changes c->tlb[i] clears the copies (c->tlb_copies says which windows have one).
 */
#ifndef UMBRA_CPU_TRANSLATE_WINDOW_H
#define UMBRA_CPU_TRANSLATE_WINDOW_H

#include <stdint.h>

#include "base/err.h"
#include "cpu/interp/interp.h"
#include "cpu/translate/jumps.h"

#define WINDOWS            8u
#define WINDOW_ENTRY_SHIFT 5

struct window_entry {
    uint64_t read_tag, write_tag, host, unused;
};

/* A window as native code sees it. */
struct window {
    struct window_entry entry[TLB_ENTRIES];
    struct jump_entry jump[JUMPS];
};

/* window: WINDOWS + 1; the last one stays empty and serves slow views. */
struct windows {
    struct window *window;
    struct jumps *jumps;
    uint32_t view[WINDOWS];
    uint64_t used[WINDOWS], clock;
    unsigned current;
};

enum err windows_create(struct windows *w) MUST_USE;
void windows_destroy(struct windows *w);

/* The window of c->view from now on; answers its address. */
uint64_t windows_choose(struct windows *w, struct interp *c);

/* The window that a view has now, -1: none. */
int windows_find(const struct windows *w, uint32_t view);

/* Takes the TLB's answer for lin, if it has one, into the present window. */
void windows_learn(struct windows *w, struct interp *c, uint64_t lin);

/* Clears the copies of c->tlb[i]. */
void windows_forget(struct windows *w, struct interp *c, unsigned i);

/* Native code of lin, whose page is c->fetch's now, in the present window. */
void windows_learn_jump(struct windows *w, const struct interp *c, uint64_t lin,
                        const uint8_t *code);

/* c->fetch[i] changes; all jumps go. */
void windows_forget_fetch(struct windows *w, unsigned i);
void windows_forget_jumps(struct windows *w);

#endif
