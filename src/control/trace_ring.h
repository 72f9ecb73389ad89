/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded queue of trace records: one writer (the vCPU's thread), one reader (the main thread),
 * no lock. A full ring drops the newest record and counts it; the writer never waits.
 */
#ifndef UMBRA_CONTROL_TRACE_RING_H
#define UMBRA_CONTROL_TRACE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "mmu/trace.h"

/* head: next to read, tail: next to write; both only grow. */
struct trace_ring {
    struct mmu_trace_record *records;
    size_t size; /* power of two */
    size_t head __attribute__((aligned(64)));
    size_t tail __attribute__((aligned(64)));
    uint64_t dropped;
};

enum err trace_ring_init(struct trace_ring *ring, size_t records) MUST_USE;
void trace_ring_fini(struct trace_ring *ring);

/* Writer. */
void trace_ring_put(struct trace_ring *ring, const struct mmu_trace_record *record);

/* Reader. False: empty. */
bool trace_ring_take(struct trace_ring *ring, struct mmu_trace_record *out);

/* Any thread: records lost so far. */
uint64_t trace_ring_dropped(const struct trace_ring *ring);

#endif
