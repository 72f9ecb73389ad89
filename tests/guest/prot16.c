/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16-bit protected mode: 16-bit code and stack segments, operand and address defaults, 16- and
 * 32-bit gates.
 */
#include "guest.h"

#define SEL_CODE    SEL_FREE         /* 0x78 */
#define SEL_DATA    (SEL_FREE + 8)   /* 0x80 */
#define SEL_STACK   (SEL_FREE + 16)  /* 0x88 */
#define SEL_HANDLER (SEL_FREE + 24)  /* 0x90 */

extern const uint8_t code16[], handler16[];
void enter16(void);
void handler32(void);
static uint8_t data[0x400] __attribute__((aligned(16)));
static uint8_t stack[0x10000] __attribute__((aligned(16)));
word saved_sp16;

asm(".pushsection .text\n.code16\n"
    "code16:\n\t"
    "movw $0x80, %ax\n\tmovw %ax, %ds\n\tmovw %ax, %es\n\t"
    "movw $0x88, %ax\n\tmovw %ax, %ss\n\tmovl $0xdead0002, %esp\n\t"
    "pushw $0x1122\n\t"     /* at 0 */
    "pushl $0x33445566\n\t" /* at 0xfffc: SP wraps, the upper half of ESP stays */
    "movl %esp, 0x10\n\t"
    "popl 0x14\n\tpopw 0x18\n\t"
    "movl %esp, 0x1c\n\t"
    "movl $0xdead1000, %esp\n\t"
    "movl $0x12340020, %edi\n\tmovw $0xbeef, (%di)\n\tmovw $0x99, 2(%di)\n\t"
    "callw 1f\n1: popw %ax\n\tsubw $1b - code16, %ax\n\tmovw %ax, 0x24\n\t"
    "calll 2f\n2: popl %eax\n\tsubl $2b - code16, %eax\n\tmovl %eax, 0x28\n\t"
    "int $0x70\n\t" /* 16-bit gate: three words */
    "movl %esp, 0x2c\n\t"
    "int $0x71\n\t" /* 32-bit gate: three double words */
    "movl $0x10000, %ecx\n\tjcxz 3f\n\tmovb $1, 0x30\n"
    "3: movl $0x55551111, %ebp\n\tenter $8, $0\n\tmovl %ebp, 0x34\n\tleave\n\tmovl %ebp, 0x38\n\t"
    "movw $0xfff0, %bx\n\tmovw $0x30, %si\n\tleaw 4(%bx,%si), %cx\n\tmovw %cx, 0x3c\n\t"
    "leal 4(%bx,%si), %ecx\n\tmovl %ecx, 0x60\n\t"
    "ljmpl $0x08, $back16\n"
    ".code32\n"
    "back16: mov $0x10, %eax\n\tmov %eax, %ss\n\tmov %eax, %ds\n\tmov %eax, %es\n\t"
    "mov saved_sp16, %esp\n\tpopa\n\tret\n"
    "enter16: pusha\n\tmov %esp, saved_sp16\n\tljmp $0x78, $0\n"
    /* the stack is a 16-bit one in here too: SP counts, so the frame is read through ECX */
    "handler16: pushl %eax\n\tpushl %ecx\n\tmovzwl %sp, %ecx\n\tmovzwl %ss:8(%ecx), %eax\n\t"
    "movl %eax, 0x40\n\tmovzwl %ss:10(%ecx), %eax\n\tmovl %eax, 0x44\n\tmovl %esp, 0x48\n\t"
    "popl %ecx\n\tpopl %eax\n\tiretw\n"
    "handler32: pushl %eax\n\tpushl %ecx\n\tmovzwl %sp, %ecx\n\tmovl %ss:8(%ecx), %eax\n\t"
    "movl %eax, 0x50\n\tmovl %ss:12(%ecx), %eax\n\tmovl %eax, 0x54\n\tmovl %esp, 0x58\n\t"
    "popl %ecx\n\tpopl %eax\n\tiretl\n"
    ".popsection\n");

static uint32_t at(unsigned offset)
{
    return *(volatile uint32_t *)(data + offset);
}

GUEST
{
    gdt[SEL_CODE / 8] = descriptor((uint32_t)code16, 0xffff, 0x9b, 0);
    gdt[SEL_DATA / 8] = descriptor((uint32_t)data, sizeof(data) - 1, 0x93, 0);
    gdt[SEL_STACK / 8] = descriptor((uint32_t)stack, 0xffff, 0x93, 0);
    gdt[SEL_HANDLER / 8] = descriptor((uint32_t)handler16, 0xffff, 0x9b, 4);
    gate_set(&idt[0x70], 0, SEL_HANDLER, 0x86, 0);
    gate_set(&idt[0x71], (word)handler32, SEL_KCODE, 0x8e, 0);
    enter16();
    check(1, at(0x10), 0xdeadfffc);
    check(2, at(0x14), 0x33445566);
    check(3, at(0x18) & 0xffff, 0x1122);
    check(4, at(0x1c), 0xdead0002);
    check(5, *(uint16_t *)stack, 0x1122);
    check(6, *(uint32_t *)(stack + 0xfffc), 0x33445566);
    check(7, at(0x20), 0x99beef);
    check(8, at(0x24) & 0xffff, 0);
    check(9, at(0x28), 0);
    check(10, at(0x44), SEL_CODE);
    check(11, at(0x48), 0xdead1000 - 6 - 8);
    check(12, at(0x2c), 0xdead1000);
    check(13, at(0x54), SEL_CODE);
    check(14, at(0x58), 0xdead1000 - 12 - 8);
    check(15, code16[at(0x40) - 2] | code16[at(0x40) - 1] << 8, 0x70cd);
    check(16, code16[at(0x50) - 2] | code16[at(0x50) - 1] << 8, 0x71cd);
    check(17, at(0x30) & 0xff, 0);
    check(18, at(0x34), 0x55550ffe);
    check(19, at(0x38), 0x55551111);
    check(20, at(0x3c) & 0xffff, 0x24);
    check(21, at(0x60), 0x24);
}
