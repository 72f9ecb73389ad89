/* SPDX-License-Identifier: Apache-2.0 */
/* The block device (VIRTIO 1.2 5.2): features, configuration, reads, writes, flushes. */
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

/* Places in the configuration (5.2.4). */
enum { CAPACITY = 0, SEG_MAX = 12, BLK_SIZE = 20, PHYSICAL_EXP = 24, WRITEBACK = 32 };
enum { UNUSED0 = 33, DISCARD_SECTORS = 36, DISCARD_SEG = 40, DISCARD_ALIGNMENT = 44 };
enum { ZEROES_SECTORS = 48, ZEROES_SEG = 52, MAY_UNMAP = 56, UNUSED1 = 57, CONFIG_END = 60 };

static const struct rig_config plain = {.bytes = IMAGE, .features = F_ALL};

static uint64_t config_at(struct rig *rig, unsigned offset, unsigned bytes)
{
    return driver_read(&rig->d, rig->d.config + offset, bytes);
}

/* ---- 5.2.3, 5.2.4, 5.2.5: features and configuration ---- */

static void offers_what_it_can(void **state)
{
    struct rig rig;
    uint64_t offered;

    (void)state;
    rig_start(&rig, &plain);
    offered = driver_offered(&rig.d);
    assert_true(offered & F_FLUSH); /* a MUST where CONFIG_WCE is offered */
    assert_true(offered & F_CONFIG_WCE);
    assert_true(offered & F_DISCARD && offered & F_WRITE_ZEROES && offered & F_SEG_MAX);
    assert_false(offered & F_RO);
    assert_int_equal(config_at(&rig, CAPACITY, 8), SECTORS);
    assert_int_equal(config_at(&rig, SEG_MAX, 4), 254);
    assert_int_equal(config_at(&rig, BLK_SIZE, 4), 512);
    assert_int_equal(config_at(&rig, PHYSICAL_EXP, 1), 3);
    assert_int_equal(config_at(&rig, DISCARD_SECTORS, 4), 1 << 21);
    assert_int_equal(config_at(&rig, DISCARD_SEG, 4), 16);
    assert_int_equal(config_at(&rig, DISCARD_ALIGNMENT, 4), 8);
    assert_int_equal(config_at(&rig, ZEROES_SECTORS, 4), 1 << 21);
    assert_int_equal(config_at(&rig, ZEROES_SEG, 4), 16);
    assert_int_equal(config_at(&rig, MAY_UNMAP, 1), 1);
    rig_stop(&rig);
}

/* 5.2.5.2: the padding is initialised to 0. */
static void padding_is_zero(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    assert_int_equal(config_at(&rig, UNUSED0, 1), 0);
    for (unsigned i = UNUSED1; i < CONFIG_END; i++)
        assert_int_equal(config_at(&rig, i, 1), 0);
    rig_stop(&rig);
}

/* 5.2.5.2: writeback is initialised to 0 where CONFIG_WCE is negotiated and FLUSH is not. */
static void writeback_is_zero_without_flush(void **state)
{
    struct rig rig;

    (void)state;
    rig_plug(&rig, &plain);
    assert_true(rig_negotiate(&rig, F_CONFIG_WCE));
    assert_int_equal(config_at(&rig, WRITEBACK, 1), 0);
    assert_true(rig_negotiate(&rig, F_CONFIG_WCE | F_FLUSH));
    assert_int_equal(config_at(&rig, WRITEBACK, 1), 1);
    rig_stop(&rig);
}

static void only_the_cache_mode_is_writable(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    driver_write(&rig.d, rig.d.config + WRITEBACK, 1, 0);
    assert_int_equal(config_at(&rig, WRITEBACK, 1), 0);
    driver_write(&rig.d, rig.d.config + WRITEBACK, 1, 1);
    assert_int_equal(config_at(&rig, WRITEBACK, 1), 1);
    driver_write(&rig.d, rig.d.config + CAPACITY, 4, 1);
    driver_write(&rig.d, rig.d.config + DISCARD_SEG, 4, 0xffff);
    assert_int_equal(config_at(&rig, CAPACITY, 8), SECTORS);
    assert_int_equal(config_at(&rig, DISCARD_SEG, 4), 16);
    rig_stop(&rig);
}

static void cache_mode_is_fixed_without_the_feature(void **state)
{
    struct rig rig;

    (void)state;
    rig_plug(&rig, &plain);
    assert_true(rig_negotiate(&rig, F_FLUSH));
    driver_write(&rig.d, rig.d.config + WRITEBACK, 1, 0);
    assert_int_equal(config_at(&rig, WRITEBACK, 1), 1);
    rig_stop(&rig);
}

/* ---- 5.2.6: reads and writes ---- */

static void reads_what_was_written(void **state)
{
    static const uint32_t sizes[] = {512, 4096, 4608, 65536, 1 << 20, (1 << 20) + 512, 6 << 20};
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t sector = 3 * i; /* aligned to pages or not */

        rig_fill_guest(&rig, RIG_PAGE_AT(0), sizes[i], i + 1);
        assert_int_equal(rig_do(&rig, OUT, sector, RIG_PAGE_AT(0), sizes[i]), S_OK);
        assert_int_equal(rig.written, 1);
        assert_true(rig_image_is(&rig, sector * 512, sizes[i], i + 1));
        assert_int_equal(rig_do(&rig, IN, sector, RIG_PAGE_AT(2048), sizes[i]), S_OK);
        assert_int_equal(rig.written, sizes[i] + 1);
        assert_true(rig_guest_is(&rig, RIG_PAGE_AT(2048), sizes[i], i + 1));
    }
    assert_int_equal(blk_stats(rig.blk)->writes, 7);
    assert_int_equal(blk_stats(rig.blk)->reads, 7);
    assert_int_equal(blk_stats(rig.blk)->read_bytes, blk_stats(rig.blk)->write_bytes);
    assert_true(mem_check(rig.d.mem));
    rig_stop(&rig);
}

/* 2.7.4.1: nothing depends on how the driver frames a request. */
static void takes_any_framing(void **state)
{
    struct rig rig;
    const struct rig_header header = {.type = OUT, .sector = 5};
    gpa_t at = RIG_PAGE_AT(0), in = RIG_PAGE_AT(64);
    struct virtq_buffer split[40];
    unsigned count = 0;

    (void)state;
    rig_start(&rig, &plain);
    /* header and data as one run of bytes, cut at odd places */
    driver_put(&rig.d, gpa_add(at, 1), &header, sizeof(header));
    rig_fill_guest(&rig, gpa_add(at, 17), 8192, 9);
    for (uint32_t from = 1, n = 7; from < 17 + 8192; from += n, n += 23) {
        if (n > 17 + 8192 - from)
            n = 17 + 8192 - from;
        split[count++] = (struct virtq_buffer){gpa_add(at, from), n};
    }
    split[count] = (struct virtq_buffer){gpa_add(rig.states, 0), 1};
    driver_add(&rig.d, 0, split, count, 1);
    rig_settle(&rig);
    assert_int_equal(rig_state(&rig, 0), S_OK);
    assert_true(rig_image_is(&rig, 5 * 512, 8192, 9));
    /* data and status as one buffer, odd too */
    driver_put(&rig.d, rig.headers, &(struct rig_header){.type = IN, .sector = 5}, 16);
    split[0] = (struct virtq_buffer){rig.headers, 16};
    split[1] = (struct virtq_buffer){gpa_add(in, 3), 4097};
    split[2] = (struct virtq_buffer){gpa_add(in, 4100), 4096};
    driver_add(&rig.d, 0, split, 1, 2);
    rig_settle(&rig);
    assert_true(rig_guest_is(&rig, gpa_add(in, 3), 8192, 9));
    driver_get(&rig.d, gpa_add(in, 3 + 8192), &(uint8_t){0}, 1);
    assert_int_equal(rig.written, 8193);
    rig_stop(&rig);
}

static void answers_its_id(void **state)
{
    struct rig rig;
    char id[21] = "";

    (void)state;
    rig_start(&rig, &plain);
    rig_fill_guest(&rig, RIG_PAGE_AT(0), 512, 1);
    assert_int_equal(rig_do(&rig, GET_ID, 0, RIG_PAGE_AT(0), 20), S_OK);
    driver_get(&rig.d, RIG_PAGE_AT(0), id, 20);
    assert_string_equal(id, "umbra-disk0");
    for (unsigned i = 11; i < 20; i++)
        assert_int_equal(id[i], 0);
    assert_int_equal(rig_do(&rig, GET_ID, 0, RIG_PAGE_AT(1), 5), S_OK);
    driver_get(&rig.d, RIG_PAGE_AT(1), id, 6);
    assert_memory_equal(id, "umbra\0", 6);
    rig_stop(&rig);
}

/* 5.2.6.2: SHALL reject zone commands; and whatever else it does not know. */
static void unknown_types_are_unsupported(void **state)
{
    static const uint32_t types[] = {2,
                                     3,
                                     5,
                                     6,
                                     7,
                                     9,
                                     12,
                                     17,
                                     19,
                                     0xffffffff,
                                     ZONE_OPEN,
                                     ZONE_REPORT,
                                     ZONE_RESET,
                                     ZONE_CLOSE,
                                     ZONE_FINISH,
                                     ZONE_APPEND,
                                     ZONE_RESET_ALL,
                                     GET_LIFETIME,
                                     SECURE_ERASE};
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        assert_int_equal(rig_do(&rig, types[i], 0, RIG_PAGE_AT(0), 512), S_UNSUPP);
    assert_int_equal(blk_stats(rig.blk)->unsupported, sizeof(types) / sizeof(types[0]));
    assert_false(driver_status(&rig.d) & VIRTIO_DEVICE_NEEDS_RESET);
    rig_stop(&rig);
}

/* 5.2.6.2: with RO offered a write gets IOERR and MUST NOT write any data. */
static void read_only_writes_nothing(void **state)
{
    const struct rig_config config = {.bytes = IMAGE, .features = F_ALL, .read_only = true};
    const struct rig_segment all = {.sectors = 64};
    struct rig rig;

    (void)state;
    rig_start(&rig, &config);
    assert_true(driver_offered(&rig.d) & F_RO);
    assert_false(driver_offered(&rig.d) & (F_DISCARD | F_WRITE_ZEROES));
    rig_fill_image(&rig, 0, 65536, 3);
    rig_fill_guest(&rig, RIG_PAGE_AT(0), 65536, 4);
    assert_int_equal(rig_do(&rig, OUT, 0, RIG_PAGE_AT(0), 65536), S_IOERR);
    assert_int_equal(rig_do_segments(&rig, DISCARD, &all, 1), S_IOERR);
    assert_int_equal(rig_do_segments(&rig, ZEROES, &all, 1), S_IOERR);
    assert_true(rig_image_is(&rig, 0, 65536, 3));
    assert_int_equal(rig_do(&rig, IN, 0, RIG_PAGE_AT(0), 65536), S_OK);
    assert_int_equal(rig_do(&rig, FLUSH, 0, RIG_PAGE_AT(0), 0), S_OK);
    assert_true(rig_guest_is(&rig, RIG_PAGE_AT(0), 65536, 3));
    rig_stop(&rig);
}

/* 5.2.6.1: the driver MUST NOT go beyond the capacity; one that does gets IOERR. */
static void stays_inside_the_capacity(void **state)
{
    static const struct {
        uint64_t sector;
        uint32_t bytes;
    } bad[] = {
        {SECTORS, 512},           {SECTORS - 1, 1024},      {0, (16 << 20) + 512},
        {BEYOND_ALL, 512},        {BEYOND_ALL / 512, 4096}, {BEYOND_ALL - 7, 4096},
        {UINT64_C(1) << 55, 512},
    };
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(rig_do(&rig, OUT, bad[i].sector, RIG_PAGE_AT(0), bad[i].bytes), S_IOERR);
        assert_int_equal(rig_do(&rig, IN, bad[i].sector, RIG_PAGE_AT(0), bad[i].bytes), S_IOERR);
        assert_int_equal(rig.written, 0);
    }
    assert_int_equal(rig_do(&rig, OUT, SECTORS - 8, RIG_PAGE_AT(0), 4096), S_OK);
    assert_int_equal(rig_do(&rig, IN, SECTORS - 1, RIG_PAGE_AT(0), 512), S_OK);
    assert_int_equal(blk_stats(rig.blk)->errors, 14);
    rig_stop(&rig);
}

/* 5.2.6.1: lengths MUST be multiples of 512. */
static void lengths_are_whole_sectors(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    assert_int_equal(rig_do(&rig, OUT, 0, RIG_PAGE_AT(0), 511), S_IOERR);
    assert_int_equal(rig_do(&rig, OUT, 0, RIG_PAGE_AT(0), 513), S_IOERR);
    assert_int_equal(rig_do(&rig, IN, 0, RIG_PAGE_AT(0), 1), S_IOERR);
    assert_int_equal(rig_do(&rig, IN, 0, RIG_PAGE_AT(0), 0), S_OK);
    assert_int_equal(rig_do(&rig, OUT, SECTORS, RIG_PAGE_AT(0), 0), S_OK);
    rig_stop(&rig);
}

static void needs_header_and_status(void **state)
{
    static const struct {
        uint32_t header, status;
    } bad[] = {{15, 1}, {16, 0}, {0, 1}};
    struct rig rig;

    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct virtq_buffer buffers[2];

        rig_start(&rig, &plain);
        buffers[0] = (struct virtq_buffer){rig.headers, bad[i].header};
        buffers[bad[i].header != 0] = (struct virtq_buffer){rig.states, bad[i].status};
        driver_add(&rig.d, 0, buffers, bad[i].header != 0, bad[i].status);
        rig_settle(&rig);
        assert_true(driver_status(&rig.d) & VIRTIO_DEVICE_NEEDS_RESET);
        /* and a reset makes it good again */
        assert_true(rig_negotiate(&rig, F_ALL));
        rig_go(&rig);
        assert_int_equal(rig_do(&rig, IN, 0, RIG_PAGE_AT(0), 512), S_OK);
        rig_stop(&rig);
    }
}

/* ---- 5.2.6.2: stable writes are committed before they are told ---- */

/* Every flush of the host's fails, so that who waits for one sees it. */
static void start_without_sync(struct rig *rig, uint64_t features)
{
    static const struct aio_fault fault = {AIO_SYNC, 1, UINT64_MAX, EIO};
    static const struct aio_faults faults = {&fault, 1};
    const struct rig_config config = {.bytes = IMAGE, .features = features, .faults = &faults};

    rig_start(rig, &config);
}

/* Case 1: neither CONFIG_WCE nor FLUSH is negotiated. */
static void writes_are_stable_without_flush(void **state)
{
    const struct rig_segment s = {.sectors = 8};
    struct rig rig;

    (void)state;
    start_without_sync(&rig, F_WRITE_ZEROES | F_DISCARD);
    assert_int_equal(rig_do(&rig, OUT, 0, RIG_PAGE_AT(0), 4096), S_IOERR);
    assert_int_equal(rig_do_segments(&rig, ZEROES, &s, 1), S_IOERR);
    assert_int_equal(rig_do(&rig, IN, 0, RIG_PAGE_AT(0), 4096), S_OK);
    rig_stop(&rig);
}

/* Case 2: CONFIG_WCE is negotiated and writeback is 0. */
static void writes_are_stable_in_writethrough(void **state)
{
    struct rig rig;

    (void)state;
    start_without_sync(&rig, F_FLUSH | F_CONFIG_WCE);
    assert_int_equal(rig_do(&rig, OUT, 0, RIG_PAGE_AT(0), 4096), S_OK);
    driver_write(&rig.d, rig.d.config + WRITEBACK, 1, 0);
    assert_int_equal(rig_do(&rig, OUT, 0, RIG_PAGE_AT(0), 4096), S_IOERR);
    driver_write(&rig.d, rig.d.config + WRITEBACK, 1, 1);
    assert_int_equal(rig_do(&rig, OUT, 0, RIG_PAGE_AT(0), 4096), S_OK);
    rig_stop(&rig);
    start_without_sync(&rig, F_CONFIG_WCE);
    assert_int_equal(rig_do(&rig, OUT, 0, RIG_PAGE_AT(0), 4096), S_IOERR);
    rig_stop(&rig);
}

/* Case 3: a flush that was sent after the write completed. */
static void flush_commits(void **state)
{
    struct rig rig;

    (void)state;
    start_without_sync(&rig, F_FLUSH);
    assert_int_equal(rig_do(&rig, OUT, 0, RIG_PAGE_AT(0), 4096), S_OK);
    assert_int_equal(rig_do(&rig, FLUSH, 0, RIG_PAGE_AT(0), 0), S_IOERR);
    rig_stop(&rig);
    rig_start(&rig, &plain);
    assert_int_equal(rig_do(&rig, FLUSH, 0, RIG_PAGE_AT(0), 0), S_OK);
    assert_int_equal(rig_do(&rig, FLUSH, 7, RIG_PAGE_AT(0), 512), S_OK);
    assert_int_equal(blk_stats(rig.blk)->flushes, 2);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offers_what_it_can),
        cmocka_unit_test(padding_is_zero),
        cmocka_unit_test(writeback_is_zero_without_flush),
        cmocka_unit_test(only_the_cache_mode_is_writable),
        cmocka_unit_test(cache_mode_is_fixed_without_the_feature),
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(takes_any_framing),
        cmocka_unit_test(answers_its_id),
        cmocka_unit_test(unknown_types_are_unsupported),
        cmocka_unit_test(read_only_writes_nothing),
        cmocka_unit_test(stays_inside_the_capacity),
        cmocka_unit_test(lengths_are_whole_sectors),
        cmocka_unit_test(needs_header_and_status),
        cmocka_unit_test(writes_are_stable_without_flush),
        cmocka_unit_test(writes_are_stable_in_writethrough),
        cmocka_unit_test(flush_commits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
