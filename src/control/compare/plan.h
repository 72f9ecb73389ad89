/* SPDX-License-Identifier: Apache-2.0 */
/*
 * umbra compare: what is run. One guest with one workload is run under several means of meeting the
 * same shortage, one after the other:
 *
 *     boot, fill | warm: enough memory | the host takes memory back | settle | measured |
 *                                      ^ 0 s of all plots            [restart]
 */
#ifndef UMBRA_CONTROL_COMPARE_PLAN_H
#define UMBRA_CONTROL_COMPARE_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/* name: of --workload;  order: as src/workload/owner.c knows it;  restarts: the guest does, once */
struct compare_workload {
    const char *name, *order, *text;
    bool has_file, restarts;
};
extern const struct compare_workload compare_workloads[]; /* ends with a NULL name */

/* How the host takes memory back when the shortage comes; POOL: it never gives more. */
enum compare_shortage { SHORTAGE_NONE, SHORTAGE_BALLOON, SHORTAGE_LIMIT, SHORTAGE_POOL };

/*
 * name: of --means;  title: in tables;  idea: in a sentence
 * allowed, cures: of umbra run --means and --cures
 */
struct compare_means {
    const char *name, *title, *idea;
    const char *allowed, *cures;
    enum compare_shortage shortage;
};
#define COMPARE_MEANS_MAX 8
extern const struct compare_means compare_means[]; /* ends with a NULL name */

/*
 * command:    of the guest's shell, NULL unless the workload is that
 * load_bytes: what the workload uses
 * kernel, initrd, program: files; borrowed
 * folder:     where temporary files go
 */
struct compare_plan {
    const struct compare_workload *workload;
    const char *command;
    bool chosen[COMPARE_MEANS_MAX], has_all;
    uint64_t memory_bytes, limit_bytes, load_bytes;
    double seconds, warm_seconds;
    unsigned rounds;
    const char *kernel, *initrd, *program, *folder;
};

/* ERR_INVAL names what can be chosen. "all" means all that the workload can have. */
enum err compare_choose_workload(struct compare_plan *plan, const char *name) MUST_USE;
enum err compare_choose_means(struct compare_plan *plan, const char *list) MUST_USE;

/* Means, workload and sizes fit each other. ERR_INVAL says what does not. */
enum err compare_check_plan(struct compare_plan *plan) MUST_USE;

/*
 * The files of a run in `folder`: "initrd" (the guest's, with the workload behind it), "swap" (the
 * guest's own swap disk) and "disk" where the workload has a file.
 */
enum err compare_make_files(const struct compare_plan *plan, const char *folder) MUST_USE;

/* The shell script that the guest runs. */
void compare_write_script(const struct compare_plan *plan, FILE *out);

#endif
