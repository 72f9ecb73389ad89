/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TF: one #DB after each instruction, each iteration of REP, not inside handlers; DR6.BS; INT n and
 * IRET.
 */
#include "guest.h"

static unsigned steps;
static word ips[64], rcx[64];

static void on_step(struct frame *f)
{
    if (steps < 64) {
        ips[steps] = f->ip;
        rcx[steps] = f->cx;
    }
    steps++;
    check(1, get_dr6() & 0x4000, 0x4000);
    set_dr6(0xffff0ff0);
}

static void on_int(struct frame *f)
{
    check(2, get_flags() & 0x100, 0);
    check(3, f->flags & 0x100, 0x100);
}

#define TF_ON  "pushf\n\torw $0x100, (" A(sp) ")\n\tpopf\n\t"
#define TF_OFF "pushf\n\tandw $0xfeff, (" A(sp) ")\n\tpopf\n\t"
extern const uint8_t s0[], s1[], s2[], s3[], s4[], r0[], r1[];

GUEST
{
    static uint8_t buffer[8];

    hook[DB] = on_step;
    hook[0x40] = on_int;
    asm volatile(TF_ON "s0: nop\n"
                 "s1: movl $5, %%eax\n"
                 "s2: int $0x40\n"
                 "s3: xorl %%eax, %%eax\n"
                 "s4:" TF_OFF ::: "eax", "memory", "cc");
    /*
     * after s0's nop, s1, (INT is stepped over: its trap comes behind the IRET and s3) and the
     * three of TF_OFF
     */
    check(10, ips[0], (word)s1);
    check(11, ips[1], (word)s2);
    check(12, ips[2], (word)s4);
    check(13, steps, 6);

    steps = 0;
    word cx = 3, di = (word)buffer;
    asm volatile(TF_ON "r0: rep stosb\nr1:" TF_OFF : "+c"(cx), "+D"(di) : "a"(7) : "memory", "cc");
    check(20, ips[0], (word)r0);
    check(21, rcx[0], 2);
    check(22, ips[1], (word)r0);
    check(23, rcx[1], 1);
    check(24, ips[2], (word)r1);
    check(25, rcx[2], 0);
    check(26, buffer[2], 7);

    /* A fault comes first; the trap of the restarted instruction follows when it is done. */
    steps = 0;
    paging_on();
    asm volatile(TF_ON FAULTS("ud2") TF_OFF ::: "memory", "cc"); /* the resume clears TF */
    check(30, last.f.vector, UD);
    check(31, last.f.flags & 0x100, 0x100);
}
