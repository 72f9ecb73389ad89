/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instruction across two pages. The page behind may be mapped anew, and is written without a
 * word, so each run looks whether the instruction still has the bytes that it was made of:
 *
 *   fetch TLB's entry of the next page ──other page──▶ the interpreter's op_cross
 *   the bytes that the page has        ──others──────▶ the same
 *   the instruction; on to the next page like any far branch
 */
#include "cpu/translate/compile.h"

#include <assert.h>
#include <string.h>

#include "cpu/interp/block.h"
#include "cpu/interp/run.h"

#define PUT(...) EMIT(&k->e, __VA_ARGS__)

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

/* op r10, [base + disp] */
static void put_t0_on(struct compile *k, unsigned op, unsigned base, int32_t disp)
{
    struct x_form f = at_t0(op, HOST_T0);

    f.base = (uint8_t)base;
    f.disp = disp;
    emit_form(&k->e, &f);
}

/* r11: the offset in its half of c->fetch of the entry for the address in r10, as fetch_index. */
static void put_fetch_index(struct compile *k, unsigned half)
{
    const unsigned entry_shift = 4, shift = PAGE_SHIFT - entry_shift;

    static_assert(sizeof(struct fetch_entry) == 16, "an index is a shift");
    emit_form(&k->e, &(struct x_form){.op = 0x8b, /* mov r11d, [mix] */
                                      .reg = HOST_T1,
                                      .rm = XRM_ABS,
                                      .disp = (int32_t)ABS(k->t->c.mix[half])});
    PUT(0x41, 0xc1, 0xe3, PAGE_SHIFT + __builtin_ctz(FETCH_HALF / TLB_MIXES)); /* shl r11d */
    PUT(0x4d, 0x31, 0xd3);                                                        /* xor r11, r10 */
    PUT(0x41, 0xc1, 0xeb, shift);                                                 /* shr r11d */
    PUT(0x41, 0x81, 0xe3);                                                        /* and r11d */
    emit_u32(&k->e, (FETCH_HALF - 1u) << entry_shift);
}

#define NOT_EQUAL    5
#define NEGATIVE     8
#define NOT_NEGATIVE 9

/* The interpreter goes on where a condition holds. */
static void leave_if(struct compile *k, unsigned condition, const struct uop *copy)
{
    k->slow[k->slow_count++] =
        (struct slow_way){.from = emit_jcc(&k->e, condition), .uop = copy, .flags = k->flags};
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
        leave_if(k, NOT_EQUAL, copy);
        at += width;
    }
}

void put_across_guard(struct compile *k)
{
    unsigned half = half_of(k->t->c.gpr[GPR_PAGE / 8]), head;
    const struct interp *c = &k->t->c;
    const struct fetch_entry *fetch = &c->fetch[half * FETCH_HALF];
    struct uop *leave;

    if (!k->across_bytes)
        return;
    head = (unsigned)PAGE_SIZE - uop_of(k, 0)->off;
    leave = code_memory_data(&k->t->code, sizeof *leave);
    if (!leave) {
        k->failed = true;
        return;
    }
    *leave = (struct uop){.fn = op_interpret, .off = uop_of(k, 0)->off};
    flags_before(k, k->live[0]);
    put_from_page(k, HOST_T0, (int64_t)PAGE_SIZE);
    if (k->word == 8) {
        PUT(0x4d, 0x85, 0xd2); /* test r10, r10: the half is in the code */
        leave_if(k, half ? NOT_NEGATIVE : NEGATIVE, leave);
    }
    put_fetch_index(k, half);
    emit_on(&k->e, 0x33, HOST_T0, ABS(c->fetch_view[half]));    /* xor */
    put_t0_on(k, 0x3b, HOST_T1, (int32_t)ABS(fetch->tag)); /* cmp */
    leave_if(k, NOT_EQUAL, leave);
    put_t0_on(k, 0x8b, HOST_T1, (int32_t)ABS(fetch->page)); /* mov */
    put_t0_on(k, 0x8b, HOST_T0, offsetof(struct code_page, host));
    put_compare(k, k->across_code + head, k->across_bytes - head, leave);
    r11_forget(k);
}
