/* SPDX-License-Identifier: Apache-2.0 */
/* The integer family: asks its subfamilies, and what they share. */
#include "cpu/interp/integer.h"

static build_fn *const subfamilies[] = {
    int_build_mov,    int_build_alu,   int_build_branch, int_build_stack,
    int_build_unary,  int_build_shift, int_build_bits,   int_build_muldiv,
    int_build_string, int_build_bmi,   int_build_atomic, int_build_misc,
};

bool build_integer(struct dec *d, struct uop *u)
{
    for (size_t i = 0; i < sizeof subfamilies / sizeof subfamilies[0]; i++)
        if (subfamilies[i](d, u))
            return true;
    return false;
}

bool int_is_fast(const struct dec *d, const struct uop *u)
{
    return d->mode == CODE_64 && u->addrsize == 8 && u->seg < SEG_FS;
}

enum form int_form(const struct dec *d, struct uop *u)
{
    bool fast = int_is_fast(d, u);
    bool src_reg = d->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER;

    if (src_reg)
        u->src = dec_gpr(d->op[1].reg.value);
    if (d->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        u->dst = dec_gpr(d->op[0].reg.value);
        if (d->mem_op == 1)
            return fast ? FORM_RM_F : FORM_RM;
        return src_reg ? FORM_RR : FORM_RI;
    }
    if (src_reg)
        return fast ? FORM_MR_F : FORM_MR;
    return fast ? FORM_MI_F : FORM_MI;
}

static uint64_t stack_mask(const struct interp *c)
{
    if (c->mode == CODE_64)
        return UINT64_MAX;
    return c->s.seg[SEG_SS].attr & SEG_ATTR_DB ? UINT32_MAX : UINT16_MAX;
}

uint64_t stack_linear(struct interp *c, const struct uop *u, int64_t delta, unsigned bytes,
                      enum mmu_access_kind kind)
{
    uint64_t sp = (GPR64(REG_RSP) + (uint64_t)delta) & stack_mask(c);

    if (c->mode == CODE_64) {
        if (unlikely(!is_canonical(c, sp) || !is_canonical(c, sp + bytes - 1)))
            exc_raise_code(c, u, VEC_SS, 0);
        return sp;
    }
    return seg_linear(c, u, SEG_SS, sp, bytes, kind);
}

uint64_t stack_peek(struct interp *c, const struct uop *u, unsigned bytes, unsigned skip)
{
    return lin_load(c, u, stack_linear(c, u, skip, bytes, MMU_READ), bytes);
}

void stack_add(struct interp *c, int64_t bytes)
{
    uint64_t mask = stack_mask(c);
    uint64_t sp = GPR64(REG_RSP) + (uint64_t)bytes;

    if (mask == UINT16_MAX)
        SET_GPR16(REG_RSP, sp);
    else
        GPR64(REG_RSP) = sp & mask;
}

void stack_push(struct interp *c, const struct uop *u, unsigned bytes, uint64_t value)
{
    lin_store(c, u, stack_linear(c, u, -(int64_t)bytes, bytes, MMU_WRITE), bytes, value);
    stack_add(c, -(int64_t)bytes);
}
