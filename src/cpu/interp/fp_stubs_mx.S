/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stubs of the instructions that obey MXCSR. All of them lie between fp_mx_begin and fp_mx_end:
 * fp_trap.c knows by that range that a SIGFPE is the guest's. They push nothing, so that the return
 * address is at (%rsp).
 *
 * Contract of all vector stubs: rdi = destination register image, rsi = source (16 bytes readable;
 * MMX: 8), rdx = image of XMM0; rax = result for shapes that answer one. They leave MMX empty.
 */
#include "cpu/interp/fp_list.h"
#include "cpu/interp/fp_stubs.h"

    .balign 16
    fp_label fp_mx_begin

#define X(M, I)                                                                                    \
    .balign 16;                                                                                    \
    fp_label fpx_##I;                                                                              \
    movups (%rdi), %xmm0;                                                                          \
    movups (%rsi), %xmm1;                                                                          \
    I %xmm1, %xmm0;                                                                                \
    movups %xmm0, (%rdi);                                                                          \
    ret;
FP_LIST_MX(X)
#undef X

#define X(M, I)                                                                                    \
    .balign 16;                                                                                    \
    fp_label fpg_##I##_l;                                                                          \
    movups (%rsi), %xmm1;                                                                          \
    I %xmm1, %eax;                                                                                 \
    ret;                                                                                           \
    .balign 16;                                                                                    \
    fp_label fpg_##I##_q;                                                                          \
    movups (%rsi), %xmm1;                                                                          \
    I %xmm1, %rax;                                                                                 \
    ret;
FP_LIST_MX_TO_GPR(X)
#undef X

#define X(M, I)                                                                                    \
    .balign 16;                                                                                    \
    fp_label fpx_##I##_l;                                                                          \
    movups (%rdi), %xmm0;                                                                          \
    I##l (%rsi), %xmm0;                                                                            \
    movups %xmm0, (%rdi);                                                                          \
    ret;                                                                                           \
    .balign 16;                                                                                    \
    fp_label fpx_##I##_q;                                                                          \
    movups (%rdi), %xmm0;                                                                          \
    I##q (%rsi), %xmm0;                                                                            \
    movups %xmm0, (%rdi);                                                                          \
    ret;
FP_LIST_MX_FROM_GPR(X)
#undef X

/* rax: LAHF and SETO as in flags.h */
#define X(M, I)                                                                                    \
    .balign 16;                                                                                    \
    fp_label fpf_##I;                                                                              \
    movups (%rdi), %xmm0;                                                                          \
    movups (%rsi), %xmm1;                                                                          \
    I %xmm1, %xmm0;                                                                                \
    lahf;                                                                                          \
    seto %al;                                                                                      \
    movzwl %ax, %eax;                                                                              \
    ret;
FP_LIST_MX_FLAGS(X)
#undef X

#define X(M, I)                                                                                    \
    .balign 16;                                                                                    \
    fp_label fpq_##I;                                                                              \
    movups (%rsi), %xmm1;                                                                          \
    I %xmm1, %mm0;                                                                                 \
    movq %mm0, (%rdi);                                                                             \
    emms;                                                                                          \
    ret;
FP_LIST_MX_TO_MMX(X)
#undef X

#define X(M, I)                                                                                    \
    .balign 16;                                                                                    \
    fp_label fpx_##I;                                                                              \
    movups (%rdi), %xmm0;                                                                          \
    movq (%rsi), %mm1;                                                                             \
    I %mm1, %xmm0;                                                                                 \
    movups %xmm0, (%rdi);                                                                          \
    emms;                                                                                          \
    ret;
FP_LIST_MX_FROM_MMX(X)
#undef X

#define X(M, I) fp_imm_stubs fpx_##I, I;
FP_LIST_MX_IMM(X)
#undef X

    .balign 16
    fp_label fp_mx_end

/*
 * uint64_t fp_call_trapping(fp_stub *stub, void *dst, const void *src, uint32_t *mxcsr,
 *                           bool *trapped)
 * Runs a stub under the guest's MXCSR with its unmasked exceptions. When the stub traps,
 * the signal handler sets rbx to 1 and makes the stub return.
 */
    .balign 16
    fp_label fp_call_trapping
    push %rbx
    push %r12
    push %r13
    sub $16, %rsp
    mov %rcx, %r12
    mov %r8, %r13
    xor %ebx, %ebx
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    ldmxcsr (%r12)
    call *%rax
    stmxcsr (%r12)
    movl $0x1f80, 8(%rsp)
    ldmxcsr 8(%rsp)
    emms
    mov %bl, (%r13)
    add $16, %rsp
    pop %r13
    pop %r12
    pop %rbx
    ret
