/* SPDX-License-Identifier: Apache-2.0 */
/* PIC, PIT, LAPIC, IOAPIC: the least that tests need. */
#include "guest.h"

#define LAPIC  ((volatile uint32_t *)0xfee00000ul)
#define IOAPIC ((volatile uint32_t *)0xfec00000ul)

volatile unsigned irq_count[256];

void pic_init(void)
{
    outb(0x20, 0x11);
    outb(0xa0, 0x11);
    outb(0x21, PIC_BASE);
    outb(0xa1, PIC_BASE + 8);
    outb(0x21, 4);
    outb(0xa1, 2);
    outb(0x21, 1);
    outb(0xa1, 1);
    pic_mask_all();
}

void pic_mask_all(void)
{
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
}

void pic_unmask(unsigned irq)
{
    apic_enable();
    apic_write(APIC_LINT0, 0x700);
    if (irq >= 8) {
        outb(0xa1, inb(0xa1) & (uint8_t)~(1u << (irq - 8)));
        irq = 2;
    }
    outb(0x21, inb(0x21) & (uint8_t)~(1u << irq));
}

void pic_eoi(unsigned irq)
{
    if (irq >= 8)
        outb(0xa0, 0x20);
    outb(0x20, 0x20);
}

void pit_start(unsigned mode, unsigned count)
{
    outb(0x43, (uint8_t)(0x30 | mode << 1));
    outb(0x40, (uint8_t)count);
    outb(0x40, (uint8_t)(count >> 8));
}

void pit_wait_us(unsigned us)
{
    unsigned count = us * 1193u / 1000u + 1;

    outb(0x61, (inb(0x61) & 0xfc) | 1); /* gate on, speaker off */
    outb(0x43, 0xb0);                   /* channel 2, mode 0: output rises when done */
    outb(0x42, (uint8_t)count);
    outb(0x42, (uint8_t)(count >> 8));
    while (!(inb(0x61) & 0x20)) {
    }
}

uint32_t apic_read(unsigned reg)
{
    return LAPIC[reg / 4];
}

void apic_write(unsigned reg, uint32_t v)
{
    LAPIC[reg / 4] = v;
}

void apic_enable(void)
{
    apic_write(APIC_SVR, 0x1ff);
}

uint32_t ioapic_read(unsigned reg)
{
    IOAPIC[0] = reg;
    return IOAPIC[4];
}

void ioapic_write(unsigned reg, uint32_t v)
{
    IOAPIC[0] = reg;
    IOAPIC[4] = v;
}

void irq_counter(struct frame *f)
{
    irq_count[f->vector]++;
    if (f->vector >= PIC_BASE + 16)
        apic_write(APIC_EOI, 0);
    else
        pic_eoi((unsigned)f->vector - PIC_BASE);
}
