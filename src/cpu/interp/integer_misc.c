/* SPDX-License-Identifier: Apache-2.0 */
/* NOPs, hints and fences, flag instructions, BCD arithmetic, BOUND, SALC, RDRAND and RDSEED. */
#include "cpu/interp/integer.h"

#include <sys/random.h>

HANDLER(nop)
{
    (void)c;
    NEXT;
}

HANDLER(fence)
{
    (void)c;
    atomic_thread_fence(memory_order_seq_cst);
    NEXT;
}

/* CLFLUSH and its kin: a load as far as faults go. */
HANDLER(flush_line)
{
    lin_probe(c, u, uop_lin(c, u, 1, MMU_READ), 1, MMU_READ);
    NEXT;
}

/* --- flags --- */

HANDLER(clc)
{
    c->flags16 &= (uint16_t)~F16_CF;
    NEXT;
}

HANDLER(stc)
{
    c->flags16 |= F16_CF;
    NEXT;
}

HANDLER(cmc)
{
    c->flags16 ^= F16_CF;
    NEXT;
}

HANDLER(cld)
{
    c->s.rflags &= ~(uint64_t)RFLAGS_DF;
    NEXT;
}

HANDLER(std)
{
    c->s.rflags |= RFLAGS_DF;
    NEXT;
}

HANDLER(lahf)
{
    GPR8(REG_AH) = (uint8_t)(c->flags16 >> 8);
    NEXT;
}

HANDLER(sahf)
{
    c->flags16 = (uint16_t)((GPR8(REG_AH) & 0xd5u) << 8 | F16_ONE | (c->flags16 & F16_OF));
    NEXT;
}

HANDLER(salc)
{
    GPR8(REG_RAX) = c->flags16 & F16_CF ? 0xff : 0;
    NEXT;
}

/* --- BCD (not in 64-bit mode, so the host cannot do it) --- */

static bool even_parity(uint8_t v)
{
    return !(__builtin_popcount(v) & 1);
}

static void set_bcd_flags(struct interp *c, bool cf, bool af, bool of)
{
    uint8_t al = GPR8(REG_RAX);
    unsigned f = F16_ONE;

    f |= cf ? F16_CF : 0;
    f |= af ? F16_AF : 0;
    f |= of ? F16_OF : 0;
    f |= al == 0 ? F16_ZF : 0;
    f |= al & 0x80u ? F16_SF : 0;
    f |= even_parity(al) ? F16_PF : 0;
    c->flags16 = (uint16_t)f;
}

/* cond: 0 DAA, 1 DAS (SDM 2A). */
HANDLER(decimal_adjust)
{
    uint8_t old = GPR8(REG_RAX), al = old;
    bool old_cf = c->flags16 & F16_CF, cf = false;
    bool af = (old & 15u) > 9 || (c->flags16 & F16_AF);

    if (af) {
        cf = old_cf || (u->cond ? old < 6 : old > 0xf9);
        al = (uint8_t)(u->cond ? al - 6 : al + 6);
    }
    if (old > 0x99 || old_cf) {
        al = (uint8_t)(u->cond ? al - 0x60 : al + 0x60);
        cf = true;
    }
    GPR8(REG_RAX) = al;
    set_bcd_flags(c, cf, af, false);
    NEXT;
}

/* cond: 0 AAA, 1 AAS. */
HANDLER(ascii_adjust)
{
    bool adjust = (GPR8(REG_RAX) & 15u) > 9 || (c->flags16 & F16_AF);

    if (adjust)
        GPR16(REG_RAX) = (uint16_t)(u->cond ? GPR16(REG_RAX) - 0x106 : GPR16(REG_RAX) + 0x106);
    GPR8(REG_RAX) &= 15u;
    set_bcd_flags(c, adjust, adjust, false);
    NEXT;
}

HANDLER(aam)
{
    uint8_t al = GPR8(REG_RAX), base = (uint8_t)u->imm;

    if (!base)
        exc_raise(c, u, VEC_DE);
    GPR8(REG_AH) = al / base;
    GPR8(REG_RAX) = al % base;
    set_bcd_flags(c, false, false, false);
    NEXT;
}

HANDLER(aad)
{
    GPR16(REG_RAX) = (uint8_t)(GPR8(REG_RAX) + GPR8(REG_AH) * (uint8_t)u->imm);
    set_bcd_flags(c, false, false, false);
    NEXT;
}

/* --- BOUND --- */

HANDLER(bound)
{
    unsigned bits = 8u * u->opsize;
    uint64_t lin = uop_lin(c, u, 2u * u->opsize, MMU_READ);
    uint64_t low = lin_load(c, u, lin, u->opsize),
             high = lin_load(c, u, lin + u->opsize, u->opsize);
    int32_t i = (int32_t)(GPR32(u->dst) << (32 - bits)) >> (32 - bits);

    if (i < (int32_t)((uint32_t)low << (32 - bits)) >> (32 - bits) ||
        i > (int32_t)((uint32_t)high << (32 - bits)) >> (32 - bits))
        exc_raise(c, u, VEC_BR);
    NEXT;
}

/* --- RDRAND and RDSEED --- */

/*
 * Where time is counted in instructions a run must repeat itself: a plain generator (splitmix64)
 * then.
 */
static uint64_t random_value(struct interp *c)
{
    uint64_t v = 0;

    if (c->budgeted) {
        c->rng += UINT64_C(0x9e3779b97f4a7c15);
        v = c->rng;
        v = (v ^ (v >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        v = (v ^ (v >> 27)) * UINT64_C(0x94d049bb133111eb);
        return v ^ (v >> 31);
    }
    (void)!getrandom(&v, sizeof v, 0);
    return v;
}

HANDLER(rdrand)
{
    gpr_set(c, u->dst, u->opsize, random_value(c));
    c->flags16 = F16_ONE | F16_CF;
    NEXT;
}

static bool set_fn(struct uop *u, uop_fn *fn, unsigned cond)
{
    u->fn = fn;
    u->cond = (uint8_t)cond;
    return true;
}

static bool build_with_reg(struct dec *d, struct uop *u, uop_fn *fn)
{
    u->dst = dec_gpr(d->op[0].reg.value);
    u->fn = fn;
    return true;
}

static bool build_flag(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_CLC:
        return set_fn(u, clc, 0);
    case ZYDIS_MNEMONIC_STC:
        return set_fn(u, stc, 0);
    case ZYDIS_MNEMONIC_CMC:
        return set_fn(u, cmc, 0);
    case ZYDIS_MNEMONIC_CLD:
        return set_fn(u, cld, 0);
    case ZYDIS_MNEMONIC_STD:
        return set_fn(u, std, 0);
    case ZYDIS_MNEMONIC_LAHF:
        return set_fn(u, lahf, 0);
    case ZYDIS_MNEMONIC_SAHF:
        return set_fn(u, sahf, 0);
    case ZYDIS_MNEMONIC_SALC:
        return set_fn(u, salc, 0);
    default:
        return false;
    }
}

static bool build_bcd(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_DAA:
        return set_fn(u, decimal_adjust, 0);
    case ZYDIS_MNEMONIC_DAS:
        return set_fn(u, decimal_adjust, 1);
    case ZYDIS_MNEMONIC_AAA:
        return set_fn(u, ascii_adjust, 0);
    case ZYDIS_MNEMONIC_AAS:
        return set_fn(u, ascii_adjust, 1);
    case ZYDIS_MNEMONIC_AAM:
        return set_fn(u, aam, 0);
    case ZYDIS_MNEMONIC_AAD:
        return set_fn(u, aad, 0);
    default:
        return false;
    }
}

bool int_build_misc(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_PAUSE:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
        return set_fn(u, nop, 0);
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_SFENCE:
    case ZYDIS_MNEMONIC_MFENCE:
        return set_fn(u, fence, 0);
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLFLUSHOPT:
    case ZYDIS_MNEMONIC_CLWB:
        return set_fn(u, flush_line, 0);
    case ZYDIS_MNEMONIC_BOUND:
        return build_with_reg(d, u, bound);
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
        return build_with_reg(d, u, rdrand);
    default:
        return build_flag(d, u) || build_bcd(d, u);
    }
}
