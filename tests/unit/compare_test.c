/* SPDX-License-Identifier: Apache-2.0 */
/* Figures, words and pages of a comparison that nobody ran. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/compare/report.h"
#include "control/compare/statistics.h"
#include "control/compare/svg.h"

#define MIB (UINT64_C(1) << 20)

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * (fabs(a) + fabs(b));
}

static void medians(void **state)
{
    const double odd[] = {5, NAN, 1, 3}, even[] = {4, 1, 3, 2}, none[] = {NAN};
    (void)state;

    assert_true(near(compare_median(odd, 4), 3));
    assert_true(near(compare_median(even, 4), 2.5));
    assert_true(isnan(compare_median(none, 1)));
    assert_true(isnan(compare_median(none, 0)));
}

static void growth_between_samples(void **state)
{
    const struct compare_point points[] = {{0, 0}, {1, 100}, {1, 100}, {3, 100}, {4, 200}};
    double out[4];
    (void)state;

    compare_growth(points, 5, 0, 4, out, 4);
    assert_true(near(out[0], 100) && near(out[1], 0) && near(out[2], 0) && near(out[3], 100));
    compare_growth(points, 5, -1, 3, out, 4);
    assert_true(isnan(out[0]) && near(out[1], 100));
    compare_growth(points, 0, 0, 1, out, 1);
    assert_true(isnan(out[0]));
}

static void axes_end_at_round_numbers(void **state)
{
    (void)state;
    assert_true(near(compare_axis_end(0), 1));
    assert_true(near(compare_axis_end(0.7), 1));
    assert_true(near(compare_axis_end(1.2), 2));
    assert_true(near(compare_axis_end(37), 50));
    assert_true(near(compare_axis_end(501), 1000));
}

static void numbers_as_text(void **state)
{
    char t[COMPARE_TEXT];
    (void)state;

    assert_string_equal(compare_count(t, 1234567), "1,234,567");
    assert_string_equal(compare_count(t, 123), "123");
    assert_string_equal(compare_count(t, 0.5), "0.50");
    assert_string_equal(compare_count(t, NAN), "-");
    assert_string_equal(compare_time(t, 104), "104 ns");
    assert_string_equal(compare_time(t, 5630), "5.63 us");
    assert_string_equal(compare_time(t, 65500), "65.5 us");
    assert_string_equal(compare_time(t, 852e3), "852 us");
    assert_string_equal(compare_time(t, 3.32e9), "3.32 s");
    assert_string_equal(compare_bytes(t, 2.5 * (double)MIB), "2.5 MiB");
    assert_string_equal(compare_bytes(t, 20480 * (double)MIB), "20.0 GiB");
    assert_string_equal(compare_rate(t, 17 * (double)MIB), "17 MiB/s");
    assert_string_equal(compare_part(t, 0.031), "3.1 %");
    assert_string_equal(compare_part(t, 0.73), "73 %");
}

/*
 * Ten samples a second from -1 s to 3 s: before 0 the VM holds 200 MiB, then 10 MiB less each
 * sample until it holds 100 at 1 s. From 0 on the hypervisor writes 1 MiB a sample, reads half.
 */
static void make_run(struct compare_run *run, double accesses_per_s)
{
    *run = (struct compare_run){
        .marks = {.live = -1, .reached = 1, .measure = 2, .end = 3, .is_reached = true},
        .report = {.seconds = 1,
                   .accesses = accesses_per_s,
                   .median_ns = 100,
                   .p99_ns = 2000,
                   .max_ns = 1e6},
    };
    for (int i = -10; i <= 30; i++) {
        uint64_t since = i > 0 ? (uint64_t)i : 0, taken = since < 10 ? since : 10;
        struct compare_sample s = {.at_s = i / 10.0,
                                   .process = (200 - 10 * taken) * MIB,
                                   .host = (180 - 10 * taken) * MIB,
                                   .file_write = since * MIB,
                                   .file_read = since * MIB / 2};

        s.pages[PAGE_RESIDENT] = (180 - 10 * taken) * MIB;
        s.pages[PAGE_SWAPPED] = 10 * taken * MIB;
        s.pages[PAGE_ABSENT] = 12 * MIB;
        assert_true(compare_add_sample(run, &s));
        assert_true(compare_add_tick(run, s.at_s, (uint64_t)((i + 10) * accesses_per_s / 10)));
    }
}

static void figures_of_a_run(void **state)
{
    struct compare_run run;
    struct compare_figures f;
    (void)state;

    make_run(&run, 5000);
    compare_figures_make(&run, SHORTAGE_LIMIT, &f);
    assert_true(near(f.value[FIGURE_accesses_per_s], 5000));
    assert_true(near(f.value[FIGURE_time_to_target_s], 1));
    assert_true(near(f.value[FIGURE_reclaimed_bytes], 100.0 * (double)MIB));
    assert_true(near(f.value[FIGURE_reclaim_bytes_per_s], 100.0 * (double)MIB));
    assert_true(near(f.value[FIGURE_before_bytes], 200.0 * (double)MIB));
    assert_true(near(f.value[FIGURE_host_peak_bytes], 100.0 * (double)MIB));
    assert_true(near(f.value[FIGURE_file_write_bytes], 30.0 * (double)MIB));
    assert_true(near(f.value[FIGURE_file_read_bytes], 15.0 * (double)MIB));
    assert_true(near(f.value[FIGURE_disk_bytes_per_s], 15.0 * (double)MIB));
    assert_true(near(f.pages[PAGE_SWAPPED], 100.0 * (double)MIB));
    assert_true(near(f.pages[PAGE_RESIDENT] + f.pages[PAGE_SWAPPED] + f.pages[PAGE_ABSENT],
                     192.0 * (double)MIB));
    assert_true(isnan(f.value[FIGURE_of_enough]));
    compare_figures_make(&run, SHORTAGE_NONE, &f);
    assert_true(isnan(f.value[FIGURE_time_to_target_s]));
    compare_figures_make(&run, SHORTAGE_POOL, &f); /* which never gave it away */
    assert_true(isnan(f.value[FIGURE_time_to_target_s]));
    assert_true(isnan(f.value[FIGURE_reclaim_bytes_per_s]));
    run.marks.is_reached = false;
    compare_figures_make(&run, SHORTAGE_LIMIT, &f);
    assert_true(isnan(f.value[FIGURE_reclaim_bytes_per_s]));
    compare_run_fini(&run);
}

/* Two columns of three rounds; the second column's second round failed. */
struct world {
    struct compare_plan plan;
    struct compare_run runs[2][3];
    struct compare_result result;
};

static void make_world(struct world *w)
{
    static const double speed[2][3] = {{10000, 30000, 20000}, {4000, 1, 6000}};

    *w = (struct world){.plan = {.memory_bytes = 192 * MIB,
                                 .limit_bytes = 100 * MIB,
                                 .load_bytes = 96 * MIB,
                                 .rounds = 3,
                                 .seconds = 1}};
    assert_int_equal(compare_choose_workload(&w->plan, "hot"), ERR_OK);
    w->result.plan = &w->plan;
    w->result.count = 2;
    for (unsigned c = 0; c < 2; c++) {
        struct compare_column *column = &w->result.columns[c];

        column->means = &compare_means[c ? 2 : 0];
        column->runs = w->runs[c];
        column->rounds = 3;
        for (unsigned r = 0; r < 3; r++) {
            make_run(&w->runs[c][r], speed[c][r]);
            compare_figures_make(&w->runs[c][r], column->means->shortage, &w->runs[c][r].figures);
        }
    }
    strcpy(w->runs[1][1].failed, "in the guest: <it> & more");
    compare_summarize(&w->result);
}

static void free_world(struct world *w)
{
    for (unsigned c = 0; c < 2; c++) {
        for (unsigned r = 0; r < 3; r++)
            compare_run_fini(&w->runs[c][r]);
    }
}

static void rounds_become_medians(void **state)
{
    struct world w;
    const struct compare_column *enough = &w.result.columns[0], *swap = &w.result.columns[1];
    (void)state;

    make_world(&w);
    assert_true(near(enough->figures.value[FIGURE_accesses_per_s], 20000));
    assert_ptr_equal(enough->shown, &w.runs[0][2]);
    assert_int_equal(swap->good, 2);
    assert_true(near(swap->figures.value[FIGURE_accesses_per_s], 5000));
    assert_true(near(swap->figures.value[FIGURE_of_enough], 0.25));
    assert_true(near(enough->figures.value[FIGURE_of_enough], 1));
    free_world(&w);
}

static char *printed(void (*print)(const struct compare_result *result, FILE *out),
                     const struct compare_result *result)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);

    assert_non_null(out);
    print(result, out);
    fclose(out);
    return text;
}

static void a_page_that_needs_nothing_else(void **state)
{
    static const char *const refused[] = {"http:", "https:",  "src=", "href=", "@import",
                                          "url(",  "<script", "<it>", "nan",   "inf"};
    struct world w;
    (void)state;

    make_world(&w);
    w.plan.command = "echo <a> && \"b\"";
    char *page = printed(compare_print_html, &w.result);
    assert_true(strncmp(page, "<!DOCTYPE html>", 15) == 0);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (strstr(page, refused[i]))
            fail_msg("the page has %s: %.60s", refused[i], strstr(page, refused[i]));
    }
    assert_non_null(strstr(page, "&lt;it&gt; &amp; more"));
    assert_non_null(strstr(page, "echo &lt;a&gt; &amp;&amp; &quot;b&quot;"));
    assert_non_null(strstr(page, "25 % of what enough memory allowed"));
    assert_non_null(strstr(page, "After 1.00 s it had 100 MiB back, 100 MiB/s"));
    free(page);
    /* Nothing but failures is a page, too. */
    for (unsigned r = 0; r < 3; r++) {
        strcpy(w.runs[0][r].failed, "no");
        strcpy(w.runs[1][r].failed, "no");
    }
    compare_summarize(&w.result);
    page = printed(compare_print_html, &w.result);
    assert_non_null(strstr(page, "Round 3 failed"));
    free(page);
    free_world(&w);
}

static void a_table(void **state)
{
    struct world w;
    (void)state;

    make_world(&w);
    char *table = printed(compare_print_table, &w.result);
    assert_non_null(strstr(table, "enough memory           20,000     100 %"));
    assert_non_null(strstr(table, "Round 2 failed: in the guest: <it> & more"));
    assert_null(strstr(table, "says more"));
    free(table);
    w.result.columns[0].figures.value[FIGURE_accesses_per_s] = 3; /* for a second */
    table = printed(compare_print_table, &w.result);
    assert_non_null(strstr(table, "That is of 3 accesses only: a longer --seconds says more."));
    free(table);
    free_world(&w);
}

static void json_tells_all(void **state)
{
    struct world w;
    (void)state;

    make_world(&w);
    json_t *json = compare_json(&w.result);
    assert_non_null(json);
    const json_t *means = json_array_get(json_object_get(json, "means"), 1);
    assert_string_equal(json_string_value(json_object_get(means, "means")), "swap");
    assert_int_equal(json_integer_value(json_object_get(means, "good_rounds")), 2);
    const json_t *rounds = json_object_get(means, "rounds");
    assert_int_equal(json_array_size(rounds), 3);
    assert_non_null(json_object_get(json_array_get(rounds, 1), "failed"));
    assert_int_equal(json_array_size(json_object_get(json_array_get(rounds, 0), "samples")), 41);
    json_decref(json);
    free_world(&w);
}

static void plans_are_checked(void **state)
{
    struct compare_plan plan = {
        .memory_bytes = 512 * MIB, .limit_bytes = 256 * MIB, .load_bytes = 384 * MIB};
    (void)state;

    assert_int_equal(compare_choose_workload(&plan, "hot"), ERR_OK);
    assert_int_equal(compare_check_plan(&plan), ERR_OK);
    plan.limit_bytes = 512 * MIB;
    assert_int_equal(compare_check_plan(&plan), ERR_INVAL);
    plan.limit_bytes = 70 * MIB;
    assert_int_equal(compare_check_plan(&plan), ERR_INVAL);
    plan.limit_bytes = 256 * MIB;
    plan.load_bytes = 512 * MIB;
    assert_int_equal(compare_check_plan(&plan), ERR_INVAL);
    assert_int_equal(compare_choose_workload(&plan, "nothing"), ERR_INVAL);
    assert_int_equal(compare_choose_means(&plan, "enough,swap"), ERR_OK);
    assert_true(plan.chosen[0] && !plan.chosen[1] && plan.chosen[2]);
    plan.load_bytes = 384 * MIB;
    assert_int_equal(compare_choose_means(&plan, "all"), ERR_OK);
    assert_int_equal(compare_choose_workload(&plan, "hot"), ERR_OK);
    assert_int_equal(compare_check_plan(&plan), ERR_OK);
    assert_true(plan.chosen[1] && !plan.chosen[5] && plan.chosen[6]);
    assert_int_equal(compare_choose_means(&plan, "smart"), ERR_OK);
    assert_int_equal(compare_check_plan(&plan), ERR_INVAL);
    assert_int_equal(compare_choose_workload(&plan, "restart"), ERR_OK);
    assert_int_equal(compare_check_plan(&plan), ERR_OK);
    assert_int_equal(compare_choose_means(&plan, "enough,"), ERR_INVAL);
    assert_int_equal(compare_choose_means(&plan, "magic"), ERR_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(medians),
        cmocka_unit_test(growth_between_samples),
        cmocka_unit_test(axes_end_at_round_numbers),
        cmocka_unit_test(numbers_as_text),
        cmocka_unit_test(figures_of_a_run),
        cmocka_unit_test(rounds_become_medians),
        cmocka_unit_test(a_page_that_needs_nothing_else),
        cmocka_unit_test(a_table),
        cmocka_unit_test(json_tells_all),
        cmocka_unit_test(plans_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
