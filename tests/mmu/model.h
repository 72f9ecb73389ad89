/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paging as the SDM tells it (3A 4.3 to 4.8), for tests: shares no code and no constants with
 * src/mmu.
 *
 * Where the SDM leaves a choice, the model takes one and says so:
 *   - A faulting access may set A in what it used. Here: in every entry that led to another entry
 *     that was read, and in no other; not in the entry that stopped the walk, not in the leaf of a
 *     refused access.
 *   - The protection key has its say in the error code (PK) also when something else refuses, too.
 *   - A frame that is not RAM reads as all ones.
 */
#ifndef UMBRA_TESTS_MMU_MODEL_H
#define UMBRA_TESTS_MMU_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "mmu/mmu.h"

#define MODEL_LEVELS 5

enum model_mode { MODEL_OFF, MODEL_32BIT, MODEL_PAE, MODEL_4LEVEL, MODEL_5LEVEL };

/* One step from the top. reserved: [entry maps a page]; in_registers: PAE's PDPTEs */
struct model_level {
    unsigned shift, index_bits;
    uint64_t reserved[2];
    bool may_map_page, is_last, in_registers;
};

/* The control state, taken apart. */
struct model {
    enum model_mode mode;
    unsigned levels, entry_bytes, maxphyaddr;
    struct model_level level[MODEL_LEVELS];
    uint64_t top;
    uint64_t pdpte[4];
    bool wp, smep, smap, xd, pge, keys, fetch_bit;
    uint32_t pkru;
};

typedef uint64_t model_load(void *arg, uint64_t gpa, unsigned bytes);

/*
 * entry[i]: the entries read, from the top; gpa 0 with in_registers
 * faults:   no translation; why: P and RSVD of the error code
 * page:     4 KiB page; shift: log2 of the page's size
 * accessed: A was set in all of them
 */
struct model_walk {
    unsigned entries;
    struct {
        uint64_t gpa, value;
        bool in_registers;
    } entry[MODEL_LEVELS];
    bool faults;
    uint32_t why;
    uint64_t page;
    unsigned shift;
    bool user, write, xd, global, dirty, accessed;
    unsigned key;
};

/* What an access of one privilege may do with a translation, by kind; key: the key forbids. */
struct model_rights {
    bool allowed[3];
    bool key[3];
};

/* set[i]: bits that the access sets in entry[i] */
struct model_answer {
    bool faults;
    uint32_t code;
    uint64_t set[MODEL_LEVELS];
};

void model_init(struct model *m, const struct mmu_context *ctx, unsigned maxphyaddr);
void model_walk(const struct model *m, uint64_t gva, model_load *load, void *arg,
                struct model_walk *out);
struct model_rights model_rights(const struct model *m, const struct model_walk *w,
                                 const struct mmu_access *a, bool ac);
void model_access(const struct model *m, const struct model_walk *w, const struct mmu_access *a,
                  bool ac, struct model_answer *out);

/* MOV to CR3 with PAE: does this PDPTE make it #GP? (SDM 3A 4.4.1) */
bool model_pdpte_refused(uint64_t pdpte, unsigned maxphyaddr);

/* Do the tables of the SDM below cover every bit once? false: *what names the table. */
bool model_tables_are_whole(const char **what);

#endif
