/* SPDX-License-Identifier: Apache-2.0 */
/* PUSHF, POPF, CLI, STI, STAC, CLAC (SDM 2A, 2B). VME and PVI are not offered. */
#include "cpu/interp/integer.h"
#include "cpu/interp/run.h"
#include "cpu/interp/system.h"
#include "cpu/interp/tier.h"

#define POPF_ALWAYS (RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT)

/* In virtual-8086 mode these need IOPL 3. */
static void check_vm86(struct interp *c, const struct uop *u)
{
    if ((c->s.rflags & RFLAGS_VM) && iopl(c) < 3)
        exc_raise_code(c, u, VEC_GP, 0);
}

const struct uop *sys_pushf(struct interp *c, const struct uop *u)
{
    check_vm86(c, u);
    stack_push(c, u, u->opsize, interp_rflags(c) & ~(uint64_t)(RFLAGS_VM | RFLAGS_RF));
    NEXT;
}

const struct uop *sys_popf(struct interp *c, const struct uop *u)
{
    uint64_t mask = POPF_ALWAYS;
    check_vm86(c, u);
    uint64_t image = stack_peek(c, u, u->opsize, 0);
    if (u->opsize != 2)
        mask |= RFLAGS_AC | RFLAGS_ID;
    if (c->cpl <= iopl(c))
        mask |= RFLAGS_IF;
    if (c->cpl == 0)
        mask |= RFLAGS_IOPL;
    uint64_t old = interp_rflags(c);
    uint64_t flags = (old & ~(mask | RFLAGS_RF)) | (image & mask);
    stack_add(c, u->opsize);
    interp_set_rflags(c, flags);
    if (!((old ^ flags) & (RFLAGS_TF | RFLAGS_AC)) && !(~old & flags & RFLAGS_IF))
        NEXT;
    if ((old ^ flags) & (RFLAGS_TF | RFLAGS_AC))
        interp_update_mode(c);
    return leave_to(c, u, insn_next_rip(c, u));
}

static void check_iopl(struct interp *c, const struct uop *u)
{
    if (c->cpl > iopl(c))
        exc_raise_code(c, u, VEC_GP, 0);
}

const struct uop *sys_cli(struct interp *c, const struct uop *u)
{
    check_iopl(c, u);
    c->s.rflags &= ~(uint64_t)RFLAGS_IF;
    NEXT;
}

const struct uop *sys_sti(struct interp *c, const struct uop *u)
{
    check_iopl(c, u);
    if (c->s.rflags & RFLAGS_IF)
        NEXT;
    c->s.rflags |= RFLAGS_IF;
    c->inhibit_irq = true;
    return leave_to(c, u, insn_next_rip(c, u));
}

/*
 * A kernel does this around every access to a user page, so only what follows from AC is done: with
 * SMAP on it is one bit of the data view. (Alignment checks are for CPL 3.)
 */
static void set_ac(struct interp *c, const struct uop *u, uint64_t ac)
{
    if (!(c->identity.features & CPU_FEATURE_SMAP) || c->cpl != 0)
        exc_raise(c, u, VEC_UD);
    c->s.rflags = (c->s.rflags & ~(uint64_t)RFLAGS_AC) | ac;
    for (unsigned h = 0; h < HALVES; h++)
        if (c->view[h] != VIEW_SLOW && (c->s.cr4 & CR4_SMAP))
            c->view[h] = (c->view[h] & ~VIEW_AC) | (ac ? VIEW_AC : 0);
    if (c->tier)
        c->tier->view(c);
}

const struct uop *sys_stac(struct interp *c, const struct uop *u)
{
    set_ac(c, u, RFLAGS_AC);
    NEXT;
}

const struct uop *sys_clac(struct interp *c, const struct uop *u)
{
    set_ac(c, u, 0);
    NEXT;
}
