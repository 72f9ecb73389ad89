/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the balloon*.c files only: device, pages, statistics. */
#ifndef UMBRA_MACHINE_VIRTIO_BALLOON_PRIVATE_H
#define UMBRA_MACHINE_VIRTIO_BALLOON_PRIVATE_H

#include "base/clock.h"
#include "machine/virtio/balloon.h"

/* Feature bits (VIRTIO 1.2 5.5.3). */
#define BALLOON_F_STATS_VQ       (UINT64_C(1) << 1)
#define BALLOON_F_DEFLATE_ON_OOM (UINT64_C(1) << 2)
#define BALLOON_F_FREE_PAGE_HINT (UINT64_C(1) << 3)
#define BALLOON_F_PAGE_POISON    (UINT64_C(1) << 4)
#define BALLOON_F_REPORTING      (UINT64_C(1) << 5)

/* Queues (5.5.2): numbers that do not move when a feature is not negotiated. */
enum balloon_queue {
    BALLOON_INFLATE,
    BALLOON_DEFLATE,
    BALLOON_STATS,
    BALLOON_HINT,
    BALLOON_REPORT,
    BALLOON_QUEUES
};

/* Reserved command ids of free page hinting (5.5.6.5). */
#define BALLOON_CMD_STOP 0
#define BALLOON_CMD_DONE 1

/* The device's configuration (5.5.4), little-endian as the host is. */
struct balloon_registers {
    uint32_t num_pages;
    uint32_t actual;
    uint32_t hint_cmd_id;
    uint32_t poison_val;
};

/*
 * A chain that is being worked on: one may be longer than a service's share of work.
 * buffer, done: how far: index of the buffer; pages of it, or PFNs of the whole readable part
 */
struct balloon_work {
    bool busy;
    unsigned buffer;
    uint64_t done;
    struct virtq_chain chain;
};

/*
 * Invariants
 *   B1  target survives resets of driver and machine; all else the driver has told does not
 *   B2  work[i].busy: its chain is in flight, and no other of queue i is
 *   B3  stats_held: the chain stats.head is in flight, kept to ask the driver with it
 *   B4  pages hinted under a command id are looked at only while hint_cmd_id is that id
 */
struct balloon {
    struct balloon_config config;
    struct virtio_device *dev;
    struct balloon_registers reg;
    uint32_t poison_val; /* as it was at DRIVER_OK */
    uint64_t moved_ns;

    struct balloon_work work[BALLOON_QUEUES];
    uint64_t held_pages; /* inflated, but not flushed to the host yet */

    bool stats_held, stats_wanted;
    struct balloon_guest_stats stats;

    uint32_t hint_last_id; /* the newest id that was given out */
    bool hint_started;     /* the driver has begun with hint_cmd_id */
};

/* A driver that inflates sends 1 MiB a chain: several of them make runs worth giving back. */
#define BALLOON_HOLD_PAGES 1024

/* balloon_pages.c: one service of a queue of pages. */
void balloon_serve_pages(struct balloon *b, enum balloon_queue index);
void balloon_pages_reset(struct balloon *b);

/* balloon_stats.c */
void balloon_serve_stats(struct balloon *b);
void balloon_poll_stats(struct balloon *b);
void balloon_stats_reset(struct balloon *b);

#endif
