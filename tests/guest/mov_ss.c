/* SPDX-License-Identifier: Apache-2.0 */
/* MOV SS and POP SS hold back interrupts and debug traps for one instruction. */
#include "guest.h"

static unsigned steps;
static word ips[8];
extern const uint8_t m0[], m1[], m2[], m3[];

static void on_step(struct frame *f)
{
    if (steps < 8)
        ips[steps] = f->ip;
    steps++;
    set_dr6(0xffff0ff0);
}

GUEST
{
    hook[DB] = on_step;
    asm volatile("mov %%ss, %%ecx\n\tpushf\n\torl $0x100, (" A(sp) ")\n\tpopf\n\t"
                 "nop\n"
                 "m0: mov %%ecx, %%ss\n"
                 "m1: nop\n"
                 "m2: nop\n"
                 "m3: pushf\n\tandl $0xfffffeff, (" A(sp) ")\n\tpopf" ::: "ecx", "memory", "cc");
    check(1, ips[0], (word)m0);
    check(2, ips[1], (word)m2);
    check(3, ips[2], (word)m3);
    check(4, steps, 6);
}
