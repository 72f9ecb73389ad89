/* SPDX-License-Identifier: Apache-2.0 */
#include "mmu/internal.h"

enum err oracle_create(struct oracle **out, struct mmu *mmu)
{
    (void)mmu;
    *out = NULL;
    return err_new(ERR_UNSUPPORTED, "the shadow oracle is not built yet");
}

void oracle_destroy(struct oracle *oracle)
{
    (void)oracle;
}

void oracle_check(struct oracle *oracle, const struct mmu_access *access, bool ac,
                  const struct mmu_result *answer, bool from_shadow)
{
    (void)oracle, (void)access, (void)ac, (void)answer, (void)from_shadow;
}

void oracle_context(struct oracle *oracle, const struct mmu_context *ctx, enum mmu_switch how)
{
    (void)oracle, (void)ctx, (void)how;
}

void oracle_invlpg(struct oracle *oracle, gva_t gva)
{
    (void)oracle, (void)gva;
}

void oracle_invpcid(struct oracle *oracle, unsigned type, unsigned pcid, gva_t gva)
{
    (void)oracle, (void)type, (void)pcid, (void)gva;
}
