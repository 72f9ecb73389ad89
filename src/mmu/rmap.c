/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reverse map: frame -> shadow entries that hold its HVA, and child page -> links to it.
 *
 * Both are chains threaded through the shadow pages themselves (struct chain_links beside each
 * entry), so adding and removing take a few stores, cost no memory of their own and cannot fail; a
 * guest that maps one frame everywhere makes a long chain, but nobody searches one.
 *
 *   head ---> (page 7, entry 3) <---> (page 2, entry 511) <---> (page 7, entry 4)
 */
#include <sys/mman.h>

#include "mmu/internal.h"

enum err rmap_init(struct mmu *mmu)
{
    size_t count;
    const struct mem_slot *slots = mem_slots(mmu->mem, &count);

    invariant(count <= 2);
    for (size_t s = 0; s < count; s++) {
        /* Without reservation: the heads of frames that nobody maps cost nothing. */
        void *p = mmap(NULL, slots[s].pages * sizeof(node_id), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return err_errno(ERR_NOMEM, "reverse map of guest memory");
        mmu->rmap[s] = p;
    }
    return ERR_OK;
}

void rmap_fini(struct mmu *mmu)
{
    size_t count;
    const struct mem_slot *slots = mem_slots(mmu->mem, &count);

    for (size_t s = 0; s < count; s++) {
        if (mmu->rmap[s])
            munmap(mmu->rmap[s], slots[s].pages * sizeof(node_id));
    }
}

node_id *rmap_head(struct mmu *mmu, gfn_t gfn)
{
    size_t count;
    const struct mem_slot *slots = mem_slots(mmu->mem, &count);

    for (size_t s = 0; s < count; s++) {
        uint64_t off = gfn.v - slots[s].base_gfn.v;
        if (off < slots[s].pages)
            return &mmu->rmap[s][off];
    }
    return NULL;
}

static struct chain_links *links_of(struct mmu *mmu, node_id node)
{
    return &node_page(mmu, node)->chain[node_index(node)];
}

void chain_add(struct mmu *mmu, node_id *head, struct shadow_page *page, unsigned index)
{
    node_id me = page->id << NODE_INDEX_BITS | index;

    page->chain[index] = (struct chain_links){.prev = 0, .next = *head};
    if (*head)
        links_of(mmu, *head)->prev = me;
    *head = me;
}

void chain_del(struct mmu *mmu, node_id *head, struct shadow_page *page, unsigned index)
{
    struct chain_links *me = &page->chain[index];

    if (me->prev)
        links_of(mmu, me->prev)->next = me->next;
    else
        *head = me->next;
    if (me->next)
        links_of(mmu, me->next)->prev = me->prev;
}

/*
 * The TLB may hold translations whose shadow entry is gone (dropped by a flush that gave the
 * context a new tag, reclaimed for the quota), so it is always told, whatever the chain says.
 */
static void on_unmap_many(void *arg, const gfn_t *gfns, size_t count)
{
    struct mmu *mmu = arg;

    for (size_t i = 0; i < count; i++) {
        node_id *head = rmap_head(mmu, gfns[i]);
        while (head && *head)
            shadow_drop(mmu, node_page(mmu, *head), node_index(*head));
        shadow_forget_table(mmu, gfns[i]);
    }
    mmu->stats.frames_unmapped += count;
    if (mmu->tlb.drop_frames)
        mmu->tlb.drop_frames(mmu->tlb.arg, gfns, count);
}

static void on_unmap(void *arg, gfn_t gfn)
{
    on_unmap_many(arg, &gfn, 1);
}

/*
 * The accessed bits of shadow paging: what the TLB has forgotten comes back here at its next use
 * and is noted. The tables on the way are noted once for each page that shadows one.
 */
static void on_age(void *arg)
{
    struct mmu *mmu = arg;

    shadow_grow_older(mmu);
    root_age_tlb(mmu);
}

static void on_unmap_all(void *arg)
{
    struct mmu *mmu = arg;

    shadow_zap_all(mmu);
    if (mmu->tlb.flush_all)
        mmu->tlb.flush_all(mmu->tlb.arg);
}

/*
 * Whether a frame is tracked is asked whenever an answer is given; only the TLB remembers answers.
 */
static void on_write_protect(void *arg, gfn_t gfn)
{
    struct mmu *mmu = arg;
    hva_t hva;
    bool writable;

    if (mmu->tlb.write_protect_frame &&
        mem_peek(mmu->mem, gfn, MEM_FOR_READ, &hva, &writable) == MEM_OK && writable)
        mmu->tlb.write_protect_frame(mmu->tlb.arg, gfn);
}

static void on_written(void *arg, gpa_t gpa, size_t bytes)
{
    follow_written(arg, gpa, bytes);
}

const struct mem_observer mmu_mem_observer = {
    .unmap = on_unmap,
    .unmap_many = on_unmap_many,
    .age = on_age,
    .unmap_all = on_unmap_all,
    .write_protect = on_write_protect,
    .written = on_written,
};
