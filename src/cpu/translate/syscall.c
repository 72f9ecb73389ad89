/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYSCALL and SYSRET of 64-bit code as the handlers have them (interp/syscall.c), when the view of
 * the other level has a window, its code at the target is native, and no event could be taken
 * there. Nothing is changed before all that is certain.
 */
#include "cpu/interp/mem.h"
#include "cpu/interp/seg.h"
#include "cpu/translate/compile.h"

#define PUT(...) EMIT(&k->e, __VA_ARGS__)

#define SYSRET_FLAGS 0x3c7fd7u
#define STAR_SYSCALL 4 /* where the selectors lie in STAR */
#define STAR_SYSRET  6

/* Where flags16 has SF to CF, and OF. */
#define FLAGS16_LOW(k_) (ABS((k_)->t->c.flags16) + 1)
#define FLAGS16_OF(k_)  ABS((k_)->t->c.flags16)

/* r10: the byte at an address. */
static void put_byte_in(struct compile *k, uint32_t address)
{
    emit_form(&k->e,
              &(struct x_form){
                  .map = 1, .op = 0xb6, .reg = HOST_T0, .rm = XRM_ABS, .disp = (int32_t)address});
}

/* Operations of r10d or r11d with a number. */
enum { X_ADD, X_OR, X_AND = 4 };

static void put_number(struct compile *k, unsigned reg, unsigned operation, uint32_t value)
{
    emit_form(&k->e,
              &(struct x_form){
                  .op = 0x81, .reg = (uint8_t)operation, .rm = XRM_REG, .base = (uint8_t)reg});
    emit_u32(&k->e, value);
}

/* The low byte of r10 to an address. */
static void put_byte_out(struct compile *k, uint32_t address)
{
    emit_form(&k->e, &(struct x_form){
                         .op = 0x88, .reg = HOST_T0, .rm = XRM_ABS, .disp = (int32_t)address});
}

/* r11: all of RFLAGS; the arithmetic ones are away. */
static void put_all_flags(struct compile *k)
{
    emit_load(&k->e, HOST_T1, ABS(k->t->c.s.rflags));
    put_number(k, HOST_T1, X_OR, RFLAGS_ONE);
    put_byte_in(k, FLAGS16_LOW(k));
    put_number(k, HOST_T0, X_AND, RFLAGS_ARITH & 0xff);
    PUT(0x4d, 0x09, 0xd3); /* or r11, r10 */
    put_byte_in(k, FLAGS16_OF(k));
    PUT(0x41, 0xc1, 0xe2, 11); /* shl r10d, 11 */
    PUT(0x4d, 0x09, 0xd3);     /* or r11, r10 */
}

void put_set_flags(struct compile *k)
{
    emit_move(&k->e, HOST_T0, HOST_T1);
    put_number(k, HOST_T0, X_AND, RFLAGS_ARITH & 0xff);
    put_byte_out(k, FLAGS16_LOW(k));
    emit_move(&k->e, HOST_T0, HOST_T1);
    PUT(0x41, 0xc1, 0xea, 11); /* shr r10d, 11 */
    put_number(k, HOST_T0, X_AND, 1);
    put_byte_out(k, FLAGS16_OF(k));
    put_number(k, HOST_T1, X_AND, ~RFLAGS_ARITH);
    put_number(k, HOST_T1, X_OR, RFLAGS_ONE);
    emit_store(&k->e, HOST_T1, ABS(k->t->c.s.rflags));
}

_Static_assert(offsetof(struct x86_segment, attr) == offsetof(struct x86_segment, limit) + 4,
               "limit and attr are written at once");

/* A flat segment whose selector is the one in STAR at a byte, plus a number. */
static void put_segment(struct compile *k, enum x86_seg seg, unsigned at, unsigned plus,
                        uint32_t attr)
{
    const struct x86_segment *s = &k->t->c.s.seg[seg];

    emit_form(&k->e, &(struct x_form){.map = 1, /* movzx r10d, word */
                                      .op = 0xb7,
                                      .reg = HOST_T0,
                                      .rm = XRM_ABS,
                                      .disp = (int32_t)(ABS(k->t->c.s.star) + at)});
    put_number(k, HOST_T0, X_ADD, plus);
    put_number(k, HOST_T0, X_AND, ~SELECTOR_RPL);
    put_number(k, HOST_T0, X_OR, attr_dpl(attr));
    emit_form(&k->e, &(struct x_form){.op = 0x89, /* mov word */
                                      .size16 = true,
                                      .reg = HOST_T0,
                                      .rm = XRM_ABS,
                                      .disp = (int32_t)ABS(s->selector)});
    emit_imm64(&k->e, HOST_T0, UINT32_MAX | (uint64_t)attr << 32);
    emit_store(&k->e, HOST_T0, ABS(s->limit));
    emit_imm32(&k->e, HOST_T0, 0);
    emit_store(&k->e, HOST_T0, ABS(s->base));
}

void put_enter_level(struct compile *k, unsigned cpl)
{
    put_abs(k, 0xc6, 0, ABS(k->t->c.cpl)); /* mov byte */
    emit_u8(&k->e, cpl);
    put_near_view(k, &k->t->near[cpl ? NEAR_USER : NEAR_KERNEL]);
    for (unsigned h = 0; h < HALVES; h++) {
        put_abs(k, 0x81, cpl ? X_OR : X_AND, ABS(k->t->c.fetch_view[h])); /* dword */
        emit_u32(&k->e, cpl ? VIEW_USER : ~VIEW_USER);
        emit_load(&k->e, HOST_T0, ABS(k->t->c.fetch_view[h]));
        emit_store(&k->e, HOST_T0, ABS(k->t->pairs.view[h]));
    }
    put_pairs_empty(&k->e, k->t);
}

/* Code, stack, level and view of the other side. */
static void put_level(struct compile *k, unsigned cpl, unsigned star, unsigned cs, unsigned ss)
{
    uint32_t common = SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_G | cpl << SEG_ATTR_DPL_SHIFT |
                      SEG_TYPE_RW | SEG_TYPE_ACCESSED;

    put_segment(k, SEG_CS, star, cs, common | SEG_TYPE_CODE | SEG_ATTR_L);
    put_segment(k, SEG_SS, star, ss, common | SEG_ATTR_DB);
    put_enter_level(k, cpl);
}

/* By the handler, unless these bits are all clear; a single one: set. */
static void put_clear_guard(struct compile *k, const struct uop *copy, uint32_t address,
                            uint32_t bits)
{
    put_abs(k, 0xf7, 0, address); /* test dword */
    emit_u32(&k->e, bits);
    put_slow_if(k, 5, copy); /* not zero */
}

static void put_set_guard(struct compile *k, const struct uop *copy, uint32_t address, uint32_t bit)
{
    put_abs(k, 0xf7, 0, address);
    emit_u32(&k->e, bit);
    put_slow_if(k, 4, copy); /* zero */
}

/* By the handler, if the outer loop has something to do now. */
static void put_no_event(struct compile *k, const struct uop *copy)
{
    k->slow[k->slow_count++] =
        (struct slow_way){.from = put_poll(k), .uop = copy, .flags = k->flags};
}

/* r10 is where to go on in a view: its native code into t->target. */
static void put_find_in(struct compile *k, const struct uop *copy, const struct near_view *v)
{
    put_jump_entry(k, ABS(v->base));
    PUT(0x4d, 0x3b, 0x93); /* cmp r10, [r11 + lin] */
    emit_u32(&k->e, JUMP_OFFSET(lin));
    put_slow_if(k, 5, copy);
    PUT(0x4d, 0x8b, 0x9b); /* mov r11, [r11 + code] */
    emit_u32(&k->e, JUMP_OFFSET(code));
    emit_store(&k->e, HOST_T1, ABS(k->t->target));
}

void put_go_to_target(struct compile *k, const struct uop *u)
{
    put_count(k, u->n);
    PUT(0xff, 0x24, 0x25); /* jmp [target] */
    emit_u32(&k->e, ABS(k->t->target));
}

static bool put_syscall(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n), *copy = leaving_copy(k, u);
    const struct near_view *v = &k->t->near[NEAR_KERNEL];

    flags_away(k);
    put_set_guard(k, copy, ABS(k->t->c.s.efer), EFER_SCE);
    put_clear_guard(k, copy, ABS(k->t->c.s.rflags), RFLAGS_AC);
    put_guard(k, copy, ABS(v->is_known), GUARD_ZERO);
    put_no_event(k, copy);
    emit_load(&k->e, HOST_T0, ABS(k->t->c.s.lstar));
    put_find_in(k, copy, v);

    put_all_flags(k);
    emit_store(&k->e, HOST_T1, guest_at(k, R11));
    emit_load(&k->e, HOST_T0, ABS(k->t->c.s.sfmask));
    put_number(k, HOST_T0, X_OR, RFLAGS_RF);
    PUT(0x41, 0xf7, 0xd2); /* not r10d */
    PUT(0x4d, 0x21, 0xd3); /* and r11, r10 */
    put_set_flags(k);
    put_from_page(k, X_RCX, u->off + u->len);
    put_level(k, 0, STAR_SYSCALL, 0, 8);
    emit_load(&k->e, HOST_T0, ABS(k->t->c.s.lstar));
    put_go_to_target(k, u);
    return true;
}

/* Only to addresses that are canonical whatever the paging mode. */
static bool put_sysret(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n), *copy;
    const struct near_view *v = &k->t->near[NEAR_USER];

    if (u->opsize != 8)
        return false;
    copy = leaving_copy(k, u);
    flags_away(k);
    put_guard(k, copy, ABS(k->t->c.cpl), GUARD_NOT_ZERO);
    put_set_guard(k, copy, ABS(k->t->c.s.efer), EFER_SCE);
    put_clear_guard(k, copy, guest_at(k, R11), RFLAGS_TF | RFLAGS_AC);
    put_guard(k, copy, ABS(v->is_known), GUARD_ZERO);
    put_guard(k, copy, ABS(k->t->c.irq_line), GUARD_NOT_ZERO);
    put_no_event(k, copy);
    emit_move(&k->e, HOST_T0, X_RCX);
    PUT(0x49, 0xc1, 0xea, 47); /* shr r10, 47 */
    put_slow_if(k, 5, copy);   /* not zero */
    emit_move(&k->e, HOST_T0, X_RCX);
    put_find_in(k, copy, v);

    emit_load(&k->e, HOST_T1, guest_at(k, R11));
    put_number(k, HOST_T1, X_AND, SYSRET_FLAGS);
    put_set_flags(k);
    put_level(k, 3, STAR_SYSRET, 16, 8);
    emit_move(&k->e, HOST_T0, X_RCX);
    put_go_to_target(k, u);
    return true;
}

bool put_fast_system_call(struct compile *k, unsigned n)
{
    if (k->word != 8)
        return false;
    switch (k->i[n].mnemonic) {
    case ZYDIS_MNEMONIC_SYSCALL:
        return put_syscall(k, n);
    case ZYDIS_MNEMONIC_SYSRET:
        return put_sysret(k, n);
    default:
        return false;
    }
}
