/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves of whole vectors and of their low or high part, and the few bit operations that memcpy,
 * strlen and page clearing are made of: plain C, since they dominate.
 */
#define INTERP_HOT

#include <emmintrin.h>

#include "cpu/interp/fp.h"

#define HANDLER(name) static const struct uop *name(struct interp *c, const struct uop *u)

static inline __m128i xmm_get(const struct interp *c, unsigned reg)
{
    return _mm_load_si128((const __m128i *)(const void *)FP_XMM(reg));
}

static inline void xmm_set(struct interp *c, unsigned reg, __m128i v)
{
    _mm_store_si128((__m128i *)(void *)FP_XMM(reg), v);
}

static inline uint64_t xmm_get64(const struct interp *c, unsigned at)
{
    return fp_get64(c, FPU_XMM + at);
}

static inline __m128i mem_get(struct interp *c, const struct uop *u)
{
    return _mm_loadu_si128(fp_src16(c, u, c->fp_buf));
}

/* --- 16 bytes --- */

HANDLER(mov_x_x)
{
    fp_check_sse(c, u);
    xmm_set(c, u->dst, xmm_get(c, u->src));
    NEXT;
}

HANDLER(mov_x_m)
{
    fp_check_sse(c, u);
    xmm_set(c, u->dst, mem_get(c, u));
    NEXT;
}

HANDLER(mov_m_x)
{
    fp_check_sse(c, u);
    fp_store16(c, u, FP_XMM(u->src));
    NEXT;
}

/* --- low part, the rest becomes zero: loads and MOVQ --- */

HANDLER(mov4_x_m)
{
    fp_check_sse(c, u);
    xmm_set(c, u->dst, _mm_cvtsi32_si128((int)mem_ld32(c, u)));
    NEXT;
}

HANDLER(mov8_x_m)
{
    fp_check_sse(c, u);
    xmm_set(c, u->dst, _mm_cvtsi64_si128((long long)mem_ld64(c, u)));
    NEXT;
}

HANDLER(movq_x_x)
{
    fp_check_sse(c, u);
    xmm_set(c, u->dst, _mm_move_epi64(xmm_get(c, u->src)));
    NEXT;
}

HANDLER(mov4_x_g)
{
    fp_check_sse(c, u);
    xmm_set(c, u->dst, _mm_cvtsi32_si128((int)GPR32(u->src)));
    NEXT;
}

HANDLER(mov8_x_g)
{
    fp_check_sse(c, u);
    xmm_set(c, u->dst, _mm_cvtsi64_si128((long long)GPR64(u->src)));
    NEXT;
}

HANDLER(mov4_g_x)
{
    fp_check_sse(c, u);
    SET_GPR32(u->dst, fp_get32(c, FPU_XMM + u->src));
    NEXT;
}

HANDLER(mov8_g_x)
{
    fp_check_sse(c, u);
    GPR64(u->dst) = xmm_get64(c, u->src);
    NEXT;
}

/* --- parts, the rest stays. u->src and u->dst of 8-byte parts may point to a high half (+8) --- */

HANDLER(mov4_m_x)
{
    fp_check_sse(c, u);
    mem_st32(c, u, fp_get32(c, FPU_XMM + u->src));
    NEXT;
}

HANDLER(mov8_m_x)
{
    fp_check_sse(c, u);
    mem_st64(c, u, xmm_get64(c, u->src));
    NEXT;
}

HANDLER(movss_x_x)
{
    fp_check_sse(c, u);
    fp_set32(c, FPU_XMM + u->dst, fp_get32(c, FPU_XMM + u->src));
    NEXT;
}

HANDLER(mov8_part_x_x)
{
    fp_check_sse(c, u);
    fp_set64(c, FPU_XMM + u->dst, xmm_get64(c, u->src));
    NEXT;
}

HANDLER(mov8_part_x_m)
{
    fp_check_sse(c, u);
    fp_set64(c, FPU_XMM + u->dst, mem_ld64(c, u));
    NEXT;
}

/* --- bit operations --- */

#define BIT_OPERATION(name, expression)                                                            \
    HANDLER(name##_x_x)                                                                            \
    {                                                                                              \
        fp_check_sse(c, u);                                                                        \
        __m128i b = xmm_get(c, u->src), a = xmm_get(c, u->dst);                                    \
        xmm_set(c, u->dst, expression);                                                            \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(name##_x_m)                                                                            \
    {                                                                                              \
        fp_check_sse(c, u);                                                                        \
        __m128i b = mem_get(c, u), a = xmm_get(c, u->dst);                                         \
        xmm_set(c, u->dst, expression);                                                            \
        NEXT;                                                                                      \
    }

BIT_OPERATION(pxor, _mm_xor_si128(a, b))
BIT_OPERATION(por, _mm_or_si128(a, b))
BIT_OPERATION(pand, _mm_and_si128(a, b))
BIT_OPERATION(pandn, _mm_andnot_si128(a, b))
BIT_OPERATION(pcmpeqb, _mm_cmpeq_epi8(a, b))
BIT_OPERATION(pcmpeqd, _mm_cmpeq_epi32(a, b))
BIT_OPERATION(pminub, _mm_min_epu8(a, b))
BIT_OPERATION(psubb, _mm_sub_epi8(a, b))
BIT_OPERATION(paddd, _mm_add_epi32(a, b))
BIT_OPERATION(paddq, _mm_add_epi64(a, b))
BIT_OPERATION(punpcklbw, _mm_unpacklo_epi8(a, b))
BIT_OPERATION(punpcklwd, _mm_unpacklo_epi16(a, b))
BIT_OPERATION(punpcklqdq, _mm_unpacklo_epi64(a, b))

HANDLER(pmovmskb_g_x)
{
    fp_check_sse(c, u);
    SET_GPR32(u->dst, _mm_movemask_epi8(xmm_get(c, u->src)));
    NEXT;
}

/* --- builder --- */

static void set_fn(struct uop *u, uop_fn *fn, uint8_t dst, uint8_t src)
{
    u->fn = fn;
    u->dst = dst;
    u->src = src;
}

static bool build_whole(struct dec *d, struct uop *u, unsigned aligned)
{
    u->cond = (uint8_t)aligned;
    if (dec_is_mem(&d->op[0]))
        set_fn(u, mov_m_x, 0, dec_vec(&d->op[1]));
    else if (dec_is_mem(&d->op[1]))
        set_fn(u, mov_x_m, dec_vec(&d->op[0]), 0);
    else
        set_fn(u, mov_x_x, dec_vec(&d->op[0]), dec_vec(&d->op[1]));
    return true;
}

/* MOVSS and MOVSD: a load clears the rest, a register move keeps it. */
static bool build_scalar(struct dec *d, struct uop *u, uop_fn *load, uop_fn *store, uop_fn *move)
{
    if (d->i.opcode_map != ZYDIS_OPCODE_MAP_0F)
        return false; /* the string instruction MOVSD */
    if (dec_is_mem(&d->op[0]))
        set_fn(u, store, 0, dec_vec(&d->op[1]));
    else if (dec_is_mem(&d->op[1]))
        set_fn(u, load, dec_vec(&d->op[0]), 0);
    else
        set_fn(u, move, dec_vec(&d->op[0]), dec_vec(&d->op[1]));
    return true;
}

/* half: 0 or 8, the half of the register that moves to or from memory. */
static bool build_half(struct dec *d, struct uop *u, unsigned half)
{
    if (dec_is_mem(&d->op[0]))
        set_fn(u, mov8_m_x, 0, (uint8_t)(dec_vec(&d->op[1]) + half));
    else
        set_fn(u, mov8_part_x_m, (uint8_t)(dec_vec(&d->op[0]) + half), 0);
    return true;
}

/* MOVD and MOVQ where an XMM register takes part and no MMX register. */
static bool build_movd(struct dec *d, struct uop *u)
{
    const ZydisDecodedOperand *to = &d->op[0], *from = &d->op[1];
    if (dec_is_mm(to) || dec_is_mm(from))
        return false;
    if (dec_is_xmm(to) && dec_is_xmm(from))
        set_fn(u, movq_x_x, dec_vec(to), dec_vec(from));
    else if (dec_is_mem(to))
        set_fn(u, to->size == 64 ? mov8_m_x : mov4_m_x, 0, dec_vec(from));
    else if (dec_is_mem(from))
        set_fn(u, from->size == 64 ? mov8_x_m : mov4_x_m, dec_vec(to), 0);
    else if (dec_is_xmm(to))
        set_fn(u, from->size == 64 ? mov8_x_g : mov4_x_g, dec_vec(to), dec_gpr(from->reg.value));
    else
        set_fn(u, to->size == 64 ? mov8_g_x : mov4_g_x, dec_gpr(to->reg.value), dec_vec(from));
    return true;
}

static bool build_bits(struct dec *d, struct uop *u, uop_fn *reg, uop_fn *mem)
{
    if (!dec_is_xmm(&d->op[0]))
        return false;
    u->cond = FP_ALIGNED;
    if (dec_is_mem(&d->op[1]))
        set_fn(u, mem, dec_vec(&d->op[0]), 0);
    else
        set_fn(u, reg, dec_vec(&d->op[0]), dec_vec(&d->op[1]));
    return true;
}

bool fp_build_move(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_MOVNTDQ:
    case ZYDIS_MNEMONIC_MOVNTDQA:
        return build_whole(d, u, FP_ALIGNED);
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
        return build_whole(d, u, 0);
    case ZYDIS_MNEMONIC_MOVSS:
        return build_scalar(d, u, mov4_x_m, mov4_m_x, movss_x_x);
    case ZYDIS_MNEMONIC_MOVSD:
        return build_scalar(d, u, mov8_x_m, mov8_m_x, mov8_part_x_x);
    case ZYDIS_MNEMONIC_MOVLPS:
    case ZYDIS_MNEMONIC_MOVLPD:
        return build_half(d, u, 0);
    case ZYDIS_MNEMONIC_MOVHPS:
    case ZYDIS_MNEMONIC_MOVHPD:
        return build_half(d, u, 8);
    case ZYDIS_MNEMONIC_MOVHLPS:
        set_fn(u, mov8_part_x_x, dec_vec(&d->op[0]), (uint8_t)(dec_vec(&d->op[1]) + 8));
        return true;
    case ZYDIS_MNEMONIC_MOVLHPS:
        set_fn(u, mov8_part_x_x, (uint8_t)(dec_vec(&d->op[0]) + 8), dec_vec(&d->op[1]));
        return true;
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ:
        return build_movd(d, u);
    case ZYDIS_MNEMONIC_PMOVMSKB:
        if (!dec_is_xmm(&d->op[1]))
            return false;
        set_fn(u, pmovmskb_g_x, dec_gpr(d->op[0].reg.value), dec_vec(&d->op[1]));
        return true;
    case ZYDIS_MNEMONIC_PXOR:
    case ZYDIS_MNEMONIC_XORPS:
    case ZYDIS_MNEMONIC_XORPD:
        return build_bits(d, u, pxor_x_x, pxor_x_m);
    case ZYDIS_MNEMONIC_POR:
    case ZYDIS_MNEMONIC_ORPS:
    case ZYDIS_MNEMONIC_ORPD:
        return build_bits(d, u, por_x_x, por_x_m);
    case ZYDIS_MNEMONIC_PAND:
    case ZYDIS_MNEMONIC_ANDPS:
    case ZYDIS_MNEMONIC_ANDPD:
        return build_bits(d, u, pand_x_x, pand_x_m);
    case ZYDIS_MNEMONIC_PANDN:
    case ZYDIS_MNEMONIC_ANDNPS:
    case ZYDIS_MNEMONIC_ANDNPD:
        return build_bits(d, u, pandn_x_x, pandn_x_m);
    case ZYDIS_MNEMONIC_PCMPEQB:
        return build_bits(d, u, pcmpeqb_x_x, pcmpeqb_x_m);
    case ZYDIS_MNEMONIC_PCMPEQD:
        return build_bits(d, u, pcmpeqd_x_x, pcmpeqd_x_m);
    case ZYDIS_MNEMONIC_PMINUB:
        return build_bits(d, u, pminub_x_x, pminub_x_m);
    case ZYDIS_MNEMONIC_PSUBB:
        return build_bits(d, u, psubb_x_x, psubb_x_m);
    case ZYDIS_MNEMONIC_PADDD:
        return build_bits(d, u, paddd_x_x, paddd_x_m);
    case ZYDIS_MNEMONIC_PADDQ:
        return build_bits(d, u, paddq_x_x, paddq_x_m);
    case ZYDIS_MNEMONIC_PUNPCKLBW:
        return build_bits(d, u, punpcklbw_x_x, punpcklbw_x_m);
    case ZYDIS_MNEMONIC_PUNPCKLWD:
        return build_bits(d, u, punpcklwd_x_x, punpcklwd_x_m);
    case ZYDIS_MNEMONIC_PUNPCKLQDQ:
        return build_bits(d, u, punpcklqdq_x_x, punpcklqdq_x_m);
    default:
        return false;
    }
}
