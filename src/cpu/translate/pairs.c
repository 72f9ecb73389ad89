/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/pairs.h"

#include <string.h>

#include "cpu/translate/compile.h"

/* How many pairs below the top one may be the one that is looked for (longjmp, unwinding). */
#define LOOK_DOWN 6u

#define PUT(...) EMIT(e, __VA_ARGS__)

void pairs_empty(struct pairs *p)
{
    p->rsp = (uint64_t)(uintptr_t)&p->pair[PAIRS];
}

void pairs_view(struct pairs *p, const uint64_t fetch_view[HALVES])
{
    if (p->view[0] == fetch_view[0] && p->view[1] == fetch_view[1])
        return;
    memcpy(p->view, fetch_view, sizeof p->view);
    pairs_empty(p);
}

static uint32_t end_of(struct translate *t)
{
    return ABS(t->pairs.pair[PAIRS]);
}

void put_pairs_empty(struct emit *e, struct translate *t)
{
    emit_imm32(e, X_RSP, end_of(t));
}

/* cmp rsp, address */
static void put_compare(struct emit *e, uint32_t address)
{
    PUT(0x48, 0x81, 0xfc);
    emit_u32(e, address);
}

/*
 * Called with the address of a RET in r10 when it is not the top pair's. That pair goes; if one
 * below is its own, all down to it.
 */
static void put_lost_routine(struct emit *e, struct translate *t)
{
    uint8_t *found[LOOK_DOWN], *none, *is_empty, *fits;

    emit_pop_at(e, ABS(t->resume));
    put_compare(e, end_of(t));
    is_empty = emit_jcc(e, 3); /* above or equal */
    PUT(0x48, 0x83, 0xc4, sizeof(struct pair));
    for (unsigned n = 0; n < LOOK_DOWN; n++) {
        PUT(0x4c, 0x3b, 0x54, 0x24, sizeof(struct pair) * n + offsetof(struct pair, lin));
        found[n] = emit_jcc(e, 4);
    }
    none = emit_jump(e);
    for (unsigned n = LOOK_DOWN; n-- > 0;) {
        emit_patch(found[n], e->at);
        PUT(0x48, 0x83, 0xc4, sizeof(struct pair)); /* add rsp, 16 */
    }
    put_compare(e, end_of(t));
    fits = emit_jcc(e, 6); /* below or equal */
    put_pairs_empty(e, t);
    emit_patch(fits, e->at);
    emit_patch(none, e->at);
    emit_patch(is_empty, e->at);
    emit_push_at(e, ABS(t->resume));
    PUT(0xc3);
}

void pairs_write_routines(struct emit *e, struct translate *t)
{
    const uint8_t *none = code_rx(&t->code, e->at);

    /* A RET to address 0 has met one of the pairs above the stack. */
    put_pairs_empty(e, t);
    emit_patch(emit_jump(e), code_rw(&t->code, t->to_arrival));
    for (unsigned n = PAIRS; n < PAIRS + PAIRS_ABOVE; n++)
        t->pairs.pair[n] = (struct pair){.code = none};
    t->pairs.lost = code_rx(&t->code, e->at);
    put_lost_routine(e, t);
    pairs_empty(&t->pairs);
}

#undef PUT
#define PUT(...) EMIT(&k->e, __VA_ARGS__)

void put_pair_room(struct compile *k)
{
    const uint8_t *resume;
    uint8_t *over;
    bool was_cold = k->is_cold;

    put_compare(&k->e, ABS(k->t->pairs.pair[1]));
    over = emit_jcc(&k->e, was_cold ? 3 : 2); /* above or equal: fits; below: full */
    resume = k->e.at;
    go_cold(k);
    if (!was_cold)
        emit_patch(over, k->e.at);
    put_pairs_empty(&k->e, k->t);
    emit_patch(was_cold ? over : emit_jump(&k->e), was_cold ? k->e.at : resume);
    go_back(k, was_cold);
}

void put_pair_up(struct compile *k, unsigned n)
{
    if (!is_fixed(k)) {
        PUT(0x41, 0x53); /* push r11 */
        return;
    }
    PUT(0x68);
    emit_u32(&k->e, (uint32_t)(k->page + uop_of(k, n)->off + uop_of(k, n)->len));
}

void put_pair_return(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);
    struct uop next = {.imm = u->off + u->len, .off = (uint16_t)(u->off + u->len)};
    struct native_exit *x = new_exit(k, &next);

    if (!x)
        return;
    k->flags = FLAGS_AWAY;
    PUT(0x41, 0x5a); /* pop r10 */
    if (!is_fixed(k))
        put_page_in(k, (unsigned)next.imm);
    put_exit_way(k, x, emit_jump(&k->e));
}

uint8_t *put_pair_question(struct compile *k)
{
    PUT(0x4c, 0x3b, 0x54, 0x24, offsetof(struct pair, lin)); /* cmp r10, [rsp + 8] */
    return emit_jcc(&k->e, 5);
}

void put_pair_lost(struct compile *k)
{
    emit_patch(emit_call(&k->e), code_rw(&k->t->code, k->t->pairs.lost));
}
