/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a VM's memory went, as one JSON object: the "memory" member of its counters, and the answer
 * of x-umbra-memory. Fields: umbra-explain(1). And the same in words.
 */
#ifndef UMBRA_CONTROL_MEMORY_JSON_H
#define UMBRA_CONTROL_MEMORY_JSON_H

#include <jansson.h>
#include <stdio.h>

#include "base/stats.h"
#include "control/vm.h"

/* The vCPU is parked or joined. A new reference. */
json_t *memory_json(struct vm *vm);

/* An object with one integer for each row of a counter table. */
json_t *memory_rows_json(const struct stats_desc *rows, const void *values);

/*
 * The time that `quantile` (0 .. 1) of all took at most, from counts by power of two; 0: there are
 * none.
 */
uint64_t memory_latency_quantile(const uint64_t *buckets, double quantile);

/* Sentences and sums for people: all of it, for umbra explain. */
void memory_print(const char *name, const json_t *memory, FILE *out);

/*
 * Only the table of page states; what of the counters is not zero, and how long pages took; for
 * umbra stat.
 */
void memory_print_states(const json_t *memory, FILE *out);
void memory_print_flows(const json_t *memory, FILE *out);

#endif
