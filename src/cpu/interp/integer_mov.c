/* SPDX-License-Identifier: Apache-2.0 */
/* MOV MOVZX MOVSX MOVSXD LEA CMOVcc SETcc MOVBE MOVNTI BSWAP CBW.. CWD.. XLAT. */
#define INTERP_HOT
#include "cpu/interp/integer.h"

#define DEFINE_MOV_MEM(bits, V)                                                                    \
    HANDLER(mov##bits##_rm_##V)                                                                    \
    {                                                                                              \
        SET_GPR##bits(u->dst, lin_ld##bits(c, u, LIN_##V(bits / 8, MMU_READ)));                    \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(mov##bits##_mr_##V)                                                                    \
    {                                                                                              \
        lin_st##bits(c, u, LIN_##V(bits / 8, MMU_WRITE), GPR##bits(u->src));                       \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(mov##bits##_mi_##V)                                                                    \
    {                                                                                              \
        lin_st##bits(c, u, LIN_##V(bits / 8, MMU_WRITE), (uint##bits##_t)u->imm);                  \
        NEXT;                                                                                      \
    }

#define DEFINE_MOV(bits)                                                                           \
    HANDLER(mov##bits##_rr)                                                                        \
    {                                                                                              \
        SET_GPR##bits(u->dst, GPR##bits(u->src));                                                  \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(mov##bits##_ri)                                                                        \
    {                                                                                              \
        SET_GPR##bits(u->dst, (uint##bits##_t)u->imm);                                             \
        NEXT;                                                                                      \
    }                                                                                              \
    DEFINE_MOV_MEM(bits, F)                                                                        \
    DEFINE_MOV_MEM(bits, G)

DEFINE_MOV(8)
DEFINE_MOV(16)
DEFINE_MOV(32)
DEFINE_MOV(64)

static uop_fn *const mov_fn[4][FORMS] = {FORM_NAMES(mov, 8), FORM_NAMES(mov, 16),
                                         FORM_NAMES(mov, 32), FORM_NAMES(mov, 64)};

/* Widening moves: name, destination bits, source bits, type the source is read as. */
#define DEFINE_WIDEN(name, dbits, sbits, type)                                                     \
    HANDLER(name##_rr)                                                                             \
    {                                                                                              \
        SET_GPR##dbits(u->dst, (type)GPR##sbits(u->src));                                          \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(name##_rm_F)                                                                           \
    {                                                                                              \
        SET_GPR##dbits(u->dst, (type)lin_ld##sbits(c, u, LIN_F(sbits / 8, MMU_READ)));             \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(name##_rm_G)                                                                           \
    {                                                                                              \
        SET_GPR##dbits(u->dst, (type)lin_ld##sbits(c, u, LIN_G(sbits / 8, MMU_READ)));             \
        NEXT;                                                                                      \
    }

DEFINE_WIDEN(movzx16_8, 16, 8, uint8_t)
DEFINE_WIDEN(movzx64_8, 64, 8, uint8_t)
DEFINE_WIDEN(movzx64_16, 64, 16, uint16_t)
DEFINE_WIDEN(movsx16_8, 16, 8, int8_t)
DEFINE_WIDEN(movsx32_8, 32, 8, int8_t)
DEFINE_WIDEN(movsx64_8, 64, 8, int8_t)
DEFINE_WIDEN(movsx32_16, 32, 16, int16_t)
DEFINE_WIDEN(movsx64_16, 64, 16, int16_t)
DEFINE_WIDEN(movsx64_32, 64, 32, int32_t)

#define WIDEN(name)                                                                                \
    {                                                                                              \
        name##_rr, name##_rm_G, name##_rm_F                                                        \
    }
enum { WIDEN_RR, WIDEN_RM, WIDEN_RM_F, WIDEN_FORMS };

/*
 * [size index of destination][size index of source]; zero extension to 32 and to 64 bits are the
 * same.
 */
static uop_fn *const movzx_fn[4][2][WIDEN_FORMS] = {
    [1] = {WIDEN(movzx16_8), {mov16_rr, mov16_rm_G, mov16_rm_F}},
    [2] = {WIDEN(movzx64_8), WIDEN(movzx64_16)},
    [3] = {WIDEN(movzx64_8), WIDEN(movzx64_16)},
};
static uop_fn *const movsx_fn[4][3][WIDEN_FORMS] = {
    [1] = {WIDEN(movsx16_8),
           {mov16_rr, mov16_rm_G, mov16_rm_F},
           {mov16_rr, mov16_rm_G, mov16_rm_F}},
    [2] = {WIDEN(movsx32_8), WIDEN(movsx32_16), {mov32_rr, mov32_rm_G, mov32_rm_F}},
    [3] = {WIDEN(movsx64_8), WIDEN(movsx64_16), WIDEN(movsx64_32)},
};

HANDLER(lea64_F)
{
    GPR64(u->dst) = ea_fast(c, u);
    NEXT;
}

HANDLER(lea32_F)
{
    SET_GPR32(u->dst, ea_fast(c, u));
    NEXT;
}

HANDLER(lea_any)
{
    gpr_set(c, u->dst, u->opsize, uop_ea(c, u));
    NEXT;
}

HANDLER(cmov_any)
{
    uint64_t v = u->src2 ? lin_load(c, u, uop_lin(c, u, u->opsize, MMU_READ), u->opsize)
                         : gpr_get(c, u->src, u->opsize);
    uint64_t old = gpr_get(c, u->dst, u->opsize);

    /* The 32-bit form clears the upper half even when it does not move. */
    gpr_set(c, u->dst, u->opsize, flags_cond(c->flags16, u->cond) ? v : old);
    NEXT;
}

HANDLER(setcc_mem)
{
    lin_st8(c, u, uop_lin(c, u, 1, MMU_WRITE), flags_cond(c->flags16, u->cond));
    NEXT;
}

#define DEFINE_CONDITIONAL(cc)                                                                     \
    HANDLER(cmov32_##cc)                                                                           \
    {                                                                                              \
        SET_GPR32(u->dst, flags_cond(c->flags16, cc) ? GPR32(u->src) : GPR32(u->dst));             \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(cmov64_##cc)                                                                           \
    {                                                                                              \
        GPR64(u->dst) = flags_cond(c->flags16, cc) ? GPR64(u->src) : GPR64(u->dst);                \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(setcc_##cc)                                                                            \
    {                                                                                              \
        GPR8(u->dst) = flags_cond(c->flags16, cc);                                                 \
        NEXT;                                                                                      \
    }

DEFINE_CONDITIONAL(0)
DEFINE_CONDITIONAL(1)
DEFINE_CONDITIONAL(2)
DEFINE_CONDITIONAL(3)
DEFINE_CONDITIONAL(4)
DEFINE_CONDITIONAL(5)
DEFINE_CONDITIONAL(6)
DEFINE_CONDITIONAL(7)
DEFINE_CONDITIONAL(8)
DEFINE_CONDITIONAL(9)
DEFINE_CONDITIONAL(10)
DEFINE_CONDITIONAL(11)
DEFINE_CONDITIONAL(12)
DEFINE_CONDITIONAL(13)
DEFINE_CONDITIONAL(14)
DEFINE_CONDITIONAL(15)

#define CONDITIONALS(p)                                                                            \
    {                                                                                              \
        p##0, p##1, p##2, p##3, p##4, p##5, p##6, p##7, p##8, p##9, p##10, p##11, p##12, p##13,    \
            p##14, p##15                                                                           \
    }
static uop_fn *const cmov32_fn[16] = CONDITIONALS(cmov32_);
static uop_fn *const cmov64_fn[16] = CONDITIONALS(cmov64_);
static uop_fn *const setcc_fn[16] = CONDITIONALS(setcc_);

static uint64_t swap_bytes(uint64_t v, unsigned bytes)
{
    return __builtin_bswap64(v) >> (64 - 8 * bytes);
}

HANDLER(movbe_load)
{
    uint64_t v = lin_load(c, u, uop_lin(c, u, u->opsize, MMU_READ), u->opsize);

    gpr_set(c, u->dst, u->opsize, swap_bytes(v, u->opsize));
    NEXT;
}

HANDLER(movbe_store)
{
    uint64_t v = swap_bytes(gpr_get(c, u->src, u->opsize), u->opsize);

    lin_store(c, u, uop_lin(c, u, u->opsize, MMU_WRITE), u->opsize, v);
    NEXT;
}

/* The 16-bit form is undefined; CPUs make zero of it. */
HANDLER(bswap)
{
    uint64_t v = u->opsize == 2 ? 0 : swap_bytes(gpr_get(c, u->dst, u->opsize), u->opsize);

    gpr_set(c, u->dst, u->opsize, v);
    NEXT;
}

/* CBW CWDE CDQE: the lower half of the accumulator into the whole. */
HANDLER(sign_extend_a)
{
    unsigned half = u->opsize / 2;
    uint64_t v = (uint64_t)((int64_t)(GPR64(REG_RAX) << (64 - 8 * half)) >> (64 - 8 * half));

    gpr_set(c, REG_RAX, u->opsize, v);
    NEXT;
}

/* CWD CDQ CQO: the accumulator's sign into all of rDX. */
HANDLER(sign_to_d)
{
    bool negative = (gpr_get(c, REG_RAX, u->opsize) >> (8 * u->opsize - 1)) & 1u;

    gpr_set(c, REG_RDX, u->opsize, negative ? UINT64_MAX : 0);
    NEXT;
}

HANDLER(xlat)
{
    uint64_t ea = GPR64(REG_RBX) + GPR8(REG_RAX);

    if (u->addrsize < 8)
        ea = u->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
    GPR8(REG_RAX) = lin_ld8(c, u, seg_linear(c, u, u->seg, ea, 1, MMU_READ));
    NEXT;
}

static bool build_mov(struct dec *d, struct uop *u)
{
    for (unsigned k = 0; k < 2; k++)
        if (d->op[k].type == ZYDIS_OPERAND_TYPE_REGISTER && !dec_is_gpr(d->op[k].reg.value))
            return false;
    u->opsize = (uint8_t)(d->op[0].size / 8);
    u->fn = mov_fn[size_index(u->opsize)][int_form(d, u)];
    return true;
}

static bool build_widen(struct dec *d, struct uop *u, uop_fn *const table[WIDEN_FORMS])
{
    enum form form = int_form(d, u);

    u->fn = table[form == FORM_RR ? WIDEN_RR : form == FORM_RM_F ? WIDEN_RM_F : WIDEN_RM];
    return true;
}

static bool build_lea(struct dec *d, struct uop *u)
{
    u->dst = dec_gpr(d->op[0].reg.value);
    u->fn = lea_any;
    if (u->addrsize == 8 && u->opsize == 8)
        u->fn = lea64_F;
    if (u->addrsize == 8 && u->opsize == 4)
        u->fn = lea32_F;
    return true;
}

static bool build_cmov(struct dec *d, struct uop *u)
{
    enum form form = int_form(d, u);

    u->cond = d->i.opcode & 15u;
    u->src2 = form != FORM_RR;
    u->fn = cmov_any;
    if (form == FORM_RR && u->opsize >= 4)
        u->fn = u->opsize == 4 ? cmov32_fn[u->cond] : cmov64_fn[u->cond];
    return true;
}

static bool build_setcc(struct dec *d, struct uop *u)
{
    u->cond = d->i.opcode & 15u;
    u->fn = setcc_mem;
    if (d->mem_op < 0) {
        u->dst = dec_gpr(d->op[0].reg.value);
        u->fn = setcc_fn[u->cond];
    }
    return true;
}

bool int_build_mov(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        return build_mov(d, u);
    case ZYDIS_MNEMONIC_MOVNTI:
        u->fn = mov_fn[size_index(u->opsize)][int_form(d, u)];
        return true;
    case ZYDIS_MNEMONIC_MOVZX:
        return build_widen(d, u, movzx_fn[size_index(u->opsize)][size_index(d->op[1].size / 8u)]);
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
        return build_widen(d, u, movsx_fn[size_index(u->opsize)][size_index(d->op[1].size / 8u)]);
    case ZYDIS_MNEMONIC_LEA:
        return build_lea(d, u);
    case ZYDIS_MNEMONIC_MOVBE:
        u->fn = int_form(d, u) >= FORM_MR ? movbe_store : movbe_load;
        return true;
    case ZYDIS_MNEMONIC_BSWAP:
        u->dst = dec_gpr(d->op[0].reg.value);
        u->fn = bswap;
        return true;
    case ZYDIS_MNEMONIC_CBW:
    case ZYDIS_MNEMONIC_CWDE:
    case ZYDIS_MNEMONIC_CDQE:
        u->fn = sign_extend_a;
        return true;
    case ZYDIS_MNEMONIC_CWD:
    case ZYDIS_MNEMONIC_CDQ:
    case ZYDIS_MNEMONIC_CQO:
        u->fn = sign_to_d;
        return true;
    case ZYDIS_MNEMONIC_XLAT:
        u->seg = dec_override(d, SEG_DS);
        u->fn = xlat;
        return true;
    default:
        break;
    }
    switch (d->i.meta.category) {
    case ZYDIS_CATEGORY_CMOV:
        return build_cmov(d, u);
    case ZYDIS_CATEGORY_SETCC:
        return build_setcc(d, u);
    default:
        return false;
    }
}
