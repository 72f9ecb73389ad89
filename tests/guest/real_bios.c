/* SPDX-License-Identifier: Apache-2.0 */
/* Real mode without a BIOS: its calls are refused and do not hang; its data area is there. */
#include "guest.h"

/* The call's AX, then what came back: the carry flag and AX. */
#define CALL(vector, ax, at)                                                                       \
    "movw $" #ax ", %ax\n\tclc\n\tint $" #vector "\n\tmovw %ax, " #at "\n\tsetc " #at " + 2\n\t"

REAL_CODE(code, CALL(0x15, 0xe820, 0x600) CALL(0x13, 0x0201, 0x604)
                    CALL(0x10, 0x0003, 0x608) "movw %sp, 0x60c\n\t"
                                              "int $3\n\tint $0x0b\n\t"
                                              "movw %fs:0x40e, %ax\n\tmovw %ax, 0x610\n\t"
                                              "movw %fs:0x413, %ax\n\tmovw %ax, 0x612\n\t"
                                              "movw %fs:0x400, %ax\n\tmovw %ax, 0x614\n\t"
                                              "lretw");

GUEST
{
    memset((void *)0x20000, 0, 0x1000);
    REAL_RUN(code);
    check(1, real16(0x600), 0x8620);
    check(2, REAL_DATA[0x602], 1);
    check(3, real16(0x604), 0x8601);
    check(4, REAL_DATA[0x606], 1);
    check(5, real16(0x608), 0x8603);
    check(6, REAL_DATA[0x60a], 1);
    check(7, real16(0x60c), 0xfff0 - 4);
    check(8, real16(0x610), 0x9fc0);
    check(9, real16(0x612), 639);
    check(10, real16(0x614), 0x3f8);
}
