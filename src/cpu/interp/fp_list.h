/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vector instructions that run as stubs, one list per shape; read by the assembler files (which
 * make one stub per row) and by fp_table.c (which maps mnemonics to stubs). Row: Zydis mnemonic,
 * assembler mnemonic.
 *
 * Lists with MX obey MXCSR and may raise SIMD floating-point exceptions.
 */
#ifndef UMBRA_CPU_INTERP_FP_LIST_H
#define UMBRA_CPU_INTERP_FP_LIST_H

/* clang-format off */

/* xmm, xmm/m */
#define FP_LIST_MX(X)                                                                              \
    X(ADDPS, addps) X(ADDPD, addpd) X(ADDSS, addss) X(ADDSD, addsd)                                \
    X(SUBPS, subps) X(SUBPD, subpd) X(SUBSS, subss) X(SUBSD, subsd)                                \
    X(MULPS, mulps) X(MULPD, mulpd) X(MULSS, mulss) X(MULSD, mulsd)                                \
    X(DIVPS, divps) X(DIVPD, divpd) X(DIVSS, divss) X(DIVSD, divsd)                                \
    X(MINPS, minps) X(MINPD, minpd) X(MINSS, minss) X(MINSD, minsd)                                \
    X(MAXPS, maxps) X(MAXPD, maxpd) X(MAXSS, maxss) X(MAXSD, maxsd)                                \
    X(SQRTPS, sqrtps) X(SQRTPD, sqrtpd) X(SQRTSS, sqrtss) X(SQRTSD, sqrtsd)                        \
    X(RCPPS, rcpps) X(RCPSS, rcpss) X(RSQRTPS, rsqrtps) X(RSQRTSS, rsqrtss)                        \
    X(HADDPS, haddps) X(HADDPD, haddpd) X(HSUBPS, hsubps) X(HSUBPD, hsubpd)                        \
    X(ADDSUBPS, addsubps) X(ADDSUBPD, addsubpd)                                                    \
    X(CVTPS2PD, cvtps2pd) X(CVTPD2PS, cvtpd2ps) X(CVTSS2SD, cvtss2sd) X(CVTSD2SS, cvtsd2ss)        \
    X(CVTDQ2PS, cvtdq2ps) X(CVTDQ2PD, cvtdq2pd) X(CVTPS2DQ, cvtps2dq) X(CVTTPS2DQ, cvttps2dq)      \
    X(CVTPD2DQ, cvtpd2dq) X(CVTTPD2DQ, cvttpd2dq)

/* xmm, xmm/m, imm8 */
#define FP_LIST_MX_IMM(X)                                                                          \
    X(CMPPS, cmpps) X(CMPPD, cmppd) X(CMPSS, cmpss) X(CMPSD, cmpsd)                                \
    X(ROUNDPS, roundps) X(ROUNDPD, roundpd) X(ROUNDSS, roundss) X(ROUNDSD, roundsd)                \
    X(DPPS, dpps) X(DPPD, dppd)

/* r32/r64, xmm/m */
#define FP_LIST_MX_TO_GPR(X)                                                                       \
    X(CVTSS2SI, cvtss2si) X(CVTTSS2SI, cvttss2si) X(CVTSD2SI, cvtsd2si) X(CVTTSD2SI, cvttsd2si)

/* xmm, r/m32 or r/m64 */
#define FP_LIST_MX_FROM_GPR(X) X(CVTSI2SS, cvtsi2ss) X(CVTSI2SD, cvtsi2sd)

/* flags from xmm, xmm/m */
#define FP_LIST_MX_FLAGS(X)                                                                        \
    X(COMISS, comiss) X(COMISD, comisd) X(UCOMISS, ucomiss) X(UCOMISD, ucomisd)

/* mm, xmm/m and xmm, mm/m */
#define FP_LIST_MX_TO_MMX(X)                                                                       \
    X(CVTPS2PI, cvtps2pi) X(CVTTPS2PI, cvttps2pi) X(CVTPD2PI, cvtpd2pi) X(CVTTPD2PI, cvttpd2pi)
#define FP_LIST_MX_FROM_MMX(X) X(CVTPI2PS, cvtpi2ps) X(CVTPI2PD, cvtpi2pd)

/* xmm, xmm/m: the integer and bit patterns of SSE..SSE4.2 that MMX does not have */
#define FP_LIST_XMM(X)                                                                             \
    X(PUNPCKHQDQ, punpckhqdq)                                             \
    X(UNPCKLPS, unpcklps) X(UNPCKLPD, unpcklpd) X(UNPCKHPS, unpckhps) X(UNPCKHPD, unpckhpd)        \
    X(MOVDDUP, movddup) X(MOVSHDUP, movshdup) X(MOVSLDUP, movsldup)                                \
    X(PMULDQ, pmuldq) X(PMULLD, pmulld) X(PCMPEQQ, pcmpeqq) X(PCMPGTQ, pcmpgtq)                    \
    X(PACKUSDW, packusdw) X(PHMINPOSUW, phminposuw)                                                \
    X(PMINSB, pminsb) X(PMINSD, pminsd) X(PMINUW, pminuw) X(PMINUD, pminud)                        \
    X(PMAXSB, pmaxsb) X(PMAXSD, pmaxsd) X(PMAXUW, pmaxuw) X(PMAXUD, pmaxud)                        \
    X(PMOVSXBW, pmovsxbw) X(PMOVSXBD, pmovsxbd) X(PMOVSXBQ, pmovsxbq)                              \
    X(PMOVSXWD, pmovsxwd) X(PMOVSXWQ, pmovsxwq) X(PMOVSXDQ, pmovsxdq)                              \
    X(PMOVZXBW, pmovzxbw) X(PMOVZXBD, pmovzxbd) X(PMOVZXBQ, pmovzxbq)                              \
    X(PMOVZXWD, pmovzxwd) X(PMOVZXWQ, pmovzxwq) X(PMOVZXDQ, pmovzxdq)                              \
    X(AESENC, aesenc) X(AESENCLAST, aesenclast) X(AESDEC, aesdec) X(AESDECLAST, aesdeclast)        \
    X(AESIMC, aesimc)                                                                              \
    X(SHA1NEXTE, sha1nexte) X(SHA1MSG1, sha1msg1) X(SHA1MSG2, sha1msg2)                            \
    X(SHA256MSG1, sha256msg1) X(SHA256MSG2, sha256msg2)                                            \
    X(GF2P8MULB, gf2p8mulb)

/* xmm, xmm/m, XMM0 */
#define FP_LIST_XMM0(X)                                                                            \
    X(PBLENDVB, pblendvb) X(BLENDVPS, blendvps) X(BLENDVPD, blendvpd) X(SHA256RNDS2, sha256rnds2)

/* xmm, xmm/m, imm8 */
#define FP_LIST_XMM_IMM(X)                                                                         \
    X(PSHUFD, pshufd) X(PSHUFLW, pshuflw) X(PSHUFHW, pshufhw) X(SHUFPS, shufps) X(SHUFPD, shufpd)  \
    X(PBLENDW, pblendw) X(BLENDPS, blendps) X(BLENDPD, blendpd) X(INSERTPS, insertps)              \
    X(MPSADBW, mpsadbw) X(AESKEYGENASSIST, aeskeygenassist) X(PCLMULQDQ, pclmulqdq)                \
    X(SHA1RNDS4, sha1rnds4) X(GF2P8AFFINEQB, gf2p8affineqb) X(GF2P8AFFINEINVQB, gf2p8affineinvqb)

/* mm, mm/m and also xmm, xmm/m */
#define FP_LIST_BOTH(X)                                                                            \
    X(PUNPCKLBW, punpcklbw) X(PUNPCKLWD, punpcklwd) X(PUNPCKLDQ, punpckldq)                        \
    X(PUNPCKHBW, punpckhbw) X(PUNPCKHWD, punpckhwd) X(PUNPCKHDQ, punpckhdq)                        \
    X(PACKSSWB, packsswb) X(PACKSSDW, packssdw) X(PACKUSWB, packuswb)                              \
    X(PCMPEQB, pcmpeqb) X(PCMPEQW, pcmpeqw) X(PCMPEQD, pcmpeqd)                                    \
    X(PCMPGTB, pcmpgtb) X(PCMPGTW, pcmpgtw) X(PCMPGTD, pcmpgtd)                                    \
    X(PADDB, paddb) X(PADDW, paddw) X(PADDD, paddd) X(PADDQ, paddq)                                \
    X(PADDSB, paddsb) X(PADDSW, paddsw) X(PADDUSB, paddusb) X(PADDUSW, paddusw)                    \
    X(PSUBB, psubb) X(PSUBW, psubw) X(PSUBD, psubd) X(PSUBQ, psubq)                                \
    X(PSUBSB, psubsb) X(PSUBSW, psubsw) X(PSUBUSB, psubusb) X(PSUBUSW, psubusw)                    \
    X(PMULLW, pmullw) X(PMULHW, pmulhw) X(PMULHUW, pmulhuw) X(PMULUDQ, pmuludq)                    \
    X(PMADDWD, pmaddwd) X(PSADBW, psadbw) X(PAVGB, pavgb) X(PAVGW, pavgw)                          \
    X(PMINUB, pminub) X(PMINSW, pminsw) X(PMAXUB, pmaxub) X(PMAXSW, pmaxsw)                        \
    X(PAND, pand) X(PANDN, pandn) X(POR, por) X(PXOR, pxor)                                        \
    X(PSHUFB, pshufb) X(PHADDW, phaddw) X(PHADDD, phaddd) X(PHADDSW, phaddsw)                      \
    X(PHSUBW, phsubw) X(PHSUBD, phsubd) X(PHSUBSW, phsubsw) X(PMADDUBSW, pmaddubsw)                \
    X(PSIGNB, psignb) X(PSIGNW, psignw) X(PSIGND, psignd) X(PMULHRSW, pmulhrsw)                    \
    X(PABSB, pabsb) X(PABSW, pabsw) X(PABSD, pabsd)

/* as before; the count may also be an immediate */
#define FP_LIST_BOTH_SHIFT(X)                                                                      \
    X(PSRLW, psrlw) X(PSRLD, psrld) X(PSRLQ, psrlq) X(PSRAW, psraw) X(PSRAD, psrad)                \
    X(PSLLW, psllw) X(PSLLD, pslld) X(PSLLQ, psllq)

/* clang-format on */

#endif
