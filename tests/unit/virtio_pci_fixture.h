/* SPDX-License-Identifier: Apache-2.0 */
/* The echo device behind PCI, driven by the tests' driver. */
#ifndef UMBRA_TESTS_UNIT_VIRTIO_PCI_FIXTURE_H
#define UMBRA_TESTS_UNIT_VIRTIO_PCI_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtio_driver.h"
#include "virtio_echo.h"

#define MEMORY (UINT64_C(4) << 20)
#define SIZE   8
#define BASIC  VIRTIO_F_VERSION_1

struct fixture {
    struct driver d;
    struct echo echo;
};

static inline void start(struct fixture *f)
{
    memset(&f->echo, 0, sizeof(f->echo));
    driver_start(&f->d, MEMORY);
    driver_plug(&f->d, &echo_ops, &f->echo);
    f->echo.dev = f->d.dev;
}

/* With MSI-X, queue i sends vector i + 1, configuration changes send vector 0. */
static inline void start_live(struct fixture *f)
{
    start(f);
    assert_true(driver_negotiate(&f->d, BASIC));
    for (uint16_t i = 0; i < ECHO_QUEUES; i++)
        driver_queue(&f->d, i, SIZE, (uint16_t)(i + 1));
    driver_common_write(&f->d, COMMON_CONFIG_VECTOR, 2, 0);
    driver_ok(&f->d);
}

static inline void stop(struct fixture *f)
{
    driver_stop(&f->d);
    assert_int_equal(f->echo.destroyed, 1);
}

static inline void add(struct fixture *f, unsigned queue)
{
    struct virtq_buffer b[2] = {{driver_alloc(&f->d, 16, 1), 16}, {driver_alloc(&f->d, 16, 1), 16}};

    driver_add(&f->d, queue, b, 1, 1);
}

static inline void kick_one(struct fixture *f, unsigned queue)
{
    add(f, queue);
    driver_kick(&f->d, queue);
}

#endif
