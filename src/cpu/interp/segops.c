/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that move selectors and descriptor tables, and those that ask about descriptors. */
#include "cpu/interp/flags.h"
#include "cpu/interp/integer.h"
#include "cpu/interp/mem.h"
#include "cpu/interp/run.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/system.h"

#define BASE_24_BITS 0xffffffu
/* What LAR shows of the upper half of a descriptor: 00FxFF00h. */
#define LAR_MASK 0x00ffff00u

static void write_gpr(struct interp *c, const struct uop *u, uint64_t value)
{
    if (u->opsize == 2)
        GPR16(u->dst) = (uint16_t)value;
    else
        GPR64(u->dst) = u->opsize == 8 ? value : (uint32_t)value;
}

static uint16_t read_rm16(struct interp *c, const struct uop *u)
{
    return u->cond == OPERAND_MEMORY ? mem_ld16(c, u) : GPR16(u->src);
}

/* Memory gets 16 bits, a register all of the operand size. */
static void write_rm(struct interp *c, const struct uop *u, uint16_t value)
{
    if (u->cond == OPERAND_MEMORY)
        mem_st16(c, u, value);
    else
        write_gpr(c, u, value);
}

const struct uop *sys_mov_from_sreg(struct interp *c, const struct uop *u)
{
    write_rm(c, u, c->s.seg[u->src].selector);
    NEXT;
}

/* Commits a loaded register; a new SS holds off interrupts and debug traps for one instruction. */
static const struct uop *sreg_loaded(struct interp *c, const struct uop *u, enum x86_seg seg,
                                     const struct x86_segment *value, bool inhibits)
{
    c->s.seg[seg] = *value;
    if (c->mode != CODE_64 || seg == SEG_SS)
        interp_update_mode(c);
    if (!inhibits)
        NEXT;
    c->inhibit_irq = true;
    c->inhibit_debug = c->slow_step;
    return leave_to(c, u, insn_next_rip(c, u));
}

const struct uop *sys_mov_to_sreg(struct interp *c, const struct uop *u)
{
    struct x86_segment s;
    seg_check_load(c, u, u->dst, read_rm16(c, u), &s);
    return sreg_loaded(c, u, u->dst, &s, u->dst == SEG_SS);
}

const struct uop *sys_push_sreg(struct interp *c, const struct uop *u)
{
    stack_push(c, u, u->opsize, c->s.seg[u->src].selector);
    NEXT;
}

const struct uop *sys_pop_sreg(struct interp *c, const struct uop *u)
{
    struct x86_segment s;
    uint16_t selector = (uint16_t)stack_peek(c, u, u->opsize, 0);
    seg_check_load(c, u, u->dst, selector, &s);
    stack_add(c, u->opsize);
    return sreg_loaded(c, u, u->dst, &s, u->dst == SEG_SS);
}

const struct uop *sys_load_far(struct interp *c, const struct uop *u)
{
    uint8_t image[10];
    uint64_t offset = 0;
    uint16_t selector;
    struct x86_segment s;
    unsigned bytes = u->opsize + 2u;
    lin_read(c, u, uop_lin(c, u, bytes, MMU_READ), image, bytes);
    memcpy(&offset, image, u->opsize);
    memcpy(&selector, image + u->opsize, 2);
    seg_check_load(c, u, u->src, selector, &s);
    write_gpr(c, u, offset);
    return sreg_loaded(c, u, u->src, &s, false);
}

/* --- descriptor tables --- */

static void load_table(struct interp *c, const struct uop *u, struct x86_table *table)
{
    uint8_t image[10];
    uint64_t base = 0;
    unsigned bytes = c->mode == CODE_64 ? 10 : 6;
    require_cpl0(c, u);
    lin_read(c, u, uop_lin(c, u, bytes, MMU_READ), image, bytes);
    memcpy(&base, image + 2, bytes - 2);
    if (c->mode == CODE_64 && !is_canonical_base(c, base))
        exc_raise_code(c, u, VEC_GP, 0);
    if (u->opsize == 2)
        base &= BASE_24_BITS;
    memcpy(&table->limit, image, 2);
    table->base = base;
}

static void check_umip(struct interp *c, const struct uop *u)
{
    if ((c->s.cr4 & CR4_UMIP) && c->cpl > 0)
        exc_raise_code(c, u, VEC_GP, 0);
}

static void store_table(struct interp *c, const struct uop *u, const struct x86_table *table)
{
    uint8_t image[10];
    unsigned bytes = c->mode == CODE_64 ? 10 : 6;
    check_umip(c, u);
    memcpy(image, &table->limit, 2);
    memcpy(image + 2, &table->base, 8);
    lin_write(c, u, uop_lin(c, u, bytes, MMU_WRITE), image, bytes);
}

const struct uop *sys_lgdt(struct interp *c, const struct uop *u)
{
    load_table(c, u, &c->s.gdtr);
    NEXT;
}

const struct uop *sys_lidt(struct interp *c, const struct uop *u)
{
    load_table(c, u, &c->s.idtr);
    NEXT;
}

const struct uop *sys_sgdt(struct interp *c, const struct uop *u)
{
    store_table(c, u, &c->s.gdtr);
    NEXT;
}

const struct uop *sys_sidt(struct interp *c, const struct uop *u)
{
    store_table(c, u, &c->s.idtr);
    NEXT;
}

static void require_protected(struct interp *c, const struct uop *u)
{
    if (!in_protected_mode(c))
        exc_raise(c, u, VEC_UD);
}

const struct uop *sys_lldt(struct interp *c, const struct uop *u)
{
    struct x86_segment s;
    require_protected(c, u);
    require_cpl0(c, u);
    seg_check_ldt(c, u, read_rm16(c, u), VEC_GP, &s);
    c->s.ldtr = s;
    NEXT;
}

const struct uop *sys_ltr(struct interp *c, const struct uop *u)
{
    uint64_t raw[2] = {0, 0};
    require_protected(c, u);
    require_cpl0(c, u);
    uint16_t selector = read_rm16(c, u);
    if (selector_is_null(selector))
        exc_raise_code(c, u, VEC_GP, 0);
    if ((selector & SELECTOR_TI) || !desc_read(c, u, selector, raw, in_long_mode(c) ? 16 : 8))
        exc_raise_selector(c, u, VEC_GP, selector);
    uint32_t attr = desc_attr(raw[0]);
    if (!attr_is_system(attr, DESC_TSS) && (in_long_mode(c) || !attr_is_system(attr, DESC_TSS16)))
        exc_raise_selector(c, u, VEC_GP, selector);
    if (!(attr & SEG_ATTR_P))
        exc_raise_selector(c, u, VEC_NP, selector);
    struct x86_segment s = desc_to_segment(raw[0], selector);
    s.base |= raw[1] << 32;
    if (in_long_mode(c) && (!is_canonical_base(c, s.base) || ((raw[1] >> 40) & 0x1f)))
        exc_raise_selector(c, u, VEC_GP, selector);
    desc_set_type(c, u, selector, raw[0], 2, 0);
    s.attr |= 2; /* busy */
    c->s.tr = s;
    NEXT;
}

const struct uop *sys_sldt(struct interp *c, const struct uop *u)
{
    require_protected(c, u);
    check_umip(c, u);
    write_rm(c, u, c->s.ldtr.selector);
    NEXT;
}

const struct uop *sys_str(struct interp *c, const struct uop *u)
{
    require_protected(c, u);
    check_umip(c, u);
    write_rm(c, u, c->s.tr.selector);
    NEXT;
}

/* --- questions about descriptors: the answer is ZF --- */

static void set_zf(struct interp *c, bool zf)
{
    c->flags16 = (uint16_t)((c->flags16 & ~F16_ZF) | (zf ? F16_ZF : 0));
}

enum { ASK_LAR, ASK_LSL };

/* System descriptor types with an answer (SDM 2A tables 3-53 and 3-56). */
static bool has_answer(const struct interp *c, unsigned type, int question)
{
    switch (type) {
    case DESC_LDT:
    case DESC_TSS:
    case DESC_TSS_BUSY:
        return true;
    case DESC_TSS16:
    case DESC_TSS16_BUSY:
        return !in_long_mode(c);
    case DESC_CALL:
        return question == ASK_LAR;
    case DESC_CALL16:
    case DESC_TASK_GATE:
        return question == ASK_LAR && !in_long_mode(c);
    default:
        return false;
    }
}

static bool ask(struct interp *c, const struct uop *u, uint64_t *raw, int question)
{
    require_protected(c, u);
    uint16_t selector = read_rm16(c, u);
    if (!seg_probe(c, u, selector, raw))
        return false;
    return (desc_attr(*raw) & SEG_ATTR_S) || has_answer(c, attr_type(desc_attr(*raw)), question);
}

const struct uop *sys_lar(struct interp *c, const struct uop *u)
{
    uint64_t raw;
    bool known = ask(c, u, &raw, ASK_LAR);
    if (known)
        write_gpr(c, u, (raw >> 32) & LAR_MASK);
    set_zf(c, known);
    NEXT;
}

const struct uop *sys_lsl(struct interp *c, const struct uop *u)
{
    uint64_t raw;
    bool known = ask(c, u, &raw, ASK_LSL);
    if (known)
        write_gpr(c, u, desc_to_segment(raw, 0).limit);
    set_zf(c, known);
    NEXT;
}

const struct uop *sys_verr(struct interp *c, const struct uop *u)
{
    uint64_t raw;
    require_protected(c, u);
    uint16_t selector = read_rm16(c, u);
    bool ok = seg_probe(c, u, selector, &raw) && (desc_attr(raw) & SEG_ATTR_S) &&
              (!attr_is_code(desc_attr(raw)) || (desc_attr(raw) & SEG_TYPE_RW));
    set_zf(c, ok);
    NEXT;
}

const struct uop *sys_verw(struct interp *c, const struct uop *u)
{
    uint64_t raw;
    require_protected(c, u);
    uint16_t selector = read_rm16(c, u);
    bool ok = seg_probe(c, u, selector, &raw) && attr_is_writable_data(desc_attr(raw));
    set_zf(c, ok);
    NEXT;
}

const struct uop *sys_arpl(struct interp *c, const struct uop *u)
{
    uint16_t value;
    unsigned rpl = GPR16(u->src) & SELECTOR_RPL;
    require_protected(c, u);
    if (u->cond != OPERAND_MEMORY) {
        value = GPR16(u->dst);
        set_zf(c, (value & SELECTOR_RPL) < rpl);
        if ((value & SELECTOR_RPL) < rpl)
            GPR16(u->dst) = (uint16_t)((value & ~SELECTOR_RPL) | rpl);
        NEXT;
    }
    /* Writes only what changes: a read-only operand is no fault otherwise. */
    value = mem_ld16(c, u);
    if ((value & SELECTOR_RPL) < rpl)
        mem_st16(c, u, (uint16_t)((value & ~SELECTOR_RPL) | rpl));
    set_zf(c, (value & SELECTOR_RPL) < rpl);
    NEXT;
}
