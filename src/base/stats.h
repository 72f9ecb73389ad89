/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters as X-macro lists: a module writes its list once,
 *
 *     #define MMU_COUNTERS(X) X(hidden_missing, "hidden faults: no shadow entry") ...
 *     struct mmu_stats { MMU_COUNTERS(STATS_FIELD) };
 *
 * and every view (JSON, API, tables) iterates the same list.
 */
#ifndef UMBRA_BASE_STATS_H
#define UMBRA_BASE_STATS_H

#include <stddef.h>
#include <stdint.h>

#define STATS_FIELD(name, text) uint64_t name;

/*
 * One row of a counter table made from a list: name, explanation, offset of the uint64_t in its
 * struct.
 */
struct stats_desc {
    const char *name;
    const char *text;
    size_t offset;
};

#endif
