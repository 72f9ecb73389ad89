/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue as its device sees it (VIRTIO 1.2 2.7), trusting nothing of the guest: every
 * index, address, length and chain is checked before it is used, and read once. What breaks a MUST
 * of the driver's makes the queue broken: the device then sets DEVICE_NEEDS_RESET and serves it no
 * more until a reset.
 *
 * Called at service time only (between instructions, board lock held, on the vCPU's thread), so
 * memory may be taken and given back here.
 */
#ifndef UMBRA_MACHINE_VIRTIO_QUEUE_H
#define UMBRA_MACHINE_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/mem.h"

#define VIRTQ_SIZE_MAX 256
/* A chain longer than the queue is a loop; with indirect tables it may be as long as this. */
#define VIRTQ_CHAIN_MAX 1024

/* One buffer of a chain. Readable ones (driver to device) come first, then the writable. */
struct virtq_buffer {
    gpa_t gpa;
    uint32_t bytes;
};

/*
 * head:     descriptor index, given back with virtq_push
 * readable: buffers[0 .. readable-1] may be read, the rest may be written
 */
struct virtq_chain {
    uint16_t head;
    unsigned count, readable;
    uint64_t readable_bytes, writable_bytes;
    struct virtq_buffer buffers[VIRTQ_CHAIN_MAX];
};

struct virtq {
    struct guest_mem *mem;
    uint16_t size; /* 0 or a power of two up to VIRTQ_SIZE_MAX */
    bool enabled, broken;
    bool event_idx;
    gpa_t desc, avail, used;
    uint16_t next_avail, next_used;
    uint16_t signalled_used; /* event index: used index at the last interrupt */
    bool signalled_valid;
    const char *why_broken;
};

enum virtq_pop { VIRTQ_EMPTY, VIRTQ_CHAIN, VIRTQ_BROKEN };

enum virtq_pop virtq_pop(struct virtq *q, struct virtq_chain *out);

/* Gives a chain back with so many bytes written into its writable part. False: the queue broke. */
bool virtq_push(struct virtq *q, uint16_t head, uint32_t written_bytes);

/* After pushes: must the driver be interrupted (VIRTIO 1.2 2.7.7, 2.7.10)? */
bool virtq_wants_interrupt(struct virtq *q);

/* The device found the driver at fault inside a chain: broken, with static text. */
void virtq_break(struct virtq *q, const char *why);

/*
 * Copies of a chain's readable or writable part from offset on, across buffers. Answer false only
 * when the host failed or it is not RAM (a range was checked at pop: RAM then is RAM now).
 */
bool virtq_read(struct virtq *q, const struct virtq_chain *chain, uint64_t offset, void *buf,
                size_t bytes) MUST_USE;
bool virtq_write(struct virtq *q, const struct virtq_chain *chain, uint64_t offset, const void *buf,
                 size_t bytes) MUST_USE;

#endif
