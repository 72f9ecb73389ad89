/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of stubs (fp_stubs_*.S) share; assembler only. */
#ifdef __ASSEMBLER__

    .section .note.GNU-stack, "", @progbits
    .text

    .macro fp_label name
    .globl \name
    .hidden \name
    .type \name, @function
\name:
    .endm

/* One stub per immediate, FP_STRIDE_XMM (16) bytes each. */
    .macro fp_imm_stubs name, insn
    .balign 16
    fp_label \name
    .set fp_imm, 0
    .rept 256
    .balign 16
    movups (%rdi), %xmm0
    movups (%rsi), %xmm1
    \insn $fp_imm, %xmm1, %xmm0
    movups %xmm0, (%rdi)
    ret
    .set fp_imm, fp_imm + 1
    .endr
    .endm

#endif
