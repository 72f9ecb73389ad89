/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RF: pushed as 1 by faults but code breakpoints, whose handler sets it so that the return does not
 * meet them again (SDM 3B 17.3.1.1); pushed as 0 by traps.
 */
#include "guest.h"

extern const uint8_t b1[], b2[];
static unsigned hits;
static word trap_flags;

static void on_db(struct frame *f)
{
    hits++;
    check(1, f->flags & 0x10000, 0);
    f->flags |= 0x10000;
    set_dr6(0xffff0ff0);
}

static void on_int(struct frame *f)
{
    trap_flags = f->flags;
}

static void on_ud(struct frame *f)
{
    trap_flags = f->flags;
    f->ip += 2;
}

GUEST
{
    hook[DB] = on_db;
    hook[UD] = on_ud;
    hook[0x40] = on_int;
    set_dr0((word)b1);
    set_dr1((word)b2);
    set_dr7(0x40a);
    for (unsigned i = 1; i <= 3; i++)
        asm volatile("call 1f\n\tjmp 2f\n1: jmp *%0\n2:" ::"r"(b1) : "memory");
    check(2, hits, 6); /* one and one, for INT at b2 has RF only before it ran */
    check(3, trap_flags & 0x10000, 0);
    asm volatile("ud2");
    check(4, trap_flags & 0x10000, 0x10000);
}

asm(".pushsection .text\nb1: nop\nb2: int $0x40\n\tret\n.popsection");
