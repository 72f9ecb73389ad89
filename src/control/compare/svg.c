/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   0,0 +------------------------------+ WIDTH
 *       |  LEFT,TOP                    |
 *       |    +---------------------+   |   the vertical axis has ticks at 0, a half and the end,
 *       |    |                     |   |   or one for each power of ten
 *       |    +---------------------+   |
 *       |     -2   0    2    4  s      |
 *       +------------------------------+ HEIGHT
 */
#include "control/compare/svg.h"

#include <math.h>
#include <stdlib.h>

#include "control/compare/report.h"
#include "control/compare/statistics.h"

#define WIDTH  360.0
#define LEFT   44.0
#define RIGHT  8.0
#define TOP    8.0
#define BOTTOM 22.0
#define BINS   80
#define MIB    1048576.0

#define BIT(state) (1u << PAGE_##state)

const struct svg_layer svg_layers[] = {
    {"resident", "in host memory", BIT(RESIDENT) | BIT(PINNED)},
    {"shared", "shared", BIT(SHARED)},
    {"compressed", "compressed", BIT(COMPRESSED)},
    {"swapped", "in the swap file", BIT(SWAPPED)},
    {"smart", "in the smart-paging file", BIT(SMART)},
    {"image", "dropped, a disk holds it", BIT(IMAGE)},
    {"ballooned", "in the balloon", BIT(BALLOONED)},
    {"untouched", "not touched, or zeros", BIT(ABSENT) | BIT(ZERO)},
    {NULL, NULL, 0},
};

enum axis { AXIS_LINEAR, AXIS_LOG };

struct plot {
    FILE *out;
    double from_s, to_s, height;
    double low, high;
    enum axis axis;
};

static double bottom(const struct plot *p)
{
    return p->height - BOTTOM;
}

static double place_x(const struct plot *p, double at_s)
{
    double part = (at_s - p->from_s) / (p->to_s - p->from_s);

    return LEFT + (WIDTH - LEFT - RIGHT) * (part < 0 ? 0 : part > 1 ? 1 : part);
}

static double place_y(const struct plot *p, double value)
{
    double part = p->axis == AXIS_LOG
                      ? (value > p->low ? log(value / p->low) / log(p->high / p->low) : 0)
                      : value / p->high;

    return bottom(p) - (bottom(p) - TOP) * (part > 1 ? 1 : part);
}

/* ---- frame ---- */

static double tick_step(double span)
{
    double step = compare_axis_end(span / 6);

    return step > 0 ? step : 1;
}

static void time_axis(const struct plot *p)
{
    double step = tick_step(p->to_s - p->from_s);

    for (double at = ceil(p->from_s / step) * step; at <= p->to_s; at += step)
        fprintf(p->out, "<text x='%.1f' y='%.1f' class='x'>%.*f%s</text>", place_x(p, at),
                p->height - 6, step < 1 ? 1 : 0, fabs(at) < step / 2 ? 0 : at,
                at + step > p->to_s ? " s" : "");
}

static void level(const struct plot *p, double value, const char *text)
{
    double y = place_y(p, value);

    fprintf(p->out,
            "<path d='M%.0f %.1fH%.0f' class='grid'/><text x='%.0f' y='%.1f' class='y'>%s</text>",
            LEFT, y, WIDTH - RIGHT, LEFT - 4, y + 3.5, text);
}

static void open_plot(const struct plot *p, const struct compare_run *run, const char *label)
{
    fprintf(p->out, "<svg viewBox='0 0 %.0f %.0f' role='img' aria-label='%s'>", WIDTH, p->height,
            label);
    fprintf(p->out, "<rect x='%.1f' y='%.1f' width='%.1f' height='3' class='measured'/>",
            place_x(p, run->marks.measure), bottom(p) + 1,
            place_x(p, run->marks.end) - place_x(p, run->marks.measure));
    if (run->marks.live_again > run->marks.reset)
        fprintf(p->out, "<rect x='%.1f' y='%.1f' width='%.1f' height='3' class='restart'/>",
                place_x(p, run->marks.reset), bottom(p) + 1,
                place_x(p, run->marks.live_again) - place_x(p, run->marks.reset));
    time_axis(p);
}

static void close_plot(const struct plot *p)
{
    double zero = place_x(p, 0);

    fprintf(p->out, "<path d='M%.1f %.0fV%.1f' class='zero'/></svg>\n", zero, TOP, bottom(p));
}

static struct plot plot_of(const struct compare_run *run, FILE *out, double height, double high)
{
    return (struct plot){
        .out = out,
        .from_s = run->marks.live,
        .to_s = run->marks.end > run->marks.live ? run->marks.end : run->marks.live + 1,
        .height = height,
        .high = high,
    };
}

/* ---- memory ---- */

static double layer_top(const struct compare_sample *s, size_t layer)
{
    double sum = 0;

    for (size_t l = 0; l <= layer; l++) {
        for (unsigned p = 0; p < PAGE_STATES; p++) {
            if (svg_layers[l].states >> p & 1)
                sum += (double)s->pages[p];
        }
    }
    return sum;
}

/* The samples that are far enough from each other to be seen apart: the next one, or count. */
static size_t next_seen(const struct plot *p, const struct compare_run *run, size_t i)
{
    double x = place_x(p, run->samples[i].at_s);

    for (i++; i < run->sample_count; i++) {
        if (place_x(p, run->samples[i].at_s) - x >= 0.8)
            break;
    }
    return i;
}

static size_t first_seen(const struct compare_run *run)
{
    size_t i = 0;

    while (i + 1 < run->sample_count && run->samples[i + 1].at_s < run->marks.live)
        i++;
    return i;
}

/* Layers are painted from the highest on, each down to the axis, so that no gaps show. */
static void paint_layer(const struct plot *p, const struct compare_run *run, size_t layer)
{
    size_t i = first_seen(run), last = i;

    fprintf(p->out, "<path class='%s' d='M%.1f %.1f", svg_layers[layer].class,
            place_x(p, run->samples[i].at_s), bottom(p));
    for (; i < run->sample_count && run->samples[i].at_s <= run->marks.end;
         i = next_seen(p, run, i)) {
        fprintf(p->out, "L%.1f %.1f", place_x(p, run->samples[i].at_s),
                place_y(p, layer_top(&run->samples[i], layer)));
        last = i;
    }
    fprintf(p->out, "L%.1f %.1fZ'/>", place_x(p, run->samples[last].at_s), bottom(p));
}

static void paint_process(const struct plot *p, const struct compare_run *run)
{
    char letter = 'M';

    fputs("<path class='process' d='", p->out);
    for (size_t i = first_seen(run);
         i < run->sample_count && run->samples[i].at_s <= run->marks.end;
         i = next_seen(p, run, i)) {
        fprintf(p->out, "%c%.1f %.1f", letter, place_x(p, run->samples[i].at_s),
                place_y(p, (double)run->samples[i].process));
        letter = 'L';
    }
    fputs("'/>", p->out);
}

void svg_memory(const struct compare_run *run, const struct compare_plan *plan,
                enum compare_shortage shortage, const struct svg_scales *scales, FILE *out)
{
    struct plot p = plot_of(run, out, 170, scales->memory_bytes);
    char text[COMPARE_TEXT];
    size_t layers = 0;

    open_plot(&p, run, "Memory over time, by page state");
    while (svg_layers[layers].class)
        layers++;
    while (run->sample_count && layers-- > 0)
        paint_layer(&p, run, layers);
    level(&p, 0, "0");
    snprintf(text, sizeof(text), "%.0f", (double)plan->memory_bytes / MIB);
    level(&p, (double)plan->memory_bytes, text);
    snprintf(text, sizeof(text), "%.0f", (double)plan->limit_bytes / MIB);
    level(&p, (double)plan->limit_bytes, text);
    if (shortage != SHORTAGE_NONE)
        fprintf(out, "<path d='M%.1f %.1fH%.0f' class='limit'/>", place_x(&p, 0),
                place_y(&p, (double)plan->limit_bytes), WIDTH - RIGHT);
    paint_process(&p, run);
    close_plot(&p);
}

/* ---- rates ---- */

static struct compare_point *points_of(const struct compare_run *run, size_t *count,
                                       uint64_t (*value)(const struct compare_sample *s))
{
    struct compare_point *points = calloc(run->sample_count + 1, sizeof(*points));

    *count = points ? run->sample_count : 0;
    for (size_t i = 0; i < *count; i++)
        points[i] = (struct compare_point){run->samples[i].at_s, (double)value(&run->samples[i])};
    return points;
}

static uint64_t hypervisor_bytes(const struct compare_sample *s)
{
    return s->file_read + s->file_write;
}

static uint64_t all_bytes(const struct compare_sample *s)
{
    return hypervisor_bytes(s) + s->swap_read + s->swap_write + s->disk_read + s->disk_write;
}

/* A second's growth in each of BINS parts of the plot. */
static void rates(const struct plot *p, const struct compare_point *points, size_t count,
                  double out[BINS])
{
    double step = (p->to_s - p->from_s) / BINS;

    compare_growth(points, count, p->from_s, p->to_s, out, BINS);
    for (unsigned i = 0; i < BINS; i++)
        out[i] /= step;
}

static void disk_rates(const struct compare_run *run, const struct plot *p,
                       uint64_t (*value)(const struct compare_sample *s), double out[BINS])
{
    size_t count;
    struct compare_point *points = points_of(run, &count, value);

    rates(p, points, count, out);
    free(points);
}

static void work_rates(const struct compare_run *run, const struct plot *p, double out[BINS])
{
    struct compare_point *points = calloc(run->tick_count + 1, sizeof(*points));
    size_t count = points ? run->tick_count : 0;

    for (size_t i = 0; i < count; i++)
        points[i] = (struct compare_point){run->ticks[i].at_s, (double)run->ticks[i].done};
    rates(p, points, count, out);
    free(points);
}

static void bars(const struct plot *p, const double values[BINS], const char *class)
{
    double step = (p->to_s - p->from_s) / BINS;

    fprintf(p->out, "<path class='%s' d='", class);
    for (unsigned i = 0; i < BINS; i++) {
        double x = place_x(p, p->from_s + step * i), y = place_y(p, values[i]);
        double width = place_x(p, p->from_s + step * (i + 1)) - x;

        if (!isnan(values[i]) && bottom(p) - y >= 0.05)
            fprintf(p->out, "M%.1f %.1fh%.1fV%.1fh-%.1fZ", x, y, width, bottom(p), width);
    }
    fputs("'/>", p->out);
}

/* A power of ten, short. */
static const char *short_count(char text[COMPARE_TEXT], double count)
{
    static const struct {
        double one;
        const char *letter;
    } units[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1, ""}};
    size_t u = 0;

    while (u < 3 && count < units[u].one * 0.999)
        u++;
    snprintf(text, COMPARE_TEXT, "%.3g%s", count / units[u].one, units[u].letter);
    return text;
}

void svg_work(const struct compare_run *run, const struct svg_scales *scales, FILE *out)
{
    struct plot p = plot_of(run, out, 110, scales->accesses_per_s);
    char text[COMPARE_TEXT];
    double values[BINS];

    p.axis = AXIS_LOG;
    p.low = p.high / 1e4;
    open_plot(&p, run, "Accesses a second over time");
    work_rates(run, &p, values);
    bars(&p, values, "work");
    for (double at = p.high; at >= p.low * 10; at /= 100)
        level(&p, at, short_count(text, at));
    close_plot(&p);
}

void svg_disk(const struct compare_run *run, const struct svg_scales *scales, FILE *out)
{
    struct plot p = plot_of(run, out, 110, scales->disk_bytes_per_s);
    char text[COMPARE_TEXT];
    double values[BINS];

    open_plot(&p, run, "Disk bytes a second over time");
    disk_rates(run, &p, all_bytes, values);
    bars(&p, values, "guestdisk");
    disk_rates(run, &p, hypervisor_bytes, values);
    bars(&p, values, "hostdisk");
    level(&p, 0, "0");
    for (double part = 0.5; part <= 1; part += 0.5) {
        snprintf(text, sizeof(text), "%g", p.high * part / MIB);
        level(&p, p.high * part, text);
    }
    close_plot(&p);
}

/* ---- scales ---- */

static void take_highest(double *highest, const double values[BINS])
{
    for (unsigned i = 0; i < BINS; i++) {
        if (values[i] > *highest)
            *highest = values[i];
    }
}

void svg_scales_make(const struct compare_result *result, struct svg_scales *out)
{
    *out = (struct svg_scales){.memory_bytes = (double)result->plan->memory_bytes};
    for (size_t c = 0; c < result->count; c++) {
        const struct compare_run *run = result->columns[c].shown;
        double values[BINS];

        if (!run)
            continue;
        struct plot p = plot_of(run, NULL, 110, 1);
        work_rates(run, &p, values);
        take_highest(&out->accesses_per_s, values);
        disk_rates(run, &p, all_bytes, values);
        take_highest(&out->disk_bytes_per_s, values);
        for (size_t i = first_seen(run); i < run->sample_count; i++) {
            if ((double)run->samples[i].process > out->memory_bytes)
                out->memory_bytes = (double)run->samples[i].process;
        }
    }
    /* Whole powers of ten make the logarithmic axis readable. */
    out->accesses_per_s = pow(10, ceil(log10(out->accesses_per_s > 1 ? out->accesses_per_s : 1)));
    out->disk_bytes_per_s = compare_axis_end(out->disk_bytes_per_s / MIB) * MIB;
}
