/* SPDX-License-Identifier: Apache-2.0 */
/* Ways out of a block: direct branches that are taken, in the page; the polls of jumps back. */
#include "cpu/translate/compile.h"

#include "cpu/interp/run.h"

/* The end of a block that is full is no branch. */
static bool is_backward(const struct uop *u)
{
    return u->fn != op_end && u->imm <= (int64_t)u->off;
}

void add_taken(struct compile *k, const struct uop *u, uint8_t *from)
{
    struct taken_way *w = &k->taken[k->taken_count];
    struct native_exit *x;

    *w = (struct taken_way){.from = from, .u = u, .from_loop = k->in_loop, .flags = k->flags};
    if (!is_in_page(u->imm)) {
        k->taken_count++;
        return;
    }
    x = new_exit(k, u);
    if (!x)
        return;
    w->exit = x;
    x->loaded = k->gate.from && u >= k->gate.uop;
    w->polls = is_backward(u);
    if (w->polls)
        w->flags_live = compile_live_at(k, u->imm) != 0;
    k->taken_count++;
}

/* Has the loop its place behind this jump back? */
static bool has_loop_behind(const struct compile *k, const struct taken_way *w)
{
    return is_loop_end(k, w->u) && !k->loop.is_before && !k->is_cold && !w->from_loop;
}

/* A jump back, retired, which is asked whether to leave. */
static void put_jump_back(struct compile *k, const struct taken_way *w)
{
    struct native_exit *x = w->exit;
    uint8_t *leave;

    if (w->flags_live)
        flags_away(k);
    else
        k->flags = FLAGS_BOTH; /* nobody asks */
    put_poll_compare(k);
    if (has_loop_behind(k, w)) {
        leave = emit_jcc(&k->e, 3); /* above or equal */
        put_exit_way(k, x, put_loop_behind(k));
    } else {
        put_exit_way(k, x, emit_jcc(&k->e, 2)); /* below */
        leave = emit_jump(&k->e);
    }
    emit_patch(leave, x->self);
}

void put_taken(struct compile *k, unsigned way)
{
    const struct taken_way copy = k->taken[way], *w = &copy;

    if (w->from)
        emit_patch(w->from, k->e.at);
    k->flags = w->flags;
    if (w->from_loop)
        put_loop_left(k);
    if (!w->exit) {
        put_far_direct(k, w->u);
        return;
    }
    put_count(k, w->exit->u.n);
    if (w->polls)
        put_jump_back(k, w);
    else
        put_exit_way(k, w->exit, emit_jump(&k->e));
}

/* A jump back in the page is mostly taken: then its way lies where the code falls into. */
static bool is_mostly_taken(const struct compile *k, const struct uop *u)
{
    return !k->is_cold && !k->in_loop && !is_loop_end(k, u) && is_in_page(u->imm) && is_backward(u);
}

void put_branch(struct compile *k, const struct uop *u, unsigned condition)
{
    enum flags_where flags = k->flags;
    uint8_t *over;

    if (!is_mostly_taken(k, u)) {
        add_taken(k, u, emit_jcc(&k->e, condition));
        return;
    }
    over = emit_jcc(&k->e, condition ^ 1u);
    add_taken(k, u, NULL);
    if (k->failed)
        return;
    put_taken(k, --k->taken_count);
    k->flags = flags;
    emit_patch(over, k->e.at);
}
