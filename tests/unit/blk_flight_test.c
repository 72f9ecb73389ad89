/* SPDX-License-Identifier: Apache-2.0 */
/* The block device when the host fails, and with requests in flight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "blk_rig.h"

#define MIB   (UINT64_C(1) << 20)
#define IMAGE (UINT64_C(16) << 20)

static const struct rig_config plain = {.bytes = IMAGE, .features = F_ALL};

/* ---- the host fails ---- */

static void host_errors_reach_the_guest(void **state)
{
    const struct aio_fault fault[3] = {
        {AIO_READ, 2, 2, EIO}, {AIO_WRITE, 2, 2, ENOSPC}, {AIO_PUNCH, 1, 1, ENOSPC}};
    const struct aio_faults faults = {fault, 3};
    const struct rig_config config = {.bytes = IMAGE, .features = F_ALL, .faults = &faults};
    const struct rig_segment s = {.sectors = 8};
    struct rig rig;

    (void)state;
    rig_start(&rig, &config);
    for (unsigned i = 1; i <= 3; i++) {
        unsigned expected = i == 2 ? S_IOERR : S_OK;

        assert_int_equal(rig_do(&rig, OUT, 8 * i, RIG_PAGE_AT(0), 4096), expected);
        assert_int_equal(rig_do(&rig, IN, 8 * i, RIG_PAGE_AT(1), 4096), expected);
    }
    assert_int_equal(rig_do_segments(&rig, DISCARD, &s, 1), S_IOERR);
    assert_int_equal(blk_stats(rig.blk)->errors, 3);
    assert_true(mem_check(rig.d.mem));
    rig_stop(&rig);
}

/* The image is cut while in use: no crash, and what was cut off is not made of zeros. */
static void a_short_image_fails(void **state)
{
    const struct rig_segment s = {.sectors = 8};
    struct rig rig;
    struct stat st;

    (void)state;
    rig_start(&rig, &plain);
    rig_fill_image(&rig, 0, 8 * MIB, 3);
    assert_int_equal(ftruncate(rig.fd, 4 * MIB + 512), 0);
    assert_int_equal(rig_do(&rig, IN, 0, RIG_PAGE_AT(0), 4096), S_OK);
    assert_int_equal(rig_do(&rig, IN, 4 * MIB / 512, RIG_PAGE_AT(0), 4096), S_IOERR);
    assert_int_equal(rig_do(&rig, IN, 6 * MIB / 512, RIG_PAGE_AT(0), 4096), S_IOERR);
    assert_int_equal(rig_do(&rig, OUT, 6 * MIB / 512, RIG_PAGE_AT(0), 4096), S_IOERR);
    assert_int_equal(rig_do_segments(&rig, DISCARD, &s, 1), S_IOERR);
    assert_int_equal(fstat(rig.fd, &st), 0);
    assert_int_equal(st.st_size, 4 * MIB + 512);
    rig_stop(&rig);
}

/* ---- requests in flight ---- */

/* More than the buffers hold, all at once. */
static void many_large_requests(void **state)
{
    struct rig rig;
    unsigned slot[80], done;

    (void)state;
    rig_start(&rig, &plain);
    rig_fill_image(&rig, 0, IMAGE, 7);
    for (unsigned i = 0; i < 80; i++) {
        const struct virtq_buffer data = {RIG_PAGE_AT(0), (uint32_t)(i % 7 + 1) << 18};

        slot[i] = rig_add(&rig, IN, 0, &data, 0, 1);
    }
    driver_kick(&rig.d, 0);
    done = rig_take_used(&rig);
    for (unsigned turns = 0; done < 80 && turns < 10000; turns++) {
        aio_drain(rig.aio);
        driver_serve(&rig.d);
        done += rig_take_used(&rig);
    }
    assert_int_equal(done, 80);
    for (unsigned i = 0; i < 80; i++)
        assert_int_equal(rig_state(&rig, slot[i]), S_OK);
    assert_true(rig_guest_is(&rig, RIG_PAGE_AT(0), 7 << 18, 7));
    rig_stop(&rig);
}

static void add_some(struct rig *rig)
{
    for (unsigned i = 0; i < 40; i++) {
        const struct virtq_buffer data = {RIG_PAGE_AT(64 * i), 65536};

        rig_add(rig, i % 2 ? OUT : IN, 128 * i, &data, i % 2, !(i % 2));
    }
    driver_kick(&rig->d, 0);
}

/* 2.4.1: after a reset nothing of before is told or written. */
static void reset_forgets_requests_in_flight(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    rig_fill_image(&rig, 0, IMAGE, 7);
    add_some(&rig);
    driver_common_write(&rig.d, COMMON_STATUS, 1, 0);
    assert_int_equal(aio_in_flight(rig.aio), 0);
    invariant(mem_fill_zero(rig.d.mem, RIG_PAGE_AT(0), 40 * 64 * 4096));
    driver_serve(&rig.d);
    assert_false(rig_guest_is(&rig, RIG_PAGE_AT(0), 65536, 7));
    assert_true(rig_negotiate(&rig, F_ALL));
    rig_go(&rig);
    assert_int_equal(rig_do(&rig, IN, 0, RIG_PAGE_AT(0), 65536), S_OK);
    assert_true(rig_guest_is(&rig, RIG_PAGE_AT(0), 65536, 7));
    assert_true(mem_check(rig.d.mem));
    rig_stop(&rig);
}

/* The machine goes, or starts again, with requests in flight. */
static void the_machine_may_go(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    add_some(&rig);
    virtio_pci_reset(rig.d.vp);
    mem_reset(rig.d.mem);
    assert_true(mem_check(rig.d.mem));
    driver_find(&rig.d);
    rig_stop(&rig);
    rig_start(&rig, &plain);
    add_some(&rig);
    rig_stop(&rig);
}

/* CLOCK_INSTRUCTIONS: what the guest sees is done when its notification has been served. */
static void at_once_is_at_once(void **state)
{
    const struct rig_config config = {.bytes = IMAGE, .features = F_ALL, .at_once = true};
    struct rig rig;

    (void)state;
    rig_start(&rig, &config);
    add_some(&rig);
    assert_int_equal(rig_take_used(&rig), 40);
    assert_int_equal(aio_in_flight(rig.aio), 0);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_errors_reach_the_guest),
        cmocka_unit_test(a_short_image_fails),
        cmocka_unit_test(many_large_requests),
        cmocka_unit_test(reset_forgets_requests_in_flight),
        cmocka_unit_test(the_machine_may_go),
        cmocka_unit_test(at_once_is_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
