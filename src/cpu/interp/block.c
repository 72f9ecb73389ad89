/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building and finding the blocks of decoded instructions: see block.h for the picture and the
 * invariants.
 */
#include "cpu/interp/block.h"

#include <string.h>

#include "cpu/interp/code_cache.h"
#include "cpu/interp/decode.h"
#include "cpu/interp/rewrite.h"
#include "cpu/interp/run.h"
#include "cpu/interp/tier.h"

static void put_end(struct uop *u, uop_fn *fn, unsigned off, unsigned n, unsigned m)
{
    *u = (struct uop){
        .fn = fn, .imm = (int64_t)off, .off = (uint16_t)off, .n = (uint8_t)n, .m = (uint8_t)m};
}

/* The linear page behind the one at page, which outside 64-bit mode may be the first again. */
static uint64_t page_behind(const struct interp *c, uint64_t page)
{
    return (page + PAGE_SIZE) & (c->mode == CODE_64 ? UINT64_MAX : UINT32_MAX);
}

static struct uop *build(struct interp *c, struct code_page *p, unsigned off);

/* The first uop of a block, which counts its runs where there is a tier; answers the next one. */
static struct uop *put_head(const struct interp *c, struct code_page *p, struct uop *head,
                            unsigned off)
{
    if (!c->tier || !tier_takes(c))
        return head;
    *head = (struct uop){.fn = op_count, .imm = c->hot_runs, .extra = p, .off = (uint16_t)off};
    return head + 1;
}

/*
 * One instruction that goes on in the next page. This page may be a table on the way to that one:
 * then setting A there may change its bytes, and where they lie.
 */
static struct uop *build_cross(struct interp *c, struct dec *d, struct code_page *p, unsigned off)
{
    uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
    unsigned head = (unsigned)PAGE_SIZE - off;
    uint64_t next = page_behind(c, GPR64(GPR_PAGE));
    const uint8_t *host = fetch_page(c, next)->host;
    p = fetch_page(c, GPR64(GPR_PAGE));
    struct block *b = block_open(c->cache);
    struct uop *first = block_uops(b), *u = put_head(c, p, first, off);
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
    memcpy((uint8_t *)&u[1] + CROSS_BYTES, host, tail);
    u[2].n = 1;
    put_end(&u[3], op_leave, off + u[2].len, 1, u[2].m);
    c->stats.insns_decoded++;
    return block_close(c, p, b, off, u[2].len, (unsigned)(u - first) + 4);
}

const struct uop *block_offer(struct interp *c, const struct uop *u)
{
    struct uop *head = (struct uop *)(uintptr_t)u;
    struct block *b = (struct block *)(uintptr_t)u - 1;
    struct code_page *p = head->extra;
    struct tier_block offered = {
        .uops = u + 1, .count = b->uops - 1u, .host = p->host, .moves = p->moves};

    if (c->tier->offer(c, head, &offered)) {
        block_taken(p, b, offered.looked_at);
        return head;
    }
    head->fn = op_skip;
    return head + 1;
}

/* What could not be decoded depends on all bytes that were looked at: others may make it good. */
static void cover_undecoded(struct uop *u)
{
    unsigned left = (unsigned)PAGE_SIZE - u->off;

    if (u->fn == op_ud || u->fn == op_too_long)
        u->len =
            (uint8_t)(left < ZYDIS_MAX_INSTRUCTION_LENGTH ? left : ZYDIS_MAX_INSTRUCTION_LENGTH);
}

static struct uop *build(struct interp *c, struct code_page *p, unsigned off)
{
    struct block *b = block_open(c->cache);
    struct uop *head = block_uops(b), *u = put_head(c, p, head, off);
    uint8_t immediates[BLOCK_MAX_INSNS];
    unsigned pos = off, n = 0, m = 0;
    struct dec d;

    dec_init(&d, c);
    while (n < BLOCK_MAX_INSNS && pos < PAGE_SIZE) {
        if (dec_insn(&d, p->host + pos, (unsigned)PAGE_SIZE - pos, pos, &u[n]) == DEC_NEEDS_MORE)
            break;
        cover_undecoded(&u[n]);
        pos += u[n].len;
        immediates[n] = u[n].fn == op_ud ? 0 : d.immediate;
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
    block_close(c, p, b, off, pos - off, (unsigned)(u - head) + n + 1);
    code_took(c, block_remember(p, b, (unsigned)(u - head), n, immediates));
    return head;
}

/* The block of an offset that has none: one that died, or a new one. */
static const struct uop *make_block(struct interp *c, struct code_page *p, unsigned off)
{
    enum engine_phase before = phase_set(c, ENGINE_decoder);
    struct block *b = block_revive(c, p, off);
    const struct uop *u;

    if (b) {
        block_enter(c, p, b);
        u = block_uops(b);
    } else {
        u = build(c, p, off);
    }
    phase_set(c, before);
    return u;
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
        uint64_t next = page_behind(c, lin & PAGE_MASK);

        check_cs_limit(c, head + 1);
        memcpy(bytes + head, fetch_page(c, next)->host, sizeof bytes - head);
        invariant(dec_insn(&d, bytes, sizeof bytes, off, u) == DEC_OK);
    }
    check_cs_limit(c, u->len);
    u->n = 1;
    put_end(&u[1], op_leave, off + u->len, 1, u->m);
    return u;
}

const struct uop *block_find(struct interp *c)
{
    uint64_t lin = linear_rip(c);
    unsigned off = (unsigned)(lin & (PAGE_SIZE - 1));
    const struct uop *u = block_lookup(c, lin);

    if (unlikely(!u)) {
        struct code_page *p;

        code_make_room(c);
        p = fetch_page(c, lin);
        GPR64(GPR_PAGE) = lin & PAGE_MASK;
        u = p->slot[off] ? block_lookup(c, lin) : make_block(c, p, off);
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
    code_make_room(c);
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
    uint64_t next = page_behind(c, GPR64(GPR_PAGE));
    const struct fetch_entry *e = &c->fetch[fetch_index(next, c->mix[half_of(next)])];
    const uint8_t *now;

    if (unlikely(e->tag != (next ^ c->fetch_view[half_of(next)]))) {
        c->rip = insn_rip(c, u);
        /* A page for it may need the room: never drop everything under a running block. */
        if (!c->cache->free_pages && c->cache->pool_used == CODE_PAGES_MAX)
            return decode_step(c);
        now = fetch_page(c, next)->host;
    } else {
        now = e->page->host;
    }
    if (likely(memcmp(now, cross_tail(u), u->src) == 0))
        return u + 2;
    /* The other page holds other bytes now: decode again. */
    c->rip = insn_rip(c, u);
    page_drop_range(c, fetch_page(c, GPR64(GPR_PAGE)), u->off, PAGE_SIZE);
    return NULL;
}
