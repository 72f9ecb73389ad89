/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One PCI function with a type 0 header, one 32-bit memory BAR, capabilities and INTA (PCI 3.0
 * chapter 6). Configuration space is bytes and, for each, the bits that the guest may write: what a
 * register means is looked up when it matters.
 *
 * Power-on is what a firmware leaves behind: the BAR has an address, memory decoding and bus
 * mastering are on. The guest may size and move it.
 */
#ifndef UMBRA_MACHINE_DEV_PCI_DEVICE_H
#define UMBRA_MACHINE_DEV_PCI_DEVICE_H

#include "machine/dev/pci.h"
#include "machine/irq.h"

#define PCI_REG_COMMAND      0x04
#define PCI_REG_STATUS       0x06
#define PCI_REG_REVISION     0x08
#define PCI_REG_CLASS        0x09
#define PCI_REG_BAR0         0x10
#define PCI_REG_SUBSYSTEM    0x2c
#define PCI_REG_CAPABILITY   0x34
#define PCI_REG_INT_LINE     0x3c
#define PCI_REG_INT_PIN      0x3d
#define PCI_FIRST_CAPABILITY 0x40

#define PCI_COMMAND_MEMORY   0x0002
#define PCI_COMMAND_MASTER   0x0004
#define PCI_COMMAND_INTX_OFF 0x0400
#define PCI_STATUS_INTX      0x0008
#define PCI_STATUS_CAPS      0x0010

/*
 * bar_bytes: power of two; bar_base: where power-on puts it; class_code: 24 bits; int_line: what a
 * firmware would write there
 */
struct pci_identity {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint8_t revision, int_line;
    uint32_t class_code;
    uint32_t bar_bytes, bar_base;
};

/*
 * reading: before configuration is read: the device may refresh bytes of it (may be NULL)
 * written: after it was written
 * bar_read, bar_write: an access inside the BAR
 */
struct pci_device_ops {
    void (*reading)(void *arg, unsigned offset, unsigned bytes);
    void (*written)(void *arg, unsigned offset, unsigned bytes);
    uint64_t (*bar_read)(void *arg, uint64_t offset, unsigned bytes);
    void (*bar_write)(void *arg, uint64_t offset, unsigned bytes, uint64_t value);
};

struct pci_device {
    uint8_t config[PCI_CONFIG_BYTES], power_on[PCI_CONFIG_BYTES], writable[PCI_CONFIG_BYTES];
    uint32_t bar_bytes;
    unsigned next_capability, last_capability;
    struct irq_line intx;
    bool intx_wanted, intx_level;
    bool uses_msix; /* then the wire stays low whatever is wanted */
    const struct pci_device_ops *ops;
    void *arg;
};

void pci_device_init(struct pci_device *dev, const struct pci_identity *identity,
                     const struct irq_line *intx, const struct pci_device_ops *ops, void *arg);

/*
 * Appends a capability (id and next pointer are written here, body after them) and answers its
 * offset. writable: mask of the body, NULL: read-only. For assembly, before pci_device_reset.
 */
unsigned pci_device_add_capability(struct pci_device *dev, uint8_t id, const void *body,
                                   const void *writable, size_t bytes);
void pci_device_reset(struct pci_device *dev);

/* Puts it into a slot of the bus. */
void pci_device_plug(struct pci_device *dev, struct pci *pci, unsigned slot);

uint16_t pci_device_command(const struct pci_device *dev);

/*
 * The function's wish for its INTA, seen in the status register: the wire follows unless the guest
 * has switched it off or uses MSI-X.
 */
void pci_device_set_intx(struct pci_device *dev, bool level);
void pci_device_set_uses_msix(struct pci_device *dev, bool uses_msix);

#endif
