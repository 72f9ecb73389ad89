/* SPDX-License-Identifier: Apache-2.0 */
/* From native code to C and back. */
#define INTERP_HOT
#include "cpu/translate/translate.h"

#include "cpu/interp/mem.h"
#include "cpu/interp/rewrite.h"
#include "cpu/interp/run.h"

/* native_fallback's answer for "to the outer loop"; 0 means: go on natively. */
#define LEAVE_TO_LOOP ((const struct uop *)(uintptr_t)1)

const struct uop *op_resume(struct interp *c, const struct uop *u)
{
    (void)c;
    return u;
}

/* An address cut to what this kind of code has. */
static uint64_t cut(const struct interp *c, uint64_t lin)
{
    return c->mode == CODE_64 ? lin : (uint32_t)lin;
}

static uint64_t operand_address(const struct interp *c, const struct uop *u)
{
    return cut(c, uop_ea(c, u) + (seg_is_flat(u->seg) ? 0 : c->s.seg[u->seg].base));
}

/* How far from its operand's address an instruction of the BT family reaches. */
static uint64_t bit_distance(const struct interp *c, const struct uop *u, const struct uop *stop)
{
    if (likely(stop->index == 0))
        return 0;
    return (uint64_t)(u->opsize == 8 ? ((int64_t)GPR64(stop->index - 1u) >> 6) * 8
                                     : ((int64_t)(int32_t)GPR32(stop->index - 1u) >> 5) * 4);
}

/* Where the second access of u was: below the stack's top, or where RSI points to. */
static uint64_t second_address(const struct interp *c, const struct uop *stop)
{
    return cut(c, GPR64(stop->base) - stop->dst);
}

static const struct fetch_entry *fetch_of_page(const struct interp *c)
{
    uint64_t page = c->gpr[GPR_PAGE / 8];

    return &c->fetch[fetch_index(page, c->mix[half_of(page)])];
}

/* P2 of pairs.h. */
static bool page_is_known(const struct interp *c)
{
    uint64_t page = c->gpr[GPR_PAGE / 8];

    return fetch_of_page(c)->tag == (page ^ c->fetch_view[half_of(page)]);
}

/*
 * Does the one instruction u by its handler. u[1] is its stop: op_resume, or op_stale when the
 * block's code was written meanwhile. stop->src: u has a memory operand, stop->index: and a bit
 * number there; stop->src2: a second one, stop->dst below the register stop->base; imm and cond:
 * what is counted.
 */
const struct uop *native_fallback(struct interp *c, const struct uop *u)
{
    struct translate *t = translate_of(c);
    const struct uop *stop = u + 1, *next;
    enum vectors_where vectors = t->vectors;
    uint64_t operand = operand_address(c, u) + bit_distance(c, u, stop);
    uint64_t second = second_address(c, stop);

    phase_set(c, ENGINE_handlers);
    t->vectors = VECTORS_IN_IMAGE;
    c->stats.native_callouts++;
    callouts_count(t->callouts, (unsigned)stop->imm, (enum callout_why)stop->cond);
    next = u->fn(c, u);
    if (next != stop || stop->fn != op_resume)
        return next ? next : LEAVE_TO_LOOP;
    if (stop->src)
        windows_learn(&t->windows, c, operand);
    if (stop->src2)
        windows_learn(&t->windows, c, second);
    if ((vectors == VECTORS_IN_HOST && !vectors_are_allowed(c)) || unlikely(!page_is_known(c)) ||
        unlikely(!code_is_flat(c))) {
        op_stale(c, stop);
        return LEAVE_TO_LOOP;
    }
    t->vectors = (uint8_t)vectors;
    phase_set(c, ENGINE_native);
    return NULL;
}

/*
 * Leaves for a branch whose access of the stack or of its operand the window did not answer; u[1]
 * has the handler. The window learns what the TLB knows, for the next time.
 */
const struct uop *op_learn_and_leave(struct interp *c, const struct uop *u)
{
    struct windows *w = &translate_of(c)->windows;

    windows_learn(w, c, cut(c, c->gpr[RSP]));
    windows_learn(w, c, cut(c, c->gpr[RSP] - (c->mode == CODE_64 ? 8 : 4)));
    if (u[1].src)
        windows_learn(w, c, operand_address(c, u));
    return u[1].fn(c, u);
}

/* Native code leaves its block before the first instruction: the interpreter does it all. */
const struct uop *op_interpret(struct interp *c, const struct uop *u)
{
    const struct uop *to = block_lookup(c, GPR64(GPR_PAGE) + u->off);

    if (unlikely(!to)) {
        c->rip = insn_rip(c, u);
        return NULL;
    }
    return to->fn == op_native ? to + 1 : to;
}

/* A block with native code is entered; what comes back goes on in the loop. */
const struct uop *op_native(struct interp *c, const struct uop *u)
{
    const struct native_block *b = u->extra;
    const struct uop *next;

    if (unlikely(!code_is_flat(c)))
        return u + 1;
    if (unlikely(!page_is_known(c))) {
        c->rip = GPR64(GPR_PAGE) + u->off;
        return NULL;
    }
    if (unlikely(b->page != ANY_PAGE && b->page != GPR64(GPR_PAGE))) {
        page_moves(c, fetch_of_page(c)->page);
        return u + 1;
    }
    c->stats.native_entries++;
    windows_learn_jump(&translate_of(c)->windows, c, GPR64(GPR_PAGE) + u->off,
                       code_rx(&translate_of(c)->code, b->far_entry));
    phase_set(c, ENGINE_native);
    next = translate_of(c)->enter(code_rx(&translate_of(c)->code, b->entry[FLAGS_BOTH]));
    phase_set(c, ENGINE_interpreter);

    return next == LEAVE_TO_LOOP ? NULL : next;
}

static void link_exit(struct interp *c, struct native_exit *x, const struct uop *to)
{
    struct native_block *b = to->extra;

    if (to->fn != op_native || x->to == b || x->page != b->page)
        return;
    x->to = b;
    x->next = b->in;
    b->in = x;
    emit_patch(x->place, (x->loaded ? b->loaded : b->entry)[x->flags]);
    c->stats.native_links++;
}

/* Native code has left by a direct branch, which is retired. */
const struct uop *op_direct_exit(struct interp *c, const struct uop *u)
{
    struct native_exit *x = (struct native_exit *)(uintptr_t)u;
    uint64_t page = GPR64(GPR_PAGE);
    const struct uop *to = u->link;

    c->stats.native_branches_out++;
    if (!to || must_leave(c))
        to = branch_direct_slow(c, u);

    if (to && GPR64(GPR_PAGE) == page)
        link_exit(c, x, to);
    return to;
}
