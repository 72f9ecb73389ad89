/* SPDX-License-Identifier: Apache-2.0 */
/* Figures made of samples: pure. */
#ifndef UMBRA_CONTROL_COMPARE_STATISTICS_H
#define UMBRA_CONTROL_COMPARE_STATISTICS_H

#include "control/compare/run.h"

/* The middle one, or the mean of the two in the middle; those that are NAN do not count. */
double compare_median(const double *values, size_t count);

/* Of samples, marks and report; `of_enough` is left NAN. */
void compare_figures_make(const struct compare_run *run, enum compare_shortage shortage,
                          struct compare_figures *out);

/* Medians of the rounds that did not fail; which round is shown; what enough memory allowed. */
void compare_summarize(struct compare_result *result);

/*
 * What a counter grew by in each of `count` equal parts of [from_s, to_s): counters between two
 * samples are taken to grow evenly. NAN where no samples are.
 */
struct compare_point {
    double at_s, value;
};
void compare_growth(const struct compare_point *points, size_t point_count, double from_s,
                    double to_s, double *out, size_t count);

/* A little above `value`: 1, 2 or 5 times a power of ten, so that an axis can end there. */
double compare_axis_end(double value);

#endif
