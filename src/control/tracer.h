/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One listener to the shadow MMU of a running VM: which events, through a bounded ring, as
 * JSON text.
 *
 *     vCPU thread                        main thread
 *     mmu -> filter -> ring  ......  tick every 10 ms -> tracer_take -> control socket
 *
 * Nothing that the reader does or leaves undone makes the vCPU wait: a full ring drops and counts.
 */
#ifndef UMBRA_CONTROL_TRACER_H
#define UMBRA_CONTROL_TRACER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "control/vm.h"
#include "mmu/trace.h"

/*
 * events:          MMU_TRACE_BITs
 * gva_low, gva_high: accesses and flushes of addresses in this closed range only
 * has_gfn, gfn:    events of this frame only
 */
struct tracer_filter {
    uint32_t events;
    uint64_t gva_low, gva_high;
    bool has_gfn;
    uint64_t gfn;
};

/* Everything but plain shadow hits, anywhere. */
struct tracer_filter tracer_filter_default(void);

/*
 * The events that `word` names: an event's name, a group (what stands before an underscore), or
 * "all".
 * 0: there is no such name.
 */
uint32_t tracer_events_named(const char *word);

/* All names with their texts, one a line, for --help. */
void tracer_print_events(FILE *out);

struct tracer;

/* Starts listening; the VM is held for a moment. */
enum err tracer_start(struct tracer **out, struct vm *vm,
                      const struct tracer_filter *filter) MUST_USE;

/* Ends it, and releases everything. NULL is fine. */
void tracer_stop(struct tracer *tracer);

/* Readable when it is time to take; tracer_tick_seen makes it unreadable again. */
int tracer_fd(const struct tracer *tracer);
void tracer_tick_seen(struct tracer *tracer);

/*
 * The next records as a JSON array of at most buf_bytes with its final NUL. *dropped: lost since
 * the last call.
 * False: nothing to tell. buf_bytes is at least TRACER_RECORD_BYTES + 3.
 */
#define TRACER_RECORD_BYTES 640u
bool tracer_take(struct tracer *tracer, char *buf, size_t buf_bytes, uint64_t *dropped);

/* Records taken, and lost, since the start. */
uint64_t tracer_told(const struct tracer *tracer);
uint64_t tracer_dropped(const struct tracer *tracer);

/*
 * One record as a JSON object. tsc_start, tsc_khz: how its ticks become nanoseconds since the start
 * of the trace. Answers its length, below TRACER_RECORD_BYTES.
 */
size_t tracer_format(const struct mmu_trace_record *record, uint64_t tsc_start, uint64_t tsc_khz,
                     char *buf, size_t buf_bytes);

#endif
