/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compatibility mode under a 64-bit kernel: 32-bit user code, INT 80h, faults, registers, 64 KiB
 * code.
 */
#include "guest.h"

extern const uint8_t user32[], user32_fault[], user16[], kernel32[];

asm(".pushsection .text\n.code32\n"
    "user32:\n\t"
    "mov $0xffffffff, %ecx\n\tinc %ecx\n\tjnz 9f\n\t" /* 41 is INC */
    "push $0x11223344\n\tpop %edx\n\tcmp $0x11223344, %edx\n\tjne 9f\n\t"
    "mov %esp, %ebx\n\tpusha\n\tpopa\n\tcmp %esp, %ebx\n\tjne 9f\n\t"
    "mov $0x50, %ax\n\tor $3, %ax\n\tmov %eax, %ds\n\t"
    "movl $5, %eax\n\tmovl $6, %ebx\n\tint $0x80\n\t"
    "cmp $11, %eax\n\tjne 9f\n\t"
    "call 1f\n1: pop %esi\n\tcmp $1b, %esi\n\tjne 9f\n\t"
    "mov $0xfffffff0, %esi\n\tmov $compat_word, %edi\n\tadd $0x10, %edi\n\t"
    "mov (%esi, %edi), %edi\n\tcmp $0x1234abcd, %edi\n\tjne 9f\n\t" /* addresses wrap at 4 GiB */
    "mov $1, %eax\n\tint $0x81\n"
    "9: mov $2, %eax\n\tint $0x81\n"
    "user32_fault: movl $0x40000000, %ecx\n\tmovl (%ecx), %edx\n\tmov $3, %eax\n\tint $0x81\n"
    "kernel32: mov $0xfffffff, %eax\n\tinc %eax\n\tlretl\n"
    ".code16\n"
    "user16: movl $0x12345678, %eax\n\tmovw $0x1111, %ax\n\tpushw %ax\n\tpushl %eax\n\t"
    "popl %ecx\n\tpopw %cx\n\t"
    "movl %ecx, %eax\n\tint $0x81\n"
    ".code64\n.popsection\n");

uint32_t compat_word = 0x1234abcd;
static struct frame seen;

static void int80(struct frame *f)
{
    seen = *f;
    f->ax += f->bx;
}

static void missing(struct frame *f)
{
    seen = *f;
    f->ip += 2;
}

GUEST
{
    word sp = (word)user_stack_top;

    hook[0x80] = int80;
    idt_dpl(0x80, 3);
    check(1, enter_user((word)user32, SEL_U32B, sp, SEL_UDATA2, 0), 1);
    check(2, seen.cs, SEL_U32B);
    check(3, seen.ss, SEL_UDATA2);
    check(4, seen.sp, sp);
    check(5, seen.ip >> 32, 0);
    hook[PF] = missing;
    check(6, enter_user((word)user32_fault, SEL_U32B, sp, SEL_UDATA2, 0), 3);
    check(7, seen.error, 4);
    check(8, get_cr2(), 0x40000000);

    /* 16-bit code with a base of its own. */
    gdt[SEL_FREE / 8] = descriptor((uint32_t)(word)user16, 0xffff, 0xfb, 0);
    check(9, enter_user(0, SEL_FREE | 3, sp, SEL_UDATA2, 0), 0x12341111);

    /* The kernel itself may run 32-bit code: far call there and back. */
    static struct __attribute__((packed)) {
        uint32_t offset;
        uint16_t selector;
    } far;
    uint32_t value;

    far.offset = (uint32_t)(word)kernel32;
    far.selector = SEL_K32;
    asm volatile("lcall *%1" : "=a"(value) : "m"(far) : "memory", "cc");
    check(10, value, 0x10000000);
}
