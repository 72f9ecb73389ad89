/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `umbra walk`: one address from GVA to HPA, and the shadow beside it. The running VM makes the
 * JSON; the command prints the JSON, or words made from it, so both always say the same.
 */
#ifndef UMBRA_CONTROL_WALK_H
#define UMBRA_CONTROL_WALK_H

#include <jansson.h>
#include <stdio.h>

#include "mmu/explain.h"

/* The vCPU is at a safe point. New references; NULL when the host has no memory. */
json_t *walk_json(const struct mmu_explain *walk);
json_t *walk_roots_json(const struct mmu *mmu);

/*
 * In words. `walk` is such an object, with the members "name" and "vcpu" of x-umbra-walk where it
 * has them.
 */
void walk_print(const json_t *walk, FILE *out);
void walk_roots_print(const json_t *roots, FILE *out);

/* "P W U A D": the bits of a guest entry. is_leaf: it maps a page; level 3 of PAE has few bits. */
void walk_entry_bits(const struct format *format, unsigned level, bool is_leaf, uint64_t entry,
                     char *buf, size_t buf_bytes);

/* "PML4" and so on. */
const char *walk_table_name(const struct format *format, unsigned level);

#endif
