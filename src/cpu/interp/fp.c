/* SPDX-License-Identifier: Apache-2.0 */
/* Floating point and vectors: who decodes what, and when the unit may be used. */
#include "cpu/interp/fp.h"

#include "cpu/x86/cpuid.h"

void fp_refuse_sse(struct interp *c, const struct uop *u)
{
    if ((c->s.cr0 & CR0_EM) || !(c->s.cr4 & CR4_OSFXSR))
        exc_raise(c, u, VEC_UD);
    if (c->s.cr0 & CR0_TS)
        exc_raise(c, u, VEC_NM);
}

void fp_refuse_mmx(struct interp *c, const struct uop *u)
{
    if (c->s.cr0 & CR0_EM)
        exc_raise(c, u, VEC_UD);
    if (c->s.cr0 & CR0_TS)
        exc_raise(c, u, VEC_NM);
    exc_raise(c, u, VEC_MF);
}

void fp_refuse_x87(struct interp *c, const struct uop *u)
{
    if (c->s.cr0 & (CR0_EM | CR0_TS))
        exc_raise(c, u, VEC_NM);
    /* Also with CR0.NE = 0, where a PC would raise IRQ 13: no kernel of today lives there. */
    exc_raise(c, u, VEC_MF);
}

void fp_misaligned(struct interp *c, const struct uop *u)
{
    exc_raise_code(c, u, VEC_GP, 0);
}

void fp_set_top(struct interp *c, unsigned top)
{
    uint16_t fsw = fp_get16(c, FPU_FSW);
    unsigned by = (((fsw & FP_FSW_TOP) >> 11) - top) & 7;
    if (by) {
        uint8_t old[8 * 16];
        memcpy(old, fp_at(c, FPU_ST), sizeof old);
        for (unsigned i = 0; i < 8; i++)
            memcpy(fp_at(c, FPU_ST + 16 * ((i + by) & 7)), old + 16 * i, 16);
    }
    fp_set16(c, FPU_FSW, (uint16_t)((fsw & ~FP_FSW_TOP) | top << 11));
}

void fp_enter_mmx_slow(struct interp *c)
{
    fp_set_top(c, 0);
    c->s.fpu[FPU_FTW] = 0xff;
}

/*
 * Extensions beyond SSE2, which every x86-64 CPU has: offered only when the host can execute the
 * stubs.
 */
static bool host_has(ZydisISASet set)
{
    switch (set) {
    case ZYDIS_ISA_SET_SSE3:
    case ZYDIS_ISA_SET_SSE3X87:
        return __builtin_cpu_supports("sse3");
    case ZYDIS_ISA_SET_SSSE3:
    case ZYDIS_ISA_SET_SSSE3MMX:
        return __builtin_cpu_supports("ssse3");
    case ZYDIS_ISA_SET_SSE4:
        return __builtin_cpu_supports("sse4.1");
    case ZYDIS_ISA_SET_SSE42:
        return __builtin_cpu_supports("sse4.2");
    default:
        return true;
    }
}

/* Optional extensions: what the guest is told it has is what it has. */
static bool guest_has(const struct dec *d)
{
    struct cpuid_regs r1 = x86_cpuid(&d->c->s, 1, 0, &d->c->identity);
    struct cpuid_regs r7 = x86_cpuid(&d->c->s, 7, 0, &d->c->identity);
    switch (d->i.meta.isa_set) {
    case ZYDIS_ISA_SET_AES:
        return r1.ecx & (1u << 25);
    case ZYDIS_ISA_SET_PCLMULQDQ:
        return r1.ecx & (1u << 1);
    case ZYDIS_ISA_SET_SHA:
        return r7.ebx & (1u << 29);
    case ZYDIS_ISA_SET_XSAVEOPT:
        return x86_cpuid(&d->c->s, 0xd, 1, &d->c->identity).eax & 1u;
    default:
        return r7.ecx & (1u << 8); /* GFNI */
    }
}

static bool is_offered(const struct dec *d)
{
    switch (d->i.meta.isa_set) {
    case ZYDIS_ISA_SET_AES:
    case ZYDIS_ISA_SET_PCLMULQDQ:
    case ZYDIS_ISA_SET_SHA:
    case ZYDIS_ISA_SET_GFNI:
    case ZYDIS_ISA_SET_XSAVEOPT:
        return guest_has(d);
    case ZYDIS_ISA_SET_SSE4A:
    case ZYDIS_ISA_SET_AMD3DNOW:
        return false;
    default:
        return host_has(d->i.meta.isa_set);
    }
}

bool build_fp(struct dec *d, struct uop *u)
{
    static build_fn *const parts[] = {fp_build_move,   fp_build_lane, fp_build_vector,
                                      fp_build_string, fp_build_env,  fp_build_x87,
                                      fp_build_state};
    if (d->i.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || !is_offered(d))
        return false;
    u->cond = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i](d, u))
            return true;
    }
    return false;
}
