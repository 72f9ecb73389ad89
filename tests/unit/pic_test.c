/* SPDX-License-Identifier: Apache-2.0 */
#include "machine_time.h"

#include "machine/dev/pic.h"

struct fixture {
    struct pic pic;
    struct line_probe intr;
};

static void out(struct fixture *f, uint16_t port, uint8_t value)
{
    pic_out(&f->pic, port, 1, value);
}

static uint8_t in(struct fixture *f, uint16_t port)
{
    return (uint8_t)pic_in(&f->pic, port, 1);
}

static void program(struct fixture *f, uint8_t icw4)
{
    out(f, 0x20, 0x11);
    out(f, 0x21, 0x30);
    out(f, 0x21, 0x04);
    out(f, 0x21, icw4);
    out(f, 0xa0, 0x11);
    out(f, 0xa1, 0x38);
    out(f, 0xa1, 0x02);
    out(f, 0xa1, icw4);
}

static struct fixture *setup(struct fixture *f)
{
    *f = (struct fixture){0};
    f->pic.intr = line_to(&f->intr);
    pic_reset(&f->pic);
    program(f, 0x01);
    return f;
}

static void pulse(struct fixture *f, unsigned irq)
{
    pic_set_irq(&f->pic, irq, false);
    pic_set_irq(&f->pic, irq, true);
}

static void test_priority_and_nesting(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    pulse(f, 4);
    pulse(f, 3);
    assert_true(f->intr.level);
    assert_int_equal(pic_ack(&f->pic), 0x33);
    assert_false(f->intr.level); /* 4 waits for 3 */
    pulse(f, 1);
    assert_int_equal(pic_ack(&f->pic), 0x31);
    out(f, 0x20, 0x0b);
    assert_int_equal(in(f, 0x20), 0x0a); /* in service: 1 and 3 */
    out(f, 0x20, 0x20);                  /* ends 1 */
    assert_int_equal(in(f, 0x20), 0x08);
    out(f, 0x20, 0x63); /* ends 3 by name */
    assert_int_equal(pic_ack(&f->pic), 0x34);
    out(f, 0x20, 0x20);
    assert_false(f->intr.level);
}

static void test_cascade(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    pulse(f, 8);
    assert_int_equal(pic_ack(&f->pic), 0x38);
    pulse(f, 9); /* lower than 8: waits in the slave */
    assert_false(f->intr.level);
    out(f, 0xa0, 0x20);
    out(f, 0x20, 0x20);
    assert_true(f->intr.level);
    assert_int_equal(pic_ack(&f->pic), 0x39);
    out(f, 0xa0, 0x20);
    out(f, 0x20, 0x20);
    assert_false(f->intr.level);
}

static void test_mask_and_spurious(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    out(f, 0x21, 0x10);
    assert_int_equal(in(f, 0x21), 0x10);
    pulse(f, 4);
    assert_false(f->intr.level);
    out(f, 0x20, 0x0a);
    assert_int_equal(in(f, 0x20), 0x10); /* requested though masked */
    assert_int_equal(pic_ack(&f->pic), 0x37);
    out(f, 0x20, 0x0b);
    assert_int_equal(in(f, 0x20), 0); /* a spurious one is not in service */
    out(f, 0x21, 0);
    assert_int_equal(pic_ack(&f->pic), 0x34);
    out(f, 0x20, 0x20);
    pulse(f, 10);
    out(f, 0xa1, 0xff); /* the slave changes its mind: the request to the master is edge-latched */
    assert_int_equal(pic_ack(&f->pic), 0x3f);
}

static void test_level(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    pic_elcr_out(&f->pic, 0x4d0, 1, 0xff);
    assert_int_equal(pic_elcr_in(&f->pic, 0x4d0, 1), 0xf8);
    pic_elcr_out(&f->pic, 0x4d1, 1, 0xff);
    assert_int_equal(pic_elcr_in(&f->pic, 0x4d1, 1), 0xde);
    pic_set_irq(&f->pic, 5, true);
    assert_int_equal(pic_ack(&f->pic), 0x35);
    out(f, 0x20, 0x20);
    assert_true(f->intr.level); /* still asked for */
    pic_set_irq(&f->pic, 5, false);
    assert_false(f->intr.level);
}

static void test_auto_eoi_and_rotation(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    program(f, 0x03);
    pulse(f, 3);
    assert_int_equal(pic_ack(&f->pic), 0x33);
    pulse(f, 7);
    assert_int_equal(pic_ack(&f->pic), 0x37); /* nothing in service */
    program(f, 0x01);
    pulse(f, 3);
    pulse(f, 4);
    assert_int_equal(pic_ack(&f->pic), 0x33);
    out(f, 0x20, 0xa0); /* ends 3 and makes it the last */
    pulse(f, 3);
    assert_int_equal(pic_ack(&f->pic), 0x34);
    out(f, 0x20, 0x20);
    out(f, 0x20, 0xc2); /* 2 is the last: 3 is the first */
    pulse(f, 1);
    assert_int_equal(pic_ack(&f->pic), 0x33);
    out(f, 0x20, 0x20);
    assert_int_equal(pic_ack(&f->pic), 0x31);
}

static void test_poll_and_special_mask(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    pulse(f, 6);
    out(f, 0x20, 0x0c);
    assert_int_equal(in(f, 0x20), 0x86);
    out(f, 0x20, 0x0c);
    assert_int_equal(in(f, 0x20), 0);
    pulse(f, 7);
    assert_false(f->intr.level); /* 6 is in service */
    out(f, 0x20, 0x68);
    out(f, 0x21, 0x40);
    assert_true(f->intr.level); /* special mask: masked 6 no longer holds 7 back */
    assert_int_equal(pic_ack(&f->pic), 0x37);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priority_and_nesting),  cmocka_unit_test(test_cascade),
        cmocka_unit_test(test_mask_and_spurious),     cmocka_unit_test(test_level),
        cmocka_unit_test(test_auto_eoi_and_rotation), cmocka_unit_test(test_poll_and_special_mask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
