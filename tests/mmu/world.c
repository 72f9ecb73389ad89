/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "mmu/internal.h"

static void need(enum err err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", err_text());
    exit(2);
}

enum mmu_strategy world_strategy(const char *name)
{
    for (unsigned i = 0; i < MMU_STRATEGIES; i++) {
        if (strcmp(mmu_strategy_name((enum mmu_strategy)i), name) == 0)
            return (enum mmu_strategy)i;
    }
    fprintf(stderr, "there is no strategy %s\n", name);
    exit(2);
}

void world_open(struct world *w, unsigned maxphyaddr, enum mmu_strategy strategy,
                const struct mmu_tlb_ops *tlb)
{
    size_t slots;

    memset(w, 0, sizeof *w);
    need(mem_create(&w->mem, WORLD_BYTES));
    struct mmu_config config = {.mem = w->mem, .maxphyaddr = maxphyaddr, .strategy = strategy};
    if (tlb)
        config.tlb = *tlb;
    need(mmu_create(&w->mmu, &config));
    w->ram = hva_ptr(mem_slots(w->mem, &slots)[0].userspace_addr);
    w->maxphyaddr = maxphyaddr;
}

void world_hurry(struct world *w, unsigned calm_min, unsigned flood_max)
{
    w->mmu->calm_min = calm_min;
    w->mmu->flood_max = flood_max;
}

void world_close(struct world *w)
{
    mmu_destroy(w->mmu);
    mem_destroy(w->mem);
}

uint64_t world_load(void *arg, uint64_t gpa, unsigned bytes)
{
    const struct world *w = arg;
    uint64_t value = 0;

    if (gpa > WORLD_BYTES - bytes)
        return bytes == 8 ? UINT64_MAX : UINT32_MAX;
    memcpy(&value, w->ram + gpa, bytes);
    return value;
}

void world_store(struct world *w, uint64_t gpa, uint64_t value, unsigned bytes)
{
    gfn_t gfn = gpa_gfn(gpa_make(gpa));
    hva_t hva;
    bool writable;

    if (gpa > WORLD_BYTES - bytes)
        return;
    if (mem_peek(w->mem, gfn, MEM_FOR_WRITE, &hva, &writable) != MEM_OK &&
        mem_make_resident(w->mem, gfn, MEM_FOR_WRITE, &hva, &writable) != MEM_OK)
        need(err_new(ERR_NOMEM, "no memory for a guest table"));
    memcpy(w->ram + gpa, &value, bytes);
    if (mem_track(w->mem, gfn))
        mem_note_written(w->mem, gpa_make(gpa), bytes);
}
