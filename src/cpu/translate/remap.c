/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that change the mapping and so end their block: MOV to CR3, INVLPG, INVPCID. Their
 * handlers do all of it; native code goes on behind them where the page that it runs in is the same
 * as before, and the outer loop has nothing to do.
 */
#include "cpu/translate/compile.h"

#include "cpu/interp/run.h"
#include "cpu/interp/system.h"

/* --- called by native code --- */

/* The page that native code runs in, as it is mapped now; NULL: not known. */
static const struct code_page *page_now(const struct interp *c)
{
    uint64_t page = c->gpr[GPR_PAGE / 8];
    const struct fetch_entry *e = &c->fetch[fetch_index(page, c->mix[half_of(page)])];

    return e->tag == (page ^ c->fetch_view[half_of(page)]) ? e->page : NULL;
}

/* The handler retires u and leaves to the next instruction, which native code has behind u[1]. */
static const struct uop *change(struct interp *c, const struct uop *u, uop_fn *handler)
{
    const struct code_page *before = page_now(c);
    const struct uop *next = handler(c, u);

    if (next || u[1].fn != op_resume || must_leave(c) || !before || page_now(c) != before)
        return next;
    direct_mapping_changed(c);
    return u + 1;
}

static const struct uop *op_set_cr3(struct interp *c, const struct uop *u)
{
    return change(c, u, sys_mov_to_cr);
}

static const struct uop *op_invlpg(struct interp *c, const struct uop *u)
{
    return change(c, u, sys_invlpg);
}

static const struct uop *op_invpcid(struct interp *c, const struct uop *u)
{
    return change(c, u, sys_invpcid);
}

/* --- its code --- */

static uop_fn *changing(const struct uop *u)
{
    if (u->fn == sys_mov_to_cr && u->imm == 3)
        return op_set_cr3;
    if (u->fn == sys_invlpg)
        return op_invlpg;
    return u->fn == sys_invpcid ? op_invpcid : NULL;
}

bool put_mapping(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);
    struct uop next = {.imm = u->off + u->len, .off = (uint16_t)(u->off + u->len)};
    uop_fn *fn = changing(u);
    struct native_exit *x;
    struct uop *pair;

    if (!fn || k->word != 8 || k->across_bytes || !is_in_page(next.imm))
        return false;
    pair = (struct uop *)(uintptr_t)fallback_pair(k, n, CALLOUT_NO_FORM);
    x = new_exit(k, &next);
    if (!pair || !x)
        return true;
    pair[0].fn = fn;
    pair[1].n = pair[1].m = 0; /* it is retired there already */
    pair[1].src = 0;
    put_call_fallback(k, pair, k->flags);
    k->flags = FLAGS_BOTH;
    put_exit_way(k, x, emit_jump(&k->e));
    return true;
}
