/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoded-instruction cache: see block.h for the picture and the invariants. One file because
 * building, running and dropping a block all know its layout in the arena, and nobody else does.
 */
#include "cpu/interp/block.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/interp/decode.h"
#include "cpu/interp/run.h"
#include "cpu/interp/tier.h"

#define ARENA_BYTES    (UINT64_C(64) << 20)
#define ARENA_LEAST    (UINT64_C(1) << 20)
#define CODE_PAGES_MAX 4096u
#define HASH_BUCKETS   4096u
#define TRIM_LEAST     (UINT64_C(3) << 20)

/* Pseudo uops of one block: op_cross, its bytes, op_end; or op_count and op_end. */
#define BLOCK_MAX_UOPS  (BLOCK_MAX_INSNS + 3)
#define BLOCK_MAX_BYTES (sizeof(struct block) + BLOCK_MAX_UOPS * sizeof(struct uop))

/*
 * Lies in the arena, directly before its uops. start, end: offsets in the page. bytes: all that it
 * executes. in: uops of other blocks that link here, chained by their `extra`.
 */
struct block {
    struct block *next;
    struct uop *in;
    uint16_t start, end, uops, bytes;
    uint64_t looked_at; /* by the tier (tier.h) */
};

/* limit: bytes of the arena that may be used */
struct code_cache {
    char *arena;
    uint64_t used, limit;
    struct code_page *pool;
    unsigned pool_used;
    struct code_page *free_pages;
    struct code_page *hash[HASH_BUCKETS];
};

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

static struct code_page *page_alloc(struct code_cache *k)
{
    struct code_page *p = k->free_pages;

    if (p) {
        k->free_pages = p->hash_next;
        memset(p, 0, sizeof *p);
        return p;
    }
    invariant(k->pool_used < CODE_PAGES_MAX);
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
    p = page_alloc(k);
    p->gfn = gfn;
    p->key = key;
    p->host = host;
    p->hash_next = *bucket;
    *bucket = p;
    return p;
}

/*
 * The fetch TLB's answer for lin, translating and filling on a miss. Raises what the fetch raises.
 */
static struct code_page *fetch_page(struct interp *c, uint64_t lin)
{
    struct fetch_entry *e = &c->fetch[fetch_index(lin, c->mix)];
    uint64_t want = (lin & PAGE_MASK) ^ c->fetch_view;
    struct mmu_access a = {.gva = gva_make(lin), .kind = MMU_FETCH, .user = c->cpl == 3};
    struct mmu_result r;

    if (likely(e->tag == want))
        return e->page;
    c->stats.tlb_misses_fetch++;
    mmu_translate(c->mmu, &a, false, &r);
    if (r.kind == MMU_GUEST_FAULT)
        exc_raise_pf(c, NULL, lin, r.error_code);
    if (r.kind == MMU_HOST_ERROR)
        leave_host_error(c, NULL);
    /* Code in device memory: nothing there decodes to an instruction. */
    if (r.kind == MMU_DEVICE)
        exc_raise(c, NULL, VEC_UD);
    fetch_set(c, (unsigned)(e - c->fetch), want, page_get(c, gpa_gfn(r.page_gpa), hva_ptr(r.hva)));
    return e->page;
}

static void fetch_forget(struct interp *c, const struct code_page *p)
{
    for (unsigned i = 0; i < FETCH_ENTRIES; i++)
        if (c->fetch[i].page == p)
            fetch_set(c, i, TLB_NO_TAG, NULL);
}

/* --- dropping --- */

static struct uop *block_uops(struct block *b)
{
    return (struct uop *)(void *)(b + 1);
}

/* B2: whoever runs or links to these uops leaves to the outer loop instead. */
static void block_stale(struct interp *c, struct code_page *p, struct block *b)
{
    struct uop *u = block_uops(b);

    if (c->tier)
        c->tier->stale(c, u);
    for (unsigned i = 0; i < b->uops; i++)
        u[i].fn = op_stale;
    for (struct uop *in = b->in; in; in = in->extra)
        in->link = NULL;
    b->in = NULL;
    p->slot[b->start] = 0;
    c->stats.blocks_invalidated++;
}

/* Drops the blocks of p that overlap [start, end). */
static void page_drop_range(struct interp *c, struct code_page *p, unsigned start, unsigned end)
{
    struct block **link = &p->blocks;
    uint64_t lines = 0;

    if (!(p->lines & block_lines(start, end)))
        return;
    while (*link) {
        struct block *b = *link;

        if ((b->start < end && start < b->end) || (b->looked_at & block_lines(start, end))) {
            *link = b->next;
            block_stale(c, p, b);
        } else {
            lines |= block_lines(b->start, b->end) | b->looked_at;
            link = &b->next;
        }
    }
    p->lines = lines;
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
            page_drop_range(c, p, start, start + n);
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

void code_trim(struct interp *c)
{
    const struct code_cache *k = c->cache;

    if (k->used + k->pool_used * sizeof *k->pool > TRIM_LEAST)
        code_drop_all(c);
}

/* --- building --- */

static struct block *block_open(struct code_cache *k)
{
    return (struct block *)(void *)(k->arena + k->used);
}

/* Takes the block with its uops into the page and the arena. */
static struct uop *block_close(struct interp *c, struct code_page *p, struct block *b,
                               unsigned start, unsigned bytes, unsigned uops)
{
    struct code_cache *k = c->cache;
    unsigned end = start + bytes < PAGE_SIZE ? start + bytes : (unsigned)PAGE_SIZE;

    if (!p->blocks)
        mem_track_set(c->mem, p->gfn, MEM_TRACK_CODE);
    *b = (struct block){.next = p->blocks,
                        .start = (uint16_t)start,
                        .end = (uint16_t)end,
                        .uops = (uint16_t)uops,
                        .bytes = (uint16_t)bytes};
    p->blocks = b;
    p->lines |= block_lines(start, end);
    p->slot[start] = (uint32_t)((uint64_t)((char *)block_uops(b) - k->arena) / 8);
    k->used += sizeof *b + uops * sizeof(struct uop);
    c->stats.blocks_decoded++;
    return block_uops(b);
}

static void put_end(struct uop *u, uop_fn *fn, unsigned off, unsigned n, unsigned m)
{
    *u = (struct uop){
        .fn = fn, .imm = (int64_t)off, .off = (uint16_t)off, .n = (uint8_t)n, .m = (uint8_t)m};
}

/* The bytes of op_cross: all of the uop behind its fn, which op_stale may overwrite. */
static uint8_t *cross_bytes(struct uop *u)
{
    return (uint8_t *)u + offsetof(struct uop, imm);
}

static struct uop *build(struct interp *c, struct code_page *p, unsigned off);

/*
 * One instruction that goes on in the next page. This page may be a table on the way to that one:
 * then setting A there may change its bytes, and where they lie.
 */
static struct uop *build_cross(struct interp *c, struct dec *d, struct code_page *p, unsigned off)
{
    uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
    unsigned head = (unsigned)PAGE_SIZE - off;
    uint64_t next = (GPR64(GPR_PAGE) + PAGE_SIZE) & (c->mode == CODE_64 ? UINT64_MAX : UINT32_MAX);
    const uint8_t *host = fetch_page(c, next)->host;
    p = fetch_page(c, GPR64(GPR_PAGE));
    struct block *b = block_open(c->cache);
    struct uop *u = block_uops(b);
    unsigned tail;

    memcpy(bytes, p->host + off, head);
    memcpy(bytes + head, host, sizeof bytes - head);
    invariant(dec_insn(d, bytes, sizeof bytes, off, &u[2]) == DEC_OK);
    if (u[2].fn == op_ud || u[2].fn == op_too_long)
        tail = sizeof bytes - head;
    else if (u[2].len > head)
        tail = u[2].len - head;
    else
        return build(c, p, off);
    u[0] = (struct uop){.fn = op_cross, .off = (uint16_t)off, .src = (uint8_t)tail};
    u[1] = (struct uop){.fn = op_stale};
    memcpy(cross_bytes(&u[1]), host, tail);
    u[2].n = 1;
    put_end(&u[3], op_leave, off + u[2].len, 1, u[2].m);
    c->stats.insns_decoded++;
    return block_close(c, p, b, off, u[2].len, 4);
}

const struct uop *block_offer(struct interp *c, const struct uop *u)
{
    struct uop *head = (struct uop *)(uintptr_t)u;
    struct block *b = (struct block *)(uintptr_t)u - 1;
    struct code_page *p = head->extra;
    struct tier_block offered = {.uops = u + 1, .count = b->uops - 1u, .host = p->host};

    if (c->tier->offer(c, head, &offered)) {
        b->looked_at = offered.looked_at;
        p->lines |= offered.looked_at;
        return head;
    }
    head->fn = op_skip;
    return head + 1;
}

static struct uop *build(struct interp *c, struct code_page *p, unsigned off)
{
    struct block *b = block_open(c->cache);
    struct uop *head = block_uops(b), *u = head;
    unsigned pos = off, n = 0, m = 0;
    struct dec d;

    dec_init(&d, c);
    if (c->tier && c->mode == CODE_64) {
        *head = (struct uop){.fn = op_count, .imm = c->hot_runs, .extra = p, .off = (uint16_t)off};
        u++;
    }
    while (n < BLOCK_MAX_INSNS && pos < PAGE_SIZE) {
        if (dec_insn(&d, p->host + pos, (unsigned)PAGE_SIZE - pos, pos, &u[n]) == DEC_NEEDS_MORE)
            break;
        pos += u[n].len;
        n++;
        m += u[n - 1].m;
        u[n - 1].n = (uint8_t)n;
        u[n - 1].m = (uint8_t)m;
        if (d.ends_block)
            break;
    }
    if (!n)
        return build_cross(c, &d, p, off);
    put_end(&u[n], d.linkable ? op_end : op_leave, pos, n, m);
    c->stats.insns_decoded += n;
    return block_close(c, p, b, off, pos - off, (unsigned)(u - head) + n + 1);
}

static uint64_t linear_rip(const struct interp *c)
{
    return c->mode == CODE_64 ? c->rip : (uint32_t)(c->rip + c->s.seg[SEG_CS].base);
}

/* Is the instruction at c->rip, of `bytes` bytes, within the CS limit? */
static void check_cs_limit(struct interp *c, unsigned bytes)
{
    if (c->mode != CODE_64 && c->rip + bytes - 1 > c->s.seg[SEG_CS].limit)
        exc_raise_code(c, NULL, VEC_GP, 0);
}

static const struct uop *decode_step(struct interp *c)
{
    uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
    uint64_t lin = linear_rip(c);
    unsigned off = (unsigned)(lin & (PAGE_SIZE - 1));
    unsigned head =
        (unsigned)PAGE_SIZE - off < sizeof bytes ? (unsigned)PAGE_SIZE - off : sizeof bytes;
    struct uop *u = c->step;
    struct dec d;

    check_cs_limit(c, 1);
    memcpy(bytes, fetch_page(c, lin)->host + off, head);
    GPR64(GPR_PAGE) = lin & PAGE_MASK;
    dec_init(&d, c);
    d.linkable = false;
    if (dec_insn(&d, bytes, head, off, u) == DEC_NEEDS_MORE) {
        uint64_t next =
            ((lin & PAGE_MASK) + PAGE_SIZE) & (c->mode == CODE_64 ? UINT64_MAX : UINT32_MAX);

        check_cs_limit(c, head + 1);
        memcpy(bytes + head, fetch_page(c, next)->host, sizeof bytes - head);
        invariant(dec_insn(&d, bytes, sizeof bytes, off, u) == DEC_OK);
    }
    check_cs_limit(c, u->len);
    u->n = 1;
    put_end(&u[1], op_leave, off + u->len, 1, u->m);
    return u;
}

/* Room for one more block and two more pages. Only between blocks. */
static void make_room(struct interp *c)
{
    const struct code_cache *k = c->cache;
    bool pages = k->pool_used + 2 <= CODE_PAGES_MAX || (k->free_pages && k->free_pages->hash_next);

    if (k->used + BLOCK_MAX_BYTES > k->limit || !pages || c->tier_full)
        code_drop_all(c);
}

const struct uop *block_find(struct interp *c)
{
    uint64_t lin = linear_rip(c);
    unsigned off = (unsigned)(lin & (PAGE_SIZE - 1));
    const struct uop *u = block_lookup(c, lin);

    if (unlikely(!u)) {
        struct code_page *p;

        make_room(c);
        p = fetch_page(c, lin);
        GPR64(GPR_PAGE) = lin & PAGE_MASK;
        u = p->slot[off] ? block_lookup(c, lin) : build(c, p, off);
    }
    if (unlikely(c->cs_limited)) {
        const struct block *b = (const struct block *)(const void *)u - 1;

        if (c->rip + b->bytes - 1u > c->s.seg[SEG_CS].limit)
            return decode_step(c);
    }
    return u;
}

const struct uop *block_decode_step(struct interp *c)
{
    make_room(c);
    return decode_step(c);
}

void block_link(const struct uop *from, const struct uop *to)
{
    struct uop *f = (struct uop *)(uintptr_t)from;
    struct block *b = (struct block *)(uintptr_t)to - 1;

    f->link = to;
    f->extra = b->in;
    b->in = f;
}

const struct uop *op_cross(struct interp *c, const struct uop *u)
{
    uint64_t next = (GPR64(GPR_PAGE) + PAGE_SIZE) & (c->mode == CODE_64 ? UINT64_MAX : UINT32_MAX);
    const struct fetch_entry *e = &c->fetch[fetch_index(next, c->mix)];
    const uint8_t *now;
    struct block *b;

    if (unlikely(e->tag != (next ^ c->fetch_view))) {
        c->rip = insn_rip(c, u);
        /* A page for it may need the room: never drop everything under a running block. */
        if (!c->cache->free_pages && c->cache->pool_used == CODE_PAGES_MAX)
            return decode_step(c);
        now = fetch_page(c, next)->host;
    } else {
        now = e->page->host;
    }
    if (likely(memcmp(now, (const uint8_t *)(u + 1) + offsetof(struct uop, imm), u->src) == 0))
        return u + 2;
    /* The other page holds other bytes now: decode again. */
    c->rip = insn_rip(c, u);
    b = (struct block *)(uintptr_t)u - 1;
    page_drop_range(c, fetch_page(c, GPR64(GPR_PAGE)), b->start, b->end);
    return NULL;
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
    if (k->limit < ARENA_LEAST)
        k->limit = ARENA_LEAST;
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
