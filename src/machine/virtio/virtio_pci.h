/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI transport (VIRTIO 1.2 4.1), modern only: vendor 0x1af4, device 0x1040 + id, revision 1,
 * one 64 KiB memory BAR with common, ISR, device, notify structures and the MSI-X table, the
 * capabilities that name them, PCI configuration access by capability, INTx where MSI-X is off.
 */
#ifndef UMBRA_MACHINE_VIRTIO_VIRTIO_PCI_H
#define UMBRA_MACHINE_VIRTIO_VIRTIO_PCI_H

#include "machine/dev/apic_message.h"
#include "machine/dev/pci.h"
#include "machine/irq.h"
#include "machine/virtio/virtio.h"

struct virtio_pci_host {
    void *arg;
    struct guest_mem *mem;
    struct irq_line intx;
    void (*send_msi)(void *arg, const struct apic_message *message);
    void (*service_wanted)(void *arg);
};

struct virtio_pci;

/* Makes the function and puts it into the slot; arg goes by ops->destroy. */
enum err virtio_pci_create(struct virtio_pci **out, struct pci *pci, unsigned slot,
                           const struct virtio_ops *ops, void *arg,
                           const struct virtio_pci_host *host) MUST_USE;
void virtio_pci_destroy(struct virtio_pci *vp);
void virtio_pci_reset(struct virtio_pci *vp);

struct virtio_device *virtio_pci_device(struct virtio_pci *vp);

/* Serves what was notified or asked. */
void virtio_pci_service(struct virtio_pci *vp);

#endif
