/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole state at once: FXSAVE and FXRSTOR (SDM 1 10.5), XSAVE, XSAVEOPT and XRSTOR in the
 * standard form (SDM 1 13.7 to 13.9), XCR0, and MXCSR. XCR0 knows x87, SSE and, where protection
 * keys are offered, PKRU; the compacted form is not offered.
 */
#include "cpu/interp/fp.h"
#include "cpu/x86/cpuid.h"

#define HANDLER(name) static const struct uop *name(struct interp *c, const struct uop *u)

#define XCR0_X87  1u
#define XCR0_SSE  2u
#define XCR0_AVX  4u
#define XCR0_PKRU 0x200u

#define XSAVE_BV     512 /* header: XSTATE_BV, XCOMP_BV, reserved */
#define XSAVE_XCOMP  520
#define XSAVE_BYTES  576
#define FXSAVE_BYTES 512

/* u->cond */
enum { STATE_WIDE = 1 /* REX.W: 64-bit pointers */, STATE_OPT = 2 /* XSAVEOPT */ };

static unsigned xmm_bytes(const struct interp *c)
{
    return c->mode == CODE_64 ? 16 * 16 : 8 * 16;
}

static uint64_t state_lin(struct interp *c, const struct uop *u, unsigned bytes, unsigned align,
                          enum mmu_access_kind kind)
{
    uint64_t lin = uop_lin(c, u, bytes, kind);
    if (lin & (align - 1))
        exc_raise_code(c, u, VEC_GP, 0);
    return lin;
}

/* The image as the guest sees it in memory: without REX.W, pointers are 32-bit and selectors 0. */
static void image_out(const struct interp *c, const struct uop *u, uint8_t *image)
{
    static const uint8_t zero[4];
    memcpy(image, c->s.fpu, FPU_END);
    image[5] = 0;
    if (!(u->cond & STATE_WIDE)) {
        memcpy(image + FPU_FIP + 4, zero, sizeof zero);
        memcpy(image + FPU_FDP + 4, zero, sizeof zero);
    }
    uint32_t mask = FP_MXCSR_MASK;
    memcpy(image + FPU_MXCSR_MASK, &mask, sizeof mask);
}

static bool is_zero(const uint8_t *p, size_t bytes)
{
    uint64_t seen = 0, eight = 0;

    for (; bytes >= sizeof eight; p += sizeof eight, bytes -= sizeof eight) {
        memcpy(&eight, p, sizeof eight);
        seen |= eight;
    }
    eight = 0;
    memcpy(&eight, p, bytes);
    return !(seen | eight);
}

/* As FNINIT leaves it, apart from pointers. */
static bool x87_is_initial(const struct interp *c)
{
    return fp_get16(c, FPU_FCW) == FP_FCW_INIT && !fp_get16(c, FPU_FSW) && !c->s.fpu[FPU_FTW] &&
           is_zero(c->s.fpu + FPU_ST, FPU_XMM - FPU_ST);
}

static void x87_in(struct interp *c, const struct uop *u, const uint8_t *image)
{
    static const uint8_t zero[6];
    memcpy(c->s.fpu, image, FPU_MXCSR);
    c->s.fpu[5] = 0;
    if (!(u->cond & STATE_WIDE)) {
        memcpy(fp_at(c, FPU_FIP + 4), zero, 4);
        memcpy(fp_at(c, FPU_FDP + 4), zero, 4);
    }
    fp_set16(c, FPU_FOP, fp_get16(c, FPU_FOP) & 0x7ff);
    for (unsigned i = 0; i < 8; i++) {
        memcpy(fp_at(c, FPU_ST + 16 * i), image + FPU_ST + 16 * i, 10);
        memcpy(fp_at(c, FPU_ST + 16 * i + 10), zero, sizeof zero);
    }
    /* Most programs never touch x87: what the host would make of that is known. */
    if (x87_is_initial(c))
        fp_set32(c, FPU_MXCSR_MASK, FP_MXCSR_MASK);
    else
        fp_image_normalize(c);
}

static uint32_t image_mxcsr(struct interp *c, const struct uop *u, const uint8_t *image)
{
    uint32_t v;
    memcpy(&v, image + FPU_MXCSR, sizeof v);
    if (v & ~FP_MXCSR_MASK)
        exc_raise_code(c, u, VEC_GP, 0);
    return v;
}

/* --- FXSAVE, FXRSTOR --- */

static void __attribute__((noinline)) do_fxsave(struct interp *c, const struct uop *u)
{
    uint8_t image[FPU_END];
    uint64_t lin = state_lin(c, u, FXSAVE_BYTES, 16, MMU_WRITE);
    image_out(c, u, image);
    lin_probe(c, u, lin, FXSAVE_BYTES, MMU_WRITE);
    lin_write(c, u, lin, image, FPU_XMM + xmm_bytes(c));
}

HANDLER(fxsave)
{
    fp_check_x87_nowait(c, u);
    do_fxsave(c, u);
    NEXT;
}

static void __attribute__((noinline)) do_fxrstor(struct interp *c, const struct uop *u)
{
    uint8_t image[FXSAVE_BYTES];
    lin_read(c, u, state_lin(c, u, FXSAVE_BYTES, 16, MMU_READ), image, sizeof image);
    fp_set32(c, FPU_MXCSR, image_mxcsr(c, u, image));
    memcpy(fp_at(c, FPU_XMM), image + FPU_XMM, xmm_bytes(c));
    x87_in(c, u, image);
}

HANDLER(fxrstor)
{
    fp_check_x87_nowait(c, u);
    do_fxrstor(c, u);
    NEXT;
}

/* --- XSAVE, XRSTOR --- */

/* Components that are not in their initial configuration (SDM 1 13.6). */
static uint64_t xinuse(const struct interp *c)
{
    const uint8_t *f = c->s.fpu;
    uint64_t r = 0;
    if (fp_get16(c, FPU_FCW) != FP_FCW_INIT || !is_zero(f + FPU_FSW, FPU_MXCSR - FPU_FSW) ||
        !is_zero(f + FPU_ST, FPU_XMM - FPU_ST))
        r |= XCR0_X87;
    if (!is_zero(f + FPU_XMM, xmm_bytes(c)))
        r |= XCR0_SSE;
    if (c->s.pkru)
        r |= XCR0_PKRU;
    return r;
}

/* Bytes of the area with the components that XCR0 enables. */
static unsigned xsave_bytes(const struct interp *c)
{
    return c->s.xcr0 & XCR0_PKRU ? XSAVE_PKRU_OFFSET + XSAVE_PKRU_BYTES : XSAVE_BYTES;
}

static void check_xsave(struct interp *c, const struct uop *u)
{
    if (!(c->s.cr4 & CR4_OSXSAVE))
        exc_raise(c, u, VEC_UD);
    if (c->s.cr0 & CR0_TS)
        exc_raise(c, u, VEC_NM);
}

static uint64_t edx_eax(const struct interp *c)
{
    return (uint64_t)(uint32_t)c->gpr[RDX] << 32 | (uint32_t)c->gpr[RAX];
}

static void __attribute__((noinline)) do_xsave(struct interp *c, const struct uop *u)
{
    uint8_t image[FPU_END];
    uint64_t old, in_use = xinuse(c), asked = edx_eax(c) & c->s.xcr0, write = asked;
    unsigned bytes = xsave_bytes(c);
    uint64_t lin = state_lin(c, u, bytes, 64, MMU_WRITE);

    lin_probe(c, u, lin, bytes, MMU_WRITE);
    lin_read(c, u, lin + XSAVE_BV, &old, sizeof old);
    if (u->cond & STATE_OPT)
        write &= in_use;
    image_out(c, u, image);
    if (write & XCR0_X87) {
        lin_write(c, u, lin, image, FPU_MXCSR);
        lin_write(c, u, lin + FPU_ST, image + FPU_ST, FPU_XMM - FPU_ST);
    }
    if (asked & (XCR0_SSE | XCR0_AVX))
        lin_write(c, u, lin + FPU_MXCSR, image + FPU_MXCSR, 8);
    if (write & XCR0_SSE)
        lin_write(c, u, lin + FPU_XMM, image + FPU_XMM, xmm_bytes(c));
    if (write & XCR0_PKRU) {
        uint64_t pkru = c->s.pkru;
        lin_write(c, u, lin + XSAVE_PKRU_OFFSET, &pkru, sizeof pkru);
    }
    uint64_t bv = (old & ~asked) | (in_use & asked);
    lin_write(c, u, lin + XSAVE_BV, &bv, sizeof bv);
}

HANDLER(xsave)
{
    check_xsave(c, u);
    do_xsave(c, u);
    NEXT;
}

static void __attribute__((noinline)) do_xrstor(struct interp *c, const struct uop *u)
{
    static const uint8_t initial[FPU_ST + 128] = {FP_FCW_INIT & 0xff, FP_FCW_INIT >> 8};
    uint8_t image[XSAVE_BYTES];
    uint64_t bv, asked = edx_eax(c) & c->s.xcr0;
    uint64_t lin = state_lin(c, u, xsave_bytes(c), 64, MMU_READ);
    uint32_t pkru = 0;

    lin_read(c, u, lin, image, sizeof image);
    if (c->s.xcr0 & XCR0_PKRU)
        lin_read(c, u, lin + XSAVE_PKRU_OFFSET, &pkru, sizeof pkru);
    memcpy(&bv, image + XSAVE_BV, sizeof bv);
    if ((bv & ~c->s.xcr0) || !is_zero(image + XSAVE_XCOMP, 16))
        exc_raise_code(c, u, VEC_GP, 0);
    if (asked & (XCR0_SSE | XCR0_AVX))
        fp_set32(c, FPU_MXCSR, image_mxcsr(c, u, image));
    if (asked & XCR0_SSE) {
        if (bv & XCR0_SSE)
            memcpy(fp_at(c, FPU_XMM), image + FPU_XMM, xmm_bytes(c));
        else
            memset(fp_at(c, FPU_XMM), 0, xmm_bytes(c));
    }
    if (asked & XCR0_X87)
        x87_in(c, u, bv & XCR0_X87 ? image : initial);
    if (asked & XCR0_PKRU)
        pkru_set(c, bv & XCR0_PKRU ? pkru : 0);
}

HANDLER(xrstor)
{
    check_xsave(c, u);
    do_xrstor(c, u);
    NEXT;
}

/* --- XCR0 --- */

HANDLER(xgetbv)
{
    if (!(c->s.cr4 & CR4_OSXSAVE))
        exc_raise(c, u, VEC_UD);
    uint64_t v = c->s.xcr0;
    uint32_t index = (uint32_t)c->gpr[RCX];
    if (index == 1 && (x86_cpuid(&c->s, 0xd, 1, &c->identity).eax & 4))
        v &= xinuse(c);
    else if (index != 0)
        exc_raise_code(c, u, VEC_GP, 0);
    c->gpr[RAX] = (uint32_t)v;
    c->gpr[RDX] = v >> 32;
    NEXT;
}

HANDLER(xsetbv)
{
    if (!(c->s.cr4 & CR4_OSXSAVE))
        exc_raise(c, u, VEC_UD);
    uint64_t v = edx_eax(c), known = XCR0_X87 | XCR0_SSE;
    if (c->identity.features & CPU_FEATURE_PKU)
        known |= XCR0_PKRU;
    if (c->cpl != 0 || (uint32_t)c->gpr[RCX] != 0 || !(v & XCR0_X87) || (v & ~known))
        exc_raise_code(c, u, VEC_GP, 0);
    c->s.xcr0 = v;
    NEXT;
}

/* --- MXCSR --- */

HANDLER(ldmxcsr)
{
    fp_check_sse(c, u);
    uint32_t v = mem_ld32(c, u);
    if (v & ~FP_MXCSR_MASK)
        exc_raise_code(c, u, VEC_GP, 0);
    fp_set32(c, FPU_MXCSR, v);
    NEXT;
}

HANDLER(stmxcsr)
{
    fp_check_sse(c, u);
    mem_st32(c, u, fp_get32(c, FPU_MXCSR));
    NEXT;
}

static bool set_fn(struct uop *u, uop_fn *fn, unsigned cond)
{
    u->fn = fn;
    u->cond = (uint8_t)cond;
    return true;
}

bool fp_build_state(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_FXSAVE:
        return set_fn(u, fxsave, 0);
    case ZYDIS_MNEMONIC_FXSAVE64:
        return set_fn(u, fxsave, STATE_WIDE);
    case ZYDIS_MNEMONIC_FXRSTOR:
        return set_fn(u, fxrstor, 0);
    case ZYDIS_MNEMONIC_FXRSTOR64:
        return set_fn(u, fxrstor, STATE_WIDE);
    case ZYDIS_MNEMONIC_XSAVE:
        return set_fn(u, xsave, 0);
    case ZYDIS_MNEMONIC_XSAVE64:
        return set_fn(u, xsave, STATE_WIDE);
    case ZYDIS_MNEMONIC_XSAVEOPT:
        return set_fn(u, xsave, STATE_OPT);
    case ZYDIS_MNEMONIC_XSAVEOPT64:
        return set_fn(u, xsave, STATE_OPT | STATE_WIDE);
    case ZYDIS_MNEMONIC_XRSTOR:
        return set_fn(u, xrstor, 0);
    case ZYDIS_MNEMONIC_XRSTOR64:
        return set_fn(u, xrstor, STATE_WIDE);
    case ZYDIS_MNEMONIC_XGETBV:
        return set_fn(u, xgetbv, 0);
    case ZYDIS_MNEMONIC_XSETBV:
        return set_fn(u, xsetbv, 0);
    case ZYDIS_MNEMONIC_LDMXCSR:
        return set_fn(u, ldmxcsr, 0);
    case ZYDIS_MNEMONIC_STMXCSR:
        return set_fn(u, stmxcsr, 0);
    default:
        return false;
    }
}
