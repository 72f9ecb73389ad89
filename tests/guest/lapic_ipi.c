/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LAPIC: IPIs to itself, IRR and ISR, priorities, TPR and CR8, end of interrupt, disabled APIC,
 * spurious vector.
 */
#include "guest.h"

static unsigned order[8], n;
static bool nested;

static void self(unsigned vector)
{
    apic_write(APIC_ICR, 0x44000 | vector);
}

static bool bit(unsigned reg, unsigned vector)
{
    return apic_read(reg + vector / 32 * 16) >> (vector & 31) & 1;
}

static void wait_pending(unsigned vector)
{
    for (unsigned i = 0; !bit(APIC_IRR, vector); i++)
        check(99, i < 100000, 1);
}

static void on_irq(struct frame *f)
{
    order[n++] = (unsigned)f->vector;
    check(100, bit(APIC_ISR, (unsigned)f->vector), 1);
    if (nested) {
        nested = false;
        self(0x41); /* lower: waits for the EOI */
        self(0xa1); /* higher: comes at once */
        sti();
        for (unsigned i = 0; n < 2; i++)
            check(101, i < 100000, 1);
        cli();
        check(102, n, 2);
    }
    apic_write(APIC_EOI, 0);
}

GUEST
{
    for (unsigned v = 0x31; v < 0x100; v += 0x10)
        hook[v] = on_irq; /* 0x81 excepted, which leaves user mode */
    apic_enable();
    apic_write(APIC_TPR, 0);
    check(1, apic_read(APIC_VERSION) & 0xf0, 0x10);
    self(0x61);
    wait_pending(0x61);
    self(0x91);
    wait_pending(0x91);
    self(0x31);
    wait_pending(0x31);
    check(2, bit(APIC_ISR, 0x61), 0);
    sti();
    asm volatile("nop\n\tnop");
    cli();
    check(3, n, 3);
    check(4, order[0] << 16 | order[1] << 8 | order[2], 0x916131);
    check(5, bit(APIC_IRR, 0x61), 0);
    check(6, bit(APIC_ISR, 0x61), 0);

    n = 0;
    nested = true;
    self(0x61);
    wait_pending(0x61);
    sti();
    asm volatile("nop\n\tnop");
    cli();
    check(7, n, 3);
    check(8, order[0] << 16 | order[1] << 8 | order[2], 0x61a141);

    /* The task priority holds its class and all below back. */
    n = 0;
    apic_write(APIC_TPR, 0x60);
    self(0x61);
    wait_pending(0x61);
    sti();
    asm volatile("nop\n\tnop");
    check(9, n, 0);
    self(0x71);
    for (unsigned i = 0; n < 1; i++)
        check(10, i < 100000, 1);
    check(11, order[0], 0x71);
#ifdef __x86_64__
    uint64_t cr8;
    asm volatile("mov %%cr8, %0" : "=r"(cr8));
    check(12, cr8, 6);
    asm volatile("mov %0, %%cr8" ::"r"(5ul));
    check(13, apic_read(APIC_TPR), 0x50);
#else
    apic_write(APIC_TPR, 0x50);
#endif
    for (unsigned i = 0; n < 2; i++)
        check(14, i < 100000, 1);
    check(15, order[1], 0x61);
    cli();
    apic_write(APIC_TPR, 0);
    check(16, apic_read(0xa0), 0); /* PPR */

    /* Pending once, however often it was sent. */
    n = 0;
    for (unsigned i = 0; i < 5; i++)
        self(0x51);
    wait_pending(0x51);
    sti();
    asm volatile("nop\n\tnop");
    cli();
    check(17, n, 1);
    /* The logical and physical ways to itself. */
    n = 0;
    apic_write(APIC_ICR_HI, apic_read(APIC_ID));
    apic_write(APIC_ICR, 0x4051);
    wait_pending(0x51);
    apic_write(0xd0, 1u << 24);
    apic_write(0xe0, 0xffffffff);
    apic_write(APIC_ICR_HI, 1u << 24);
    apic_write(APIC_ICR, 0x4861);
    wait_pending(0x61);
    sti();
    asm volatile("nop\n\tnop");
    cli();
    check(18, n, 2);
}
