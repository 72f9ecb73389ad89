/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon (VIRTIO 1.2 5.5): inflate, deflate, statistics, free page hinting and reporting,
 * deflate on OOM.
 */
#ifndef UMBRA_MACHINE_VIRTIO_BALLOON_H
#define UMBRA_MACHINE_VIRTIO_BALLOON_H

#include "machine/virtio/virtio.h"

/* The guest's own figures: hints, never trusted. bytes, or counts; UINT64_MAX: not told. */
/* clang-format off */
#define BALLOON_GUEST_STATS(X)                                                                     \
    X(0, swap_in,          "stat-swap-in",            "bytes swapped in by the guest")             \
    X(1, swap_out,         "stat-swap-out",           "bytes swapped out by the guest")            \
    X(2, major_faults,     "stat-major-faults",       "major faults in the guest")                 \
    X(3, minor_faults,     "stat-minor-faults",       "minor faults in the guest")                 \
    X(4, free,             "stat-free-memory",        "bytes the guest does not use")              \
    X(5, total,            "stat-total-memory",       "bytes the guest has")                       \
    X(6, available,        "stat-available-memory",   "bytes it could give without swapping")   \
    X(7, caches,           "stat-disk-caches",        "bytes the guest caches of files")           \
    X(8, hugetlb_allocs,   "stat-htlb-pgalloc",       "huge pages allocated")                      \
    X(9, hugetlb_failures, "stat-htlb-pgfail",        "huge pages refused")
/* clang-format on */

struct balloon_guest_stats {
    uint64_t value[10];
    uint64_t updates;    /* how often the guest has told */
    uint64_t updated_ns; /* host monotonic of the last time */
};

/*
 * has_driver:   a driver has said DRIVER_OK
 * target_pages: what the guest was asked to have in its balloon;  actual_pages: what it says it has
 * moved_ns:     host monotonic, when a page last went in or out (for "stuck")
 */
struct balloon_info {
    bool has_driver, has_stats, has_reporting, has_hinting;
    bool is_hinting; /* a round of free page hinting is under way */
    uint64_t target_pages, actual_pages;
    uint64_t moved_ns;
    struct balloon_guest_stats stats;
};

/*
 * memory_pages: size of the guest, the most a target may be
 * no_reporting: free page reporting is not offered;  event hooks are called with the
 * board's lock held and may be NULL
 */
struct balloon_config {
    struct guest_mem *mem;
    uint64_t memory_pages;
    bool no_reporting;
    void *arg;
    void (*changed)(void *arg); /* actual moved: BALLOON_CHANGE */
};

struct balloon;
enum err balloon_create(struct balloon **out, const struct balloon_config *config) MUST_USE;
extern const struct virtio_ops balloon_ops; /* arg: struct balloon */
void balloon_attach(struct balloon *balloon, struct virtio_device *dev);

void balloon_set_target(struct balloon *balloon, uint64_t pages);
void balloon_ask_stats(struct balloon *balloon);
/* Starts one round of free page hinting. False: the driver cannot. */
bool balloon_start_hinting(struct balloon *balloon);
void balloon_get_info(const struct balloon *balloon, struct balloon_info *out);

#endif
