/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue as its device sees it (VIRTIO 1.2 2.7), trusting nothing of the guest: every
 * index, address, length and chain is checked before it is used, and read once. What breaks a MUST
 * of the driver's makes the queue broken: the device then sets DEVICE_NEEDS_RESET and serves it no
 * more until a reset.
 *
 * Rings are guest memory like any other: a page of one may be in the swap file. When the host
 * cannot bring it in now, nothing is lost: pop answers VIRTQ_STALLED and push keeps the chain until
 * virtq_flush succeeds; virtio_service comes back by itself.
 *
 * Invariants
 *   Q1  a head is in flight from its pop to its push and never twice
 *   Q2  pushes reach the used ring in the order in which they were made
 *   Q3  one service pops at most `size` chains, whatever the guest's memory says meanwhile
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
 * No buffer is empty; all are RAM.
 */
struct virtq_chain {
    uint16_t head;
    unsigned count, readable;
    uint64_t readable_bytes, writable_bytes;
    struct virtq_buffer buffers[VIRTQ_CHAIN_MAX];
};

/* A chain that was given back but has not reached the used ring yet. */
struct virtq_done {
    uint16_t head;
    uint32_t written_bytes;
};

struct virtq {
    struct guest_mem *mem;
    uint16_t size; /* a power of two up to VIRTQ_SIZE_MAX */
    bool enabled, broken;
    bool event_idx, indirect;
    gpa_t desc, avail, used;
    uint16_t next_avail, next_used;
    uint16_t signalled_used; /* used index when last asked about an interrupt */
    const char *why_broken;
    /* the queue's own */
    uint16_t budget;     /* Q3 */
    bool again;          /* stalled, or out of budget: to be served again */
    uint16_t seen_avail; /* the driver's index as last looked at */
    uint16_t told_event; /* avail_event as last written */
    bool told_event_valid;
    uint16_t done_count;
    struct virtq_done done[VIRTQ_SIZE_MAX];
    uint64_t in_flight[VIRTQ_SIZE_MAX / 64];
};

/* Back to power-on, with the largest size. */
void virtq_reset(struct virtq *q, struct guest_mem *mem, uint16_t size);

/*
 * After a service: the driver is to notify when it adds another chain, also when the device left
 * some where they are. Of what it has added since the device looked, we are told hereby (again).
 */
void virtq_arm(struct virtq *q);

/* The driver enables it: broken if a ring is misaligned or not RAM (VIRTIO 1.2 2.7, 2.7.2). */
void virtq_enable(struct virtq *q);

/* STALLED: the host cannot bring in what it needs; the same chain comes at a later service. */
enum virtq_pop { VIRTQ_EMPTY, VIRTQ_CHAIN, VIRTQ_BROKEN, VIRTQ_STALLED };

enum virtq_pop virtq_pop(struct virtq *q, struct virtq_chain *out);

/*
 * The chain popped last cannot be served now because the host failed (virtq_read or virtq_write
 * answered false): it comes again at a later service.
 */
void virtq_unpop(struct virtq *q, const struct virtq_chain *chain);

/* Gives a chain back with so many bytes written into its writable part. False: the queue broke. */
bool virtq_push(struct virtq *q, uint16_t head, uint32_t written_bytes);

/* Chains given back that could not be told yet: false when some are left. */
bool virtq_flush(struct virtq *q);

/* After pushes: must the driver be interrupted (VIRTIO 1.2 2.7.7, 2.7.10)? */
bool virtq_wants_interrupt(struct virtq *q);

/* The device found the driver at fault inside a chain: broken, with static text. */
void virtq_break(struct virtq *q, const char *why);

/*
 * Copies of a chain's readable or writable part from offset on, across buffers; the range is inside
 * it (the device's own check). Answer false only when the host failed (a range was checked at pop:
 * RAM then is RAM now).
 */
bool virtq_read(struct virtq *q, const struct virtq_chain *chain, uint64_t offset, void *buf,
                size_t bytes) MUST_USE;
bool virtq_write(struct virtq *q, const struct virtq_chain *chain, uint64_t offset, const void *buf,
                 size_t bytes) MUST_USE;

#endif
