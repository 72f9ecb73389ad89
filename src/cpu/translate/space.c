/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/space.h"

#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "cpu/interp/code_cache.h"
#include "cpu/interp/decode.h"
#include "cpu/interp/mem.h"
#include "cpu/translate/scan.h"

/* Pages of code that are written more often are left to the translator. */
#define WRITES_MAX 8u

/* Pages that are mapped with one that is wanted; a power of two. */
#define AROUND 16u

void space_fails(struct space *s)
{
    if (!s->has_told)
        log_msg(LOG_WARN, "direct", "a program runs by translation from here on: %s", err_text());
    s->has_told = true;
    s->failed = true;
}

static void forget(struct space *s, struct mapping *x)
{
    uint64_t page = x->page;

    mappings_remove(&s->pages, x);
    if (stub_unmap(s->stub, page, PAGE_SIZE))
        space_fails(s);
}

/* Room for one more; where there is none, it begins anew. */
static void make_room(struct space *s)
{
    bool is_filled = s->is_filled;

    if (s->pages.count < MAPPINGS_MOST)
        return;
    space_empty(s);
    s->is_filled = is_filled;
}

/* Instead of what was there. */
static struct mapping *note(struct space *s, uint64_t page, gfn_t gfn, const uint8_t *host)
{
    struct mapping *x = mappings_find(&s->pages, page);

    if (x)
        mappings_remove(&s->pages, x);
    return mappings_add(&s->pages, page, gfn, host);
}

/* --- data --- */

static bool take(struct space *s, const struct tlb_entry *e, uint64_t page)
{
    const uint8_t *host = (const uint8_t *)(uintptr_t)(page + e->addend);
    struct mapping *x = mappings_find(&s->pages, page);
    bool writes = e->wtag == (page | s->view);
    uint64_t offset;

    if (e->rtag != (page | s->view))
        return false;
    if (x && x->host == host && (x->code || x->writes == writes))
        return true;
    if (half_of(page) || stub_owns(page) || mem_share_of(s->mem, hva_from_ptr(host), &offset) < 0) {
        if (x)
            forget(s, x);
        return false;
    }
    make_room(s);
    note(s, page, gpa_gfn(gpa_make(e->note)), host)->writes = writes;
    if (!stub_map(s->stub, page, offset, PROT_READ | (writes ? PROT_WRITE : 0)))
        return true;
    space_fails(s);
    return false;
}

void space_learn(struct space *s, struct interp *c, uint64_t lin)
{
    if (s->is_filled && !half_of(lin) && s->view == c->view[0])
        take(s, tlb_slot(c, lin), lin & PAGE_MASK);
}

/* Neighbours that may be used as well, as far as nothing changes by it (A, D, what is resident). */
static void take_around(struct space *s, struct interp *c, uint64_t page)
{
    uint64_t first = page & ~(AROUND * PAGE_SIZE - 1);
    gfn_t gfn;

    for (uint64_t at = first; at < first + AROUND * PAGE_SIZE; at += PAGE_SIZE) {
        if (mappings_find(&s->pages, at))
            continue;
        if (tlb_slot(c, at)->rtag == tlb_want(c, at) ||
            (mmu_reads_quietly(c->mmu, gva_make(at)) && lin_try_span(c, at, &gfn)))
            take(s, tlb_slot(c, at), at);
    }
}

bool space_take_data(struct space *s, struct interp *c, uint64_t lin)
{
    uint64_t page = lin & PAGE_MASK;
    struct mapping *x = mappings_find(&s->pages, page);
    gfn_t gfn;

    if (half_of(lin) || s->view != c->view[0])
        return false;
    if (x && (x->code || x->writes || tlb_slot(c, lin)->wtag != tlb_want(c, lin)))
        return false;
    if (!lin_try_span(c, lin, &gfn) || !take(s, tlb_slot(c, lin), page))
        return false;
    if (!x)
        take_around(s, c, page);
    return mappings_find(&s->pages, page) != NULL;
}

/* --- what goes --- */

void space_forget_page(struct space *s, uint64_t page)
{
    struct mapping *x = half_of(page) ? NULL : mappings_find(&s->pages, page);

    if (x)
        forget(s, x);
}

void space_forget_frame(struct space *s, gfn_t gfn, bool only_writes)
{
    struct mapping *next;

    for (struct mapping *x = mappings_of_frame(&s->pages, gfn); x; x = next) {
        next = mappings_next(&s->pages, x);
        if (!only_writes || x->writes)
            forget(s, x);
    }
}

void space_forget_code(struct space *s, const struct code_page *p)
{
    struct mapping *next;

    for (struct mapping *x = mappings_of_frame(&s->pages, p->gfn); x; x = next) {
        next = mappings_next(&s->pages, x);
        if (x->code == p)
            forget(s, x);
    }
}

void space_filled(struct space *s, const struct tlb_entry *e, uint64_t page)
{
    struct mapping *x = mappings_find(&s->pages, page);

    if (x && (e->rtag != (page | s->view) || (uint64_t)(uintptr_t)x->host != page + e->addend ||
              (x->writes && e->wtag != e->rtag)))
        forget(s, x);
}

bool space_grow_older(struct space *s, struct guest_mem *mem)
{
    bool stays = s->has_run && ++s->ages < SPACE_AGES;

    s->has_run = false;
    if (!stays) {
        s->ages = 0;
        space_empty(s);
        return true;
    }
    for (unsigned i = 1; i <= s->pages.made; i++)
        if (s->pages.at[i].host)
            mem_note_used(mem, s->pages.at[i].gfn);
    return false;
}

/* --- code --- */

/* Instructions that must not run there become INT3 in a copy, which stops the stub at them. */
static enum err map_copy(struct space *s, uint64_t page, uint64_t offset, const uint8_t *host,
                         const struct scan *found)
{
    uint8_t bytes[PAGE_SIZE];

    memcpy(bytes, host, sizeof bytes);
    for (unsigned i = 0; i < found->traps; i++)
        bytes[found->trap[i]] = 0xcc;
    return stub_map_copy(s->stub, page, offset, PROT_READ | PROT_EXEC, bytes, found->trap,
                         found->traps);
}

/* The bytes of a page that code was fetched from lately, or may be read now; NULL: not known. */
static const uint8_t *fetched(struct interp *c, uint64_t page)
{
    const struct fetch_entry *e = &c->fetch[fetch_index(page, c->mix[half_of(page)])];
    gfn_t gfn;

    if (e->tag == (page ^ c->fetch_view[half_of(page)]))
        return e->page->host;
    return mmu_reads_quietly(c->mmu, gva_make(page)) ? lin_try_span(c, page, &gfn) : NULL;
}

static bool map_code(struct space *s, struct interp *c, uint64_t page, struct code_page *p,
                     bool *is_guess)
{
    struct scan found = {0};
    uint64_t offset;

    if (!p->blocks || p->direct.writes > WRITES_MAX || p->direct.is_refused || stub_owns(page) ||
        mem_share_of(s->mem, hva_from_ptr(p->host), &offset) < 0)
        return false;
    if (!p->direct.is_clean)
        p->direct.is_refused =
            !scan_code(c, p->host, fetched(c, page + PAGE_SIZE), p->slot[0] != 0, &found);
    if (p->direct.is_refused)
        return false;
    p->direct.is_clean = !found.traps;
    *is_guess = found.is_guess;
    if (found.traps ? map_copy(s, page, offset, p->host, &found)
                    : stub_map(s->stub, page, offset, PROT_READ | PROT_EXEC)) {
        space_fails(s);
        return false;
    }
    return true;
}

/* A page that can be executed can be read, too; there are no keys that forbid it (direct.c). */
static bool take_code(struct space *s, struct interp *c, uint64_t page, struct code_page *p)
{
    struct mapping *x;
    bool is_guess = false;

    make_room(s);
    if (!map_code(s, c, page, p, &is_guess))
        return false;
    x = note(s, page, p->gfn, p->host);
    x->code = p;
    x->is_guess = is_guess;
    p->direct.is_mapped = true;
    return true;
}

bool space_has_code(struct space *s, uint64_t lin)
{
    const struct mapping *x = mappings_find(&s->pages, lin & PAGE_MASK);

    return x && x->code;
}

void space_meet_trap(struct space *s, uint64_t lin)
{
    struct mapping *x = mappings_find(&s->pages, lin & PAGE_MASK);

    if (x && x->is_guess && lin % PAGE_SIZE > PAGE_SIZE - ZYDIS_MAX_INSTRUCTION_LENGTH)
        forget(s, x);
}

bool space_take_code(struct space *s, struct interp *c, uint64_t lin)
{
    uint64_t page = lin & PAGE_MASK;

    if (space_has_code(s, lin))
        return true;
    if (!fetch_page(c, lin)->blocks)
        block_find(c);
    return take_code(s, c, page, fetch_page(c, lin));
}

/* --- all --- */

static bool is_of_view(const struct space *s, const struct tlb_entry *e)
{
    return (e->rtag & ~PAGE_MASK) == s->view && !half_of(e->rtag);
}

unsigned space_missing(struct space *s, const struct interp *c)
{
    unsigned count = 0;

    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        count += is_of_view(s, &c->tlb[i]) && !mappings_find(&s->pages, c->tlb[i].rtag & PAGE_MASK);
    return count;
}

void space_fill(struct space *s, struct interp *c)
{
    for (unsigned i = 0; i < FETCH_HALF; i++) {
        uint64_t page = c->fetch[i].tag ^ c->fetch_view[0];

        if (c->fetch[i].tag != TLB_NO_TAG && !(page & ~PAGE_MASK) && !half_of(page) &&
            !space_has_code(s, page))
            take_code(s, c, page, c->fetch[i].page);
    }
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        if (is_of_view(s, &c->tlb[i]))
            take(s, &c->tlb[i], c->tlb[i].rtag & PAGE_MASK);
    s->is_filled = true;
}

void space_empty(struct space *s)
{
    mappings_empty(&s->pages);
    stub_unmap_all(s->stub);
    s->most_mapped = 0;
    s->is_filled = false;
}

void space_leave(struct space *s)
{
    space_empty(s);
    s->in_use = false;
}

int space_file(const struct guest_mem *mem)
{
    size_t count;
    uint64_t offset;

    return mem_share_of(mem, mem_slots(mem, &count)[0].userspace_addr, &offset);
}

enum err space_take(struct space *s, const struct interp *c)
{
    if (!s->stub) {
        enum err err = stub_create(&s->stub, space_file(c->mem));

        if (err)
            return err;
    }
    s->mem = c->mem;
    s->view = c->view[0];
    s->in_use = true;
    s->failed = s->is_filled = s->has_run = false;
    s->ages = 0;
    s->rests = 0;
    s->not_before_ns = 0;
    s->credit_ns = SPACE_CREDIT_NS;
    return ERR_OK;
}
