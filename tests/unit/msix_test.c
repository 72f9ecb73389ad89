/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X (PCI 3.0 6.8.2) and what a message means to the APICs (SDM 3A 10.11). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine/dev/msix.h"

#define VECTORS 3
#define LOW     0
#define HIGH    4
#define DATA    8
#define CONTROL 12

struct fixture {
    struct msix msix;
    unsigned sent;
    struct apic_message last;
};

static void on_send(void *arg, const struct apic_message *message)
{
    struct fixture *f = arg;

    f->sent++;
    f->last = *message;
}

static void put(struct fixture *f, unsigned vector, unsigned field, uint32_t value)
{
    msix_table_write(&f->msix, 16 * vector + field, 4, value);
}

static uint64_t get(const struct fixture *f, unsigned vector, unsigned field)
{
    return msix_table_read(&f->msix, 16 * vector + field, 4);
}

static void start(struct fixture *f)
{
    *f = (struct fixture){.msix = {.vectors = VECTORS, .arg = f, .send = on_send}};
    msix_reset(&f->msix);
    msix_set_may_send(&f->msix, true);
    for (unsigned i = 0; i < VECTORS; i++) {
        put(f, i, LOW, 0xfee01000);
        put(f, i, DATA, 0x30 + i);
    }
}

static void vectors_are_masked_at_reset(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    msix_set_control(&f.msix, true, false);
    for (unsigned i = 0; i < VECTORS; i++) {
        assert_int_equal(get(&f, i, CONTROL), 1);
        msix_notify(&f.msix, i);
    }
    assert_int_equal(f.sent, 0);
    assert_int_equal(msix_pba_read(&f.msix, 0, 8), 7);
}

static void a_message_says_what_the_entry_says(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    put(&f, 1, CONTROL, 0);
    msix_set_control(&f.msix, true, false);
    msix_notify(&f.msix, 1);
    assert_int_equal(f.sent, 1);
    assert_int_equal(f.last.vector, 0x31);
    assert_int_equal(f.last.destination, 1);
    assert_int_equal(f.last.delivery, APIC_FIXED);
    assert_false(f.last.logical);
    assert_false(f.last.level_triggered);
}

static void a_masked_vector_waits(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    msix_set_control(&f.msix, true, false);
    msix_notify(&f.msix, 2);
    msix_notify(&f.msix, 2); /* pending is one bit */
    assert_int_equal(msix_pba_read(&f.msix, 0, 4), 4);
    put(&f, 2, CONTROL, 0);
    assert_int_equal(f.sent, 1);
    assert_int_equal(f.last.vector, 0x32);
    assert_int_equal(msix_pba_read(&f.msix, 0, 4), 0);
}

static void the_function_mask_holds_all_vectors(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    put(&f, 0, CONTROL, 0);
    put(&f, 1, CONTROL, 0);
    msix_set_control(&f.msix, true, true);
    for (unsigned i = 0; i < VECTORS; i++)
        msix_notify(&f.msix, i);
    assert_int_equal(f.sent, 0);
    assert_int_equal(msix_pba_read(&f.msix, 0, 8), 7);
    msix_set_control(&f.msix, true, false);
    assert_int_equal(f.sent, 2); /* vector 2 has its own mask still */
    assert_int_equal(msix_pba_read(&f.msix, 0, 8), 4);
}

static void who_is_no_bus_master_sends_nothing(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    put(&f, 0, CONTROL, 0);
    msix_set_control(&f.msix, true, false);
    msix_set_may_send(&f.msix, false);
    msix_notify(&f.msix, 0);
    assert_int_equal(f.sent, 0);
    msix_set_may_send(&f.msix, true);
    assert_int_equal(f.sent, 1);
}

static void nothing_is_pending_when_off(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    msix_notify(&f.msix, 0);
    assert_int_equal(msix_pba_read(&f.msix, 0, 8), 0);
    msix_set_control(&f.msix, true, true);
    msix_notify(&f.msix, 0);
    msix_set_control(&f.msix, false, false);
    assert_int_equal(msix_pba_read(&f.msix, 0, 8), 0);
    assert_int_equal(f.sent, 0);
}

/* Aligned dwords and qwords work, everything else is undefined and has no effect here. */
static void table_takes_dwords_and_qwords(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    msix_table_write(&f.msix, 0, 8, UINT64_C(0x1122334455667788));
    assert_int_equal(get(&f, 0, LOW), 0x55667788);
    assert_int_equal(get(&f, 0, HIGH), 0x11223344);
    assert_true(msix_table_read(&f.msix, 0, 8) == UINT64_C(0x1122334455667788));
    msix_table_write(&f.msix, 0, 2, 0);
    msix_table_write(&f.msix, 2, 4, 0);
    msix_table_write(&f.msix, 4, 8, 0);
    msix_table_write(&f.msix, 0, 1, 0);
    assert_true(msix_table_read(&f.msix, 0, 8) == UINT64_C(0x1122334455667788));
    assert_int_equal(msix_table_read(&f.msix, 1, 1), 0x77);
    put(&f, 0, CONTROL, 0xfffffffe); /* reserved bits stay 0 */
    assert_int_equal(get(&f, 0, CONTROL), 0);
}

static void accesses_past_the_table_do_nothing(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    msix_table_write(&f.msix, UINT64_C(16) * VECTORS, 4, 0xffffffff);
    msix_table_write(&f.msix, 0xff8, 8, 0xffffffff);
    assert_int_equal(msix_table_read(&f.msix, UINT64_C(16) * VECTORS, 4), 0);
    assert_int_equal(msix_table_read(&f.msix, UINT64_C(16) * VECTORS - 4, 8), 0);
    assert_int_equal(msix_pba_read(&f.msix, 8, 4), 0);
    assert_int_equal(msix_pba_read(&f.msix, 4, 8), 0);
}

/* ---- SDM 3A 10.11 ---- */

static void decodes_every_field(void **state)
{
    struct apic_message m;

    (void)state;
    assert_true(msi_decode(0xfee07004, 0x0000c1ef, &m)); /* logical, level, asserted, lowest */
    assert_int_equal(m.destination, 7);
    assert_true(m.logical);
    assert_true(m.level_triggered);
    assert_int_equal(m.delivery, APIC_LOWEST);
    assert_int_equal(m.vector, 0xef);
    assert_true(msi_decode(0xfeeff000, 0x30, &m));
    assert_true(m.destination == APIC_BROADCAST);
    assert_true(msi_decode(0xfee0000c, 0x30, &m)); /* the redirection hint alone decides nothing */
    assert_true(m.logical);
    assert_true(msi_decode(0xfee00000, 0x430, &m));
    assert_int_equal(m.delivery, APIC_NMI);
}

static void refuses_what_is_no_interrupt(void **state)
{
    static const struct {
        uint64_t address;
        uint32_t data;
    } no[] = {
        {0, 0x30},
        {0x100000, 0x30},
        {0xfed00000, 0x30},
        {0xfef00000, 0x30},
        {UINT64_C(0x1fee00000), 0x30},
        {UINT64_C(0xfee0000000000000), 0x30},
        {0xfee00000, 0x330},  /* reserved delivery mode */
        {0xfee00000, 0x630},  /* start-up */
        {0xfee00000, 0x8030}, /* level, deasserted */
    };
    struct apic_message m;

    (void)state;
    for (unsigned i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        assert_false(msi_decode(no[i].address, no[i].data, &m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_are_masked_at_reset),
        cmocka_unit_test(a_message_says_what_the_entry_says),
        cmocka_unit_test(a_masked_vector_waits),
        cmocka_unit_test(the_function_mask_holds_all_vectors),
        cmocka_unit_test(who_is_no_bus_master_sends_nothing),
        cmocka_unit_test(nothing_is_pending_when_off),
        cmocka_unit_test(table_takes_dwords_and_qwords),
        cmocka_unit_test(accesses_past_the_table_do_nothing),
        cmocka_unit_test(decodes_every_field),
        cmocka_unit_test(refuses_what_is_no_interrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
