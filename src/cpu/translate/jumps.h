/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where native code of a linear address is: a table beside each window, which branches ask whose
 * target is not in their own page.
 *
 * Invariants
 *   J1  an entry's address is mapped to its code as long as the fetch TLB's entry of that address
 *       stays as it is: whoever changes c->fetch[i] drops the entries made under it
 *   J2  the code of a block that was dropped stays until everything is dropped, and leads out
 */
#ifndef UMBRA_CPU_TRANSLATE_JUMPS_H
#define UMBRA_CPU_TRANSLATE_JUMPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cpu/interp/interp.h"

#define JUMPS            131072u
#define JUMP_ENTRY_SHIFT 4
#define JUMP_ALIGN_SHIFT 2

/* In the memory of a window, behind its entries. */
struct jump_entry {
    uint64_t lin;
    const uint8_t *code;
};

struct jumps;

struct jumps *jumps_create(void);
void jumps_destroy(struct jumps *j);

/*
 * Native code works it out by a rotation and a mask. The low bits are left out that tell places
 * apart which are too near to each other to be targets of their own.
 */
static inline unsigned jump_index(uint64_t lin)
{
    return (unsigned)(lin >> JUMP_ALIGN_SHIFT) % JUMPS;
}

/* Empties a table in memory that reads as zeros. */
void jumps_init(struct jump_entry *table);

/* Takes lin, whose page's fetch entry is c->fetch[fetch], into the table of a window. */
void jumps_add(struct jumps *j, struct jump_entry *table, unsigned window, uint64_t lin,
               const uint8_t *code, unsigned fetch);

/* Drops one entry of a window if it is used. */
void jumps_drop(struct jumps *j, struct jump_entry *table, unsigned window, unsigned i);

/*
 * Forgets all entries of all windows and gives its memory back; the tables are emptied by who has
 * them.
 */
void jumps_reset(struct jumps *j);

/* Drops all entries of a window, or all that were made under a fetch entry. */
void jumps_drop_window(struct jumps *j, struct jump_entry *table, unsigned window);
void jumps_drop_fetch(struct jumps *j, struct jump_entry *const *tables, unsigned fetch);

#endif
