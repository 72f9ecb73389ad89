/* SPDX-License-Identifier: Apache-2.0 */
#include "machine_time.h"

#include "machine/dev/pm.h"

struct fixture {
    struct pm pm;
    struct clock *clock;
    struct line_probe sci;
    unsigned power_offs;
};

static void on_power_off(void *arg)
{
    ((struct fixture *)arg)->power_offs++;
}

static struct fixture *setup(struct fixture *f)
{
    *f = (struct fixture){.clock = time_create()};
    pm_init(&f->pm, f->clock, line_to(&f->sci), f, on_power_off);
    return f;
}

static void test_timer(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    time_advance(f->clock, 1000000000);
    assert_int_equal(pm_in(&f->pm, PM_TIMER_PORT, 4), PM_TIMER_HZ);
    assert_int_equal(pm_in(&f->pm, PM_TIMER_PORT, 2), PM_TIMER_HZ & 0xffff);
    time_advance(f->clock, UINT64_C(4000000000));
    assert_int_equal(pm_in(&f->pm, PM_TIMER_PORT, 4), (UINT64_C(5) * PM_TIMER_HZ) & 0xffffff);
    clock_destroy(f->clock);
}

static void test_timer_carry(void **state)
{
    struct fixture storage, *f = setup(&storage);
    uint64_t half = clock_ns_of_hz(1 << 23, PM_TIMER_HZ);

    (void)state;
    time_advance(f->clock, half + 1);
    assert_int_equal(pm_in(&f->pm, PM_EVENT_PORT, 2), 1);
    assert_false(f->sci.level);
    pm_out(&f->pm, PM_EVENT_PORT, 2, 1);
    assert_int_equal(pm_in(&f->pm, PM_EVENT_PORT, 2), 0);
    pm_out(&f->pm, PM_EVENT_PORT + 2, 2, 0xffff);
    assert_int_equal(pm_in(&f->pm, PM_EVENT_PORT + 2, 2), 0x0421);
    time_advance(f->clock, half);
    assert_true(f->sci.level);
    pm_out(&f->pm, PM_EVENT_PORT, 2, 1);
    assert_false(f->sci.level);
    clock_destroy(f->clock);
}

static void test_power_off(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    assert_int_equal(pm_in(&f->pm, PM_CNT_PORT, 2), 1); /* ACPI mode, always */
    pm_out(&f->pm, PM_CNT_PORT, 2, 5 << 10);
    assert_int_equal(f->power_offs, 0);
    pm_out(&f->pm, PM_CNT_PORT, 2, 3 << 10 | 0x2000); /* another sleep state: nothing */
    assert_int_equal(f->power_offs, 0);
    pm_out(&f->pm, PM_CNT_PORT, 2, 5 << 10 | 0x2001);
    assert_int_equal(f->power_offs, 1);
    clock_destroy(f->clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer),
        cmocka_unit_test(test_timer_carry),
        cmocka_unit_test(test_power_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
