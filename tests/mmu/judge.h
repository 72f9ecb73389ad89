/* SPDX-License-Identifier: Apache-2.0 */
/* Is an answer of the MMU what the model says? And what both say, in print. */
#ifndef UMBRA_TESTS_MMU_JUDGE_H
#define UMBRA_TESTS_MMU_JUDGE_H

#include "model.h"
#include "world.h"

/* Compares all but the entries afterwards. NULL: as the model says; else what differs. */
const char *judge_answer(const struct world *world, const struct model *m,
                         const struct model_walk *w, const struct model_answer *want,
                         const struct mmu_access *a, bool ac, const struct mmu_result *r);

void judge_print_entries(const char *what, const struct model_walk *w);
void judge_print_access(const struct mmu_context *ctx, unsigned maxphyaddr,
                        const struct mmu_access *a, bool ac, const struct model_walk *w,
                        const struct model_answer *want);
void judge_print_result(const struct mmu_result *r);

#endif
