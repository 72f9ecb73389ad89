/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Big real mode: a limit of 4 GiB loaded in protected mode stays; loading a segment changes the
 * base only.
 */
#include "guest.h"

REAL_CODE(code,
          "movl $0x200000, %ebx\n\t"
          "movl %cr0, %eax\n\torb $1, %al\n\tmovl %eax, %cr0\n\tjmp 1f\n"
          "1: movw $0x10, %cx\n\tmovw %cx, %es\n\t"
          "andb $0xfe, %al\n\tmovl %eax, %cr0\n\tljmpw $0x1000, $2f - code\n"
          "2: movl %es:(%ebx), %eax\n\tmovl %eax, 0x100\n\t"
          "movl $0x87654321, %es:4(%ebx)\n\t"
          "movw $0x100, %cx\n\tmovw %cx, %es\n\t" /* base 0x1000, limit still 4 GiB */
          "movl %es:-0x1000 + 8(%ebx), %eax\n\tmovl %eax, 0x104\n\t"
          "movl $0x200010, %edi\n\tsubl $0x1000, %edi\n\tmovl $4, %ecx\n\tmovb $0x42, %al\n\t"
          ".byte 0x67\n\trep stosb\n\tmovl %edi, 0x108\n\t"
          "xorw %cx, %cx\n\tmovw %cx, %es\n\t"
          "lretw");

GUEST
{
    volatile uint32_t *high = (volatile uint32_t *)0x200000;

    high[0] = 0x11223344;
    high[2] = 0x55667788;
    high[4] = 0;
    REAL_RUN(code);
    check(1, real32(0x100), 0x11223344);
    check(2, high[1], 0x87654321);
    check(3, real32(0x104), 0x55667788);
    check(4, real32(0x108), 0x1ff014);
    check(5, high[4], 0x42424242);
}
