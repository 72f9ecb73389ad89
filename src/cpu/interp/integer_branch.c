/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Near branches: Jcc JMP CALL RET LOOPcc JCXZ.
 *
 * The linked handlers serve 64-bit mode and 32-bit code with a flat CS: u->imm is the target as an
 * offset from the block's page. The *_any handlers serve the rest (16-bit operands, a CS with a
 * limit): u->imm is the displacement as encoded.
 */
#define INTERP_HOT
#include "cpu/interp/block.h"
#include "cpu/interp/integer.h"
#include "cpu/interp/tier.h"

static uint64_t cut_rip(const struct uop *u, uint64_t rip)
{
    if (u->opsize == 8)
        return rip;
    return u->opsize == 4 ? (uint32_t)rip : (uint16_t)rip;
}

static uint64_t target_any(const struct interp *c, const struct uop *u)
{
    return cut_rip(u, insn_next_rip(c, u) + (uint64_t)u->imm);
}

/* goto_rip in place: for the hot indirect branches of 64-bit mode. */
static inline const struct uop *goto_rip64(struct interp *c, const struct uop *u, uint64_t rip)
{
    const struct uop *to;

    retire(c, u);
    c->rip = rip;
    if (unlikely(must_leave(c)))
        return NULL;
    to = block_lookup(c, rip);
    if (unlikely(!to))
        return NULL;
    GO(to);
}

#define DEFINE_JCC(cc)                                                                             \
    HANDLER(jcc_##cc)                                                                              \
    {                                                                                              \
        if (flags_cond(c->flags16, cc))                                                            \
            return branch_direct(c, u);                                                            \
        NEXT;                                                                                      \
    }
DEFINE_JCC(0)
DEFINE_JCC(1)
DEFINE_JCC(2)
DEFINE_JCC(3)
DEFINE_JCC(4)
DEFINE_JCC(5)
DEFINE_JCC(6)
DEFINE_JCC(7)
DEFINE_JCC(8)
DEFINE_JCC(9)
DEFINE_JCC(10)
DEFINE_JCC(11)
DEFINE_JCC(12)
DEFINE_JCC(13)
DEFINE_JCC(14)
DEFINE_JCC(15)

static uop_fn *const jcc_fn[16] = {
    jcc_0, jcc_1, jcc_2,  jcc_3,  jcc_4,  jcc_5,  jcc_6,  jcc_7,
    jcc_8, jcc_9, jcc_10, jcc_11, jcc_12, jcc_13, jcc_14, jcc_15,
};

static const struct uop *branch_any(struct interp *c, const struct uop *u)
{
    uint64_t rip = target_any(c, u);

    check_branch_target(c, u, rip);
    return goto_rip(c, u, rip);
}

HANDLER(jcc_any)
{
    if (flags_cond(c->flags16, u->cond))
        return branch_any(c, u);
    NEXT;
}

HANDLER(jmp_linked)
{
    return branch_direct(c, u);
}

HANDLER(jmp_any)
{
    return branch_any(c, u);
}

HANDLER(call_linked64)
{
    uint64_t page = GPR64(GPR_PAGE);
    uint64_t sp = GPR64(REG_RSP) - 8;

    if (unlikely(!is_canonical(c, page + (uint64_t)u->imm)))
        check_branch_target(c, u, page + (uint64_t)u->imm);
    lin_st64(c, u, sp, page + u->off + u->len);
    GPR64(REG_RSP) = sp;
    return branch_direct(c, u);
}

HANDLER(call_linked32)
{
    stack_push(c, u, 4, insn_next_rip(c, u));
    return branch_direct(c, u);
}

HANDLER(call_any)
{
    uint64_t rip = target_any(c, u);

    check_branch_target(c, u, rip);
    stack_push(c, u, u->opsize, insn_next_rip(c, u));
    return goto_rip(c, u, rip);
}

HANDLER(jmp_r64)
{
    uint64_t rip = GPR64(u->src);

    if (unlikely(!is_canonical(c, rip)))
        check_branch_target(c, u, rip);
    branch_note(u, rip);
    return goto_rip64(c, u, rip);
}

HANDLER(jmp_m64)
{
    uint64_t rip = mem_ld64(c, u);

    if (unlikely(!is_canonical(c, rip)))
        check_branch_target(c, u, rip);
    branch_note(u, rip);
    return goto_rip64(c, u, rip);
}

/* src2: the operand is in memory */
static uint64_t indirect_target(struct interp *c, const struct uop *u)
{
    if (u->src2)
        return lin_load(c, u, uop_lin(c, u, u->opsize, MMU_READ), u->opsize);
    return gpr_get(c, u->src, u->opsize);
}

HANDLER(jmp_indirect)
{
    uint64_t rip = indirect_target(c, u);

    check_branch_target(c, u, rip);
    branch_note(u, rip);
    return goto_rip(c, u, rip);
}

/* A missing stack comes before a bad target. */
static void check_call_target(struct interp *c, const struct uop *u, uint64_t rip)
{
    lin_probe(c, u, stack_linear(c, u, -(int64_t)u->opsize, u->opsize, MMU_WRITE), u->opsize,
              MMU_WRITE);
    check_branch_target(c, u, rip);
}

HANDLER(call_indirect)
{
    uint64_t rip = indirect_target(c, u);

    check_call_target(c, u, rip);
    stack_push(c, u, u->opsize, insn_next_rip(c, u));
    branch_note(u, rip);
    return goto_rip(c, u, rip);
}

HANDLER(call_r64)
{
    uint64_t rip = GPR64(u->src);
    uint64_t sp = GPR64(REG_RSP) - 8;

    if (unlikely(!is_canonical(c, rip)))
        check_call_target(c, u, rip);
    lin_st64(c, u, sp, GPR64(GPR_PAGE) + u->off + u->len);
    GPR64(REG_RSP) = sp;
    branch_note(u, rip);
    return goto_rip64(c, u, rip);
}

HANDLER(ret64)
{
    uint64_t rip = lin_ld64(c, u, GPR64(REG_RSP));

    if (unlikely(!is_canonical(c, rip)))
        check_branch_target(c, u, rip);
    GPR64(REG_RSP) += 8 + (uint64_t)u->imm;
    return goto_rip64(c, u, rip);
}

HANDLER(ret_any)
{
    uint64_t rip = stack_peek(c, u, u->opsize, 0);

    check_branch_target(c, u, rip);
    stack_add(c, u->opsize + u->imm);
    return goto_rip(c, u, rip);
}

/* LOOP LOOPE LOOPNE JCXZ; cond: which. The count register is as wide as an address. */
enum { LOOP_ALWAYS, LOOP_E, LOOP_NE, LOOP_JCXZ };

HANDLER(loop_any)
{
    uint64_t count = gpr_get(c, REG_RCX, u->addrsize);
    bool zf = c->flags16 & F16_ZF;
    uint64_t rip = target_any(c, u);
    bool taken;

    if (u->cond == LOOP_JCXZ) {
        taken = count == 0;
    } else {
        count--;
        if (u->addrsize < 8)
            count = u->addrsize == 4 ? (uint32_t)count : (uint16_t)count;
        taken = count != 0 && (u->cond == LOOP_ALWAYS || zf == (u->cond == LOOP_E));
    }
    if (taken)
        check_branch_target(c, u, rip);
    if (u->cond != LOOP_JCXZ)
        gpr_set(c, REG_RCX, u->addrsize, count);
    if (taken)
        return goto_rip(c, u, rip);
    NEXT;
}

/* Makes u->imm what the linked handlers want; false: the *_any handler must do. */
static bool make_linked(const struct dec *d, struct uop *u)
{
    if (!d->linkable || u->opsize == 2)
        return false;
    u->imm += u->off + u->len;
    return true;
}

static bool build_jmp(struct dec *d, struct uop *u)
{
    d->ends_block = true;
    if (d->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        u->fn = make_linked(d, u) ? jmp_linked : jmp_any;
        return true;
    }
    u->src2 = d->mem_op == 0;
    if (!u->src2)
        u->src = dec_gpr(d->op[0].reg.value);
    u->fn = jmp_indirect;
    if (u->opsize == 8)
        u->fn = u->src2 ? jmp_m64 : jmp_r64;
    return true;
}

static bool build_call(struct dec *d, struct uop *u)
{
    d->ends_block = true;
    if (d->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        u->seg = SEG_SS;
        u->fn = call_any;
        if (make_linked(d, u))
            u->fn = u->opsize == 8 ? call_linked64 : call_linked32;
        return true;
    }
    u->src2 = d->mem_op == 0;
    u->fn = call_indirect;
    if (!u->src2) {
        u->src = dec_gpr(d->op[0].reg.value);
        u->seg = SEG_SS;
        if (u->opsize == 8)
            u->fn = call_r64;
    }
    return true;
}

/*
 * CPUs take REPE and REPNE before LOOPE and LOOPNE for their condition, whichever the opcode says.
 */
static bool build_loop(struct uop *u, unsigned cond)
{
    if (cond != LOOP_ALWAYS && cond != LOOP_JCXZ && (u->prefix & (UOP_REP | UOP_REPNE)))
        cond = u->prefix & UOP_REP ? LOOP_E : LOOP_NE;
    u->cond = (uint8_t)cond;
    u->fn = loop_any;
    return true;
}

bool int_build_branch(struct dec *d, struct uop *u)
{
    if (d->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return false;
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_RET:
    case ZYDIS_MNEMONIC_LOOP:
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
    case ZYDIS_MNEMONIC_JCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_JRCXZ:
        break;
    default:
        if (d->i.meta.category != ZYDIS_CATEGORY_COND_BR ||
            d->i.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE)
            return false;
    }
    if (d->mode == CODE_64)
        u->opsize = 8;
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
        return build_jmp(d, u);
    case ZYDIS_MNEMONIC_CALL:
        return build_call(d, u);
    case ZYDIS_MNEMONIC_RET:
        d->ends_block = true;
        u->seg = SEG_SS;
        u->imm = (uint16_t)u->imm;
        u->fn = u->opsize == 8 ? ret64 : ret_any;
        return true;
    case ZYDIS_MNEMONIC_LOOP:
        return build_loop(u, LOOP_ALWAYS);
    case ZYDIS_MNEMONIC_LOOPE:
        return build_loop(u, LOOP_E);
    case ZYDIS_MNEMONIC_LOOPNE:
        return build_loop(u, LOOP_NE);
    case ZYDIS_MNEMONIC_JCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_JRCXZ:
        return build_loop(u, LOOP_JCXZ);
    default:
        u->cond = d->i.opcode & 15u;
        u->fn = make_linked(d, u) ? jcc_fn[u->cond] : jcc_any;
        return true;
    }
}
