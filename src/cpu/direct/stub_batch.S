/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stub's own code: carries out a list of system calls (struct stub_call) and stops. It is copied
 * to STUB_PLACE, before the list, so it knows no addresses. It has no stack.
 *
 * rbx = the first call, r8 = descriptor, r10 = flags of mmap. The last call takes the file of this
 * place its contents, so it stops behind it, where there is no next instruction. At the stop
 * rbx is the last call, or the one that failed, with its answer in rax.
 *
 * From stub_batch_flags on: takes the flags that rsp points to, as ptrace cannot give all of them.
 */
    .section .rodata
    .balign 16
    .globl stub_batch_code, stub_batch_called, stub_batch_stop, stub_batch_flags, stub_batch_end
    .hidden stub_batch_code, stub_batch_called, stub_batch_stop, stub_batch_flags, stub_batch_end
stub_batch_code:
    movq (%rbx), %rax
    movq 8(%rbx), %rdi
    movq 16(%rbx), %rsi
    movq 24(%rbx), %rdx
    movq 32(%rbx), %r9
    syscall
stub_batch_called:
    cmpq $-4095, %rax
    jae stub_batch_stop
    addq $40, %rbx
    jmp stub_batch_code
stub_batch_stop:
    int3
stub_batch_flags:
    popfq
    jmp stub_batch_stop
stub_batch_end:

    .section .note.GNU-stack, "", @progbits
