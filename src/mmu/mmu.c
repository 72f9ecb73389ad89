/* SPDX-License-Identifier: Apache-2.0 */
/* Creation, and the small questions asked from outside. */
#include "mmu/mmu.h"

#include <stdlib.h>
#include <string.h>

#include "mmu/internal.h"

#define MAXPHYADDR_MIN 32u
#define MAXPHYADDR_MAX 52u

static const struct sync_ops *const strategies[MMU_STRATEGIES] = {
    [MMU_LAZY] = &sync_lazy,
    [MMU_TRACE] = &sync_trace,
    [MMU_ADAPTIVE] = &sync_adaptive,
};

const char *mmu_strategy_name(enum mmu_strategy strategy)
{
    return strategies[strategy]->name;
}

static enum err init(struct mmu *mmu, const struct mmu_config *config)
{
    mmu->mem = config->mem;
    mmu->tlb = config->tlb;
    mmu->maxphyaddr = config->maxphyaddr;
    mmu->calm_min = CALM_MIN;
    mmu->flood_max = FLOOD_MAX;
    mmu->sync = strategies[config->strategy];
    mmu->audit_exits = config->audit_exits;
    mmu->next_asid = 1;
    mmu->now = 1;

    enum err err = shadow_init(mmu);
    if (!err)
        err = rmap_init(mmu);
    if (!err && config->oracle)
        err = oracle_create(&mmu->oracle, mmu);
    if (!err) {
        struct mem_observer observer = mmu_mem_observer;
        observer.arg = mmu;
        err = mem_add_observer(mmu->mem, &observer);
    }
    return err;
}

enum err mmu_create(struct mmu **out, const struct mmu_config *config)
{
    *out = NULL;
    if (config->maxphyaddr < MAXPHYADDR_MIN || config->maxphyaddr > MAXPHYADDR_MAX)
        return err_new(ERR_INVAL, "physical addresses of %u bits: use 32 to 52",
                       config->maxphyaddr);

    struct mmu *mmu = calloc(1, sizeof *mmu);
    if (!mmu)
        return err_errno(ERR_NOMEM, "shadow MMU");
    enum err err = init(mmu, config);
    if (err) {
        mmu_destroy(mmu);
        return err;
    }
    /* As after reset: paging is off until somebody says otherwise. */
    const struct mmu_context reset = {0};
    mmu_set_context(mmu, &reset, MMU_SWITCH_FLUSH_ALL);
    *out = mmu;
    return ERR_OK;
}

void mmu_destroy(struct mmu *mmu)
{
    if (!mmu)
        return;
    mem_remove_observer(mmu->mem, mmu);
    mmu->trace = NULL;
    shadow_zap_all(mmu); /* nobody shall hear of writes any more */
    oracle_destroy(mmu->oracle);
    shadow_fini(mmu);
    rmap_fini(mmu);
    free(mmu);
}

enum mmu_pdptes mmu_load_pdptes(struct mmu *mmu, uint64_t cr3, uint64_t pdpte[4])
{
    const gpa_t table = gpa_make(cr3 & 0xffffffe0u);
    uint64_t fresh[4];

    memset(fresh, 0, sizeof fresh);
    if (mem_is_ram(mmu->mem, table, sizeof fresh) &&
        !mem_read(mmu->mem, table, fresh, sizeof fresh))
        return MMU_PDPTES_HOST_ERROR;
    for (unsigned i = 0; i < 4; i++) {
        if (paging_pdpte_is_bad(fresh[i], mmu->maxphyaddr))
            return MMU_PDPTES_RESERVED;
    }
    memcpy(pdpte, fresh, sizeof fresh);
    return MMU_PDPTES_OK;
}

bool mmu_probe(struct mmu *mmu, gva_t gva, gpa_t *gpa)
{
    const struct mmu_access access = {.gva = gva, .kind = MMU_READ};
    struct walk w;

    walk_guest(mmu->mem, &mmu->pg, &access, false, WALK_PROBE, &w);
    if (w.kind != WALK_OK)
        return false;
    *gpa = gpa_add(w.page_gpa, gva.v & (PAGE_SIZE - 1));
    return true;
}

bool mmu_reads_quietly(struct mmu *mmu, gva_t gva)
{
    const struct mmu_access access = {.gva = gva, .kind = MMU_READ, .user = true};
    struct walk w;
    hva_t hva;
    bool writable;

    walk_guest(mmu->mem, &mmu->pg, &access, false, WALK_PROBE, &w);
    if (w.kind != WALK_OK || !w.rights.user)
        return false;
    for (unsigned level = w.level; level <= mmu->pg.format->top; level++)
        if (!(w.step[level].entry & PTE_A))
            return false;
    return mem_peek(mmu->mem, gpa_gfn(w.page_gpa), MEM_FOR_WRITE, &hva, &writable) == MEM_OK;
}

const struct mmu_stats *mmu_stats(const struct mmu *mmu)
{
    return &mmu->stats;
}
