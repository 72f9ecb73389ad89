/* SPDX-License-Identifier: Apache-2.0 */
/* IOAPIC: registers, edge delivery of UART and PIT, mask, remote IRR of level lines, widths. */
#include "guest.h"

#define REDIRECT(pin) (0x10 + (pin) * 2)

static void route(unsigned pin, uint32_t low)
{
    ioapic_write(REDIRECT(pin) + 1, apic_read(APIC_ID));
    ioapic_write(REDIRECT(pin), low);
}

static void raise_uart(bool on)
{
    outb(0x3f8 + 4, 8);
    outb(0x3f8 + 1, on ? 2 : 0);
    if (!on)
        (void)inb(0x3f8 + 2);
}

GUEST
{
    hook[0x54] = hook[0x52] = irq_counter;
    apic_enable();
    apic_write(APIC_TPR, 0);
    check(1, ioapic_read(1) >> 16 & 0xff, 23);
    check(2, (ioapic_read(1) & 0xff) >= 0x11, 1);
    ioapic_write(0, 0x05000000);
    check(3, ioapic_read(0) >> 24 & 0xf, 5);
    ioapic_write(0, 0);
    raise_uart(false);
    route(4, 0x10054); /* masked */
    check(4, ioapic_read(REDIRECT(4)), 0x10054);
    sti();
    raise_uart(true);
    pit_wait_us(1000);
    check(5, irq_count[0x54], 0);
    raise_uart(false);
    route(4, 0x54);
    raise_uart(true);
    for (unsigned i = 0; irq_count[0x54] < 1; i++)
        check(6, i < 1000000, 1);
    pit_wait_us(1000);
    check(7, irq_count[0x54], 1); /* an edge, once */
    raise_uart(false);
    raise_uart(true);
    for (unsigned i = 0; irq_count[0x54] < 2; i++)
        check(8, i < 1000000, 1);
    raise_uart(false);
    route(4, 0x10054);

    /* The PIT is on pin 2. */
    route(2, 0x52);
    pit_start(2, 5000);
    for (unsigned i = 0; irq_count[0x52] < 3; i++)
        check(9, i < 10000000, 1);
    route(2, 0x10052);
    cli();

    /* Writes of read-only bits are lost. */
    route(10, 0x10000 | 0x5000 | 0x5a);
    check(10, ioapic_read(REDIRECT(10)), 0x1005a);
    route(10, 0x10000);
}
