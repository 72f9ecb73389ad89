/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/pci.h"

#include <stddef.h>

#include "base/invariant.h"

#define ADDRESS_ENABLE   0x80000000u
#define ADDRESS_WRITABLE 0x80fffffcu
#define REG_COMMAND      0x04
#define REG_INT_LINE     0x3c

/* Configuration header of the bridge: a host bridge of Intel's, known to guests as virtual. */
static const uint8_t bridge_header[] = {
    0x86, 0x80, 0x57, 0x0d, /* vendor, device */
    0x00, 0x00, 0x00, 0x00, /* command, status */
    0x00, 0x00, 0x00, 0x06, /* revision, class: host bridge */
};

static uint32_t bridge_read(void *arg, uint8_t offset, unsigned bytes)
{
    const struct pci *pci = arg;
    uint32_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint32_t)pci->bridge[(offset + i) % PCI_CONFIG_BYTES] << 8 * i;
    return value;
}

static void bridge_write(void *arg, uint8_t offset, unsigned bytes, uint32_t value)
{
    struct pci *pci = arg;

    for (unsigned i = 0; i < bytes; i++)
        if (offset + i == REG_COMMAND || offset + i == REG_INT_LINE)
            pci->bridge[offset + i] = (uint8_t)(value >> 8 * i);
}

/* The function that the address register points at; NULL: nobody. */
static const struct pci_function *selected(const struct pci *pci)
{
    unsigned bus = pci->address >> 16 & 0xff;
    unsigned slot = pci->address >> 11 & 31;
    unsigned function = pci->address >> 8 & 7;

    if (!(pci->address & ADDRESS_ENABLE) || bus || function || !pci->slot[slot].config_read)
        return NULL;
    return &pci->slot[slot];
}

static uint32_t all_ones(unsigned bytes)
{
    return UINT32_MAX >> (32 - 8 * bytes);
}

static uint32_t data_in(const struct pci *pci, unsigned lane, unsigned bytes)
{
    const struct pci_function *function = selected(pci);

    if (!function || lane + bytes > 4)
        return all_ones(bytes);
    return function->config_read(function->arg, (uint8_t)((pci->address & 0xfc) + lane), bytes) &
           all_ones(bytes);
}

uint32_t pci_in(void *arg, uint16_t port, unsigned bytes)
{
    struct pci *pci = arg;

    if (port >= PCI_DATA_PORT)
        return data_in(pci, port - PCI_DATA_PORT, bytes);
    if (port == PCI_ADDRESS_PORT && bytes == 4)
        return pci->address;
    if (port == PCI_RESET_PORT && bytes == 1)
        return pci->reset_control;
    return all_ones(bytes);
}

static void write_reset_control(struct pci *pci, uint8_t value)
{
    bool rises = value & ~pci->reset_control & PCI_RESET_CPU;

    pci->reset_control = value & (PCI_RESET_FULL & ~PCI_RESET_CPU);
    if (rises)
        pci->reset_machine(pci->arg);
}

void pci_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    struct pci *pci = arg;
    const struct pci_function *function;
    unsigned lane = port - PCI_DATA_PORT;

    if (port >= PCI_DATA_PORT) {
        function = selected(pci);
        if (function && lane + bytes <= 4)
            function->config_write(function->arg, (uint8_t)((pci->address & 0xfc) + lane), bytes,
                                   value);
    } else if (port == PCI_ADDRESS_PORT && bytes == 4) {
        pci->address = value & ADDRESS_WRITABLE;
    } else if (port == PCI_RESET_PORT && bytes == 1) {
        write_reset_control(pci, (uint8_t)value);
    }
}

static const struct pci_function *decoder(const struct pci *pci, uint64_t gpa, unsigned bytes)
{
    for (unsigned i = 0; i < PCI_SLOTS; i++) {
        const struct pci_function *function = &pci->slot[i];

        if (function->mmio_has && function->mmio_has(function->arg, gpa, bytes))
            return function;
    }
    return NULL;
}

uint64_t pci_mmio_read(void *arg, uint64_t gpa, unsigned bytes)
{
    const struct pci_function *function = decoder(arg, gpa, bytes);

    return function ? function->mmio_read(function->arg, gpa, bytes) : UINT64_MAX;
}

void pci_mmio_write(void *arg, uint64_t gpa, unsigned bytes, uint64_t value)
{
    const struct pci_function *function = decoder(arg, gpa, bytes);

    if (function)
        function->mmio_write(function->arg, gpa, bytes, value);
}

void pci_add(struct pci *pci, unsigned slot, const struct pci_function *function)
{
    invariant(slot < PCI_SLOTS && !pci->slot[slot].config_read);
    pci->slot[slot] = *function;
}

void pci_reset(struct pci *pci)
{
    pci->address = 0;
    pci->reset_control = 0;
    for (unsigned i = 0; i < PCI_CONFIG_BYTES; i++)
        pci->bridge[i] = i < sizeof(bridge_header) ? bridge_header[i] : 0;
}

void pci_init(struct pci *pci, void *arg, void (*reset_machine)(void *arg))
{
    struct pci_function bridge = {
        .arg = pci,
        .config_read = bridge_read,
        .config_write = bridge_write,
    };

    *pci = (struct pci){.arg = arg, .reset_machine = reset_machine};
    pci_add(pci, 0, &bridge);
    pci_reset(pci);
}
