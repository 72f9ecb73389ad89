/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The balloon device. Each test names what it proves of VIRTIO 1.2 5.5 ("5.5.6.2"); docs/virtio.md
 * has the list. Hostile drivers are in balloon_hostile_test.c. One file because
 * they share a fixture.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "balloon_driver.h"

static int setup(void **state)
{
    struct bd *d = malloc(sizeof(*d));

    *state = d;
    return d && !bd_open(d) ? 0 : -1;
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

static void fill(struct bd *d, uint64_t pfn, uint8_t byte)
{
    uint8_t page[PAGE_SIZE];

    memset(page, byte, sizeof page);
    assert_true(mem_write(d->mem, gpa_make(pfn * PAGE_SIZE), page, sizeof page));
}

static uint8_t first_byte(struct bd *d, uint64_t pfn)
{
    uint8_t byte = 0xee;

    assert_true(mem_read(d->mem, gpa_make(pfn * PAGE_SIZE), &byte, 1));
    return byte;
}

static enum page_state state_of(struct bd *d, uint64_t pfn)
{
    return mem_page_state(d->mem, gfn_make(pfn));
}

static struct balloon_info info_of(struct bd *d)
{
    struct balloon_info info;

    balloon_get_info(d->balloon, &info);
    return info;
}

/* ---- features, configuration ---- */

/* 5.5.3: all but MUST_TELL_HOST are offered; a driver may take any of them or none. */
static void features(void **state)
{
    struct bd *d = *state;

    assert_int_equal(virtio_offered(&d->dev) & 0x3f, 0x3e);
    for (uint64_t bits = 0; bits < 0x40; bits++)
        assert_int_equal(bd_start(d, VIRTIO_F_VERSION_1 | bits), !(bits & 1));
}

/* 5.5.4: four little-endian words, of which the driver writes actual and poison_val only. */
static void configuration(void **state)
{
    struct bd *d = *state;
    const uint8_t low = 0x34, high = 0x12;
    uint8_t byte;

    balloon_set_target(d->balloon, 0x1234);
    assert_true(bd_start(d, BD_F_DEFAULT | BD_F_POISON));
    virtio_config_read(&d->dev, 0, &byte, 1);
    assert_int_equal(byte, 0x34);
    virtio_config_read(&d->dev, 1, &byte, 1);
    assert_int_equal(byte, 0x12);
    for (unsigned word = 0; word < 4; word++)
        bd_set_config(d, word, 77 + word);
    assert_int_equal(bd_config(d, BD_NUM_PAGES), 0x1234);
    assert_int_equal(bd_config(d, BD_ACTUAL), 78);
    assert_int_equal(bd_config(d, BD_CMD_ID), 0);
    assert_int_equal(bd_config(d, BD_POISON), 80);
    bd_set_config(d, BD_ACTUAL, 0);
    virtio_config_write(&d->dev, 4, &low, 1);
    virtio_config_write(&d->dev, 5, &high, 1);
    assert_int_equal(bd_config(d, BD_ACTUAL), 0x1234);
    virtio_config_read(&d->dev, 16, &byte, 1);
    assert_int_equal(byte, 0);
}

/* 5.5.6: a target is told by a configuration interrupt, never larger than memory. */
static void target(void **state)
{
    struct bd *d = *state;

    balloon_set_target(d->balloon, 100);
    assert_int_equal(d->config_interrupts, 0); /* 2.1.2: not before DRIVER_OK */
    assert_true(bd_start(d, BD_F_DEFAULT));
    assert_int_equal(d->config_interrupts, 1); /* asked again */
    balloon_set_target(d->balloon, 100);
    assert_int_equal(d->config_interrupts, 1);
    balloon_set_target(d->balloon, UINT64_MAX);
    assert_int_equal(d->config_interrupts, 2);
    assert_int_equal(bd_config(d, BD_NUM_PAGES), BD_PAGES);
    assert_int_equal(info_of(d).target_pages, BD_PAGES);
}

/* ---- inflate, deflate ---- */

/* 5.5.6, 5.5.6.2: the pages are taken before the chain is used; they read as zeros. */
static void inflate_and_deflate(void **state)
{
    struct bd *d = *state;
    uint64_t before;

    assert_true(bd_start(d, BD_F_DEFAULT));
    for (uint64_t i = 0; i < 200; i++)
        fill(d, BD_OWN + i, 0x5a);
    before = mem_ledger(d->mem).pages[PAGE_RESIDENT];
    bd_send_run(d, BD_INFLATE, BD_OWN, 200);
    assert_int_equal(bd_used(d, BD_INFLATE), 1);
    assert_int_equal(d->queue_interrupts[BD_INFLATE], 1);
    assert_int_equal(mem_ledger(d->mem).pages[PAGE_BALLOONED], 200);
    /* less the three pages of the ring and the array */
    assert_true(mem_ledger(d->mem).pages[PAGE_RESIDENT] <= before - 200 + 4);
    for (uint64_t i = 0; i < 200; i++)
        assert_int_equal(first_byte(d, BD_OWN + i), 0);
    bd_set_config(d, BD_ACTUAL, 200);
    assert_int_equal(d->changes, 1);
    assert_int_equal(info_of(d).actual_pages, 200);
    bd_send_run(d, BD_DEFLATE, BD_OWN, 200);
    assert_int_equal(bd_used(d, BD_DEFLATE), 1);
    assert_int_equal(mem_ledger(d->mem).pages[PAGE_BALLOONED], 0);
    assert_int_equal(state_of(d, BD_OWN), PAGE_ABSENT);
    bd_set_config(d, BD_ACTUAL, 0);
    bd_set_config(d, BD_ACTUAL, 0);
    assert_int_equal(d->changes, 2); /* a change, not a write */
    assert_int_equal(mem_balloon_stats(d->mem)->inflated, 200);
    assert_int_equal(mem_balloon_stats(d->mem)->deflated, 200);
}

/* 2 MiB in one piece are given to the host in one run. */
static void runs(void **state)
{
    struct bd *d = *state;
    uint32_t pfns[1024];
    const struct bd_buffer whole = {BD_BUFFERS, sizeof pfns, false};

    assert_true(bd_start(d, BD_F_DEFAULT));
    for (unsigned i = 0; i < 1024; i++) {
        fill(d, 1024 + i, 1);
        pfns[i] = 2047 - i; /* a balloon counts downwards */
    }
    assert_true(mem_write(d->mem, gpa_make(BD_BUFFERS), pfns, sizeof pfns));
    bd_send(d, BD_INFLATE, &whole, 1);
    assert_int_equal(mem_balloon_stats(d->mem)->host_runs, 1);
    assert_int_equal(mem_balloon_stats(d->mem)->host_huge, 1);
    assert_int_equal(mem_balloon_stats(d->mem)->host_pages, 1024);
}

/*
 * 5.5.6.1: without MUST_TELL_HOST the guest may use a page before it says so; what it wrote then
 * must not be lost when the word comes.
 */
static void used_before_deflate(void **state)
{
    struct bd *d = *state;

    assert_true(bd_start(d, BD_F_DEFAULT));
    fill(d, BD_OWN, 1);
    bd_send_run(d, BD_INFLATE, BD_OWN, 1);
    fill(d, BD_OWN, 2);
    assert_int_equal(state_of(d, BD_OWN), PAGE_RESIDENT);
    assert_int_equal(mem_balloon_stats(d->mem)->touched, 1);
    bd_send_run(d, BD_DEFLATE, BD_OWN, 1);
    assert_int_equal(first_byte(d, BD_OWN), 2);
}

/* An array may lie in several buffers, cut anywhere, and its last bytes may be no number. */
static void scattered_array(void **state)
{
    struct bd *d = *state;
    const uint32_t pfns[4] = {BD_OWN, BD_OWN + 1, BD_OWN + 2, BD_OWN + 3};
    const struct bd_buffer parts[] = {
        {BD_BUFFERS, 3, false}, {BD_BUFFERS + 3, 6, false}, {BD_BUFFERS + 9, 6, false}};

    assert_true(bd_start(d, BD_F_DEFAULT));
    assert_true(mem_write(d->mem, gpa_make(BD_BUFFERS), pfns, sizeof pfns));
    bd_send(d, BD_INFLATE, parts, 3);
    assert_int_equal(bd_used(d, BD_INFLATE), 1);
    assert_int_equal(mem_ledger(d->mem).pages[PAGE_BALLOONED], 3);
}

/* The driver goes and comes back: the target stays, all else is as at power-on. */
static void device_reset(void **state)
{
    struct bd *d = *state;

    balloon_set_target(d->balloon, 300);
    assert_true(bd_start(d, BD_F_DEFAULT | BD_F_POISON));
    bd_set_config(d, BD_POISON, 7);
    bd_send_run(d, BD_INFLATE, BD_OWN, 300);
    bd_set_config(d, BD_ACTUAL, 300);
    assert_true(info_of(d).has_driver);
    virtio_set_status(&d->dev, 0);
    assert_int_equal(mem_ledger(d->mem).pages[PAGE_BALLOONED], 0);
    assert_false(info_of(d).has_driver);
    assert_int_equal(info_of(d).actual_pages, 0);
    assert_int_equal(d->changes, 2);
    assert_int_equal(bd_config(d, BD_POISON), 0);
    assert_int_equal(bd_config(d, BD_NUM_PAGES), 300);
    d->config_interrupts = 0;
    assert_true(bd_start(d, BD_F_DEFAULT));
    assert_int_equal(d->config_interrupts, 1);
}

/* 5.5.2: the queue of a feature that was not negotiated does not exist. */
static void absent_queues(void **state)
{
    struct bd *d = *state;
    const struct bd_buffer page = {BD_OWN * PAGE_SIZE, PAGE_SIZE, true};

    assert_true(bd_start(d, VIRTIO_F_VERSION_1));
    fill(d, BD_OWN, 9);
    bd_send(d, BD_REPORT, &page, 1);
    bd_send(d, BD_HINT, &page, 1);
    bd_send(d, BD_STATS, &page, 1);
    assert_int_equal(first_byte(d, BD_OWN), 9);
    assert_int_equal(bd_used(d, BD_REPORT) + bd_used(d, BD_HINT) + bd_used(d, BD_STATS), 0);
    assert_false(balloon_start_hinting(d->balloon));
    balloon_ask_stats(d->balloon);
    assert_false(d->service_wanted);
    assert_false(info_of(d).has_stats || info_of(d).has_reporting || info_of(d).has_hinting);
}

/* ---- statistics ---- */

struct entry {
    uint16_t tag;
    uint64_t value;
} __attribute__((packed));

static void send_stats(struct bd *d, const struct entry *entries, unsigned count, unsigned extra)
{
    const struct bd_buffer buffer = {BD_BUFFERS, count * 10 + extra, false};

    if (count)
        assert_true(mem_write(d->mem, gpa_make(BD_BUFFERS), entries, count * 10));
    bd_send(d, BD_STATS, &buffer, 1);
}

/* 5.5.6.3.2: unknown tags are ignored, any order is accepted; a tag told twice: the last. */
static void stats(void **state)
{
    struct bd *d = *state;
    const struct entry entries[] = {{9, 90}, {0x7777, 1}, {4, 40}, {0, 7}, {4, 41}, {0xffff, 2}};
    struct balloon_guest_stats s;

    assert_true(bd_start(d, BD_F_DEFAULT));
    assert_int_equal(info_of(d).stats.updates, 0);
    send_stats(d, entries, 6, 9); /* half an entry more */
    s = info_of(d).stats;
    assert_int_equal(s.updates, 1);
    assert_true(s.updated_ns != 0);
    assert_int_equal(s.value[9], 90);
    assert_int_equal(s.value[4], 41);
    assert_int_equal(s.value[0], 7);
    assert_true(s.value[6] == UINT64_MAX);
    /* 5.5.6.3: the buffer is kept to ask with */
    assert_int_equal(bd_used(d, BD_STATS), 0);
    balloon_ask_stats(d->balloon);
    bd_settle(d);
    assert_int_equal(bd_used(d, BD_STATS), 1);
    assert_int_equal(d->queue_interrupts[BD_STATS], 1);
    /* asked while there is none to ask with: it goes with the next */
    balloon_ask_stats(d->balloon);
    bd_settle(d);
    assert_int_equal(bd_used(d, BD_STATS), 1);
    send_stats(d, entries, 1, 0);
    assert_int_equal(bd_used(d, BD_STATS), 2);
    s = info_of(d).stats;
    assert_int_equal(s.updates, 2);
    assert_true(s.value[4] == UINT64_MAX); /* not told this time */
}

/* "Empty" buffers, one byte, far too many entries, two buffers at once. */
static void odd_stats(void **state)
{
    struct bd *d = *state;
    struct entry entries[1000];

    assert_true(bd_start(d, BD_F_DEFAULT));
    send_stats(d, NULL, 0, 1);
    assert_int_equal(info_of(d).stats.updates, 0);
    for (unsigned i = 0; i < 1000; i++)
        entries[i] = (struct entry){(uint16_t)(i % 10), i};
    send_stats(d, entries, 1000, 0);
    assert_int_equal(bd_used(d, BD_STATS), 1); /* the first came back */
    assert_int_equal(info_of(d).stats.value[5], 255);
    send_stats(d, entries, 2, 0);
    assert_int_equal(bd_used(d, BD_STATS), 2);
    virtio_set_status(&d->dev, 0);
    assert_int_equal(info_of(d).stats.updates, 0);
    assert_true(info_of(d).stats.value[0] == UINT64_MAX);
}

/* ---- free page reporting ---- */

/* 5.5.6.7.2: reported pages are given back, before the chain is used; parts of pages are not. */
static void reporting(void **state)
{
    struct bd *d = *state;
    const struct bd_buffer parts[] = {
        {BD_OWN * PAGE_SIZE, 8 * PAGE_SIZE, true},
        {(BD_OWN + 20) * PAGE_SIZE - 1, 2 * PAGE_SIZE, true}, /* one whole page */
        {(BD_OWN + 30) * PAGE_SIZE + 1, PAGE_SIZE, true},     /* none */
    };

    assert_true(bd_start(d, BD_F_DEFAULT));
    for (uint64_t i = 0; i < 40; i++)
        fill(d, BD_OWN + i, 0x77);
    bd_send(d, BD_REPORT, parts, 3);
    assert_int_equal(bd_used(d, BD_REPORT), 1);
    assert_int_equal(mem_balloon_stats(d->mem)->reported, 9);
    for (uint64_t i = 0; i < 40; i++) {
        bool given = i < 8 || i == 20;
        assert_int_equal(first_byte(d, BD_OWN + i), given ? 0 : 0x77);
    }
}

/*
 * 5.5.6.6, 5.5.6.7.2: with PAGE_POISON a reported page may only read as poison_val afterwards: one
 * of another value than 0 stays. The value at DRIVER_OK counts.
 */
static void reporting_with_poison(void **state)
{
    struct bd *d = *state;
    const struct bd_buffer page = {BD_OWN * PAGE_SIZE, PAGE_SIZE, true};

    for (uint32_t poison = 0; poison < 2; poison++) {
        virtio_set_status(&d->dev, 0);
        bd_set_config(d, BD_POISON, poison * 0xaaaaaaaa);
        virtio_set_status(&d->dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
        virtio_set_driver_features(&d->dev, BD_F_DEFAULT | BD_F_POISON);
        virtio_set_status(&d->dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
        for (unsigned i = 0; i < BD_QUEUES; i++)
            bd_enable(d, i);
        virtio_set_status(&d->dev, 15);
        bd_set_config(d, BD_POISON, poison ? 0 : 1); /* too late */
        fill(d, BD_OWN, poison ? 0xaa : 0);
        bd_send(d, BD_REPORT, &page, 1);
        assert_int_equal(bd_used(d, BD_REPORT), 1);
        assert_int_equal(state_of(d, BD_OWN), poison ? PAGE_RESIDENT : PAGE_ABSENT);
        assert_int_equal(first_byte(d, BD_OWN), poison ? 0xaa : 0);
    }
}

/* Without the feature negotiated poison_val means nothing. */
static void poison_without_feature(void **state)
{
    struct bd *d = *state;
    const struct bd_buffer page = {BD_OWN * PAGE_SIZE, PAGE_SIZE, true};

    bd_set_config(d, BD_POISON, 0xaaaaaaaa);
    assert_true(bd_start(d, BD_F_DEFAULT));
    fill(d, BD_OWN, 0xaa);
    bd_send(d, BD_REPORT, &page, 1);
    assert_int_equal(first_byte(d, BD_OWN), 0);
}

/* ---- free page hinting ---- */

static void send_command(struct bd *d, uint32_t id)
{
    const struct bd_buffer buffer = {BD_BUFFERS, 4, false};

    assert_true(mem_write(d->mem, gpa_make(BD_BUFFERS), &id, 4));
    bd_send(d, BD_HINT, &buffer, 1);
}

static void send_hint(struct bd *d, uint64_t pfn, uint32_t pages)
{
    const struct bd_buffer buffer = {pfn * PAGE_SIZE, pages * (uint32_t)PAGE_SIZE, true};

    bd_send(d, BD_HINT, &buffer, 1);
}

/* 5.5.6.5: a round from a new id to DONE. */
static void hinting(void **state)
{
    struct bd *d = *state;
    uint32_t id;

    assert_true(bd_start(d, BD_F_DEFAULT));
    assert_true(balloon_start_hinting(d->balloon));
    assert_int_equal(d->config_interrupts, 1);
    id = bd_config(d, BD_CMD_ID);
    assert_true(id >= 2);
    for (uint64_t i = 0; i < 8; i++)
        fill(d, BD_OWN + i, 0);
    send_command(d, id);
    send_hint(d, BD_OWN, 8);
    assert_int_equal(mem_balloon_stats(d->mem)->hinted, 8);
    assert_int_equal(state_of(d, BD_OWN + 7), PAGE_ABSENT);
    send_command(d, 0);
    assert_int_equal(bd_config(d, BD_CMD_ID), 1); /* DONE */
    assert_int_equal(d->config_interrupts, 2);
    assert_int_equal(bd_used(d, BD_HINT), 3);
    /* nothing is touched after DONE */
    fill(d, BD_OWN, 0);
    send_hint(d, BD_OWN, 8);
    assert_int_equal(mem_balloon_stats(d->mem)->hinted, 8);
}

/* 5.5.6.5.2: a page that the guest has written to since keeps what it wrote. */
static void hinted_page_is_kept(void **state)
{
    struct bd *d = *state;
    const struct bd_buffer page = {BD_OWN * PAGE_SIZE, PAGE_SIZE, true};

    assert_true(bd_start(d, BD_F_DEFAULT));
    assert_true(balloon_start_hinting(d->balloon));
    send_command(d, bd_config(d, BD_CMD_ID));
    bd_add(d, BD_HINT, &page, 1);
    fill(d, BD_OWN, 3); /* released and used again before the device came to look */
    virtio_notify(&d->dev, BD_HINT);
    bd_settle(d);
    assert_int_equal(bd_used(d, BD_HINT), 2);
    assert_int_equal(first_byte(d, BD_OWN), 3);
}

/* 5.5.6.5.2: pages under another command id are ignored; an id is not used again. */
static void hints_of_other_rounds(void **state)
{
    struct bd *d = *state;
    uint32_t first, second;

    assert_true(bd_start(d, BD_F_DEFAULT));
    fill(d, BD_OWN, 0);
    send_hint(d, BD_OWN, 1); /* no round at all */
    send_command(d, 0);
    send_command(d, 1);
    assert_int_equal(bd_config(d, BD_CMD_ID), 0);
    send_hint(d, BD_OWN, 1);
    assert_true(balloon_start_hinting(d->balloon));
    first = bd_config(d, BD_CMD_ID);
    assert_true(balloon_start_hinting(d->balloon)); /* before the driver has seen the first */
    second = bd_config(d, BD_CMD_ID);
    assert_true(first != second);
    send_command(d, first);
    send_hint(d, BD_OWN, 1);
    send_command(d, 0); /* ends the first, not the second */
    assert_int_equal(bd_config(d, BD_CMD_ID), second);
    assert_int_equal(mem_balloon_stats(d->mem)->hinted, 0);
    send_command(d, second);
    send_hint(d, BD_OWN, 1);
    assert_int_equal(mem_balloon_stats(d->mem)->hinted, 1);
    send_command(d, 0);
    assert_true(balloon_start_hinting(d->balloon));
    assert_true(bd_config(d, BD_CMD_ID) != first && bd_config(d, BD_CMD_ID) != second);
    virtio_set_status(&d->dev, 0);
    assert_int_equal(bd_config(d, BD_CMD_ID), 0); /* STOP */
}

/* 5.5.6.5.1: a command is of 4 bytes; a driver that breaks that is told to reset. */
static void hint_command_size(void **state)
{
    struct bd *d = *state;
    const struct bd_buffer eight = {BD_BUFFERS, 8, false};

    assert_true(bd_start(d, BD_F_DEFAULT));
    bd_send(d, BD_HINT, &eight, 1);
    assert_true(d->dev.status & VIRTIO_DEVICE_NEEDS_RESET);
    assert_false(info_of(d).has_driver);
    assert_false(balloon_start_hinting(d->balloon));
    assert_true(bd_start(d, BD_F_DEFAULT));
    assert_true(info_of(d).has_driver);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(features),
        TEST(configuration),
        TEST(target),
        TEST(inflate_and_deflate),
        TEST(runs),
        TEST(used_before_deflate),
        TEST(scattered_array),
        TEST(device_reset),
        TEST(absent_queues),
        TEST(stats),
        TEST(odd_stats),
        TEST(reporting),
        TEST(reporting_with_poison),
        TEST(poison_without_feature),
        TEST(hinting),
        TEST(hinted_page_is_kept),
        TEST(hints_of_other_rounds),
        TEST(hint_command_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
