/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/duration.h"

static void units_are_taken(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"10", UINT64_C(10000000000)},
        {"10s", UINT64_C(10000000000)},
        {"500ms", 500000000},
        {"2m", UINT64_C(120000000000)},
        {"0.5", 500000000},
        {"1.5s", 1500000000},
        {"24h", DURATION_MAX_NS},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t ns = 0;

        assert_int_equal(duration_parse(good[i].text, &ns), ERR_OK);
        assert_true(ns == good[i].ns);
    }
}

static void nonsense_is_refused(void **state)
{
    static const char *const bad[] = {"",    "0",    "s",   "-1",   "+1",  "1 s", "1x",
                                      "1e3", "0x10", "inf", "1..2", "25h", ".5",  "nan"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t ns;

        if (duration_parse(bad[i], &ns) != ERR_INVAL)
            fail_msg("'%s' is taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_are_taken),
        cmocka_unit_test(nonsense_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
