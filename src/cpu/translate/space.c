/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/space.h"

#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "cpu/interp/code_cache.h"
#include "cpu/interp/mem.h"
#include "cpu/translate/scan.h"

/* Pages of code that are written more often are left to the translator. */
#define WRITES_MAX 8u

/* Pages that are mapped with one that is wanted; a power of two. */
#define AROUND 32u

void space_fails(struct space *s)
{
    if (!s->has_told)
        log_msg(LOG_WARN, "direct", "a program runs by translation from here on: %s", err_text());
    s->has_told = true;
    s->failed = true;
}

static struct space_code *exec_of(struct space *s, uint64_t page)
{
    return &s->exec[(page >> PAGE_SHIFT) % SPACE_CODE];
}

static bool is_code(struct space *s, uint64_t page)
{
    const struct space_code *x = exec_of(s, page);

    return x->code && x->page == page;
}

static void unmap(struct space *s, uint64_t page)
{
    if (stub_unmap(s->stub, page, PAGE_SIZE))
        space_fails(s);
}

static bool map(struct space *s, uint64_t page, const void *host, unsigned prot)
{
    uint64_t offset;

    if (half_of(page) || stub_owns(page))
        return false;
    if (mem_share_of(s->mem, hva_from_ptr(host), &offset) < 0)
        return false;
    if (stub_map(s->stub, page, offset, prot)) {
        space_fails(s);
        return false;
    }
    return true;
}

/* --- data --- */

void space_forget(struct space *s, struct window_entry *e)
{
    uint64_t page = e->mapped & PAGE_MASK;

    e->mapped = 0;
    if (is_code(s, page))
        exec_of(s, page)->code = NULL;
    s->mapped--;
    unmap(s, page);
}

/* Maps an entry's page as the window knows it now. */
static void take(struct space *s, struct window_entry *e)
{
    uint64_t page = e->read_tag;
    bool writes = e->write_tag == page;
    uint64_t rights = MAPPED_READ | (writes ? MAPPED_WRITE : 0);
    unsigned prot = PROT_READ | (writes ? PROT_WRITE : 0);

    if (e->mapped == (page | rights))
        return;
    if (e->mapped)
        space_forget(s, e);
    if (!is_code(s, page) && map(s, page, (const void *)(uintptr_t)e->host, prot)) {
        e->mapped = page | rights;
        s->mapped++;
    }
}

static bool is_used(const struct space *s, unsigned i)
{
    uint64_t page = s->window->entry[i].read_tag;

    return page && tlb_index(page, 0) == i && !(page % PAGE_SIZE);
}

void space_learn(struct space *s, struct window_entry *e)
{
    if (is_used(s, (unsigned)(e - s->window->entry)) && s->is_filled)
        take(s, e);
    else if (e->mapped)
        space_forget(s, e);
}

/*
 * With its neighbours, which are one call for all of them where their frames are neighbours, too.
 */
bool space_take_data(struct space *s, uint64_t lin)
{
    uint64_t page = lin & PAGE_MASK;
    unsigned at = tlb_index(page, 0);
    struct window_entry *e = &s->window->entry[at];

    if (half_of(lin) || e->read_tag != page || e->mapped)
        return false;
    for (unsigned i = at & ~(AROUND - 1); i < (at & ~(AROUND - 1)) + AROUND; i++)
        if (is_used(s, i) && !s->window->entry[i].mapped)
            take(s, &s->window->entry[i]);
    return e->mapped != 0;
}

/* --- code --- */

static void forget(struct space *s, struct space_code *x)
{
    struct window_entry *e = &s->window->entry[tlb_index(x->page, 0)];

    if (!x->code)
        return;
    x->code = NULL;
    if ((e->mapped & PAGE_MASK) == x->page)
        e->mapped = 0;
    s->mapped--;
    unmap(s, x->page);
}

void space_forget_page(struct space *s, uint64_t page)
{
    if (is_code(s, page))
        forget(s, exec_of(s, page));
}

void space_forget_code(struct space *s, const struct code_page *p)
{
    for (unsigned i = 0; i < SPACE_CODE; i++)
        if (s->exec[i].code == p)
            forget(s, &s->exec[i]);
}

void space_forget_all_code(struct space *s)
{
    for (unsigned i = 0; i < SPACE_CODE; i++)
        forget(s, &s->exec[i]);
}

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

/* The bytes of a page that code was fetched from lately; NULL: not known. */
static const uint8_t *fetched(const struct interp *c, uint64_t page)
{
    const struct fetch_entry *e = &c->fetch[fetch_index(page, c->mix[half_of(page)])];

    return e->tag == (page ^ c->fetch_view[half_of(page)]) ? e->page->host : NULL;
}

static bool map_code(struct space *s, const struct interp *c, uint64_t page, struct code_page *p)
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
    if (found.traps ? map_copy(s, page, offset, p->host, &found)
                    : stub_map(s->stub, page, offset, PROT_READ | PROT_EXEC)) {
        space_fails(s);
        return false;
    }
    return true;
}

/* A page that can be executed can be read, too; there are no keys that forbid it (direct.c). */
static bool take_code(struct space *s, const struct interp *c, uint64_t page, struct code_page *p)
{
    struct window_entry *e = &s->window->entry[tlb_index(page, 0)];

    if (is_code(s, page))
        return true;
    if (!map_code(s, c, page, p))
        return false;
    forget(s, exec_of(s, page));
    s->mapped += e->mapped == 0 || (e->mapped & PAGE_MASK) != page;
    if ((e->mapped & PAGE_MASK) == page)
        e->mapped = 0;
    *exec_of(s, page) = (struct space_code){.page = page, .code = p};
    p->direct.is_mapped = true;
    return true;
}

bool space_has_code(struct space *s, uint64_t lin)
{
    return is_code(s, lin & PAGE_MASK);
}

bool space_take_code(struct space *s, struct interp *c, uint64_t lin)
{
    uint64_t page = lin & PAGE_MASK;

    return is_code(s, page) || take_code(s, c, page, fetch_page(c, lin));
}

/* --- all --- */

unsigned space_missing(const struct space *s)
{
    unsigned count = 0;

    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        count += is_used(s, i) && !s->window->entry[i].mapped;
    return count;
}

void space_fill(struct space *s, struct interp *c)
{
    for (unsigned i = 0; i < FETCH_HALF; i++) {
        uint64_t page = c->fetch[i].tag ^ c->fetch_view[0];

        if (c->fetch[i].tag != TLB_NO_TAG && !(page & ~PAGE_MASK) && !half_of(page))
            take_code(s, c, page, c->fetch[i].page);
    }
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        if (is_used(s, i))
            take(s, &s->window->entry[i]);
    s->is_filled = true;
}

/* The window's entries say nothing any more. */
static void disown(struct space *s)
{
    for (unsigned i = 0; s->window && i < TLB_ENTRIES; i++)
        if (s->window->entry[i].mapped)
            s->window->entry[i].mapped = 0;
}

void space_empty(struct space *s)
{
    disown(s);
    memset(s->exec, 0, sizeof s->exec);
    stub_unmap_all(s->stub);
    s->mapped = s->most_mapped = 0;
    s->is_filled = false;
}

void space_leave(struct space *s)
{
    space_empty(s);
    s->in_use = false;
    s->window = NULL;
}

int space_file(const struct guest_mem *mem)
{
    size_t count;
    uint64_t offset;

    return mem_share_of(mem, mem_slots(mem, &count)[0].userspace_addr, &offset);
}

enum err space_take(struct space *s, const struct interp *c, struct window *window)
{
    if (!s->stub) {
        enum err err = stub_create(&s->stub, space_file(c->mem));

        if (err)
            return err;
    }
    s->mem = c->mem;
    s->window = window;
    s->in_use = true;
    s->failed = s->is_filled = false;
    s->rests = 0;
    s->not_before_ns = 0;
    s->credit_ns = SPACE_CREDIT_NS;
    return ERR_OK;
}
