/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that keeps changing its tables: a few tables per level, two entries in use in each, a few
 * roots, PCIDs and data pages, so that tables are shared, swapped, recursive and come back with
 * other contents.
 *
 *   slot n = entry (n % 2 ? second : first) of table n / 2
 *   table t is of level t / TABLES_EACH from the top
 */
#ifndef UMBRA_TESTS_MMU_GUEST_H
#define UMBRA_TESTS_MMU_GUEST_H

#include "model.h"
#include "world.h"

#define TABLES_EACH 3u
#define SLOTS_MAX   (MODEL_LEVELS * TABLES_EACH * 2)
#define DATA_PAGES  6u

/* registers: PDPTEs that the next load of CR3 with that root takes. memory: what each slot must
 * hold. percent: of the steps that are no flush, flush one address, flush more, so many are taken
 * */
struct guest {
    struct dice dice;
    struct mmu_context ctx;
    unsigned maxphyaddr;
    unsigned levels, entry_bytes;
    unsigned mode;
    bool may_be_pae, pcide;
    unsigned index[2];
    unsigned slots;
    uint64_t memory[SLOTS_MAX], before[SLOTS_MAX];
    uint64_t registers[TABLES_EACH][4];
    unsigned addresses;
    unsigned percent[3];
    uint64_t gva[1u << MODEL_LEVELS];
};

/* Draws a mode and contents; stores nothing yet. */
void guest_init(struct guest *g, uint64_t seed);
const char *guest_mode_name(const struct guest *g);

/* Takes the same tables in another mode. False: this guest has only one. */
bool guest_change_mode(struct guest *g);

uint64_t guest_slot_gpa(const struct guest *g, unsigned slot);

/* Draws a new value for a slot: another flag, what it was before, or all new. */
uint64_t guest_edit(struct guest *g, unsigned slot);

/* Draws an address, often one of three. */
unsigned guest_address(struct guest *g);

/* Takes a root (and a PCID) into CR3, for PAE also what its PDPTEs are by now. */
void guest_load_cr3(struct guest *g, unsigned root, unsigned pcid);

/* Edits one PDPTE of a root: PAE only. */
void guest_edit_register(struct guest *g);

uint64_t guest_data_page(unsigned n);

static inline bool guest_has_pcid(const struct guest *g)
{
    return g->ctx.cr4 >> 17 & 1;
}

static inline unsigned guest_pcid(const struct guest *g)
{
    return guest_has_pcid(g) ? (unsigned)g->ctx.cr3 & 0xfff : 0;
}

#endif
