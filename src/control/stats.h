/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters of a VM as JSON, made from the modules' own X-macro lists: the same object is the
 * --stats file and the answer of x-umbra-stat. Fields: docs in umbra-stat(1).
 */
#ifndef UMBRA_CONTROL_STATS_H
#define UMBRA_CONTROL_STATS_H

#include <jansson.h>

#include "base/err.h"
#include "control/vm.h"

/* The vCPU is parked or joined. A new reference; NULL when the host has no memory. */
json_t *stats_make(struct vm *vm);

/* The part of it that is the shadow MMU's: counters, and what is derived from its tables. */
json_t *stats_mmu_json(struct vm *vm);

/* Checks early that a file can be made at `path`, before a long run ends without one. */
enum err stats_check_path(const char *path) MUST_USE;

/* Writes `stats` to `path`: whole or not at all (a temporary file beside it, renamed). */
enum err stats_write(const json_t *stats, const char *path) MUST_USE;

/* "Where the memory is" in words, made from such an object. */
void stats_print_memory(const json_t *stats, FILE *out);

/* Which instructions native code left to their handlers most often, and why: an array. */
json_t *stats_callouts_json(struct vm *vm);

/* Samples of where the vCPU's time went, by engine phase; empty without --profile. */
json_t *stats_time_json(struct vm *vm);

/* The CPU's counters in words, and what becomes of translated code. */
void stats_print_cpu(const json_t *stats, FILE *out);

/* The shadow MMU's counters in words, from the "mmu" member of such an object. */
void stats_print_mmu(const json_t *mmu, FILE *out);

#endif
