/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/mappings.h"

#include <string.h>

#include "base/invariant.h"

static uint32_t *page_head(struct mappings *m, uint64_t page)
{
    uint64_t number = page >> PAGE_SHIFT;

    return &m->page_head[(number ^ number >> 16) % MAPPINGS_HEADS];
}

static uint32_t *frame_head(struct mappings *m, gfn_t gfn)
{
    return &m->frame_head[(gfn.v ^ gfn.v >> 16) % MAPPINGS_HEADS];
}

struct mapping *mappings_find(struct mappings *m, uint64_t page)
{
    for (uint32_t n = *page_head(m, page); n; n = m->at[n].by_page.next)
        if (m->at[n].page == page)
            return &m->at[n];
    return NULL;
}

static struct mapping *new_mapping(struct mappings *m)
{
    struct mapping *x = &m->at[m->free];

    if (m->free) {
        m->free = x->by_page.next;
        return x;
    }
    return m->made < MAPPINGS_MOST ? &m->at[++m->made] : NULL;
}

struct mapping *mappings_add(struct mappings *m, uint64_t page, gfn_t gfn, const uint8_t *host)
{
    uint32_t *pages = page_head(m, page), *frames = frame_head(m, gfn), n;
    struct mapping *x = new_mapping(m);

    if (!x)
        return NULL;
    n = (uint32_t)(x - m->at);
    *x = (struct mapping){
        .page = page, .host = host, .gfn = gfn, .by_page.next = *pages, .by_frame.next = *frames};
    if (*pages)
        m->at[*pages].by_page.prev = n;
    if (*frames)
        m->at[*frames].by_frame.prev = n;
    *pages = n;
    *frames = n;
    m->count++;
    return x;
}

void mappings_remove(struct mappings *m, struct mapping *x)
{
    const struct mapping_links *p = &x->by_page, *f = &x->by_frame;

    invariant(x->host);
    *(p->prev ? &m->at[p->prev].by_page.next : page_head(m, x->page)) = p->next;
    *(f->prev ? &m->at[f->prev].by_frame.next : frame_head(m, x->gfn)) = f->next;
    if (p->next)
        m->at[p->next].by_page.prev = p->prev;
    if (f->next)
        m->at[f->next].by_frame.prev = f->prev;
    *x = (struct mapping){.by_page.next = m->free};
    m->free = (uint32_t)(x - m->at);
    m->count--;
}

void mappings_empty(struct mappings *m)
{
    if (!m->made)
        return;
    memset(m->page_head, 0, sizeof m->page_head);
    memset(m->frame_head, 0, sizeof m->frame_head);
    memset(m->at, 0, (m->made + 1) * sizeof m->at[0]);
    m->count = m->made = m->free = 0;
}

static struct mapping *from(struct mappings *m, uint32_t n, gfn_t gfn)
{
    while (n && m->at[n].gfn.v != gfn.v)
        n = m->at[n].by_frame.next;
    return n ? &m->at[n] : NULL;
}

struct mapping *mappings_of_frame(struct mappings *m, gfn_t gfn)
{
    return from(m, *frame_head(m, gfn), gfn);
}

struct mapping *mappings_next(struct mappings *m, const struct mapping *x)
{
    return from(m, x->by_frame.next, x->gfn);
}
