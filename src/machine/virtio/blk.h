/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk (VIRTIO 1.2 5.2) on a raw image: read, write, flush, discard, write zeroes, get id. */
#ifndef UMBRA_MACHINE_VIRTIO_BLK_H
#define UMBRA_MACHINE_VIRTIO_BLK_H

#include "base/stats.h"
#include "machine/disk.h"
#include "machine/virtio/virtio.h"

/* clang-format off */
#define BLK_COUNTERS(X)                                                                            \
    X(reads,          "reads")                                                                     \
    X(read_bytes,     "bytes read")                                                                \
    X(writes,         "writes")                                                                    \
    X(write_bytes,    "bytes written")                                                             \
    X(flushes,        "flushes")                                                                   \
    X(discards,       "discards")                                                                  \
    X(zeroes,         "requests to write zeroes")                                                  \
    X(errors,         "requests that failed")                                                      \
    X(unsupported,    "requests of unknown types")
/* clang-format on */

struct blk_stats {
    BLK_COUNTERS(STATS_FIELD)
};

struct blk;

/*
 * number: the disk's, for mem/image.h.  at_once: each request is finished before its service
 * returns, so that guest time alone decides what the guest sees (CLOCK_INSTRUCTIONS).
 * The device owns the disk from now on.
 */
struct blk_config {
    struct disk *disk;
    unsigned number;
    bool at_once;
    struct guest_mem *mem;
};
enum err blk_create(struct blk **out, const struct blk_config *config) MUST_USE;
extern const struct virtio_ops blk_ops; /* arg: struct blk */
void blk_attach(struct blk *blk, struct virtio_device *dev);
const struct blk_stats *blk_stats(const struct blk *blk);

#endif
