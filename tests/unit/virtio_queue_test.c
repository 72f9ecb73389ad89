/* SPDX-License-Identifier: Apache-2.0 */
/* The split queue (VIRTIO 1.2 2.7): what it must do. docs/virtio.md names these. */
#include "virtio_queue_fixture.h"

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

static void make_more_available(void *arg)
{
    struct driver *d = arg;

    driver_make_available(d, 0, 0);
}

/* A guest that makes more available while it is served cannot keep the host in one service. */
static void service_is_bounded(void **state)
{
    struct fixture f;
    struct virtq_buffer b[2];

    (void)state;
    start(&f, BASIC);
    f.echo.between = make_more_available;
    f.echo.between_arg = &f.d;
    add_echo(&f, 4, b);
    virtio_notify(f.d.dev, 0);
    for (unsigned round = 1; round <= 3; round++) {
        f.d.wanted = 0;
        driver_serve(&f.d);
        assert_int_equal(f.echo.chains, round * QUEUE_SIZE);
        assert_true(f.d.wanted); /* the rest comes with the next */
    }
    stop(&f);
}

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

/*
 * 2.7.10.1: a driver looks at avail_event after it has made a chain available. The device may serve
 * for another reason in between, and ask for the next one then; so that it must take this one.
 */
static void a_chain_between_services_is_not_lost(void **state)
{
    struct fixture f;
    struct virtq_buffer b[2];
    uint16_t event;

    (void)state;
    start(&f, EVERYTHING);
    add_echo(&f, 4, b);
    assert_works(&f);
    add_echo(&f, 4, b);
    virtio_ask_service(f.d.dev);
    driver_serve(&f.d);
    event = driver_get16(&f.d, driver_avail_event_at(&f.d.queue[0]));
    if ((uint16_t)(f.d.queue[0].avail_idx - event - 1) < 1)
        driver_notify(&f.d, 0);
    driver_serve(&f.d);
    assert_int_equal(f.echo.chains, 2);
    /* what a device leaves where it is, it is told of no more */
    f.echo.idle = true;
    add_echo(&f, 4, b);
    driver_kick(&f.d, 0);
    driver_serve(&f.d);
    f.d.wanted = 0;
    driver_serve(&f.d);
    assert_int_equal(f.d.wanted, 0);
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
        cmocka_unit_test(readable_is_never_written),
        cmocka_unit_test(empty_descriptors_describe_nothing),
        cmocka_unit_test(indirect_tables_work),
        cmocka_unit_test(write_flag_of_indirect_is_ignored),
        cmocka_unit_test(indirect_after_normal_works),
        cmocka_unit_test(indices_wrap),
        cmocka_unit_test(service_is_bounded),
        cmocka_unit_test(used_element_has_length),
        cmocka_unit_test(flags_suppress_interrupts),
        cmocka_unit_test(used_event_demands_interrupts),
        cmocka_unit_test(avail_event_asks_for_the_next),
        cmocka_unit_test(avail_event_passes_what_is_left),
        cmocka_unit_test(a_chain_between_services_is_not_lost),
        cmocka_unit_test(spurious_notifications_are_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
