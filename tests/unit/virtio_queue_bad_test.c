/* SPDX-License-Identifier: Apache-2.0 */
/* The split queue: what breaks it, for a driver must not do it. docs/virtio.md names these. */
#include "virtio_queue_fixture.h"

/* 2.7.4.2 (driver): device-writable buffers come after the readable ones. */
static void readable_after_writable_breaks(void **state)
{
    struct fixture f;

    (void)state;
    start(&f, BASIC);
    write_desc(&f, 0, 0x100000, 16, DRIVER_DESC_WRITE | DRIVER_DESC_NEXT, 1);
    write_desc(&f, 1, 0x100000, 16, 0, 0);
    driver_make_available(&f.d, 0, 0);
    assert_breaks(&f);
    stop(&f);
}

/* 2.7.1 (driver): the rings are aligned to 16, 2 and 4. */
static void misaligned_rings_break(void **state)
{
    static const uint64_t off[3] = {8, 1, 2};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct fixture f;
        uint64_t at[3] = {0x10000, 0x20000, 0x30000};

        start(&f, BASIC);
        at[i] += off[i];
        assert_true(driver_negotiate(&f.d, BASIC));
        driver_place_queue(&f.d, 0, QUEUE_SIZE, gpa_make(at[0]), gpa_make(at[1]), gpa_make(at[2]));
        driver_ok(&f.d);
        assert_true(is_broken(&f));
        stop(&f);
    }
}

/* Rings beyond memory, across its end, or beyond the address space. */
static void rings_outside_memory_break(void **state)
{
    static const uint64_t places[] = {MEMORY, MEMORY - 16, UINT64_C(0xfffffffffffffff0),
                                      UINT64_C(0xfffffffffffff000), MEM_HOLE_START};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < sizeof(places) / sizeof(places[0]); k++) {
            struct fixture f;
            gpa_t at[3] = {gpa_make(0x10000), gpa_make(0x20000), gpa_make(0x30000)};

            start(&f, BASIC);
            at[i] = gpa_make(places[k]);
            assert_true(driver_negotiate(&f.d, BASIC));
            driver_place_queue(&f.d, 0, QUEUE_SIZE, at[0], at[1], at[2]);
            driver_ok(&f.d);
            assert_true(is_broken(&f));
            driver_kick(&f.d, 0);
            stop(&f);
        }
    }
}

static void buffers_outside_memory_break(void **state)
{
    static const struct {
        uint64_t addr;
        uint32_t len;
    } wild[] = {
        {MEMORY, 1},
        {MEMORY - 1, 2},
        {UINT64_MAX, 1},
        {UINT64_MAX - 7, 16},
        {MEM_HOLE_START, 4096},
        {0, UINT32_MAX},
        {UINT64_C(1) << 52, 8},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        for (unsigned flags = 0; flags <= DRIVER_DESC_WRITE; flags += DRIVER_DESC_WRITE) {
            struct fixture f;

            start(&f, BASIC);
            write_desc(&f, 0, wild[i].addr, wild[i].len, (uint16_t)flags, 0);
            driver_make_available(&f.d, 0, 0);
            assert_breaks(&f);
            stop(&f);
        }
    }
}

/* 2.7.5.2 (driver): loops are forbidden. */
static void loops_break(void **state)
{
    (void)state;
    for (uint16_t length = 1; length <= QUEUE_SIZE; length++) {
        struct fixture f;

        start(&f, BASIC);
        for (uint16_t i = 0; i < length; i++)
            write_desc(&f, i, 0x100000, 16, DRIVER_DESC_NEXT, (uint16_t)((i + 1) % length));
        driver_make_available(&f.d, 0, 0);
        assert_breaks(&f);
        stop(&f);
    }
}

/* 2.7.5.2 (driver): a chain is not longer than 2^32 bytes. */
static void chain_of_more_than_4_gib_breaks(void **state)
{
    const uint32_t gib = UINT32_C(1) << 30;

    (void)state;
    for (uint16_t count = 4; count <= 5; count++) {
        struct fixture f;

        start_sized(&f, BASIC, 2 * (uint64_t)gib);
        f.echo.keep = true;
        for (uint16_t i = 0; i < count; i++)
            write_desc(&f, i, 0, gib,
                       (uint16_t)(DRIVER_DESC_WRITE | (i + 1 < count ? DRIVER_DESC_NEXT : 0)),
                       (uint16_t)(i + 1));
        driver_make_available(&f.d, 0, 0);
        driver_kick(&f.d, 0);
        assert_int_equal(is_broken(&f), count == 5);
        assert_int_equal(f.echo.chains, count == 4);
        stop(&f);
    }
}

static void index_out_of_range_breaks(void **state)
{
    static const uint16_t wild[] = {QUEUE_SIZE, QUEUE_SIZE + 1, 0x8000, 0xffff};

    (void)state;
    for (unsigned i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        struct fixture f;

        start(&f, BASIC);
        driver_make_available(&f.d, 0, wild[i]);
        assert_breaks(&f);
        stop(&f);
        start(&f, BASIC);
        write_desc(&f, 0, 0x100000, 16, DRIVER_DESC_NEXT, wild[i]);
        driver_make_available(&f.d, 0, 0);
        assert_breaks(&f);
        stop(&f);
    }
}

/* A head that the device still has cannot be made available again. */
static void head_in_flight_breaks(void **state)
{
    struct fixture f;

    (void)state;
    start(&f, BASIC);
    f.echo.keep = true;
    write_desc(&f, 0, 0x100000, 16, 0, 0);
    driver_make_available(&f.d, 0, 0);
    driver_make_available(&f.d, 0, 0);
    assert_breaks(&f);
    assert_int_equal(f.echo.chains, 1);
    stop(&f);
}

/* 2.7.5.3.1 (driver): no indirect descriptor unless it was negotiated. */
static void indirect_without_feature_breaks(void **state)
{
    struct fixture f;
    struct virtq_buffer buffer;

    (void)state;
    start(&f, BASIC);
    buffer = make_buffer(&f, 16);
    driver_add_indirect(&f.d, 0, &buffer, 1, 0);
    assert_breaks(&f);
    stop(&f);
}

/* 2.7.5.3.1 (driver): one table per descriptor. */
static void indirect_inside_indirect_breaks(void **state)
{
    struct fixture f;
    struct driver_desc inner = {0x100000, 16, DRIVER_DESC_INDIRECT, 0};

    (void)state;
    start(&f, EVERYTHING);
    driver_put(&f.d, gpa_make(0x180000), &inner, sizeof(inner));
    put_indirect(&f, 0x180000, 16, 0);
    assert_breaks(&f);
    stop(&f);
}

/* 2.7.5.3.1 (driver): not INDIRECT and NEXT. */
static void indirect_with_next_breaks(void **state)
{
    struct fixture f;

    (void)state;
    start(&f, EVERYTHING);
    put_indirect(&f, 0x180000, 16, DRIVER_DESC_NEXT);
    assert_breaks(&f);
    stop(&f);
}

static void indirect_table_of_wrong_size_breaks(void **state)
{
    static const uint32_t sizes[] = {0,          1,         15, 17, 24, VIRTQ_CHAIN_MAX * 16 + 16,
                                     0xfffffff0, UINT32_MAX};

    (void)state;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct fixture f;

        start(&f, EVERYTHING);
        put_indirect(&f, 0x180000, sizes[i], 0);
        assert_breaks(&f);
        stop(&f);
    }
}

static void indirect_table_outside_memory_breaks(void **state)
{
    static const uint64_t places[] = {MEMORY, MEMORY - 16, UINT64_MAX - 15, MEM_HOLE_START};

    (void)state;
    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct fixture f;

        start(&f, EVERYTHING);
        put_indirect(&f, places[i], 32, 0);
        assert_breaks(&f);
        stop(&f);
    }
}

static void indirect_table_that_loops_breaks(void **state)
{
    struct fixture f;

    (void)state;
    start(&f, EVERYTHING);
    for (uint16_t i = 0; i < 3; i++) {
        struct driver_desc desc = {0x100000, 4, DRIVER_DESC_NEXT, (uint16_t)((i + 1) % 3)};

        driver_put(&f.d, gpa_make(0x180000 + 16u * i), &desc, sizeof(desc));
    }
    put_indirect(&f, 0x180000, 48, 0);
    assert_breaks(&f);
    stop(&f);
}

static void indirect_next_out_of_table_breaks(void **state)
{
    struct fixture f;
    struct driver_desc desc = {0x100000, 4, DRIVER_DESC_NEXT, 2};

    (void)state;
    start(&f, EVERYTHING);
    driver_put(&f.d, gpa_make(0x180000), &desc, sizeof(desc));
    put_indirect(&f, 0x180000, 32, 0);
    assert_breaks(&f);
    stop(&f);
}

/* 2.7.6.1 (driver): the available index never goes back, nor further than the queue is long. */
static void available_index_that_jumps_breaks(void **state)
{
    static const uint16_t jumps[] = {QUEUE_SIZE + 1, 0x8000, 0xffff};

    (void)state;
    for (unsigned i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
        struct fixture f;

        start(&f, BASIC);
        driver_put16(&f.d, gpa_add(f.d.queue[0].avail, 2), jumps[i]);
        assert_breaks(&f);
        stop(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readable_after_writable_breaks),
        cmocka_unit_test(misaligned_rings_break),
        cmocka_unit_test(rings_outside_memory_break),
        cmocka_unit_test(buffers_outside_memory_break),
        cmocka_unit_test(loops_break),
        cmocka_unit_test(chain_of_more_than_4_gib_breaks),
        cmocka_unit_test(index_out_of_range_breaks),
        cmocka_unit_test(head_in_flight_breaks),
        cmocka_unit_test(indirect_without_feature_breaks),
        cmocka_unit_test(indirect_inside_indirect_breaks),
        cmocka_unit_test(indirect_with_next_breaks),
        cmocka_unit_test(indirect_table_of_wrong_size_breaks),
        cmocka_unit_test(indirect_table_outside_memory_breaks),
        cmocka_unit_test(indirect_table_that_loops_breaks),
        cmocka_unit_test(indirect_next_out_of_table_breaks),
        cmocka_unit_test(available_index_that_jumps_breaks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
