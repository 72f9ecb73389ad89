/* SPDX-License-Identifier: Apache-2.0 */
/* The part of mem.h for bulk moves inside one page. */
#include "cpu/interp/mem_as.h"

static void raise_not_canonical(struct interp *c, const struct uop *u, uint64_t lin)
{
    if (c->mode == CODE_64 && unlikely(!is_canonical(c, lin)))
        mem_raise_address(c, u);
}

static void *span(struct interp *c, const struct uop *u, uint64_t lin, enum mmu_access_kind kind,
                  bool *told)
{
    const struct tlb_entry *e = tlb_slot(c, lin);
    struct mmu_access a = access_of(c, lin, kind);
    struct mmu_result r;

    *told = false;
    if (c->view[0] == VIEW_SLOW)
        return NULL;
    if (likely((kind == MMU_WRITE ? e->wtag : e->rtag) == tlb_want(c, lin)))
        return (void *)(uintptr_t)(lin + e->addend);
    if (kind == MMU_WRITE && e->rtag == tlb_want(c, lin) && (e->note & TLB_NOTED)) {
        *told = true;
        return NULL;
    }
    c->stats.tlb_misses_data++;
    raise_not_canonical(c, u, lin);
    mem_translate(c, u, &a, &r);
    if (r.kind != MMU_MAPPED)
        return NULL;
    tlb_fill(c, lin, AS_CPL, &r);
    *told = kind == MMU_WRITE && r.tracked;
    return *told ? NULL : (char *)hva_ptr(r.hva) + gpa_offset(r.gpa);
}

void *lin_span_read(struct interp *c, const struct uop *u, uint64_t lin)
{
    bool told;

    return span(c, u, lin, MMU_READ, &told);
}

void *lin_span_write(struct interp *c, const struct uop *u, uint64_t lin, bool *told)
{
    return span(c, u, lin, MMU_WRITE, told);
}

void *lin_span_told(struct interp *c, uint64_t lin, gpa_t *gpa)
{
    const struct tlb_entry *e = tlb_slot(c, lin);

    *gpa = gpa_make((e->note & PAGE_MASK) | (lin & (PAGE_SIZE - 1)));
    if (e->rtag != tlb_want(c, lin) || !(e->note & TLB_NOTED) ||
        (mem_track(c->mem, gpa_gfn(*gpa)) & MEM_TRACK_CODE))
        return NULL;
    return (void *)(uintptr_t)(lin + e->addend);
}

void lin_span_tell(struct interp *c, gpa_t gpa, uint64_t bytes)
{
    c->stats.stores_noted++;
    mem_note_written(c->mem, gpa, bytes);
}

void *lin_try_span(struct interp *c, uint64_t lin, gfn_t *gfn)
{
    const struct tlb_entry *e = tlb_slot(c, lin);
    struct mmu_access a = access_of(c, lin, MMU_READ);
    struct mmu_result r;

    if (c->view[0] == VIEW_SLOW)
        return NULL;
    if (e->rtag != tlb_want(c, lin)) {
        if (c->mode == CODE_64 ? !is_canonical(c, lin) : lin > UINT32_MAX)
            return NULL;
        c->stats.tlb_misses_data++;
        interp_translate(c, &a, c->s.rflags & RFLAGS_AC, &r);
        if (r.kind != MMU_MAPPED)
            return NULL;
        tlb_fill(c, lin, AS_CPL, &r);
    }
    *gfn = gpa_gfn(gpa_make(e->note));
    return (void *)(uintptr_t)(lin + e->addend);
}

static bool is_source(gfn_t gfn, const gfn_t source[2])
{
    return gfn.v == source[0].v || gfn.v == source[1].v;
}

void *lin_span_overwrite(struct interp *c, const struct uop *u, uint64_t lin, const gfn_t source[2])
{
    struct mmu_access a = access_of(c, lin, MMU_WRITE);
    struct mmu_result r;

    if (c->view[0] == VIEW_SLOW)
        return NULL;
    if (lin_knows_write(c, lin)) {
        gfn_t gfn = gpa_gfn(gpa_make(tlb_slot(c, lin)->note));
        bool told;
        return is_source(gfn, source) ? NULL : lin_span_write(c, u, lin, &told);
    }
    raise_not_canonical(c, u, lin);
    a.overwrites = true;
    a.source[0] = source[0];
    a.source[1] = source[1];
    c->stats.tlb_misses_data++;
    mem_translate(c, u, &a, &r);
    if (r.kind != MMU_MAPPED)
        return NULL;
    tlb_fill(c, lin, AS_CPL, &r);
    if (r.tracked || is_source(gpa_gfn(r.page_gpa), source))
        return NULL;
    return hva_ptr(r.hva);
}
