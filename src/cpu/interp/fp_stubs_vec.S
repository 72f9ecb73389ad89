/* SPDX-License-Identifier: Apache-2.0 */
/* Stubs of the vector instructions that do not read MXCSR; contract in fp_stubs_mx.S. */
#include "cpu/interp/fp_list.h"
#include "cpu/interp/fp_stubs.h"

#define STUB_XMM(I)                                                                                \
    .balign 16;                                                                                    \
    fp_label fpx_##I;                                                                              \
    movups (%rdi), %xmm0;                                                                          \
    movups (%rsi), %xmm1;                                                                          \
    I %xmm1, %xmm0;                                                                                \
    movups %xmm0, (%rdi);                                                                          \
    ret;

#define STUB_MMX(I)                                                                                \
    .balign 16;                                                                                    \
    fp_label fpq_##I;                                                                              \
    movq (%rdi), %mm0;                                                                             \
    movq (%rsi), %mm1;                                                                             \
    I %mm1, %mm0;                                                                                  \
    movq %mm0, (%rdi);                                                                             \
    emms;                                                                                          \
    ret;

#define X(M, I) STUB_XMM(I)
FP_LIST_XMM(X)
#undef X

#define X(M, I) STUB_XMM(I) STUB_MMX(I)
FP_LIST_BOTH(X)
FP_LIST_BOTH_SHIFT(X)
#undef X

#define X(M, I)                                                                                    \
    .balign 16;                                                                                    \
    fp_label fpx_##I;                                                                              \
    movups (%rdx), %xmm0;                                                                          \
    movups (%rdi), %xmm2;                                                                          \
    movups (%rsi), %xmm1;                                                                          \
    I %xmm0, %xmm1, %xmm2;                                                                         \
    movups %xmm2, (%rdi);                                                                          \
    ret;
FP_LIST_XMM0(X)
#undef X

    .balign 16
    fp_label fpf_ptest
    movups (%rdi), %xmm0
    movups (%rsi), %xmm1
    ptest %xmm1, %xmm0
    lahf
    seto %al
    movzwl %ax, %eax
    ret

/* One stub per immediate: FP_STRIDE_MMX (32) bytes each. */
    .macro fp_imm_stubs_mmx name, insn
    .balign 32
    fp_label \name
    .set fp_imm, 0
    .rept 256
    .balign 32
    movq (%rdi), %mm0
    movq (%rsi), %mm1
    \insn $fp_imm, %mm1, %mm0
    movq %mm0, (%rdi)
    emms
    ret
    .set fp_imm, fp_imm + 1
    .endr
    .endm

#define X(M, I) fp_imm_stubs fpx_##I, I;
FP_LIST_XMM_IMM(X)
#undef X
    fp_imm_stubs fpx_palignr, palignr
    fp_imm_stubs_mmx fpq_palignr, palignr
    fp_imm_stubs_mmx fpq_pshufw, pshufw

/* Whole-register shifts have no count register: 16 and above clear. */
    .macro fp_shift_stubs name, insn
    .balign 16
    fp_label \name
    .set fp_imm, 0
    .rept 256
    .balign 16
    movups (%rdi), %xmm0
    \insn $fp_imm, %xmm0
    movups %xmm0, (%rdi)
    ret
    .set fp_imm, fp_imm + 1
    .endr
    .endm
    fp_shift_stubs fpx_pslldq, pslldq
    fp_shift_stubs fpx_psrldq, psrldq

/*
 * uint64_t fp_call_pcmpstr(const void *a, const void *b, uint64_t rax, uint64_t rdx, void *xmm0,
 *                          const void *stub)
 * Operands in xmm1 and xmm2, lengths in rax and rdx, mask out to *xmm0; answers
 * ECX << 32 | LAHF and SETO. The stub is one instruction and a jump to fp_pcmpstr_tail,
 * FP_STRIDE_XMM bytes each.
 */
    .balign 16
    fp_label fp_call_pcmpstr
    movups (%rdi), %xmm1
    movups (%rsi), %xmm2
    movups (%r8), %xmm0
    mov %rdx, %rax
    mov %rcx, %rdx
    xor %ecx, %ecx
    jmp *%r9
    .balign 16
fp_pcmpstr_tail:
    lahf
    seto %al
    movups %xmm0, (%r8)
    movzwl %ax, %eax
    shl $32, %rcx
    or %rcx, %rax
    ret

/*
 * 66 REX.W 0F 3A op /r ib with xmm1 and xmm2; REX.W makes the lengths 64-bit (ignored by the
 * implicit forms).
 */
    .macro fp_pcmpstr_stubs name, op
    .balign 16
    fp_label \name
    .set fp_imm, 0
    .rept 256
    .balign 16
    .byte 0x66, 0x48, 0x0f, 0x3a, \op, 0xca, fp_imm
    jmp fp_pcmpstr_tail
    .set fp_imm, fp_imm + 1
    .endr
    .endm
    fp_pcmpstr_stubs fps_pcmpestrm, 0x60
    fp_pcmpstr_stubs fps_pcmpestri, 0x61
    fp_pcmpstr_stubs fps_pcmpistrm, 0x62
    fp_pcmpstr_stubs fps_pcmpistri, 0x63

