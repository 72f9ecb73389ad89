/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/window.h"

#include <string.h>
#include <sys/mman.h>

#include "cpu/interp/mem.h"
#include "cpu/translate/space.h"

#define WINDOWS_BYTES ((WINDOWS + 1) * sizeof(struct window))

/*
 * A tag that no address meets which looks into entry i: that of a page with another entry. It is 0
 * for all but one, so that fresh memory is an empty window.
 */
static uint64_t no_tag(unsigned i)
{
    return i ? 0 : PAGE_SIZE;
}

/* The window entry that c->tlb[i] may have been copied to. */
static unsigned copy_of(const struct interp *c, unsigned i)
{
    const struct tlb_entry *e = &c->tlb[i];

    return tlb_index(e->rtag != TLB_NO_TAG ? e->rtag : e->wtag, 0);
}

static void entry_clear(const struct windows *w, unsigned window, unsigned i)
{
    struct window_entry *e = &w->window[window].entry[i];

    e->read_tag = no_tag(i);
    e->write_tag = no_tag(i);
}

/* The windows' memory reads as zeros. */
static void fresh(struct windows *w)
{
    for (unsigned window = 0; window <= WINDOWS; window++) {
        jumps_init(w->window[window].jump);
        entry_clear(w, window, 0);
    }
}

enum err windows_create(struct windows *w)
{
    void *p = mmap(NULL, WINDOWS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return err_errno(ERR_NOMEM, "no memory for translation windows");
    w->window = p;
    w->jumps = jumps_create();
    if (!w->jumps)
        return err_new(ERR_NOMEM, "no memory for translation windows");
    fresh(w);
    for (unsigned i = 0; i < WINDOWS; i++)
        w->view[i] = VIEW_SLOW;
    return ERR_OK;
}

void windows_destroy(struct windows *w)
{
    if (w->window)
        munmap(w->window, WINDOWS_BYTES);
    w->window = NULL;
    jumps_destroy(w->jumps);
}

static void window_empty(struct windows *w, struct interp *c, unsigned window)
{
    const uint8_t bit = (uint8_t)(1u << window);

    for (unsigned i = 0; i < TLB_ENTRIES; i += 8) {
        uint64_t eight;

        memcpy(&eight, &c->tlb_copies[i], sizeof eight);
        if (!(eight & (UINT64_C(0x0101010101010101) * bit)))
            continue;
        for (unsigned k = i; k < i + 8; k++) {
            if (c->tlb_copies[k] & bit)
                entry_clear(w, window, copy_of(c, k));
            c->tlb_copies[k] &= (uint8_t)~bit;
        }
    }
    jumps_drop_window(w->jumps, w->window[window].jump, window);
}

/* --- views --- */

struct window_view windows_view(const struct interp *c, bool user, bool ac)
{
    bool smap = c->s.cr4 & CR4_SMAP, is_32 = c->mode == CODE_32;
    struct window_view v = {.half = {c->view[0], c->view[1]},
                            .is_shared = smap && !ac && !user && !is_32 && c->upper.shares,
                            .is_32 = is_32};

    for (unsigned h = 0; v.half[0] != VIEW_SLOW && h < HALVES; h++)
        v.half[h] = (v.half[h] & ~(VIEW_AC | VIEW_USER)) | (smap && ac ? VIEW_AC : 0) |
                    (user ? VIEW_USER : 0);
    return v;
}

/* What tells windows apart: tags are given once, so that of the upper half is no lower one's. */
static uint32_t key_of(const struct window_view *v)
{
    uint32_t view = v->half[v->is_shared ? 1 : 0];

    return v->is_32 && view != VIEW_SLOW ? view | WINDOW_CODE_32 : view;
}

void windows_make_ready(struct windows *w, struct interp *c, unsigned window, uint32_t lower)
{
    struct window_lower *l = &w->lower[window];

    if (l->view == lower)
        return;
    if (l->entries > LOCALS || l->jumps > LOCALS) {
        window_empty(w, c, window);
    } else {
        for (unsigned n = 0; n < l->entries; n++)
            entry_clear(w, window, l->entry[n]);
        for (unsigned n = 0; n < l->jumps; n++)
            jumps_drop(w->jumps, w->window[window].jump, window, l->jump[n]);
    }
    l->view = lower;
    l->entries = l->jumps = 0;
}

/* A place of the present window has something of the lower half from now on. */
static void lower_note(struct windows *w, const struct interp *c, uint64_t lin, uint32_t *list,
                       unsigned *count, unsigned i)
{
    if (half_of(lin) || (w->view[w->current] & ~WINDOW_CODE_32) == c->view[0])
        return;
    if (*count < LOCALS)
        list[*count] = i;
    if (*count <= LOCALS)
        ++*count;
}

void windows_use(struct windows *w, unsigned window)
{
    w->used[window] = ++w->clock;
    w->current = window;
}

uint64_t windows_choose(struct windows *w, struct interp *c)
{
    const struct window_view v = windows_view(c, c->cpl == 3, c->s.rflags & RFLAGS_AC);
    const uint32_t key = key_of(&v);
    unsigned oldest = 0;

    if (key == VIEW_SLOW) {
        w->current = WINDOWS;
        return (uint64_t)(uintptr_t)&w->window[WINDOWS];
    }
    for (unsigned i = 0; i < WINDOWS; i++) {
        if (w->view[i] == key) {
            oldest = i;
            break;
        }
        if (w->used[i] < w->used[oldest])
            oldest = i;
    }
    if (w->view[oldest] != key) {
        window_empty(w, c, oldest);
        if (w->space[oldest])
            space_leave(w->space[oldest]);
        w->space[oldest] = NULL;
        w->view[oldest] = key;
        w->given++;
    }
    windows_make_ready(w, c, oldest, v.half[0]);
    windows_use(w, oldest);
    return (uint64_t)(uintptr_t)&w->window[oldest];
}

int windows_find(struct windows *w, struct interp *c, const struct window_view *view)
{
    const uint32_t key = key_of(view);

    for (unsigned i = 0; key != VIEW_SLOW && i < WINDOWS; i++) {
        if (w->view[i] != key)
            continue;
        windows_make_ready(w, c, i, view->half[0]);
        return (int)i;
    }
    return -1;
}

/* --- learning and forgetting --- */

void windows_learn(struct windows *w, struct interp *c, uint64_t lin)
{
    const struct tlb_entry *e = tlb_slot(c, lin);
    unsigned i = (unsigned)(e - c->tlb);
    uint64_t want = tlb_want(c, lin), page = lin & PAGE_MASK;
    unsigned at = tlb_index(lin, 0);
    struct window_entry *to = &w->window[w->current].entry[at];

    if (w->current == WINDOWS || (e->rtag != want && e->wtag != want))
        return;
    to->read_tag = e->rtag == want ? page : no_tag(at);
    to->write_tag = e->wtag == want ? page : no_tag(at);
    to->host = page + e->addend;
    if (unlikely(w->space[w->current]))
        space_learn(w->space[w->current], c, lin);
    c->tlb_copies[i] |= (uint8_t)(1u << w->current);
    lower_note(w, c, lin, w->lower[w->current].entry, &w->lower[w->current].entries, at);
}

void windows_forget(struct windows *w, struct interp *c, unsigned i)
{
    for (unsigned window = 0; window < WINDOWS; window++)
        if (c->tlb_copies[i] & 1u << window)
            entry_clear(w, window, copy_of(c, i));
    c->tlb_copies[i] = 0;
}

void windows_learn_jump(struct windows *w, const struct interp *c, uint64_t lin,
                        const uint8_t *code)
{
    unsigned fetch = fetch_index(lin, c->mix[half_of(lin)]);
    struct jump_entry *table = w->window[w->current].jump;
    const struct jump_entry *e = &table[jump_index(lin)];

    if (w->current == WINDOWS ||
        c->fetch[fetch].tag != ((lin & PAGE_MASK) ^ c->fetch_view[half_of(lin)]) ||
        (e->lin == lin && e->code == code))
        return;
    jumps_add(w->jumps, table, w->current, lin, code, fetch);
    lower_note(w, c, lin, w->lower[w->current].jump, &w->lower[w->current].jumps, jump_index(lin));
}

void windows_forget_fetch(struct windows *w, unsigned i)
{
    struct jump_entry *tables[WINDOWS];

    for (unsigned window = 0; window < WINDOWS; window++)
        tables[window] = w->window[window].jump;
    jumps_drop_fetch(w->jumps, tables, i);
}

void windows_reset(struct windows *w, struct interp *c)
{
    memset(c->tlb_copies, 0, sizeof c->tlb_copies);
    for (unsigned i = 0; i < WINDOWS; i++)
        if (w->space[i])
            space_empty(w->space[i]);
    for (unsigned i = 0; i < WINDOWS; i++)
        w->lower[i].entries = w->lower[i].jumps = 0;
    jumps_reset(w->jumps);
    madvise(w->window, WINDOWS_BYTES, MADV_DONTNEED);
    fresh(w);
}
