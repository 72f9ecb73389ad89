/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drivers that lie to the balloon device. Whatever they say, they harm their own guest at most: the
 * ledger stays right, a service stays short, and a reset makes the device as new.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "balloon_driver.h"

/* What one service may do, with room for the queues of the same device. */
#define SHARE 8192

static int setup(void **state)
{
    struct bd *d = malloc(sizeof(*d));

    *state = d;
    return d && !bd_open(d) && bd_start(d, BD_F_DEFAULT) ? 0 : -1;
}

static int teardown(void **state)
{
    struct bd *d = *state;

    if (!mem_check(d->mem))
        fail_msg("%s", err_text());
    bd_close(d);
    free(d);
    return 0;
}

static uint64_t in_balloon(struct bd *d)
{
    return mem_ledger(d->mem).pages[PAGE_BALLOONED];
}

static uint64_t handled(struct bd *d)
{
    const struct mem_balloon_stats *s = mem_balloon_stats(d->mem);

    return s->inflated + s->deflated + s->reported + s->hinted + s->ignored;
}

/* The device works for a driver that behaves. */
static void is_as_new(struct bd *d)
{
    uint64_t before;

    assert_true(bd_start(d, BD_F_DEFAULT));
    before = in_balloon(d);
    bd_send_run(d, BD_INFLATE, 4000, 100);
    assert_int_equal(bd_used(d, BD_INFLATE), 1);
    assert_int_equal(in_balloon(d), before + 100);
    assert_false(d->dev.status & VIRTIO_DEVICE_NEEDS_RESET);
}

/* No memory there, devices, the end of the 32-bit numbers. */
static void wild_numbers(void **state)
{
    struct bd *d = *state;
    const uint32_t pfns[] = {BD_PAGES, BD_PAGES + 1, 0xfee00,    0xfec00,    0xc0000,
                             0x100000, 0x7fffffff,   0x80000000, UINT32_MAX, UINT32_MAX - 1};
    const unsigned count = sizeof pfns / sizeof *pfns;

    bd_send_pfns(d, BD_INFLATE, pfns, count);
    bd_send_pfns(d, BD_DEFLATE, pfns, count);
    assert_int_equal(bd_used(d, BD_INFLATE) + bd_used(d, BD_DEFLATE), 2);
    assert_int_equal(mem_balloon_stats(d->mem)->ignored, 2 * count);
    assert_int_equal(in_balloon(d), 0);
}

/* The same page over and over; a page deflated that was never inflated. */
static void repeated_numbers(void **state)
{
    struct bd *d = *state;
    uint32_t pfns[1024];

    for (unsigned i = 0; i < 1024; i++)
        pfns[i] = 4000 + i % 2;
    bd_send_pfns(d, BD_DEFLATE, pfns, 1024);
    bd_send_pfns(d, BD_INFLATE, pfns, 1024);
    assert_int_equal(in_balloon(d), 2);
    bd_send_pfns(d, BD_INFLATE, pfns, 1024);
    assert_int_equal(in_balloon(d), 2);
    bd_send_pfns(d, BD_DEFLATE, pfns, 1024);
    assert_int_equal(in_balloon(d), 0);
    assert_int_equal(mem_balloon_stats(d->mem)->inflated, 2);
    assert_int_equal(mem_balloon_stats(d->mem)->ignored, 4 * 1024 - 4);
}

/* A page that a device works in stays; it is the guest's again when it is not pinned any more. */
static void pinned_page(void **state)
{
    struct bd *d = *state;
    const struct bd_buffer page = {UINT64_C(4000) * PAGE_SIZE, PAGE_SIZE, true};
    uint64_t mark = 0x1122334455667788;

    assert_true(mem_write(d->mem, gpa_make(page.gpa), &mark, sizeof mark));
    assert_true(mem_pin(d->mem, gfn_make(4000)));
    bd_send_run(d, BD_INFLATE, 4000, 1);
    bd_send(d, BD_REPORT, &page, 1);
    assert_int_equal(mem_page_state(d->mem, gfn_make(4000)), PAGE_PINNED);
    mem_unpin(d->mem, gfn_make(4000));
    assert_true(mem_read(d->mem, gpa_make(page.gpa), &mark, sizeof mark));
    assert_true(mark == 0x1122334455667788);
}

/* Its own rings and the array that is being read, by each of the three ways to give a page away. */
static void rings(void **state)
{
    struct bd *d = *state;
    const struct bd_buffer all = {0, 64 * (uint32_t)PAGE_SIZE, true};

    for (unsigned way = 0; way < 4; way++) {
        is_as_new(d);
        if (way == 0)
            bd_send_run(d, BD_INFLATE, 0, 64);
        if (way == 1)
            bd_send_run(d, BD_DEFLATE, 0, 64);
        if (way == 2)
            bd_send(d, BD_REPORT, &all, 1);
        for (unsigned i = 0; i < BD_QUEUES; i++)
            virtio_notify(&d->dev, i);
        bd_settle(d);
        assert_false(d->service_wanted);
    }
    is_as_new(d);
}

/* All of memory in the balloon, again and again, with resets in between or without. */
static void everything(void **state)
{
    struct bd *d = *state;

    for (unsigned round = 0; round < 20; round++) {
        for (uint32_t first = BD_PAGES; first; first -= 1024) {
            bd_send_run(d, BD_INFLATE, first - 1024, 1024);
            if (d->dev.status & VIRTIO_DEVICE_NEEDS_RESET)
                assert_true(bd_start(d, BD_F_DEFAULT));
        }
        if (round % 2)
            assert_true(bd_start(d, BD_F_DEFAULT));
        assert_true(mem_check(d->mem));
    }
    is_as_new(d);
}

/*
 * An array of eight million numbers, several times: each service does its share, the driver gets
 * its chain back at the end, and a reset in the middle ends it.
 */
static void endless_array(void **state)
{
    struct bd *d = *state;
    struct bd_buffer whole[8];
    uint64_t before;

    for (unsigned i = 0; i < 8; i++)
        whole[i] = (struct bd_buffer){0, 4u << 20, false};
    bd_add(d, BD_INFLATE, whole, 8);
    virtio_notify(&d->dev, BD_INFLATE);
    for (before = handled(d); bd_service(d); before = handled(d))
        assert_true(handled(d) - before <= SHARE);
    assert_true(d->services >= 8 * 1024 * 1024 / SHARE);
    assert_int_equal(handled(d), 8 * 1024 * 1024);

    is_as_new(d);
    bd_add(d, BD_INFLATE, whole, 8);
    virtio_notify(&d->dev, BD_INFLATE);
    for (unsigned i = 0; i < 10; i++)
        assert_true(bd_service(d));
    is_as_new(d);
}

/* A report of all of memory, sixteen times over in one chain: the same. */
static void endless_report(void **state)
{
    struct bd *d = *state;
    struct bd_buffer own[16];
    uint64_t before;

    for (unsigned i = 0; i < 16; i++)
        own[i] =
            (struct bd_buffer){BD_OWN * PAGE_SIZE, (uint32_t)(BD_BYTES - BD_OWN * PAGE_SIZE), true};
    bd_add(d, BD_REPORT, own, 16);
    virtio_notify(&d->dev, BD_REPORT);
    for (before = handled(d); bd_service(d); before = handled(d))
        assert_true(handled(d) - before <= SHARE);
    assert_int_equal(bd_used(d, BD_REPORT), 1);
    assert_int_equal(mem_balloon_stats(d->mem)->reported, 16 * (BD_PAGES - BD_OWN));
}

/* Hints without end in a round: no page that holds something goes. */
static void endless_hints(void **state)
{
    struct bd *d = *state;
    const struct bd_buffer own = {BD_OWN * PAGE_SIZE, 1024 * (uint32_t)PAGE_SIZE, true};
    const struct bd_buffer command = {BD_BUFFERS, 4, false};
    uint64_t mark = 42;
    uint32_t id;

    for (unsigned i = 0; i < 1024; i++)
        assert_true(mem_write(d->mem, gpa_make((BD_OWN + i) * PAGE_SIZE), &mark, sizeof mark));
    assert_true(balloon_start_hinting(d->balloon));
    id = bd_config(d, BD_CMD_ID);
    assert_true(mem_write(d->mem, gpa_make(BD_BUFFERS), &id, sizeof id));
    bd_send(d, BD_HINT, &command, 1);
    for (unsigned i = 0; i < 100; i++)
        bd_send(d, BD_HINT, &own, 1);
    assert_int_equal(mem_balloon_stats(d->mem)->hinted, 0);
    assert_int_equal(mem_page_state(d->mem, gfn_make(BD_OWN + 7)), PAGE_RESIDENT);
}

/* A driver that says what it likes about itself. */
static void lies(void **state)
{
    struct bd *d = *state;
    struct {
        uint16_t tag;
        uint64_t value;
    } __attribute__((packed)) entries[10];
    const struct bd_buffer buffer = {BD_BUFFERS, sizeof entries, false};
    struct balloon_info info;

    bd_set_config(d, BD_ACTUAL, UINT32_MAX);
    for (unsigned i = 0; i < 10; i++)
        entries[i].tag = (uint16_t)i, entries[i].value = UINT64_MAX - i;
    assert_true(mem_write(d->mem, gpa_make(BD_BUFFERS), entries, sizeof entries));
    bd_send(d, BD_STATS, &buffer, 1);
    balloon_get_info(d->balloon, &info);
    assert_int_equal(info.actual_pages, BD_PAGES); /* never more than there is */
    assert_true(info.stats.value[6] == UINT64_MAX - 6);
    assert_int_equal(in_balloon(d), 0); /* counted by ourselves */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(wild_numbers),   TEST(repeated_numbers), TEST(pinned_page),
        TEST(rings),          TEST(everything),       TEST(endless_array),
        TEST(endless_report), TEST(endless_hints),    TEST(lies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
