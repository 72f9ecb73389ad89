/* SPDX-License-Identifier: Apache-2.0 */
/*
 * real_run(code, size): 32-bit guests. Copies the code to 1000:0000 and calls it in real mode (lret ends it)
 * with DS = ES = 2000, SS:SP = 3000:fff0, FS = GS = 0; the way there is copied to 0000:8000.
 */
#ifndef __x86_64__
#define PLACE 0x8000
#define AT(label) (PLACE + label - real_way)

    .text
    .globl real_run
real_run:
    push %ebp
    mov %esp, %ebp
    pusha
    mov 8(%ebp), %esi
    mov 12(%ebp), %ecx
    mov $0x10000, %edi
    rep movsb
    mov $real_way, %esi
    mov $PLACE, %edi
    mov $real_way_end - real_way, %ecx
    rep movsb
    mov %esp, real_saved_sp
    lidt real_idt
    ljmp $0x28, $PLACE

    .code16
real_way:
    mov $0x30, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    mov %cr0, %eax
    and $~1, %eax
    mov %eax, %cr0
    ljmp $0, $AT(1f)
1:
    xor %ax, %ax
    mov %ax, %fs
    mov %ax, %gs
    mov $0x2000, %ax
    mov %ax, %ds
    mov %ax, %es
    mov $0x3000, %ax
    mov %ax, %ss
    mov $0xfff0, %esp
    lcall $0x1000, $0
    cli
    cld
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl $0x08, $2f
real_way_end:
    .code32
2:
    mov $0x10, %eax
    mov %eax, %ss
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov real_saved_sp, %esp
    lidt idt_ptr
    popa
    pop %ebp
    ret

    .data
real_idt:
    .word 0x3ff
    .long 0
real_saved_sp: .long 0
#endif
    .section .note.GNU-stack, "", @progbits
