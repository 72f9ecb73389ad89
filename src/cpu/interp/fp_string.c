/* SPDX-License-Identifier: Apache-2.0 */
/* SSE4.2 string comparisons: lengths from rAX and rDX, answer in ECX or XMM0, and flags. */
#include "cpu/interp/fp.h"

/* fp_stubs_vec.S: answers ECX << 32 | flags16. */
uint64_t fp_call_pcmpstr(const void *a, const void *b, uint64_t rax, uint64_t rdx, void *xmm0,
                         const void *stub);

extern const char fps_pcmpestrm[], fps_pcmpestri[], fps_pcmpistrm[], fps_pcmpistri[];

#define HANDLER(name) static const struct uop *name(struct interp *c, const struct uop *u)

/* u->opsize: 8 when the lengths are 64-bit, else they are signed 32-bit numbers. */
static inline uint64_t compare(struct interp *c, const struct uop *u, const void *b)
{
    uint64_t la = c->gpr[RAX], lb = c->gpr[RDX];
    if (u->opsize != 8) {
        la = (uint64_t)(int64_t)(int32_t)la;
        lb = (uint64_t)(int64_t)(int32_t)lb;
    }
    uint64_t r = fp_call_pcmpstr(FP_XMM(u->dst), b, la, lb, FP_XMM(0), u->extra);
    c->flags16 = r & 0xffff;
    return r >> 32;
}

HANDLER(index_x)
{
    fp_check_sse(c, u);
    c->gpr[RCX] = compare(c, u, FP_XMM(u->src));
    NEXT;
}

HANDLER(index_m)
{
    fp_check_sse(c, u);
    c->gpr[RCX] = compare(c, u, fp_src16(c, u, c->fp_buf));
    NEXT;
}

HANDLER(mask_x)
{
    fp_check_sse(c, u);
    compare(c, u, FP_XMM(u->src));
    NEXT;
}

HANDLER(mask_m)
{
    fp_check_sse(c, u);
    compare(c, u, fp_src16(c, u, c->fp_buf));
    NEXT;
}

bool fp_build_string(struct dec *d, struct uop *u)
{
    const char *first;
    bool index = false;
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_PCMPESTRM:
        first = fps_pcmpestrm;
        break;
    case ZYDIS_MNEMONIC_PCMPESTRI:
        first = fps_pcmpestri;
        index = true;
        break;
    case ZYDIS_MNEMONIC_PCMPISTRM:
        first = fps_pcmpistrm;
        break;
    case ZYDIS_MNEMONIC_PCMPISTRI:
        first = fps_pcmpistri;
        index = true;
        break;
    default:
        return false;
    }
    u->extra = (void *)(uintptr_t)(first + (uint8_t)d->op[2].imm.value.u * FP_STRIDE_XMM);
    u->opsize = d->i.raw.rex.W ? 8 : 4;
    u->dst = dec_vec(&d->op[0]);
    bool mem = dec_is_mem(&d->op[1]);
    if (mem)
        u->fn = index ? index_m : mask_m;
    else
        u->fn = index ? index_x : mask_x;
    if (!mem)
        u->src = dec_vec(&d->op[1]);
    return true;
}
