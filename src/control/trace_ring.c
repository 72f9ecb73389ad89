/* SPDX-License-Identifier: Apache-2.0 */
#include "control/trace_ring.h"

#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"

enum err trace_ring_init(struct trace_ring *ring, size_t records)
{
    invariant(records && !(records & (records - 1)));
    memset(ring, 0, sizeof(*ring));
    ring->records = calloc(records, sizeof(*ring->records));
    if (!ring->records)
        return err_new(ERR_NOMEM, "no memory for a trace of %zu records", records);
    ring->size = records;
    return ERR_OK;
}

void trace_ring_fini(struct trace_ring *ring)
{
    free(ring->records);
    ring->records = NULL;
}

void trace_ring_put(struct trace_ring *ring, const struct mmu_trace_record *record)
{
    size_t tail = ring->tail;

    if (tail - __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) == ring->size) {
        __atomic_store_n(&ring->dropped, ring->dropped + 1, __ATOMIC_RELAXED);
        return;
    }
    ring->records[tail & (ring->size - 1)] = *record;
    __atomic_store_n(&ring->tail, tail + 1, __ATOMIC_RELEASE);
}

bool trace_ring_take(struct trace_ring *ring, struct mmu_trace_record *out)
{
    size_t head = ring->head;

    if (head == __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE))
        return false;
    *out = ring->records[head & (ring->size - 1)];
    __atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
    return true;
}

uint64_t trace_ring_dropped(const struct trace_ring *ring)
{
    return __atomic_load_n(&ring->dropped, __ATOMIC_RELAXED);
}
