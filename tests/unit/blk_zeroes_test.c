/* SPDX-License-Identifier: Apache-2.0 */
/* DISCARD and WRITE_ZEROES (VIRTIO 1.2 5.2.6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "blk_rig.h"

#define MIB        (UINT64_C(1) << 20)
#define IMAGE      (UINT64_C(16) << 20)
#define SECTORS    (IMAGE / 512)
#define BEYOND_ALL UINT64_MAX

static const struct rig_config plain = {.bytes = IMAGE, .features = F_ALL};

/* ---- 5.2.6: discard and write zeroes ---- */

static uint64_t blocks_taken(struct rig *rig)
{
    struct stat st;

    fsync(rig->fd);
    assert_int_equal(fstat(rig->fd, &st), 0);
    return (uint64_t)st.st_blocks;
}

/* 5.2.6.2: UNSUPP if any unknown flag is set, also if another segment is worse. */
static void unknown_flags_are_unsupported(void **state)
{
    const struct rig_segment beyond_then_flag[2] = {{.sector = BEYOND_ALL, .sectors = 1},
                                                    {.sectors = 1, .flags = 2}};
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    rig_fill_image(&rig, 0, 4096, 3);
    for (unsigned bit = 1; bit < 32; bit++) {
        const struct rig_segment s = {.sectors = 8, .flags = 1u << bit};

        assert_int_equal(rig_do_segments(&rig, DISCARD, &s, 1), S_UNSUPP);
        assert_int_equal(rig_do_segments(&rig, ZEROES, &s, 1), S_UNSUPP);
        assert_int_equal(rig_do_segments(&rig, SECURE_ERASE, &s, 1), S_UNSUPP);
    }
    assert_int_equal(rig_do_segments(&rig, DISCARD, beyond_then_flag, 2), S_UNSUPP);
    assert_int_equal(rig_do_segments(&rig, ZEROES, beyond_then_flag, 2), S_UNSUPP);
    assert_true(rig_image_is(&rig, 0, 4096, 3));
    rig_stop(&rig);
}

/* 5.2.6.2: UNSUPP for a discard with unmap. */
static void discard_has_no_unmap(void **state)
{
    const struct rig_segment s = {.sectors = 8, .flags = 1};
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    rig_fill_image(&rig, 0, 4096, 3);
    assert_int_equal(rig_do_segments(&rig, DISCARD, &s, 1), S_UNSUPP);
    assert_true(rig_image_is(&rig, 0, 4096, 3));
    rig_stop(&rig);
}

static void discard_gives_blocks_back(void **state)
{
    const struct rig_segment s[2] = {{.sector = 0, .sectors = 1024},
                                     {.sector = 4096, .sectors = 1024}};
    struct rig rig;
    uint64_t before;

    (void)state;
    rig_start(&rig, &plain);
    rig_fill_image(&rig, 0, 4 * MIB, 3);
    before = blocks_taken(&rig);
    assert_int_equal(rig_do_segments(&rig, DISCARD, s, 2), S_OK);
    assert_true(blocks_taken(&rig) + 2000 <= before);
    assert_int_equal(blk_stats(rig.blk)->discards, 1);
    assert_int_equal(disk_bytes(rig.disk), IMAGE);
    rig_stop(&rig);
}

/* 5.2.6.2: after WRITE_ZEROES reads MUST return zeroes, whether unmap is set or clear. */
static void zeroes_read_as_zeros(void **state)
{
    struct rig rig;

    (void)state;
    for (unsigned flags = 0; flags <= 1; flags++) {
        /* not at 4 KiB, one empty, one over a piece's end */
        const struct rig_segment s[3] = {{.sector = 3, .sectors = 10, .flags = flags},
                                         {.sector = 1000, .sectors = 0, .flags = flags},
                                         {.sector = 4099, .sectors = 8192, .flags = flags}};

        rig_start(&rig, &plain);
        rig_fill_image(&rig, 0, 8 * MIB, 3);
        assert_int_equal(rig_do_segments(&rig, ZEROES, s, 3), S_OK);
        assert_true(rig_image_is_zero(&rig, 3 * 512, 10 * 512));
        assert_true(rig_image_is_zero(&rig, 4099 * 512, 8192 * 512));
        assert_true(rig_image_is(&rig, 0, 3 * 512, 3));
        assert_int_equal(rig_do(&rig, IN, 3, RIG_PAGE_AT(0), 5120), S_OK);
        for (unsigned i = 0; i < 5120; i++) {
            uint8_t byte;

            driver_get(&rig.d, gpa_add(RIG_PAGE_AT(0), i), &byte, 1);
            assert_int_equal(byte, 0);
        }
        assert_int_equal(blk_stats(rig.blk)->zeroes, 1);
        rig_stop(&rig);
    }
}

/* The same where neither holes nor zeroing by range are known. */
static void zeroes_without_the_host_s_help(void **state)
{
    static const int errors[] = {EOPNOTSUPP, EINVAL};
    struct rig rig;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        const struct aio_fault fault[2] = {{AIO_PUNCH, 1, 100, errors[i]},
                                           {AIO_ZERO, 1, 100, errors[i]}};
        const struct aio_faults faults = {fault, 2};
        const struct rig_config config = {.bytes = IMAGE, .features = F_ALL, .faults = &faults};
        const struct rig_segment s = {.sector = 3, .sectors = 8192, .flags = 1};

        rig_start(&rig, &config);
        rig_fill_image(&rig, 0, 8 * MIB, 3);
        assert_int_equal(rig_do_segments(&rig, ZEROES, &s, 1), S_OK);
        assert_true(rig_image_is_zero(&rig, 3 * 512, 8192 * 512));
        assert_true(rig_image_is(&rig, 0, 3 * 512, 3));
        rig_stop(&rig);
    }
}

static void discard_is_but_a_hint(void **state)
{
    const struct aio_fault fault = {AIO_PUNCH, 1, 100, EOPNOTSUPP};
    const struct aio_faults faults = {&fault, 1};
    const struct rig_config config = {.bytes = IMAGE, .features = F_ALL, .faults = &faults};
    const struct rig_segment s = {.sectors = 8};
    struct rig rig;

    (void)state;
    rig_start(&rig, &config);
    assert_int_equal(rig_do_segments(&rig, DISCARD, &s, 1), S_OK);
    rig_stop(&rig);
}

static void bad_segments_fail(void **state)
{
    struct rig_segment many[17] = {{.sectors = 1}};
    static const struct rig_segment bad[] = {
        {.sector = SECTORS, .sectors = 1},
        {.sector = BEYOND_ALL, .sectors = 1},
        {.sector = SECTORS - 1, .sectors = 2},
        {.sectors = (1 << 21) + 1},
        {.sectors = UINT32_MAX},
    };
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    for (uint32_t type = DISCARD; type <= ZEROES; type += ZEROES - DISCARD) {
        for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
            assert_int_equal(rig_do_segments(&rig, type, &bad[i], 1), S_IOERR);
        assert_int_equal(rig_do_segments(&rig, type, many, 17), S_IOERR);
        assert_int_equal(rig_do_segments(&rig, type, many, 16), S_OK);
        assert_int_equal(rig_do(&rig, type, 0, RIG_PAGE_AT(0), 0), S_IOERR);
        assert_int_equal(rig_do(&rig, type, 0, RIG_PAGE_AT(0), 15), S_IOERR);
    }
    rig_stop(&rig);
}

static void segments_need_their_feature(void **state)
{
    const struct rig_config config = {.bytes = IMAGE, .features = F_FLUSH};
    const struct rig_segment s = {.sectors = 8};
    struct rig rig;

    (void)state;
    rig_start(&rig, &config);
    assert_int_equal(rig_do_segments(&rig, DISCARD, &s, 1), S_UNSUPP);
    assert_int_equal(rig_do_segments(&rig, ZEROES, &s, 1), S_UNSUPP);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_flags_are_unsupported),
        cmocka_unit_test(discard_has_no_unmap),
        cmocka_unit_test(discard_gives_blocks_back),
        cmocka_unit_test(zeroes_read_as_zeros),
        cmocka_unit_test(zeroes_without_the_host_s_help),
        cmocka_unit_test(discard_is_but_a_hint),
        cmocka_unit_test(bad_segments_fail),
        cmocka_unit_test(segments_need_their_feature),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
