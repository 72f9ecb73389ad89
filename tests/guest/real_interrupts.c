/* SPDX-License-Identifier: Apache-2.0 */
/* Real mode: vectors come from the IVT, frames have three words, exceptions push no error code. */
#include "guest.h"

/* Every handler stores IP, CS, FLAGS of the frame and the flags inside at 2000:(vector * 16). */
#define HANDLER(v)                                                                                 \
    "pushw %bp\n\tmovw %sp, %bp\n\tpushw %ax\n\t"                                                  \
    "movw 2(%bp), %ax\n\tmovw %ax, " #v " * 16\n\t"                                                \
    "movw 4(%bp), %ax\n\tmovw %ax, " #v " * 16 + 2\n\t"                                            \
    "movw 6(%bp), %ax\n\tmovw %ax, " #v " * 16 + 4\n\t"                                            \
    "pushfw\n\tpopw " #v " * 16 + 6\n\tincw " #v " * 16 + 8\n\t"
#define IRET       "popw %ax\n\tpopw %bp\n\tiretw\n\t"
#define SKIP(n)    "addw $" #n ", 2(%bp)\n\t" /* behind the faulting instruction */
#define VECTOR(v)  "movw $h" #v " - code, %fs:" #v " * 4\n\tmovw %cs, %fs:" #v " * 4 + 2\n\t"
#define MARK(at)   "movw $. - code, " #at "\n\t"

REAL_CODE(code,
          VECTOR(0) VECTOR(3) VECTOR(4) VECTOR(5) VECTOR(6) VECTOR(96)
          "pushfw\n\torw $0x300 - 0x100, (%bp)\n\tpopfw\n\t"
          "sti\n\t"
          "int $96\n"
          "m0: cli\n\tint $96\n"
          "m1: int3\n"
          "m2: movb $0x7f, %al\n\taddb $1, %al\n\tinto\n"
          "m3: xorw %dx, %dx\n\tmovw %dx, %cx\n"
          "m4: divw %cx\n"
          "m5: movw $5, 0x700\n\tmovw $9, 0x702\n\tmovw $10, %ax\n"
          "m6: bound %ax, 0x700\n"
          "m7: ud2\n\t"
          /* In the place of the interrupt flag: INT leaves the outer flags alone */
          "stc\n\tint $96\n\tsetc 0x710\n\t"
          "movw $m0 - code, 0x720\n\tmovw $m2 - code, 0x722\n\tmovw $m3 - code, 0x724\n\t"
          "movw $m4 - code, 0x726\n\tmovw $m6 - code, 0x728\n\tmovw $m7 - code, 0x72a\n\t"
          "movw %sp, 0x730\n\t"
          /* IRET with a 32-bit operand takes three double words */
          "pushfl\n\tpushl $0x1000\n\tpushl $1f - code\n\tiretl\n"
          "1: movw %sp, 0x732\n\t"
          "lretw\n"
          "h0: " HANDLER(0) SKIP(2) IRET
          "h3: " HANDLER(3) IRET
          "h4: " HANDLER(4) IRET
          "h5: " HANDLER(5) SKIP(4) IRET
          "h6: " HANDLER(6) SKIP(2) IRET
          "h96: " HANDLER(96) IRET);

GUEST
{
    memset((void *)0x20000, 0, 0x1000);
    REAL_RUN(code);
    check(1, real16(96 * 16 + 8), 3);
    check(2, real16(3 * 16), real16(0x722));
    check(3, real16(3 * 16 + 2), 0x1000);
    check(4, real16(4 * 16), real16(0x724));
    check(5, real16(4 * 16 + 4) & 0x800, 0x800);
    check(6, real16(0 * 16), real16(0x726)); /* a fault: its own address */
    check(7, real16(0 * 16 + 8), 1);
    check(8, real16(5 * 16), real16(0x728));
    check(9, real16(6 * 16), real16(0x72a));
    check(10, REAL_DATA[0x710], 1);
    check(11, real16(96 * 16 + 6) & 0x300, 0);
    check(12, real16(0x730), 0xffec);
    check(13, real16(0x732), 0xffec);
}
