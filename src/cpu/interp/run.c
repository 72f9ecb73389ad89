/* SPDX-License-Identifier: Apache-2.0 */
/* Ways out of a block, and the pseudo uops that the block builder puts between instructions. */
#define INTERP_HOT
#include "cpu/interp/run.h"

#include "cpu/interp/block.h"
#include "cpu/interp/mem.h"

uint64_t insn_rip(const struct interp *c, const struct uop *u)
{
    uint64_t lin = GPR64(GPR_PAGE) + u->off;

    return c->mode == CODE_64 ? lin : (uint32_t)(lin - c->s.seg[SEG_CS].base);
}

uint64_t insn_next_rip(const struct interp *c, const struct uop *u)
{
    uint64_t rip = insn_rip(c, u) + u->len;

    return c->mode == CODE_64 ? rip : (uint32_t)rip;
}

const struct uop *leave_to(struct interp *c, const struct uop *u, uint64_t rip)
{
    retire(c, u);
    c->rip = rip;
    return NULL;
}

const struct uop *leave_at(struct interp *c, const struct uop *u)
{
    c->icount += u->n - 1u;
    c->rip = insn_rip(c, u);
    return NULL;
}

const struct uop *goto_next_insn(struct interp *c, const struct uop *u)
{
    return leave_to(c, u, insn_next_rip(c, u));
}

const struct uop *goto_rip(struct interp *c, const struct uop *u, uint64_t rip)
{
    uint64_t lin = c->mode == CODE_64 ? rip : (uint32_t)(rip + c->s.seg[SEG_CS].base);

    retire(c, u);
    c->rip = rip;
    if (must_leave(c) || c->cs_limited)
        return NULL;
    return block_lookup(c, lin);
}

void check_branch_target(struct interp *c, const struct uop *u, uint64_t rip)
{
    bool ok = c->mode == CODE_64 ? is_canonical(c, rip) : rip <= c->s.seg[SEG_CS].limit;

    if (unlikely(!ok))
        exc_raise_code(c, u, VEC_GP, 0);
}

const struct uop *leave_with_event(struct interp *c, const struct uop *u, enum event_kind kind,
                                   uint8_t vector, uint64_t return_rip)
{
    retire(c, u);
    c->rip = insn_rip(c, u);
    exc_deliver(c, kind, vector, false, 0, return_rip);
    return NULL;
}

const struct uop *leave_halted(struct interp *c, const struct uop *u)
{
    c->s.halted = true;
    return goto_next_insn(c, u);
}

const struct uop *op_stale(struct interp *c, const struct uop *u)
{
    /* Pseudo uops count nothing of their own: len is 0 and n is that of the instruction before. */
    c->icount += u->len ? u->n - 1u : u->n;
    c->rip = insn_rip(c, u);
    return NULL;
}

const struct uop *op_end(struct interp *c, const struct uop *u)
{
    return branch_direct(c, u);
}

const struct uop *op_leave(struct interp *c, const struct uop *u)
{
    return leave_to(c, u, insn_rip(c, u));
}

const struct uop *branch_direct_slow(struct interp *c, const struct uop *u)
{
    uint64_t page = GPR64(GPR_PAGE);
    uint64_t lin = page + (uint64_t)u->imm;
    const struct uop *to;

    if (c->mode == CODE_64) {
        c->rip = lin;
        if (unlikely(!is_canonical(c, lin))) {
            /* Not retired after all; exc_raise counts from the instruction's place. */
            c->icount -= u->n;
            exc_raise_code(c, u, VEC_GP, 0);
        }
    } else {
        lin = (uint32_t)lin;
        c->rip = (uint32_t)(lin - c->s.seg[SEG_CS].base);
    }
    if (must_leave(c))
        return NULL;
    to = block_lookup(c, lin);
    if (to && (lin & PAGE_MASK) == page)
        block_link(u, to);
    return to;
}

const struct uop *op_count(struct interp *c, const struct uop *u)
{
    if (likely(--((struct uop *)(uintptr_t)u)->imm > 0))
        NEXT;
    return block_offer(c, u);
}

const struct uop *op_skip(struct interp *c, const struct uop *u)
{
    (void)c;
    NEXT;
}

const struct uop *op_ud(struct interp *c, const struct uop *u)
{
    exc_raise(c, u, VEC_UD);
}

const struct uop *op_too_long(struct interp *c, const struct uop *u)
{
    exc_raise_code(c, u, VEC_GP, 0);
}
