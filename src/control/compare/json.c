/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "control/compare/report.h"

static json_t *real_or_null(double value)
{
    return isnan(value) ? json_null() : json_real(value);
}

static json_t *integer(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *figures_json(const struct compare_figures *figures)
{
    json_t *object = json_object(), *pages = json_object();

#define FIGURE_JSON(name, text)                                                                    \
    json_object_set_new(object, #name, real_or_null(figures->value[FIGURE_##name]));
    COMPARE_FIGURES(FIGURE_JSON)
#undef FIGURE_JSON
    for (unsigned p = 0; p < PAGE_STATES; p++)
        json_object_set_new(pages, page_state_name(p), real_or_null(figures->pages[p]));
    json_object_set_new(object, "mean_pages_bytes", pages);
    json_object_set_new(object, "mean_process_bytes", real_or_null(figures->process));
    return object;
}

static json_t *sample_json(const struct compare_sample *s)
{
    json_t *pages = json_object();

    for (unsigned p = 0; p < PAGE_STATES; p++)
        json_object_set_new(pages, page_state_name(p), integer(s->pages[p]));
    return json_pack("{s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "at_s", s->at_s,
                     "process_bytes", integer(s->process), "host_bytes", integer(s->host),
                     "file_read_bytes", integer(s->file_read), "file_write_bytes",
                     integer(s->file_write), "guest_swap_in_bytes", integer(s->swap_read),
                     "guest_swap_out_bytes", integer(s->swap_write), "guest_disk_read_bytes",
                     integer(s->disk_read), "guest_disk_write_bytes", integer(s->disk_write),
                     "pages_bytes", pages);
}

static json_t *run_json(const struct compare_run *run)
{
    json_t *samples = json_array(), *ticks = json_array();

    if (run->failed[0]) {
        json_decref(samples);
        json_decref(ticks);
        return json_pack("{s:s}", "failed", run->failed);
    }
    for (size_t i = 0; i < run->sample_count; i++)
        json_array_append_new(samples, sample_json(&run->samples[i]));
    for (size_t i = 0; i < run->tick_count; i++)
        json_array_append_new(ticks,
                              json_pack("[f, o]", run->ticks[i].at_s, integer(run->ticks[i].done)));
    return json_pack("{s:f, s:{s:f, s:b, s:f, s:f, s:f, s:f, s:f}, s:o, s:o, s:o}", "booted_s",
                     run->booted_s, "marks", "live_s", run->marks.live, "reached",
                     run->marks.is_reached, "reached_s", run->marks.reached, "reset_s",
                     run->marks.reset, "live_again_s", run->marks.live_again, "measure_s",
                     run->marks.measure, "end_s", run->marks.end, "figures",
                     figures_json(&run->figures), "samples", samples, "accesses", ticks);
}

static json_t *column_json(const struct compare_column *column)
{
    json_t *runs = json_array();

    for (unsigned r = 0; r < column->rounds; r++)
        json_array_append_new(runs, run_json(&column->runs[r]));
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:o, s:o}", "means", column->means->name, "title",
                     column->means->title, "allowed", column->means->allowed, "cures",
                     column->means->cures, "good_rounds", (int)column->good, "figures",
                     column->shown ? figures_json(&column->figures) : json_null(), "rounds", runs);
}

static json_t *explanations(void)
{
    json_t *object = json_object();

#define FIGURE_TEXT(name, text) json_object_set_new(object, #name, json_string(text));
    COMPARE_FIGURES(FIGURE_TEXT)
#undef FIGURE_TEXT
    return object;
}

json_t *compare_json(const struct compare_result *result)
{
    const struct compare_plan *plan = result->plan;
    json_t *columns = json_array();

    for (size_t c = 0; c < result->count; c++)
        json_array_append_new(columns, column_json(&result->columns[c]));
    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:o, s:o, s:i, s:f, s:o, s:o}", "when",
                     result->when, "host", result->host, "workload", plan->workload->name,
                     "command", plan->command, "memory_bytes", integer(plan->memory_bytes),
                     "limit_bytes", integer(plan->limit_bytes), "load_bytes",
                     integer(plan->load_bytes), "rounds", (int)plan->rounds, "seconds",
                     plan->seconds, "figures", explanations(), "means", columns);
}
