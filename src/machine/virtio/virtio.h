/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all virtio devices share: status, features, queues, configuration, interrupts (VIRTIO 1.2 2
 * and 3), behind a modern PCI function with MSI-X (4.1, virtio_pci.c here). A device is a table of
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
 * config_bytes: size of the device's configuration; read and write never leave it. NULL: reads as
 *               zeros, swallows writes
 *
 * features_ok: may refuse a set of features (NULL: any subset of the offered is fine)
 * driver_ok:   the driver is ready: queues may be used from now on
 * service:     queue `index` was notified (once for any number of notifications)
 *              VIRTQ_STALLED or a broken queue: just return, virtio does the rest
 * poll:        something else asked for service (virtio_ask_service); may be NULL
 * destroy:     the device goes; nothing of it is used after
 * reset:       back to power-on; may be NULL; requests in flight are forgotten or finished before
 *              it returns
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

/* How a device reaches its driver: the transport's functions. */
struct virtio_transport {
    void *arg;
    void (*queue_interrupt)(void *arg, unsigned index);
    void (*config_interrupt)(void *arg);
    void (*service_wanted)(void *arg);
};

/* Public because devices embed nothing but read these. */
struct virtio_device {
    const struct virtio_ops *ops;
    void *arg;
    uint8_t status;
    uint8_t config_generation;
    bool config_moved; /* since the driver last read of it */
    uint64_t driver_features;
    struct virtq queue[VIRTIO_QUEUES_MAX];
    /* virtio's own */
    struct guest_mem *mem;
    struct virtio_transport transport;
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

/* For transports: arg is the device's own. */
void virtio_init(struct virtio_device *dev, const struct virtio_ops *ops, void *arg,
                 struct guest_mem *mem, const struct virtio_transport *transport);
void virtio_reset(struct virtio_device *dev);
uint64_t virtio_offered(const struct virtio_device *dev);
/* The driver writes the status: 0 resets; a step that must not be made is not made. */
void virtio_set_status(struct virtio_device *dev, uint8_t value);
void virtio_set_driver_features(struct virtio_device *dev, uint64_t features);
void virtio_enable_queue(struct virtio_device *dev, unsigned index);
void virtio_notify(struct virtio_device *dev, unsigned index);
/* Inside the device's configuration; what lies outside reads as 0 and swallows writes. */
void virtio_config_read(struct virtio_device *dev, uint64_t offset, void *buf, size_t bytes);
void virtio_config_write(struct virtio_device *dev, uint64_t offset, const void *buf, size_t bytes);
/* Serves what was notified or asked. */
void virtio_service(struct virtio_device *dev);

/* For devices. After virtq_push: interrupts the driver if the queue wants it. */
void virtio_queue_done(struct virtio_device *dev, unsigned index);

/* The configuration changed: new generation, configuration interrupt. */
void virtio_config_changed(struct virtio_device *dev);

/* The driver did what it must not: DEVICE_NEEDS_RESET. A broken queue needs no call. */
void virtio_needs_reset(struct virtio_device *dev);

/* ops->poll is to be called at the next service. */
void virtio_ask_service(struct virtio_device *dev);

#endif
