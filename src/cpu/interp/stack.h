/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack that a far transfer or a delivery works on: the current one or that of another privilege
 * level. Pushes and pops check and touch memory, but the registers change only at stack_commit
 * (rule R1).
 */
#ifndef UMBRA_CPU_INTERP_STACK_H
#define UMBRA_CPU_INTERP_STACK_H

#include "cpu/interp/interp.h"

/*
 * sp:    stack pointer, moved by push and pop
 * mask:  its width by SS (64-bit mode: all 64 bits)
 * user:  accesses are user accesses (level 3)
 */
struct stack {
    struct x86_segment ss;
    uint64_t sp;
    uint64_t mask;
    bool user;
};

/* The stack in SS:RSP at the current level. */
struct stack stack_current(const struct interp *c);

/* A stack of another level; outside 64-bit mode its width is the SS descriptor's. */
struct stack stack_of(const struct interp *c, struct x86_segment ss, uint64_t sp, unsigned cpl);

/*
 * Pushes v[0], v[1], ... as `size` bytes each, all or nothing: #SS(error) outside the limit or not
 * canonical, #PF.
 */
void stack_push_frame(struct interp *c, const struct uop *u, struct stack *st, const uint64_t *v,
                      unsigned n, unsigned size, uint32_t error);

/*
 * Before a frame of `bytes` at lin is written as one: the fault that pushes of `size` bytes would
 * meet, which go downwards, so that CR2 is the first slot that cannot be written.
 */
void stack_probe_pushes(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
                        unsigned size, bool user);

/* Reads n values from the top into v without moving sp: v[0] is the top one. */
void stack_peek_frame(struct interp *c, const struct uop *u, const struct stack *st, uint64_t *v,
                      unsigned n, unsigned size);

/* sp += bytes, in the stack's width. */
static inline void stack_drop(struct stack *st, uint64_t bytes)
{
    st->sp = (st->sp & ~st->mask) | ((st->sp + bytes) & st->mask);
}

/* Takes sp into RSP. SS stays the caller's business. */
void stack_commit(struct interp *c, const struct stack *st);

/* TSS stacks (deliver.c): SS:ESP of a level from a 16- or 32-bit TSS, checked with #TS. */
void tss_read_stack(struct interp *c, const struct uop *u, unsigned cpl, struct stack *st);
/* A stack pointer of a 64-bit TSS; tss_rsp_offset: where that of a level lies. */
uint64_t tss_read_rsp(struct interp *c, const struct uop *u, unsigned at);
unsigned tss_rsp_offset(unsigned cpl);

#endif
