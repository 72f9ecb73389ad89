/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle's own reading of the architecture: a walk that changes nothing and the rules of
 * protection, written out mode by mode. It shares no code with format.c, walk.c and rights.h on
 * purpose.
 */
#ifndef UMBRA_MMU_PLAIN_H
#define UMBRA_MMU_PLAIN_H

#include "mem/mem.h"
#include "mmu/mmu.h"

/*
 * faults:   the walk found no translation; why: PF_P | PF_RSVD or 0
 * page:     guest physical address of the 4 KiB page; shift: log2 of the size of the page it is
 *           part of
 * unknown:  the host failed to read a table, all the rest means nothing
 * accessed: A is set in every entry used; dirty: D of the leaf
 */
struct plain {
    uint64_t page;
    uint32_t why;
    uint8_t shift;
    uint8_t pkey;
    bool faults, unknown;
    bool user, write, nx, accessed, dirty, global;
};

/* For the mode, AC and PKRU of one access; key_refuses: this access, by its protection key. */
struct plain_allowed {
    bool read, write, exec;
    bool this_access, key_refuses;
};

void plain_walk(struct guest_mem *mem, const struct mmu_context *ctx, unsigned maxphyaddr,
                gva_t gva, struct plain *out);
bool plain_equal(const struct plain *a, const struct plain *b);
struct plain_allowed plain_allow(const struct mmu_context *ctx, const struct plain *plain,
                                 const struct mmu_access *access, bool ac);

/* True: the access page-faults; *code is the error code. */
bool plain_fault(const struct mmu_context *ctx, const struct plain *plain,
                 const struct mmu_access *access, bool ac, uint32_t *code);

#endif
