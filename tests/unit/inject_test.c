/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/inject.h"

static struct inject inject;

static enum err parse(const char *text)
{
    memset(&inject, 0, sizeof(inject));
    return inject_parse(text, &inject);
}

static void takes_one_number(void **state)
{
    (void)state;
    assert_int_equal(parse("swap-read=EIO@5"), ERR_OK);
    assert_int_equal(inject.swap.count, 1);
    assert_int_equal(inject.disk.count, 0);
    assert_int_equal(inject.swap.fault[0].op, AIO_READ);
    assert_int_equal(inject.swap.fault[0].error, EIO);
    assert_true(inject.swap.fault[0].first == 5 && inject.swap.fault[0].last == 5);
}

static void takes_ranges(void **state)
{
    (void)state;
    assert_int_equal(parse("swap-write=ENOSPC@100-200,disk-punch=EIO@7-"), ERR_OK);
    assert_int_equal(inject.swap.fault[0].op, AIO_WRITE);
    assert_int_equal(inject.swap.fault[0].error, ENOSPC);
    assert_true(inject.swap.fault[0].first == 100 && inject.swap.fault[0].last == 200);
    assert_int_equal(inject.disk.fault[0].op, AIO_PUNCH);
    assert_true(inject.disk.fault[0].first == 7 && inject.disk.fault[0].last == UINT64_MAX);
}

static void lists_add_up(void **state)
{
    (void)state;
    assert_int_equal(parse("swap-read=EIO@1"), ERR_OK);
    assert_int_equal(inject_parse("swap-read=EIO@3,swap-read=ENOMEM@4", &inject), ERR_OK);
    assert_int_equal(inject.swap.count, 3);
    for (unsigned i = 3; i < INJECT_MAX; i++)
        assert_int_equal(inject_parse("swap-read=EIO@9", &inject), ERR_OK);
    assert_int_equal(inject_parse("swap-read=EIO@9", &inject), ERR_INVAL);
}

static void nonsense_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "swap-read",
        "swap-read=EIO",
        "swap-read=EIO@",
        "swap-read=EIO@0",
        "swap-read=EIO@-1",
        "swap-read=EIO@5-4",
        "swap-read=EIO@5-6-7",
        "swap-read=EIO@5x",
        "swap-read=EWHAT@5",
        "swap-fly=EIO@5",
        "swap-=EIO@5",
        "tape-read=EIO@5",
        "swap-read=EIO@5,",
        ",swap-read=EIO@5",
        "swap-read=EIO@99999999999999999999",
        "=@",
        "@=",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse(bad[i]) != ERR_INVAL)
            fail_msg("'%s' is taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_one_number),
        cmocka_unit_test(takes_ranges),
        cmocka_unit_test(lists_add_up),
        cmocka_unit_test(nonsense_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
