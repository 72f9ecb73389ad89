/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The roll of a pool: the names of its members in a small file, $STATE/umbra/.NAME.pool, so that
 * the next manager knows who was there. Who died with the manager before (with the host, for
 * instance) and is started anew is *re*starting; who said goodbye, or died alone, is not.
 *
 *   present --goodbye--> struck off
 *   present --died-----> gone, in the file only
 *   in the file of the manager before --> former, for ten minutes, until it joins
 */
#ifndef UMBRA_CONTROL_POOL_ROLL_H
#define UMBRA_CONTROL_POOL_ROLL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define ROLL_PATH_MAX 1024
#define ROLL_MAX      1200 /* names in the file; the oldest go first */

/* names: in the file, each once;  former: those of them that a manager before has left */
struct roll {
    char path[ROLL_PATH_MAX];
    json_t *names, *former;
    uint64_t former_until_ns;
    bool is_told; /* that the file cannot be written */
};

/* Reads the file. Never fails: without a file nobody was there. now_ns: any monotonic clock. */
void roll_open(struct roll *roll, const char *pool, uint64_t now_ns);
void roll_close(struct roll *roll);

/*
 * Enters a name. True: a manager before had it as a member, and this is its first return. Tells on
 * stderr, once, when the file cannot be written.
 */
bool roll_enter(struct roll *roll, const char *name, uint64_t now_ns);

/* Strikes a name off: it said goodbye. */
void roll_strike(struct roll *roll, const char *name);

#endif
