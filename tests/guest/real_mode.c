/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real mode: segment arithmetic, default segments, 16-bit addressing, far calls, stack, operand
 * sizes.
 */
#include "guest.h"

REAL_CODE(code,
          "movw $0x1234, %bx\n\t"
          "movw $0x0011, %si\n\t"
          "movb $0xa1, 0x10(%bx,%si)\n\t" /* 2000:1255 */
          "movw $0x0100, %bp\n\t"
          "movw $0xb2b3, 2(%bp)\n\t" /* SS:0102 */
          "movw $0xf000, %bx\n\t"
          "movw $0x2000, %si\n\t"
          "movb $0xc4, (%bx,%si)\n\t" /* offset wraps: 2000:1000 */
          "movw $0x2100, %ax\n\t"
          "movw %ax, %es\n\t"
          "movw %es:0x55, %dx\n\t" /* 2100:0055 is 2000:1055 */
          "movw %dx, 0x200\n\t"
          "movw $0xffff, %ax\n\t"
          "movw %ax, %es\n\t"
          "movb $0xd5, %es:0x10\n\t" /* ffff:0010 is 1 MiB: A20 is on */
          /* the stack pointer wraps within SS */
          "movw %sp, %cx\n\t"
          "xorw %sp, %sp\n\t"
          "pushw $0xe6e7\n\t" /* 3000:fffe */
          "movw %sp, 0x202\n\t"
          "movw %cx, %sp\n\t"
          "pushw %sp\n\tpopw 0x204\n\t" /* the value before the push */
          "movw %sp, 0x206\n\t"
          "pushl $0x12345678\n\tpopw %ax\n\tpopw %dx\n\t"
          "movw %ax, 0x208\n\tmovw %dx, 0x20a\n\t"
          /* far call and return, near call by 32-bit operand */
          "pushw %cs\n\tcallw 1f\n\tmovw %ax, 0x20c\n\tjmp 2f\n"
          "1: movw $0x77, %ax\n\tlretw\n"
          "2: movl $0xabcd0000, %eax\n\tmovw $0x4321, %ax\n\tmovl %eax, 0x20e\n\t"
          "movl $0x212, %ebx\n\tmovl %eax, 4(%ebx)\n\t" /* 32-bit addressing */
          /* LOOP and JCXZ count CX only; strings use SI, DI, CX */
          "movl $0x50003, %ecx\n\txorw %dx, %dx\n"
          "3: incw %dx\n\tloop 3b\n\tmovw %dx, 0x21a\n\tmovl %ecx, 0x21c\n\t"
          "movw %ds, %ax\n\tmovw %ax, %es\n\t"
          "movl $0x7fff0300, %edi\n\tmovl $0x10004, %ecx\n\tmovb $0x99, %al\n\trep stosb\n\t"
          "movl %edi, 0x220\n\tmovl %ecx, 0x224\n\t"
          /* CS of a far jump is shifted, not looked up */
          "ljmpw $0x0fff, $4f + 0x10 - code\n"
          "4: movw %cs, 0x228\n\t"
          "smsw %ax\n\tmovw %ax, 0x22a\n\t"
          "pushfw\n\tpopw 0x22c\n\t"
          "lretw");

GUEST
{
    memset((void *)0x20000, 0, 0x10000);
    *(volatile uint16_t *)0x21055 = 0x5a5b;
    REAL_RUN(code);
    check(1, REAL_DATA[0x1255], 0xa1);
    check(2, REAL_STACK[0x102] | REAL_STACK[0x103] << 8, 0xb2b3);
    check(3, REAL_DATA[0x1000], 0xc4);
    check(4, real16(0x200), 0x5a5b);
    check(5, *(volatile uint8_t *)0x100000, 0xd5);
    check(6, REAL_STACK[0xfffe] | REAL_STACK[0xffff] << 8, 0xe6e7);
    check(7, real16(0x202), 0xfffe);
    check(8, real16(0x204), 0xffec);
    check(9, real16(0x206), 0xffec);
    check(10, real16(0x208), 0x5678);
    check(11, real16(0x20a), 0x1234);
    check(12, real16(0x20c), 0x77);
    check(13, real32(0x20e), 0xabcd4321);
    check(14, real32(0x216), 0xabcd4321);
    check(15, real16(0x21a), 3);
    check(16, real32(0x21c), 0x50000);
    check(17, real32(0x300), 0x99999999);
    check(18, real32(0x304), 0);
    check(19, real32(0x220), 0x7fff0304);
    check(20, real32(0x224), 0x10000);
    check(21, real16(0x228), 0x0fff);
    check(22, real16(0x22a) & 1, 0);
    check(23, real16(0x22c) & 0xf02a, 2);
}
