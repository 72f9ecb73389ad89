/* SPDX-License-Identifier: Apache-2.0 */
/* NMI by an IPI to itself: comes with IF clear, is held back until IRET, wakes HLT. */
#include "guest.h"

static unsigned count, depth, deepest;

static void self_nmi(void)
{
    apic_write(APIC_ICR, 0x44400);
}

static void on_nmi(struct frame *f)
{
    (void)f;
    count++;
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (count == 2) {
        self_nmi(); /* waits for the IRET */
        self_nmi();
        for (volatile unsigned i = 0; i < 10000; i++) {
        }
        check(1, count, 2);
    }
    depth--;
}

static void wait_for(unsigned n, unsigned want)
{
    for (unsigned i = 0; count < want; i++)
        check(n, i < 10000000, 1);
}

GUEST
{
    hook[NMI] = on_nmi;
    apic_enable();
    cli();
    self_nmi();
    wait_for(2, 1);
    self_nmi();
    wait_for(3, 3);
    for (volatile unsigned i = 0; i < 10000; i++) {
    }
    check(4, count, 3); /* two while it was held back are one */
    check(5, deepest, 1);
}
