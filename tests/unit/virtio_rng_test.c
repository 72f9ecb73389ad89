/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device (VIRTIO 1.2 5.4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine/virtio/rng.h"
#include "virtio_driver.h"

#define BUFFER_BYTES 256

static void start(struct driver *d)
{
    struct rng *rng;

    driver_start(d, UINT64_C(4) << 20);
    assert_int_equal(rng_create(&rng), ERR_OK);
    driver_plug(d, &rng_ops, rng);
    rng_attach(rng, d->dev);
    assert_true(driver_negotiate(d, VIRTIO_F_VERSION_1));
    driver_queue(d, 0, 8, 0);
    driver_ok(d);
}

static bool is_zero(struct driver *d, gpa_t at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte;

        driver_get(d, gpa_add(at, i), &byte, 1);
        if (byte)
            return false;
    }
    return true;
}

/* 5.4.6.2: one or more random bytes are placed into the buffer. */
static void places_random_bytes(void **state)
{
    struct driver d;
    struct virtq_buffer buffer;
    uint32_t head, written;

    (void)state;
    start(&d);
    buffer = (struct virtq_buffer){driver_alloc(&d, BUFFER_BYTES, 1), BUFFER_BYTES};
    driver_add(&d, 0, &buffer, 0, 1);
    assert_true(is_zero(&d, buffer.gpa, BUFFER_BYTES));
    driver_kick(&d, 0);
    assert_true(driver_used(&d, 0, &head, &written));
    assert_int_equal(head, 0);
    assert_int_equal(written, BUFFER_BYTES);
    assert_false(is_zero(&d, buffer.gpa, BUFFER_BYTES));
    assert_true(d.intx);
    driver_stop(&d);
}

/* 5.4.6.1: buffers are device-writable only; another one breaks the device, and nothing is read. */
static void refuses_a_readable_buffer(void **state)
{
    struct driver d;
    struct virtq_buffer buffers[2];
    uint32_t head, written;

    (void)state;
    for (unsigned writable = 0; writable < 2; writable++) {
        start(&d);
        for (unsigned i = 0; i < 2; i++)
            buffers[i] = (struct virtq_buffer){driver_alloc(&d, BUFFER_BYTES, 1), BUFFER_BYTES};
        driver_add(&d, 0, buffers, 1, writable);
        driver_kick(&d, 0);
        assert_false(driver_used(&d, 0, &head, &written));
        assert_true(driver_status(&d) & VIRTIO_DEVICE_NEEDS_RESET);
        driver_stop(&d);
    }
}

/* The guest cannot make the host work for long: a request of gigabytes gets a page. */
static void gives_a_bounded_number_of_bytes(void **state)
{
    struct driver d;
    struct virtq_buffer buffer;
    uint32_t head, written;

    (void)state;
    start(&d);
    buffer = (struct virtq_buffer){driver_alloc(&d, 1 << 20, 4096), 1 << 20};
    driver_add(&d, 0, &buffer, 0, 1);
    driver_kick(&d, 0);
    assert_true(driver_used(&d, 0, &head, &written));
    assert_int_equal(written, 4096);
    assert_true(is_zero(&d, gpa_add(buffer.gpa, 4096), 4096));
    driver_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_random_bytes),
        cmocka_unit_test(refuses_a_readable_buffer),
        cmocka_unit_test(gives_a_bounded_number_of_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
