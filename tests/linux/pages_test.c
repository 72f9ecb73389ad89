/* SPDX-License-Identifier: Apache-2.0 */
/* The memory owner finds a wrong word, an old page, a page of another number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "workload/pages.h"

#define COUNT 64u

static void fill(struct pages *pages, const char *kinds)
{
    *pages = (struct pages){.base = calloc(COUNT, PAGE),
                            .count = COUNT,
                            .seed = 7,
                            .kinds = kinds,
                            .kind_count = strlen(kinds),
                            .version = calloc(COUNT, sizeof(uint32_t)),
                            .touches = calloc(COUNT, sizeof(uint32_t))};
    for (uint64_t i = 0; i < COUNT; i++)
        pages_write(pages, i);
}

static void drop(struct pages *pages)
{
    free(pages->base);
    free(pages->version);
    free(pages->touches);
}

static const uint64_t *page(const struct pages *pages, uint64_t number)
{
    return pages->base + number * PAGE_WORDS;
}

static void test_every_kind_matches_as_written(void **state)
{
    (void)state;
    struct pages pages;
    struct mismatch m;
    fill(&pages, "zcre");
    unsigned seen[128] = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_true(pages_match(&pages, i, page(&pages, i), &m));
        seen[(unsigned)pages_kind(&pages, i)]++;
    }
    assert_true(seen['z'] && seen['c'] && seen['r'] && seen['e']);
    drop(&pages);
}

static void test_one_wrong_bit_is_found(void **state)
{
    (void)state;
    struct pages pages;
    struct mismatch m;
    fill(&pages, "zcre");
    for (uint64_t i = 0; i < COUNT; i++) {
        unsigned word = (unsigned)(i * 37 % PAGE_WORDS);
        pages.base[i * PAGE_WORDS + word] ^= UINT64_C(1) << i;
        assert_false(pages_match(&pages, i, page(&pages, i), &m));
        assert_int_equal(m.word, word);
        assert_int_equal(m.expected ^ m.found, UINT64_C(1) << i);
        assert_false(pages_match_word(&pages, i, page(&pages, i), word, &m));
        assert_true(pages_match_word(&pages, i, page(&pages, i), (word + 1) % PAGE_WORDS, &m));
    }
    drop(&pages);
}

static void test_an_old_page_and_another_page_are_found(void **state)
{
    (void)state;
    struct pages pages;
    struct mismatch m;
    uint64_t old[PAGE_WORDS];
    fill(&pages, "cr");
    for (uint64_t i = 0; i < COUNT; i++) {
        memcpy(old, page(&pages, i), PAGE);
        pages_write(&pages, i);
        assert_false(pages_match(&pages, i, old, &m));
        assert_false(pages_match(&pages, i, page(&pages, (i + 1) % COUNT), &m));
        assert_true(pages_match(&pages, i, page(&pages, i), &m));
    }
    drop(&pages);
}

static void test_a_lost_touch_is_found(void **state)
{
    (void)state;
    struct pages pages;
    struct mismatch m;
    fill(&pages, "zcre");
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t before = page(&pages, i)[0];
        pages_touch(&pages, i);
        assert_true(pages_match(&pages, i, page(&pages, i), &m));
        pages.base[i * PAGE_WORDS] = before;
        assert_false(pages_match_word(&pages, i, page(&pages, i), 0, &m));
    }
    drop(&pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_matches_as_written),
        cmocka_unit_test(test_one_wrong_bit_is_found),
        cmocka_unit_test(test_an_old_page_and_another_page_are_found),
        cmocka_unit_test(test_a_lost_touch_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
