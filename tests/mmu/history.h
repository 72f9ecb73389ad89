/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the TLB of a real CPU may hold: every translation that a walk could have found since the
 * last flush that covers it (SDM 3A 4.10.2 to 4.10.4), as a whole. A CPU walks whenever it likes,
 * so a translation is noted when it is right, whether or not it is used; but only with A set in all
 * its entries, which a walk would have done.
 *
 *   a flush of            forgets
 *   everything            all
 *   a PCID, CR3 load      those of the PCID that are not global
 *   all but global ones   those that are not global
 *   an address            those of the PCID, and global ones, whose page covers the address
 *   an address by PCID    those of that PCID that are not global and whose page covers the address
 *
 * Structures between root and leaf may also be cached by themselves; the test does not allow for
 * that: Umbra promises not to use them out of date.
 */
#ifndef UMBRA_TESTS_MMU_HISTORY_H
#define UMBRA_TESTS_MMU_HISTORY_H

#include "model.h"

#define ADDRESSES_MAX 32u
#define SEEN_MAX      128u

struct seen {
    uint64_t page;
    uint8_t shift, key;
    uint16_t pcid;
    bool user, write, xd, global, dirty;
};

/* overflowed: more than fit; nothing can be said about the address until everything is flushed */
struct history {
    unsigned addresses;
    uint64_t gva[ADDRESSES_MAX];
    unsigned count[ADDRESSES_MAX];
    bool overflowed[ADDRESSES_MAX];
    struct seen seen[ADDRESSES_MAX][SEEN_MAX];
};

/* A translation that is right now, for address n. */
void history_add(struct history *h, unsigned n, unsigned pcid, const struct model_walk *w);

/* The i-th that may be used with this PCID, as a walk without entries. False: no more. */
bool history_get(const struct history *h, unsigned n, unsigned *i, unsigned pcid,
                 struct model_walk *w);

void history_flush_all(struct history *h);
void history_flush_pcid(struct history *h, unsigned pcid);
void history_flush_not_global(struct history *h);
void history_flush_address(struct history *h, unsigned pcid, uint64_t gva);
void history_flush_address_of_pcid(struct history *h, unsigned pcid, uint64_t gva);

#endif
