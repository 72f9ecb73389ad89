/* SPDX-License-Identifier: Apache-2.0 */
/* What the block cache keeps: its code pages, its arena, and the dropping of what was written. */
#include "cpu/interp/code_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/interp/rewrite.h"
#include "cpu/interp/run.h"
#include "cpu/interp/tier.h"

#define ARENA_BYTES CODE_CACHE_MOST
#define TRIM_LEAST  (UINT64_C(3) << 20)

static struct code_page **hash_bucket(struct code_cache *k, gfn_t gfn)
{
    return &k->hash[(gfn.v ^ (gfn.v >> 12)) % HASH_BUCKETS];
}

static unsigned code_key(const struct interp *c)
{
    return (unsigned)c->mode + (c->cs_limited ? CODE_MODES : 0);
}

/* --- pages --- */

static struct code_page *page_find(struct code_cache *k, gfn_t gfn, unsigned key)
{
    struct code_page *p = *hash_bucket(k, gfn);

    while (p && (p->gfn.v != gfn.v || p->key != key))
        p = p->hash_next;
    return p;
}

static struct code_page *page_alloc(struct guest_mem *mem, struct code_cache *k)
{
    struct code_page *p = k->free_pages;

    if (p) {
        k->free_pages = p->hash_next;
        memset(p, 0, sizeof *p);
        return p;
    }
    invariant(k->pool_used < CODE_PAGES_MAX);
    mem_note_beside(mem, sizeof *p);
    return &k->pool[k->pool_used++];
}

static struct code_page *page_get(struct interp *c, gfn_t gfn, const uint8_t *host)
{
    struct code_cache *k = c->cache;
    unsigned key = code_key(c);
    struct code_page *p = page_find(k, gfn, key);
    struct code_page **bucket = hash_bucket(k, gfn);

    if (p)
        return p;
    p = page_alloc(c->mem, k);
    p->gfn = gfn;
    p->key = key;
    p->host = host;
    p->hash_next = *bucket;
    *bucket = p;
    return p;
}

struct code_page *fetch_page(struct interp *c, uint64_t lin)
{
    struct fetch_entry *e = &c->fetch[fetch_index(lin, c->mix[half_of(lin)])];
    uint64_t want = (lin & PAGE_MASK) ^ c->fetch_view[half_of(lin)];
    struct mmu_access a = {.gva = gva_make(lin), .kind = MMU_FETCH, .user = c->cpl == 3};
    struct mmu_result r;

    if (likely(e->tag == want))
        return e->page;
    c->stats.tlb_misses_fetch++;
    interp_translate(c, &a, false, &r);
    if (r.kind == MMU_GUEST_FAULT)
        exc_raise_pf(c, NULL, lin, r.error_code);
    if (r.kind == MMU_HOST_ERROR)
        leave_host_error(c, NULL);
    /* Code in device memory: nothing there decodes to an instruction. */
    if (r.kind == MMU_DEVICE)
        exc_raise(c, NULL, VEC_UD);
    fetch_set(c, (unsigned)(e - c->fetch), want, page_get(c, gpa_gfn(r.page_gpa), hva_ptr(r.hva)));
    if (!r.global && half_of(lin))
        fetch_note_local(c, (unsigned)(e - c->fetch));
    return e->page;
}

static void fetch_forget(struct interp *c, const struct code_page *p)
{
    for (unsigned i = 0; i < FETCH_ENTRIES; i++)
        if (c->fetch[i].page == p)
            fetch_set(c, i, TLB_NO_TAG, NULL);
}

/* --- dropping --- */

/* B2: whoever runs or links to these uops leaves to the outer loop instead. */
static void block_stale(struct interp *c, struct code_page *p, struct block *b)
{
    struct uop *u = block_uops(b);

    if (b->taken)
        c->tier->stale(c, u);
    for (unsigned i = 0; i < b->uops; i++)
        u[i].fn = op_stale;
    for (struct uop *in = b->in; in; in = in->extra)
        in->link = NULL;
    b->in = NULL;
    p->slot[b->start] = 0;
    c->stats.blocks_invalidated++;
}

static bool is_met(const struct block *b, unsigned start, unsigned end)
{
    return (b->start < end && start < b->end) || (b->looked_at & block_lines(start, end));
}

/* survives: asked of blocks that are met, which else are buried; NULL: they are gone. */
static void page_sweep(struct interp *c, struct code_page *p, unsigned start, unsigned end,
                       bool (*survives)(struct interp *c, struct code_page *p, struct block *b,
                                        unsigned start, unsigned end))
{
    struct block **link = &p->blocks;
    uint64_t lines = 0;

    if (!(p->lines & block_lines(start, end)))
        return;
    while (*link) {
        struct block *b = *link;

        if (is_met(b, start, end) && !(survives && survives(c, p, b, start, end))) {
            *link = b->next;
            if (survives)
                block_bury(c, p, b);
            block_stale(c, p, b);
        } else {
            lines |= block_lines(b->start, b->end) | b->looked_at;
            link = &b->next;
        }
    }
    p->lines = lines;
}

void page_drop_range(struct interp *c, struct code_page *p, unsigned start, unsigned end)
{
    page_sweep(c, p, start, end, NULL);
}

static void on_written(void *arg, gpa_t gpa, size_t bytes)
{
    struct interp *c = arg;

    while (bytes) {
        gfn_t gfn = gpa_gfn(gpa);
        unsigned start = (unsigned)gpa_offset(gpa);
        unsigned n = bytes < PAGE_SIZE - start ? (unsigned)bytes : (unsigned)PAGE_SIZE - start;
        bool any = false, left = false;

        for (struct code_page *p = *hash_bucket(c->cache, gfn); p; p = p->hash_next) {
            if (p->gfn.v != gfn.v)
                continue;
            any = any || p->blocks;
            if (unlikely(p->direct.is_mapped))
                c->tier->written(c, p);
            p->direct.is_refused = p->direct.is_clean = false;
            page_sweep(c, p, start, start + n, block_survives);
            left = left || p->blocks;
        }
        if (any) {
            c->stats.code_writes++;
            if (!left)
                mem_track_clear(c->mem, gfn, MEM_TRACK_CODE);
        }
        gpa = gpa_add(gpa, n);
        bytes -= n;
    }
}

static void on_unmap(void *arg, gfn_t gfn)
{
    struct interp *c = arg;
    struct code_page **link = hash_bucket(c->cache, gfn);
    bool any = false;

    while (*link) {
        struct code_page *p = *link;

        if (p->gfn.v != gfn.v) {
            link = &p->hash_next;
            continue;
        }
        any = any || p->blocks;
        if (unlikely(p->direct.is_mapped))
            c->tier->written(c, p);
        page_drop_range(c, p, 0, PAGE_SIZE);
        fetch_forget(c, p);
        *link = p->hash_next;
        p->hash_next = c->cache->free_pages;
        c->cache->free_pages = p;
    }
    if (any)
        mem_track_clear(c->mem, gfn, MEM_TRACK_CODE);
}

void code_drop_all(struct interp *c)
{
    struct code_cache *k = c->cache;

    for (unsigned i = 0; i < HASH_BUCKETS; i++) {
        for (struct code_page *p = k->hash[i]; p; p = p->hash_next)
            if (p->blocks)
                mem_track_clear(c->mem, p->gfn, MEM_TRACK_CODE);
        k->hash[i] = NULL;
    }
    for (unsigned i = 0; i < FETCH_ENTRIES; i++)
        fetch_set(c, i, TLB_NO_TAG, NULL);
    k->free_pages = NULL;
    k->pool_used = 0;
    k->used = 64;
    /* Gives the memory back and makes it read as zeros again, which fresh pages rely on. */
    madvise(k->arena, ARENA_BYTES, MADV_DONTNEED);
    madvise(k->pool, CODE_PAGES_MAX * sizeof *k->pool, MADV_DONTNEED);
    if (c->tier)
        c->tier->drop_all(c);
    c->tier_full = false;
    c->stats.cache_drops++;
}

uint64_t code_cache_held(const struct interp *c)
{
    return c->cache->used + c->cache->pool_used * sizeof *c->cache->pool;
}

void code_trim(struct interp *c)
{
    if (code_cache_held(c) > TRIM_LEAST)
        code_drop_all(c);
}

/* --- the arena --- */

struct block *block_open(struct code_cache *k)
{
    return (struct block *)(void *)(k->arena + k->used);
}

void code_took(struct interp *c, uint64_t bytes)
{
    c->cache->used += bytes;
    mem_note_beside(c->mem, bytes);
}

void block_enter(struct interp *c, struct code_page *p, struct block *b)
{
    if (!p->blocks)
        mem_track_set(c->mem, p->gfn, MEM_TRACK_CODE);
    b->next = p->blocks;
    p->blocks = b;
    p->lines |= block_lines(b->start, b->end) | b->looked_at;
    p->slot[b->start] = (uint32_t)((uint64_t)((char *)block_uops(b) - c->cache->arena) / 8);
}

struct uop *block_close(struct interp *c, struct code_page *p, struct block *b, unsigned start,
                        unsigned bytes, unsigned uops)
{
    unsigned end = start + bytes < PAGE_SIZE ? start + bytes : (unsigned)PAGE_SIZE;

    *b = (struct block){.start = (uint16_t)start,
                        .end = (uint16_t)end,
                        .uops = (uint16_t)uops,
                        .bytes = (uint16_t)bytes};
    code_took(c, sizeof *b + uops * sizeof(struct uop));
    block_enter(c, p, b);
    c->stats.blocks_decoded++;
    return block_uops(b);
}

void code_make_room(struct interp *c)
{
    const struct code_cache *k = c->cache;
    bool pages = k->pool_used + 2 <= CODE_PAGES_MAX || (k->free_pages && k->free_pages->hash_next);

    if (k->used + BLOCK_MAX_BYTES > k->limit || !pages || c->tier_full)
        code_drop_all(c);
}

/* --- life --- */

static void *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

enum err code_cache_create(struct interp *c, uint64_t code_bytes)
{
    struct mem_observer o = {.arg = c, .unmap = on_unmap, .written = on_written};
    struct code_cache *k = calloc(1, sizeof *k);

    if (!k)
        return err_errno(ERR_NOMEM, "code cache");
    c->cache = k;
    k->arena = reserve(ARENA_BYTES);
    k->pool = reserve(CODE_PAGES_MAX * sizeof *k->pool);
    if (!k->arena || !k->pool)
        return err_errno(ERR_NOMEM, "code cache: %u MiB of address space",
                         (unsigned)(ARENA_BYTES >> 20));
    c->arena = k->arena;
    k->used = 64;
    k->limit = code_bytes && code_bytes < ARENA_BYTES ? code_bytes : ARENA_BYTES;
    if (k->limit < CODE_CACHE_LEAST)
        k->limit = CODE_CACHE_LEAST;
    return mem_add_observer(c->mem, &o);
}

void code_cache_destroy(struct interp *c)
{
    struct code_cache *k = c->cache;

    if (!k)
        return;
    if (k->arena)
        munmap(k->arena, ARENA_BYTES);
    if (k->pool)
        munmap(k->pool, CODE_PAGES_MAX * sizeof *k->pool);
    free(k);
    c->cache = NULL;
}
