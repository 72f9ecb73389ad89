/* SPDX-License-Identifier: Apache-2.0 */
/* IDT stubs, the way into rings and out of them again. */
#ifdef __x86_64__
#define GATE_STRIDE 16
#else
#define GATE_STRIDE 8
#endif

    .text
    .globl trap_stubs
    .balign 16
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21
    push $0
    .endif
#ifdef __x86_64__
    pushq $vector
#else
    pushl $vector
#endif
    jmp trap_common
    .set vector, vector + 1
    .endr

#ifdef __x86_64__
trap_common:
    cld
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, %rdi
    call trap_handle
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq

    /* guarded(fn, arg): saves the kernel's state where guarded_return finds it */
    .globl guarded, guarded_return
guarded:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    pushf
    mov guarded_sp, %rax
    push %rax
    mov %rsp, guarded_sp
    mov %rdi, %rax
    mov %rsi, %rdi
    call *%rax
    mov $0x100, %edi
guarded_return:
    mov $0x40, %eax
    mov %eax, %ss
    mov guarded_sp, %rsp
    mov %eax, %ds
    mov %eax, %es
    pop %rax
    mov %rax, guarded_sp
    mov %edi, %eax
    popf
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    /* enter_user(ip, cs, sp, ss, arg) */
    .globl enter_user, leave_user
enter_user:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    pushf
    mov %rsp, user_return_sp
    mov %rsp, tss + 4
    mov %ecx, %ds
    mov %ecx, %es
    push %rcx
    push %rdx
    push user_flags
    push %rsi
    push %rdi
    mov %r8, %rdi
    mov %r8, %rax
    iretq
leave_user:
    mov user_return_sp, %rsp
    mov $0x40, %ecx
    mov %ecx, %ss /* null since the gate */
    mov %ecx, %ds
    mov %ecx, %es
    popf
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    /* user code begins here with the function in RBX's place: its address lies on the stack */
    .globl user_entry
user_entry:
    pop %rax
    call *%rax
    int $0x81
#else
trap_common:
    cld
    pusha
    push %ds
    push %es
    push %fs
    push %gs
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    push %esp
    call trap_handle
    add $4, %esp
    pop %gs
    pop %fs
    pop %es
    pop %ds
    popa
    add $8, %esp
    iret

    .globl guarded, guarded_return
guarded:
    push %ebx
    push %ebp
    push %esi
    push %edi
    mov 20(%esp), %eax
    mov 24(%esp), %edx
    pushf
    push guarded_sp
    mov %esp, guarded_sp
    push %edx
    call *%eax
    mov $0x100, %edi
guarded_return:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %ss
    mov guarded_sp, %esp
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %edi, %eax
    pop guarded_sp
    popf
    pop %edi
    pop %esi
    pop %ebp
    pop %ebx
    ret

    .globl enter_user, leave_user
enter_user:
    push %ebx
    push %ebp
    push %esi
    push %edi
    pushf
    mov %esp, %ebx /* 20 saved and return address below the arguments */
    mov %esp, user_return_sp
    mov %esp, tss + 4
    mov 36(%ebx), %ecx
    push %ecx
    push 32(%ebx)
    push user_flags
    push 28(%ebx)
    push 24(%ebx)
    mov 40(%ebx), %eax
    mov %ecx, %ds
    mov %ecx, %es
    iret
leave_user:
    mov $0x10, %ecx
    mov %ecx, %ds
    mov %ecx, %es
    mov user_return_sp, %esp
    popf
    pop %edi
    pop %esi
    pop %ebp
    pop %ebx
    ret

    .globl user_entry
user_entry:
    pop %ecx
    push %eax
    call *%ecx
    int $0x81
#endif

    .data
    .balign 16
    .globl idt_ptr, user_flags, guarded_sp
idt_ptr:
    .word 256 * GATE_STRIDE - 1
    .long idt, 0
    .balign 8
user_flags: .quad 2
guarded_sp: .quad 0

    .bss
    .balign 4096
    .globl user_stack, user_stack_top, user_return_sp
user_stack: .skip 4096
user_stack_top:
user_return_sp: .skip 8

    .section .note.GNU-stack, "", @progbits
