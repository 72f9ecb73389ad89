/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/escape.h"

/* Feeds text; collects what reaches the guest; answers the last action that was not ESCAPE_NONE. */
static enum escape_action feed(const char *text, char *guest)
{
    struct escape e = {0};
    enum escape_action last = ESCAPE_NONE;
    size_t used = 0;

    for (; *text; text++) {
        uint8_t out[2];
        size_t count;
        enum escape_action action = escape_feed(&e, (uint8_t)*text, out, &count);

        if (action != ESCAPE_NONE)
            last = action;
        memcpy(guest + used, out, count);
        used += count;
    }
    guest[used] = '\0';
    return last;
}

static void check(const char *typed, enum escape_action action, const char *guest)
{
    char got[64];

    assert_int_equal(feed(typed, got), action);
    assert_string_equal(got, guest);
}

static void plain_text_goes_to_the_guest(void **state)
{
    (void)state;
    check("ls -l\r", ESCAPE_NONE, "ls -l\r");
    check("xhXH\x03\x1a\x04\x7f\x1b[A", ESCAPE_NONE, "xhXH\x03\x1a\x04\x7f\x1b[A");
}

static void escape_key_acts(void **state)
{
    (void)state;
    check("a\x01x", ESCAPE_QUIT, "a");
    check("\x01X", ESCAPE_QUIT, "");
    check("\x01hb", ESCAPE_HELP, "b");
    check("\x01H", ESCAPE_HELP, "");
    check("\x01?", ESCAPE_HELP, "");
}

static void doubled_escape_key_sends_one(void **state)
{
    (void)state;
    check("\x01\x01", ESCAPE_NONE, "\x01");
    check("\x01\x01x", ESCAPE_NONE, "\x01x");
    check("\x01\x01\x01x", ESCAPE_QUIT, "\x01");
}

static void unknown_key_passes_both(void **state)
{
    (void)state;
    check("\x01z", ESCAPE_NONE, "\x01z");
    check("\x01", ESCAPE_NONE, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_goes_to_the_guest),
        cmocka_unit_test(escape_key_acts),
        cmocka_unit_test(doubled_escape_key_sends_one),
        cmocka_unit_test(unknown_key_passes_both),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
