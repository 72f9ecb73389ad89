/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/interp/tlb_frames.h"

#include <assert.h>

#include "cpu/interp/interp.h"

static_assert(TLB_HEADS <= TLB_IS_HEAD && TLB_ENTRIES < TLB_IS_HEAD,
              "numbers of entries and heads fit in 15 bits");

static unsigned hash_of(gfn_t gfn)
{
    return (unsigned)((gfn.v ^ gfn.v >> 14) % TLB_HEADS);
}

void tlb_frame_clear(struct interp *c, unsigned i)
{
    struct tlb_link *l = &c->tlb_link[i];

    if (!l->prev)
        return;
    if (l->prev & TLB_IS_HEAD)
        c->tlb_head[l->prev & ~TLB_IS_HEAD] = l->next;
    else
        c->tlb_link[l->prev - 1].next = l->next;
    if (l->next)
        c->tlb_link[l->next - 1].prev = l->prev;
    l->prev = 0;
}

void tlb_frame_set(struct interp *c, unsigned i, gfn_t gfn)
{
    struct tlb_link *l = &c->tlb_link[i];
    unsigned hash = hash_of(gfn);

    tlb_frame_clear(c, i);
    *l = (struct tlb_link){.next = c->tlb_head[hash], .prev = (uint16_t)(TLB_IS_HEAD | hash)};
    if (l->next)
        c->tlb_link[l->next - 1].prev = (uint16_t)(i + 1);
    c->tlb_head[hash] = (uint16_t)(i + 1);
}

void tlb_frame_each(struct interp *c, gfn_t gfn, tlb_change_fn *change)
{
    for (unsigned at = c->tlb_head[hash_of(gfn)], next; at; at = next) {
        struct tlb_entry *e = &c->tlb[at - 1];

        next = c->tlb_link[at - 1].next;
        if (e->note >> PAGE_SHIFT == gfn.v)
            change(c, e);
    }
}

void tlb_frames_all(struct interp *c, tlb_change_fn *change)
{
    for (unsigned hash = 0; hash < TLB_HEADS; hash++)
        for (unsigned at = c->tlb_head[hash], next; at; at = next) {
            next = c->tlb_link[at - 1].next;
            change(c, &c->tlb[at - 1]);
        }
}
