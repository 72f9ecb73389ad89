/* SPDX-License-Identifier: Apache-2.0 */
#include "machine_time.h"

#include "machine/dev/ioapic.h"

struct fixture {
    struct ioapic ioapic;
    unsigned delivered;
    struct apic_message last;
};

static void on_deliver(void *arg, const struct apic_message *message)
{
    struct fixture *f = arg;

    f->delivered++;
    f->last = *message;
}

static uint32_t get(struct fixture *f, uint8_t reg)
{
    ioapic_write(&f->ioapic, 0, 4, reg);
    return (uint32_t)ioapic_read(&f->ioapic, 0x10, 4);
}

static void set(struct fixture *f, uint8_t reg, uint32_t value)
{
    ioapic_write(&f->ioapic, 0, 4, reg);
    ioapic_write(&f->ioapic, 0x10, 4, value);
}

static void route(struct fixture *f, unsigned pin, uint32_t low, uint32_t high)
{
    set(f, (uint8_t)(0x11 + 2 * pin), high);
    set(f, (uint8_t)(0x10 + 2 * pin), low);
}

static struct fixture *setup(struct fixture *f)
{
    *f = (struct fixture){0};
    f->ioapic.arg = f;
    f->ioapic.deliver = on_deliver;
    ioapic_reset(&f->ioapic);
    return f;
}

static void test_registers(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    assert_int_equal(get(f, 1), 0x00170020);
    assert_int_equal(get(f, 0x10), 0x10000);
    set(f, 0, 0x0f000000);
    assert_int_equal(get(f, 0), 0x0f000000);
    set(f, 0x3f, 0xffffffff);
    assert_true(get(f, 0x3f) == 0xff000000);
    set(f, 0x3e, 0xffffffff);
    assert_int_equal(get(f, 0x3e), 0x1afff);
    assert_int_equal(get(f, 0x40), 0);
    assert_int_equal(get(f, 0xff), 0);
}

static void test_edge(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    ioapic_set_irq(&f->ioapic, 4, true);
    assert_int_equal(f->delivered, 0);
    route(f, 4, 0x0934, 0x01000000);
    assert_int_equal(f->delivered, 0); /* the edge came while masked: lost */
    ioapic_set_irq(&f->ioapic, 4, true);
    assert_int_equal(f->delivered, 0);
    ioapic_set_irq(&f->ioapic, 4, false);
    ioapic_set_irq(&f->ioapic, 4, true);
    assert_int_equal(f->delivered, 1);
    assert_int_equal(f->last.vector, 0x34);
    assert_int_equal(f->last.delivery, APIC_LOWEST);
    assert_true(f->last.logical);
    assert_int_equal(f->last.destination, 1);
    assert_false(f->last.level_triggered);
}

static void test_level(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    ioapic_set_irq(&f->ioapic, 9, true);
    route(f, 9, 0x8039, 0xff000000);
    assert_int_equal(f->delivered, 1); /* high when unmasked */
    assert_true(f->last.destination == APIC_BROADCAST);
    assert_int_equal(get(f, 0x22) & 0x4000, 0x4000);
    ioapic_set_irq(&f->ioapic, 9, true);
    assert_int_equal(f->delivered, 1); /* waits for EOI */
    ioapic_eoi(&f->ioapic, 0x38);
    assert_int_equal(f->delivered, 1);
    ioapic_eoi(&f->ioapic, 0x39);
    assert_int_equal(f->delivered, 2); /* still high */
    ioapic_set_irq(&f->ioapic, 9, false);
    ioapic_write(&f->ioapic, 0x40, 4, 0x39); /* its own EOI register */
    assert_int_equal(f->delivered, 2);
    assert_int_equal(get(f, 0x22) & 0x4000, 0);
    ioapic_set_irq(&f->ioapic, 9, true);
    assert_int_equal(f->delivered, 3);
    route(f, 9, 0x10039, 0); /* masked and edge: forgets remote IRR */
    assert_int_equal(get(f, 0x22) & 0x4000, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers),
        cmocka_unit_test(test_edge),
        cmocka_unit_test(test_level),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
