/* SPDX-License-Identifier: Apache-2.0 */
#include "machine_time.h"

#include "machine/dev/rtc.h"

#define SECOND UINT64_C(1000000000)
#define START  (INT64_C(1772366399) * 1000000000) /* 2026-03-01 11:59:59, a Sunday */
#define MEMORY (UINT64_C(512) << 20)

struct fixture {
    struct rtc rtc;
    struct clock *clock;
    struct line_probe line;
};

static struct fixture *setup(struct fixture *f)
{
    *f = (struct fixture){.clock = time_create()};
    rtc_init(&f->rtc, f->clock, line_to(&f->line), START, MEMORY);
    return f;
}

static uint8_t get(struct fixture *f, uint8_t reg)
{
    rtc_out(&f->rtc, 0x70, 1, reg);
    return (uint8_t)rtc_in(&f->rtc, 0x71, 1);
}

static void set(struct fixture *f, uint8_t reg, uint8_t value)
{
    rtc_out(&f->rtc, 0x70, 1, reg);
    rtc_out(&f->rtc, 0x71, 1, value);
}

static void expect_time(struct fixture *f, uint8_t hour, uint8_t minute, uint8_t second)
{
    assert_int_equal(get(f, 4), hour);
    assert_int_equal(get(f, 2), minute);
    assert_int_equal(get(f, 0), second);
}

static void test_reads_the_date(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    expect_time(f, 0x11, 0x59, 0x59);
    assert_int_equal(get(f, 6), 1);
    assert_int_equal(get(f, 7), 0x01);
    assert_int_equal(get(f, 8), 0x03);
    assert_int_equal(get(f, 9), 0x26);
    assert_int_equal(get(f, 0x32), 0x20);
    assert_int_equal(get(f, 0x0d), 0x80);
    time_advance(f->clock, SECOND);
    expect_time(f, 0x12, 0x00, 0x00);
    set(f, 0x0b, 0x04); /* binary, 12 hours */
    expect_time(f, 0x80 | 12, 0, 0);
    time_advance(f->clock, 13 * 3600 * SECOND);
    expect_time(f, 1, 0, 0);
    clock_destroy(f->clock);
}

static void test_setting(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    set(f, 0x0b, 0x82);
    time_advance(f->clock, 5 * SECOND);
    expect_time(f, 0x11, 0x59, 0x59); /* held */
    set(f, 9, 0x99);
    set(f, 0x32, 0x19);
    set(f, 8, 0x12);
    set(f, 7, 0x31);
    set(f, 4, 0x23);
    set(f, 0x0b, 0x02);
    expect_time(f, 0x23, 0x59, 0x59);
    time_advance(f->clock, SECOND);
    expect_time(f, 0, 0, 0);
    assert_int_equal(get(f, 9), 0x00);
    assert_int_equal(get(f, 0x32), 0x20);
    assert_int_equal(get(f, 6), 7); /* 2000-01-01 was a Saturday */
    clock_destroy(f->clock);
}

static void test_update_in_progress(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    assert_int_equal(get(f, 0x0a) & 0x80, 0);
    time_advance(f->clock, SECOND - 200000);
    assert_int_equal(get(f, 0x0a) & 0x80, 0x80);
    assert_int_equal(get(f, 0), 0x59);
    time_advance(f->clock, 200000);
    assert_int_equal(get(f, 0x0a) & 0x80, 0);
    assert_int_equal(get(f, 0), 0x00);
    clock_destroy(f->clock);
}

static void test_update_interrupt(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    time_advance(f->clock, 3 * SECOND);
    assert_int_equal(get(f, 0x0c) & 0x10, 0x10); /* the flag needs no enable */
    assert_int_equal(get(f, 0x0c), 0);
    assert_int_equal(f->line.rises, 0);
    set(f, 0x0b, 0x12);
    time_advance(f->clock, 2 * SECOND);
    assert_int_equal(f->line.rises, 1); /* stays up until register C is read */
    assert_int_equal(get(f, 0x0c) & 0x90, 0x90);
    assert_false(f->line.level);
    time_advance(f->clock, SECOND);
    assert_int_equal(f->line.rises, 2);
    set(f, 0x0b, 0x02);
    assert_false(f->line.level);
    assert_true(clock_next_due(f->clock) == CLOCK_NEVER);
    clock_destroy(f->clock);
}

static void test_alarm(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    set(f, 1, 0x05);
    set(f, 3, 0x00);
    set(f, 5, 0xff); /* any hour */
    set(f, 0x0b, 0x22);
    time_advance(f->clock, 5 * SECOND);
    assert_false(f->line.level);
    time_advance(f->clock, SECOND);
    assert_true(f->line.level);
    assert_int_equal(get(f, 0x0c) & 0xa0, 0xa0);
    time_advance(f->clock, 3599 * SECOND);
    assert_false(f->line.level);
    time_advance(f->clock, SECOND);
    assert_true(f->line.level);
    clock_destroy(f->clock);
}

static void test_periodic(void **state)
{
    struct fixture storage, *f = setup(&storage);
    unsigned ticks = 0;

    (void)state;
    set(f, 0x0a, 0x26); /* 1,024 Hz */
    set(f, 0x0b, 0x42);
    for (unsigned i = 0; i < 10000; i++) {
        time_advance(f->clock, 100000);
        if (f->line.level) {
            ticks++;
            assert_int_equal(get(f, 0x0c) & 0xc0, 0xc0);
        }
    }
    assert_in_range(ticks, 1023, 1025);
    set(f, 0x0a, 0x20); /* rate 0: off */
    assert_true(clock_next_due(f->clock) == CLOCK_NEVER);
    clock_destroy(f->clock);
}

static void test_cmos(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    assert_int_equal(get(f, 0x15) | get(f, 0x16) << 8, 640);
    assert_int_equal(get(f, 0x17) | get(f, 0x18) << 8, 0xffff);
    assert_int_equal(get(f, 0x34) | get(f, 0x35) << 8, (512 - 16) * 16);
    set(f, 0x70, 0xaa);
    assert_int_equal(get(f, 0x70 | 0x80), 0xaa);
    clock_destroy(f->clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_the_date),
        cmocka_unit_test(test_setting),
        cmocka_unit_test(test_update_in_progress),
        cmocka_unit_test(test_update_interrupt),
        cmocka_unit_test(test_alarm),
        cmocka_unit_test(test_periodic),
        cmocka_unit_test(test_cmos),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
