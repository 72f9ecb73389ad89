/* SPDX-License-Identifier: Apache-2.0 */
/* Integer instructions that need more than their bytes written again. */
#include "cpu/interp/mem.h"
#include "cpu/translate/compile.h"

#define PUT(...) EMIT(&k->e, __VA_ARGS__)

static bool has_memory(const struct compile *k, unsigned n)
{
    return k->op[n][0].type == ZYDIS_OPERAND_TYPE_MEMORY;
}

/* op reg, rm: rm is a register or what r10 points to. */
static void put_op(struct compile *k, unsigned op, bool wide, unsigned reg, unsigned rm,
                   bool memory)
{
    emit_form(&k->e, &(struct x_form){.op = (uint8_t)op,
                                      .w = wide,
                                      .reg = (uint8_t)reg,
                                      .rm = memory ? XRM_MEM : XRM_REG,
                                      .base = (uint8_t)rm,
                                      .index = X_NONE});
}

/* --- division --- */

/* The quotient fits when the upper half is less than the divisor, and only then. */
static void put_div_guard(struct compile *k, bool wide, unsigned rm, bool memory,
                          const struct uop *pair)
{
    put_op(k, 0x3b, wide, X_RDX, rm, memory); /* cmp rdx, rm */
    put_slow_if(k, 3, pair);                  /* above or equal */
}

/* A dividend that was only sign-extended, by anything but 0 and -1: the quotient fits. */
static void put_idiv_guard(struct compile *k, bool wide, unsigned rm, bool memory,
                           const struct uop *pair)
{
    put_op(k, 0x8b, wide, HOST_T1, X_RAX, false);
    put_op(k, 0xc1, wide, 7, HOST_T1, false); /* sar r11, 31 or 63 */
    emit_u8(&k->e, wide ? 63 : 31);
    put_op(k, 0x3b, wide, HOST_T1, X_RDX, false);
    put_slow_if(k, 5, pair); /* not equal */
    put_op(k, 0x8b, wide, HOST_T1, rm, memory);
    put_op(k, 0x83, wide, 0, HOST_T1, false); /* add r11, 1 */
    emit_u8(&k->e, 1);
    put_op(k, 0x83, wide, 7, HOST_T1, false); /* cmp r11, 1 */
    emit_u8(&k->e, 1);
    put_slow_if(k, 6, pair); /* below or equal */
}

/* Flags stay as they were, as with the handler. */
static bool put_division(struct compile *k, unsigned n, bool is_signed)
{
    const struct uop *u = uop_of(k, n), *pair;
    bool memory = has_memory(k, n), wide = u->opsize == 8;
    unsigned rm = HOST_T0;

    if (u->opsize < 4 || (memory && !address_fits(u)))
        return false;
    flags_before(k, k->live[n + 1]);
    if (memory) {
        put_address(k, u);
        put_check(k, n, u->opsize, false);
        pair = k->slow[k->slow_count - 1].uop;
    } else {
        rm = put_register_in(k, dec_gpr(k->op[n][0].reg.value) / 8, HOST_T0);
        pair = fallback_pair(k, n, CALLOUT_STATE);
    }
    if (is_signed)
        put_idiv_guard(k, wide, rm, memory, pair);
    else
        put_div_guard(k, wide, rm, memory, pair);
    put_op(k, 0xf7, wide, is_signed ? 7 : 6, rm, memory);
    return true;
}

/* --- the stack --- */

static bool put_leave_frame(struct compile *k, unsigned n)
{
    if (uop_of(k, n)->opsize != k->word)
        return false;
    put_word_move(k, HOST_T0, X_RBP);
    put_check(k, n, k->word, false);
    put_word_lea(k, HOST_SP, X_RBP, (int32_t)k->word);
    put_op(k, 0x8b, k->word == 8, X_RBP, HOST_T0, true);
    return true;
}

bool put_push_memory(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);
    bool wide = k->word == 8;

    if (u->opsize != k->word || !address_fits(u))
        return false;
    put_address(k, u);
    put_check(k, n, k->word, false);
    put_op(k, 0x8b, wide, HOST_T1, HOST_T0, true);
    emit_store(&k->e, HOST_T1, ABS(k->t->target));
    put_stack_address(k, n, true);
    emit_load(&k->e, HOST_T1, ABS(k->t->target));
    put_op(k, 0x89, wide, HOST_T1, HOST_T0, true);
    put_word_lea(k, HOST_SP, HOST_SP, -(int32_t)k->word);
    return true;
}

/* --- VEX: BMI1 and BMI2 --- */

/* Register operands on their way into the instruction; those that live in memory take scratch. */
struct vex {
    unsigned reg, vvvv, rm, resident;
    bool memory;
    int32_t disp;
};

static bool take(const struct compile *k, unsigned n, struct vex *v, unsigned *place,
                 const ZydisDecodedOperand *op)
{
    unsigned guest = dec_gpr(op->reg.value) / 8;

    *place = host_reg(guest);
    if (*place == X_NONE && op->actions == ZYDIS_OPERAND_ACTION_READ)
        *place = twin_host(k, n, guest);
    if (*place != X_NONE)
        return true;
    if (v->resident++ >= (v->memory ? 1u : 2u))
        return false;
    *place = v->resident == 2 ? HOST_T0 : HOST_T1;
    return true;
}

static bool take_all(const struct compile *k, unsigned n, struct vex *v)
{
    for (unsigned m = 0; m < k->i[n].operand_count_visible; m++) {
        const ZydisDecodedOperand *op = &k->op[n][m];
        unsigned *place = op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG ? &v->reg
                          : op->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD  ? &v->vvvv
                                                                           : &v->rm;

        if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && !take(k, n, v, place, op))
            return false;
    }
    return true;
}

static unsigned place_of(const struct vex *v, const ZydisDecodedOperand *op)
{
    return op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG ? v->reg
           : op->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD  ? v->vvvv
                                                            : v->rm;
}

/*
 * Loads or stores the resident operands. A register that is named twice has two copies; the first
 * operand's counts in the end.
 */
static void move_resident(struct compile *k, unsigned n, const struct vex *v, bool out)
{
    unsigned count = k->i[n].operand_count_visible;

    for (unsigned m = 0; m < count; m++) {
        const ZydisDecodedOperand *op = &k->op[n][out ? count - 1 - m : m];
        unsigned guest, place;

        if (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        guest = dec_gpr(op->reg.value) / 8;
        place = place_of(v, op);
        if (place != HOST_T0 && place != HOST_T1)
            continue;
        if (!out && op->actions != ZYDIS_OPERAND_ACTION_WRITE) {
            if (!r11_holds(k, guest))
                emit_load(&k->e, place, guest_at(k, guest));
            else if (place == HOST_T0)
                emit_move(&k->e, place, HOST_T1);
        }
        if (out && (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            emit_store(&k->e, place, guest_at(k, guest));
    }
}

/* The first resident operand that was taken is in r11, and what it is in the end. */
static void note_resident(struct compile *k, unsigned n, const struct vex *v)
{
    for (unsigned m = 0; m < k->i[n].operand_count_visible; m++) {
        const ZydisDecodedOperand *op = &k->op[n][m];

        if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && place_of(v, op) == HOST_T1) {
            r11_note(k, dec_gpr(op->reg.value) / 8);
            return;
        }
    }
}

/* wide: 32-bit code has no use for W. */
static void emit_vex(struct compile *k, const ZydisDecodedInstruction *i, const struct vex *v,
                     bool wide)
{
    unsigned w = wide, pp = i->raw.vex.pp, map = i->raw.vex.m_mmmm;

    emit_u8(&k->e, 0xc4);
    emit_u8(&k->e, (v->reg < 8 ? 0x80u : 0) | 0x40u | (v->rm < 8 ? 0x20u : 0) | map);
    emit_u8(&k->e, w << 7 | (~v->vvvv & 15u) << 3 | pp);
    emit_u8(&k->e, i->opcode);
    emit_u8(&k->e, (v->memory ? 0x80u : 0xc0u) | (v->reg & 7u) << 3 | (v->rm & 7u));
    if (v->memory)
        emit_u32(&k->e, (uint32_t)v->disp);
}

static bool prepare_vex(const struct compile *k, unsigned n, struct vex *v)
{
    const ZydisDecodedInstruction *i = &k->i[n];

    /* BLSR and its kin have the opcode's extension for reg, RORX has no vvvv: that is 0 then. */
    *v = (struct vex){.reg = i->raw.modrm.reg, .memory = i->raw.modrm.mod != 3, .rm = HOST_T0};
    return take_all(k, n, v) && (!v->memory || address_fits(uop_of(k, n)));
}

bool vex_is_possible(const struct compile *k, unsigned n)
{
    struct vex v;

    return k->i[n].encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && prepare_vex(k, n, &v);
}

static bool put_vex(struct compile *k, unsigned n)
{
    const ZydisDecodedInstruction *i = &k->i[n];
    const struct uop *u = uop_of(k, n);
    struct vex v;

    if (!prepare_vex(k, n, &v))
        return false;
    if (v.memory && has_share(k, n)) {
        v.disp = put_shared(k, n);
    } else if (v.memory) {
        put_place_check(k, n, u, u->opsize, false, false);
    } else if (v.resident == 2) {
        k->r10_share = NO_SHARE;
    }
    flags_for(k, n);
    move_resident(k, n, &v, false);
    emit_vex(k, i, &v, k->word == 8 && i->raw.vex.W);
    if (i->raw.imm[0].size)
        emit_u8(&k->e, (unsigned)i->raw.imm[0].value.u & 0xffu);
    move_resident(k, n, &v, true);
    note_resident(k, n, &v);
    return true;
}

bool put_integer(struct compile *k, unsigned n)
{
    switch (k->i[n].mnemonic) {
    case ZYDIS_MNEMONIC_DIV:
        return put_division(k, n, false);
    case ZYDIS_MNEMONIC_IDIV:
        return put_division(k, n, true);
    case ZYDIS_MNEMONIC_LEAVE:
        return put_leave_frame(k, n);
    case ZYDIS_MNEMONIC_SFENCE:
        PUT(0x0f, 0xae, 0xf8);
        return true;
    case ZYDIS_MNEMONIC_MFENCE:
        PUT(0x0f, 0xae, 0xf0);
        return true;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
        return put_bit_beyond(k, n);
    case ZYDIS_MNEMONIC_CMPXCHG16B:
        return put_cmpxchg16b(k, n);
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
        return put_string(k, n);
    default:
        return k->i[n].encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && put_vex(k, n);
    }
}
