/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/ioapic.h"

#include "base/invariant.h"

#define MMIO_SELECT 0x00
#define MMIO_WINDOW 0x10
#define MMIO_EOI    0x40

#define REG_ID          0x00
#define REG_VERSION     0x01
#define REG_ARBITRATION 0x02
#define REG_ENTRY       0x10

#define VERSION 0x20

#define ENTRY_VECTOR      0xffu
#define ENTRY_DELIVERY(e) ((e) >> 8 & 7)
#define ENTRY_LOGICAL     0x00800u
#define ENTRY_REMOTE_IRR  0x04000u
#define ENTRY_LEVEL       0x08000u
#define ENTRY_MASKED      0x10000u
#define ENTRY_LOW_KEPT    0x1afffu /* all but delivery status and remote IRR */
#define ENTRY_DEST(e)     ((uint8_t)((e) >> 56))

static void deliver(struct ioapic *ioapic, unsigned pin)
{
    uint64_t *entry = &ioapic->entry[pin];
    struct apic_message message = {
        .destination = ENTRY_DEST(*entry) == 0xff ? APIC_BROADCAST : ENTRY_DEST(*entry),
        .logical = *entry & ENTRY_LOGICAL,
        .level_triggered = *entry & ENTRY_LEVEL,
        .delivery = (uint8_t)ENTRY_DELIVERY(*entry),
        .vector = (uint8_t)(*entry & ENTRY_VECTOR),
    };

    if (message.level_triggered)
        *entry |= ENTRY_REMOTE_IRR;
    ioapic->deliver(ioapic->arg, &message);
}

/* A level pin is delivered while it is high, unmasked and not waiting for its EOI. */
static void service_level(struct ioapic *ioapic, unsigned pin)
{
    uint64_t entry = ioapic->entry[pin];

    if ((ioapic->lines & 1u << pin) && (entry & ENTRY_LEVEL) &&
        !(entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)))
        deliver(ioapic, pin);
}

void ioapic_set_irq(struct ioapic *ioapic, unsigned pin, bool level)
{
    uint32_t bit;
    bool rises;

    invariant(pin < IOAPIC_PINS);
    bit = 1u << pin;
    rises = level && !(ioapic->lines & bit);
    ioapic->lines = level ? ioapic->lines | bit : ioapic->lines & ~bit;
    if (ioapic->entry[pin] & ENTRY_LEVEL)
        service_level(ioapic, pin);
    else if (rises && !(ioapic->entry[pin] & ENTRY_MASKED))
        deliver(ioapic, pin);
}

void ioapic_eoi(struct ioapic *ioapic, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *entry = &ioapic->entry[pin];

        if ((*entry & ENTRY_VECTOR) != vector || !(*entry & ENTRY_REMOTE_IRR))
            continue;
        *entry &= ~(uint64_t)ENTRY_REMOTE_IRR;
        service_level(ioapic, pin);
    }
}

static uint32_t read_window(const struct ioapic *ioapic)
{
    unsigned reg = ioapic->select;
    uint64_t entry;

    switch (reg) {
    case REG_ID:
    case REG_ARBITRATION:
        return (uint32_t)ioapic->id << 24;
    case REG_VERSION:
        return VERSION | (IOAPIC_PINS - 1) << 16;
    default:
        if (reg < REG_ENTRY || reg >= REG_ENTRY + 2 * IOAPIC_PINS)
            return 0;
        entry = ioapic->entry[(reg - REG_ENTRY) / 2];
        return (uint32_t)(reg & 1 ? entry >> 32 : entry);
    }
}

static void write_entry(struct ioapic *ioapic, unsigned pin, bool high, uint32_t value)
{
    uint64_t *entry = &ioapic->entry[pin];

    if (high) {
        *entry = (uint64_t)(value & 0xff000000u) << 32 | (uint32_t)*entry;
        return;
    }
    *entry = (*entry & ~(uint64_t)ENTRY_LOW_KEPT) | (value & ENTRY_LOW_KEPT);
    if (!(*entry & ENTRY_LEVEL)) /* edge mode has no remote IRR: guests clear it this way */
        *entry &= ~(uint64_t)ENTRY_REMOTE_IRR;
    service_level(ioapic, pin);
}

static void write_window(struct ioapic *ioapic, uint32_t value)
{
    unsigned reg = ioapic->select;

    if (reg == REG_ID)
        ioapic->id = value >> 24 & 0x0f;
    else if (reg >= REG_ENTRY && reg < REG_ENTRY + 2 * IOAPIC_PINS)
        write_entry(ioapic, (reg - REG_ENTRY) / 2, reg & 1, value);
}

uint64_t ioapic_read(void *arg, uint64_t offset, unsigned bytes)
{
    const struct ioapic *ioapic = arg;
    uint32_t value = 0;

    if ((offset & ~UINT64_C(3)) == MMIO_SELECT)
        value = ioapic->select;
    else if ((offset & ~UINT64_C(3)) == MMIO_WINDOW)
        value = read_window(ioapic);
    value >>= 8 * (offset & 3);
    return bytes < 4 ? value & ((1u << 8 * bytes) - 1) : value;
}

void ioapic_write(void *arg, uint64_t offset, unsigned bytes, uint64_t value)
{
    struct ioapic *ioapic = arg;

    (void)bytes; /* the registers are dwords; what a narrower write leaves out is 0 */
    if (offset == MMIO_SELECT)
        ioapic->select = (uint8_t)value;
    else if (offset == MMIO_WINDOW)
        write_window(ioapic, (uint32_t)value);
    else if (offset == MMIO_EOI)
        ioapic_eoi(ioapic, (uint8_t)value);
}

void ioapic_reset(struct ioapic *ioapic)
{
    ioapic->id = 0;
    ioapic->select = 0;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        ioapic->entry[pin] = ENTRY_MASKED;
}
