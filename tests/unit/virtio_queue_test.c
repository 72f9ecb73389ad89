/* SPDX-License-Identifier: Apache-2.0 */
/* The split queue (VIRTIO 1.2 2.7): what it must do, and what breaks it. docs/virtio.md names these. */
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

static void start_sized(struct fixture *f, uint64_t features, uint64_t memory)
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

static void start(struct fixture *f, uint64_t features)
{
    start_sized(f, features, MEMORY);
}

static void stop(struct fixture *f)
{
    driver_stop(&f->d);
}

static bool is_broken(struct fixture *f)
{
    return driver_status(&f->d) & VIRTIO_DEVICE_NEEDS_RESET;
}

static struct virtq_buffer make_buffer(struct fixture *f, uint32_t bytes)
{
    return (struct virtq_buffer){driver_alloc(&f->d, bytes, 1), bytes};
}

/* One readable and one writable buffer of so many bytes. */
static void add_echo(struct fixture *f, uint32_t bytes, struct virtq_buffer out[2])
{
    out[0] = make_buffer(f, bytes);
    out[1] = make_buffer(f, bytes);
    driver_add(&f->d, 0, out, 1, 1);
}

static void write_desc(struct fixture *f, unsigned index, uint64_t addr, uint32_t len,
                       uint16_t flags, uint16_t next)
{
    struct driver_desc desc = {addr, len, flags, next};

    driver_put(&f->d, driver_desc_at(&f->d.queue[0], index), &desc, sizeof(desc));
}

/* The driver did something wrong: nothing comes back, and the device says so. */
static void assert_breaks(struct fixture *f)
{
    uint32_t head, written;

    driver_kick(&f->d, 0);
    assert_true(is_broken(f));
    assert_false(driver_used(&f->d, 0, &head, &written));
    assert_non_null(f->d.dev->queue[0].why_broken);
}

static void assert_works(struct fixture *f)
{
    uint32_t head, written;

    driver_kick(&f->d, 0);
    assert_false(is_broken(f));
    assert_true(driver_used(&f->d, 0, &head, &written));
}

/* ---- framing ---- */

/* 2.7.4.1: the same bytes in any arrangement of descriptors. */
static void any_framing(void **state)
{
    static const unsigned parts[] = {1, 2, 3, 4};
    uint8_t sent[60], got[60];

    (void)state;
    for (size_t i = 0; i < sizeof(sent); i++)
        sent[i] = (uint8_t)(i * 7 + 1);
    for (unsigned r = 0; r < 4; r++) {
        for (unsigned w = 0; w < 4; w++) {
            struct fixture f;
            struct virtq_buffer buffers[8];
            gpa_t from, to;
            uint32_t head, written, at = 0;

            start(&f, BASIC);
            from = driver_alloc(&f.d, sizeof(sent), 1);
            to = driver_alloc(&f.d, sizeof(got), 1);
            driver_put(&f.d, from, sent, sizeof(sent));
            for (unsigned i = 0; i < parts[r]; i++) {
                uint32_t end = (i + 1) * (uint32_t)sizeof(sent) / parts[r];

                buffers[i] = (struct virtq_buffer){gpa_add(from, at), end - at};
                at = end;
            }
            at = 0;
            for (unsigned i = 0; i < parts[w]; i++) {
                uint32_t end = (i + 1) * (uint32_t)sizeof(got) / parts[w];

                buffers[parts[r] + i] = (struct virtq_buffer){gpa_add(to, at), end - at};
                at = end;
            }
            driver_add(&f.d, 0, buffers, parts[r], parts[w]);
            driver_kick(&f.d, 0);
            assert_true(driver_used(&f.d, 0, &head, &written));
            assert_int_equal(written, sizeof(sent));
            driver_get(&f.d, to, got, sizeof(got));
            assert_memory_equal(sent, got, sizeof(sent));
            stop(&f);
        }
    }
}

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

/* 2.7.5.1: a device-readable buffer is never written. */
static void readable_is_never_written(void **state)
{
    struct fixture f;
    struct virtq_buffer b[2];
    uint8_t before[64], after[64];

    (void)state;
    start(&f, BASIC);
    add_echo(&f, 64, b);
    memset(before, 0x5a, sizeof(before));
    driver_put(&f.d, b[0].gpa, before, sizeof(before));
    assert_works(&f);
    driver_get(&f.d, b[0].gpa, after, sizeof(after));
    assert_memory_equal(before, after, sizeof(before));
    stop(&f);
}

/* A descriptor of length 0 describes nothing; no MUST forbids it. */
static void empty_descriptors_describe_nothing(void **state)
{
    struct fixture f;
    uint32_t head, written;

    (void)state;
    start(&f, BASIC);
    write_desc(&f, 0, 0x100000, 16, DRIVER_DESC_NEXT, 1);
    write_desc(&f, 1, UINT64_MAX, 0, DRIVER_DESC_NEXT, 2);
    write_desc(&f, 2, 0x200000, 16, DRIVER_DESC_WRITE, 0);
    driver_make_available(&f.d, 0, 0);
    driver_kick(&f.d, 0);
    assert_true(driver_used(&f.d, 0, &head, &written));
    assert_int_equal(written, 16);
    assert_false(is_broken(&f));
    stop(&f);
}

/* ---- places ---- */

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

/* ---- chains ---- */

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

/* ---- indirect tables ---- */

static void put_indirect(struct fixture *f, uint64_t table, uint32_t len, uint16_t flags)
{
    write_desc(f, 0, table, len, (uint16_t)(DRIVER_DESC_INDIRECT | flags), 1);
    write_desc(f, 1, 0x100000, 16, 0, 0);
    driver_make_available(&f->d, 0, 0);
}

static void indirect_tables_work(void **state)
{
    struct fixture f;
    struct virtq_buffer buffers[20];
    uint32_t head, written;

    (void)state;
    start(&f, EVERYTHING);
    for (unsigned i = 0; i < 20; i++)
        buffers[i] = make_buffer(&f, 4);
    driver_add_indirect(&f.d, 0, buffers, 10, 10);
    driver_kick(&f.d, 0);
    assert_true(driver_used(&f.d, 0, &head, &written));
    assert_int_equal(written, 40);
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

/* 2.7.5.3.2: the write flag of the descriptor that names the table means nothing. */
static void write_flag_of_indirect_is_ignored(void **state)
{
    struct fixture f;
    struct driver_desc desc = {0x100000, 4, 0, 0};

    (void)state;
    start(&f, EVERYTHING);
    driver_put(&f.d, gpa_make(0x180000), &desc, sizeof(desc));
    put_indirect(&f, 0x180000, 16, DRIVER_DESC_WRITE);
    assert_works(&f);
    assert_int_equal(f.echo.chain.readable, 1);
    assert_int_equal(f.echo.chain.count, 1);
    stop(&f);
}

/* 2.7.5.3.2: zero or more normal descriptors, then an indirect one. */
static void indirect_after_normal_works(void **state)
{
    (void)state;
    for (uint16_t normal = 0; normal < 4; normal++) {
        struct fixture f;
        struct driver_desc desc = {0x200000, 4, DRIVER_DESC_WRITE, 0};

        start(&f, EVERYTHING);
        driver_put(&f.d, gpa_make(0x180000), &desc, sizeof(desc));
        for (uint16_t i = 0; i < normal; i++)
            write_desc(&f, i, 0x100000, 4, DRIVER_DESC_NEXT, (uint16_t)(i + 1));
        write_desc(&f, normal, 0x180000, 16, DRIVER_DESC_INDIRECT, 0);
        driver_make_available(&f.d, 0, 0);
        assert_works(&f);
        assert_int_equal(f.echo.chain.count, normal + 1);
        assert_int_equal(f.echo.chain.readable, normal);
        stop(&f);
    }
}

/* ---- indices ---- */

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

/* Both indices run through 65,535. */
static void indices_wrap(void **state)
{
    struct fixture f;
    struct virtq_buffer b[2];
    uint64_t place;

    (void)state;
    start(&f, EVERYTHING);
    place = f.d.next_free;
    for (unsigned i = 0; i < 70000; i++) {
        uint32_t head, written;

        f.d.next_free = place;
        add_echo(&f, 4, b);
        driver_kick(&f.d, 0);
        assert_true(driver_used(&f.d, 0, &head, &written));
        assert_int_equal(written, 4);
    }
    assert_int_equal(f.echo.chains, 70000);
    stop(&f);
}

/* A guest that makes more available while it is served cannot keep the host in one service. */
static void service_is_bounded(void **state)
{
    struct fixture f;
    struct driver_queue *q = &f.d.queue[0];
    uint16_t idx = 1;
    gpa_t source;

    (void)state;
    start(&f, BASIC);
    /* every descriptor reads an index and writes it over the available index: always one more */
    source = driver_alloc(&f.d, 2, 2);
    driver_put16(&f.d, source, ++idx);
    for (uint16_t i = 0; i < QUEUE_SIZE; i += 2) {
        write_desc(&f, i, source.v, 2, DRIVER_DESC_NEXT, (uint16_t)(i + 1));
        write_desc(&f, (uint16_t)(i + 1), q->avail.v + 2, 2, DRIVER_DESC_WRITE, 0);
    }
    for (unsigned round = 0; round < 3; round++) {
        driver_make_available(&f.d, 0, (uint16_t)(2 * (round % 4)));
        driver_kick(&f.d, 0);
        assert_true(f.echo.chains <= (round + 1) * QUEUE_SIZE);
    }
    stop(&f);
}

/* ---- used ring, notifications ---- */

/* 2.7.8.2: the length is there when the index moves, and no more than it was written. */
static void used_element_has_length(void **state)
{
    struct fixture f;
    struct virtq_buffer b[2];
    uint32_t head, written;
    uint8_t sent[100], got[200] = {0};

    (void)state;
    start(&f, BASIC);
    b[0] = make_buffer(&f, sizeof(sent));
    b[1] = make_buffer(&f, sizeof(got));
    memset(sent, 0xa5, sizeof(sent));
    driver_put(&f.d, b[0].gpa, sent, sizeof(sent));
    driver_add(&f.d, 0, b, 1, 1);
    driver_kick(&f.d, 0);
    assert_true(driver_used(&f.d, 0, &head, &written));
    assert_int_equal(head, 0);
    assert_int_equal(written, sizeof(sent));
    driver_get(&f.d, b[1].gpa, got, sizeof(got));
    assert_memory_equal(got, sent, sizeof(sent));
    assert_int_equal(got[sizeof(sent)], 0);
    stop(&f);
}

static unsigned interrupts(struct fixture *f)
{
    unsigned raised = f->d.intx;

    driver_read(&f->d, f->d.isr, 1);
    return raised;
}

/* 2.7.7.2: without event index, flags 0 demands an interrupt, 1 advises against it. */
static void flags_suppress_interrupts(void **state)
{
    struct fixture f;
    struct virtq_buffer b[2];

    (void)state;
    start(&f, BASIC);
    /* used_event means nothing here */
    driver_put16(&f.d, driver_used_event_at(&f.d.queue[0]), 1000);
    add_echo(&f, 4, b);
    assert_works(&f);
    assert_int_equal(interrupts(&f), 1);
    driver_put16(&f.d, f.d.queue[0].avail, 1);
    add_echo(&f, 4, b);
    assert_works(&f);
    assert_int_equal(interrupts(&f), 0);
    driver_put16(&f.d, f.d.queue[0].avail, 0);
    add_echo(&f, 4, b);
    assert_works(&f);
    assert_int_equal(interrupts(&f), 1);
    stop(&f);
}

/* 2.7.7.2: with event index, an interrupt when the index passes used_event; flags mean nothing. */
static void used_event_demands_interrupts(void **state)
{
    struct fixture f;
    struct virtq_buffer b[2];

    (void)state;
    start(&f, EVERYTHING);
    driver_put16(&f.d, f.d.queue[0].avail, 1);
    driver_put16(&f.d, driver_used_event_at(&f.d.queue[0]), 2);
    for (unsigned i = 0; i < 6; i++) {
        add_echo(&f, 4, b);
        assert_works(&f);
        assert_int_equal(interrupts(&f), i == 2);
    }
    /* several at once, the event among them */
    driver_put16(&f.d, driver_used_event_at(&f.d.queue[0]), 7);
    for (unsigned i = 0; i < 3; i++)
        add_echo(&f, 4, b);
    driver_kick(&f.d, 0);
    assert_int_equal(interrupts(&f), 1);
    stop(&f);
}

/* 2.7.10.2: flags of the used ring stay 0; avail_event asks for the next chain. */
static void avail_event_asks_for_the_next(void **state)
{
    struct fixture f;
    struct virtq_buffer b[2];

    (void)state;
    start(&f, EVERYTHING);
    for (uint16_t i = 1; i < 6; i++) {
        add_echo(&f, 4, b);
        assert_works(&f);
        assert_int_equal(driver_get16(&f.d, driver_avail_event_at(&f.d.queue[0])), i);
        assert_int_equal(driver_get16(&f.d, f.d.queue[0].used), 0);
    }
    stop(&f);
}

/* The same when the device leaves chains where they are: the next one is notified, too. */
static void avail_event_passes_what_is_left(void **state)
{
    struct fixture f;
    struct virtq_buffer b[2];

    (void)state;
    start(&f, EVERYTHING);
    f.echo.idle = true;
    add_echo(&f, 4, b);
    add_echo(&f, 4, b);
    driver_kick(&f.d, 0);
    assert_int_equal(f.echo.chains, 0);
    assert_int_equal(driver_get16(&f.d, driver_avail_event_at(&f.d.queue[0])), 2);
    stop(&f);
}

/* 2.7.10.2: notifications for nothing. */
static void spurious_notifications_are_harmless(void **state)
{
    struct fixture f;
    uint32_t head, written;

    (void)state;
    start(&f, EVERYTHING);
    for (unsigned i = 0; i < 10; i++)
        driver_kick(&f.d, i % 2);
    assert_false(driver_used(&f.d, 0, &head, &written));
    assert_int_equal(f.d.intx, 0);
    assert_false(is_broken(&f));
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_framing),
        cmocka_unit_test(readable_after_writable_breaks),
        cmocka_unit_test(readable_is_never_written),
        cmocka_unit_test(empty_descriptors_describe_nothing),
        cmocka_unit_test(misaligned_rings_break),
        cmocka_unit_test(rings_outside_memory_break),
        cmocka_unit_test(buffers_outside_memory_break),
        cmocka_unit_test(loops_break),
        cmocka_unit_test(chain_of_more_than_4_gib_breaks),
        cmocka_unit_test(index_out_of_range_breaks),
        cmocka_unit_test(head_in_flight_breaks),
        cmocka_unit_test(indirect_tables_work),
        cmocka_unit_test(indirect_without_feature_breaks),
        cmocka_unit_test(indirect_inside_indirect_breaks),
        cmocka_unit_test(indirect_with_next_breaks),
        cmocka_unit_test(indirect_table_of_wrong_size_breaks),
        cmocka_unit_test(indirect_table_outside_memory_breaks),
        cmocka_unit_test(indirect_table_that_loops_breaks),
        cmocka_unit_test(indirect_next_out_of_table_breaks),
        cmocka_unit_test(write_flag_of_indirect_is_ignored),
        cmocka_unit_test(indirect_after_normal_works),
        cmocka_unit_test(available_index_that_jumps_breaks),
        cmocka_unit_test(indices_wrap),
        cmocka_unit_test(service_is_bounded),
        cmocka_unit_test(used_element_has_length),
        cmocka_unit_test(flags_suppress_interrupts),
        cmocka_unit_test(used_event_demands_interrupts),
        cmocka_unit_test(avail_event_asks_for_the_next),
        cmocka_unit_test(avail_event_passes_what_is_left),
        cmocka_unit_test(spurious_notifications_are_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
