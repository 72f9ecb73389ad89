/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio disk on an image of its own, driven through virtio_driver.h. No test framework in here:
 * unit tests and the fuzzer share it.
 */
#ifndef UMBRA_TESTS_UNIT_BLK_RIG_H
#define UMBRA_TESTS_UNIT_BLK_RIG_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/virtio/blk.h"
#include "mem/image.h"
#include "virtio_driver.h"

#define RIG_MEMORY     (UINT64_C(32) << 20)
#define RIG_QUEUE      256
#define RIG_SLOTS      256 /* headers and status bytes, used in turn */
#define RIG_UNTOUCHED  0xee
#define RIG_PAGE_AT(n) gpa_make((UINT64_C(8) << 20) + (n)*UINT64_C(4096))

/* Request types, states and features (VIRTIO 1.2 5.2.3, 5.2.6), spelled again on purpose. */
enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, GET_LIFETIME = 10, DISCARD = 11, ZEROES = 13 };
enum { SECURE_ERASE = 14, ZONE_APPEND = 15, ZONE_REPORT = 16, ZONE_OPEN = 18, ZONE_CLOSE = 20 };
enum { ZONE_FINISH = 22, ZONE_RESET = 24, ZONE_RESET_ALL = 26 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
#define F_SEG_MAX      (UINT64_C(1) << 2)
#define F_RO           (UINT64_C(1) << 5)
#define F_BLK_SIZE     (UINT64_C(1) << 6)
#define F_FLUSH        (UINT64_C(1) << 9)
#define F_TOPOLOGY     (UINT64_C(1) << 10)
#define F_CONFIG_WCE   (UINT64_C(1) << 11)
#define F_DISCARD      (UINT64_C(1) << 13)
#define F_WRITE_ZEROES (UINT64_C(1) << 14)
#define F_ALL          UINT64_MAX

struct rig_header {
    uint32_t type, reserved;
    uint64_t sector;
};

struct rig_segment {
    uint64_t sector;
    uint32_t sectors, flags;
};

/*
 * bytes:     of the image;  features: that the driver takes of those offered
 * in_memory: the image is where nothing waits for a disk, if there is such a place
 * faults:    borrowed
 */
struct rig_config {
    uint64_t bytes, features;
    bool read_only, at_once, in_memory;
    const struct aio_faults *faults;
};

struct rig {
    struct driver d;
    struct aio *aio;
    struct disk *disk;
    struct blk *blk;
    char path[32];
    int fd; /* the test's own look at the image */
    gpa_t headers, states;
    unsigned slot;
    uint32_t written; /* of the newest used element */
};

static inline enum err rig_read_image(void *arg, unsigned disk, uint64_t block, void *buf,
                                      size_t count)
{
    struct rig *rig = arg;

    invariant(!disk);
    return disk_read_now(rig->disk, block * 4096, buf, count * 4096);
}

/* The driver is not started. */
static inline void rig_plug(struct rig *rig, const struct rig_config *config)
{
    const struct mem_image_source source = {.arg = rig, .read = rig_read_image};
    struct blk_config blk = {.at_once = config->at_once};

    *rig = (struct rig){0};
    snprintf(rig->path, sizeof(rig->path), "%s/umbra-blk-XXXXXX",
             config->in_memory && !access("/dev/shm", W_OK) ? "/dev/shm" : "/tmp");
    rig->fd = mkstemp(rig->path);
    invariant(rig->fd >= 0 && !ftruncate(rig->fd, (off_t)config->bytes));
    invariant(aio_create(&rig->aio, 128, config->faults) == ERR_OK);
    invariant(disk_open(&rig->disk, rig->path, config->read_only, rig->aio) == ERR_OK);
    driver_start(&rig->d, RIG_MEMORY);
    mem_set_image_source(rig->d.mem, &source);
    blk.disk = rig->disk;
    blk.mem = rig->d.mem;
    invariant(blk_create(&rig->blk, &blk) == ERR_OK);
    driver_plug(&rig->d, &blk_ops, rig->blk);
    blk_attach(rig->blk, rig->d.dev);
    rig->headers = driver_alloc(&rig->d, RIG_SLOTS * sizeof(struct rig_header), 16);
    rig->states = driver_alloc(&rig->d, RIG_SLOTS, 16);
}

static inline bool rig_negotiate(struct rig *rig, uint64_t features)
{
    return driver_negotiate(&rig->d, VIRTIO_F_VERSION_1 | (features & driver_offered(&rig->d)));
}

static inline void rig_go(struct rig *rig)
{
    driver_queue(&rig->d, 0, RIG_QUEUE, 0);
    driver_ok(&rig->d);
}

static inline void rig_start(struct rig *rig, const struct rig_config *config)
{
    rig_plug(rig, config);
    invariant(rig_negotiate(rig, config->features));
    rig_go(rig);
}

static inline void rig_stop(struct rig *rig)
{
    virtio_pci_destroy(rig->d.vp);
    mem_destroy(rig->d.mem);
    aio_destroy(rig->aio);
    close(rig->fd);
    unlink(rig->path);
}

/*
 * Makes a request of a header, `readable` and `writable` buffers of data and a status byte
 * available; answers the place of its status byte.
 */
static inline unsigned rig_add(struct rig *rig, uint32_t type, uint64_t sector,
                               const struct virtq_buffer *data, unsigned readable,
                               unsigned writable)
{
    const struct rig_header header = {.type = type, .sector = sector};
    const uint8_t untouched = RIG_UNTOUCHED;
    unsigned slot = rig->slot++ % RIG_SLOTS;
    struct virtq_buffer buffers[128];
    unsigned count = 0;

    invariant(readable + writable + 2 <= sizeof(buffers) / sizeof(buffers[0]));
    buffers[count] = (struct virtq_buffer){gpa_add(rig->headers, slot * sizeof(header)), 16};
    driver_put(&rig->d, buffers[count++].gpa, &header, sizeof(header));
    for (unsigned i = 0; i < readable + writable; i++)
        buffers[count++] = data[i];
    buffers[count] = (struct virtq_buffer){gpa_add(rig->states, slot), 1};
    driver_put(&rig->d, buffers[count++].gpa, &untouched, 1);
    driver_add(&rig->d, 0, buffers, readable + 1, writable + 1);
    return slot;
}

static inline unsigned rig_state(struct rig *rig, unsigned slot)
{
    uint8_t state;

    driver_get(&rig->d, gpa_add(rig->states, slot), &state, 1);
    return state;
}

/* Takes what was used; answers how many. */
static inline unsigned rig_take_used(struct rig *rig)
{
    uint32_t head;
    unsigned count = 0;

    while (driver_used(&rig->d, 0, &head, &rig->written))
        count++;
    return count;
}

/* As the machine does it: what completed is reaped and the device is served, until all is done. */
static inline void rig_settle(struct rig *rig)
{
    driver_kick(&rig->d, 0);
    while (aio_in_flight(rig->aio)) {
        aio_drain(rig->aio);
        driver_serve(&rig->d);
    }
    rig_take_used(rig);
}

/* One request with one buffer of data, readable or writable as its type wants; its status. */
static inline unsigned rig_do(struct rig *rig, uint32_t type, uint64_t sector, gpa_t at,
                              uint32_t bytes)
{
    const struct virtq_buffer data = {at, bytes};
    bool in = type == IN || type == GET_ID;
    unsigned slot = rig_add(rig, type, sector, &data, bytes && !in, bytes && in);

    rig_settle(rig);
    return rig_state(rig, slot);
}

/* DISCARD or ZEROES. */
static inline unsigned rig_do_segments(struct rig *rig, uint32_t type,
                                       const struct rig_segment *segments, unsigned count)
{
    gpa_t at = RIG_PAGE_AT(2000);

    driver_put(&rig->d, at, segments, count * sizeof(segments[0]));
    return rig_do(rig, type, 0, at, count * (uint32_t)sizeof(segments[0]));
}

/* Bytes that tell their place. */
static inline uint8_t rig_pattern(uint64_t seed, uint64_t at)
{
    return (uint8_t)((seed * 2654435761u + at) * 2246822519u >> 13 | 1);
}

static inline void rig_fill_guest(struct rig *rig, gpa_t at, uint64_t bytes, uint64_t seed)
{
    uint8_t buf[512];

    for (uint64_t done = 0; done < bytes; done += sizeof(buf)) {
        for (uint64_t i = 0; i < sizeof(buf); i++)
            buf[i] = rig_pattern(seed, done + i);
        driver_put(&rig->d, gpa_add(at, done), buf, sizeof(buf));
    }
}

static inline bool rig_guest_is(struct rig *rig, gpa_t at, uint64_t bytes, uint64_t seed)
{
    uint8_t buf[512];

    for (uint64_t done = 0; done < bytes; done += sizeof(buf)) {
        driver_get(&rig->d, gpa_add(at, done), buf, sizeof(buf));
        for (uint64_t i = 0; i < sizeof(buf); i++) {
            if (buf[i] != rig_pattern(seed, done + i))
                return false;
        }
    }
    return true;
}

static inline void rig_fill_image(struct rig *rig, uint64_t at, uint64_t bytes, uint64_t seed)
{
    uint8_t buf[512];

    for (uint64_t done = 0; done < bytes; done += sizeof(buf)) {
        for (uint64_t i = 0; i < sizeof(buf); i++)
            buf[i] = rig_pattern(seed, done + i);
        invariant(pwrite(rig->fd, buf, sizeof(buf), (off_t)(at + done)) == sizeof(buf));
    }
}

static inline bool rig_image_is(struct rig *rig, uint64_t at, uint64_t bytes, uint64_t seed)
{
    uint8_t buf[512];

    for (uint64_t done = 0; done < bytes; done += sizeof(buf)) {
        invariant(pread(rig->fd, buf, sizeof(buf), (off_t)(at + done)) == sizeof(buf));
        for (uint64_t i = 0; i < sizeof(buf); i++) {
            if (buf[i] != rig_pattern(seed, done + i))
                return false;
        }
    }
    return true;
}

static inline bool rig_image_is_zero(struct rig *rig, uint64_t at, uint64_t bytes)
{
    uint8_t buf[512];

    for (uint64_t done = 0; done < bytes; done += sizeof(buf)) {
        invariant(pread(rig->fd, buf, sizeof(buf), (off_t)(at + done)) == sizeof(buf));
        for (uint64_t i = 0; i < sizeof(buf); i++) {
            if (buf[i])
                return false;
        }
    }
    return true;
}

#endif
