/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a comparison: a table, JSON, one self-contained HTML file. All of it measured. */
#ifndef UMBRA_CONTROL_COMPARE_REPORT_H
#define UMBRA_CONTROL_COMPARE_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "control/compare/run.h"

void compare_print_table(const struct compare_result *result, FILE *out);

/* A new reference; NULL: no memory. */
json_t *compare_json(const struct compare_result *result);

void compare_print_html(const struct compare_result *result, FILE *out);

/* ---- shared by these ---- */

/* "1.2 GiB", "310 MiB/s", "4.1 us", "62 %", "12,345"; "-" for NAN. Each answers buf. */
#define COMPARE_TEXT 32
const char *compare_bytes(char buf[COMPARE_TEXT], double bytes);
const char *compare_rate(char buf[COMPARE_TEXT], double bytes_per_s);
const char *compare_time(char buf[COMPARE_TEXT], double ns);
const char *compare_part(char buf[COMPARE_TEXT], double part);
const char *compare_count(char buf[COMPARE_TEXT], double count);

/* The cell of a table for one figure. */
const char *compare_cell(char buf[COMPARE_TEXT], const struct compare_figures *figures,
                         enum compare_figure which);

/* What the workload does so many of: "accesses", or "runs" of a command. */
const char *compare_unit(const struct compare_plan *plan);

/* What was run, in a sentence. */
void compare_tell_plan(const struct compare_plan *plan, FILE *out);

/*
 * The four questions of the textbooks, answered for one column with what was measured. which: 0 to
 * COMPARE_QUESTIONS - 1
 */
#define COMPARE_QUESTIONS 4
extern const char *const compare_questions[COMPARE_QUESTIONS];
void compare_answer(const struct compare_result *result, const struct compare_column *column,
                    unsigned which, FILE *out);

#endif
