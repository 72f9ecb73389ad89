/* SPDX-License-Identifier: Apache-2.0 */
#include "judge.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const kind_names[] = {"read", "write", "fetch"};

void judge_print_entries(const char *what, const struct model_walk *w)
{
    printf("  %s:", what);
    for (unsigned i = 0; i < w->entries; i++)
        printf(" %016" PRIx64, w->entry[i].value);
    printf("\n");
}

void judge_print_access(const struct mmu_context *ctx, unsigned maxphyaddr,
                        const struct mmu_access *a, bool ac, const struct model_walk *w,
                        const struct model_answer *want)
{
    printf("  cr0=%" PRIx64 " cr4=%" PRIx64 " efer=%" PRIx64 " pkru=%08x maxphyaddr=%u\n", ctx->cr0,
           ctx->cr4, ctx->efer, ctx->pkru, maxphyaddr);
    printf("  %s %s %s ac=%d gva=%016" PRIx64 "\n",
           a->user       ? "user"
           : a->implicit ? "implicit supervisor"
                         : "supervisor",
           kind_names[a->kind], "access", ac, a->gva.v);
    judge_print_entries("entries", w);
    if (want->faults)
        printf("  model: fault, error code %02x; sets", want->code);
    else
        printf("  model: page %" PRIx64 "; sets", w->page);
    for (unsigned i = 0; i < w->entries; i++)
        printf(" %02" PRIx64, want->set[i]);
    printf("\n");
}

void judge_print_result(const struct mmu_result *r)
{
    static const char *const kinds[] = {"mapped", "fault", "device", "host error"};

    printf("  mmu: %s", kinds[r->kind]);
    if (r->kind == MMU_GUEST_FAULT)
        printf(" error code %02x\n", r->error_code);
    else
        printf(" gpa=%" PRIx64 " page=%" PRIx64 " r=%d w=%d x=%d global=%d\n", r->gpa.v,
               r->page_gpa.v, r->may_read, r->may_write, r->may_exec, r->global);
}

const char *judge_answer(const struct world *world, const struct model *m,
                         const struct model_walk *w, const struct model_answer *want,
                         const struct mmu_access *a, bool ac, const struct mmu_result *r)
{
    if (want->faults) {
        if (r->kind != MMU_GUEST_FAULT)
            return "no fault";
        return r->error_code == want->code ? NULL : "error code";
    }
    bool is_ram = w->page < WORLD_BYTES;
    if (r->kind != (is_ram ? MMU_MAPPED : MMU_DEVICE))
        return r->kind == MMU_GUEST_FAULT ? "fault" : "kind of answer";
    if (r->page_gpa.v != w->page || r->gpa.v != w->page + (a->gva.v & 0xfff))
        return "physical address";
    if (!is_ram)
        return NULL;
    if (r->hva.v != (uint64_t)(uintptr_t)(world->ram + w->page) &&
        (a->kind == MMU_WRITE || r->may_write || r->hva.v != mem_zero_page(world->mem).v))
        return "host address";
    struct model_rights rights = model_rights(m, w, a, ac);
    bool dirty = w->dirty || a->kind == MMU_WRITE;
    if (r->may_read != rights.allowed[MMU_READ] || r->may_exec != rights.allowed[MMU_FETCH])
        return "may_read, may_exec";
    if ((r->may_write || r->may_note) && !(rights.allowed[MMU_WRITE] && dirty))
        return "may_write";
    return r->global == w->global ? NULL : "global";
}
