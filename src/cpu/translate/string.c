/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REP MOVS and REP STOS within one page, by the same instruction on host addresses. Longer ones and
 * falling ones are the handler's.
 */
#include "cpu/interp/mem.h"
#include "cpu/translate/compile.h"

#define PUT(...) EMIT(&k->e, __VA_ARGS__)

static bool moves(const ZydisDecodedInstruction *i)
{
    return (i->opcode & 0xfeu) == 0xa4;
}

bool string_is_native(const struct compile *k, unsigned n)
{
    const ZydisDecodedInstruction *i = &k->i[n];
    const struct uop *u = uop_of(k, n);

    return i->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
           i->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
           (moves(i) || (i->opcode & 0xfeu) == 0xaa) && (u->prefix & UOP_REP) && u->addrsize == 8 &&
           seg_is_flat(u->seg);
}

void string_note_addresses(struct uop *pair)
{
    pair->base = 8 * RDI;
    pair->index = GPR_ZERO;
    pair->disp = 0;
    pair[1].src = 1;
    pair[1].base = 8 * RSI;
    pair[1].src2 = 1;
}

/* r11 = from + rcx elements - 1. */
static void put_last(struct compile *k, unsigned from, unsigned shift)
{
    emit_form(&k->e, &(struct x_form){.op = 0x8d,
                                      .w = true,
                                      .reg = HOST_T1,
                                      .rm = XRM_MEM,
                                      .base = (uint8_t)from,
                                      .index = X_RCX,
                                      .scale = (uint8_t)shift,
                                      .disp = -1});
}

/* By the handler, unless r11 is in the page of the address in t->target (in_target) or in r10. */
static void put_same_page(struct compile *k, const struct uop *pair, bool in_target)
{
    emit_form(&k->e, &(struct x_form){.op = 0x33, /* xor r11, ... */
                                      .w = true,
                                      .reg = HOST_T1,
                                      .rm = in_target ? XRM_ABS : XRM_REG,
                                      .base = HOST_T0,
                                      .disp = in_target ? (int32_t)ABS(k->t->target) : 0});
    PUT(0x49, 0x81, 0xfb); /* cmp r11, 4095 */
    emit_u32(&k->e, (uint32_t)PAGE_SIZE - 1);
    put_slow_if(k, 7, pair); /* above */
}

/* The direction is up, and so many elements are too many for no page. */
static void put_guards(struct compile *k, const struct uop *pair, unsigned shift)
{
    put_abs(k, 0xf7, 0, ABS(k->t->c.s.rflags)); /* test dword, DF */
    emit_u32(&k->e, RFLAGS_DF);
    put_slow_if(k, 5, pair); /* not zero */
    PUT(0x48, 0x81, 0xf9);   /* cmp rcx, ... */
    emit_u32(&k->e, (uint32_t)PAGE_SIZE >> shift);
    put_slow_if(k, 7, pair); /* above */
}

/* One instruction for 16 elements or part of them, as the handler has it (integer_string.c). */
static void put_time(struct compile *k)
{
    emit_lea(&k->e, HOST_T1, X_RCX, 15);
    PUT(0x49, 0xc1, 0xeb, 4);         /* shr r11, 4 */
    PUT(0x49, 0x0f, 0x6e, 0xcb);      /* movq mm1, r11 */
    PUT(0x0f, 0xd4, 0xc1);            /* paddq mm0, mm1 */
    emit_move(&k->e, HOST_T1, X_RDI); /* for later */
}

static void put_repeated(struct compile *k, unsigned n)
{
    const ZydisDecodedInstruction *i = &k->i[n];
    unsigned size = uop_of(k, n)->opsize;

    emit_form(&k->e, &(struct x_form){.op = i->opcode,
                                      .rep = 0xf3,
                                      .w = size == 8,
                                      .size16 = size == 2,
                                      .base = X_NONE,
                                      .rm = XRM_NONE});
}

/* r10: the target's host address. */
static void put_stos(struct compile *k, unsigned n)
{
    put_time(k);
    emit_move(&k->e, X_RDI, HOST_T0);
    put_repeated(k, n);
    PUT(0x4c, 0x29, 0xd7); /* sub rdi, r10 */
    PUT(0x4c, 0x01, 0xdf); /* add rdi, r11 */
}

/* r10: the source's host address; t->target: the target's. */
static void put_movs(struct compile *k, unsigned n)
{
    put_time(k);
    PUT(0x49, 0x87, 0xf2); /* xchg rsi, r10 */
    emit_load(&k->e, X_RDI, ABS(k->t->target));
    put_repeated(k, n);
    PUT(0x48, 0x2b, 0x3c, 0x25); /* sub rdi, [target] */
    emit_u32(&k->e, ABS(k->t->target));
    PUT(0x49, 0x8d, 0x34, 0x3a); /* lea rsi, [r10 + rdi] */
    PUT(0x4c, 0x01, 0xdf);       /* add rdi, r11 */
}

bool put_string(struct compile *k, unsigned n)
{
    unsigned size = uop_of(k, n)->opsize, shift = (unsigned)__builtin_ctz(size);
    const struct uop *pair;

    if (!string_is_native(k, n))
        return false;
    emit_move(&k->e, HOST_T0, X_RDI);
    put_window_check(k, n, size, true, false);
    if (moves(&k->i[n])) {
        emit_store(&k->e, HOST_T0, ABS(k->t->target));
        emit_move(&k->e, HOST_T0, X_RSI);
        put_window_check(k, n, size, false, false);
    }
    pair = k->slow[k->slow_count - 1].uop;
    put_guards(k, pair, shift);
    put_last(k, HOST_T0, shift);
    put_same_page(k, pair, false);
    if (!moves(&k->i[n])) {
        put_stos(k, n);
        return true;
    }
    emit_load(&k->e, HOST_T1, ABS(k->t->target));
    put_last(k, HOST_T1, shift);
    put_same_page(k, pair, true);
    put_movs(k, n);
    return true;
}
