/* SPDX-License-Identifier: Apache-2.0 */
/* All runs of a comparison, round by round, in a temporary folder of their own. */
#ifndef UMBRA_CONTROL_COMPARE_SERIES_H
#define UMBRA_CONTROL_COMPARE_SERIES_H

#include "control/compare/run.h"
#include "control/compare/runner.h"

/*
 * Fills *result, which compare_result_fini frees. A run that fails does not end the others. ERR_IO,
 * ERR_NOMEM: nothing could be run. *end says whether the user interrupted it.
 */
enum err compare_run_all(const struct compare_plan *plan, int signal_fd,
                         struct compare_result *result, enum compare_end *end) MUST_USE;
void compare_result_fini(struct compare_result *result);

#endif
