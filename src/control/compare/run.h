/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured of one run: samples over time, and the figures made of them. */
#ifndef UMBRA_CONTROL_COMPARE_RUN_H
#define UMBRA_CONTROL_COMPARE_RUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "control/compare/plan.h"
#include "mem/mem.h"

/*
 * What the control socket told at one moment; bytes, counters from the VM's beginning on.
 * at_s:     seconds since the shortage began (before it: negative)
 * process:  host memory of the whole VM;  host: of the guest's pages and stores alone
 * file_*:   the hypervisor's disk traffic: swap file, smart-paging file, and pages read back from
 *           disk images;  smart_*: of the smart-paging file alone, and how long it was there
 * swap_*, disk_*: the guest's own swap disk, and its disk with the workload's file
 */
struct compare_sample {
    double at_s;
    uint64_t pages[PAGE_STATES];
    uint64_t process, host;
    uint64_t smart_write, smart_file_ns;
    uint64_t file_read, file_write, swap_read, swap_write, disk_read, disk_write;
};

/* Accesses that the workload has done so far, when its line arrived. */
struct compare_tick {
    double at_s;
    uint64_t done;
};

/* Of the guest's report, for the measured time. */
struct compare_report {
    double seconds, accesses, median_ns, p99_ns, max_ns, mismatches;
};

/* When the parts of a run began, as at_s; the shortage is at 0. */
struct compare_marks {
    double live, reached, measure, end;
    double reset, live_again; /* where the workload restarts the guest */
    bool is_reached;
};

/* clang-format off */
#define COMPARE_FIGURES(X)                                                                         \
    X(accesses_per_s,       "accesses that the workload did in a second")                          \
    X(of_enough,            "the same as a part of what enough memory allowed")                    \
    X(median_ns,            "median time of an access")                                            \
    X(p99_ns,               "99th percentile of it")                                               \
    X(max_ns,               "the longest")                                                         \
    X(time_to_target_s,     "from the shortage until the VM held its target")                      \
    X(reclaimed_bytes,      "taken back in that time")                                             \
    X(reclaim_bytes_per_s,  "rate of that")                                                        \
    X(file_read_bytes,      "read from disk by the hypervisor since the shortage")                 \
    X(file_write_bytes,     "written to disk by it")                                               \
    X(guest_swap_in_bytes,  "read by the guest from its own swap disk since the shortage")         \
    X(guest_swap_out_bytes, "written by it to that")                                               \
    X(guest_disk_read_bytes,"read by the guest from its other disk since the shortage")            \
    X(disk_bytes_per_s,     "all disk traffic a second while it was measured")                     \
    X(restart_s,            "from a reset until the guest's workload ran again")                   \
    X(restart_peak_bytes,   "the most host memory that the VM held in that time")                  \
    X(restart_disk_bytes,   "all disk traffic in that time")                                       \
    X(smart_write_bytes,    "written to the smart-paging file")                                    \
    X(smart_file_s,         "how long the smart-paging file was there")                            \
    X(before_bytes,         "host memory that the VM held when the shortage began")                \
    X(host_peak_bytes,      "the most that it held while it was measured")                         \
    X(measured_s,           "how long was measured")
/* clang-format on */

#define COMPARE_FIGURE_ENUM(name, text) FIGURE_##name,
enum compare_figure { COMPARE_FIGURES(COMPARE_FIGURE_ENUM) COMPARE_FIGURE_COUNT };

/*
 * value: NAN where a figure does not apply
 * pages: bytes in each state, the mean over the measured time;  process: the same of host memory
 */
struct compare_figures {
    double value[COMPARE_FIGURE_COUNT];
    double pages[PAGE_STATES];
    double process;
};

/* failed: why it gave no figures; "" when it did */
struct compare_run {
    struct compare_sample *samples;
    struct compare_tick *ticks;
    size_t sample_count, sample_room, tick_count, tick_room;
    struct compare_report report;
    struct compare_marks marks;
    struct compare_figures figures;
    double booted_s;
    char failed[300];
};

/* All rounds of one means, and their medians; shown: the round that the plots show. */
struct compare_column {
    const struct compare_means *means;
    struct compare_run *runs; /* as many as rounds */
    unsigned rounds, good;
    const struct compare_run *shown;
    struct compare_figures figures;
};

struct compare_result {
    const struct compare_plan *plan;
    struct compare_column columns[COMPARE_MEANS_MAX];
    size_t count;
    char host[160], when[40];
};

/* False: no memory. */
bool compare_add_sample(struct compare_run *run, const struct compare_sample *sample) MUST_USE;
bool compare_add_tick(struct compare_run *run, double at_s, uint64_t done) MUST_USE;
void compare_run_fini(struct compare_run *run);

/* A sample of what x-umbra-memory answers. */
void compare_sample_take(const json_t *memory, double at_s, struct compare_sample *out);

#endif
