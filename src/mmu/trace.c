/* SPDX-License-Identifier: Apache-2.0 */
/* Events of tables for the listener; those of accesses are told by fault.c. */
#include "mmu/trace.h"

#include <x86intrin.h>

#include "mmu/internal.h"

void mmu_set_trace(struct mmu *mmu, const struct mmu_trace *trace)
{
    mmu->trace = trace;
}

static struct mmu_trace_record event_now(const struct mmu *mmu, enum mmu_trace_event event,
                                         gva_t gva)
{
    return (struct mmu_trace_record){
        .at = {__rdtsc()},
        .event = (uint8_t)event,
        .gva = gva,
        .cr3 = mmu->cur->cr3,
        .pcid = (uint16_t)mmu->cur->pcid,
    };
}

void trace_event(struct mmu *mmu, enum mmu_trace_event event, gva_t gva, uint64_t old_value,
                 uint64_t new_value)
{
    struct mmu_trace_record r = event_now(mmu, event, gva);

    r.old_value = old_value;
    r.new_value = new_value;
    mmu->trace->tell(mmu->trace->arg, &r);
}

void trace_page(struct mmu *mmu, enum mmu_trace_event event, const struct shadow_page *page,
                gva_t gva, uint64_t old_value, uint64_t new_value)
{
    struct mmu_trace_record r = event_now(mmu, event, gva);

    r.gfn = page->gfn;
    r.has_gfn = true;
    r.level = page->level;
    r.old_value = old_value;
    r.new_value = new_value;
    mmu->trace->tell(mmu->trace->arg, &r);
}
