/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a translation allows whom (SDM 3A 4.6). The rights of a translation come from its entries;
 * the view (mode of the access, CR0.WP, SMEP, SMAP, AC, PKRU) is applied only when an answer is
 * given, so that no change of privilege or of these bits touches a shadow entry.
 */
#ifndef UMBRA_MMU_RIGHTS_H
#define UMBRA_MMU_RIGHTS_H

#include "mmu/format.h"

/* user, write: ANDed over all levels; nx: ORed. pkey: of the leaf. */
struct rights {
    bool user, write, nx;
    uint8_t pkey;
};

struct view {
    bool user;     /* CPL 3 */
    bool smap_off; /* explicit supervisor access with AC set */
};

static inline struct view view_of(const struct mmu_access *access, bool ac)
{
    return (struct view){.user = access->user, .smap_off = ac && !access->implicit};
}

/* read, write, exec: allowed. key_*: refused by the protection key (which fetches do not know). */
struct allowed {
    bool read, write, exec;
    bool key_read, key_write;
};

static inline struct allowed rights_allow(const struct paging *pg, struct rights r, struct view v)
{
    struct allowed a;

    if (v.user) {
        a.read = r.user;
        a.write = r.user && r.write;
        a.exec = r.user && !r.nx;
    } else {
        a.read = !(r.user && pg->smap && !v.smap_off);
        a.write = a.read && (r.write || !pg->wp);
        a.exec = !r.nx && !(r.user && pg->smep);
    }
    a.key_read = a.key_write = false;
    if (pg->pke && r.user) {
        bool access_off = pg->pkru >> (2 * r.pkey) & 1;
        bool write_off = pg->pkru >> (2 * r.pkey + 1) & 1;
        a.key_read = access_off;
        a.key_write = access_off || (write_off && (v.user || pg->wp));
        a.read = a.read && !a.key_read;
        a.write = a.write && !a.key_write;
    }
    return a;
}

static inline bool allowed_kind(const struct allowed *a, enum mmu_access_kind kind)
{
    return kind == MMU_READ ? a->read : kind == MMU_WRITE ? a->write : a->exec;
}

static inline bool key_refuses(const struct allowed *a, enum mmu_access_kind kind)
{
    return kind == MMU_READ ? a->key_read : kind == MMU_WRITE && a->key_write;
}

#endif
