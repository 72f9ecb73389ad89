/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all virtio devices share: status, features, queues, configuration, interrupts (VIRTIO 1.2 2
 * and 3), behind a modern PCI function with MSI-X (4.1, pci.c here). A device is a table of
 * functions.
 *
 *   guest writes the notify address --> marked, board_host.service_wanted
 *   vCPU thread between instructions --> virtio_service --> ops->service for each marked device
 *
 * Everything here is called with the board's lock held.
 */
#ifndef UMBRA_MACHINE_VIRTIO_VIRTIO_H
#define UMBRA_MACHINE_VIRTIO_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "machine/virtio/queue.h"

#define VIRTIO_QUEUES_MAX 8

/* Feature bits of every device (VIRTIO 1.2 6). */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX     (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1     (UINT64_C(1) << 32)

/* Device status bits (VIRTIO 1.2 2.1). */
#define VIRTIO_ACKNOWLEDGE        1
#define VIRTIO_DRIVER             2
#define VIRTIO_DRIVER_OK          4
#define VIRTIO_FEATURES_OK        8
#define VIRTIO_DEVICE_NEEDS_RESET 64
#define VIRTIO_FAILED             128

struct virtio_device;

/*
 * id:           virtio device id (VIRTIO 1.2 5);  class_code: of the PCI function
 * features:     what this device offers, without the three above, which are added
 * queues:       how many; queue_size of each
 * config_bytes: size of the device's configuration; read and write never leave it
 *
 * features_ok: may refuse a set of features (NULL: any subset of the offered is fine)
 * driver_ok:   the driver is ready: queues may be used from now on
 * service:     queue `index` was notified (once for any number of notifications)
 * poll:        something else asked for service (virtio_ask_service); may be NULL
 * reset:       back to power-on; requests in flight are forgotten or finished before it returns
 */
struct virtio_ops {
    const char *name;
    uint16_t id;
    uint32_t class_code;
    unsigned queues;
    uint16_t queue_size;
    size_t config_bytes;
    uint64_t (*features)(void *arg);
    bool (*features_ok)(void *arg, uint64_t features);
    void (*config_read)(void *arg, size_t offset, void *buf, size_t bytes);
    void (*config_write)(void *arg, size_t offset, const void *buf, size_t bytes);
    void (*driver_ok)(void *arg, uint64_t features);
    void (*service)(void *arg, unsigned index);
    void (*poll)(void *arg);
    void (*reset)(void *arg);
    void (*destroy)(void *arg);
};

/* Public because devices embed nothing but read these. */
struct virtio_device {
    const struct virtio_ops *ops;
    void *arg;
    uint8_t status;
    uint64_t driver_features;
    struct virtq queue[VIRTIO_QUEUES_MAX];
    /* virtio's own: transport */
    void *transport;
    bool poll_wanted;
    uint32_t notified; /* bit by queue */
};

static inline bool virtio_has(const struct virtio_device *dev, uint64_t feature)
{
    return (dev->driver_features & feature) == feature;
}

static inline bool virtio_is_live(const struct virtio_device *dev)
{
    return (dev->status & VIRTIO_DRIVER_OK) && !(dev->status & VIRTIO_DEVICE_NEEDS_RESET);
}

/* After virtq_push: interrupts the driver if the queue wants it. */
void virtio_queue_done(struct virtio_device *dev, unsigned index);

/* The configuration changed: new generation, configuration interrupt. */
void virtio_config_changed(struct virtio_device *dev);

/* A queue broke or the driver did what it must not: DEVICE_NEEDS_RESET. */
void virtio_needs_reset(struct virtio_device *dev);

/* ops->poll is to be called at the next service. */
void virtio_ask_service(struct virtio_device *dev);

#endif
