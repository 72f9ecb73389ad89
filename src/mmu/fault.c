/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seven steps of one memory access. The file reads in their order; mmu_translate at its end
 * calls them.
 */
#include <string.h>
#include <x86intrin.h>

#include "mmu/internal.h"

/* What the shadow lacked for this access; counted when the walk shows that the guest allows it. */
enum lack { LACK_ENTRY, LACK_FRESHNESS, LACK_DIRTY, LACK_RESIDENCY };

struct fault {
    const struct mmu_access *access;
    struct mmu_result *out;
    bool ac;
    enum lack lack;
    enum mmu_trace_event event; /* how it ended */
    bool changed;               /* step 7 set something */
    uint32_t cause;
    struct walk walk;
    const struct mem_slot *slot;
    hva_t hva;
    bool writable;
};

static enum mem_intent intent_of(const struct fault *f)
{
    return f->access->kind == MMU_WRITE ? MEM_FOR_WRITE : MEM_FOR_READ;
}

static void set_address(struct fault *f, gpa_t page_gpa)
{
    f->out->page_gpa = page_gpa;
    f->out->gpa = gpa_add(page_gpa, f->access->gva.v & (PAGE_SIZE - 1));
}

static void answer_device(struct mmu *mmu, struct fault *f, gpa_t page_gpa)
{
    f->out->kind = MMU_DEVICE;
    set_address(f, page_gpa);
    f->event = MMU_TRACE_device;
    mmu->stats.device_accesses++;
}

/* Write is given only when nobody has to hear of it: not the dirty bit, not mem, not a tracker. */
static void answer_page(struct mmu *mmu, struct fault *f, uint64_t spte, const struct allowed *a,
                        hva_t hva, bool writable, gpa_t page_gpa)
{
    struct mmu_result *out = f->out;

    out->kind = MMU_MAPPED;
    out->hva = hva;
    set_address(f, page_gpa);
    out->tracked = mem_track(mmu->mem, gpa_gfn(page_gpa));
    out->may_read = a->read;
    bool may_write = a->write && (spte & SPTE_D) && writable;
    out->may_write = may_write && !out->tracked;
    out->may_note = may_write && out->tracked;
    out->may_exec = a->exec;
    out->global = (spte & SPTE_G) && mmu->pg.pge;
    mem_note_used(mmu->mem, gpa_gfn(page_gpa)); /* the TLB will answer until frames grow older */
}

/* Does the leaf answer this access as it is? */
static bool leaf_answers(struct mmu *mmu, struct fault *f, struct shadow_page *page, unsigned index)
{
    uint64_t spte = page->spte[index];
    gpa_t page_gpa = shadow_leaf_gpa(page, index);
    hva_t hva;
    bool writable;

    struct allowed a = rights_allow(&mmu->pg, spte_rights(spte), view_of(f->access, f->ac));
    if (!allowed_kind(&a, f->access->kind)) {
        f->lack = LACK_FRESHNESS; /* unless the walk comes to the same */
        return false;
    }
    if (f->access->kind == MMU_WRITE && !(spte & SPTE_D)) {
        f->lack = LACK_DIRTY;
        return false;
    }
    if (spte & SPTE_DV) {
        answer_device(mmu, f, page_gpa);
        return true;
    }
    if (spte & SPTE_LG) {
        page_gpa =
            gpa_add(page_gpa, f->access->gva.v & ((UINT64_C(1) << page->shift) - 1) & PAGE_MASK);
        enum mem_answer answer =
            mem_peek(mmu->mem, gpa_gfn(page_gpa), intent_of(f), &hva, &writable);
        if (answer == MEM_NOT_RAM) {
            answer_device(mmu, f, page_gpa);
            return true;
        }
        if (answer != MEM_OK) {
            f->lack = LACK_RESIDENCY;
            return false;
        }
        root_note_large_fill(mmu, page->shift, f->access->gva);
    } else {
        writable = spte & SPTE_HW;
        if (f->access->kind == MMU_WRITE && !writable) {
            f->lack = LACK_RESIDENCY;
            return false;
        }
        hva = hva_make(spte & SPTE_ADDR);
    }
    answer_page(mmu, f, spte, &a, hva, writable, page_gpa);
    return true;
}

/* Step 1: the engine has left the guest. */
static void step_exit(struct mmu *mmu)
{
    mmu->stats.step1_exits++;
}

/*
 * Step 2: the handler looks into the shadow table first. True: answered, only the TLB is refilled.
 */
static bool step_enter_handler(struct mmu *mmu, struct fault *f)
{
    struct shadow_page *page = mmu->cur->page;
    uint64_t need = mmu->cur->need;

    f->lack = LACK_ENTRY;
    while (page) {
        if (page->linked > need)
            need = page->linked;
        if (page->fresh_since < need) {
            memset(page->fresh, 0, sizeof page->fresh);
            page->fresh_since = mmu->now;
            if (mmu->sync->used_again)
                mmu->sync->used_again(mmu, page);
        }
        if (!page->referenced) {
            page->referenced = true;
            mem_note_used(mmu->mem, page->gfn);
        }
        unsigned index = shadow_index(page, f->access->gva);
        uint64_t spte = page->spte[index];
        if (!(spte & SPTE_P))
            return false;
        uint64_t bit = UINT64_C(1) << index % 64;
        bool known = spte & SPTE_LK ? page->sync != SYNC_LOOSE : !!(page->fresh[index / 64] & bit);
        if (!known) {
            if (!mmu->sync->is_current(mmu, page, index)) {
                if (page->spte[index] & SPTE_P)
                    shadow_drop(mmu, page, index);
                f->lack = shadow_table(mmu, page) ? LACK_FRESHNESS : LACK_RESIDENCY;
                return false;
            }
            spte = page->spte[index];
        }
        if (!(spte & SPTE_LK)) {
            if (!known) {
                page->fresh[index / 64] |= bit;
                if (page->prefetched[index / 64] & bit) {
                    page->prefetched[index / 64] &= ~bit;
                    mmu->stats.prefetch_used++;
                }
            }
            return leaf_answers(mmu, f, page, index);
        }
        page = spte_child(spte);
    }
    return false;
}

static void count_hit(struct mmu *mmu, struct fault *f)
{
    if (f->out->kind != MMU_MAPPED)
        return; /* counted as a device access */
    if (f->access->kind == MMU_WRITE && f->out->tracked) {
        f->event = MMU_TRACE_hidden_tracked;
        mmu->stats.hidden_tracked++;
    } else {
        f->event = MMU_TRACE_hit;
        mmu->stats.step2_shadow_hits++;
    }
}

/* Step 3: what was tried, in the words of a page fault's error code. */
static void step_read_cause(struct mmu *mmu, struct fault *f)
{
    mmu->stats.step3_causes++;
    f->cause = walk_cause(&mmu->pg, f->access);
    shadow_make_room(mmu); /* before anything is read that step 7 will rely on */
}

/* Step 4: GVA -> GFN by the guest's tables. False: a true fault, or the host failed. */
static bool step_walk_guest(struct mmu *mmu, struct fault *f)
{
    mmu->stats.step4_walks++;
    mmu->walking = true;
    walk_guest(mmu->mem, &mmu->pg, f->access, f->ac, WALK_ACCESS, &f->walk);
    mmu->walking = false;
    if (f->walk.kind == WALK_OK) {
        set_address(f, f->walk.page_gpa);
        return true;
    }
    if (f->walk.kind == WALK_HOST_ERROR) {
        f->out->kind = MMU_HOST_ERROR;
        return false;
    }
    f->out->kind = MMU_GUEST_FAULT;
    f->out->error_code = f->walk.why | f->cause;
    if (f->walk.why & PF_RSVD) {
        f->event = MMU_TRACE_true_reserved;
        mmu->stats.true_reserved++;
    } else if (f->walk.why & PF_P) {
        f->event = MMU_TRACE_true_protection;
        mmu->stats.true_protection++;
    } else {
        f->event = MMU_TRACE_true_not_present;
        mmu->stats.true_not_present++;
    }
    return false;
}

/* Step 5: GFN -> slot. False: not RAM, a device answers. */
static bool step_find_slot(struct mmu *mmu, struct fault *f)
{
    mmu->stats.step5_slots++;
    f->slot = mem_find_slot(mmu->mem, gpa_gfn(f->walk.page_gpa));
    return f->slot != NULL;
}

/*
 * May what the frame holds be lost? Not when step 7 will read it as a table of this walk, not when
 * it is its own source, and not when somebody is to hear of each write, so that the engine writes
 * piece by piece. (Mem itself forgets that the frame equals a block of an image.)
 */
static bool is_overwritten(struct mmu *mmu, const struct fault *f, gfn_t gfn)
{
    if (!f->access->overwrites || gfn.v == f->access->source[0].v ||
        gfn.v == f->access->source[1].v || (mem_track(mmu->mem, gfn) & ~(unsigned)MEM_TRACK_IMAGE))
        return false;
    for (unsigned level = mmu->pg.format->top; level >= f->walk.level; level--) {
        if (f->walk.step[level].table.v == gfn.v)
            return false;
    }
    return true;
}

/* Step 6: the frame becomes usable. False: the host failed. */
static bool step_make_resident(struct mmu *mmu, struct fault *f)
{
    gfn_t gfn = gpa_gfn(f->walk.page_gpa);
    enum mem_intent intent = is_overwritten(mmu, f, gfn) ? MEM_FOR_OVERWRITE : intent_of(f);

    mmu->stats.step6_residency++;
    if (mem_make_resident(mmu->mem, gfn, intent, &f->hva, &f->writable) == MEM_OK)
        return true;
    f->out->kind = MMU_HOST_ERROR;
    return false;
}

static uint64_t leaf_from_walk(const struct fault *f)
{
    const struct walk *w = &f->walk;
    uint64_t raw = w->step[w->level].entry;
    uint64_t spte = SPTE_P | (w->rights.user ? SPTE_U : 0) | (w->rights.write ? SPTE_W : 0) |
                    (w->rights.nx ? SPTE_NX : 0) | (raw & PTE_D ? SPTE_D : 0) |
                    (raw & PTE_G ? SPTE_G : 0) | (uint64_t)w->rights.pkey << SPTE_PKEY_SHIFT;

    if (w->level > 1)
        return spte | SPTE_LG | w->page_base.v;
    if (!f->slot)
        return spte | SPTE_DV | w->page_base.v;
    return spte | (f->writable ? SPTE_HW : 0) | f->hva.v;
}

/* Follows or makes the link that the walk took at this level. NULL: nothing can be kept there. */
static struct shadow_page *link_down(struct mmu *mmu, const struct fault *f,
                                     struct shadow_page *page, struct rights *above)
{
    const struct walk *w = &f->walk;
    const struct format_level *l = &mmu->pg.format->level[page->level];
    unsigned index = shadow_index(page, f->access->gva);
    uint64_t raw = w->step[page->level].entry;
    uint64_t spte = page->spte[index];

    if (!l->no_rights) {
        above->user = above->user && (raw & PTE_U);
        above->write = above->write && (raw & PTE_W);
        above->nx = above->nx || (mmu->pg.nxe && (raw & PTE_NX));
    }
    if ((spte & SPTE_LK) && page->raw[index] == raw)
        return spte_child(spte);
    uint32_t role = role_for(&mmu->pg, page->level - 1u) | (above->user ? ROLE_USER : 0) |
                    (above->write ? ROLE_WRITE : 0) | (above->nx ? ROLE_NX : 0);
    uint64_t gva =
        f->access->gva.v & paging_linear_mask(&mmu->pg) & ~((UINT64_C(1) << l->shift) - 1);
    struct shadow_page *child = shadow_get(mmu, w->step[page->level - 1].table, gva, role);
    if (child)
        shadow_set_link(mmu, page, index, raw, child);
    return child;
}

/*
 * Step 7: the shadow entry is set on the way that the walk took. False: it was there, exactly so.
 */
static bool step_set_entry(struct mmu *mmu, struct fault *f)
{
    const struct walk *w = &f->walk;
    struct shadow_page *page = root_page(mmu);
    struct rights above = {.user = true, .write = true};
    uint64_t spte = leaf_from_walk(f);
    uint64_t raw = w->step[w->level].entry;

    mmu->stats.step7_entries++;
    while (page && page->level > w->level)
        page = link_down(mmu, f, page, &above);
    if (page) {
        unsigned index = shadow_index(page, f->access->gva);
        if (page->spte[index] == spte && page->raw[index] == raw)
            return false;
        shadow_set_leaf(mmu, page, index, raw, spte);
        if (mmu->sync->filled)
            mmu->sync->filled(mmu, page, index);
    }
    return true;
}

static void answer_walk(struct mmu *mmu, struct fault *f)
{
    const struct walk *w = &f->walk;

    if (!f->slot) {
        answer_device(mmu, f, w->page_gpa);
        return;
    }
    struct allowed a = rights_allow(&mmu->pg, w->rights, view_of(f->access, f->ac));
    if (w->level > 1)
        root_note_large_fill(mmu, mmu->pg.format->level[w->level].shift, f->access->gva);
    answer_page(mmu, f, leaf_from_walk(f), &a, f->hva, f->writable, w->page_gpa);
}

static void count_hidden(struct mmu *mmu, struct fault *f)
{
    if (!f->slot)
        return; /* counted as a device access */
    switch (f->lack) {
    case LACK_ENTRY:
        f->event = MMU_TRACE_hidden_missing;
        mmu->stats.hidden_missing++;
        break;
    case LACK_FRESHNESS:
        if (f->changed) {
            f->event = MMU_TRACE_hidden_stale;
            mmu->stats.hidden_stale++;
        } else {
            f->event = MMU_TRACE_hidden_spurious;
            mmu->stats.hidden_spurious++;
        }
        break;
    case LACK_DIRTY:
        f->event = MMU_TRACE_hidden_dirty;
        mmu->stats.hidden_dirty++;
        break;
    case LACK_RESIDENCY:
        f->event = MMU_TRACE_hidden_residency;
        mmu->stats.hidden_residency++;
        break;
    }
}

/* One step more is done. r NULL: nobody listens, and the compiler leaves nothing of this. */
static inline void stamp(struct mmu_trace_record *r)
{
    if (r)
        r->at[++r->steps] = __rdtsc();
}

/* Steps 3 to 7, for what the shadow did not answer. */
static inline void translate_slowly(struct mmu *mmu, struct fault *f, struct mmu_trace_record *r)
{
    step_read_cause(mmu, f);
    stamp(r);
    bool mapped = step_walk_guest(mmu, f);
    stamp(r);
    if (!mapped)
        return;
    bool is_ram = step_find_slot(mmu, f);
    stamp(r);
    if (r)
        r->before = (uint8_t)mem_page_state(mmu->mem, gpa_gfn(f->walk.page_gpa));
    if (is_ram && !step_make_resident(mmu, f))
        return;
    stamp(r);
    f->changed = step_set_entry(mmu, f);
    stamp(r);
    answer_walk(mmu, f);
    count_hidden(mmu, f);
}

/* True: the shadow answered. */
static inline bool translate(struct mmu *mmu, struct fault *f, struct mmu_trace_record *r)
{
    step_exit(mmu);
    stamp(r);
    bool from_shadow = step_enter_handler(mmu, f);
    stamp(r);
    if (from_shadow)
        count_hit(mmu, f);
    else
        translate_slowly(mmu, f, r);
    return from_shadow;
}

/* Fills in what the steps have found out. */
static void describe(struct mmu *mmu, const struct fault *f, struct mmu_trace_record *r)
{
    const struct mmu_result *out = f->out;

    r->event = (uint8_t)f->event;
    r->cr3 = mmu->cur->cr3;
    r->pcid = (uint16_t)mmu->cur->pcid;
    r->gva = f->access->gva;
    r->kind = (uint8_t)f->access->kind;
    r->user = f->access->user;
    r->implicit = f->access->implicit;
    r->set = f->changed;
    if (r->steps > MMU_STEP_read_cause)
        r->error_code = out->kind == MMU_GUEST_FAULT ? out->error_code : f->cause;
    if (r->steps > MMU_STEP_walk_guest)
        r->level = (uint8_t)f->walk.level;
    if (out->kind != MMU_MAPPED && out->kind != MMU_DEVICE)
        return;
    r->gfn = gpa_gfn(out->page_gpa);
    r->has_gfn = true;
    r->after = (uint8_t)mem_page_state(mmu->mem, r->gfn);
    if (r->steps <= MMU_STEP_make_resident)
        r->before = r->after;
    if (out->kind != MMU_MAPPED)
        return;
    r->hva = out->hva;
    r->may_read = out->may_read;
    r->may_write = out->may_write;
    r->may_exec = out->may_exec;
}

static __attribute__((noinline, cold)) bool translate_and_tell(struct mmu *mmu, struct fault *f)
{
    struct mmu_trace_record r;

    memset(&r, 0, sizeof r);
    r.at[0] = __rdtsc();
    f->event = MMU_TRACE_host_error;
    f->changed = false;
    bool from_shadow = translate(mmu, f, &r);
    describe(mmu, f, &r);
    if (trace_wants(mmu, (enum mmu_trace_event)r.event))
        mmu->trace->tell(mmu->trace->arg, &r);
    return from_shadow;
}

void mmu_translate(struct mmu *mmu, const struct mmu_access *access, bool ac,
                   struct mmu_result *out)
{
    struct fault f;
    bool from_shadow;

    f.access = access;
    f.out = out;
    f.ac = ac;
    if (unlikely(mmu->trace != NULL))
        from_shadow = translate_and_tell(mmu, &f);
    else
        from_shadow = translate(mmu, &f, NULL);
    if (unlikely(mmu->oracle != NULL))
        oracle_check(mmu->oracle, access, ac, out, from_shadow);
    if (unlikely(mmu->audit_exits && !from_shadow))
        invariant(mmu_audit(mmu));
}
