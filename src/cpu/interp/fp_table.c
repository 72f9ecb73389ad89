/* SPDX-License-Identifier: Apache-2.0 */
/* From mnemonic to stub. */
#include "cpu/interp/fp.h"
#include "cpu/interp/fp_list.h"

#define X(M, I) extern fp_stub fpx_##I;
FP_LIST_MX(X)
FP_LIST_MX_IMM(X)
FP_LIST_MX_FROM_MMX(X)
FP_LIST_XMM(X)
FP_LIST_XMM0(X)
FP_LIST_XMM_IMM(X)
#undef X
#define X(M, I) extern fp_stub fpx_##I, fpq_##I;
FP_LIST_BOTH(X)
FP_LIST_BOTH_SHIFT(X)
X(PALIGNR, palignr)
#undef X
#define X(M, I) extern fp_stub fpx_##I##_l, fpx_##I##_q;
FP_LIST_MX_FROM_GPR(X)
#undef X
#define X(M, I) extern fp_stub fpg_##I##_l, fpg_##I##_q;
FP_LIST_MX_TO_GPR(X)
#undef X
#define X(M, I) extern fp_stub fpf_##I;
FP_LIST_MX_FLAGS(X)
X(PTEST, ptest)
#undef X
#define X(M, I) extern fp_stub fpq_##I;
FP_LIST_MX_TO_MMX(X)
X(PSHUFW, pshufw)
#undef X
extern fp_stub fpx_pslldq, fpx_psrldq;

#define AT(M) [ZYDIS_MNEMONIC_##M]

/* Indexed by mnemonic; rows without a stub are empty. */
static const struct fp_op table[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#define X(M, I) AT(M) = {.xmm = fpx_##I, .flags = FP_MX},
    FP_LIST_MX(X) FP_LIST_MX_FROM_MMX(X)
#undef X
#define X(M, I) AT(M) = {.xmm = fpx_##I, .flags = FP_MX | FP_IMM},
        FP_LIST_MX_IMM(X)
#undef X
#define X(M, I) AT(M) = {.xmm = fpx_##I##_l, .wide = fpx_##I##_q, .flags = FP_MX | FP_FROM_GPR},
            FP_LIST_MX_FROM_GPR(X)
#undef X
#define X(M, I) AT(M) = {.xmm = fpg_##I##_l, .wide = fpg_##I##_q, .flags = FP_MX | FP_TO_GPR},
                FP_LIST_MX_TO_GPR(X)
#undef X
#define X(M, I) AT(M) = {.xmm = fpf_##I, .flags = FP_MX | FP_TO_FLAGS},
                    FP_LIST_MX_FLAGS(X)
#undef X
#define X(M, I) AT(M) = {.mmx = fpq_##I, .flags = FP_MX},
                        FP_LIST_MX_TO_MMX(X)
#undef X
#define X(M, I) AT(M) = {.xmm = fpx_##I},
                            FP_LIST_XMM(X) FP_LIST_XMM0(X)
#undef X
#define X(M, I) AT(M) = {.xmm = fpx_##I, .flags = FP_IMM},
                                FP_LIST_XMM_IMM(X)
#undef X
#define X(M, I) AT(M) = {.xmm = fpx_##I, .mmx = fpq_##I},
                                    FP_LIST_BOTH(X)
#undef X
#define X(M, I) AT(M) = {.xmm = fpx_##I, .mmx = fpq_##I, .flags = FP_SHIFT_IMM},
                                        FP_LIST_BOTH_SHIFT(X)
#undef X
                                            AT(PALIGNR) = {.xmm = fpx_palignr,
                                                           .mmx = fpq_palignr,
                                                           .flags = FP_IMM},
    AT(PSHUFW) = {.mmx = fpq_pshufw, .flags = FP_IMM},
    AT(PSLLDQ) = {.xmm = fpx_pslldq, .flags = FP_IMM},
    AT(PSRLDQ) = {.xmm = fpx_psrldq, .flags = FP_IMM},
    AT(PTEST) = {.xmm = fpf_ptest, .flags = FP_TO_FLAGS},
};

const struct fp_op *fp_op_find(ZydisMnemonic mnemonic)
{
    const struct fp_op *op = &table[mnemonic];
    return op->xmm || op->mmx ? op : NULL;
}
