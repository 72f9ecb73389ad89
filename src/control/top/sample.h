/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one VM said of itself at one moment (the answer of x-umbra-stat), and what happened between
 * two such moments. Pure.
 */
#ifndef UMBRA_CONTROL_TOP_SAMPLE_H
#define UMBRA_CONTROL_TOP_SAMPLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "mem/mem.h"
#include "mem/reclaim.h"

/* A size that nobody has set, or that the guest has not told. */
#define TOP_UNKNOWN UINT64_MAX

/*
 * Pages on the move: direction, word, and the counter in the members flows or balloon.counters of
 * the VM's memory. A page that goes on from one store to another moves twice.
 */
/* clang-format off */
#define TOP_FLOWS(X)                                                                               \
    X(OUT, IMAGE,      "image",      "flows",    "evicted_image")                                  \
    X(OUT, ZERO,       "zero",       "flows",    "evicted_zero")                                   \
    X(OUT, SHARED,     "shared",     "flows",    "evicted_shared")                                 \
    X(OUT, COMPRESSED, "compressed", "flows",    "evicted_compressed")                             \
    X(OUT, SWAPPED,    "swapped",    "flows",    "evicted_swapped")                                \
    X(OUT, SMART,      "smart",      "flows",    "evicted_smart")                                  \
    X(OUT, BALLOONED,  "ballooned",  "counters", "inflated")                                       \
    X(OUT, REPORTED,   "reported",   "counters", "reported")                                       \
    X(IN,  SHARED,     "shared",     "flows",    "came_from_shared")                               \
    X(IN,  COMPRESSED, "compressed", "flows",    "came_from_compressed")                           \
    X(IN,  SWAPPED,    "swapped",    "flows",    "came_from_swap")                                 \
    X(IN,  STAGED,     "staged",     "flows",    "came_from_staging")                              \
    X(IN,  IMAGE,      "image",      "flows",    "came_from_image")                                \
    X(IN,  SMART,      "smart",      "flows",    "came_from_smart")                                \
    X(IN,  READAHEAD,  "read-ahead", "flows",    "readahead")                                      \
    X(IN,  BALLOONED,  "ballooned",  "counters", "deflated")
/* clang-format on */

#define TOP_FLOW_ENUM(way, name, word, group, key) TOP_##way##_##name,
enum top_flow { TOP_FLOWS(TOP_FLOW_ENUM) TOP_FLOW_KINDS };

enum top_way { TOP_OUT, TOP_IN };
enum top_way top_flow_way(enum top_flow flow);
const char *top_flow_word(enum top_flow flow);

/* Where a page comes from, and how long that took: members of "latencies". */
enum top_source { TOP_COMPRESSED, TOP_SWAP, TOP_IMAGE, TOP_SMART, TOP_SOURCES };
const char *top_source_word(enum top_source source);

/*
 * Sizes in bytes. at_ns: any monotonic clock.
 * held:      host memory of the VM's process;  limit: what it may hold now, TOP_UNKNOWN: any
 * available: what the guest says it could give without swapping, or TOP_UNKNOWN
 * waited_ns: time spent bringing pages in;  serviced_ns: time spent reclaiming
 */
struct top_sample {
    uint64_t at_ns;
    int64_t pid;
    char state[16], phase[16], engine[16], rung[16];
    char why[160], stall[160];
    double mips; /* since the VM's start */
    uint64_t instructions;
    uint64_t guest, held, limit, available;
    uint64_t pages[PAGE_STATES];
    uint64_t moved[TOP_FLOW_KINDS];
    uint64_t stalls, waited_ns, serviced_ns;
    uint64_t latency[TOP_SOURCES][MEM_LATENCY_BUCKETS];
};

/* Fields that are missing or of another kind count as zero, empty or unknown. */
void top_sample_take(struct top_sample *out, const json_t *stat, uint64_t now_ns);

struct top_latency {
    uint64_t count, median_ns, p99_ns;
};

/*
 * Between two samples: pages per second, million instructions per second, parts of the time (0 ..
 * 1), how long pages took in that time.
 */
struct top_rates {
    double seconds, mips;
    double per_second[TOP_FLOW_KINDS], in_per_second, out_per_second;
    double waiting, reclaiming;
    uint64_t stalls;
    struct top_latency latency[TOP_SOURCES];
};

/* False: these are not two moments of one run of a VM. */
bool top_rates_between(struct top_rates *out, const struct top_sample *before,
                       const struct top_sample *now);

#endif
