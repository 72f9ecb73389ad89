/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/interp/rewrite.h"

#include <string.h>

#include "cpu/interp/run.h"
#include "cpu/interp/tier.h"

/* Dead blocks of one page whose offsets are alike. */
#define DEAD_EACH 16u

static bool has_plain_immediate(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_SBB:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_XOR:
        return true;
    default:
        return false;
    }
}

uint8_t rewrite_immediate(const ZydisDecodedInstruction *i)
{
    unsigned bytes = i->raw.imm[0].size / 8u;

    if (!bytes || i->raw.imm[1].size || i->raw.imm[0].is_relative ||
        !has_plain_immediate(i->mnemonic))
        return 0;
    return (uint8_t)(bytes << 4 | i->raw.imm[0].offset);
}

/* --- the copy of a block's code: its bytes, then where the immediates are --- */

static uint8_t *immediates_of(const struct block *b)
{
    return b->code + b->bytes;
}

unsigned block_remember(const struct code_page *p, struct block *b, unsigned first, unsigned insns,
                        const uint8_t *immediates)
{
    b->code = (uint8_t *)(block_uops(b) + b->uops);
    b->first = (uint8_t)first;
    b->insns = (uint8_t)insns;
    memcpy(b->code, p->host + b->start, b->bytes);
    memcpy(immediates_of(b), immediates, insns);
    return (b->bytes + insns + 7u) & ~7u;
}

/* The number of the instruction that holds the byte at offset `at` of the page. */
static unsigned insn_at(struct block *b, unsigned at)
{
    const struct uop *u = block_uops(b) + b->first;
    unsigned low = 0, high = b->insns;

    while (high - low > 1) {
        unsigned middle = (low + high) / 2;

        if (u[middle].off <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* n bytes, half to 2 * half of them, in loads of `half` bytes that may overlap. */
static inline bool same_halves(const uint8_t *a, const uint8_t *b, unsigned n, size_t half)
{
    return memcmp(a, b, half) == 0 && memcmp(a + n - half, b + n - half, half) == 0;
}

/* memcmp of 1 to 15 bytes, of which there are many: too few for a call. */
static inline bool same_bytes(const uint8_t *a, const uint8_t *b, unsigned n)
{
    if (n >= 8)
        return same_halves(a, b, n, 8);
    if (n >= 4)
        return same_halves(a, b, n, 4);
    return n >= 2 ? same_halves(a, b, n, 2) : *a == *b;
}

/* Instruction n has these bytes now: is it the same but for its immediate? */
static bool is_alike(struct block *b, unsigned n, const uint8_t *now)
{
    const struct uop *u = block_uops(b) + b->first + n;
    const uint8_t *then = b->code + (u->off - b->start);
    unsigned imm = immediates_of(b)[n] & 15u;

    /* An immediate is an instruction's end. */
    return same_bytes(now, then, imm ? imm : u->len);
}

static int64_t sign_extended(const uint8_t *bytes, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, bytes, size);
    return (int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size);
}

/* Native code goes, the uops stay. */
static void make_plain(struct interp *c, struct code_page *p, struct block *b)
{
    struct uop *head = block_uops(b);

    c->tier->stale(c, head);
    head->fn = op_count;
    head->imm = c->hot_runs;
    head->extra = p;
    b->looked_at = 0;
    b->taken = false;
}

void page_moves(struct interp *c, struct code_page *p)
{
    p->moves = true;
    for (struct block *b = p->blocks; b; b = b->next)
        if (b->taken)
            make_plain(c, p, b);
}

static void take_immediate(struct interp *c, struct code_page *p, struct block *b, unsigned n)
{
    struct uop *u = block_uops(b) + b->first + n;
    uint8_t imm = immediates_of(b)[n];
    unsigned at = u->off + (imm & 15u), size = imm >> 4;
    uint8_t *then = b->code + (at - b->start);

    if (!imm || same_bytes(then, p->host + at, size))
        return;
    memcpy(then, p->host + at, size);
    u->imm = sign_extended(then, size);
    c->stats.code_patches++;
    if (b->taken && !c->tier->patch(c, block_uops(b), u, then, size))
        make_plain(c, p, b);
}

/* The block's instructions from `from` to the one that holds byte `last` are as they were? */
static bool are_alike(const struct code_page *p, struct block *b, unsigned from, unsigned last)
{
    const struct uop *u = block_uops(b) + b->first;

    for (unsigned n = from; n < b->insns && u[n].off <= last; n++)
        if (!is_alike(b, n, p->host + u[n].off))
            return false;
    return true;
}

static void take_immediates(struct interp *c, struct code_page *p, struct block *b, unsigned from,
                            unsigned last)
{
    const struct uop *u = block_uops(b) + b->first;

    for (unsigned n = from; n < b->insns && u[n].off <= last; n++)
        take_immediate(c, p, b, n);
}

/* --- lines that native code was made by, beside the block's own bytes --- */

static uint32_t sum_lines(const struct code_page *p, const struct block *b)
{
    uint64_t sum = 0;

    for (uint64_t left = b->looked_at; left; left &= left - 1) {
        unsigned line = (unsigned)__builtin_ctzll(left) << CODE_LINE_SHIFT;

        for (unsigned at = line; at < line + (1u << CODE_LINE_SHIFT); at++)
            if (at < b->start || at >= b->end)
                sum = (sum ^ p->host[at]) * UINT64_C(0x100000001b3);
    }
    return (uint32_t)(sum ^ sum >> 32);
}

void block_taken(struct code_page *p, struct block *b, uint64_t looked_at)
{
    b->taken = true;
    b->looked_at = looked_at;
    b->looked_sum = sum_lines(p, b);
    p->lines |= looked_at;
}

bool block_survives(struct interp *c, struct code_page *p, struct block *b, unsigned start,
                    unsigned end)
{
    unsigned from = start > b->start ? start : b->start, to = end < b->end ? end : b->end;

    if (!b->code || end - start > REWRITE_MAX)
        return false;
    if (from < to && memcmp(p->host + from, b->code + (from - b->start), to - from) != 0) {
        unsigned n = insn_at(b, from);

        if (!are_alike(p, b, n, to - 1))
            return false;
        take_immediates(c, p, b, n, to - 1);
    }
    if ((b->looked_at & block_lines(start, end)) && sum_lines(p, b) != b->looked_sum)
        make_plain(c, p, b);
    return true;
}

/* --- the dead --- */

static struct block **dead_bucket(struct code_page *p, unsigned off)
{
    return &p->dead[(off * UINT32_C(0x9e3779b1)) >> (32 - DEAD_BUCKETS_SHIFT)];
}

void block_bury(struct interp *c, struct code_page *p, struct block *b)
{
    struct code_cache *k = c->cache;
    struct uop *u = block_uops(b);
    struct block **link = dead_bucket(p, b->start);
    uint64_t bytes = b->uops * sizeof *b->fns;

    if (!b->code)
        return;
    if (!b->fns) {
        /* Someone may count on the room for a block and its page. */
        if (k->used + bytes + 2 * BLOCK_MAX_BYTES > k->limit)
            return;
        b->fns = (uop_fn **)(void *)(k->arena + k->used);
        code_took(c, bytes);
    }
    for (unsigned i = 0; i < b->uops; i++)
        b->fns[i] = u[i].fn;
    b->next = *link;
    *link = b;
    for (unsigned n = 0; *link; n++) {
        if (n == DEAD_EACH)
            *link = NULL;
        else
            link = &(*link)->next;
    }
}

struct block *block_revive(struct interp *c, struct code_page *p, unsigned off)
{
    struct block **link = dead_bucket(p, off), *b;
    struct uop *u;

    while (*link && ((*link)->start != off || !are_alike(p, *link, 0, PAGE_SIZE)))
        link = &(*link)->next;
    b = *link;
    if (!b)
        return NULL;
    *link = b->next;
    u = block_uops(b);
    for (unsigned i = 0; i < b->uops; i++)
        u[i].fn = b->fns[i];
    if (b->taken)
        c->tier->revive(c, u);
    if (b->taken && (p->moves || sum_lines(p, b) != b->looked_sum))
        make_plain(c, p, b);
    take_immediates(c, p, b, 0, PAGE_SIZE);
    c->stats.blocks_revived++;
    return b;
}
