/* SPDX-License-Identifier: Apache-2.0 */
/* Native code of guest code that is written: cut off, joined again, immediates changed in place. */
#include <string.h>

#include "cpu/interp/run.h"
#include "cpu/translate/compile.h"

void note_immediate(struct compile *k, unsigned n, uint8_t *place)
{
    unsigned size = k->i[n].raw.imm[0].size / 8u;

    if (size && !k->is_move[n] && k->immediate_count < sizeof k->immediate / sizeof k->immediate[0])
        k->immediate[k->immediate_count++] = (struct native_immediate){
            .place = place, .off = uop_of(k, n)->off, .size = (uint8_t)size};
}

void immediates_sort(struct compile *k)
{
    for (unsigned n = 1; n < k->immediate_count; n++) {
        const struct native_immediate i = k->immediate[n];
        unsigned to = n;

        for (; to && k->immediate[to - 1].off > i.off; to--)
            k->immediate[to] = k->immediate[to - 1];
        k->immediate[to] = i;
    }
}

/* The first immediate of what begins at `off` or behind it. */
static unsigned immediate_at(const struct native_block *b, unsigned off)
{
    unsigned low = 0, high = b->immediate_count;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (b->immediate[middle].off < off)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void set_stops(const struct native_block *b, uop_fn *fn)
{
    for (unsigned n = 0; n < b->stop_count; n++)
        b->stops[n]->fn = fn;
}

/*
 * T2. Exits of other blocks that come here leave by themselves again; jumps from other pages find a
 * way out.
 */
void native_stale(struct interp *c, struct uop *head)
{
    struct native_block *b = head->extra;
    struct emit e;

    if (head->fn != op_native)
        return;
    memcpy(b->far_bytes, b->far_entry, FAR_ENTRY_BYTES);
    e = (struct emit){.at = b->far_entry, .end = b->far_entry + FAR_ENTRY_BYTES};
    emit_patch(emit_jump(&e), code_rw(&translate_of(c)->code, translate_of(c)->to_arrival));
    for (struct native_exit *x = b->in; x; x = x->next) {
        emit_patch(x->place, x->self);
        x->to = NULL;
    }
    b->in = NULL;
    pairs_empty(&translate_of(c)->pairs);
    set_stops(b, op_stale);
}

/* Its own exits have stayed joined to what still lives. */
void native_revive(struct interp *c, struct uop *head)
{
    struct native_block *b = head->extra;

    (void)c;
    memcpy(b->far_entry, b->far_bytes, FAR_ENTRY_BYTES);
    set_stops(b, op_resume);
}

/* The handlers' copies of instruction u; stops are the uops behind them. */
static void patch_pairs(const struct native_block *b, const struct uop *u)
{
    for (unsigned n = 0; n < b->stop_count; n++) {
        struct uop *pair = b->stops[n] - 1;

        if (pair->off == u->off)
            pair->imm = u->imm;
    }
}

bool native_patch(struct interp *c, struct uop *head, const struct uop *u, const uint8_t *bytes,
                  unsigned size)
{
    const struct native_block *b = head->extra;
    bool any = false;

    (void)c;
    for (unsigned n = immediate_at(b, u->off); n < b->immediate_count; n++) {
        const struct native_immediate *i = &b->immediate[n];

        if (i->off != u->off)
            break;
        if (i->size != size)
            continue;
        any = true;
        if (i->place)
            memcpy(i->place, bytes, size);
    }
    if (any)
        patch_pairs(b, u);
    return any;
}
