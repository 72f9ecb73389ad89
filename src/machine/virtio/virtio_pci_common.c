/* SPDX-License-Identifier: Apache-2.0 */
/* The common configuration structure (VIRTIO 1.2 4.1.4.3). */
#include <stddef.h>
#include <string.h>

#include "machine/virtio/virtio_pci_private.h"

/* VIRTIO 1.2 4.1.4.3; the rest of the structure belongs to features that are not offered. */
struct common_cfg {
    uint32_t device_feature_select, device_feature;
    uint32_t driver_feature_select, driver_feature;
    uint16_t config_msix_vector, num_queues;
    uint8_t device_status, config_generation;
    uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
    uint64_t queue_desc, queue_driver, queue_device;
};
_Static_assert(sizeof(struct common_cfg) == VIRTIO_PCI_COMMON_BYTES,
               "the layout of the specification");

static struct virtq *selected_queue(struct virtio_pci *vp)
{
    return vp->queue_select < vp->dev.ops->queues ? &vp->dev.queue[vp->queue_select] : NULL;
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
    return select < 2 ? (uint32_t)(features >> 32 * select) : 0;
}

uint64_t virtio_pci_common_read(struct virtio_pci *vp, uint64_t offset, unsigned bytes)
{
    const struct virtq *q = selected_queue(vp);
    struct common_cfg cfg = {
        .device_feature_select = vp->device_feature_select,
        .device_feature = feature_word(virtio_offered(&vp->dev), vp->device_feature_select),
        .driver_feature_select = vp->driver_feature_select,
        .driver_feature = feature_word(vp->driver_features, vp->driver_feature_select),
        .config_msix_vector = vp->config_vector,
        .num_queues = (uint16_t)vp->dev.ops->queues,
        .device_status = vp->dev.status,
        .config_generation = vp->dev.config_generation,
        .queue_select = vp->queue_select,
        .queue_msix_vector = VIRTIO_PCI_NO_VECTOR,
    };
    uint64_t value = 0;

    if (q) {
        cfg.queue_size = q->size;
        cfg.queue_msix_vector = vp->queue_vector[vp->queue_select];
        cfg.queue_enable = q->enabled;
        cfg.queue_notify_off = vp->queue_select;
        cfg.queue_desc = q->desc.v;
        cfg.queue_driver = q->avail.v;
        cfg.queue_device = q->used.v;
    }
    if (offset < sizeof(cfg) && bytes <= sizeof(cfg) - offset)
        memcpy(&value, (const uint8_t *)&cfg + offset, bytes);
    return value;
}

static void write_driver_feature(struct virtio_pci *vp, uint32_t value)
{
    unsigned shift = 32 * vp->driver_feature_select;

    if (vp->driver_feature_select > 1 || (vp->dev.status & VIRTIO_FEATURES_OK))
        return;
    vp->driver_features &= ~((uint64_t)UINT32_MAX << shift);
    vp->driver_features |= (uint64_t)value << shift;
    virtio_set_driver_features(&vp->dev, vp->driver_features);
}

/* A vector that there is not cannot be mapped (VIRTIO 1.2 4.1.5.1.2.1). */
static uint16_t usable_vector(const struct virtio_pci *vp, uint32_t vector)
{
    return vector < vp->msix.vectors ? (uint16_t)vector : VIRTIO_PCI_NO_VECTOR;
}

static void write_status(struct virtio_pci *vp, uint8_t value)
{
    virtio_set_status(&vp->dev, value);
    if (!value)
        virtio_pci_forget_driver(vp);
}

static void write_half(gpa_t *address, bool high, uint32_t value)
{
    unsigned shift = high ? 32 : 0;

    address->v = (address->v & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

/* Sizes and places are fixed once the queue is enabled. */
static void write_queue(struct virtio_pci *vp, unsigned field, uint32_t value)
{
    struct virtq *q = selected_queue(vp);

    if (!q)
        return;
    if (field == offsetof(struct common_cfg, queue_msix_vector)) {
        vp->queue_vector[vp->queue_select] = usable_vector(vp, value);
        return;
    }
    if (q->enabled)
        return;
    switch (field) {
    case offsetof(struct common_cfg, queue_size):
        if (value && value <= vp->dev.ops->queue_size && !(value & (value - 1)))
            q->size = (uint16_t)value;
        break;
    case offsetof(struct common_cfg, queue_enable):
        if (value == 1)
            virtio_enable_queue(&vp->dev, vp->queue_select);
        break;
    case offsetof(struct common_cfg, queue_desc):
    case offsetof(struct common_cfg, queue_desc) + 4:
        write_half(&q->desc, field & 4, value);
        break;
    case offsetof(struct common_cfg, queue_driver):
    case offsetof(struct common_cfg, queue_driver) + 4:
        write_half(&q->avail, field & 4, value);
        break;
    case offsetof(struct common_cfg, queue_device):
    case offsetof(struct common_cfg, queue_device) + 4:
        write_half(&q->used, field & 4, value);
        break;
    }
}

/* Width of the field that begins at an offset; 64-bit fields are two halves. 0: no such field. */
static unsigned field_width(uint64_t offset)
{
    if (offset < offsetof(struct common_cfg, config_msix_vector))
        return offset % 4 ? 0 : 4;
    if (offset == offsetof(struct common_cfg, device_status) ||
        offset == offsetof(struct common_cfg, config_generation))
        return 1;
    if (offset < offsetof(struct common_cfg, queue_desc))
        return offset % 2 ? 0 : 2;
    return offset % 4 || offset >= sizeof(struct common_cfg) ? 0 : 4;
}

/* VIRTIO 1.2 4.1.3.1: the driver writes fields in their own width; anything else has no effect. */
void virtio_pci_common_write(struct virtio_pci *vp, uint64_t offset, unsigned bytes, uint32_t value)
{
    if (field_width(offset) != bytes)
        return;
    switch (offset) {
    case offsetof(struct common_cfg, device_feature_select):
        vp->device_feature_select = value;
        break;
    case offsetof(struct common_cfg, driver_feature_select):
        vp->driver_feature_select = value;
        break;
    case offsetof(struct common_cfg, driver_feature):
        write_driver_feature(vp, value);
        break;
    case offsetof(struct common_cfg, config_msix_vector):
        vp->config_vector = usable_vector(vp, value);
        break;
    case offsetof(struct common_cfg, device_status):
        write_status(vp, (uint8_t)value);
        break;
    case offsetof(struct common_cfg, queue_select):
        vp->queue_select = (uint16_t)value;
        break;
    default:
        write_queue(vp, (unsigned)offset, value);
        break;
    }
}
