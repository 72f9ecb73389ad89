/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PIC pair: mask, request and service registers, priority, cascade, specific and automatic end of
 * interrupt.
 */
#include "guest.h"

static unsigned order[8], n;

static void on_irq(struct frame *f)
{
    unsigned irq = (unsigned)f->vector - PIC_BASE;

    order[n++] = irq;
    outb(irq < 8 ? 0x20 : 0xa0, 0x0b); /* read ISR */
    check(100, inb(irq < 8 ? 0x20 : 0xa0), 1u << (irq & 7));
    if (irq == 8) {
        outb(0x70, 0x0c);
        (void)inb(0x71);
    }
    pic_eoi(irq);
}

static unsigned requests(uint16_t port)
{
    outb(port, 0x0a);
    return inb(port);
}

/* A busy host may be late. */
static void wait_requests(unsigned check_number, uint16_t port, unsigned want)
{
    for (unsigned i = 0; (requests(port) & want) != want; i++) {
        check(check_number, i < 50, 1);
        pit_wait_us(10000);
    }
}

/* UART: the transmitter is empty, so enabling that interrupt raises IRQ 4 at once. */
static void raise_uart(bool on)
{
    outb(0x3f8 + 4, 8); /* OUT2 passes it on */
    outb(0x3f8 + 1, on ? 2 : 0);
}

GUEST
{
    for (unsigned i = 0; i < 16; i++)
        hook[PIC_BASE + i] = on_irq;
    check(1, inb(0x21), 0xff);
    outb(0x21, 0x5a);
    check(2, inb(0x21), 0x5a);
    pic_mask_all();
    raise_uart(false);
    (void)inb(0x3f8 + 2);
    /* A request waits behind the mask. */
    raise_uart(true);
    check(3, requests(0x20) & 0x10, 0x10);
    pit_start(0, 100);
    wait_requests(4, 0x20, 0x11);
    sti();
    asm volatile("nop\n\tnop");
    check(5, n, 0);
    cli();
    /* Both at once: IRQ 0 first. */
    pic_unmask(4);
    pic_unmask(0);
    sti();
    for (unsigned i = 0; n < 2; i++)
        check(6, i < 1000000, 1);
    cli();
    check(7, order[0] << 4 | order[1], 0x04);
    raise_uart(false);
    (void)inb(0x3f8 + 2);
    pic_mask_all();

    /* The slave through the cascade: RTC periodic interrupt, IRQ 8, above IRQ 4. */
    n = 0;
    outb(0x70, 0x0a);
    outb(0x71, 0x26);
    outb(0x70, 0x0b);
    uint8_t b = inb(0x71);
    outb(0x70, 0x0b);
    outb(0x71, b | 0x40);
    outb(0x70, 0x0c);
    (void)inb(0x71);
    wait_requests(8, 0xa0, 1);
    raise_uart(true);
    pic_unmask(4);
    pic_unmask(8);
    check(9, requests(0x20) & 4, 4);
    sti();
    for (unsigned i = 0; n < 2; i++)
        check(10, i < 1000000, 1);
    cli();
    check(11, order[0], 8);
    outb(0x70, 0x0b);
    outb(0x71, b & ~0x40);
    raise_uart(false);
    pic_mask_all();
    check(12, requests(0x20) & 0x10, 0); /* a line that fell is no request any more */
}
