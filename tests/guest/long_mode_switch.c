/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Into long mode and out of it again, by hand from 32-bit code: EFER.LMA, 64-bit registers,
 * compatibility mode.
 */
#include "guest.h"

uint32_t seen[24];
uint32_t into_long(uint32_t pml4);

asm(".pushsection .text\n"
    "into_long: mov 4(%esp), %edx\n\tpusha\n\t"
    "mov %edx, %cr3\n\t"
    "mov %cr4, %eax\n\tor $0x20, %eax\n\tmov %eax, %cr4\n\t"
    "mov $0xc0000080, %ecx\n\trdmsr\n\tor $0x100, %eax\n\twrmsr\n\t"
    "rdmsr\n\tmov %eax, seen\n\t" /* LME without LMA */
    "mov %cr0, %eax\n\tor $0x80000000, %eax\n\tmov %eax, %cr0\n\t"
    "mov $0xc0000080, %ecx\n\trdmsr\n\tmov %eax, seen + 4\n\t" /* compatibility mode now */
    "mov $0x12345678, %ebx\n\tdec %ebx\n\tmov %ebx, seen + 8\n\t" /* 4b is no REX here */
    "mov $seen, %ebp\n\tljmp $0x38, $1f\n"
    ".code64\n"
    "1: mov $0x1122334455667788, %rax\n\tmov %eax, 12(%rbp)\n\tshr $32, %rax\n\t"
    "mov %eax, 16(%rbp)\n\t"
    "mov $-1, %r8\n\tmov $5, %r8d\n\tshr $32, %r8\n\tmov %r8d, 20(%rbp)\n\t" /* zero extended */
    "mov $-1, %rcx\n\tmov $7, %cx\n\tshr $32, %rcx\n\tmov %ecx, 24(%rbp)\n\t" /* kept */
    "lea 2f(%rip), %rcx\n2: mov $2b, %edx\n\tsub %rdx, %rcx\n\tmov %ecx, 28(%rbp)\n\t"
    "movslq minus_one(%rip), %rax\n\tshr $32, %rax\n\tmov %eax, 32(%rbp)\n\t"
    "mov %cs, 36(%rbp)\n\tpushq $-2\n\tpop %rax\n\tshr $40, %rax\n\tmov %eax, 40(%rbp)\n\t"
    /* null is good enough */
    "xor %eax, %eax\n\tmov %eax, %ds\n\tmov %eax, %es\n\tmov %eax, %ss\n\t"
    "mov (%rbp), %eax\n\tmov %eax, 44(%rbp)\n\tpush %rax\n\tpop %rax\n\t"
    "mov $0x10, %eax\n\tmov %eax, %ds\n\tmov %eax, %es\n\tmov %eax, %ss\n\t"
    "mov $-1, %r9\n\tmov $-1, %rbx\n\t"
    "ljmp *back_pointer(%rip)\n"
    ".code32\n"
    "3: mov $0xffffffff, %eax\n\tinc %eax\n\tmov %eax, seen + 48\n\t" /* compatibility: 40 is INC */
    "mov %cr0, %eax\n\tand $0x7fffffff, %eax\n\tmov %eax, %cr0\n\t"
    "mov $0xc0000080, %ecx\n\trdmsr\n\tmov %eax, seen + 52\n\t" /* LMA is gone, LME stays */
    "and $~0x100, %eax\n\twrmsr\n\tmov %cr4, %eax\n\tand $~0x20, %eax\n\tmov %eax, %cr4\n\t"
    "popa\n\tmov $1, %eax\n\tret\n"
    "back_pointer: .long 3b\n\t.word 8\n"
    "minus_one: .long -1\n"
    ".popsection");

GUEST
{
    uint64_t *pml4 = page_alloc(), *pdpt = page_alloc(), *pd = page_alloc();

    pml4[0] = (word)pdpt | P_RWU;
    pdpt[0] = (word)pd | P_RWU;
    for (unsigned i = 0; i < 8; i++)
        pd[i] = i * 0x200000ull | P_RWU | P_PS;
    check(1, into_long((word)pml4), 1);
    check(2, seen[0] & 0x500, 0x100);
    check(3, seen[1] & 0x500, 0x500);
    check(4, seen[2], 0x12345677);
    check(5, seen[3], 0x55667788);
    check(6, seen[4], 0x11223344);
    check(7, seen[5], 0);
    check(8, seen[6], 0xffffffff);
    check(9, seen[7], 0);
    check(10, seen[8], 0xffffffff);
    check(11, seen[9] & 0xffff, 0x38);
    check(12, seen[10], 0xffffff);
    check(13, seen[11], seen[0]);
    check(14, seen[12], 0);
    check(15, seen[13] & 0x500, 0x100);
    check(16, into_long((word)pml4), 1); /* and once more */
}
