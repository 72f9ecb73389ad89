/* SPDX-License-Identifier: Apache-2.0 */
#include "machine_time.h"

#include "machine/dev/lapic.h"

#define TSC_KHZ      2000000
#define BASE_X2APIC  (LAPIC_DEFAULT_BASE | 0xd00)
#define MSR_BASE     0x1b
#define MSR_DEADLINE 0x6e0

enum {
    ID = 0x20,
    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HIGH = 0x310,
    LVT_TIMER = 0x320,
    LVT_LINT0 = 0x350,
    LVT_ERROR = 0x370,
    INITIAL = 0x380,
    CURRENT = 0x390,
    DIVIDE = 0x3e0,
};

struct fixture {
    struct lapic lapic;
    struct clock *clock;
    unsigned nmis;
    int ended;
    unsigned sent;
    struct apic_message message;
    enum lapic_shorthand to;
};

static void on_changed(void *arg)
{
    (void)arg;
}

static void on_eoi(void *arg, uint8_t vector)
{
    ((struct fixture *)arg)->ended = vector;
}

static void on_nmi(void *arg)
{
    ((struct fixture *)arg)->nmis++;
}

static void on_send(void *arg, const struct apic_message *message, enum lapic_shorthand to)
{
    struct fixture *f = arg;

    f->sent++;
    f->message = *message;
    f->to = to;
    if (to == LAPIC_TO_SELF)
        lapic_accept(&f->lapic, message);
}

static uint32_t get(struct fixture *f, unsigned reg)
{
    return (uint32_t)lapic_mmio_read(&f->lapic, reg, 4);
}

static void set(struct fixture *f, unsigned reg, uint32_t value)
{
    lapic_mmio_write(&f->lapic, reg, 4, value);
}

static struct fixture *setup(struct fixture *f)
{
    const struct lapic_host host = {
        .arg = f, .changed = on_changed, .eoi = on_eoi, .send = on_send, .nmi = on_nmi};

    *f = (struct fixture){.clock = time_create(), .ended = -1};
    lapic_init(&f->lapic, 3, true, f->clock, TSC_KHZ, &host);
    set(f, SVR, 0x1ff);
    return f;
}

static void interrupt(struct fixture *f, uint8_t vector, bool level_triggered)
{
    const struct apic_message message = {
        .delivery = APIC_FIXED, .vector = vector, .level_triggered = level_triggered};

    lapic_accept(&f->lapic, &message);
}

static void test_priorities(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    assert_int_equal(lapic_pending(&f->lapic), -1);
    interrupt(f, 0x41, false);
    interrupt(f, 0x52, false);
    assert_int_equal(get(f, IRR + 0x20), 0x40002);
    assert_int_equal(lapic_ack(&f->lapic), 0x52);
    assert_int_equal(get(f, PPR), 0x50);
    assert_int_equal(lapic_ack(&f->lapic), -1);
    interrupt(f, 0x5f, false); /* same class: waits */
    assert_int_equal(lapic_pending(&f->lapic), -1);
    interrupt(f, 0x60, false);
    assert_int_equal(lapic_ack(&f->lapic), 0x60);
    set(f, EOI, 0);
    assert_int_equal(lapic_pending(&f->lapic), -1);
    set(f, EOI, 0);
    assert_int_equal(lapic_ack(&f->lapic), 0x5f);
    set(f, EOI, 0);
    set(f, TPR, 0x41);
    assert_int_equal(lapic_cr8_read(&f->lapic), 4);
    assert_int_equal(lapic_pending(&f->lapic), -1);
    lapic_cr8_write(&f->lapic, 3);
    assert_int_equal(get(f, TPR), 0x30);
    assert_int_equal(lapic_ack(&f->lapic), 0x41);
    assert_int_equal(f->ended, -1);
    clock_destroy(f->clock);
}

static void test_level_eoi(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    interrupt(f, 0x31, true);
    assert_int_equal(get(f, TMR + 0x10), 0x20000);
    assert_int_equal(lapic_ack(&f->lapic), 0x31);
    assert_int_equal(get(f, ISR + 0x10), 0x20000);
    set(f, EOI, 0);
    assert_int_equal(f->ended, 0x31);
    interrupt(f, 0x31, false);
    assert_int_equal(get(f, TMR + 0x10), 0);
    clock_destroy(f->clock);
}

static void test_timer_one_shot_and_periodic(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    set(f, DIVIDE, 0x3); /* by 16 */
    set(f, LVT_TIMER, 0xec);
    set(f, INITIAL, 1000);
    time_advance(f->clock, 4000);
    assert_int_equal(get(f, CURRENT), 750);
    assert_int_equal(lapic_pending(&f->lapic), -1);
    time_advance(f->clock, 12000);
    assert_int_equal(lapic_ack(&f->lapic), 0xec);
    set(f, EOI, 0);
    assert_int_equal(get(f, CURRENT), 0);
    assert_true(clock_next_due(f->clock) == CLOCK_NEVER);

    set(f, LVT_TIMER, 0x200ed);
    set(f, DIVIDE, 0xb); /* by 1 */
    set(f, INITIAL, 1000000);
    for (unsigned i = 0; i < 5; i++) {
        time_advance(f->clock, 1000000);
        assert_int_equal(lapic_ack(&f->lapic), 0xed);
        set(f, EOI, 0);
    }
    set(f, LVT_TIMER, 0x300ed); /* masked: runs on, says nothing */
    time_advance(f->clock, 1500000);
    assert_int_equal(lapic_pending(&f->lapic), -1);
    assert_int_equal(get(f, CURRENT), 500000);
    set(f, INITIAL, 0);
    assert_true(clock_next_due(f->clock) == CLOCK_NEVER);
    clock_destroy(f->clock);
}

static void test_shortest_period_cannot_hang(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    set(f, DIVIDE, 0xb);
    set(f, LVT_TIMER, 0x200ed);
    set(f, INITIAL, 1);
    clock_skip_to(f->clock, UINT64_C(1) << 50); /* days of missed periods */
    clock_run_due(f->clock);
    assert_true(clock_next_due(f->clock) > clock_now(f->clock));
    clock_destroy(f->clock);
}

static void test_tsc_deadline(void **state)
{
    struct fixture storage, *f = setup(&storage);
    uint64_t value;

    (void)state;
    assert_true(lapic_msr_write(&f->lapic, MSR_DEADLINE, 5000)); /* other mode: ignored */
    assert_true(clock_next_due(f->clock) == CLOCK_NEVER);
    set(f, LVT_TIMER, 0x400ec);
    assert_true(lapic_msr_write(&f->lapic, MSR_DEADLINE, 5001));
    assert_true(lapic_msr_read(&f->lapic, MSR_DEADLINE, &value));
    assert_true(value == 5001);
    time_advance(f->clock, 2500);
    assert_int_equal(lapic_pending(&f->lapic), -1);
    time_advance(f->clock, 1);
    assert_true(clock_tsc(f->clock, TSC_KHZ) >= 5001);
    assert_int_equal(lapic_ack(&f->lapic), 0xec);
    set(f, EOI, 0);
    assert_true(lapic_msr_read(&f->lapic, MSR_DEADLINE, &value));
    assert_true(value == 0);
    assert_true(lapic_msr_write(&f->lapic, MSR_DEADLINE, 1)); /* in the past: at once */
    clock_run_due(f->clock);
    assert_int_equal(lapic_ack(&f->lapic), 0xec);
    assert_true(lapic_msr_write(&f->lapic, MSR_DEADLINE, UINT64_MAX));
    assert_true(lapic_msr_write(&f->lapic, MSR_DEADLINE, 0));
    assert_true(clock_next_due(f->clock) == CLOCK_NEVER);
    clock_destroy(f->clock);
}

static void test_software_disable(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    set(f, LVT_LINT0, 0x10700);
    assert_false(lapic_takes_pic(&f->lapic));
    set(f, LVT_LINT0, 0x700);
    assert_true(lapic_takes_pic(&f->lapic));
    set(f, LVT_TIMER, 0x40);
    set(f, SVR, 0xff);
    assert_int_equal(get(f, LVT_TIMER), 0x10040);
    set(f, LVT_TIMER, 0x40); /* cannot be unmasked now */
    assert_int_equal(get(f, LVT_TIMER), 0x10040);
    interrupt(f, 0x50, false);
    assert_int_equal(lapic_pending(&f->lapic), -1);
    clock_destroy(f->clock);
}

static void test_lint0_fixed(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    set(f, LVT_LINT0, 0x31);
    lapic_set_lint0(&f->lapic, true);
    lapic_set_lint0(&f->lapic, true);
    assert_int_equal(lapic_ack(&f->lapic), 0x31);
    assert_int_equal(lapic_ack(&f->lapic), -1);
    set(f, LVT_LINT0, 0x400);
    lapic_set_lint0(&f->lapic, false);
    lapic_set_lint0(&f->lapic, true);
    assert_int_equal(f->nmis, 1);
    clock_destroy(f->clock);
}

static void test_icr(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    set(f, ICR_HIGH, 0x05000000);
    set(f, ICR, 0x48f1); /* logical, assert */
    assert_int_equal(f->sent, 1);
    assert_int_equal(f->message.destination, 5);
    assert_true(f->message.logical);
    assert_int_equal(f->message.vector, 0xf1);
    set(f, ICR, 0x440f1); /* to self */
    assert_int_equal(f->to, LAPIC_TO_SELF);
    assert_int_equal(lapic_ack(&f->lapic), 0xf1);
    set(f, ICR_HIGH, 0xff000000);
    set(f, ICR, 0x400);
    assert_true(f->message.destination == APIC_BROADCAST);
    assert_int_equal(f->message.delivery, APIC_NMI);
    clock_destroy(f->clock);
}

static void test_errors(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    set(f, LVT_ERROR, 0xfe);
    set(f, ICR, 0x05); /* illegal vector */
    assert_int_equal(f->sent, 0);
    assert_int_equal(lapic_ack(&f->lapic), 0xfe);
    assert_int_equal(get(f, ESR), 0);
    set(f, ESR, 0);
    assert_int_equal(get(f, ESR), 0x20);
    get(f, 0x3f0);
    interrupt(f, 5, false);
    set(f, ESR, 0);
    assert_int_equal(get(f, ESR), 0xc0);
    set(f, ESR, 0);
    assert_int_equal(get(f, ESR), 0);
    clock_destroy(f->clock);
}

static bool reaches(struct fixture *f, uint32_t destination, bool logical)
{
    const struct apic_message message = {.destination = destination, .logical = logical};

    return lapic_is_destination(&f->lapic, &message);
}

static void test_destinations(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    assert_int_equal(get(f, ID), 3 << 24);
    assert_true(reaches(f, 3, false));
    assert_false(reaches(f, 2, false));
    assert_true(reaches(f, 0xff, false));
    set(f, LDR, 0x04000000);
    assert_true(reaches(f, 0x0c, true));
    assert_false(reaches(f, 0x03, true));
    set(f, DFR, 0x0fffffff); /* cluster */
    set(f, LDR, 0x24000000);
    assert_true(reaches(f, 0x25 | 0x04, true));
    assert_false(reaches(f, 0x14, true));
    assert_true(lapic_msr_write(&f->lapic, MSR_BASE, BASE_X2APIC));
    assert_true(reaches(f, 0x0008, true));
    assert_false(reaches(f, 0x0004, true));
    assert_false(reaches(f, 0x10008, true));
    clock_destroy(f->clock);
}

static void test_modes(void **state)
{
    struct fixture storage, *f = setup(&storage);
    uint64_t value;

    (void)state;
    assert_true(lapic_msr_read(&f->lapic, MSR_BASE, &value));
    assert_true(value == (LAPIC_DEFAULT_BASE | 0x900));
    assert_true(lapic_has_address(&f->lapic, LAPIC_DEFAULT_BASE + 0xffc, 4));
    assert_false(lapic_has_address(&f->lapic, LAPIC_DEFAULT_BASE + 0xffc, 8));
    assert_false(lapic_msr_read(&f->lapic, 0x802, &value));
    assert_false(lapic_msr_write(&f->lapic, MSR_BASE, LAPIC_DEFAULT_BASE | 0x500));
    assert_false(lapic_msr_write(&f->lapic, MSR_BASE, UINT64_C(1) << 41));
    assert_true(lapic_msr_write(&f->lapic, MSR_BASE, 0xfec10000 | 0x900)); /* moved */
    assert_true(lapic_has_address(&f->lapic, 0xfec10000, 4));
    assert_true(lapic_msr_write(&f->lapic, MSR_BASE, BASE_X2APIC));
    assert_false(lapic_has_address(&f->lapic, LAPIC_DEFAULT_BASE, 4));
    assert_true(lapic_msr_read(&f->lapic, 0x802, &value));
    assert_true(value == 3);
    assert_false(lapic_msr_write(&f->lapic, 0x80b, 1)); /* EOI takes 0 only */
    assert_true(lapic_msr_write(&f->lapic, 0x80b, 0));
    assert_false(lapic_msr_write(&f->lapic, 0x802, 0));
    assert_false(lapic_msr_write(&f->lapic, 0x808, 0x100));
    assert_true(lapic_msr_write(&f->lapic, 0x83f, 0x77));
    assert_int_equal(lapic_ack(&f->lapic), 0x77);
    assert_true(lapic_msr_write(&f->lapic, 0x830, UINT64_C(0x10000000000f2)));
    assert_true(f->message.destination == 0x10000);
    assert_false(lapic_msr_write(&f->lapic, MSR_BASE, LAPIC_DEFAULT_BASE | 0x900));
    assert_true(lapic_msr_write(&f->lapic, MSR_BASE, LAPIC_DEFAULT_BASE | 0x100));
    assert_int_equal(lapic_pending(&f->lapic), -1);
    assert_true(lapic_takes_pic(&f->lapic));
    assert_false(lapic_msr_write(&f->lapic, MSR_BASE, BASE_X2APIC));
    clock_destroy(f->clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_level_eoi),
        cmocka_unit_test(test_timer_one_shot_and_periodic),
        cmocka_unit_test(test_shortest_period_cannot_hang),
        cmocka_unit_test(test_tsc_deadline),
        cmocka_unit_test(test_software_disable),
        cmocka_unit_test(test_lint0_fixed),
        cmocka_unit_test(test_icr),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_destinations),
        cmocka_unit_test(test_modes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
