/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A balloon device on a small guest memory, and the driver's side of it without a CPU: rings and
 * buffers written where a driver would. Shared by the unit tests and the fuzzer.
 *
 *   pages 16 .. 30    rings: of queue i the descriptors at 16 + 3 i, available and used after them
 *   pages 32 .. 63    buffers of the tests
 *   pages 64 ..       "the guest's own"
 */
#ifndef TESTS_UNIT_BALLOON_DRIVER_H
#define TESTS_UNIT_BALLOON_DRIVER_H

#include <string.h>

#include "base/invariant.h"
#include "machine/virtio/balloon.h"
#include "machine/virtio/virtio.h"
#include "mem/balloon.h"
#include "mem/mem.h"

#define BD_BYTES      (UINT64_C(32) << 20)
#define BD_PAGES      (BD_BYTES / PAGE_SIZE)
#define BD_QUEUE_SIZE 16
#define BD_BUFFERS    (UINT64_C(32) * PAGE_SIZE)
#define BD_OWN        UINT64_C(64)

enum { BD_INFLATE, BD_DEFLATE, BD_STATS, BD_HINT, BD_REPORT, BD_QUEUES };

#define BD_F_STATS   (UINT64_C(1) << 1)
#define BD_F_OOM     (UINT64_C(1) << 2)
#define BD_F_HINT    (UINT64_C(1) << 3)
#define BD_F_POISON  (UINT64_C(1) << 4)
#define BD_F_REPORT  (UINT64_C(1) << 5)
#define BD_F_DEFAULT (VIRTIO_F_VERSION_1 | BD_F_STATS | BD_F_OOM | BD_F_HINT | BD_F_REPORT)

struct bd_buffer {
    uint64_t gpa;
    uint32_t bytes;
    bool writable;
};

struct bd {
    struct guest_mem *mem;
    struct balloon *balloon;
    struct virtio_device dev;
    uint16_t avail[BD_QUEUES];
    unsigned next_desc[BD_QUEUES];
    unsigned queue_interrupts[BD_QUEUES], config_interrupts, changes, services;
    bool service_wanted;
};

static inline void bd_on_queue(void *arg, unsigned index)
{
    ((struct bd *)arg)->queue_interrupts[index]++;
}

static inline void bd_on_config(void *arg)
{
    ((struct bd *)arg)->config_interrupts++;
}

static inline void bd_on_service(void *arg)
{
    ((struct bd *)arg)->service_wanted = true;
}

static inline void bd_on_changed(void *arg)
{
    ((struct bd *)arg)->changes++;
}

static inline enum err bd_open(struct bd *d)
{
    const struct virtio_transport transport = {
        .arg = d,
        .queue_interrupt = bd_on_queue,
        .config_interrupt = bd_on_config,
        .service_wanted = bd_on_service,
    };
    struct balloon_config config = {
        .memory_pages = BD_PAGES,
        .arg = d,
        .changed = bd_on_changed,
    };
    enum err err;

    *d = (struct bd){0};
    err = mem_create(&d->mem, BD_BYTES);
    if (err)
        return err;
    config.mem = d->mem;
    err = balloon_create(&d->balloon, &config);
    if (err)
        return err;
    virtio_init(&d->dev, &balloon_ops, d->balloon, d->mem, &transport);
    balloon_attach(d->balloon, &d->dev);
    return ERR_OK;
}

static inline void bd_close(struct bd *d)
{
    balloon_ops.destroy(d->balloon);
    mem_destroy(d->mem);
}

static inline uint64_t bd_ring(unsigned queue, unsigned part)
{
    return (16 + 3 * (uint64_t)queue + part) * PAGE_SIZE;
}

static inline void bd_enable(struct bd *d, unsigned queue)
{
    struct virtq *q = &d->dev.queue[queue];

    q->size = BD_QUEUE_SIZE;
    q->desc = gpa_make(bd_ring(queue, 0));
    q->avail = gpa_make(bd_ring(queue, 1));
    q->used = gpa_make(bd_ring(queue, 2));
    d->avail[queue] = 0;
    d->next_desc[queue] = 0;
    invariant(mem_fill_zero(d->mem, q->desc, 3 * PAGE_SIZE));
    virtio_enable_queue(&d->dev, queue);
}

/* Everything up to DRIVER_OK. False: the features were refused. */
static inline bool bd_start(struct bd *d, uint64_t features)
{
    virtio_set_status(&d->dev, 0);
    virtio_set_status(&d->dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    virtio_set_driver_features(&d->dev, features);
    virtio_set_status(&d->dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    if (!(d->dev.status & VIRTIO_FEATURES_OK))
        return false;
    for (unsigned i = 0; i < BD_QUEUES; i++)
        bd_enable(d, i);
    virtio_set_status(&d->dev,
                      VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
    return true;
}

/* Makes a chain available without a notification. */
static inline void bd_add(struct bd *d, unsigned queue, const struct bd_buffer *buffers,
                          unsigned count)
{
    struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } desc;
    unsigned first = d->next_desc[queue] % BD_QUEUE_SIZE;
    uint16_t head = (uint16_t)first;
    uint64_t slot = d->avail[queue] % BD_QUEUE_SIZE;

    for (unsigned i = 0; i < count; i++) {
        unsigned at = (first + i) % BD_QUEUE_SIZE;

        desc.addr = buffers[i].gpa;
        desc.len = buffers[i].bytes;
        desc.flags = (uint16_t)((i + 1 < count ? 1 : 0) | (buffers[i].writable ? 2 : 0));
        desc.next = (uint16_t)((at + 1) % BD_QUEUE_SIZE);
        invariant(
            mem_write(d->mem, gpa_make(bd_ring(queue, 0) + 16 * (uint64_t)at), &desc, sizeof desc));
    }
    d->next_desc[queue] += count;
    d->avail[queue]++;
    invariant(mem_write(d->mem, gpa_make(bd_ring(queue, 1) + 4 + 2 * slot), &head, 2));
    invariant(mem_write(d->mem, gpa_make(bd_ring(queue, 1) + 2), &d->avail[queue], 2));
}

/* One look at the device, as between two instructions. False: it wanted none. */
static inline bool bd_service(struct bd *d)
{
    bool wanted = d->service_wanted;

    d->service_wanted = false;
    if (wanted) {
        d->services++;
        virtio_service(&d->dev);
    }
    return wanted;
}

/* Until it is quiet. */
static inline void bd_settle(struct bd *d)
{
    for (unsigned i = 0; i < 100000 && bd_service(d); i++)
        ;
}

static inline void bd_send(struct bd *d, unsigned queue, const struct bd_buffer *buffers,
                           unsigned count)
{
    bd_add(d, queue, buffers, count);
    virtio_notify(&d->dev, queue);
    bd_settle(d);
}

static inline uint16_t bd_used(struct bd *d, unsigned queue)
{
    uint16_t idx = 0;

    invariant(mem_read(d->mem, gpa_make(bd_ring(queue, 2) + 2), &idx, 2));
    return idx;
}

/* An array of frame numbers in the test's buffers. */
static inline void bd_send_pfns(struct bd *d, unsigned queue, const uint32_t *pfns, unsigned count)
{
    const struct bd_buffer buffer = {BD_BUFFERS, 4 * count, false};

    invariant(mem_write(d->mem, gpa_make(BD_BUFFERS), pfns, 4 * (size_t)count));
    bd_send(d, queue, &buffer, 1);
}

static inline void bd_send_run(struct bd *d, unsigned queue, uint32_t first, unsigned count)
{
    uint32_t pfns[1024];

    for (unsigned done = 0; done < count;) {
        unsigned n = count - done < 1024 ? count - done : 1024;

        for (unsigned i = 0; i < n; i++)
            pfns[i] = first + done + i;
        bd_send_pfns(d, queue, pfns, n);
        done += n;
    }
}

static inline uint32_t bd_config(struct bd *d, unsigned word)
{
    uint32_t value;

    virtio_config_read(&d->dev, 4 * (uint64_t)word, &value, 4);
    return value;
}

static inline void bd_set_config(struct bd *d, unsigned word, uint32_t value)
{
    virtio_config_write(&d->dev, 4 * (uint64_t)word, &value, 4);
}

enum { BD_NUM_PAGES, BD_ACTUAL, BD_CMD_ID, BD_POISON };

#endif
