/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An interrupt message on its way to local APICs: from an IOAPIC pin, an ICR, later an MSI (SDM
 * 3A 10.11).
 */
#ifndef UMBRA_MACHINE_DEV_APIC_MESSAGE_H
#define UMBRA_MACHINE_DEV_APIC_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

enum apic_delivery {
    APIC_FIXED = 0,
    APIC_LOWEST = 1,
    APIC_SMI = 2,
    APIC_NMI = 4,
    APIC_INIT = 5,
    APIC_STARTUP = 6,
    APIC_EXTINT = 7,
};

#define APIC_BROADCAST UINT32_MAX

struct apic_message {
    uint32_t destination; /* APIC_BROADCAST: everybody */
    bool logical;
    bool level_triggered;
    uint8_t delivery; /* enum apic_delivery */
    uint8_t vector;
};

#endif
