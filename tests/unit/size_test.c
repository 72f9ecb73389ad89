/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/size.h"

static void accepts(const char *text, uint64_t bytes)
{
    uint64_t got = 0;

    assert_int_equal(size_parse(text, &got), ERR_OK);
    assert_true(got == bytes);
}

static void refuses(const char *text)
{
    uint64_t got = 42;

    assert_int_equal(size_parse(text, &got), ERR_INVAL);
    assert_true(got == 42);
    assert_true(strlen(err_text()) > 0);
}

static void parses_sizes(void **state)
{
    (void)state;
    accepts("0", 0);
    accepts("1", 1);
    accepts("4096", 4096);
    accepts("3k", 3 << 10);
    accepts("512M", UINT64_C(512) << 20);
    accepts("512MiB", UINT64_C(512) << 20);
    accepts("2gb", UINT64_C(2) << 30);
    accepts("1T", UINT64_C(1) << 40);
    accepts("18446744073709551615", UINT64_MAX);
    accepts("16777215T", UINT64_C(16777215) << 40);
}

static void refuses_what_is_no_size(void **state)
{
    static const char *const bad[] = {"",          "-1",
                                      "+1",        " 1",
                                      "M",         "1X",
                                      "1 M",       "1.5G",
                                      "1MM",       "0x10",
                                      "1Mi",       "18446744073709551616",
                                      "16777216T", "99999999999999999999999"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        refuses(bad[i]);
}

static void formats(uint64_t bytes, const char *text)
{
    char buf[16];

    assert_string_equal(size_format(buf, sizeof(buf), bytes), text);
}

static void formats_sizes(void **state)
{
    (void)state;
    formats(0, "0");
    formats(1023, "1023");
    formats(4096, "4K");
    formats(UINT64_C(512) << 20, "512M");
    formats(UINT64_C(3) << 29, "1.5G");
    formats(UINT64_C(12) << 40, "12T");
    formats(UINT64_MAX, "16777216T");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_sizes),
        cmocka_unit_test(refuses_what_is_no_size),
        cmocka_unit_test(formats_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
