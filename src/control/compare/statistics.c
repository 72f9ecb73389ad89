/* SPDX-License-Identifier: Apache-2.0 */
#include "control/compare/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

#define MEDIAN_MOST 64

double compare_median(const double *values, size_t count)
{
    double sorted[MEDIAN_MOST];
    size_t n = 0;

    for (size_t i = 0; i < count && n < MEDIAN_MOST; i++) {
        if (!isnan(values[i]))
            sorted[n++] = values[i];
    }
    if (!n)
        return NAN;
    qsort(sorted, n, sizeof(sorted[0]), compare_numbers);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static const struct compare_sample *first_from(const struct compare_run *run, double at_s)
{
    size_t i = 0;

    while (i + 1 < run->sample_count && run->samples[i].at_s < at_s)
        i++;
    return &run->samples[i];
}

static uint64_t file_bytes(const struct compare_sample *s)
{
    return s->file_read + s->file_write + s->swap_read + s->swap_write + s->disk_read +
           s->disk_write;
}

/* Sums over the samples of the measured time. */
static void measured_means(const struct compare_run *run, struct compare_figures *out)
{
    double peak = 0;
    size_t n = 0;

    for (size_t i = 0; i < run->sample_count; i++) {
        const struct compare_sample *s = &run->samples[i];

        if (s->at_s < run->marks.measure || s->at_s > run->marks.end)
            continue;
        n++;
        out->process += (double)s->process;
        for (unsigned p = 0; p < PAGE_STATES; p++)
            out->pages[p] += (double)s->pages[p];
        if ((double)s->process > peak)
            peak = (double)s->process;
    }
    if (!n)
        return;
    out->process /= (double)n;
    for (unsigned p = 0; p < PAGE_STATES; p++)
        out->pages[p] /= (double)n;
    out->value[FIGURE_host_peak_bytes] = peak;
}

static void since_shortage(const struct compare_run *run, struct compare_figures *out)
{
    const struct compare_sample *zero = first_from(run, 0);
    const struct compare_sample *begin = first_from(run, run->marks.measure);
    const struct compare_sample *end = first_from(run, run->marks.end);
    double *v = out->value;

    v[FIGURE_before_bytes] = (double)zero->process;
    v[FIGURE_file_read_bytes] = (double)(end->file_read - zero->file_read);
    v[FIGURE_file_write_bytes] = (double)(end->file_write - zero->file_write);
    v[FIGURE_guest_swap_in_bytes] = (double)(end->swap_read - zero->swap_read);
    v[FIGURE_guest_swap_out_bytes] = (double)(end->swap_write - zero->swap_write);
    v[FIGURE_guest_disk_read_bytes] = (double)(end->disk_read - zero->disk_read);
    if (end->at_s > begin->at_s)
        v[FIGURE_disk_bytes_per_s] =
            (double)(file_bytes(end) - file_bytes(begin)) / (end->at_s - begin->at_s);
}

static void way_to_target(const struct compare_run *run, struct compare_figures *out)
{
    const struct compare_sample *zero = first_from(run, 0);
    const struct compare_sample *then = first_from(run, run->marks.reached);
    double *v = out->value;

    if (!run->marks.is_reached || run->marks.reached <= 0 || then->process >= zero->process)
        return;
    v[FIGURE_time_to_target_s] = run->marks.reached;
    v[FIGURE_reclaimed_bytes] = (double)(zero->process - then->process);
    v[FIGURE_reclaim_bytes_per_s] = v[FIGURE_reclaimed_bytes] / run->marks.reached;
}

static void of_restart(const struct compare_run *run, struct compare_figures *out)
{
    const struct compare_sample *begin = first_from(run, run->marks.reset);
    const struct compare_sample *live = first_from(run, run->marks.live_again);
    const struct compare_sample *end = first_from(run, run->marks.end);
    double *v = out->value, peak = 0;

    v[FIGURE_restart_s] = run->marks.live_again - run->marks.reset;
    for (const struct compare_sample *s = begin; s <= live; s++)
        peak = (double)s->process > peak ? (double)s->process : peak;
    v[FIGURE_restart_peak_bytes] = peak;
    v[FIGURE_restart_disk_bytes] = (double)(file_bytes(live) - file_bytes(begin));
    if (end->smart_write > begin->smart_write)
        v[FIGURE_smart_write_bytes] = (double)(end->smart_write - begin->smart_write);
    if (end->smart_file_ns > begin->smart_file_ns && !end->pages[PAGE_SMART])
        v[FIGURE_smart_file_s] = (double)(end->smart_file_ns - begin->smart_file_ns) * 1e-9;
}

static void clear(struct compare_figures *figures)
{
    memset(figures, 0, sizeof(*figures));
    for (unsigned i = 0; i < COMPARE_FIGURE_COUNT; i++)
        figures->value[i] = NAN;
}

void compare_figures_make(const struct compare_run *run, enum compare_shortage shortage,
                          struct compare_figures *out)
{
    const struct compare_report *r = &run->report;

    clear(out);
    out->value[FIGURE_accesses_per_s] = r->seconds > 0 ? r->accesses / r->seconds : NAN;
    out->value[FIGURE_median_ns] = r->median_ns;
    out->value[FIGURE_p99_ns] = r->p99_ns;
    out->value[FIGURE_max_ns] = r->max_ns;
    out->value[FIGURE_measured_s] = r->seconds;
    if (!run->sample_count)
        return;
    measured_means(run, out);
    since_shortage(run, out);
    if (shortage == SHORTAGE_LIMIT || shortage == SHORTAGE_BALLOON)
        way_to_target(run, out); /* a pool never gave it away */
    if (run->marks.live_again > run->marks.reset)
        of_restart(run, out);
}

/* ---- over the rounds ---- */

static void column_medians(struct compare_column *column)
{
    double values[MEDIAN_MOST];
    struct compare_figures *out = &column->figures;
    size_t offset[COMPARE_FIGURE_COUNT + PAGE_STATES + 1], count = 0;

    /* every double of the figures, by its place */
    clear(out);
    for (unsigned f = 0; f < COMPARE_FIGURE_COUNT; f++)
        offset[count++] = offsetof(struct compare_figures, value) + f * sizeof(double);
    for (unsigned p = 0; p < PAGE_STATES; p++)
        offset[count++] = offsetof(struct compare_figures, pages) + p * sizeof(double);
    offset[count++] = offsetof(struct compare_figures, process);
    for (size_t i = 0; i < count; i++) {
        size_t n = 0;

        for (unsigned r = 0; r < column->rounds && n < MEDIAN_MOST; r++) {
            if (!column->runs[r].failed[0])
                memcpy(&values[n++], (const char *)&column->runs[r].figures + offset[i],
                       sizeof(double));
        }
        double median = compare_median(values, n);
        memcpy((char *)out + offset[i], &median, sizeof(median));
    }
}

/* The round whose throughput is nearest to the median. */
static void choose_shown(struct compare_column *column)
{
    double median = column->figures.value[FIGURE_accesses_per_s], best = INFINITY;

    column->shown = NULL;
    column->good = 0;
    for (unsigned r = 0; r < column->rounds; r++) {
        const struct compare_run *run = &column->runs[r];
        double off = fabs(run->figures.value[FIGURE_accesses_per_s] - median);

        if (run->failed[0])
            continue;
        column->good++;
        if (!column->shown || off < best) {
            best = off;
            column->shown = run;
        }
    }
}

void compare_summarize(struct compare_result *result)
{
    double enough = NAN;

    for (size_t c = 0; c < result->count; c++) {
        column_medians(&result->columns[c]);
        choose_shown(&result->columns[c]);
        if (result->columns[c].means->shortage == SHORTAGE_NONE)
            enough = result->columns[c].figures.value[FIGURE_accesses_per_s];
    }
    for (size_t c = 0; c < result->count; c++) {
        double *v = result->columns[c].figures.value;

        v[FIGURE_of_enough] = enough > 0 ? v[FIGURE_accesses_per_s] / enough : NAN;
    }
}

/* ---- for plots ---- */

/* A counter's value at a moment, between two points. */
static double value_at(const struct compare_point *points, size_t count, double at_s)
{
    size_t i = 1;

    if (!count || at_s < points[0].at_s || at_s > points[count - 1].at_s)
        return NAN;
    while (i < count && points[i].at_s < at_s)
        i++;
    if (i == count)
        return points[count - 1].value;
    double span = points[i].at_s - points[i - 1].at_s;
    double part = span > 0 ? (at_s - points[i - 1].at_s) / span : 1;
    return points[i - 1].value + (points[i].value - points[i - 1].value) * part;
}

void compare_growth(const struct compare_point *points, size_t point_count, double from_s,
                    double to_s, double *out, size_t count)
{
    double step = (to_s - from_s) / (double)count;

    for (size_t i = 0; i < count; i++)
        out[i] = value_at(points, point_count, from_s + step * (double)(i + 1)) -
                 value_at(points, point_count, from_s + step * (double)i);
}

double compare_axis_end(double value)
{
    double power = value > 0 ? pow(10, floor(log10(value))) : 1;
    double part = value > 0 ? value / power : 1;

    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}
