/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/pci_device.h"

#include <string.h>

#include "base/invariant.h"

static void put16(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

uint16_t pci_device_command(const struct pci_device *dev)
{
    uint16_t command;

    memcpy(&command, dev->config + PCI_REG_COMMAND, sizeof(command));
    return command;
}

static uint32_t bar_address(const struct pci_device *dev)
{
    uint32_t address;

    memcpy(&address, dev->config + PCI_REG_BAR0, sizeof(address));
    return address;
}

static void update_intx(struct pci_device *dev)
{
    bool off = dev->uses_msix || (pci_device_command(dev) & PCI_COMMAND_INTX_OFF);
    bool level = dev->intx_wanted && !off;

    dev->config[PCI_REG_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
    if (dev->intx_wanted)
        dev->config[PCI_REG_STATUS] |= PCI_STATUS_INTX;
    if (level == dev->intx_level)
        return;
    dev->intx_level = level;
    irq_set(&dev->intx, level);
}

void pci_device_set_intx(struct pci_device *dev, bool level)
{
    dev->intx_wanted = level;
    update_intx(dev);
}

void pci_device_set_uses_msix(struct pci_device *dev, bool uses_msix)
{
    dev->uses_msix = uses_msix;
    update_intx(dev);
}

/* ---- the bus side ---- */

static uint32_t config_read(void *arg, uint8_t offset, unsigned bytes)
{
    struct pci_device *dev = arg;
    uint32_t value = 0;

    if (dev->ops->reading)
        dev->ops->reading(dev->arg, offset, bytes);
    memcpy(&value, dev->config + offset, bytes);
    return value;
}

static void config_write(void *arg, uint8_t offset, unsigned bytes, uint32_t value)
{
    struct pci_device *dev = arg;

    for (unsigned i = 0; i < bytes; i++) {
        uint8_t mask = dev->writable[offset + i];
        uint8_t *at = &dev->config[offset + i];

        *at = (uint8_t)((*at & ~mask) | (value >> 8 * i & mask));
    }
    update_intx(dev);
    if (dev->ops->written)
        dev->ops->written(dev->arg, offset, bytes);
}

static bool mmio_has(void *arg, uint64_t gpa, unsigned bytes)
{
    const struct pci_device *dev = arg;
    uint64_t base = bar_address(dev);

    return (pci_device_command(dev) & PCI_COMMAND_MEMORY) && gpa >= base &&
           gpa - base <= dev->bar_bytes - bytes;
}

static uint64_t mmio_read(void *arg, uint64_t gpa, unsigned bytes)
{
    const struct pci_device *dev = arg;

    return dev->ops->bar_read(dev->arg, gpa - bar_address(dev), bytes);
}

static void mmio_write(void *arg, uint64_t gpa, unsigned bytes, uint64_t value)
{
    const struct pci_device *dev = arg;

    dev->ops->bar_write(dev->arg, gpa - bar_address(dev), bytes, value);
}

void pci_device_plug(struct pci_device *dev, struct pci *pci, unsigned slot)
{
    const struct pci_function function = {
        .arg = dev,
        .config_read = config_read,
        .config_write = config_write,
        .mmio_has = mmio_has,
        .mmio_read = mmio_read,
        .mmio_write = mmio_write,
    };

    pci_add(pci, slot, &function);
}

/* ---- assembly ---- */

unsigned pci_device_add_capability(struct pci_device *dev, uint8_t id, const void *body,
                                   const void *writable, size_t bytes)
{
    unsigned offset = dev->next_capability;

    invariant(offset + 2 + bytes <= PCI_CONFIG_BYTES);
    dev->power_on[offset] = id;
    memcpy(dev->power_on + offset + 2, body, bytes);
    if (writable)
        memcpy(dev->writable + offset + 2, writable, bytes);
    if (dev->last_capability)
        dev->power_on[dev->last_capability + 1] = (uint8_t)offset;
    else
        dev->power_on[PCI_REG_CAPABILITY] = (uint8_t)offset;
    dev->power_on[PCI_REG_STATUS] |= PCI_STATUS_CAPS;
    dev->last_capability = offset;
    dev->next_capability = (unsigned)(offset + 2 + bytes + 3) & ~3u;
    return offset;
}

void pci_device_reset(struct pci_device *dev)
{
    memcpy(dev->config, dev->power_on, sizeof(dev->config));
    dev->intx_wanted = dev->uses_msix = false;
    update_intx(dev);
}

void pci_device_init(struct pci_device *dev, const struct pci_identity *identity,
                     const struct irq_line *intx, const struct pci_device_ops *ops, void *arg)
{
    uint8_t *p = dev->power_on;

    invariant(identity->bar_bytes >= 4096 && identity->bar_base % identity->bar_bytes == 0);
    *dev = (struct pci_device){
        .bar_bytes = identity->bar_bytes,
        .next_capability = PCI_FIRST_CAPABILITY,
        .intx = *intx,
        .ops = ops,
        .arg = arg,
    };
    put16(p, identity->vendor);
    put16(p + 2, identity->device);
    put16(p + PCI_REG_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    put32(p + PCI_REG_REVISION, identity->class_code << 8 | identity->revision);
    put32(p + PCI_REG_BAR0, identity->bar_base);
    put16(p + PCI_REG_SUBSYSTEM, identity->subsystem_vendor);
    put16(p + PCI_REG_SUBSYSTEM + 2, identity->subsystem);
    p[PCI_REG_INT_LINE] = identity->int_line;
    p[PCI_REG_INT_PIN] = 1;
    put16(dev->writable + PCI_REG_COMMAND,
          PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF);
    put32(dev->writable + PCI_REG_BAR0, ~(identity->bar_bytes - 1));
    dev->writable[PCI_REG_INT_LINE] = 0xff;
    pci_device_reset(dev);
}
