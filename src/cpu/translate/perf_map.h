/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file by which `perf` names code that was made at run time: /tmp/perf-PID.map, one line
 * "START BYTES NAME" for each piece (Linux tools/perf/Documentation/jit-interface.txt). Names are
 * the guest's linear addresses. Code memory is used again after it was full: of two pieces at one
 * place the later line counts.
 */
#ifndef UMBRA_CPU_TRANSLATE_PERF_MAP_H
#define UMBRA_CPU_TRANSLATE_PERF_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct perf_map;

/* The file of this process, which must not be there unless it is the user's own. */
enum err perf_map_open(struct perf_map **out) MUST_USE;

/* Native code of the guest's code at a linear address; map NULL: nothing is told. */
void perf_map_add(struct perf_map *map, const void *code, size_t bytes, uint64_t lin);
void perf_map_close(struct perf_map *map);

#endif
