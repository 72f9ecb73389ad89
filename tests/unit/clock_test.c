/* SPDX-License-Identifier: Apache-2.0 */
#include "machine_time.h"

#include <stdlib.h>

#include <x86intrin.h>

#define TIMERS 300

struct recorder {
    uint64_t last_due;
    unsigned fired;
};

struct probe {
    struct clock_timer timer;
    struct recorder *recorder;
    uint64_t again_ns;
    struct clock *clock;
};

static void on_due(void *arg, uint64_t now)
{
    struct probe *probe = arg;

    assert_true(probe->timer.due_ns <= now);
    assert_true(probe->timer.due_ns >= probe->recorder->last_due);
    assert_false(clock_timer_is_armed(&probe->timer));
    probe->recorder->last_due = probe->timer.due_ns;
    probe->recorder->fired++;
    if (probe->again_ns)
        assert_int_equal(clock_timer_arm(probe->clock, &probe->timer, now + probe->again_ns),
                         ERR_OK);
}

static void test_order(void **state)
{
    struct clock *clock = time_create();
    struct recorder recorder = {0};
    struct probe *probes = calloc(TIMERS, sizeof(*probes));
    unsigned cancelled = 0;

    (void)state;
    srandom(1);
    for (unsigned i = 0; i < TIMERS; i++) {
        probes[i].timer = (struct clock_timer){.fn = on_due, .arg = &probes[i]};
        probes[i].recorder = &recorder;
        assert_int_equal(clock_timer_arm(clock, &probes[i].timer, (uint64_t)random() % 1000),
                         ERR_OK);
    }
    for (unsigned i = 0; i < TIMERS; i += 3) /* moved */
        assert_int_equal(clock_timer_arm(clock, &probes[i].timer, (uint64_t)random() % 1000),
                         ERR_OK);
    for (unsigned i = 1; i < TIMERS; i += 7, cancelled++) {
        clock_timer_cancel(clock, &probes[i].timer);
        clock_timer_cancel(clock, &probes[i].timer); /* twice is harmless */
    }
    for (uint64_t t = 0; t <= 1000; t += 50) {
        clock_skip_to(clock, t);
        clock_run_due(clock);
        assert_true(clock_next_due(clock) > t);
    }
    assert_int_equal(recorder.fired, TIMERS - cancelled);
    assert_true(clock_next_due(clock) == CLOCK_NEVER);
    free(probes);
    clock_destroy(clock);
}

static void test_rearm_in_callback(void **state)
{
    struct clock *clock = time_create();
    struct recorder recorder = {0};
    struct probe probe = {.recorder = &recorder, .again_ns = 10, .clock = clock};

    (void)state;
    probe.timer = (struct clock_timer){.fn = on_due, .arg = &probe};
    assert_int_equal(clock_timer_arm(clock, &probe.timer, 10), ERR_OK);
    time_advance(clock, 100);
    assert_int_equal(recorder.fired, 10);
    assert_true(clock_next_due(clock) == 110);
    clock_destroy(clock);
}

static uint64_t counted(void *arg)
{
    return *(uint64_t *)arg;
}

static void test_instructions(void **state)
{
    uint64_t instructions = 0;
    struct clock_config config = {
        .mode = CLOCK_INSTRUCTIONS, .instructions = counted, .arg = &instructions};
    struct clock *clock;

    (void)state;
    assert_int_equal(clock_create(&clock, &config), ERR_OK);
    assert_true(clock_now(clock) == 0);
    instructions = 1000;
    assert_true(clock_now(clock) == 1000 * CLOCK_NS_PER_INSTRUCTION);
    clock_skip_to(clock, 10000);
    assert_true(clock_now(clock) == 10000);
    clock_skip_to(clock, 9000); /* never back */
    clock_skip_to(clock, CLOCK_NEVER);
    assert_true(clock_now(clock) == 10000);
    instructions++;
    assert_true(clock_now(clock) == 10000 + CLOCK_NS_PER_INSTRUCTION);
    assert_true(clock_tsc(clock, 2000000) == 2 * clock_now(clock));
    clock_destroy(clock);
}

static void count_earlier(void *arg)
{
    ++*(uint64_t *)arg;
}

static void test_earlier_is_told(void **state)
{
    uint64_t earlier = 0;
    struct clock_config config = {.mode = CLOCK_HOST, .on_earlier = count_earlier, .arg = &earlier};
    struct clock_timer a = {.fn = NULL}, b = {.fn = NULL};
    struct clock *clock;

    (void)state;
    assert_int_equal(clock_create(&clock, &config), ERR_OK);
    assert_int_equal(clock_timer_arm(clock, &a, UINT64_C(1) << 60), ERR_OK);
    assert_true(earlier == 1);
    assert_int_equal(clock_timer_arm(clock, &b, UINT64_C(1) << 61), ERR_OK);
    assert_true(earlier == 1);
    assert_int_equal(clock_timer_arm(clock, &b, UINT64_C(1) << 59), ERR_OK);
    assert_true(earlier == 2);
    clock_destroy(clock);
}

/* The counter by its scale lies between two readings of it. */
static void test_tsc_scale(void **state)
{
    struct clock_config config = {.mode = CLOCK_HOST, .host_tsc_khz = 2450000};
    const uint64_t khz[] = {2450000, 1000000};
    struct clock_tsc_scale scale;
    struct clock *clock;

    (void)state;
    assert_int_equal(clock_create(&clock, &config), ERR_OK);
    assert_false(clock_get_tsc_scale(clock, 1000001, &scale));
    for (unsigned i = 0; i < 2; i++) {
        if (!clock_get_tsc_scale(clock, khz[i], &scale))
            continue; /* the host's TSC is not invariant */
        for (unsigned n = 0; n < 1000; n++) {
            uint64_t before = clock_tsc(clock, khz[i]);
            uint64_t ticks = __rdtsc() - scale.start;
            uint64_t tsc = (uint64_t)((unsigned __int128)ticks * scale.mul / scale.div);

            assert_true(before <= tsc && tsc <= clock_tsc(clock, khz[i]));
        }
    }
    clock_destroy(clock);
}

static void test_host_time_agrees_with_tsc(void **state)
{
    struct clock_config config = {.mode = CLOCK_HOST, .host_tsc_khz = host_tsc_khz()};
    struct clock *clock;
    uint64_t before, tsc, after;

    (void)state;
    assert_true(config.host_tsc_khz > 100000);
    assert_int_equal(clock_create(&clock, &config), ERR_OK);
    for (unsigned i = 0; i < 1000; i++) {
        before = clock_now(clock);
        tsc = clock_tsc(clock, config.host_tsc_khz);
        after = clock_now(clock);
        assert_true(before <= after);
        assert_true(clock_ns_from_ticks(tsc, config.host_tsc_khz) + 1 >= before);
        assert_true(clock_ns_from_ticks(tsc, config.host_tsc_khz) <= after);
    }
    clock_destroy(clock);
}

static void test_scaling(void **state)
{
    static const uint64_t values[] = {0, 1, 999, 1000000, 123456789012, UINT64_C(1) << 55};

    (void)state;
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint64_t v = values[i];
        uint64_t ticks = clock_ticks_of_hz(v, 1193182);

        assert_true(clock_ticks_from_ns(v, 2596136) == (unsigned __int128)v * 2596136 / 1000000);
        assert_true(clock_ns_from_ticks(v, 2596136) == (unsigned __int128)v * 1000000 / 2596136);
        assert_true(ticks == (unsigned __int128)v * 1193182 / 1000000000);
        /* by the ns that a tick is said to come, it has come; 1 ns earlier it has not */
        assert_true(clock_ticks_of_hz(clock_ns_of_hz(ticks, 1193182), 1193182) == ticks);
        if (ticks)
            assert_true(clock_ticks_of_hz(clock_ns_of_hz(ticks, 1193182) - 1, 1193182) ==
                        ticks - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),        cmocka_unit_test(test_rearm_in_callback),
        cmocka_unit_test(test_instructions), cmocka_unit_test(test_earlier_is_told),
        cmocka_unit_test(test_tsc_scale),    cmocka_unit_test(test_host_time_agrees_with_tsc),
        cmocka_unit_test(test_scaling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
