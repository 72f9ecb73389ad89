/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is mapped in a stub: pages by their linear address and by their frame.
 *
 * Invariants
 *   MA1 a linear page is in it once at most
 *   MA2 each mapping is in the list of its page's hash and in that of its frame's
 */
#ifndef UMBRA_CPU_TRANSLATE_MAPPINGS_H
#define UMBRA_CPU_TRANSLATE_MAPPINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct code_page;

/* A process has 65530 mappings by default (vm.max_map_count), of which some are its own. */
#define MAPPINGS_MOST  61440u
#define MAPPINGS_HEADS 65536u

/* By number, 0: none. */
struct mapping_links {
    uint32_t next, prev;
};

/*
 * page: linear; host: the frame's bytes; code: executable and not writable, NULL: data; is_guess:
 * see scan.h. A mapping that is not in use has host NULL.
 */
struct mapping {
    uint64_t page;
    const uint8_t *host;
    gfn_t gfn;
    const struct code_page *code;
    struct mapping_links by_page, by_frame;
    bool writes, is_guess;
};

/* Zeroed memory is an empty one. count: in use; made: places that were ever in use; free: a list */
struct mappings {
    unsigned count, made;
    uint32_t free;
    uint32_t page_head[MAPPINGS_HEADS], frame_head[MAPPINGS_HEADS];
    struct mapping at[MAPPINGS_MOST + 1];
};

/* NULL: it is not mapped. */
struct mapping *mappings_find(struct mappings *m, uint64_t page);

/* A page that is not in it. NULL: too many. */
struct mapping *mappings_add(struct mappings *m, uint64_t page, gfn_t gfn, const uint8_t *host);

void mappings_remove(struct mappings *m, struct mapping *x);
void mappings_empty(struct mappings *m);

/* The first mapping of a frame, and the one behind x; NULL: no more. */
struct mapping *mappings_of_frame(struct mappings *m, gfn_t gfn);
struct mapping *mappings_next(struct mappings *m, const struct mapping *x);

#endif
