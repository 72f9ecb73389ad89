/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instruction across two pages. The page behind may be mapped anew, and is written without a
 * word, so each run looks whether the instruction still has the bytes that it was made of:
 *
 *   fetch TLB's entry of the next page ──other page──▶ the interpreter's op_cross
 *   the bytes that the page has        ──others──────▶ the same
 *   the instruction; on to the next page like any far branch
 *
 * An entry of the fetch TLB has the same place only in the address space where the code was
 * translated; elsewhere the interpreter goes on doing it.
 */
#include "cpu/translate/compile.h"

#include <string.h>

#include "cpu/interp/block.h"
#include "cpu/interp/run.h"

void across_take(struct compile *k, const struct tier_block *b)
{
    const struct uop *u = b->uops;
    unsigned head;

    k->b = b;
    k->across_bytes = 0;
    if (u->fn != op_cross)
        return;
    head = (unsigned)PAGE_SIZE - u->off;
    memcpy(k->across_code, b->host + u->off, head);
    memcpy(k->across_code + head, cross_tail(u), u->src);
    k->across_bytes = head + u->src;
    k->across = (struct tier_block){.uops = u + 2, .count = b->count - 2, .host = b->host};
    k->b = &k->across;
}

/* op r10, [address] */
static void put_t0(struct compile *k, unsigned op, uint32_t address)
{
    emit_form(
        &k->e,
        &(struct x_form){
            .op = (uint8_t)op, .w = true, .reg = HOST_T0, .rm = XRM_ABS, .disp = (int32_t)address});
}

static void put_load_t0_from(struct compile *k, size_t field)
{
    struct x_form f = at_t0(0x8b, HOST_T0);

    f.disp = (int32_t)field;
    emit_form(&k->e, &f);
}

/* The interpreter goes on where RFLAGS say "not equal". */
static void leave_if_other(struct compile *k, const struct uop *copy)
{
    k->slow[k->slow_count++] =
        (struct slow_way){.from = emit_jcc(&k->e, 5), .uop = copy, .flags = k->flags};
}

/* Compares the bytes from [r10] on, up to eight at a time. */
static void put_compare(struct compile *k, const uint8_t *bytes, unsigned count,
                        const struct uop *copy)
{
    unsigned at = 0;

    while (at < count) {
        unsigned width = count - at >= 4 ? 4 : count - at >= 2 ? 2 : 1;
        struct x_form f = at_t0(width == 1 ? 0x80 : 0x81, 7); /* cmp [r10 + at], immediate */

        f.w = false;
        f.size16 = width == 2;
        f.disp = (int32_t)at;
        emit_form(&k->e, &f);
        emit_bytes(&k->e, bytes + at, width);
        leave_if_other(k, copy);
        at += width;
    }
}

void put_across_guard(struct compile *k)
{
    uint64_t next = k->t->c.gpr[GPR_PAGE / 8] + PAGE_SIZE;
    const struct fetch_entry *e;
    const struct uop *leave;
    struct uop *copy;
    unsigned head;

    if (!k->across_bytes)
        return;
    if (k->word == 4)
        next = (uint32_t)next;
    head = (unsigned)PAGE_SIZE - uop_of(k, 0)->off;
    e = &k->t->c.fetch[fetch_index(next, k->t->c.mix[half_of(next)])];
    copy = code_memory_data(&k->t->code, sizeof *copy);
    if (!copy) {
        k->failed = true;
        return;
    }
    *copy = (struct uop){.fn = op_interpret, .off = uop_of(k, 0)->off};
    leave = copy;
    flags_before(k, k->live[0]);
    emit_load(&k->e, HOST_T0, ABS(k->t->c.gpr[GPR_PAGE / 8]));
    put_word_lea(k, HOST_T0, HOST_T0, (int32_t)PAGE_SIZE);
    put_t0(k, 0x33, ABS(k->t->c.fetch_view[half_of(next)])); /* xor */
    put_t0(k, 0x3b, ABS(e->tag));                            /* cmp */
    leave_if_other(k, leave);
    emit_load(&k->e, HOST_T0, ABS(e->page));
    put_load_t0_from(k, offsetof(struct code_page, host));
    put_compare(k, k->across_code + head, k->across_bytes - head, leave);
    r11_forget(k);
}
