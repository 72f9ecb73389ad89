/* SPDX-License-Identifier: Apache-2.0 */
/* Ways out of native code, and where the code lies that runs rarely. */
#include "cpu/translate/compile.h"

void go_back(struct compile *k, bool to_cold)
{
    struct emit e = k->e;

    if (k->is_cold == to_cold)
        return;
    k->e = k->other;
    k->other = e;
    k->is_cold = to_cold;
}

bool go_cold(struct compile *k)
{
    bool was_cold = k->is_cold;

    go_back(k, true);
    return was_cold;
}

void put_count(struct compile *k, unsigned instructions)
{
    static const uint8_t paddq[] = {0x0f, 0xd4, 0x04, 0x25};

    emit_bytes(&k->e, paddq, sizeof paddq);
    emit_u32(&k->e, ABS(k->t->counts[instructions]));
}

void put_poll_compare(struct compile *k)
{
    static const uint8_t take[] = {0x49, 0x0f, 0x7e, 0xc3}; /* movq r11, mm0 */

    emit_bytes(&k->e, take, sizeof take);
    emit_on(&k->e, 0x3b, HOST_T1, ABS(k->t->c.icount_stop)); /* cmp */
}

uint8_t *put_poll(struct compile *k)
{
    put_poll_compare(k);
    return emit_jcc(&k->e, 3); /* above or equal */
}

void put_slow_if(struct compile *k, unsigned condition, const struct uop *pair)
{
    k->slow[k->slow_count++] =
        (struct slow_way){.from = emit_jcc(&k->e, condition), .uop = pair, .flags = k->flags};
}

void put_leave(struct compile *k, const struct uop *u, enum flags_where flags)
{
    const uint8_t *thunk = flags == FLAGS_IN_PLACE ? k->t->to_exit : k->t->to_exit_flags_away;

    put_page_out(k);
    emit_imm32(&k->e, HOST_T0, ABS(*u));
    emit_patch(emit_jump(&k->e), code_rw(&k->t->code, thunk));
}

const struct uop *leaving_copy(struct compile *k, const struct uop *u)
{
    struct uop *copy = code_memory_data(&k->t->code, sizeof *copy);

    if (!copy) {
        k->failed = true;
        return NULL;
    }
    *copy = *u;
    copy->link = NULL;
    return copy;
}

const struct uop *learning_copy(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);
    struct uop *copy = code_memory_data(&k->t->code, 2 * sizeof *copy);

    if (!copy) {
        k->failed = true;
        return NULL;
    }
    copy[0] = *u;
    copy[0].fn = op_learn_and_leave;
    copy[0].link = NULL;
    copy[1] = (struct uop){.fn = u->fn, .src = memory_operand(k, n) != NULL};
    return copy;
}

struct native_exit *new_exit(struct compile *k, const struct uop *u)
{
    struct native_exit *x = code_memory_data(&k->t->code, sizeof *x);

    if (!x) {
        k->failed = true;
        return NULL;
    }
    x->page = k->page;
    x->u = *u;
    x->u.fn = op_direct_exit;
    x->u.link = NULL;
    x->u.extra = NULL;
    x->loaded = false;
    return x;
}

void put_exit_way(struct compile *k, struct native_exit *x, uint8_t *place)
{
    bool was_cold = go_cold(k);

    x->place = place;
    x->flags = k->flags;
    x->self = k->e.at;
    emit_patch(place, x->self);
    put_leave(k, &x->u, k->flags);
    go_back(k, was_cold);
}
