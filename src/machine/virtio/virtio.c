/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   0 --> ACKNOWLEDGE --> DRIVER --> FEATURES_OK --> DRIVER_OK     (VIRTIO 1.2 3.1.1)
 *   ^                       features are fixed here ^   ^ queues are served from here on
 *   `--- a write of 0, from anywhere
 */
#include "machine/virtio/virtio.h"

#include <string.h>

#include "base/invariant.h"

#define EVERY_DEVICE (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)
#define DRIVER_BITS                                                                                \
    (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_FAILED)

static void reset_queues(struct virtio_device *dev)
{
    for (unsigned i = 0; i < dev->ops->queues; i++)
        virtq_reset(&dev->queue[i], dev->mem, dev->ops->queue_size);
}

void virtio_init(struct virtio_device *dev, const struct virtio_ops *ops, void *arg,
                 struct guest_mem *mem, const struct virtio_transport *transport)
{
    invariant(ops->queues <= VIRTIO_QUEUES_MAX);
    *dev = (struct virtio_device){.ops = ops, .arg = arg, .mem = mem, .transport = *transport};
    reset_queues(dev);
}

void virtio_reset(struct virtio_device *dev)
{
    if (dev->ops->reset)
        dev->ops->reset(dev->arg);
    dev->status = 0;
    dev->driver_features = 0;
    dev->notified = 0;
    dev->poll_wanted = false;
    reset_queues(dev);
}

uint64_t virtio_offered(const struct virtio_device *dev)
{
    return EVERY_DEVICE | (dev->ops->features ? dev->ops->features(dev->arg) : 0);
}

void virtio_set_driver_features(struct virtio_device *dev, uint64_t features)
{
    if (!(dev->status & VIRTIO_FEATURES_OK))
        dev->driver_features = features;
}

static bool features_are_fine(const struct virtio_device *dev)
{
    uint64_t features = dev->driver_features;

    if (features & ~virtio_offered(dev) || !(features & VIRTIO_F_VERSION_1))
        return false;
    return !dev->ops->features_ok || dev->ops->features_ok(dev->arg, features);
}

void virtio_set_status(struct virtio_device *dev, uint8_t value)
{
    uint8_t added = value & DRIVER_BITS & ~dev->status;

    if (!value) {
        virtio_reset(dev);
        return;
    }
    if ((added & VIRTIO_FEATURES_OK) && !features_are_fine(dev))
        added &= (uint8_t)~VIRTIO_FEATURES_OK;
    if (!((dev->status | added) & VIRTIO_FEATURES_OK))
        added &= (uint8_t)~VIRTIO_DRIVER_OK;
    dev->status |= added;
    if (!(added & VIRTIO_DRIVER_OK))
        return;
    for (unsigned i = 0; i < dev->ops->queues; i++) {
        dev->queue[i].event_idx = virtio_has(dev, VIRTIO_F_EVENT_IDX);
        dev->queue[i].indirect = virtio_has(dev, VIRTIO_F_INDIRECT_DESC);
    }
    if (dev->status & VIRTIO_DEVICE_NEEDS_RESET) /* since before the driver could be told */
        virtio_config_changed(dev);
    if (dev->ops->driver_ok)
        dev->ops->driver_ok(dev->arg, dev->driver_features);
    if (dev->notified || dev->poll_wanted)
        dev->transport.service_wanted(dev->transport.arg);
}

void virtio_enable_queue(struct virtio_device *dev, unsigned index)
{
    struct virtq *q = &dev->queue[index];

    if (q->enabled)
        return;
    virtq_enable(q);
    q->event_idx = virtio_has(dev, VIRTIO_F_EVENT_IDX);
    q->indirect = virtio_has(dev, VIRTIO_F_INDIRECT_DESC);
    if (q->broken)
        virtio_needs_reset(dev);
}

void virtio_notify(struct virtio_device *dev, unsigned index)
{
    dev->notified |= 1u << index;
    if (virtio_is_live(dev))
        dev->transport.service_wanted(dev->transport.arg);
}

/* ---- device configuration ---- */

/*
 * The generation moves when the driver reads something new, not with each change: 256 of these
 * would bring back the same number (VIRTIO 1.2 4.1.4.3.1).
 */
void virtio_config_read(struct virtio_device *dev, uint64_t offset, void *buf, size_t bytes)
{
    size_t inside = 0;

    dev->config_generation = (uint8_t)(dev->config_generation + dev->config_moved);
    dev->config_moved = false;
    memset(buf, 0, bytes);
    if (offset < dev->ops->config_bytes)
        inside = dev->ops->config_bytes - (size_t)offset;
    if (inside > bytes)
        inside = bytes;
    if (inside && dev->ops->config_read)
        dev->ops->config_read(dev->arg, (size_t)offset, buf, inside);
}

void virtio_config_write(struct virtio_device *dev, uint64_t offset, const void *buf, size_t bytes)
{
    if (offset < dev->ops->config_bytes && bytes <= dev->ops->config_bytes - offset &&
        dev->ops->config_write)
        dev->ops->config_write(dev->arg, (size_t)offset, buf, bytes);
}

/* ---- device to driver ---- */

/* A broken queue stops the device; one that could not do all is served again. */
static void settle_queue(struct virtio_device *dev, unsigned index)
{
    struct virtq *q = &dev->queue[index];

    if (q->broken)
        virtio_needs_reset(dev);
    if (!q->again || !virtio_is_live(dev))
        return;
    dev->notified |= 1u << index;
    dev->transport.service_wanted(dev->transport.arg);
}

void virtio_queue_done(struct virtio_device *dev, unsigned index)
{
    if (virtio_is_live(dev) && virtq_wants_interrupt(&dev->queue[index]))
        dev->transport.queue_interrupt(dev->transport.arg, index);
    settle_queue(dev, index);
}

/* VIRTIO 1.2 2.1.2: nothing is told before DRIVER_OK. */
void virtio_config_changed(struct virtio_device *dev)
{
    dev->config_moved = true;
    if (dev->status & VIRTIO_DRIVER_OK)
        dev->transport.config_interrupt(dev->transport.arg);
}

void virtio_needs_reset(struct virtio_device *dev)
{
    if (dev->status & VIRTIO_DEVICE_NEEDS_RESET)
        return;
    dev->status |= VIRTIO_DEVICE_NEEDS_RESET;
    virtio_config_changed(dev);
}

void virtio_ask_service(struct virtio_device *dev)
{
    dev->poll_wanted = true;
    dev->transport.service_wanted(dev->transport.arg);
}

/* ---- service ---- */

static void begin_service(struct virtio_device *dev, unsigned index)
{
    struct virtq *q = &dev->queue[index];

    q->budget = q->size;
    q->again = false;
    if (q->done_count && virtq_flush(q))
        virtio_queue_done(dev, index);
}

void virtio_service(struct virtio_device *dev)
{
    uint32_t notified = dev->notified;
    bool poll = dev->poll_wanted;

    if (!virtio_is_live(dev) || (!notified && !poll))
        return;
    dev->notified = 0;
    dev->poll_wanted = false;
    for (unsigned i = 0; i < dev->ops->queues; i++)
        begin_service(dev, i);
    for (unsigned i = 0; i < dev->ops->queues && virtio_is_live(dev); i++)
        if ((notified & 1u << i) && dev->queue[i].enabled && dev->ops->service)
            dev->ops->service(dev->arg, i);
    if (poll && dev->ops->poll && virtio_is_live(dev))
        dev->ops->poll(dev->arg);
    for (unsigned i = 0; i < dev->ops->queues; i++) {
        virtq_arm(&dev->queue[i]);
        settle_queue(dev, i);
    }
}
