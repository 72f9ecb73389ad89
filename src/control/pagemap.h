/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HVA -> HPA by the host's own page tables, as far as the host tells: /proc/self/pagemap (Linux
 * Documentation/admin-guide/mm/pagemap.rst). Frame numbers are shown only to CAP_SYS_ADMIN.
 */
#ifndef UMBRA_CONTROL_PAGEMAP_H
#define UMBRA_CONTROL_PAGEMAP_H

#include <stdbool.h>

#include "base/addr.h"

enum pagemap_kind {
    PAGEMAP_PRESENT,    /* hpa is valid */
    PAGEMAP_HIDDEN,     /* the page is in memory, but the host does not show where */
    PAGEMAP_SWAPPED,    /* the host has swapped it out */
    PAGEMAP_NONE,       /* no host page behind this address */
    PAGEMAP_UNREADABLE, /* no pagemap to read */
};

/* text: one sentence that says what kind means here. */
struct pagemap_page {
    enum pagemap_kind kind;
    uint64_t hpa;
    char text[160];
};

/* Looks the page of this process up; does not touch it. */
void pagemap_look_up(hva_t hva, struct pagemap_page *out);

/* What one entry of a pagemap means; for tests. */
void pagemap_decode(uint64_t entry, hva_t hva, struct pagemap_page *out);

#endif
