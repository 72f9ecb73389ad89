/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PIT channel 0 through the PIC: rate by divisor, masking, one-shot mode, counter latch and
 * read-back.
 */
#include "guest.h"

/* TSC ticks that n interrupts take. */
static uint64_t interval(unsigned count, unsigned n)
{
    uint64_t start;
    unsigned until;

    pit_start(2, count);
    until = irq_count[PIC_BASE] + 1;
    while (irq_count[PIC_BASE] < until)
        asm volatile("hlt");
    start = rdtsc();
    until += n;
    while (irq_count[PIC_BASE] < until)
        asm volatile("hlt");
    return rdtsc() - start;
}

static unsigned latched(void)
{
    outb(0x43, 0);
    unsigned low = inb(0x40);
    return low | (unsigned)inb(0x40) << 8;
}

GUEST
{
    bool fits = false;

    hook[PIC_BASE] = irq_counter;
    pic_unmask(0);
    sti();
    /* Four times the divisor takes four times as long; a busy host may spoil a turn. */
    for (unsigned turn = 0; turn < 80 && !fits; turn++) {
        uint64_t fast = interval(3000, 8), slow = interval(12000, 8);

        fits = slow > fast * 3 && slow < fast * 5;
    }
    check(1, fits, 1);
    pic_mask_all();
    unsigned before = irq_count[PIC_BASE];
    pit_wait_us(20000);
    check(2, irq_count[PIC_BASE], before);
    cli();

    /* The counter runs down and starts again. */
    pit_start(2, 60000);
    unsigned a = latched(), turns = 0;
    check(3, a > 0 && a <= 60000, 1);
    for (unsigned i = 0; i < 1000000 && !turns; i++) {
        unsigned now = latched();
        turns += now > a;
        check(4, now <= 60000, 1);
        a = now;
    }
    check(5, turns, 1);
    /* Read-back: status says mode, access, and the output. */
    outb(0x43, 0xe2);
    check(6, inb(0x40) & 0x3f, 0x34);

    /* Mode 0 interrupts once. */
    hook[PIC_BASE] = irq_counter;
    irq_count[PIC_BASE] = 0;
    pit_start(0, 2000);
    pic_unmask(0);
    sti();
    for (unsigned i = 0; i < 3; i++)
        pit_wait_us(20000);
    cli();
    /* one may have waited in the PIC */
    check(7, irq_count[PIC_BASE] >= 1 && irq_count[PIC_BASE] <= 2, 1);
}
