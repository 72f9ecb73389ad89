/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI bus 0 behind configuration mechanism 1 (PCI 3.0 3.2.2.3.2): address register 0xcf8, data
 * 0xcfc..0xcff, and the reset control register at 0xcf9. Slot 0 is the host bridge. Every other
 * device registers a table of accessors; an empty slot reads as all ones. Memory accesses below
 * 4 GiB that RAM does not take go to the function that decodes the address.
 */
#ifndef UMBRA_MACHINE_DEV_PCI_H
#define UMBRA_MACHINE_DEV_PCI_H

#include <stdbool.h>
#include <stdint.h>

#define PCI_SLOTS        32
#define PCI_CONFIG_BYTES 256
#define PCI_ADDRESS_PORT 0xcf8
#define PCI_RESET_PORT   0xcf9
#define PCI_DATA_PORT    0xcfc
#define PCI_LAST_PORT    0xcff
#define PCI_RESET_CPU    0x04
#define PCI_RESET_FULL   0x0e

/*
 * What ACPI offers for memory BARs; firmware's part of it begins at PCI_BARS. A guest that does not
 * ask ACPI may put them anywhere between the end of RAM and PCI_MEMORY_END.
 */
#define PCI_WINDOW       UINT64_C(0xc0000000)
#define PCI_WINDOW_BYTES (PCI_MEMORY_END - PCI_WINDOW)
#define PCI_BARS         UINT64_C(0xfe000000)
#define PCI_MEMORY_END   UINT64_C(0xfec00000)

/* INTA of a slot: this pin of the IOAPIC (the DSDT's _PRT says the same). */
#define PCI_INTX_PIN(slot) (16 + (slot) % 4)

/*
 * Configuration: offset + bytes stays inside the dword: bytes is 1, 2 or 4 and never crosses it.
 * Memory (mmio_has may be NULL): mmio_has says whether the function decodes all of the range now.
 */
struct pci_function {
    void *arg;
    uint32_t (*config_read)(void *arg, uint8_t offset, unsigned bytes);
    void (*config_write)(void *arg, uint8_t offset, unsigned bytes, uint32_t value);
    bool (*mmio_has)(void *arg, uint64_t gpa, unsigned bytes);
    uint64_t (*mmio_read)(void *arg, uint64_t gpa, unsigned bytes);
    void (*mmio_write)(void *arg, uint64_t gpa, unsigned bytes, uint64_t value);
};

struct pci {
    void *arg;
    void (*reset_machine)(void *arg);
    uint32_t address;
    uint8_t reset_control;
    struct pci_function slot[PCI_SLOTS];
    uint8_t bridge[PCI_CONFIG_BYTES];
};

void pci_init(struct pci *pci, void *arg, void (*reset_machine)(void *arg));
void pci_reset(struct pci *pci);
void pci_add(struct pci *pci, unsigned slot, const struct pci_function *function);

uint32_t pci_in(void *arg, uint16_t port, unsigned bytes);
void pci_out(void *arg, uint16_t port, unsigned bytes, uint32_t value);

/* The memory side of the bus. Of two functions that overlap: the lower slot. */
uint64_t pci_mmio_read(void *arg, uint64_t gpa, unsigned bytes);
void pci_mmio_write(void *arg, uint64_t gpa, unsigned bytes, uint64_t value);

#endif
