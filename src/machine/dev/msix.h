/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X of one function (PCI 3.0 6.8.2): a table of messages, each maskable, and the pending bits
 * of those that wait for their mask to go; and what a message means to the APICs (SDM 3A 10.11).
 *
 * Invariant: a pending bit is set only while its vector cannot be sent.
 */
#ifndef UMBRA_MACHINE_DEV_MSIX_H
#define UMBRA_MACHINE_DEV_MSIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/dev/apic_message.h"

#define MSIX_VECTORS_MAX 16
#define MSIX_ENTRY_BYTES 16
#define MSIX_PBA_BYTES   8

/* One table entry as the guest sees it. */
struct msix_entry {
    uint32_t address_low, address_high, data, control;
};

struct msix {
    unsigned vectors;
    struct msix_entry entry[MSIX_VECTORS_MAX];
    uint64_t pending;
    bool enabled, masked; /* the function's control bits */
    bool may_send;        /* the function is a bus master */
    void *arg;
    void (*send)(void *arg, const struct apic_message *message);
};

/* Every vector masked, none pending, off. */
void msix_reset(struct msix *msix);

void msix_set_control(struct msix *msix, bool enabled, bool masked);
void msix_set_may_send(struct msix *msix, bool may_send);

/* The vector's event has happened. */
void msix_notify(struct msix *msix, unsigned vector);

/* The guest's accesses; offset from the table's, the pending bits' begin. */
uint64_t msix_table_read(const struct msix *msix, uint64_t offset, unsigned bytes);
void msix_table_write(struct msix *msix, uint64_t offset, unsigned bytes, uint64_t value);
uint64_t msix_pba_read(const struct msix *msix, uint64_t offset, unsigned bytes);

/* False: not an interrupt, or one that must not be sent this way. */
bool msi_decode(uint64_t address, uint32_t data, struct apic_message *message);

#endif
