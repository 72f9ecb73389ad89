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
 * The kernel's view under SMAP reaches no user page, so what it uses lies in the upper half, which
 * all address spaces have in common (cpu/interp/tlb.c): they share one window. A page of the lower
 * half that it uses nevertheless is listed there, and goes when another address space uses it.
 *
 * Invariants
 *   W1  a window's entry is a copy of the rights in the c->tlb[i] of its page and view; whoever
 *       changes c->tlb[i] clears the copies (c->tlb_copies says which windows have one)
 *   W2  what a window that is shared has of the lower half belongs to w->lower[window]; it is the
 *       present address space's in each window that native code may get to
 */
#ifndef UMBRA_CPU_TRANSLATE_WINDOW_H
#define UMBRA_CPU_TRANSLATE_WINDOW_H

#include <stdint.h>

#include "base/err.h"
#include "cpu/interp/interp.h"
#include "cpu/translate/jumps.h"

#define WINDOWS            8u
#define WINDOW_ENTRY_SHIFT 5
/* Of an address turned right by 7: the offset of its entry. */
#define ENTRY_MASK ((TLB_ENTRIES - 1u) << WINDOW_ENTRY_SHIFT)

struct window_entry {
    uint64_t read_tag, write_tag, host;
    uint64_t unused; /* so that an index is a shift */
};

/* A window as native code sees it. */
struct window {
    struct window_entry entry[TLB_ENTRIES];
    struct jump_entry jump[JUMPS];
};

/* Places of a shared window that hold something of the lower half; more than LOCALS: anywhere. */
struct window_lower {
    uint32_t view; /* whose they are */
    unsigned entries, jumps;
    uint32_t entry[LOCALS], jump[LOCALS];
};

/*
 * window: WINDOWS + 1; the last one stays empty and serves slow views. view: of the lower half, or
 * of the upper where the window is shared; WINDOW_CODE_32: of 32-bit code.
 */
#define WINDOW_CODE_32 (UINT32_C(1) << 31)

struct space;

/* space: where user code of a window runs directly, NULL: nowhere. */
struct windows {
    struct window *window;
    struct space *space[WINDOWS];
    struct jumps *jumps;
    struct window_lower lower[WINDOWS];
    uint32_t view[WINDOWS];
    uint64_t used[WINDOWS], clock;
    uint64_t given; /* how often a window was given to another view */
    unsigned current;
};

enum err windows_create(struct windows *w) MUST_USE;
void windows_destroy(struct windows *w);

/*
 * A view as c->view has it, for both halves. is_shared: it uses nothing of the lower half that is
 * worth a window for each address space. is_32: of 32-bit code, whose jumps lead to other native
 * code than those of 64-bit code at the same address.
 */
struct window_view {
    uint32_t half[HALVES];
    bool is_shared, is_32;
};

/* The view of c's address space for this privilege, with or without AC. */
struct window_view windows_view(const struct interp *c, bool user, bool ac);

/* The window of the present view from now on; answers its address. */
uint64_t windows_choose(struct windows *w, struct interp *c);

/* A window that was found is the present one from now on. */
void windows_use(struct windows *w, unsigned window);

/* Makes a window ready for the lower half of a view, as c->view has it (W2). */
void windows_make_ready(struct windows *w, struct interp *c, unsigned window, uint32_t lower);

/* The window that a view has now, ready to be used (W2), -1: none. */
int windows_find(struct windows *w, struct interp *c, const struct window_view *view);

/* Takes the TLB's answer for lin, if it has one, into the present window. */
void windows_learn(struct windows *w, struct interp *c, uint64_t lin);

/* Clears the copies of c->tlb[i]. */
void windows_forget(struct windows *w, struct interp *c, unsigned i);

/* Native code of lin, whose page is c->fetch's now, in the present window. */
void windows_learn_jump(struct windows *w, const struct interp *c, uint64_t lin,
                        const uint8_t *code);

/* c->fetch[i] changes. */
void windows_forget_fetch(struct windows *w, unsigned i);

/* All code goes: all windows are empty from here on, and their memory is the host's again. */
void windows_reset(struct windows *w, struct interp *c);

#endif
