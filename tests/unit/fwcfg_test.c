/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine/dev/fwcfg.h"

static uint64_t read_item(struct fwcfg *f, uint16_t item, unsigned bytes)
{
    uint64_t v = 0;

    fwcfg_out(f, FWCFG_PORT, 2, item);
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)fwcfg_in(f, FWCFG_PORT + 1, 1) << (8 * i);
    return v;
}

static void test_items(void **state)
{
    struct fwcfg f;

    (void)state;
    fwcfg_init(&f, UINT64_C(5) << 30, 3);
    assert_int_equal(read_item(&f, FWCFG_SIGNATURE, 4), 0x554d4551);
    assert_int_equal(read_item(&f, FWCFG_ID, 4), 1);
    assert_int_equal(read_item(&f, FWCFG_RAM_SIZE, 8), UINT64_C(5) << 30);
    assert_int_equal(read_item(&f, FWCFG_CPUS, 2), 3);
    assert_int_equal(read_item(&f, FWCFG_MAX_CPUS, 2), 3);
    assert_int_equal(read_item(&f, 0x8000, 8), 0);
}

static void test_odd_accesses(void **state)
{
    struct fwcfg f;

    (void)state;
    fwcfg_init(&f, 1 << 20, 1);
    read_item(&f, FWCFG_CPUS, 8);
    assert_int_equal(fwcfg_in(&f, FWCFG_PORT + 1, 1), 0); /* past the item's end */
    fwcfg_out(&f, FWCFG_PORT + 1, 1, 7);                  /* items cannot be written */
    fwcfg_out(&f, FWCFG_PORT, 1, 1);                      /* a selector has two bytes */
    fwcfg_reset(&f);
    assert_int_equal(fwcfg_in(&f, FWCFG_PORT + 1, 1), 'Q');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_odd_accesses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
