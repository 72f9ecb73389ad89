/* SPDX-License-Identifier: Apache-2.0 */
/* One run: starts the VM, brings the shortage about, samples, ends the VM. */
#ifndef UMBRA_CONTROL_COMPARE_RUNNER_H
#define UMBRA_CONTROL_COMPARE_RUNNER_H

#include "control/compare/run.h"

enum compare_end { COMPARE_RAN, COMPARE_INTERRUPTED };

/*
 * folder: of temporary files, made by the caller;  signal_fd: readable when the user has had enough
 * label:  for lines about the progress on standard error
 * A run that failed says why in run->failed, and leaves no VM behind.
 */
enum compare_end compare_run_once(const struct compare_plan *plan,
                                  const struct compare_means *means, const char *folder,
                                  int signal_fd, const char *label, struct compare_run *run);

#endif
