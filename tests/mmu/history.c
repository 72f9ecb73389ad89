/* SPDX-License-Identifier: Apache-2.0 */
#include "history.h"

#include <string.h>

void history_add(struct history *h, unsigned n, unsigned pcid, const struct model_walk *w)
{
    struct seen s;

    if (w->faults || !w->accessed)
        return;
    memset(&s, 0, sizeof s);
    s.page = w->page;
    s.shift = (uint8_t)w->shift;
    s.key = (uint8_t)w->key;
    s.pcid = (uint16_t)pcid;
    s.user = w->user;
    s.write = w->write;
    s.xd = w->xd;
    s.global = w->global;
    s.dirty = w->dirty;
    for (unsigned i = 0; i < h->count[n]; i++) {
        if (memcmp(&h->seen[n][i], &s, sizeof s) == 0)
            return;
    }
    if (h->count[n] < SEEN_MAX)
        h->seen[n][h->count[n]++] = s;
    else
        h->overflowed[n] = true;
}

bool history_get(const struct history *h, unsigned n, unsigned *i, unsigned pcid,
                 struct model_walk *w)
{
    for (; *i < h->count[n]; (*i)++) {
        const struct seen *s = &h->seen[n][*i];
        if (s->pcid != pcid && !s->global)
            continue;
        (*i)++;
        memset(w, 0, sizeof *w);
        w->page = s->page;
        w->shift = s->shift;
        w->key = s->key;
        w->user = s->user;
        w->write = s->write;
        w->xd = s->xd;
        w->global = s->global;
        w->dirty = s->dirty;
        w->accessed = true;
        return true;
    }
    return false;
}

void history_flush_all(struct history *h)
{
    memset(h->count, 0, sizeof h->count);
    memset(h->overflowed, 0, sizeof h->overflowed);
}

struct flush {
    bool any_pcid, global_too, any_address;
    unsigned pcid;
    uint64_t gva;
};

static bool covers(const struct flush *f, const struct seen *s, uint64_t gva)
{
    if (s->global ? !f->global_too : !f->any_pcid && s->pcid != f->pcid)
        return false;
    return f->any_address || gva >> s->shift == f->gva >> s->shift;
}

static void flush(struct history *h, const struct flush *f)
{
    for (unsigned n = 0; n < h->addresses; n++) {
        unsigned kept = 0;
        for (unsigned i = 0; i < h->count[n]; i++) {
            if (!covers(f, &h->seen[n][i], h->gva[n]))
                h->seen[n][kept++] = h->seen[n][i];
        }
        h->count[n] = kept;
    }
}

void history_flush_pcid(struct history *h, unsigned pcid)
{
    flush(h, &(struct flush){.any_address = true, .pcid = pcid});
}

void history_flush_not_global(struct history *h)
{
    flush(h, &(struct flush){.any_address = true, .any_pcid = true});
}

void history_flush_address(struct history *h, unsigned pcid, uint64_t gva)
{
    flush(h, &(struct flush){.pcid = pcid, .global_too = true, .gva = gva});
}

void history_flush_address_of_pcid(struct history *h, unsigned pcid, uint64_t gva)
{
    flush(h, &(struct flush){.pcid = pcid, .gva = gva});
}
