/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BMI1, BMI2, ADX: ANDN BEXTR BLSI BLSMSK BLSR BZHI MULX PDEP PEXT RORX SARX SHLX SHRX ADCX ADOX.
 * Each is executed by the host's own instruction; CPUID offers them only where the host has them.
 */
#define INTERP_HOT
#include "cpu/interp/integer.h"

/*
 * Operand places after build: dst, a register source `src`, and a second source that is memory
 * (src2 bit 7) or the register src2.
 */
#define SRC2_MEMORY 0x80u

static inline uint64_t source2(struct interp *c, const struct uop *u)
{
    if (u->src2 & SRC2_MEMORY)
        return lin_load(c, u, uop_lin(c, u, u->opsize, MMU_READ), u->opsize);
    return gpr_get(c, u->src2, u->opsize);
}

/* body: asm statement on r, a (register source), b (memory or register source), f (flags in AX). */
#define DEFINE_BMI(op, body32, body64)                                                             \
    HANDLER(op##32)                                                                                \
    {                                                                                              \
        uint32_t b = (uint32_t)source2(c, u), a = GPR32(u->src), r = GPR32(u->dst);                \
        uint32_t f = c->flags16;                                                                   \
        body32;                                                                                    \
        SET_GPR32(u->dst, r);                                                                      \
        c->flags16 = (uint16_t)f;                                                                  \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##64)                                                                                \
    {                                                                                              \
        uint64_t b = source2(c, u), a = GPR64(u->src), r = GPR64(u->dst);                          \
        uint32_t f = c->flags16;                                                                   \
        body64;                                                                                    \
        GPR64(u->dst) = r;                                                                         \
        c->flags16 = (uint16_t)f;                                                                  \
        NEXT;                                                                                      \
    }

/* AT&T operand orders: 3 operands "insn x, y, r". */
#define ASM_AB(insn)                                                                               \
    __asm__(FLAGS_LOAD insn " %[b], %[a], %[r]" FLAGS_ASM                                          \
            : [r] "+&r"(r), "+&a"(f)                                                               \
            : [a] "r"(a), [b] "r"(b)                                                               \
            : "cc")
#define ASM_BA(insn)                                                                               \
    __asm__(FLAGS_LOAD insn " %[a], %[b], %[r]" FLAGS_ASM                                          \
            : [r] "+&r"(r), "+&a"(f)                                                               \
            : [a] "r"(a), [b] "r"(b)                                                               \
            : "cc")
#define ASM_B(insn)                                                                                \
    (void)a;                                                                                       \
    __asm__(FLAGS_LOAD insn " %[b], %[r]" FLAGS_ASM : [r] "+&r"(r), "+&a"(f) : [b] "r"(b) : "cc")

DEFINE_BMI(andn, ASM_AB("andnl"), ASM_AB("andnq"))
DEFINE_BMI(bextr, ASM_BA("bextrl"), ASM_BA("bextrq"))
DEFINE_BMI(bzhi, ASM_BA("bzhil"), ASM_BA("bzhiq"))
DEFINE_BMI(blsi, ASM_B("blsil"), ASM_B("blsiq"))
DEFINE_BMI(blsmsk, ASM_B("blsmskl"), ASM_B("blsmskq"))
DEFINE_BMI(blsr, ASM_B("blsrl"), ASM_B("blsrq"))
DEFINE_BMI(pdep, ASM_AB("pdepl"), ASM_AB("pdepq"))
DEFINE_BMI(pext, ASM_AB("pextl"), ASM_AB("pextq"))
DEFINE_BMI(sarx, ASM_BA("sarxl"), ASM_BA("sarxq"))
DEFINE_BMI(shlx, ASM_BA("shlxl"), ASM_BA("shlxq"))
DEFINE_BMI(shrx, ASM_BA("shrxl"), ASM_BA("shrxq"))
DEFINE_BMI(adcx, ASM_B("adcxl"), ASM_B("adcxq"))
DEFINE_BMI(adox, ASM_B("adoxl"), ASM_B("adoxq"))

HANDLER(rorx)
{
    uint64_t v = source2(c, u);
    unsigned bits = 8u * u->opsize, n = (unsigned)u->imm & (bits - 1);

    if (n)
        v = v >> n | v << (bits - n);
    gpr_set(c, u->dst, u->opsize, v);
    NEXT;
}

/* dst: high half, src: low half; the implicit operand is rDX. */
HANDLER(mulx)
{
    uint128_t product = (uint128_t)source2(c, u) * gpr_get(c, REG_RDX, u->opsize);

    gpr_set(c, u->src, u->opsize, (uint64_t)product);
    gpr_set(c, u->dst, u->opsize, (uint64_t)(product >> (8 * u->opsize)));
    NEXT;
}

/* The operand that is memory or ModRM.rm goes to src2; the other source register to src. */
static bool build(struct dec *d, struct uop *u, unsigned reg_op, unsigned rm_op, uop_fn *fn32,
                  uop_fn *fn64)
{
    /* VEX encodings do not exist in real and virtual-8086 mode. */
    if (d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX &&
        (!(d->c->s.cr0 & CR0_PE) || (d->c->s.rflags & RFLAGS_VM)))
        return false;
    u->dst = dec_gpr(d->op[0].reg.value);
    u->src = dec_gpr(d->op[reg_op].reg.value);
    u->src2 = d->mem_op == (int)rm_op ? SRC2_MEMORY : dec_gpr(d->op[rm_op].reg.value);
    u->fn = u->opsize == 8 ? fn64 : fn32;
    return true;
}

bool int_build_bmi(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_ANDN:
        return build(d, u, 1, 2, andn32, andn64);
    case ZYDIS_MNEMONIC_PDEP:
        return build(d, u, 1, 2, pdep32, pdep64);
    case ZYDIS_MNEMONIC_PEXT:
        return build(d, u, 1, 2, pext32, pext64);
    case ZYDIS_MNEMONIC_BEXTR:
        return build(d, u, 2, 1, bextr32, bextr64);
    case ZYDIS_MNEMONIC_BZHI:
        return build(d, u, 2, 1, bzhi32, bzhi64);
    case ZYDIS_MNEMONIC_SARX:
        return build(d, u, 2, 1, sarx32, sarx64);
    case ZYDIS_MNEMONIC_SHLX:
        return build(d, u, 2, 1, shlx32, shlx64);
    case ZYDIS_MNEMONIC_SHRX:
        return build(d, u, 2, 1, shrx32, shrx64);
    case ZYDIS_MNEMONIC_BLSI:
        return build(d, u, 0, 1, blsi32, blsi64);
    case ZYDIS_MNEMONIC_BLSMSK:
        return build(d, u, 0, 1, blsmsk32, blsmsk64);
    case ZYDIS_MNEMONIC_BLSR:
        return build(d, u, 0, 1, blsr32, blsr64);
    case ZYDIS_MNEMONIC_ADCX:
        return build(d, u, 0, 1, adcx32, adcx64);
    case ZYDIS_MNEMONIC_ADOX:
        return build(d, u, 0, 1, adox32, adox64);
    case ZYDIS_MNEMONIC_RORX:
        return build(d, u, 0, 1, rorx, rorx);
    case ZYDIS_MNEMONIC_MULX:
        return build(d, u, 1, 2, mulx, mulx);
    default:
        return false;
    }
}
