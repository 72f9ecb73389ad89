/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all virtio devices share: status, features, configuration (VIRTIO 1.2 2.1 to 2.5, 3.1, 6).
 * docs/virtio.md names these tests, clause by clause.
 */
#include "virtio_pci_fixture.h"

/* ---- status, features ---- */

/* 2.1.2, 2.4.1, 4.1.4.3.1: a write of 0 resets, and 0 is read after it. */
static void status_is_zero_after_reset(void **state)
{
    struct fixture f;

    (void)state;
    start_live(&f);
    assert_int_equal(driver_status(&f.d), 15);
    f.echo.resets = 0;
    driver_common_write(&f.d, COMMON_STATUS, 1, 0);
    assert_int_equal(driver_status(&f.d), 0);
    assert_int_equal(f.echo.resets, 1);
    for (unsigned i = 0; i < ECHO_QUEUES; i++) {
        driver_common_write(&f.d, COMMON_QUEUE_SELECT, 2, i);
        assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_ENABLE, 2), 0);
        assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_VECTOR, 2), DRIVER_NO_VECTOR);
        assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_SIZE, 2), ECHO_QUEUE_SIZE);
        assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_DESC, 4), 0);
    }
    assert_int_equal(driver_common_read(&f.d, COMMON_CONFIG_VECTOR, 2), DRIVER_NO_VECTOR);
    stop(&f);
}

/* 2.4.1: after a reset nothing is told and no queue is touched, whatever was notified before. */
static void silent_after_reset(void **state)
{
    struct fixture f;

    (void)state;
    start_live(&f);
    driver_enable_msix(&f.d, ECHO_QUEUES + 1);
    add(&f, 0);
    driver_write(&f.d, f.d.table + 12, 4, 1);
    virtio_config_changed(f.d.dev); /* masked: waits */
    driver_notify(&f.d, 0);
    virtio_ask_service(f.d.dev);
    driver_common_write(&f.d, COMMON_STATUS, 1, 0);
    driver_write(&f.d, f.d.table + 12, 4, 0);
    driver_serve(&f.d);
    virtio_config_changed(f.d.dev);
    /* nor when the driver is there again, which has asked for nothing yet */
    assert_true(driver_negotiate(&f.d, BASIC));
    f.d.queue[0].avail_idx = 0;
    driver_place_queue(&f.d, 0, SIZE, f.d.queue[0].desc, f.d.queue[0].avail, f.d.queue[0].used);
    driver_ok(&f.d);
    driver_serve(&f.d);
    assert_int_equal(f.echo.chains, 0);
    assert_int_equal(f.echo.polls, 0);
    assert_int_equal(f.d.messages, 0);
    assert_false(f.d.intx);
    stop(&f);
}

/* 2.1.2: no buffer is consumed and nothing is told before DRIVER_OK; then what was notified is. */
static void nothing_before_driver_ok(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    assert_true(driver_negotiate(&f.d, BASIC));
    driver_queue(&f.d, 0, SIZE, 0);
    virtio_config_changed(f.d.dev);
    kick_one(&f, 0);
    assert_int_equal(f.echo.chains, 0);
    assert_false(f.d.intx);
    driver_ok(&f.d);
    assert_int_equal(f.echo.oks, 1);
    assert_int_equal(f.d.wanted, 1);
    driver_serve(&f.d);
    assert_int_equal(f.echo.chains, 1);
    assert_true(f.d.intx);
    stop(&f);
}

/* 2.1.1 (driver): a status bit is never cleared but by a reset. */
static void status_bits_stay(void **state)
{
    struct fixture f;

    (void)state;
    start_live(&f);
    driver_common_write(&f.d, COMMON_STATUS, 1, VIRTIO_ACKNOWLEDGE);
    assert_int_equal(driver_status(&f.d), 15);
    driver_common_write(&f.d, COMMON_STATUS, 1, 0xff);
    assert_int_equal(driver_status(&f.d), 15 | VIRTIO_FAILED); /* NEEDS_RESET is the device's */
    stop(&f);
}

/* 2.1.2: DEVICE_NEEDS_RESET with DRIVER_OK is a configuration change, told once; queues stand. */
static void needs_reset_is_notified(void **state)
{
    struct fixture f;

    (void)state;
    start_live(&f);
    driver_enable_msix(&f.d, ECHO_QUEUES + 1);
    virtio_needs_reset(f.d.dev);
    virtio_needs_reset(f.d.dev);
    assert_int_equal(f.d.messages, 1);
    assert_int_equal(f.d.last_message.vector, 0x40);
    assert_true(driver_status(&f.d) & VIRTIO_DEVICE_NEEDS_RESET);
    kick_one(&f, 0);
    assert_int_equal(f.echo.chains, 0);
    driver_common_write(&f.d, COMMON_STATUS, 1, 0);
    assert_int_equal(driver_status(&f.d), 0);
    stop(&f);
}

/* What broke before DRIVER_OK is told when the driver can hear it. */
static void needs_reset_is_told_at_driver_ok(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    assert_true(driver_negotiate(&f.d, BASIC));
    driver_place_queue(&f.d, 0, SIZE, gpa_make(8), gpa_make(0), gpa_make(0));
    assert_true(driver_status(&f.d) & VIRTIO_DEVICE_NEEDS_RESET);
    assert_false(f.d.intx);
    driver_ok(&f.d);
    assert_true(f.d.intx);
    stop(&f);
}

/* 6.2: VERSION_1 is offered; 4.1.4.3.1: features by select, 0 for any other select. */
static void features_are_offered_by_word(void **state)
{
    struct fixture f;
    static const uint32_t beyond[] = {2, 3, 0x80000000, 0xffffffff};

    (void)state;
    start(&f);
    assert_true(driver_offered(&f.d) == (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX |
                                         VIRTIO_F_INDIRECT_DESC | ECHO_F_ONE | ECHO_F_TWO));
    for (unsigned i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
        driver_common_write(&f.d, COMMON_DEVICE_SELECT, 4, beyond[i]);
        assert_int_equal(driver_common_read(&f.d, COMMON_DEVICE_FEATURE, 4), 0);
        driver_common_write(&f.d, COMMON_DRIVER_SELECT, 4, beyond[i]);
        driver_common_write(&f.d, COMMON_DRIVER_FEATURE, 4, 0xffffffff);
        assert_int_equal(driver_common_read(&f.d, COMMON_DRIVER_FEATURE, 4), 0);
    }
    stop(&f);
}

/* 4.1.4.3.1: what the driver has written is read back. */
static void driver_features_are_presented(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    assert_true(driver_negotiate(&f.d, BASIC | ECHO_F_ONE));
    driver_common_write(&f.d, COMMON_DRIVER_SELECT, 4, 1);
    assert_int_equal(driver_common_read(&f.d, COMMON_DRIVER_FEATURE, 4), 1);
    driver_common_write(&f.d, COMMON_DRIVER_SELECT, 4, 0);
    assert_int_equal(driver_common_read(&f.d, COMMON_DRIVER_FEATURE, 4), ECHO_F_ONE);
    /* 2.2: only a reset lets the driver choose again */
    driver_common_write(&f.d, COMMON_DRIVER_FEATURE, 4, 0);
    assert_int_equal(driver_common_read(&f.d, COMMON_DRIVER_FEATURE, 4), ECHO_F_ONE);
    assert_true(virtio_has(f.d.dev, ECHO_F_ONE));
    stop(&f);
}

/* 2.2.1 (driver), 2.2.2: FEATURES_OK stays clear for what was not offered, or lacks VERSION_1. */
static void features_not_offered_are_refused(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    assert_false(driver_negotiate(&f.d, BASIC | UINT64_C(1) << 5));
    assert_false(driver_negotiate(&f.d, BASIC | UINT64_C(1) << 34));
    assert_false(driver_negotiate(&f.d, ECHO_F_ONE));
    assert_false(driver_negotiate(&f.d, 0));
    driver_ok(&f.d); /* without FEATURES_OK it is not */
    assert_false(driver_status(&f.d) & VIRTIO_DRIVER_OK);
    assert_int_equal(f.echo.oks, 0);
    assert_true(driver_negotiate(&f.d, BASIC));
    assert_true(driver_negotiate(&f.d, driver_offered(&f.d)));
    stop(&f);
}

/* 2.2.1 (driver): no feature without the one it requires. */
static void device_refuses_a_set(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    assert_false(driver_negotiate(&f.d, BASIC | ECHO_F_TWO));
    assert_true(driver_negotiate(&f.d, BASIC | ECHO_F_TWO | ECHO_F_ONE));
    stop(&f);
}

/* ---- device configuration ---- */

/* 2.5.2: readable before FEATURES_OK; 4.1.3.2: both halves of 64 bits; nothing beyond its end. */
static void config_is_readable_early(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    for (uint8_t i = 0; i < ECHO_CONFIG_BYTES; i++)
        f.echo.config[i] = (uint8_t)(i + 1);
    assert_int_equal(driver_read(&f.d, f.d.config, 4), 0x04030201);
    assert_int_equal(driver_read(&f.d, f.d.config + 4, 4), 0x08070605);
    assert_int_equal(driver_read(&f.d, f.d.config + 9, 1), 0x0a);
    assert_int_equal(driver_read(&f.d, f.d.config + 10, 4), 0x0c0b);
    assert_int_equal(driver_read(&f.d, f.d.config + ECHO_CONFIG_BYTES, 4), 0);
    assert_int_equal(driver_read(&f.d, f.d.config + 0xff8, 8), 0);
    driver_write(&f.d, f.d.config + 2, 2, 0xbeef);
    assert_int_equal(driver_read(&f.d, f.d.config, 4), 0xbeef0201);
    driver_write(&f.d, f.d.config + 10, 4, 0); /* half outside */
    assert_int_equal(driver_read(&f.d, f.d.config + 10, 2), 0x0c0b);
    stop(&f);
}

/* 4.1.4.3.1: after something new was read the generation is another, also after 256 changes. */
static void generation_changes_with_what_is_read(void **state)
{
    struct fixture f;
    uint64_t before;

    (void)state;
    start_live(&f);
    before = driver_common_read(&f.d, COMMON_GENERATION, 1);
    driver_read(&f.d, f.d.config, 4);
    assert_int_equal(driver_common_read(&f.d, COMMON_GENERATION, 1), before);
    for (unsigned i = 0; i < 256; i++)
        virtio_config_changed(f.d.dev);
    driver_read(&f.d, f.d.config, 4);
    assert_int_not_equal(driver_common_read(&f.d, COMMON_GENERATION, 1), before);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_is_zero_after_reset),
        cmocka_unit_test(silent_after_reset),
        cmocka_unit_test(nothing_before_driver_ok),
        cmocka_unit_test(status_bits_stay),
        cmocka_unit_test(needs_reset_is_notified),
        cmocka_unit_test(needs_reset_is_told_at_driver_ok),
        cmocka_unit_test(features_are_offered_by_word),
        cmocka_unit_test(driver_features_are_presented),
        cmocka_unit_test(features_not_offered_are_refused),
        cmocka_unit_test(device_refuses_a_set),
        cmocka_unit_test(config_is_readable_early),
        cmocka_unit_test(generation_changes_with_what_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
