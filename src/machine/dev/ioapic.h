/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O APIC with 24 pins (Intel 82093AA data sheet; version 0x20 with its EOI register). An edge on
 * a masked pin is lost; a level pin holds remote IRR from delivery to EOI.
 */
#ifndef UMBRA_MACHINE_DEV_IOAPIC_H
#define UMBRA_MACHINE_DEV_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/dev/apic_message.h"

#define IOAPIC_BASE  UINT64_C(0xfec00000)
#define IOAPIC_BYTES 0x1000
#define IOAPIC_PINS  24

struct ioapic {
    void *arg;
    void (*deliver)(void *arg, const struct apic_message *message);
    uint8_t id;
    uint8_t select;
    uint32_t lines; /* level of each pin */
    uint64_t entry[IOAPIC_PINS];
};

void ioapic_reset(struct ioapic *ioapic);
void ioapic_set_irq(struct ioapic *ioapic, unsigned pin, bool level);

/* A local APIC's EOI of a level-triggered vector. */
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector);

uint64_t ioapic_read(void *arg, uint64_t offset, unsigned bytes);
void ioapic_write(void *arg, uint64_t offset, unsigned bytes, uint64_t value);

#endif
