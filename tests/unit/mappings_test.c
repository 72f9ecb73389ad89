/* SPDX-License-Identifier: Apache-2.0 */
/* What a stub has mapped is found by its page and by its frame (mappings.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cpu/translate/mappings.h"

static uint8_t bytes[PAGE_SIZE];

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct mappings));
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static uint64_t page_of(unsigned n)
{
    return (uint64_t)n * 7 << PAGE_SHIFT;
}

static unsigned of_frame(struct mappings *m, uint64_t gfn)
{
    unsigned count = 0;

    for (struct mapping *x = mappings_of_frame(m, gfn_make(gfn)); x; x = mappings_next(m, x))
        count++;
    return count;
}

static void pages_and_frames_are_found(void **state)
{
    struct mappings *m = *state;

    for (unsigned n = 1; n <= 3000; n++)
        assert_non_null(mappings_add(m, page_of(n), gfn_make(n % 1000), bytes));
    assert_int_equal(m->count, 3000);
    for (unsigned n = 1; n <= 3000; n++)
        assert_int_equal(mappings_find(m, page_of(n))->gfn.v, n % 1000);
    assert_null(mappings_find(m, page_of(3001)));
    for (unsigned gfn = 0; gfn < 1000; gfn++)
        assert_int_equal(of_frame(m, gfn), 3);
    assert_int_equal(of_frame(m, 1000), 0);
    /* the same hash, another frame */
    assert_int_equal(of_frame(m, MAPPINGS_HEADS + 1), 0);
}

static void what_is_removed_is_not(void **state)
{
    struct mappings *m = *state;

    for (unsigned n = 1; n <= 300; n++)
        assert_non_null(mappings_add(m, page_of(n), gfn_make(n % 100), bytes));
    for (unsigned n = 1; n <= 300; n += 3)
        mappings_remove(m, mappings_find(m, page_of(n)));
    assert_int_equal(m->count, 200);
    for (unsigned n = 1; n <= 300; n++)
        assert_int_equal(mappings_find(m, page_of(n)) == NULL, n % 3 == 1);
    for (unsigned gfn = 0; gfn < 100; gfn++)
        assert_int_equal(of_frame(m, gfn), 2);
    for (unsigned n = 1; n <= 300; n += 3)
        assert_non_null(mappings_add(m, page_of(n), gfn_make(5000), bytes));
    assert_int_equal(m->made, 300);
    assert_int_equal(of_frame(m, 5000), 100);
    mappings_empty(m);
    assert_null(mappings_find(m, page_of(2)));
    assert_int_equal(of_frame(m, 5000), 0);
    assert_int_equal(m->count, 0);
}

static void there_is_an_end(void **state)
{
    struct mappings *m = *state;

    for (unsigned n = 1; n <= MAPPINGS_MOST; n++)
        assert_non_null(mappings_add(m, page_of(n), gfn_make(n), bytes));
    assert_null(mappings_add(m, page_of(MAPPINGS_MOST + 1), gfn_make(1), bytes));
    mappings_remove(m, mappings_find(m, page_of(9)));
    assert_non_null(mappings_add(m, page_of(MAPPINGS_MOST + 1), gfn_make(1), bytes));
    assert_int_equal(of_frame(m, 1), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pages_and_frames_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_removed_is_not, setup, teardown),
        cmocka_unit_test_setup_teardown(there_is_an_end, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
