/* SPDX-License-Identifier: Apache-2.0 */
/* Figures as text, and the comparison in plain words. */
#include <math.h>
#include <string.h>

#include "control/compare/report.h"
#include "control/size.h"

#define MIB 1048576.0
/* Of less than this, medians and percentiles are hardly any. */
#define FEW 9.5

const char *compare_bytes(char buf[COMPARE_TEXT], double bytes)
{
    if (isnan(bytes))
        snprintf(buf, COMPARE_TEXT, "-");
    else if (bytes >= 10240 * MIB)
        snprintf(buf, COMPARE_TEXT, "%.1f GiB", bytes / MIB / 1024);
    else if (bytes < 0.05 * MIB)
        snprintf(buf, COMPARE_TEXT, "0 MiB");
    else
        snprintf(buf, COMPARE_TEXT, "%.*f MiB", bytes < 10 * MIB ? 1 : 0, bytes / MIB);
    return buf;
}

const char *compare_rate(char buf[COMPARE_TEXT], double bytes_per_s)
{
    compare_bytes(buf, bytes_per_s);
    if (!isnan(bytes_per_s))
        strcat(buf, "/s");
    return buf;
}

const char *compare_time(char buf[COMPARE_TEXT], double ns)
{
    static const struct {
        double ns;
        const char *unit;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}};
    size_t u = 0;

    if (isnan(ns)) {
        snprintf(buf, COMPARE_TEXT, "-");
        return buf;
    }
    while (u < 3 && ns < units[u].ns)
        u++;
    double value = ns / units[u].ns;
    snprintf(buf, COMPARE_TEXT, "%.*f %s",
             value < 10 && u < 3    ? 2
             : value < 100 && u < 3 ? 1
                                    : 0,
             value, units[u].unit);
    return buf;
}

const char *compare_part(char buf[COMPARE_TEXT], double part)
{
    if (isnan(part))
        snprintf(buf, COMPARE_TEXT, "-");
    else
        snprintf(buf, COMPARE_TEXT, "%.*f %%", part < 0.1 ? 1 : 0, part * 100);
    return buf;
}

const char *compare_count(char buf[COMPARE_TEXT], double count)
{
    char digits[COMPARE_TEXT];
    size_t length, at = 0;

    if (isnan(count)) {
        snprintf(buf, COMPARE_TEXT, "-");
        return buf;
    }
    if (count < 10) {
        snprintf(buf, COMPARE_TEXT, "%.2f", count);
        return buf;
    }
    length = (size_t)snprintf(digits, sizeof(digits), "%.0f", count < 1e12 ? count : 1e12);
    for (size_t i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            buf[at++] = ',';
        buf[at++] = digits[i];
    }
    buf[at] = '\0';
    return buf;
}

const char *compare_cell(char buf[COMPARE_TEXT], const struct compare_figures *figures,
                         enum compare_figure which)
{
    double value = figures->value[which];

    switch (which) {
    case FIGURE_accesses_per_s:
        return compare_count(buf, value);
    case FIGURE_of_enough:
        return compare_part(buf, value);
    case FIGURE_median_ns:
    case FIGURE_p99_ns:
    case FIGURE_max_ns:
        return compare_time(buf, value);
    case FIGURE_time_to_target_s:
    case FIGURE_restart_s:
    case FIGURE_smart_file_s:
    case FIGURE_measured_s:
        return compare_time(buf, value * 1e9);
    case FIGURE_reclaim_bytes_per_s:
    case FIGURE_disk_bytes_per_s:
        return compare_rate(buf, value);
    default:
        return compare_bytes(buf, value);
    }
}

const char *compare_unit(const struct compare_plan *plan)
{
    return plan->command ? "runs" : "accesses";
}

void compare_tell_plan(const struct compare_plan *plan, FILE *out)
{
    char memory[16], limit[16], load[16];

    size_format(memory, sizeof(memory), plan->memory_bytes);
    size_format(limit, sizeof(limit), plan->limit_bytes);
    size_format(load, sizeof(load), plan->load_bytes);
    fprintf(out, "A guest of %s ", memory);
    if (plan->command)
        fputs("runs a command over and over. ", out);
    else
        fprintf(out, "%s (%s). ", plan->workload->text, load);
    fprintf(out, "Then the host takes memory back until the whole VM holds %s, by one means a run.",
            limit);
}

/* ---- the questions ---- */

const char *const compare_questions[COMPARE_QUESTIONS] = {
    "When does the host get its memory?",
    "What does the disk see?",
    "What does it cost?",
    "Who has the memory then?",
};

static void tell_target(const struct compare_plan *plan, const double *v, FILE *out)
{
    char a[COMPARE_TEXT], b[COMPARE_TEXT], rate[COMPARE_TEXT];
    double limit = (double)plan->limit_bytes;

    if (!isnan(v[FIGURE_time_to_target_s])) {
        fprintf(out, "After %s it had %s back, %s.",
                compare_time(a, v[FIGURE_time_to_target_s] * 1e9),
                compare_bytes(b, v[FIGURE_reclaimed_bytes]),
                compare_rate(rate, v[FIGURE_reclaim_bytes_per_s]));
        if (v[FIGURE_host_peak_bytes] > limit * 1.02)
            fprintf(out, " Nothing holds the guest there: later the VM held up to %s.",
                    compare_bytes(a, v[FIGURE_host_peak_bytes]));
    } else if (v[FIGURE_before_bytes] <= limit) {
        fprintf(out, "There was nothing to take: the VM held %s already.",
                compare_bytes(a, v[FIGURE_before_bytes]));
    } else {
        fprintf(out, "Not in time. The VM held %s before, and up to %s while it was measured.",
                compare_bytes(a, v[FIGURE_before_bytes]),
                compare_bytes(b, v[FIGURE_host_peak_bytes]));
    }
}

static void tell_when(const struct compare_plan *plan, const struct compare_column *c, FILE *out)
{
    const double *v = c->figures.value;
    char a[COMPARE_TEXT];

    if (c->means->shortage == SHORTAGE_NONE)
        fprintf(out, "Never: the guest keeps all that it has touched, %s.",
                compare_bytes(a, v[FIGURE_host_peak_bytes]));
    else if (c->means->shortage == SHORTAGE_POOL)
        fprintf(out, "The pool never gave it away: the VM held %s when others were told to give.",
                compare_bytes(a, v[FIGURE_before_bytes]));
    else
        tell_target(plan, v, out);
    if (!isnan(v[FIGURE_restart_peak_bytes]))
        fprintf(out, " While the guest restarted the VM held up to %s.",
                compare_bytes(a, v[FIGURE_restart_peak_bytes]));
}

static void tell_disk(const struct compare_column *c, FILE *out)
{
    const double *v = c->figures.value;
    char a[COMPARE_TEXT], b[COMPARE_TEXT], rate[COMPARE_TEXT];
    double file = v[FIGURE_file_read_bytes] + v[FIGURE_file_write_bytes];
    double swap = v[FIGURE_guest_swap_in_bytes] + v[FIGURE_guest_swap_out_bytes];

    if (file >= MIB / 20)
        fprintf(out, "The hypervisor wrote %s and read %s. ",
                compare_bytes(a, v[FIGURE_file_write_bytes]),
                compare_bytes(b, v[FIGURE_file_read_bytes]));
    if (swap >= MIB / 20)
        fprintf(out, "The guest swapped %s out and %s in by itself. ",
                compare_bytes(a, v[FIGURE_guest_swap_out_bytes]),
                compare_bytes(b, v[FIGURE_guest_swap_in_bytes]));
    if (v[FIGURE_guest_disk_read_bytes] >= MIB / 20)
        fprintf(out, "The guest read %s of its files. ",
                compare_bytes(a, v[FIGURE_guest_disk_read_bytes]));
    if (file + swap + v[FIGURE_guest_disk_read_bytes] < MIB / 20)
        fputs("Nothing: neither hypervisor nor guest used it.", out);
    else
        fprintf(out, "While it was measured that made %s.",
                compare_rate(rate, v[FIGURE_disk_bytes_per_s]));
    if (!isnan(v[FIGURE_smart_write_bytes]))
        fprintf(out, " The smart-paging file took %s and was %s%s.",
                compare_bytes(a, v[FIGURE_smart_write_bytes]),
                isnan(v[FIGURE_smart_file_s]) ? "there until the end" : "gone after ",
                isnan(v[FIGURE_smart_file_s]) ? "" : compare_time(b, v[FIGURE_smart_file_s] * 1e9));
}

static void tell_cost(const struct compare_plan *plan, const struct compare_column *c, FILE *out)
{
    const double *v = c->figures.value;
    char a[COMPARE_TEXT], b[COMPARE_TEXT], n[COMPARE_TEXT];
    double count = v[FIGURE_accesses_per_s] * v[FIGURE_measured_s];

    fprintf(out, "%s %s a second", compare_count(n, v[FIGURE_accesses_per_s]), compare_unit(plan));
    if (c->means->shortage == SHORTAGE_NONE)
        fputs(", the measure for the others", out);
    else if (!isnan(v[FIGURE_of_enough]))
        fprintf(out, ", %s of what enough memory allowed", compare_part(a, v[FIGURE_of_enough]));
    fprintf(out, ". Half of them took less than %s, 99 of 100 less than %s.",
            compare_time(a, v[FIGURE_median_ns]), compare_time(b, v[FIGURE_p99_ns]));
    if (count < FEW)
        fprintf(out, " That is of %.0f %s only: a longer --seconds says more.", count,
                compare_unit(plan));
    if (!isnan(v[FIGURE_restart_s]))
        fprintf(out, " The restart took %s until the workload ran again.",
                compare_time(a, v[FIGURE_restart_s] * 1e9));
}

/* What of the guest lies where: the largest first would hide the order of the plots. */
static void tell_who(const struct compare_column *c, FILE *out)
{
    const struct compare_figures *f = &c->figures;
    static const struct {
        enum page_state state;
        const char *text;
    } places[] = {
        {PAGE_BALLOONED, "in the balloon (the guest chose them)"},
        {PAGE_SHARED, "shared"},
        {PAGE_COMPRESSED, "compressed"},
        {PAGE_SWAPPED, "in the swap file"},
        {PAGE_SMART, "in the smart-paging file"},
        {PAGE_IMAGE, "dropped, as its disk holds them"},
    };
    char a[COMPARE_TEXT];
    const char *comma = "; of its other pages ";

    fprintf(out, "The guest %s of its own",
            compare_bytes(a, f->pages[PAGE_RESIDENT] + f->pages[PAGE_PINNED]));
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (f->pages[places[i].state] < MIB)
            continue;
        fprintf(out, "%s%s %s", comma, compare_bytes(a, f->pages[places[i].state]), places[i].text);
        comma = ", ";
    }
    fprintf(out, ". All of the VM held %s.", compare_bytes(a, f->process));
}

void compare_answer(const struct compare_result *result, const struct compare_column *column,
                    unsigned which, FILE *out)
{
    if (which == 0)
        tell_when(result->plan, column, out);
    else if (which == 1)
        tell_disk(column, out);
    else if (which == 2)
        tell_cost(result->plan, column, out);
    else
        tell_who(column, out);
}
