/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single lanes and masks: between vector and general registers or memory, between MMX and the rest,
 * stores under a mask, EMMS.
 */
#include "cpu/interp/fp.h"

#define HANDLER(name) static const struct uop *name(struct interp *c, const struct uop *u)

/* Place of an MMX register while x87 may still be in use (TOP not 0). */
static inline unsigned mm_at(const struct interp *c, unsigned reg)
{
    unsigned top = (fp_get16(c, FPU_FSW) & FP_FSW_TOP) >> 11;
    return FPU_ST + ((reg - 16 * top) & 0x70);
}

static inline void mm_set(struct interp *c, unsigned reg, uint64_t v)
{
    fp_enter_mmx(c);
    fp_set64(c, FPU_ST + reg, v);
    fp_mm_written(c, reg);
}

/* --- MMX moves; u->opsize 4 or 8 --- */

HANDLER(mov_q_q)
{
    fp_check_mmx(c, u);
    mm_set(c, u->dst, fp_get64(c, mm_at(c, u->src)));
    NEXT;
}

HANDLER(mov_q_g)
{
    fp_check_mmx(c, u);
    mm_set(c, u->dst, u->opsize == 8 ? GPR64(u->src) : GPR32(u->src));
    NEXT;
}

HANDLER(mov_q_m)
{
    fp_check_mmx(c, u);
    mm_set(c, u->dst, fp_load_small(c, u, u->opsize));
    NEXT;
}

HANDLER(mov_g_q)
{
    fp_check_mmx(c, u);
    uint64_t v = fp_get64(c, mm_at(c, u->src));
    fp_enter_mmx(c);
    GPR64(u->dst) = u->opsize == 8 ? v : (uint32_t)v;
    NEXT;
}

HANDLER(mov_m_q)
{
    fp_check_mmx(c, u);
    uint64_t v = fp_get64(c, mm_at(c, u->src));
    if (u->opsize == 8)
        mem_st64(c, u, v);
    else
        mem_st32(c, u, (uint32_t)v);
    fp_enter_mmx(c);
    NEXT;
}

HANDLER(movq2dq)
{
    fp_check_sse(c, u);
    fp_check_mmx(c, u);
    fp_enter_mmx(c);
    fp_set64(c, FPU_XMM + u->dst, fp_get64(c, FPU_ST + u->src));
    fp_set64(c, FPU_XMM + u->dst + 8, 0);
    NEXT;
}

HANDLER(movdq2q)
{
    fp_check_sse(c, u);
    fp_check_mmx(c, u);
    mm_set(c, u->dst, fp_get64(c, FPU_XMM + u->src));
    NEXT;
}

HANDLER(emms)
{
    fp_check_mmx(c, u);
    fp_enter_mmx(c);
    c->s.fpu[FPU_FTW] = 0;
    NEXT;
}

/* --- masks to general registers --- */

static uint64_t sign_mask(const struct interp *c, unsigned at, unsigned lanes, unsigned lane_bytes)
{
    uint64_t r = 0;
    for (unsigned i = 0; i < lanes; i++)
        r |= (uint64_t)(c->s.fpu[at + (i + 1) * lane_bytes - 1] >> 7) << i;
    return r;
}

HANDLER(movmskps)
{
    fp_check_sse(c, u);
    GPR64(u->dst) = sign_mask(c, FPU_XMM + u->src, 4, 4);
    NEXT;
}

HANDLER(movmskpd)
{
    fp_check_sse(c, u);
    GPR64(u->dst) = sign_mask(c, FPU_XMM + u->src, 2, 8);
    NEXT;
}

HANDLER(pmovmskb_q)
{
    fp_check_mmx(c, u);
    fp_enter_mmx(c);
    GPR64(u->dst) = sign_mask(c, FPU_ST + u->src, 8, 1);
    NEXT;
}

/* --- lanes: u->opsize is the lane's size, u->src or u->dst points to it within the register --- */

static uint64_t lane_get(const struct interp *c, unsigned at, unsigned bytes)
{
    uint64_t v = 0;
    memcpy(&v, c->s.fpu + at, bytes);
    return v;
}

HANDLER(extract_g_x)
{
    fp_check_sse(c, u);
    GPR64(u->dst) = lane_get(c, FPU_XMM + u->src, u->opsize);
    NEXT;
}

HANDLER(extract_m_x)
{
    fp_check_sse(c, u);
    uint64_t lin = fp_lin(c, u, u->opsize, MMU_WRITE);
    uint64_t v = lane_get(c, FPU_XMM + u->src, u->opsize);
    lin_store(c, u, lin, u->opsize, v);
    NEXT;
}

static void lane_set(struct interp *c, unsigned at, unsigned bytes, uint64_t v)
{
    memcpy(c->s.fpu + at, &v, bytes);
}

HANDLER(insert_x_g)
{
    fp_check_sse(c, u);
    lane_set(c, FPU_XMM + u->dst, u->opsize, GPR64(u->src));
    NEXT;
}

HANDLER(insert_x_m)
{
    fp_check_sse(c, u);
    lane_set(c, FPU_XMM + u->dst, u->opsize, fp_load_small(c, u, u->opsize));
    NEXT;
}

HANDLER(extract_g_q)
{
    fp_check_mmx(c, u);
    fp_enter_mmx(c);
    GPR64(u->dst) = fp_get16(c, FPU_ST + u->src);
    NEXT;
}

static void insert_q(struct interp *c, const struct uop *u, uint16_t v)
{
    fp_enter_mmx(c);
    fp_set16(c, FPU_ST + u->dst, v);
    fp_mm_written(c, u->dst & 0x70);
}

HANDLER(insert_q_g)
{
    fp_check_mmx(c, u);
    insert_q(c, u, GPR16(u->src));
    NEXT;
}

HANDLER(insert_q_m)
{
    fp_check_mmx(c, u);
    insert_q(c, u, mem_ld16(c, u));
    NEXT;
}

/* --- stores under a mask, at rDI --- */

/* All the bytes are checked, whatever the mask, as the host's CPU does. */
static void masked_store(struct interp *c, const struct uop *u, const uint8_t *src,
                         const uint8_t *mask, unsigned bytes)
{
    uint64_t lin = uop_lin(c, u, bytes, MMU_WRITE);
    lin_probe(c, u, lin, bytes, MMU_WRITE);
    for (unsigned i = 0; i < bytes; i++) {
        if (mask[i] & 0x80)
            lin_st8(c, u, lin + i, src[i]);
    }
}

HANDLER(maskmovdqu)
{
    fp_check_sse(c, u);
    masked_store(c, u, FP_XMM(u->dst), FP_XMM(u->src), 16);
    NEXT;
}

/* Turns to MMX mode even when the store faults (seen on the host's CPU). */
HANDLER(maskmovq)
{
    fp_check_mmx(c, u);
    fp_enter_mmx(c);
    masked_store(c, u, FP_MM(u->dst), FP_MM(u->src), 8);
    NEXT;
}

/* --- builder --- */

static bool set_fn(struct uop *u, uop_fn *fn, unsigned dst, unsigned src)
{
    u->fn = fn;
    u->dst = (uint8_t)dst;
    u->src = (uint8_t)src;
    return true;
}

static bool build_mov(struct dec *d, struct uop *u)
{
    const ZydisDecodedOperand *to = &d->op[0], *from = &d->op[1];
    if (dec_is_mm(to) && dec_is_mm(from))
        return set_fn(u, mov_q_q, dec_vec(to), dec_vec(from));
    if (dec_is_mm(to)) {
        u->opsize = from->size == 64 ? 8 : 4;
        if (dec_is_mem(from))
            return set_fn(u, mov_q_m, dec_vec(to), 0);
        return set_fn(u, mov_q_g, dec_vec(to), dec_gpr(from->reg.value));
    }
    u->opsize = to->size == 64 ? 8 : 4;
    if (dec_is_mem(to))
        return set_fn(u, mov_m_q, 0, dec_vec(from));
    return set_fn(u, mov_g_q, dec_gpr(to->reg.value), dec_vec(from));
}

static bool build_extract(struct dec *d, struct uop *u, unsigned bytes)
{
    const ZydisDecodedOperand *to = &d->op[0], *from = &d->op[1];
    unsigned imm = (unsigned)d->op[2].imm.value.u;
    u->opsize = (uint8_t)bytes;
    if (dec_is_mm(from))
        return set_fn(u, extract_g_q, dec_gpr(to->reg.value), dec_vec(from) + (imm & 3) * 2);
    unsigned at = dec_vec(from) + (imm & (16 / bytes - 1)) * bytes;
    if (dec_is_mem(to))
        return set_fn(u, extract_m_x, 0, at);
    return set_fn(u, extract_g_x, dec_gpr(to->reg.value), at);
}

static bool build_insert(struct dec *d, struct uop *u, unsigned bytes)
{
    const ZydisDecodedOperand *to = &d->op[0], *from = &d->op[1];
    unsigned imm = (unsigned)d->op[2].imm.value.u;
    u->opsize = (uint8_t)bytes;
    if (dec_is_mm(to)) {
        unsigned at = dec_vec(to) + (imm & 3) * 2;
        if (dec_is_mem(from))
            return set_fn(u, insert_q_m, at, 0);
        return set_fn(u, insert_q_g, at, dec_gpr(from->reg.value));
    }
    unsigned at = dec_vec(to) + (imm & (16 / bytes - 1)) * bytes;
    if (dec_is_mem(from))
        return set_fn(u, insert_x_m, at, 0);
    return set_fn(u, insert_x_g, at, dec_gpr(from->reg.value));
}

static bool build_mask(struct dec *d, struct uop *u, uop_fn *fn)
{
    return set_fn(u, fn, dec_gpr(d->op[0].reg.value), dec_vec(&d->op[1]));
}

/* The destination [DS:rDI] is an implied operand: make it the explicit one. */
static bool build_masked_store(struct dec *d, struct uop *u, uop_fn *fn)
{
    u->base = 8 * RDI;
    u->index = GPR_ZERO;
    u->scale = 0;
    u->disp = 0;
    u->addrsize = (uint8_t)(d->i.address_width / 8);
    u->seg = SEG_DS;
    if (d->i.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_ES)
        u->seg = SEG_ES;
    else if (d->i.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_CS)
        u->seg = SEG_CS;
    else if (d->i.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_SS)
        u->seg = SEG_SS;
    else if (d->i.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_FS)
        u->seg = SEG_FS;
    else if (d->i.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS)
        u->seg = SEG_GS;
    /*
     * op[0] is that memory operand or the source, by the decoder's table; the two registers follow
     * in order
     */
    const ZydisDecodedOperand *reg[2] = {NULL, NULL};
    unsigned found = 0;
    for (unsigned i = 0; i < d->i.operand_count && found < 2; i++) {
        if (dec_is_xmm(&d->op[i]) || dec_is_mm(&d->op[i]))
            reg[found++] = &d->op[i];
    }
    return found == 2 && set_fn(u, fn, dec_vec(reg[0]), dec_vec(reg[1]));
}

bool fp_build_lane(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ: /* those of XMM registers: fp_move.c */
    case ZYDIS_MNEMONIC_MOVNTQ:
        return build_mov(d, u);
    case ZYDIS_MNEMONIC_MOVQ2DQ:
        return set_fn(u, movq2dq, dec_vec(&d->op[0]), dec_vec(&d->op[1]));
    case ZYDIS_MNEMONIC_MOVDQ2Q:
        return set_fn(u, movdq2q, dec_vec(&d->op[0]), dec_vec(&d->op[1]));
    case ZYDIS_MNEMONIC_EMMS:
        return set_fn(u, emms, 0, 0);
    case ZYDIS_MNEMONIC_MOVMSKPS:
        return build_mask(d, u, movmskps);
    case ZYDIS_MNEMONIC_MOVMSKPD:
        return build_mask(d, u, movmskpd);
    case ZYDIS_MNEMONIC_PMOVMSKB:
        return build_mask(d, u, pmovmskb_q);
    case ZYDIS_MNEMONIC_PEXTRB:
        return build_extract(d, u, 1);
    case ZYDIS_MNEMONIC_PEXTRW:
        return build_extract(d, u, 2);
    case ZYDIS_MNEMONIC_PEXTRD:
    case ZYDIS_MNEMONIC_EXTRACTPS:
        return build_extract(d, u, 4);
    case ZYDIS_MNEMONIC_PEXTRQ:
        return build_extract(d, u, 8);
    case ZYDIS_MNEMONIC_PINSRB:
        return build_insert(d, u, 1);
    case ZYDIS_MNEMONIC_PINSRW:
        return build_insert(d, u, 2);
    case ZYDIS_MNEMONIC_PINSRD:
        return build_insert(d, u, 4);
    case ZYDIS_MNEMONIC_PINSRQ:
        return build_insert(d, u, 8);
    case ZYDIS_MNEMONIC_MASKMOVDQU:
        return build_masked_store(d, u, maskmovdqu);
    case ZYDIS_MNEMONIC_MASKMOVQ:
        return build_masked_store(d, u, maskmovq);
    default:
        return false;
    }
}
