/* SPDX-License-Identifier: Apache-2.0 */
/* One page that needs nothing else: its style is in it, its plots are inline SVG. */
#include <math.h>

#include "control/compare/report.h"
#include "control/compare/svg.h"

static const char style[] =
    ":root{color-scheme:light dark;--back:#fff;--card:#f5f6f8;--text:#1b1f24;--soft:#5c6672;"
    "--line:#d5dae1;--accent:#2f6fdb;--resident:#3b7dd8;--shared:#2aa198;--compressed:#8d63c8;"
    "--swapped:#d9534f;--smart:#c2549d;--image:#e3a32b;--ballooned:#8aa34a;--untouched:#dfe4ea;"
    "--band:#9aa3ad}\n"
    "@media(prefers-color-scheme:dark){:root{--back:#15181c;--card:#1e2329;--text:#e8ebef;"
    "--soft:#9aa5b1;--line:#39414b;--accent:#6ea3f5;--resident:#4b8be0;--shared:#35b5ab;"
    "--compressed:#a67fdf;--swapped:#e2706c;--smart:#d776b6;--image:#dfae4c;--ballooned:#9db45f;"
    "--untouched:#333b45;--band:#727d89}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:1180px;padding:1rem;background:var(--back);color:var(--text);"
    "font:16px/1.45 system-ui,sans-serif}\n"
    "h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem}"
    "h3{margin:0;font-size:1.05rem}p{margin:.4rem 0}.soft,figcaption{color:var(--soft);"
    "font-size:.85rem}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:.88rem;"
    "font-variant-numeric:tabular-nums;width:100%}th,td{padding:.35rem .5rem;text-align:right;"
    "white-space:nowrap;border-bottom:1px solid var(--line)}th{font-weight:600;white-space:normal;"
    "vertical-align:bottom}"
    "th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--back)}"
    "\n"
    ".bars{display:grid;grid-template-columns:max-content 1fr max-content;gap:.35rem .6rem;"
    "align-items:center;font-size:.9rem}.bar{height:1rem;background:var(--card);border-radius:3px;"
    "overflow:hidden}.bar i{display:block;height:100%;background:var(--accent)}"
    ".bar i.late{background:var(--swapped)}.num{text-align:right;"
    "font-variant-numeric:tabular-nums}\n"
    ".two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));"
    "gap:1rem 2rem}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,350px),1fr));"
    "gap:1rem}article{background:var(--card);border-radius:10px;padding:.9rem;min-width:0}"
    "figure{margin:.6rem 0 0}svg{display:block;width:100%;height:auto}dl{margin:.8rem 0 0;"
    "font-size:.9rem}dt{font-weight:600;margin-top:.5rem}dd{margin:0}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:.3rem 1rem;font-size:.85rem;margin:.5rem 0}"
    ".legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.35em;"
    "vertical-align:-.05em}\n"
    "svg text{font:10px system-ui,sans-serif;fill:var(--soft)}.x{text-anchor:middle}"
    ".y{text-anchor:end}.grid{stroke:var(--line);stroke-width:.6;fill:none}"
    ".measured{fill:var(--band)}.restart{fill:var(--smart)}.zero{stroke:var(--text);stroke-width:1;"
    "stroke-dasharray:2 2;"
    "fill:none}.limit{stroke:var(--text);stroke-width:1;stroke-dasharray:5 3;fill:none}"
    ".process{stroke:var(--text);stroke-width:1.6;fill:none;stroke-linejoin:round}"
    ".work{fill:var(--accent)}.hostdisk{fill:var(--swapped)}.guestdisk{fill:var(--image)}\n"
    ".resident{fill:var(--resident)}"
    ".shared{fill:var(--shared)}"
    ".compressed{fill:var(--compressed)}"
    ".swapped{fill:var(--swapped)}"
    ".smart{fill:var(--smart)}"
    ".image{fill:var(--image)}"
    ".ballooned{fill:var(--ballooned)}"
    ".untouched{fill:var(--untouched)}"
    "\n.failed{color:var(--swapped)}code{font-size:.9em;overflow-wrap:anywhere}\n";

static void escape(const char *text, FILE *out)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(*text, out);
        }
    }
}

static void put_head(const struct compare_result *result, FILE *out)
{
    fputs("<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>\n"
          "<meta name='viewport' content='width=device-width,initial-scale=1'>\n"
          "<title>umbra compare: ",
          out);
    fputs(result->plan->workload->name, out);
    fprintf(out,
            "</title>\n<style>\n%s</style></head>\n<body>\n"
            "<h1>What a shortage of memory costs</h1>\n<p>",
            style);
    compare_tell_plan(result->plan, out);
    fputs("</p>\n", out);
    if (result->plan->command) {
        fputs("<p>The command: <code>", out);
        escape(result->plan->command, out);
        fputs("</code></p>\n", out);
    }
    fputs("<p class='soft'>", out);
    escape(result->host, out);
    fprintf(out,
            "; %s; workload %s; medians of %u round%s, each measured for %.0f s. All numbers "
            "here were measured in these runs.</p>\n",
            result->when, result->plan->workload->name, result->plan->rounds,
            result->plan->rounds == 1 ? "" : "s", result->plan->seconds);
}

/* ---- at a glance ---- */

static double highest(const struct compare_result *result, enum compare_figure which)
{
    double most = 0;

    for (size_t c = 0; c < result->count; c++) {
        double v = result->columns[c].figures.value[which];

        if (result->columns[c].shown && v > most)
            most = v;
    }
    return most;
}

/* How long a bar is. Times span orders of magnitude: theirs are logarithms, from 100 ns on. */
static double length_of(double value, double most, enum compare_figure which)
{
    if (isnan(value) || most <= 0)
        return 0;
    if (which != FIGURE_p99_ns)
        return value / most;
    return value > 100 && most > 100 ? log(value / 100) / log(most / 100) : 0;
}

static void put_bars(const struct compare_result *result, enum compare_figure which,
                     const char *title, const char *class, FILE *out)
{
    double most = highest(result, which);
    char text[COMPARE_TEXT];

    fprintf(out, "<div><h3>%s</h3><div class='bars'>\n", title);
    for (size_t c = 0; c < result->count; c++) {
        const struct compare_column *column = &result->columns[c];

        fprintf(out,
                "<span>%s</span><span class='bar'><i class='%s' style='width:%.1f%%'></i></span>"
                "<span class='num'>%s</span>\n",
                column->means->title, class,
                column->shown ? 100 * length_of(column->figures.value[which], most, which) : 0,
                column->shown ? compare_cell(text, &column->figures, which) : "failed");
    }
    fputs("</div></div>\n", out);
}

/* ---- table ---- */

static const struct {
    enum compare_figure figure;
    const char *title;
} columns[] = {
    {FIGURE_accesses_per_s, "a second"},
    {FIGURE_of_enough, "of enough"},
    {FIGURE_median_ns, "median"},
    {FIGURE_p99_ns, "99 %"},
    {FIGURE_time_to_target_s, "to target"},
    {FIGURE_reclaim_bytes_per_s, "taken back"},
    {FIGURE_host_peak_bytes, "host peak"},
    {FIGURE_file_write_bytes, "hyper&shy;visor wrote"},
    {FIGURE_file_read_bytes, "hyper&shy;visor read"},
    {FIGURE_guest_swap_out_bytes, "guest swapped out"},
    {FIGURE_guest_swap_in_bytes, "guest swapped in"},
    {FIGURE_guest_disk_read_bytes, "guest read files"},
    {FIGURE_disk_bytes_per_s, "disk while measured"},
    {FIGURE_restart_s, "restart"},
    {FIGURE_restart_peak_bytes, "host peak of restart"},
    {FIGURE_restart_disk_bytes, "disk in restart"},
    {FIGURE_smart_write_bytes, "smart paging wrote"},
    {FIGURE_smart_file_s, "its file was there"},
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

/* In some column there is a figure, and not nothing. */
static bool has_figure(const struct compare_result *result, enum compare_figure which)
{
    for (size_t c = 0; c < result->count; c++) {
        if (result->columns[c].shown && result->columns[c].figures.value[which] > 0)
            return true;
    }
    return false;
}

static void put_table(const struct compare_result *result, FILE *out)
{
    char text[COMPARE_TEXT];

    fputs("<h2>All figures</h2>\n<div class='wide'><table><thead><tr><th></th>", out);
    for (size_t i = 0; i < COLUMNS; i++) {
        if (has_figure(result, columns[i].figure))
            fprintf(out, "<th>%s</th>", columns[i].title);
    }
    fputs("</tr></thead><tbody>\n", out);
    for (size_t c = 0; c < result->count; c++) {
        const struct compare_column *column = &result->columns[c];

        fprintf(out, "<tr><td>%s</td>", column->means->title);
        for (size_t i = 0; i < COLUMNS; i++) {
            if (has_figure(result, columns[i].figure))
                fprintf(out, "<td>%s</td>",
                        column->shown ? compare_cell(text, &column->figures, columns[i].figure)
                                      : "failed");
        }
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n<p class='soft'>Disk bytes count from the shortage on. "
          "<b>To target</b>: until the whole VM held no more than the limit. <b>Host peak</b>: the "
          "most that its process held while it was measured. What is nothing in all runs is left "
          "out.</p>\n",
          out);
}

/* ---- the runs ---- */

static void put_legend(bool restarts, FILE *out)
{
    fputs("<div class='legend'>", out);
    for (const struct svg_layer *layer = svg_layers; layer->class; layer++)
        fprintf(out, "<span><i style='background:var(--%s)'></i>%s</span>", layer->class,
                layer->text);
    fputs("</div>\n", out);
    if (restarts)
        fputs("<p class='soft'>A coloured bar under the axis: the guest restarts.</p>\n", out);
    fputs("<p class='soft'>The solid line is what the whole VM holds of the host, the "
          "dashed one its limit. At 0 s the shortage begins; the time with a bar under the axis "
          "was measured. Scales "
          "are the same in all runs, except that of time.</p>\n",
          out);
}

static void put_run(const struct compare_result *result, const struct compare_column *column,
                    const struct svg_scales *scales, FILE *out)
{
    fprintf(out, "<article><h3>%s</h3><p class='soft'>%s</p>\n", column->means->title,
            column->means->idea);
    for (unsigned r = 0; r < column->rounds; r++) {
        if (!column->runs[r].failed[0])
            continue;
        fprintf(out, "<p class='failed'>Round %u failed: ", r + 1);
        escape(column->runs[r].failed, out);
        fputs("</p>\n", out);
    }
    if (column->shown) {
        fputs("<figure><figcaption>Where the guest&rsquo;s memory is, MiB</figcaption>", out);
        svg_memory(column->shown, result->plan, column->means->shortage, scales, out);
        fprintf(out, "</figure><figure><figcaption>%s a second (logarithmic)</figcaption>",
                result->plan->command ? "Runs" : "Accesses");
        svg_work(column->shown, scales, out);
        fputs("</figure><figure><figcaption>Disk, MiB a second: <b style='color:var(--swapped)'>"
              "hypervisor</b> and <b style='color:var(--image)'>guest</b></figcaption>",
              out);
        svg_disk(column->shown, scales, out);
        fputs("</figure><dl>", out);
        for (unsigned q = 0; q < COMPARE_QUESTIONS; q++) {
            fprintf(out, "<dt>%s</dt><dd>", compare_questions[q]);
            compare_answer(result, column, q, out);
            fputs("</dd>\n", out);
        }
        fputs("</dl>", out);
    }
    fputs("</article>\n", out);
}

void compare_print_html(const struct compare_result *result, FILE *out)
{
    struct svg_scales scales;

    svg_scales_make(result, &scales);
    put_head(result, out);
    fputs("<h2>At a glance</h2>\n<div class='two'>\n", out);
    put_bars(result, FIGURE_accesses_per_s,
             result->plan->command ? "Runs of the command a second" : "Accesses a second", "", out);
    if (result->plan->workload->restarts)
        put_bars(result, FIGURE_restart_s, "Time that a restart took", "late", out);
    put_bars(result, FIGURE_p99_ns, "99 of 100 took less than (logarithmic)", "late", out);
    fputs("</div>\n", out);
    put_table(result, out);
    fputs("<h2>Run by run</h2>\n", out);
    put_legend(result->plan->workload->restarts, out);
    fputs("<div class='cards'>\n", out);
    for (size_t c = 0; c < result->count; c++)
        put_run(result, &result->columns[c], &scales, out);
    fputs("</div>\n</body></html>\n", out);
}
