/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vector instructions that run as stubs: one handler per shape of operands, the stub in u->extra.
 *
 * Names: destination, source. x: XMM register, q: MMX register, g: general register, f: flags, m:
 * 16 bytes of memory, s: memory of u->opsize bytes, i: immediate.
 */
#define INTERP_HOT

#include <emmintrin.h>

#include "cpu/interp/fp.h"

#define HANDLER(name) static const struct uop *name(struct interp *c, const struct uop *u)

static inline uint64_t run(struct interp *c, const struct uop *u, void *dst, const void *src)
{
    return ((fp_stub *)u->extra)(dst, src, FP_XMM(0));
}

static inline uint64_t run_mx(struct interp *c, const struct uop *u, void *dst, const void *src)
{
    return fp_call_mx(c, u, (fp_stub *)u->extra, dst, src);
}

/* Small memory operand as 16 bytes, written in one piece so that the stub's load forwards. */
static inline const void *small(struct interp *c, const struct uop *u)
{
    uint64_t v = fp_load_small(c, u, u->opsize);
    _mm_store_si128((__m128i *)(void *)c->fp_buf, _mm_cvtsi64_si128((long long)v));
    return c->fp_buf;
}

static inline const void *gpr(struct interp *c, const struct uop *u)
{
    return (const char *)c->gpr + u->src;
}

static inline void check_both(struct interp *c, const struct uop *u)
{
    fp_check_sse(c, u);
    fp_check_mmx(c, u);
}

/* --- XMM destination --- */

#define XMM_SHAPE(name, runner, source)                                                            \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        fp_check_sse(c, u);                                                                        \
        runner(c, u, FP_XMM(u->dst), source);                                                      \
        NEXT;                                                                                      \
    }
XMM_SHAPE(x_x, run, FP_XMM(u->src))
XMM_SHAPE(x_m, run, fp_src16(c, u, c->fp_buf))
XMM_SHAPE(x_s, run, small(c, u))
XMM_SHAPE(x_i, run, &u->imm)
XMM_SHAPE(mx_x_x, run_mx, FP_XMM(u->src))
XMM_SHAPE(mx_x_m, run_mx, fp_src16(c, u, c->fp_buf))
XMM_SHAPE(mx_x_s, run_mx, small(c, u))
XMM_SHAPE(mx_x_g, run_mx, gpr(c, u))

/* CVTPI2PS and CVTPI2PD; the memory form leaves x87 alone. */
HANDLER(mx_x_q)
{
    check_both(c, u);
    fp_enter_mmx(c);
    run_mx(c, u, FP_XMM(u->dst), FP_MM(u->src));
    NEXT;
}

/* --- MMX destination --- */

#define MMX_SHAPE(name, check, runner, source)                                                     \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        check(c, u);                                                                               \
        const void *src = source;                                                                  \
        fp_enter_mmx(c);                                                                           \
        runner(c, u, FP_MM(u->dst), src);                                                          \
        fp_mm_written(c, u->dst);                                                                  \
        NEXT;                                                                                      \
    }
MMX_SHAPE(q_q, fp_check_mmx, run, FP_MM(u->src))
MMX_SHAPE(q_s, fp_check_mmx, run, small(c, u))
MMX_SHAPE(q_i, fp_check_mmx, run, &u->imm)
MMX_SHAPE(mx_q_x, check_both, run_mx, FP_XMM(u->src))
MMX_SHAPE(mx_q_m, check_both, run_mx, fp_src16(c, u, c->fp_buf))
MMX_SHAPE(mx_q_s, check_both, run_mx, small(c, u))

/* --- general register --- */

#define GPR_SHAPE(name, setter, source)                                                            \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        fp_check_sse(c, u);                                                                        \
        uint64_t r = run_mx(c, u, NULL, source);                                                   \
        setter;                                                                                    \
        NEXT;                                                                                      \
    }
GPR_SHAPE(mx_g32_x, SET_GPR32(u->dst, r), FP_XMM(u->src))
GPR_SHAPE(mx_g32_s, SET_GPR32(u->dst, r), small(c, u))
GPR_SHAPE(mx_g64_x, GPR64(u->dst) = r, FP_XMM(u->src))
GPR_SHAPE(mx_g64_s, GPR64(u->dst) = r, small(c, u))

/* --- flags --- */

#define FLAGS_SHAPE(name, runner, source)                                                          \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        fp_check_sse(c, u);                                                                        \
        c->flags16 = runner(c, u, FP_XMM(u->dst), source);                                         \
        NEXT;                                                                                      \
    }
FLAGS_SHAPE(mx_f_x, run_mx, FP_XMM(u->src))
FLAGS_SHAPE(mx_f_s, run_mx, small(c, u))
FLAGS_SHAPE(f_x, run, FP_XMM(u->src))
FLAGS_SHAPE(f_m, run, fp_src16(c, u, c->fp_buf))

/* --- builder --- */

static uop_fn *shape_to_gpr(const struct dec *d, bool mem)
{
    if (d->op[0].size == 64)
        return mem ? mx_g64_s : mx_g64_x;
    return mem ? mx_g32_s : mx_g32_x;
}

static uop_fn *shape_to_mmx(const struct dec *d, bool mx)
{
    const ZydisDecodedOperand *from = &d->op[1];
    if (!mx)
        return dec_is_mem(from) ? q_s : from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? q_i : q_q;
    if (dec_is_mem(from))
        return from->size == 128 ? mx_q_m : mx_q_s;
    return mx_q_x;
}

static uop_fn *shape_to_xmm(const struct dec *d, bool mx)
{
    const ZydisDecodedOperand *from = &d->op[1];
    if (dec_is_mem(from)) {
        if (from->size == 128)
            return mx ? mx_x_m : x_m;
        return mx ? mx_x_s : x_s;
    }
    if (dec_is_mm(from))
        return mx_x_q;
    if (from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return x_i;
    if (!dec_is_xmm(from))
        return mx_x_g;
    return mx ? mx_x_x : x_x;
}

static uop_fn *shape_to_flags(const struct dec *d, bool mx)
{
    bool mem = dec_is_mem(&d->op[1]);
    if (mx)
        return mem ? mx_f_s : mx_f_x;
    return mem ? f_m : f_x;
}

/* Number of the operand that is the immediate, -1: none. */
static int find_imm(const struct dec *d)
{
    for (unsigned i = 1; i < d->ops; i++) {
        if (d->op[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
            return (int)i;
    }
    return -1;
}

/*
 * The stub among 256 for the immediate. INSERTPS from memory has one element: the source index is
 * ignored.
 */
static fp_stub *pick_imm(const struct dec *d, fp_stub *first, unsigned stride, uint8_t imm)
{
    if (d->i.mnemonic == ZYDIS_MNEMONIC_INSERTPS && dec_is_mem(&d->op[1]))
        imm &= 0x3f;
    return (fp_stub *)(uintptr_t)((uintptr_t)first + (uintptr_t)imm * stride);
}

static uint8_t reg_index(const ZydisDecodedOperand *op)
{
    return dec_is_xmm(op) || dec_is_mm(op) ? dec_vec(op) : dec_gpr(op->reg.value);
}

/*
 * AMD's CPUs take the memory operands of the SHA instructions at any address, unlike the manuals.
 */
static bool is_unaligned_sha(const struct dec *d)
{
    return d->i.meta.isa_set == ZYDIS_ISA_SET_SHA && __builtin_cpu_is("amd");
}

bool fp_build_vector(struct dec *d, struct uop *u)
{
    const struct fp_op *op = fp_op_find(d->i.mnemonic);
    if (!op || d->ops < 2 || d->i.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT)
        return false; /* the default map has CMPSD, the string instruction */
    const ZydisDecodedOperand *to = &d->op[0], *from = &d->op[1];
    bool mx = op->flags & FP_MX, to_mmx = dec_is_mm(to);
    fp_stub *stub = to_mmx ? op->mmx : op->xmm;

    if (op->flags & FP_TO_GPR) {
        u->fn = shape_to_gpr(d, dec_is_mem(from));
        if (to->size == 64)
            stub = op->wide;
    } else if (op->flags & FP_TO_FLAGS) {
        u->fn = shape_to_flags(d, mx);
    } else {
        u->fn = to_mmx ? shape_to_mmx(d, mx) : shape_to_xmm(d, mx);
        if ((op->flags & FP_FROM_GPR) && from->size == 64)
            stub = op->wide;
    }
    int imm = find_imm(d);
    if (imm >= 0) {
        uint8_t value = (uint8_t)d->op[imm].imm.value.u;
        u->imm = value;
        if (op->flags & FP_IMM)
            stub = pick_imm(d, stub, to_mmx ? FP_STRIDE_MMX : FP_STRIDE_XMM, value);
    }
    if (!stub)
        return false;
    u->extra = (void *)(uintptr_t)stub;
    u->dst = reg_index(to);
    if (from->type == ZYDIS_OPERAND_TYPE_REGISTER)
        u->src = reg_index(from);
    if (dec_is_mem(from)) {
        u->opsize = (uint8_t)(from->size / 8);
        u->cond = from->size == 128 && !is_unaligned_sha(d) ? FP_ALIGNED : 0;
    }
    return true;
}
