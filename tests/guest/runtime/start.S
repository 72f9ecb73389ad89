/* SPDX-License-Identifier: Apache-2.0 */
/* Multiboot header, 32-bit entry, GDT; 64-bit guests go on to long mode with 16 MiB and the chips mapped 1:1. */
    .section .multiboot, "a"
    .balign 4
    .long 0x1badb002, 0, -0x1badb002

    .text
    .code32
    .globl start
start:
    cli
    cld
    mov $stack_top, %esp
    lgdt gdt_ptr
    ljmp $0x08, $1f
1:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov %cr0, %eax
    or $0x22, %eax /* MP, NE; caches and FPU on */
    and $~0x6000000c, %eax
    mov %eax, %cr0
    mov %cr4, %eax
    or $0x600, %eax /* OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
#ifdef __x86_64__
    /* PML4 -> PDPT -> PD of the first and of the fourth GiB, 2 MiB pages */
    movl $boot_pdpt + 7, boot_pml4
    movl $boot_pd0 + 7, boot_pdpt
    movl $boot_pd3 + 7, boot_pdpt + 24
    mov $0x87, %eax
    xor %ecx, %ecx
2:
    mov %eax, boot_pd0(, %ecx, 8)
    add $0x200000, %eax
    inc %ecx
    cmp $8, %ecx
    jb 2b
    movl $0xfec00097, boot_pd3 + 0x1f6 * 8 /* IOAPIC, LAPIC: uncached */
    movl $0xfee00097, boot_pd3 + 0x1f7 * 8
    mov %cr4, %eax
    or $0x20, %eax
    mov %eax, %cr4
    mov $boot_pml4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx
    rdmsr
    or $0x900, %eax /* LME, NXE */
    wrmsr
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    ljmp $0x38, $3f
    .code64
3:
    mov $0x40, %eax
    mov %eax, %ss
    mov %eax, %ds
    mov %eax, %es
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $stack_top, %rsp
#endif
    call guest_start
    ud2

    .data
    .balign 16
    .globl gdt, gdt_ptr
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff /* 08 32-bit code */
    .quad 0x00cf93000000ffff /* 10 data */
    .quad 0x00cffb000000ffff /* 18 user 32-bit code */
    .quad 0x00cff3000000ffff /* 20 user data */
    .quad 0x00009b000000ffff /* 28 16-bit code */
    .quad 0x000093000000ffff /* 30 16-bit data */
    .quad 0x00af9b000000ffff /* 38 64-bit code */
    .quad 0x00cf93000000ffff /* 40 data */
    .quad 0x00cffb000000ffff /* 48 user 32-bit code */
    .quad 0x00cff3000000ffff /* 50 user data */
    .quad 0x00affb000000ffff /* 58 user 64-bit code */
    .quad 0x00cff3000000ffff /* 60 user data */
    .fill 64 - 13, 8, 0
gdt_ptr:
    .word 64 * 8 - 1
    .long gdt, 0

    .bss
    .balign 4096
#ifdef __x86_64__
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pd0:  .skip 4096
boot_pd3:  .skip 4096
#endif
    .skip 16384
stack_top:

    .section .note.GNU-stack, "", @progbits
