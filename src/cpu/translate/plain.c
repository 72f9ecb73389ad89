/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain instructions: the guest's bytes with other register numbers and another memory operand.
 *
 * A register that lives in memory is the instruction's memory operand where it has none: read at
 * any width, written at 64 bits (a store of less would make the next load of all wait for it, and
 * 32 bits clear the upper half). Elsewhere it comes into a scratch register and goes back.
 *
 * AH, CH, DH and BH cannot be named beside r10: their register turns by eight bits for as long.
 */
#include "cpu/translate/compile.h"

#include "cpu/interp/fp.h"

/* One register operand on its way into a form. */
struct reg_use {
    unsigned guest, scratch;
    bool read, written;
};

/* turned: the host register whose second byte is meant, X_NONE: none */
struct plain {
    struct x_form f;
    struct reg_use use[2];
    unsigned uses, turned;
    bool high_byte;
};

static bool is_resident(const struct compile *k, const ZydisDecodedOperand *op)
{
    return op && op->type == ZYDIS_OPERAND_TYPE_REGISTER && dec_is_gpr(op->reg.value) &&
           guest_host(k, dec_gpr(op->reg.value) / 8) == X_NONE;
}

static bool is_written(const ZydisDecodedOperand *op)
{
    return op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
}

/* XOR and SUB of a register with itself do not depend on it. */
static bool is_zeroing(const struct compile *k, unsigned n)
{
    const ZydisDecodedOperand *op = k->op[n];
    ZydisMnemonic m = k->i[n].mnemonic;

    return (m == ZYDIS_MNEMONIC_XOR || m == ZYDIS_MNEMONIC_SUB) &&
           op[0].type == ZYDIS_OPERAND_TYPE_REGISTER && op[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
           op[0].reg.value == op[1].reg.value;
}

/* Does the register's value count, or only what the instruction writes over all of it? */
static bool is_read(const struct compile *k, unsigned n, const ZydisDecodedOperand *op)
{
    ZydisMnemonic m = k->i[n].mnemonic;

    if (op->size < 32 || m == ZYDIS_MNEMONIC_BSF || m == ZYDIS_MNEMONIC_BSR)
        return true;
    return op->actions != ZYDIS_OPERAND_ACTION_WRITE && !is_zeroing(k, n);
}

/* The host register that stands for a resident one; r11 before r10, which may hold a share. */
static unsigned take_resident(struct compile *k, struct plain *p, unsigned n,
                              const ZydisDecodedOperand *op)
{
    unsigned guest = dec_gpr(op->reg.value) / 8, at;

    for (at = 0; at < p->uses && p->use[at].guest != guest; at++)
        ;
    if (at == p->uses) {
        p->use[at] = (struct reg_use){.guest = guest, .scratch = p->uses++ ? HOST_T0 : HOST_T1};
        if (p->use[at].scratch == HOST_T0)
            k->r10_share = NO_SHARE;
    }
    p->use[at].read |= is_read(k, n, op);
    p->use[at].written |= is_written(op);
    return p->use[at].scratch;
}

/* Is it only read, and a host register has its value? */
static bool has_twin(const struct compile *k, unsigned n, const ZydisDecodedOperand *op)
{
    return is_resident(k, op) && op->actions == ZYDIS_OPERAND_ACTION_READ && !is_zeroing(k, n) &&
           twin_host(k, n, dec_gpr(op->reg.value) / 8) != X_NONE;
}

static unsigned take_register(struct compile *k, struct plain *p, unsigned n,
                              const ZydisDecodedOperand *op)
{
    uint8_t at;

    if (dec_is_xmm(op))
        return (unsigned)ZydisRegisterGetId(op->reg.value);
    if (has_twin(k, n, op))
        return twin_host(k, n, dec_gpr(op->reg.value) / 8);
    at = dec_gpr(op->reg.value);
    if (at & 1u) {
        p->high_byte = true;
        return at / 8 + 4;
    }
    return is_resident(k, op) ? take_resident(k, p, n, op) : guest_host(k, at / 8);
}

static bool start_form(struct plain *p, const ZydisDecodedInstruction *i)
{
    static const uint8_t map[] = {[ZYDIS_OPCODE_MAP_DEFAULT] = 0,
                                  [ZYDIS_OPCODE_MAP_0F] = 1,
                                  [ZYDIS_OPCODE_MAP_0F38] = 2,
                                  [ZYDIS_OPCODE_MAP_0F3A] = 3};

    if (i->opcode_map > ZYDIS_OPCODE_MAP_0F3A)
        return false;
    *p = (struct plain){.f = {.map = map[i->opcode_map],
                              .op = i->opcode,
                              .w = i->raw.rex.W,
                              .rex = (i->attributes & ZYDIS_ATTRIB_HAS_REX) != 0,
                              .lock = (i->attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0,
                              .base = X_NONE,
                              .index = X_NONE},
                        .turned = X_NONE};
    for (unsigned n = 0; n < i->raw.prefix_count; n++) {
        unsigned v = i->raw.prefixes[n].value;

        if (v == 0x66)
            p->f.size16 = true;
        if (v == 0xf2 || v == 0xf3)
            p->f.rep = (uint8_t)v;
    }
    if (i->attributes & ZYDIS_ATTRIB_HAS_MODRM) {
        p->f.rm = XRM_REG;
        p->f.reg = i->raw.modrm.reg;
    }
    if (i->machine_mode != ZYDIS_MACHINE_MODE_LONG_64)
        code32_form(i, &p->f);
    return true;
}

/* Distinct registers among the operands that live in memory. */
static unsigned count_resident(const struct compile *k, unsigned n)
{
    const ZydisDecodedOperand *op = k->op[n];
    uint32_t seen = 0;

    for (unsigned m = 0; m < k->i[n].operand_count_visible; m++)
        if (is_resident(k, &op[m]))
            seen |= 1u << dec_gpr(op[m].reg.value) / 8;
    return (unsigned)__builtin_popcount(seen);
}

/* The operand in the two fields of ModRM, or in the opcode. */
struct fields {
    const ZydisDecodedOperand *reg, *rm;
};

static struct fields find_fields(const struct compile *k, unsigned n)
{
    struct fields f = {0};

    for (unsigned m = 0; m < k->i[n].operand_count_visible; m++) {
        const ZydisDecodedOperand *op = &k->op[n][m];

        if (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        if (op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
            f.reg = op;
        else if (op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
                 op->encoding == ZYDIS_OPERAND_ENCODING_OPCODE)
            f.rm = op;
    }
    return f;
}

/* The same with the two registers in each other's fields, where there is an opcode for it. */
static bool turn_around(struct x_form *f, struct fields *o)
{
    const struct fields was = *o;

    if (f->map || f->rm != XRM_REG || !o->reg || !o->rm)
        return false;
    if ((f->op < 0x40 && (f->op & 7u) < 4) || (f->op & 0xfcu) == 0x88)
        f->op ^= 2;
    else if ((f->op & 0xfeu) != 0x84) /* TEST is the same both ways */
        return false;
    o->reg = was.rm;
    o->rm = was.reg;
    return true;
}

static bool may_be_memory(const struct compile *k, unsigned n, const ZydisDecodedOperand *rm)
{
    switch (k->i[n].mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_CMPXCHG:
    case ZYDIS_MNEMONIC_XADD:
    case ZYDIS_MNEMONIC_XCHG:
        return false;
    case ZYDIS_MNEMONIC_MOVSXD: /* of 16 bits: CPUs differ in what they read */
        return rm->size == 32 && k->i[n].operand_width != 16;
    default:
        return insn_is_plain(&k->i[n], k->op[n]) && !is_zeroing(k, n) &&
               (!is_written(rm) || rm->size == 64);
    }
}

/* Is the value of a register that lives in memory in a host register? */
static bool is_at_hand(const struct compile *k, unsigned n, unsigned guest)
{
    return r11_holds(k, guest) || twin_host(k, n, guest) != X_NONE;
}

static void place_registers(struct compile *k, struct plain *p, unsigned n)
{
    struct fields o = find_fields(k, n);

    if (is_resident(k, o.reg) && !is_resident(k, o.rm))
        turn_around(&p->f, &o);
    if (p->f.rm == XRM_REG && is_resident(k, o.rm) && may_be_memory(k, n, o.rm) &&
        !is_at_hand(k, n, dec_gpr(o.rm->reg.value) / 8)) {
        p->f.rm = XRM_ABS;
        p->f.disp = (int32_t)guest_at(k, dec_gpr(o.rm->reg.value) / 8);
    } else if (o.rm) {
        p->f.base = (uint8_t)take_register(k, p, n, o.rm);
    }
    if (o.reg)
        p->f.reg = (uint8_t)take_register(k, p, n, o.reg);
    /* The opcode holds the register's low bits. */
    if (p->f.rm == XRM_NONE && p->f.base != X_NONE)
        p->f.op &= 0xf8;
}

/* CMPXCHG has AL beside the register that would turn. */
static bool turn_high_byte(struct compile *k, struct plain *p, unsigned n)
{
    if (!p->high_byte)
        return true;
    if (k->i[n].mnemonic == ZYDIS_MNEMONIC_CMPXCHG)
        return false;
    p->f.reg -= 4;
    p->turned = p->f.reg;
    return true;
}

static bool form_is_possible(const struct plain *p)
{
    const struct x_form *f = &p->f;
    bool extends =
        f->w || f->rex || (f->rm != XRM_NONE && f->reg >= 8) || (f->rm != XRM_ABS && f->base >= 8);

    return !p->high_byte || !extends;
}

static bool prepare_plain(struct compile *k, unsigned n, const ZydisDecodedOperand *mem,
                          struct plain *p)
{
    const ZydisDecodedInstruction *i = &k->i[n];

    if (!start_form(p, i) || count_resident(k, n) > (mem ? 1u : 2u) ||
        (mem && (p->f.rm == XRM_NONE || !address_fits(uop_of(k, n)))))
        return false;
    place_registers(k, p, n);
    if (!mem)
        return form_is_possible(p);
    p->f.rm = XRM_MEM;
    p->f.base = HOST_T0;
    return turn_high_byte(k, p, n);
}

bool plain_is_possible(struct compile *k, unsigned n)
{
    struct plain p;

    return prepare_plain(k, n, memory_operand(k, n), &p);
}

/* rorx by a number of bits, in place: no flags. */
static void put_turn(struct compile *k, const struct plain *p, unsigned bits)
{
    if (p->turned != X_NONE)
        EMIT(&k->e, 0xc4, 0xe3, 0xfb, 0xf0, (uint8_t)(0xc0 | p->turned << 3 | p->turned),
             (uint8_t)bits);
}

static void put_access(struct compile *k, unsigned n, const ZydisDecodedOperand *mem,
                       struct plain *p)
{
    bool write = is_written(mem);
    unsigned slow = k->slow_count;

    if (k->in_loop) {
        put_loop_operand(k, n, &p->f);
        return;
    }
    if (has_share(k, n)) {
        p->f.disp =
            leaves_r11_alone(k, n) ? put_shared_in_either(k, n, &p->f.base) : put_shared(k, n);
        return;
    }
    /* MUL of an address with an index costs more than the addition. */
    if (p->uses || k->i[n].mnemonic == ZYDIS_MNEMONIC_MUL)
        put_place_check(k, n, uop_of(k, n), mem->size / 8, write, vector_is_aligned(k, n));
    else
        put_check_for(k, n, mem->size / 8, write, &p->f);
    edge_note(k, n, slow);
}

static void put_use(struct compile *k, unsigned n, const struct reg_use *use)
{
    unsigned twin = twin_host(k, n, use->guest);

    if (use->scratch == HOST_T1 && r11_holds(k, use->guest))
        return;
    if (twin != X_NONE)
        emit_move(&k->e, use->scratch, twin);
    else
        emit_load(&k->e, use->scratch, guest_at(k, use->guest));
}

bool put_plain(struct compile *k, unsigned n)
{
    const ZydisDecodedInstruction *i = &k->i[n];
    const ZydisDecodedOperand *mem = memory_operand(k, n);
    const struct uop *u = uop_of(k, n);
    const uint8_t *start;
    struct plain p;

    if (!prepare_plain(k, n, mem, &p))
        return false;
    if (mem)
        put_access(k, n, mem, &p);
    flags_for(k, n);
    for (unsigned m = 0; m < p.uses; m++)
        if (p.use[m].read)
            put_use(k, n, &p.use[m]);
    start = k->e.at;
    put_turn(k, &p, 8);
    emit_form(&k->e, &p.f);
    note_immediate(k, n, k->e.at);
    if (i->raw.imm[0].size)
        emit_bytes(&k->e, code_bytes(k, u->off) + i->raw.imm[0].offset,
                   (unsigned)i->length - i->raw.imm[0].offset);
    put_turn(k, &p, 56);
    for (unsigned m = 0; m < p.uses; m++)
        if (p.use[m].written)
            emit_store(&k->e, p.use[m].scratch, guest_at(k, p.use[m].guest));
    /* ADD of a register to itself has one of the two in memory. */
    if (p.uses && (p.f.rm != XRM_ABS || p.f.disp != (int32_t)guest_at(k, p.use[0].guest)))
        r11_note(k, p.use[0].guest);
    else if (p.uses)
        r11_forget(k);
    else
        r11_stays(k, start);
    return true;
}
