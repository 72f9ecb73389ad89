/* SPDX-License-Identifier: Apache-2.0 */
/* Real mode: an access across offset 0xffff is #GP (stack: #SS), without an error code. */
#include "guest.h"

REAL_CODE(code,
          "movw $hgp - code, %fs:13 * 4\n\tmovw %cs, %fs:13 * 4 + 2\n\t"
          "movw $hss - code, %fs:12 * 4\n\tmovw %cs, %fs:12 * 4 + 2\n\t"
          "movw $0xffff, %bx\n\t"
          "movw $1f - code, %di\n\tmovw (%bx), %ax\n"
          "1: movw $1f - code, %di\n\tmovw %ax, (%bx)\n"
          "1: movw $1f - code, %di\n\tmovl $0x10000, %ebx\n\tmovb (%ebx), %al\n"
          "1: movw $1f - code, %di\n\tmovw $0xffff, %bp\n\tmovw (%bp), %ax\n"
          "1: movb -1(%ebx), %al\n\tmovb %al, 0x110\n\t"
          "lretw\n"
          "hgp: incw 0x100\n\tjmp 1f\n"
          "hss: incw 0x102\n"
          "1: movw $0xfff0 - 4, %sp\n\tpushw %di\n\tretw");

GUEST
{
    memset((void *)0x20000, 0, 0x10000);
    REAL_DATA[0xffff] = 0x5c;
    REAL_RUN(code);
    check(1, real16(0x100), 3);
    check(2, real16(0x102), 1);
    check(3, REAL_DATA[0x110], 0x5c);
}
