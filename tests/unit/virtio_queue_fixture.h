/* SPDX-License-Identifier: Apache-2.0 */
/* The echo device with live queues, for tests that work their rings. */
#ifndef UMBRA_TESTS_UNIT_VIRTIO_QUEUE_FIXTURE_H
#define UMBRA_TESTS_UNIT_VIRTIO_QUEUE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtio_driver.h"
#include "virtio_echo.h"

#define MEMORY     (UINT64_C(8) << 20)
#define QUEUE_SIZE 8
#define BASIC      VIRTIO_F_VERSION_1
#define EVERYTHING (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)

struct fixture {
    struct driver d;
    struct echo echo;
};

static inline void start_sized(struct fixture *f, uint64_t features, uint64_t memory)
{
    memset(&f->echo, 0, sizeof(f->echo));
    driver_start(&f->d, memory);
    driver_plug(&f->d, &echo_ops, &f->echo);
    f->echo.dev = f->d.dev;
    assert_true(driver_negotiate(&f->d, features));
    for (unsigned i = 0; i < ECHO_QUEUES; i++)
        driver_queue(&f->d, i, QUEUE_SIZE, DRIVER_NO_VECTOR);
    driver_ok(&f->d);
}

static inline void start(struct fixture *f, uint64_t features)
{
    start_sized(f, features, MEMORY);
}

static inline void stop(struct fixture *f)
{
    driver_stop(&f->d);
}

static inline bool is_broken(struct fixture *f)
{
    return driver_status(&f->d) & VIRTIO_DEVICE_NEEDS_RESET;
}

static inline struct virtq_buffer make_buffer(struct fixture *f, uint32_t bytes)
{
    return (struct virtq_buffer){driver_alloc(&f->d, bytes, 1), bytes};
}

/* One readable and one writable buffer of so many bytes. */
static inline void add_echo(struct fixture *f, uint32_t bytes, struct virtq_buffer out[2])
{
    out[0] = make_buffer(f, bytes);
    out[1] = make_buffer(f, bytes);
    driver_add(&f->d, 0, out, 1, 1);
}

static inline void write_desc(struct fixture *f, unsigned index, uint64_t addr, uint32_t len,
                              uint16_t flags, uint16_t next)
{
    struct driver_desc desc = {addr, len, flags, next};

    driver_put(&f->d, driver_desc_at(&f->d.queue[0], index), &desc, sizeof(desc));
}

/* The driver did something wrong: nothing comes back, and the device says so. */
static inline void assert_breaks(struct fixture *f)
{
    uint32_t head, written;

    driver_kick(&f->d, 0);
    assert_true(is_broken(f));
    assert_false(driver_used(&f->d, 0, &head, &written));
    assert_non_null(f->d.dev->queue[0].why_broken);
}

static inline void assert_works(struct fixture *f)
{
    uint32_t head, written;

    driver_kick(&f->d, 0);
    assert_false(is_broken(f));
    assert_true(driver_used(&f->d, 0, &head, &written));
}

static inline void put_indirect(struct fixture *f, uint64_t table, uint32_t len, uint16_t flags)
{
    write_desc(f, 0, table, len, (uint16_t)(DRIVER_DESC_INDIRECT | flags), 1);
    write_desc(f, 1, 0x100000, 16, 0, 0);
    driver_make_available(&f->d, 0, 0);
}

#endif
