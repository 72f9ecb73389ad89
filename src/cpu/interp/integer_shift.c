/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHL SHR SAR ROL ROR RCL RCR SHLD SHRD. The host gets all arithmetic flags first, so a count of
 * zero keeps them and rotates keep what they do not define.
 */
#define INTERP_HOT
#include "cpu/interp/integer.h"

#define DEFINE_SHIFT_CORE(op, insn, bits, sfx)                                                     \
    static inline uint##bits##_t do_##op##bits(struct interp *c, uint##bits##_t a, uint8_t n)      \
    {                                                                                              \
        uint32_t f = c->flags16;                                                                   \
        __asm__(FLAGS_LOAD insn sfx " %%cl, %[a]" FLAGS_ASM                                        \
                : [a] "+&r"(a), [f] "+&a"(f)                                                       \
                : "c"(n)                                                                           \
                : "cc");                                                                           \
        c->flags16 = (uint16_t)f;                                                                  \
        return a;                                                                                  \
    }

#define DEFINE_SHIFT_FORMS(op, bits)                                                               \
    HANDLER(op##bits##_ri)                                                                         \
    {                                                                                              \
        SET_GPR##bits(u->dst, do_##op##bits(c, GPR##bits(u->dst), (uint8_t)u->imm));               \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_rc)                                                                         \
    {                                                                                              \
        SET_GPR##bits(u->dst, do_##op##bits(c, GPR##bits(u->dst), GPR8(REG_RCX)));                 \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_mi)                                                                         \
    {                                                                                              \
        mem##bits##_t *p = rmw_begin(c, u, uop_lin(c, u, bits / 8, MMU_WRITE), bits / 8);          \
        *p = do_##op##bits(c, *p, (uint8_t)u->imm);                                                \
        rmw_end(c, u, p);                                                                          \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_mc)                                                                         \
    {                                                                                              \
        mem##bits##_t *p = rmw_begin(c, u, uop_lin(c, u, bits / 8, MMU_WRITE), bits / 8);          \
        *p = do_##op##bits(c, *p, GPR8(REG_RCX));                                                  \
        rmw_end(c, u, p);                                                                          \
        NEXT;                                                                                      \
    }

#define DEFINE_SHIFT(op, insn)                                                                     \
    DEFINE_SHIFT_CORE(op, insn, 8, "b")                                                            \
    DEFINE_SHIFT_CORE(op, insn, 16, "w")                                                           \
    DEFINE_SHIFT_CORE(op, insn, 32, "l")                                                           \
    DEFINE_SHIFT_CORE(op, insn, 64, "q")                                                           \
    DEFINE_SHIFT_FORMS(op, 8)                                                                      \
    DEFINE_SHIFT_FORMS(op, 16)                                                                     \
    DEFINE_SHIFT_FORMS(op, 32)                                                                     \
    DEFINE_SHIFT_FORMS(op, 64)

DEFINE_SHIFT(shl, "shl")
DEFINE_SHIFT(shr, "shr")
DEFINE_SHIFT(sar, "sar")
DEFINE_SHIFT(rol, "rol")
DEFINE_SHIFT(ror, "ror")
DEFINE_SHIFT(rcl, "rcl")
DEFINE_SHIFT(rcr, "rcr")

/* src2: the count is CL, else imm. */
#define DEFINE_DOUBLE(op, insn, bits, sfx)                                                         \
    static inline uint##bits##_t do_##op##bits(struct interp *c, uint##bits##_t a,                 \
                                               uint##bits##_t b, uint8_t n)                        \
    {                                                                                              \
        uint32_t f = c->flags16;                                                                   \
        __asm__(FLAGS_LOAD insn sfx " %%cl, %[b], %[a]" FLAGS_ASM                                  \
                : [a] "+&r"(a), [f] "+&a"(f)                                                       \
                : [b] "r"(b), "c"(n)                                                               \
                : "cc");                                                                           \
        c->flags16 = (uint16_t)f;                                                                  \
        return a;                                                                                  \
    }                                                                                              \
    HANDLER(op##bits##_r)                                                                          \
    {                                                                                              \
        uint8_t n = u->src2 ? GPR8(REG_RCX) : (uint8_t)u->imm;                                     \
        SET_GPR##bits(u->dst, do_##op##bits(c, GPR##bits(u->dst), GPR##bits(u->src), n));          \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_m)                                                                          \
    {                                                                                              \
        uint8_t n = u->src2 ? GPR8(REG_RCX) : (uint8_t)u->imm;                                     \
        mem##bits##_t *p = rmw_begin(c, u, uop_lin(c, u, bits / 8, MMU_WRITE), bits / 8);          \
        *p = do_##op##bits(c, *p, GPR##bits(u->src), n);                                           \
        rmw_end(c, u, p);                                                                          \
        NEXT;                                                                                      \
    }

DEFINE_DOUBLE(shld, "shld", 16, "w")
DEFINE_DOUBLE(shld, "shld", 32, "l")
DEFINE_DOUBLE(shld, "shld", 64, "q")
DEFINE_DOUBLE(shrd, "shrd", 16, "w")
DEFINE_DOUBLE(shrd, "shrd", 32, "l")
DEFINE_DOUBLE(shrd, "shrd", 64, "q")

enum { SHIFT_RI, SHIFT_RC, SHIFT_MI, SHIFT_MC, SHIFT_FORMS };

#define SHIFT_NAMES(op, bits)                                                                      \
    {                                                                                              \
        op##bits##_ri, op##bits##_rc, op##bits##_mi, op##bits##_mc                                 \
    }
#define SHIFT_SIZES(op)                                                                            \
    {                                                                                              \
        SHIFT_NAMES(op, 8), SHIFT_NAMES(op, 16), SHIFT_NAMES(op, 32), SHIFT_NAMES(op, 64)          \
    }

static uop_fn *const shl_fn[4][SHIFT_FORMS] = SHIFT_SIZES(shl);
static uop_fn *const shr_fn[4][SHIFT_FORMS] = SHIFT_SIZES(shr);
static uop_fn *const sar_fn[4][SHIFT_FORMS] = SHIFT_SIZES(sar);
static uop_fn *const rol_fn[4][SHIFT_FORMS] = SHIFT_SIZES(rol);
static uop_fn *const ror_fn[4][SHIFT_FORMS] = SHIFT_SIZES(ror);
static uop_fn *const rcl_fn[4][SHIFT_FORMS] = SHIFT_SIZES(rcl);
static uop_fn *const rcr_fn[4][SHIFT_FORMS] = SHIFT_SIZES(rcr);

static uop_fn *const shld_fn[4][2] = {
    [1] = {shld16_r, shld16_m}, [2] = {shld32_r, shld32_m}, [3] = {shld64_r, shld64_m}};
static uop_fn *const shrd_fn[4][2] = {
    [1] = {shrd16_r, shrd16_m}, [2] = {shrd32_r, shrd32_m}, [3] = {shrd64_r, shrd64_m}};

static bool build_shift(struct dec *d, struct uop *u, uop_fn *const table[4][SHIFT_FORMS])
{
    bool by_cl = d->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
    bool memory = d->mem_op == 0;

    if (!memory)
        u->dst = dec_gpr(d->op[0].reg.value);
    u->fn = table[size_index(u->opsize)][(memory ? SHIFT_MI : SHIFT_RI) + by_cl];
    return true;
}

static bool build_double(struct dec *d, struct uop *u, uop_fn *const table[4][2])
{
    bool memory = d->mem_op == 0;

    if (!memory)
        u->dst = dec_gpr(d->op[0].reg.value);
    u->src = dec_gpr(d->op[1].reg.value);
    u->src2 = d->op[2].type == ZYDIS_OPERAND_TYPE_REGISTER;
    u->fn = table[size_index(u->opsize)][memory];
    return true;
}

bool int_build_shift(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
        return build_shift(d, u, shl_fn);
    case ZYDIS_MNEMONIC_SHR:
        return build_shift(d, u, shr_fn);
    case ZYDIS_MNEMONIC_SAR:
        return build_shift(d, u, sar_fn);
    case ZYDIS_MNEMONIC_ROL:
        return build_shift(d, u, rol_fn);
    case ZYDIS_MNEMONIC_ROR:
        return build_shift(d, u, ror_fn);
    case ZYDIS_MNEMONIC_RCL:
        return build_shift(d, u, rcl_fn);
    case ZYDIS_MNEMONIC_RCR:
        return build_shift(d, u, rcr_fn);
    case ZYDIS_MNEMONIC_SHLD:
        return build_double(d, u, shld_fn);
    case ZYDIS_MNEMONIC_SHRD:
        return build_double(d, u, shrd_fn);
    default:
        return false;
    }
}
