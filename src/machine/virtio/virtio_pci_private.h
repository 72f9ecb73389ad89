/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the PCI transport: virtio_pci.c, virtio_pci_common.c. */
#ifndef UMBRA_MACHINE_VIRTIO_VIRTIO_PCI_PRIVATE_H
#define UMBRA_MACHINE_VIRTIO_VIRTIO_PCI_PRIVATE_H

#include "machine/dev/msix.h"
#include "machine/dev/pci_device.h"
#include "machine/virtio/virtio_pci.h"

#define VIRTIO_PCI_NO_VECTOR    0xffff
#define VIRTIO_PCI_COMMON_BYTES 56

struct virtio_pci {
    struct virtio_device dev;
    struct pci_device pci;
    struct msix msix;
    struct virtio_pci_host host;
    unsigned msix_cap, pci_cfg_cap;
    uint32_t device_feature_select, driver_feature_select;
    uint64_t driver_features; /* as written; the core takes them until FEATURES_OK */
    uint16_t queue_select;
    uint16_t config_vector, queue_vector[VIRTIO_QUEUES_MAX];
    uint8_t isr;
};

/* virtio_pci.c: what the driver has told the transport is forgotten. */
void virtio_pci_forget_driver(struct virtio_pci *vp);

/* virtio_pci_common.c: the common configuration structure; offset inside it. */
uint64_t virtio_pci_common_read(struct virtio_pci *vp, uint64_t offset, unsigned bytes);
/* bytes: up to 4 */
void virtio_pci_common_write(struct virtio_pci *vp, uint64_t offset, unsigned bytes,
                             uint32_t value);

#endif
