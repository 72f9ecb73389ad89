/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "control/top/describe.h"
#include "control/top/format.h"
#include "control/top/model.h"
#include "control/top/plain.h"

#define SECOND UINT64_C(1000000000)

/* A VM's answer with so many pages and counters; what is not named is left out. */
static json_t *answer(int pid, int instructions, int resident, int in_from_swap, int out_to_swap)
{
    return json_pack(
        "{s:s, s:i, s:s, s:s, s:i, s:f, s:{s:i, s:i, s:{s:i, s:i}, s:{s:i, s:i, s:i, s:i},"
        " s:{s:s, s:s, s:i}, s:s, s:n}}",
        "name", "a", "pid", pid, "state", "running", "engine", "interp", "instructions",
        instructions, "mips", 5.0, "memory", "guest_bytes", 1000 * 4096, "process_bytes",
        600 * 4096, "pages", "resident", resident, "absent", 1000 - resident, "flows",
        "came_from_swap", in_from_swap, "evicted_swapped", out_to_swap, "fault_ns",
        in_from_swap * 1000, "stalls", 1, "policy", "rung", "swap", "why", "it must", "limit_bytes",
        800 * 4096, "stall", "", "limit_bytes");
}

static void take(struct top_model *model, const char *name, json_t *stat, uint64_t at)
{
    struct top_row *row = top_model_row(model, name);

    assert_non_null(stat);
    assert_non_null(row);
    top_row_take(row, stat, at);
    json_decref(stat);
}

static const struct top_row *row_of(const struct top_model *model, size_t at)
{
    return &model->rows[model->order[at]];
}

/* ---- samples and rates ---- */

static void a_sample_holds_what_the_vm_said(void **state)
{
    json_t *stat = answer(7, 1000, 400, 10, 20);
    struct top_sample s;

    (void)state;
    top_sample_take(&s, stat, 5);
    json_decref(stat);
    assert_int_equal(s.pid, 7);
    assert_string_equal(s.state, "running");
    assert_int_equal(s.pages[PAGE_RESIDENT], 400);
    assert_int_equal(s.pages[PAGE_ABSENT], 600);
    assert_int_equal(s.moved[TOP_IN_SWAPPED], 10);
    assert_int_equal(s.limit, 800 * 4096);
    assert_true(s.available == TOP_UNKNOWN);
    assert_string_equal(s.why, "it must");
}

static void nonsense_is_a_sample_of_nothing(void **state)
{
    static const char latencies[] = "{\"memory\": {\"pages\": {\"resident\": -5}, \"flows\": [], "
                                    "\"latencies\": {\"swap\": {\"by_power_of_two\": [-1, {}]}}}}";
    static const char *const texts[] = {
        "[]", "{}", "{\"memory\": 7, \"pid\": \"x\", \"state\": {}, \"mips\": \"fast\"}",
        latencies};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *stat = json_loads(texts[i], 0, NULL);
        struct top_sample s;

        assert_non_null(stat);
        top_sample_take(&s, stat, 1);
        json_decref(stat);
        assert_int_equal(s.pages[PAGE_RESIDENT], 0);
        assert_int_equal(s.latency[TOP_SWAP][0], 0);
        assert_string_equal(s.state, "");
        assert_true(s.limit == TOP_UNKNOWN);
    }
}

static void rates_are_per_second(void **state)
{
    struct top_model model = {0};
    const struct top_rates *rates;

    (void)state;
    take(&model, "a", answer(7, 1000, 400, 10, 20), SECOND);
    assert_false(model.rows[0].has_rates);
    take(&model, "a", answer(7, 4001000, 400, 50, 220), 3 * SECOND);
    assert_true(model.rows[0].has_rates);
    rates = &model.rows[0].rates;
    assert_true(rates->seconds == 2);
    assert_true(rates->mips == 2);
    assert_true(rates->per_second[TOP_IN_SWAPPED] == 20);
    assert_true(rates->in_per_second == 20);
    assert_true(rates->out_per_second == 100);
    assert_true(rates->waiting > 19e-6 && rates->waiting < 21e-6);
    assert_int_equal(rates->stalls, 0);
    top_model_fini(&model);
}

/* The same name, another process; or counters that went back; or no time between. */
static void two_runs_have_no_rates(void **state)
{
    static const struct {
        int pid, moved;
        uint64_t at;
    } next[] = {{8, 50, 2 * SECOND}, {7, 5, 2 * SECOND}, {7, 50, SECOND}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct top_model model = {0};

        take(&model, "a", answer(7, 1000, 400, 10, 20), SECOND);
        take(&model, "a", answer(next[i].pid, 2000, 400, next[i].moved, 20), next[i].at);
        assert_false(model.rows[0].has_rates);
        assert_true(model.rows[0].has_now);
        top_model_fini(&model);
    }
}

static void latencies_are_the_periods(void **state)
{
    struct top_sample before = {.at_ns = 1}, now = {.at_ns = 1 + SECOND};
    struct top_rates rates;

    (void)state;
    before.latency[TOP_SWAP][30] = 1000; /* long ago, and slow */
    now.latency[TOP_SWAP][30] = 1001;
    now.latency[TOP_SWAP][10] = 98;
    now.latency[TOP_SWAP][12] = 1;
    assert_true(top_rates_between(&rates, &before, &now));
    assert_int_equal(rates.latency[TOP_SWAP].count, 100);
    assert_int_equal(rates.latency[TOP_SWAP].median_ns, 2048);
    assert_int_equal(rates.latency[TOP_SWAP].p99_ns, 8192);
    assert_int_equal(rates.latency[TOP_IMAGE].count, 0);
}

/* ---- order and selection ---- */

static void three(struct top_model *model)
{
    take(model, "b", answer(1, 0, 100, 0, 0), SECOND);
    take(model, "a", answer(2, 0, 100, 0, 0), SECOND);
    take(model, "c", answer(3, 0, 100, 0, 0), SECOND);
    take(model, "b", answer(1, 9000000, 100, 10, 0), 2 * SECOND);
    take(model, "a", answer(2, 1000000, 100, 30, 0), 2 * SECOND);
    take(model, "c", answer(3, 5000000, 100, 20, 0), 2 * SECOND);
    top_model_sort(model);
}

static void order_is(struct top_model *model, enum top_order by, bool reversed, const char *names)
{
    model->by = by;
    model->is_reversed = reversed;
    top_model_sort(model);
    for (size_t i = 0; i < model->count; i++)
        assert_int_equal(row_of(model, i)->name[0], names[i]);
}

static void rows_are_sorted(void **state)
{
    struct top_model model = {0};

    (void)state;
    three(&model);
    order_is(&model, TOP_BY_NAME, false, "abc");
    order_is(&model, TOP_BY_NAME, true, "cba");
    order_is(&model, TOP_BY_MIPS, false, "bca");
    order_is(&model, TOP_BY_IN, false, "acb");
    order_is(&model, TOP_BY_WAIT, true, "bca");
    order_is(&model, TOP_BY_OUT, false, "abc"); /* all equal: by name */
    order_is(&model, TOP_BY_LIMIT, false, "abc");
    top_model_fini(&model);
}

static void the_selection_stays_with_its_vm(void **state)
{
    struct top_model model = {0};

    (void)state;
    top_model_sort(&model);
    top_model_select(&model, 1);
    assert_string_equal(model.selected, "");
    three(&model);
    assert_string_equal(model.selected, "a");
    top_model_select(&model, 1);
    assert_string_equal(model.selected, "b");
    order_is(&model, TOP_BY_MIPS, false, "bca");
    assert_int_equal(top_model_selected(&model), 0);
    top_model_select(&model, 5);
    assert_string_equal(model.selected, "a");
    top_model_remove(&model, "a"); /* the last: the one before it */
    assert_string_equal(model.selected, "c");
    top_model_select(&model, -5);
    top_model_remove(&model, "b"); /* the first: the next one */
    assert_string_equal(model.selected, "c");
    top_model_remove(&model, "nobody");
    top_model_remove(&model, "c");
    assert_int_equal(model.count, 0);
    assert_string_equal(model.selected, "");
    take(&model, "z", answer(1, 0, 1, 0, 0), SECOND);
    top_model_sort(&model);
    assert_string_equal(model.selected, "z");
    top_model_fini(&model);
}

static void many_come_and_go(void **state)
{
    struct top_model model = {0};
    char name[16];

    (void)state;
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "vm%d", i);
        take(&model, name, answer(i + 1, 0, i, 0, 0), SECOND);
    }
    top_model_sort(&model);
    assert_int_equal(model.count, 300);
    assert_int_equal(top_model_sums(&model).held, 300u * 600 * 4096);
    for (int i = 0; i < 300; i += 2) {
        snprintf(name, sizeof(name), "vm%d", i);
        top_model_remove(&model, name);
    }
    assert_int_equal(model.count, 150);
    for (size_t i = 0; i < model.count; i++)
        assert_int_equal(row_of(&model, i)->now.pages[PAGE_RESIDENT] % 2, 1);
    top_model_fini(&model);
}

/* ---- pools ---- */

static void a_pool_is_told_with_its_members(void **state)
{
    struct top_model model = {0};
    struct top_pool *pool = top_model_pool(&model, "web");
    const struct top_pool *found = NULL;
    json_t *told = json_pack("{s:s, s:i, s:i, s:i}", "state", "soft", "bytes", 1 << 30, "free",
                             1 << 20, "shortage", 3 << 20);
    char text[TOP_LINE_BYTES];

    (void)state;
    assert_null(top_model_member(&model, "a", &found));
    top_describe_pool(pool, text, sizeof(text));
    assert_string_equal(text, "pool web: its manager does not answer");
    top_pool_take(pool, told, json_pack("{s:{s:i, s:s}}", "a", "lease", 64 << 20, "why", "so"));
    json_decref(told);
    top_describe_pool(pool, text, sizeof(text));
    assert_string_equal(text, "pool web: soft; 1M of 1G free, 3M missing; leases of 1 VM: 64M");
    assert_non_null(top_model_member(&model, "a", &found));
    assert_ptr_equal(found, pool);
    top_model_pool(&model, "other");
    top_model_remove_pool(&model, "web");
    assert_int_equal(model.pool_count, 1);
    assert_string_equal(model.pools[0].name, "other");
    top_model_fini(&model);
}

/* ---- words ---- */

struct lines {
    char text[4096];
};

static void collect(void *arg, const char *label, const char *text)
{
    struct lines *lines = arg;
    size_t used = strlen(lines->text);

    snprintf(lines->text + used, sizeof(lines->text) - used, "%s|%s\n", label, text);
}

static void a_vm_in_words(void **state)
{
    struct top_model model = {0};
    struct lines lines = {""};

    (void)state;
    take(&model, "a", answer(7, 1000, 400, 10, 20), SECOND);
    top_describe_vm(&model, &model.rows[0], collect, &lines);
    assert_non_null(strstr(lines.text, "out/s|not known yet\n"));
    take(&model, "a", answer(7, 4001000, 400, 10, 220), 3 * SECOND);
    lines.text[0] = '\0';
    top_describe_vm(&model, &model.rows[0], collect, &lines);
    assert_string_equal(
        lines.text, "memory|believes 3.9M, holds 2.3M of at most 3.1M (75 %)\n"
                    "pages|1.6M resident, 2.3M absent\n"
                    "out/s|100 swapped\n"
                    "in/s|nothing\n"
                    "waits|0 % of the time for pages, 0 % for reclaim; stalls: 0 now, 1 in all\n"
                    "latency|no page was brought in\n"
                    "policy|swap: it must\n");
    top_model_fini(&model);
}

static void a_vm_that_hangs_says_so(void **state)
{
    struct top_model model = {0};
    struct top_row *row = top_model_row(&model, "a");
    struct lines lines = {""};
    json_t *json;

    (void)state;
    row->is_silent = true;
    top_model_sort(&model);
    assert_string_equal(top_row_state(row), "not answering");
    top_describe_vm(&model, row, collect, &lines);
    assert_string_equal(lines.text, "state|does not answer\n");
    json = top_plain_json(&model);
    assert_non_null(json);
    assert_int_equal(json_array_size(json_object_get(json, "vms")), 1);
    json_decref(json);
    take(&model, "a", answer(7, 1000, 400, 10, 20), SECOND);
    assert_string_equal(top_row_state(&model.rows[0]), "running");
    top_model_fini(&model);
}

/* ---- figures ---- */

static void figures_fit_their_columns(void **state)
{
    static const double rates[] = {0, 0.3, 9.94, 42, 9999, 12345, 9999499, 1.5e7, 4e12};
    static const char *const texts[] = {"0",   "0.3",   "9.9", "42",   "9999",
                                        "12k", "9999k", "15M", "4000G"};
    static const uint64_t times[] = {0, 850, 8192, 999499, 999500, 1300000, UINT64_C(2) << 39};
    static const char *const words[] = {"0 ns",   "850 ns", "8.2 us", "999 us",
                                        "1.0 ms", "1.3 ms", "1100 s"};
    char buf[16];

    (void)state;
    for (size_t i = 0; i < 9; i++)
        assert_string_equal(top_format_rate(buf, sizeof(buf), rates[i]), texts[i]);
    for (size_t i = 0; i < 7; i++)
        assert_string_equal(top_format_ns(buf, sizeof(buf), times[i]), words[i]);
    assert_string_equal(top_format_part(buf, sizeof(buf), 0), "0 %");
    assert_string_equal(top_format_part(buf, sizeof(buf), 0.0001), "0.1 %");
    assert_string_equal(top_format_part(buf, sizeof(buf), 1), "100 %");
}

static void bar_is(const uint64_t *pages, unsigned width, const char *text)
{
    unsigned cells[PAGE_STATES];
    char bar[64] = "";
    size_t used = 0;

    top_bar_share(pages, width, cells);
    for (unsigned i = 0; i < PAGE_STATES; i++)
        for (unsigned n = 0; n < cells[top_bar_order[i]]; n++)
            bar[used++] = top_bar_letter(top_bar_order[i]);
    assert_string_equal(bar, text);
}

static void a_bar_shows_each_state(void **state)
{
    (void)state;
    bar_is((uint64_t[PAGE_STATES]){0}, 5, ".....");
    bar_is((uint64_t[PAGE_STATES]){[PAGE_RESIDENT] = 1}, 5, "#####");
    bar_is((uint64_t[PAGE_STATES]){[PAGE_RESIDENT] = 50, [PAGE_SWAPPED] = 50}, 4, "##ss");
    bar_is((uint64_t[PAGE_STATES]){[PAGE_RESIDENT] = 1, [PAGE_ABSENT] = 999999}, 6, "#.....");
    bar_is((uint64_t[PAGE_STATES]){[PAGE_PINNED] = 1, [PAGE_RESIDENT] = 10, [PAGE_ABSENT] = 1}, 6,
           "####P.");
    bar_is((uint64_t[PAGE_STATES]){[PAGE_RESIDENT] = 1, [PAGE_ABSENT] = 9}, 0, "");
    bar_is((uint64_t[PAGE_STATES]){1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 10, "#P=cmsib0.");
}

static void a_bar_adds_up(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        uint64_t pages[PAGE_STATES];
        unsigned cells[PAGE_STATES], sum = 0, width = round % 200;

        for (unsigned i = 0; i < PAGE_STATES; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            pages[i] = seed >> 61 ? (seed >> 20) % (1u << (seed >> 59)) : 0;
        }
        top_bar_share(pages, width, cells);
        for (unsigned i = 0; i < PAGE_STATES; i++) {
            sum += cells[i];
            assert_false(cells[i] && !pages[i] && i != PAGE_ABSENT);
            assert_false(!cells[i] && pages[i] && width >= PAGE_STATES);
        }
        assert_int_equal(sum, width);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sample_holds_what_the_vm_said),
        cmocka_unit_test(nonsense_is_a_sample_of_nothing),
        cmocka_unit_test(rates_are_per_second),
        cmocka_unit_test(two_runs_have_no_rates),
        cmocka_unit_test(latencies_are_the_periods),
        cmocka_unit_test(rows_are_sorted),
        cmocka_unit_test(the_selection_stays_with_its_vm),
        cmocka_unit_test(many_come_and_go),
        cmocka_unit_test(a_pool_is_told_with_its_members),
        cmocka_unit_test(a_vm_in_words),
        cmocka_unit_test(a_vm_that_hangs_says_so),
        cmocka_unit_test(figures_fit_their_columns),
        cmocka_unit_test(a_bar_shows_each_state),
        cmocka_unit_test(a_bar_adds_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
