/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal's answer: two tables, then a few words for each run. */
#include "control/compare/report.h"

/* title NULL: what the workload does so many of */
struct head {
    const char *title;
    enum compare_figure figure;
    int width;
};

static const struct head cost[] = {
    {NULL, FIGURE_accesses_per_s, 12},
    {"of enough", FIGURE_of_enough, 10},
    {"median", FIGURE_median_ns, 9},
    {"99 %", FIGURE_p99_ns, 9},
    {"to target", FIGURE_time_to_target_s, 10},
    {"taken back", FIGURE_reclaim_bytes_per_s, 12},
    {"host peak", FIGURE_host_peak_bytes, 10},
};

static const struct head disk[] = {
    {"hv wrote", FIGURE_file_write_bytes, 12},
    {"hv read", FIGURE_file_read_bytes, 12},
    {"guest out", FIGURE_guest_swap_out_bytes, 12},
    {"guest in", FIGURE_guest_swap_in_bytes, 12},
    {"guest read", FIGURE_guest_disk_read_bytes, 12},
    {"all, a second", FIGURE_disk_bytes_per_s, 14},
};

static const struct head restart[] = {
    {"restart", FIGURE_restart_s, 12},       {"host peak", FIGURE_restart_peak_bytes, 12},
    {"disk", FIGURE_restart_disk_bytes, 12}, {"smart paging", FIGURE_smart_write_bytes, 14},
    {"gone after", FIGURE_smart_file_s, 12},
};

static void print_part(const struct compare_result *result, const struct head *heads, size_t count,
                       FILE *out)
{
    char cell[COMPARE_TEXT];

    fprintf(out, "%-18s", "");
    for (size_t h = 0; h < count; h++)
        fprintf(out, "%*s%s", heads[h].width - (heads[h].title ? 0 : 2),
                heads[h].title ? heads[h].title : compare_unit(result->plan),
                heads[h].title ? "" : "/s");
    fputc('\n', out);
    for (size_t c = 0; c < result->count; c++) {
        const struct compare_column *column = &result->columns[c];

        fprintf(out, "%-18s", column->means->title);
        if (!column->shown)
            fputs("  failed", out);
        for (size_t h = 0; column->shown && h < count; h++)
            fprintf(out, "%*s", heads[h].width,
                    compare_cell(cell, &column->figures, heads[h].figure));
        fputc('\n', out);
    }
}

void compare_print_table(const struct compare_result *result, FILE *out)
{
    compare_tell_plan(result->plan, out);
    fprintf(out, "\n%s; medians of %u round%s of %.0f s\n\n", result->host, result->plan->rounds,
            result->plan->rounds == 1 ? "" : "s", result->plan->seconds);
    print_part(result, cost, sizeof(cost) / sizeof(cost[0]), out);
    fputs("\nDisk, since the shortage (hv: the hypervisor)\n", out);
    print_part(result, disk, sizeof(disk) / sizeof(disk[0]), out);
    if (result->plan->workload->restarts) {
        fputs("\nFrom the reset until the workload ran again\n", out);
        print_part(result, restart, sizeof(restart) / sizeof(restart[0]), out);
    }
    for (size_t c = 0; c < result->count; c++) {
        const struct compare_column *column = &result->columns[c];

        fprintf(out, "\n%s: %s.\n", column->means->title, column->means->idea);
        for (unsigned q = 0; column->shown && q < COMPARE_QUESTIONS; q++) {
            fprintf(out, "  %s ", compare_questions[q]);
            compare_answer(result, column, q, out);
            fputc('\n', out);
        }
        for (unsigned r = 0; r < column->rounds; r++) {
            if (column->runs[r].failed[0])
                fprintf(out, "  Round %u failed: %s\n", r + 1, column->runs[r].failed);
        }
    }
}
