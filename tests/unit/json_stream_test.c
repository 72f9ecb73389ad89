/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/api/json_stream.h"

struct counts {
    unsigned values, bad;
};

static void feed_bytes(struct json_stream *s, const char *bytes, size_t count, struct counts *c)
{
    for (size_t i = 0; i < count; i++) {
        json_t *value = NULL;
        const char *why = NULL;

        switch (json_stream_feed(s, bytes[i], &value, &why)) {
        case JSON_STREAM_MORE:
            break;
        case JSON_STREAM_VALUE:
            assert_non_null(value);
            json_decref(value);
            c->values++;
            break;
        case JSON_STREAM_BAD:
            assert_non_null(why);
            c->bad++;
            break;
        }
        assert_true(s->used <= JSON_STREAM_MAX_BYTES);
        assert_true(s->depth <= JSON_STREAM_MAX_DEPTH);
    }
}

static void expect(const char *text, unsigned values, unsigned bad)
{
    struct json_stream s = {0};
    struct counts c = {0};

    feed_bytes(&s, text, strlen(text), &c);
    assert_int_equal(c.values, values);
    assert_int_equal(c.bad, bad);
    json_stream_fini(&s);
}

static void values_need_no_line_end(void **state)
{
    (void)state;
    expect("{\"execute\":\"a\"}", 1, 0);
    expect("{}{}[]{}", 4, 0);
    expect(" \r\n\t{} \n {\"a\": [1, {\"b\": \"}\\\"]\"}]}\r\n", 2, 0);
    expect("{\"a\": \"{\"", 0, 0);
}

static void malformed_values_are_told_once(void **state)
{
    (void)state;
    expect("{a}", 0, 1);
    expect("{]", 0, 1);
    expect("{\"a\":1,\"a\":2}", 0, 1);
    expect("hello world\n{}", 1, 1);
    expect("}}}}}\n{}", 1, 1);
    expect("{\"a\":\"\xc3\x28\"}", 0, 1);
    expect("{\"a\":1e999}", 0, 1);
}

static void control_characters_start_afresh(void **state)
{
    (void)state;
    expect("{\"a\": \x01{}", 1, 1);
    expect("\x01\x02\xff{}", 1, 0);
    expect("[[[[\xff{}", 1, 1);
    expect("junk\x01{}", 1, 1);
}

static void limits_hold(void **state)
{
    struct json_stream s = {0};
    struct counts c = {0};

    (void)state;
    for (unsigned i = 0; i < 100000; i++)
        feed_bytes(&s, "[", 1, &c);
    assert_int_equal(c.bad, 1);
    feed_bytes(&s, "\n{}", 3, &c);
    assert_int_equal(c.values, 1);
    feed_bytes(&s, "{\"", 2, &c);
    for (unsigned i = 0; i < 2 * JSON_STREAM_MAX_BYTES; i++)
        feed_bytes(&s, "x", 1, &c);
    assert_int_equal(c.bad, 2);
    json_stream_fini(&s);
}

static void random_bytes_do_no_harm(void **state)
{
    static const char alphabet[] = "{}[]\":,\\ \n0atrue\x01\xff\xc3";
    struct json_stream s = {0};
    struct counts c = {0};

    (void)state;
    srand(1);
    for (unsigned i = 0; i < 500000; i++)
        feed_bytes(&s, &alphabet[(unsigned)rand() % (sizeof(alphabet) - 1)], 1, &c);
    feed_bytes(&s, "\xff{}", 3, &c);
    assert_true(c.values > 0);
    json_stream_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_need_no_line_end),
        cmocka_unit_test(malformed_values_are_told_once),
        cmocka_unit_test(control_characters_start_afresh),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(random_bytes_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
