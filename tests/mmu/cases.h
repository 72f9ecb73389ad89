/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cases of the permission test, as numbers: a family is one shape of tables with one question,
 * and case n of it is a number in mixed radix whose digits are entry bits, control bits and the
 * access.
 *
 *   rights  all entries present: every R/W, U/S, A (and XD) of every level, D of the leaf, x WP
 *           SMEP SMAP x keys off or on with each of the four settings of the page's key x 16
 *           accesses
 *   stop    one entry absent with all its other flags, or present with any one bit turned over,
 *           under all A of the levels above, x WP SMEP SMAP NXE PKE x 16 accesses
 *   bits    one bit of one entry turned over, x PS x NXE x every MAXPHYADDR x 16 accesses
 *
 * 16 accesses: user and explicit supervisor read, write, fetch; implicit supervisor read, write; AC
 * off, on. What is not a digit (ignored bits, keys, addresses, MAXPHYADDR) is drawn from the
 * number.
 */
#ifndef UMBRA_TESTS_MMU_CASES_H
#define UMBRA_TESTS_MMU_CASES_H

#include "mmu/mmu.h"

#define PHYS_MIN 32u
#define PHYS_MAX 52u

enum family_kind { FAMILY_RIGHTS, FAMILY_STOP, FAMILY_BITS };

/*
 * level:  of the leaf (rights) or of the entry in question, 0: the top
 * nxe:    rights only; all_a: rights only, A of the upper levels is a digit
 */
struct family {
    char name[48];
    enum family_kind kind;
    unsigned shape, level;
    bool nxe, all_a;
    uint64_t count;
};

#define FAMILIES_MAX 80u
unsigned cases_families(struct family families[FAMILIES_MAX]);

/* entry[i] is to be stored at[i], from the top; at 0: nowhere (a PDPTE in registers). */
struct test_case {
    struct mmu_context ctx;
    unsigned maxphyaddr;
    unsigned entries, entry_bytes;
    uint64_t entry[5], at[5];
    struct mmu_access access;
    bool ac;
};

#define ACCESSES 16u
void cases_access(unsigned n, struct mmu_access *access, bool *ac);
void cases_get(const struct family *f, uint64_t n, struct test_case *out);

#endif
