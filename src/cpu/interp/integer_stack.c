/* SPDX-License-Identifier: Apache-2.0 */
/* PUSH POP (general registers, memory, immediates) PUSHA POPA ENTER LEAVE. */
#define INTERP_HOT
#include "cpu/interp/integer.h"

HANDLER(push_r64)
{
    uint64_t sp = GPR64(REG_RSP) - 8;

    lin_st64(c, u, sp, GPR64(u->src));
    GPR64(REG_RSP) = sp;
    NEXT;
}

HANDLER(pop_r64)
{
    uint64_t v = lin_ld64(c, u, GPR64(REG_RSP));

    GPR64(REG_RSP) += 8;
    GPR64(u->dst) = v;
    NEXT;
}

HANDLER(push_i64)
{
    uint64_t sp = GPR64(REG_RSP) - 8;

    lin_st64(c, u, sp, (uint64_t)u->imm);
    GPR64(REG_RSP) = sp;
    NEXT;
}

HANDLER(push_r)
{
    stack_push(c, u, u->opsize, gpr_get(c, u->src, u->opsize));
    NEXT;
}

HANDLER(push_i)
{
    stack_push(c, u, u->opsize, (uint64_t)u->imm);
    NEXT;
}

HANDLER(push_m)
{
    stack_push(c, u, u->opsize, lin_load(c, u, uop_lin(c, u, u->opsize, MMU_READ), u->opsize));
    NEXT;
}

HANDLER(pop_r)
{
    uint64_t v = stack_peek(c, u, u->opsize, 0);

    stack_add(c, u->opsize);
    gpr_set(c, u->dst, u->opsize, v);
    NEXT;
}

/* The builder moved an RSP-based address by the size popped: it counts after the pop. */
HANDLER(pop_m)
{
    uint64_t v = stack_peek(c, u, u->opsize, 0);

    lin_store(c, u, uop_lin(c, u, u->opsize, MMU_WRITE), u->opsize, v);
    stack_add(c, u->opsize);
    NEXT;
}

/* Eight registers as one block of memory; RSP is stored as it was before. */
HANDLER(pusha)
{
    uint8_t buf[32];
    unsigned size = u->opsize;

    /* In the order of the pushes, for the address that a fault tells. */
    for (unsigned i = 0; i < 8; i++) {
        int64_t delta = -(int64_t)((i + 1) * size);

        lin_probe(c, u, stack_linear(c, u, delta, size, MMU_WRITE), size, MMU_WRITE);
        memcpy(buf + (7 - i) * size, &c->gpr[i], size);
    }
    lin_write(c, u, stack_linear(c, u, -8 * (int64_t)size, 8 * size, MMU_WRITE), buf, 8 * size);
    stack_add(c, -8 * (int64_t)size);
    NEXT_LOOP;
}

HANDLER(popa)
{
    uint8_t buf[32];
    unsigned size = u->opsize;

    lin_read(c, u, stack_linear(c, u, 0, 8 * size, MMU_READ), buf, 8 * size);
    for (unsigned i = 0; i < 8; i++) {
        uint64_t v = 0;

        memcpy(&v, buf + (7 - i) * size, size);
        if (i != RSP)
            gpr_set(c, i * 8, size, v);
    }
    stack_add(c, 8 * (int64_t)size);
    NEXT_LOOP;
}

/* Address width of the stack: also the part of rBP that is used with it. */
static unsigned stack_bytes(const struct interp *c)
{
    if (c->mode == CODE_64)
        return 8;
    return c->s.seg[SEG_SS].attr & SEG_ATTR_DB ? 4 : 2;
}

/*
 * imm: bytes to allocate; cond: nesting level. Everything that can fault comes before the first
 * write.
 */
HANDLER(enter)
{
    unsigned level = u->cond & 31u, size = u->opsize, width = stack_bytes(c);
    uint64_t bp = gpr_get(c, REG_RBP, width);
    uint64_t frame = GPR64(REG_RSP) - size;
    uint64_t final = (uint64_t)u->imm + size * (level + 1);
    uint8_t buf[8 * 33];

    memcpy(buf + size * level, &c->gpr[RBP], size);
    lin_probe(c, u, stack_linear(c, u, -(int64_t)size, size, MMU_WRITE), size, MMU_WRITE);
    for (unsigned i = 1; i < level; i++) {
        uint64_t delta = bp - size * i - gpr_get(c, REG_RSP, width);
        uint64_t v = lin_load(c, u, stack_linear(c, u, (int64_t)delta, size, MMU_READ), size);

        memcpy(buf + size * (level - i), &v, size);
        lin_probe(c, u, stack_linear(c, u, -(int64_t)(size * (i + 1)), size, MMU_WRITE), size,
                  MMU_WRITE);
    }
    if (level)
        memcpy(buf, &frame, size);
    lin_probe(c, u, stack_linear(c, u, -(int64_t) final, size, MMU_WRITE), size, MMU_WRITE);
    lin_write(c, u,
              stack_linear(c, u, -(int64_t)(size * (level + 1)), size * (level + 1), MMU_WRITE),
              buf, size * (level + 1));
    gpr_set(c, REG_RBP, size, frame);
    stack_add(c, -(int64_t) final);
    NEXT_LOOP;
}

HANDLER(leave)
{
    unsigned width = stack_bytes(c);
    uint64_t bp = gpr_get(c, REG_RBP, width);
    uint64_t v;

    if (c->mode == CODE_64)
        v = lin_load(c, u, bp, u->opsize);
    else
        v = lin_load(c, u, seg_linear(c, u, SEG_SS, bp, u->opsize, MMU_READ), u->opsize);
    bp += u->opsize;
    if (width == 8)
        GPR64(REG_RSP) = bp;
    else if (width == 4)
        SET_GPR32(REG_RSP, bp);
    else
        SET_GPR16(REG_RSP, bp);
    gpr_set(c, REG_RBP, u->opsize, v);
    NEXT;
}

static bool build_push(struct dec *d, struct uop *u)
{
    if (d->mem_op == 0) {
        u->fn = push_m;
        return true;
    }
    u->seg = SEG_SS;
    if (d->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        u->fn = u->opsize == 8 ? push_i64 : push_i;
        return true;
    }
    if (!dec_is_gpr(d->op[0].reg.value))
        return false;
    u->src = dec_gpr(d->op[0].reg.value);
    u->fn = u->opsize == 8 ? push_r64 : push_r;
    return true;
}

static bool build_pop(struct dec *d, struct uop *u)
{
    if (d->mem_op == 0) {
        if (u->base == REG_RSP)
            u->disp += u->opsize;
        u->fn = pop_m;
        return true;
    }
    if (!dec_is_gpr(d->op[0].reg.value))
        return false;
    u->seg = SEG_SS;
    u->dst = dec_gpr(d->op[0].reg.value);
    u->fn = u->opsize == 8 ? pop_r64 : pop_r;
    return true;
}

bool int_build_stack(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
        return build_push(d, u);
    case ZYDIS_MNEMONIC_POP:
        return build_pop(d, u);
    case ZYDIS_MNEMONIC_PUSHA:
    case ZYDIS_MNEMONIC_PUSHAD:
        u->fn = pusha;
        break;
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD:
        u->fn = popa;
        break;
    case ZYDIS_MNEMONIC_ENTER:
        u->imm = (int64_t)(d->op[0].imm.value.u & 0xffffu);
        u->cond = (uint8_t)d->op[1].imm.value.u;
        u->fn = enter;
        break;
    case ZYDIS_MNEMONIC_LEAVE:
        u->fn = leave;
        break;
    default:
        return false;
    }
    u->seg = SEG_SS;
    return true;
}
