/* SPDX-License-Identifier: Apache-2.0 */
#include "machine_time.h"

#include "machine/dev/pit.h"

struct fixture {
    struct pit pit;
    struct clock *clock;
    struct line_probe line;
};

static struct fixture *setup(struct fixture *f)
{
    *f = (struct fixture){.clock = time_create()};
    pit_init(&f->pit, f->clock, line_to(&f->line));
    return f;
}

static void out(struct fixture *f, uint16_t port, uint8_t value)
{
    pit_out(&f->pit, port, 1, value);
}

static uint8_t in(struct fixture *f, uint16_t port)
{
    return (uint8_t)pit_in(&f->pit, port, 1);
}

static uint16_t in16(struct fixture *f, uint16_t port)
{
    uint8_t low = in(f, port);

    return (uint16_t)(in(f, port) << 8 | low);
}

static void advance_ticks(struct fixture *f, uint64_t ticks)
{
    time_advance(f->clock, clock_ns_of_hz(ticks, PIT_HZ));
}

static bool speaker_out(struct fixture *f)
{
    return pit_speaker_in(&f->pit, 0x61, 1) & 0x20;
}

static void test_rate_generator(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    out(f, 0x43, 0x34);
    out(f, 0x40, 4773 & 0xff); /* 250 Hz */
    assert_int_equal(f->line.rises, 0);
    out(f, 0x40, 4773 >> 8);
    time_advance(f->clock, UINT64_C(10000000000));
    assert_in_range(f->line.rises, 2499, 2501);
    out(f, 0x43, 0x00);
    assert_true(in16(f, 0x40) <= 4773);
    clock_destroy(f->clock);
}

static void test_one_interrupt(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    out(f, 0x43, 0x30);
    out(f, 0x40, 0xe8);
    out(f, 0x40, 0x03);
    assert_false(f->line.level);
    advance_ticks(f, 400);
    assert_false(f->line.level);
    out(f, 0x43, 0x00);
    advance_ticks(f, 100);
    assert_in_range(in16(f, 0x40), 599, 601); /* as latched */
    assert_in_range(in16(f, 0x40), 499, 501);
    advance_ticks(f, 501);
    assert_true(f->line.level);
    time_advance(f->clock, 1000000000);
    assert_int_equal(f->line.rises, 1);
    clock_destroy(f->clock);
}

static void test_read_back(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    out(f, 0x43, 0xb6);
    out(f, 0x43, 0xe8); /* status of channel 2: no count yet */
    assert_int_equal(in(f, 0x42) & 0x7f, 0x76);
    pit_speaker_out(&f->pit, 0x61, 1, 1);
    out(f, 0x42, 100);
    out(f, 0x42, 0);
    out(f, 0x43, 0xc8); /* status and count */
    assert_int_equal(in(f, 0x42), 0xb6);
    assert_int_equal(in(f, 0x42), 100);
    assert_int_equal(in(f, 0x42), 0);
    clock_destroy(f->clock);
}

/* How Linux measures the TSC: channel 2 in mode 0 behind the gate of port 0x61. */
static void test_gate_and_output(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    pit_speaker_out(&f->pit, 0x61, 1, 1);
    out(f, 0x43, 0xb0);
    out(f, 0x42, 0x10);
    out(f, 0x42, 0x00);
    assert_false(speaker_out(f));
    advance_ticks(f, 8);
    pit_speaker_out(&f->pit, 0x61, 1, 0); /* gate low: stands still */
    advance_ticks(f, 100);
    assert_false(speaker_out(f));
    pit_speaker_out(&f->pit, 0x61, 1, 1);
    advance_ticks(f, 6);
    assert_false(speaker_out(f));
    advance_ticks(f, 3);
    assert_true(speaker_out(f));
    assert_int_equal(f->line.rises, 0);
    out(f, 0x43, 0xb2); /* mode 1 starts at the gate's rising edge */
    out(f, 0x42, 0x10);
    out(f, 0x42, 0x00);
    assert_true(speaker_out(f));
    pit_speaker_out(&f->pit, 0x61, 1, 0);
    pit_speaker_out(&f->pit, 0x61, 1, 1);
    assert_false(speaker_out(f));
    advance_ticks(f, 17);
    assert_true(speaker_out(f));
    clock_destroy(f->clock);
}

static void test_square_wave_and_strobe(void **state)
{
    struct fixture storage, *f = setup(&storage);
    unsigned high = 0;

    (void)state;
    pit_speaker_out(&f->pit, 0x61, 1, 1);
    out(f, 0x43, 0x96);
    out(f, 0x42, 10);
    for (unsigned i = 0; i < 1000; i++) {
        high += speaker_out(f);
        advance_ticks(f, 1);
    }
    assert_in_range(high, 480, 520);
    out(f, 0x43, 0x18); /* channel 0, mode 4, low byte only */
    f->line.rises = 0;
    out(f, 0x40, 50);
    advance_ticks(f, 1000);
    assert_int_equal(f->line.rises, 1);
    clock_destroy(f->clock);
}

static void test_bcd_and_refresh(void **state)
{
    struct fixture storage, *f = setup(&storage);
    bool first = pit_speaker_in(&f->pit, 0x61, 1) & 0x10;
    unsigned toggles = 0;

    (void)state;
    pit_speaker_out(&f->pit, 0x61, 1, 1);
    out(f, 0x43, 0xb1);
    out(f, 0x42, 0x00);
    out(f, 0x42, 0x10); /* 1000 */
    advance_ticks(f, 1);
    assert_in_range(in16(f, 0x42), 0x998, 0x999);
    for (unsigned i = 0; i < 1000; i++) {
        bool now = pit_speaker_in(&f->pit, 0x61, 1) & 0x10;

        toggles += now != first;
        first = now;
        time_advance(f->clock, 1000);
    }
    assert_in_range(toggles, 60, 70);
    clock_destroy(f->clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate_generator),
        cmocka_unit_test(test_one_interrupt),
        cmocka_unit_test(test_read_back),
        cmocka_unit_test(test_gate_and_output),
        cmocka_unit_test(test_square_wave_and_strobe),
        cmocka_unit_test(test_bcd_and_refresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
