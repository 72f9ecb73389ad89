/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Far JMP, CALL and RET (SDM 2A CALL, JMP; 2B RET). Everything that can fault comes first;
 * far_enter commits.
 */
#include "cpu/interp/far.h"

#include "cpu/interp/mem.h"
#include "cpu/interp/run.h"
#include "cpu/interp/stack.h"
#include "cpu/interp/system.h"
#include "cpu/interp/task.h"

#define GATE_MAX_PARAMETERS 31

enum transfer { TRANSFER_JMP, TRANSFER_CALL };

struct far_pointer {
    uint16_t selector;
    uint64_t offset;
};

_Noreturn static void raise_gp0(struct interp *c, const struct uop *u)
{
    exc_raise_code(c, u, VEC_GP, 0);
}

void far_check_rip(struct interp *c, const struct uop *u, const struct x86_segment *cs,
                   uint64_t rip)
{
    bool to64 = in_long_mode(c) && (cs->attr & SEG_ATTR_L);
    if (to64 ? !is_canonical(c, rip) : rip > cs->limit)
        raise_gp0(c, u);
}

void far_check_return_code(struct interp *c, const struct uop *u, uint16_t selector,
                           struct x86_segment *cs)
{
    uint64_t raw = 0;
    unsigned rpl = selector & SELECTOR_RPL;
    if (selector_is_null(selector))
        raise_gp0(c, u);
    if (!desc_read(c, u, selector, &raw, 8))
        exc_raise_selector(c, u, VEC_GP, selector);
    uint32_t attr = desc_attr(raw);
    bool dpl_ok = attr_is_conforming(attr) ? attr_dpl(attr) <= rpl : attr_dpl(attr) == rpl;
    if (!attr_is_code(attr) || rpl < c->cpl || !dpl_ok || far_is_bad_long_code(c, attr))
        exc_raise_selector(c, u, VEC_GP, selector);
    if (!(attr & SEG_ATTR_P))
        exc_raise_selector(c, u, VEC_NP, selector);
    desc_set_type(c, u, selector, raw, SEG_TYPE_ACCESSED, 0);
    *cs = desc_to_segment(raw, selector);
    cs->attr |= SEG_TYPE_ACCESSED;
}

void far_check_return_stack(struct interp *c, const struct uop *u, uint16_t selector,
                            const struct x86_segment *cs, struct x86_segment *ss)
{
    unsigned cpl = cs->selector & SELECTOR_RPL;
    bool to64 = in_long_mode(c) && (cs->attr & SEG_ATTR_L);
    if (selector_is_null(selector) && to64 && cpl < 3 && (selector & SELECTOR_RPL) == cpl)
        *ss = seg_null_stack(cpl);
    else
        seg_check_stack(c, u, selector, cpl, VEC_GP, ss);
}

/* The code segment a direct transfer goes to: CPL stays (SDM 3A 5.8.1). */
static void check_direct(struct interp *c, const struct uop *u, uint16_t selector, uint64_t raw,
                         struct x86_segment *cs)
{
    uint32_t attr = desc_attr(raw);
    bool dpl_ok = attr_is_conforming(attr)
                      ? attr_dpl(attr) <= c->cpl
                      : attr_dpl(attr) == c->cpl && (selector & SELECTOR_RPL) <= c->cpl;
    if (!dpl_ok || far_is_bad_long_code(c, attr))
        exc_raise_selector(c, u, VEC_GP, selector);
    if (!(attr & SEG_ATTR_P))
        exc_raise_selector(c, u, VEC_NP, selector);
    desc_set_type(c, u, selector, raw, SEG_TYPE_ACCESSED, 0);
    *cs = desc_to_segment(raw, (uint16_t)((selector & ~SELECTOR_RPL) | c->cpl));
    cs->attr |= SEG_TYPE_ACCESSED;
}

/* A call gate and the code behind it. */
struct call_gate {
    struct x86_segment cs; /* RPL: the CPL to run at */
    uint64_t offset;
    unsigned parameters;
    unsigned size; /* of pushed values */
};

static void check_call_gate(struct interp *c, const struct uop *u, uint16_t selector,
                            enum transfer how, struct call_gate *g)
{
    uint64_t raw[2] = {0, 0};
    uint64_t code = 0;
    if (!desc_read(c, u, selector, raw, in_long_mode(c) ? 16 : 8))
        exc_raise_selector(c, u, VEC_GP, selector);
    uint32_t attr = desc_attr(raw[0]);
    if (attr_dpl(attr) < c->cpl || attr_dpl(attr) < (selector & SELECTOR_RPL) ||
        (in_long_mode(c) && ((raw[1] >> 40) & 0x1f)))
        exc_raise_selector(c, u, VEC_GP, selector);
    if (!(attr & SEG_ATTR_P))
        exc_raise_selector(c, u, VEC_NP, selector);
    uint16_t target = (uint16_t)(raw[0] >> 16);
    if (selector_is_null(target))
        raise_gp0(c, u);
    if (!desc_read(c, u, target, &code, 8))
        exc_raise_selector(c, u, VEC_GP, target);
    uint32_t cattr = desc_attr(code);
    unsigned dpl = attr_dpl(cattr);
    if (!attr_is_code(cattr) || dpl > c->cpl ||
        (how == TRANSFER_JMP && !attr_is_conforming(cattr) && dpl != c->cpl) ||
        (in_long_mode(c) && (cattr & (SEG_ATTR_L | SEG_ATTR_DB)) != SEG_ATTR_L))
        exc_raise_selector(c, u, VEC_GP, target);
    if (!(cattr & SEG_ATTR_P))
        exc_raise_selector(c, u, VEC_NP, target);
    unsigned cpl = attr_is_conforming(cattr) ? c->cpl : dpl;
    desc_set_type(c, u, target, code, SEG_TYPE_ACCESSED, 0);
    g->cs = desc_to_segment(code, (uint16_t)((target & ~SELECTOR_RPL) | cpl));
    g->cs.attr |= SEG_TYPE_ACCESSED;
    g->offset = raw[0] & 0xffff;
    if (attr_type(attr) == DESC_CALL)
        g->offset |= ((raw[0] >> 32) & 0xffff0000) | raw[1] << 32;
    g->parameters = in_long_mode(c) ? 0 : (raw[0] >> 32) & GATE_MAX_PARAMETERS;
    g->size = in_long_mode(c) ? 8 : attr_type(attr) == DESC_CALL ? 4 : 2;
    far_check_rip(c, u, &g->cs, g->offset);
}

/* CALL through a gate to a more privileged level: onto that level's stack, with the parameters. */
static const struct uop *call_inner(struct interp *c, const struct uop *u,
                                    const struct call_gate *g)
{
    unsigned cpl = g->cs.selector & SELECTOR_RPL;
    uint64_t frame[GATE_MAX_PARAMETERS + 4];
    unsigned n = 0;
    struct stack old = stack_current(c);
    struct stack st;
    if (in_long_mode(c)) {
        uint64_t rsp = tss_read_rsp(c, u, tss_rsp_offset(cpl));
        st = (struct stack){.ss = seg_null_stack(cpl), .sp = rsp, .mask = ~UINT64_C(0)};
    } else {
        tss_read_stack(c, u, cpl, &st);
    }
    frame[n++] = c->s.seg[SEG_SS].selector;
    frame[n++] = c->gpr[RSP];
    if (g->parameters) {
        uint64_t p[GATE_MAX_PARAMETERS];
        stack_peek_frame(c, u, &old, p, g->parameters, g->size);
        for (unsigned i = g->parameters; i > 0; i--)
            frame[n++] = p[i - 1];
    }
    frame[n++] = c->s.seg[SEG_CS].selector;
    frame[n++] = insn_next_rip(c, u);
    stack_push_frame(c, u, &st, frame, n, g->size, st.ss.selector & 0xfffcu);
    c->s.seg[SEG_SS] = st.ss;
    c->s.seg[SEG_CS] = g->cs;
    stack_commit(c, &st);
    interp_update_mode(c);
    return resume_at(c, u, g->offset);
}

static const struct uop *far_enter(struct interp *c, const struct uop *u,
                                   const struct x86_segment *cs, uint64_t rip)
{
    c->s.seg[SEG_CS] = *cs;
    interp_update_mode(c);
    return resume_at(c, u, rip);
}

static const struct uop *far_enter_call(struct interp *c, const struct uop *u,
                                        const struct x86_segment *cs, uint64_t rip, unsigned size)
{
    uint64_t frame[] = {c->s.seg[SEG_CS].selector, insn_next_rip(c, u)};
    struct stack st = stack_current(c);
    stack_push_frame(c, u, &st, frame, 2, size, 0);
    stack_commit(c, &st);
    return far_enter(c, u, cs, rip);
}

static const struct uop *far_system(struct interp *c, const struct uop *u, uint16_t selector,
                                    uint32_t attr, enum transfer how)
{
    unsigned type = attr_type(attr);
    struct call_gate g;
    if (type == DESC_CALL || (type == DESC_CALL16 && !in_long_mode(c))) {
        check_call_gate(c, u, selector, how, &g);
        if (how == TRANSFER_JMP)
            return far_enter(c, u, &g.cs, g.offset);
        if ((g.cs.selector & SELECTOR_RPL) != c->cpl)
            return call_inner(c, u, &g);
        return far_enter_call(c, u, &g.cs, g.offset, g.size);
    }
    if (in_long_mode(c) || !(type == DESC_TASK_GATE || type == DESC_TSS || type == DESC_TSS16 ||
                             type == DESC_TSS_BUSY || type == DESC_TSS16_BUSY))
        exc_raise_selector(c, u, VEC_GP, selector);
    return task_switch_far(c, u, selector, how == TRANSFER_JMP ? TASK_JMP : TASK_CALL);
}

static const struct uop *far_transfer(struct interp *c, const struct uop *u, struct far_pointer to,
                                      enum transfer how)
{
    struct x86_segment cs = c->s.seg[SEG_CS];
    uint64_t raw = 0;
    if (!in_protected_mode(c)) {
        cs.selector = to.selector;
        cs.base = (uint32_t)to.selector << 4;
    } else {
        if (selector_is_null(to.selector))
            raise_gp0(c, u);
        if (!desc_read(c, u, to.selector, &raw, 8))
            exc_raise_selector(c, u, VEC_GP, to.selector);
        uint32_t attr = desc_attr(raw);
        if (!(attr & SEG_ATTR_S))
            return far_system(c, u, to.selector, attr, how);
        if (!attr_is_code(attr))
            exc_raise_selector(c, u, VEC_GP, to.selector);
        check_direct(c, u, to.selector, raw, &cs);
    }
    far_check_rip(c, u, &cs, to.offset);
    if (how == TRANSFER_JMP)
        return far_enter(c, u, &cs, to.offset);
    return far_enter_call(c, u, &cs, to.offset, u->opsize);
}

static struct far_pointer direct_pointer(const struct uop *u)
{
    uint64_t offset = (uint64_t)u->imm;
    return (struct far_pointer){.selector = (uint16_t)(u->src2 | u->dst << 8),
                                .offset = u->opsize == 2 ? (uint16_t)offset : (uint32_t)offset};
}

static struct far_pointer memory_pointer(struct interp *c, const struct uop *u)
{
    uint8_t image[10];
    struct far_pointer p = {0};
    unsigned bytes = u->opsize + 2u;
    lin_read(c, u, uop_lin(c, u, bytes, MMU_READ), image, bytes);
    memcpy(&p.offset, image, u->opsize);
    memcpy(&p.selector, image + u->opsize, 2);
    return p;
}

const struct uop *sys_jmp_far_direct(struct interp *c, const struct uop *u)
{
    return far_transfer(c, u, direct_pointer(u), TRANSFER_JMP);
}

const struct uop *sys_jmp_far_memory(struct interp *c, const struct uop *u)
{
    return far_transfer(c, u, memory_pointer(c, u), TRANSFER_JMP);
}

const struct uop *sys_call_far_direct(struct interp *c, const struct uop *u)
{
    return far_transfer(c, u, direct_pointer(u), TRANSFER_CALL);
}

const struct uop *sys_call_far_memory(struct interp *c, const struct uop *u)
{
    return far_transfer(c, u, memory_pointer(c, u), TRANSFER_CALL);
}

/*
 * Return to an outer level: its stack comes from this one, and the data segments lose what is not
 * theirs.
 */
static const struct uop *ret_outer(struct interp *c, const struct uop *u,
                                   const struct x86_segment *cs, uint64_t rip, struct stack *st)
{
    uint64_t v[2]; /* RSP, SS */
    struct x86_segment ss;
    stack_drop(st, (uint64_t)u->imm);
    stack_peek_frame(c, u, st, v, 2, u->opsize);
    far_check_return_stack(c, u, (uint16_t)v[1], cs, &ss);
    far_check_rip(c, u, cs, rip);
    far_commit_outer(c, cs, &ss, v[0], (uint64_t)u->imm);
    return resume_at(c, u, rip);
}

void far_commit_outer(struct interp *c, const struct x86_segment *cs, const struct x86_segment *ss,
                      uint64_t rsp, uint64_t drop)
{
    unsigned cpl = attr_dpl(ss->attr);
    c->s.seg[SEG_CS] = *cs;
    c->s.seg[SEG_SS] = *ss;
    if (cpl != c->cpl)
        seg_drop_inner(c, cpl);
    interp_update_mode(c);
    struct stack st = stack_of(c, *ss, rsp, cpl);
    stack_drop(&st, drop);
    stack_commit(c, &st);
}

const struct uop *sys_ret_far(struct interp *c, const struct uop *u)
{
    uint64_t v[2]; /* RIP, CS */
    struct stack st = stack_current(c);
    stack_peek_frame(c, u, &st, v, 2, u->opsize);
    uint16_t selector = (uint16_t)v[1];
    struct x86_segment cs = c->s.seg[SEG_CS];
    stack_drop(&st, 2u * u->opsize);
    if (in_protected_mode(c)) {
        far_check_return_code(c, u, selector, &cs);
        if ((selector & SELECTOR_RPL) > c->cpl)
            return ret_outer(c, u, &cs, v[0], &st);
    } else {
        cs.selector = selector;
        cs.base = (uint32_t)selector << 4;
    }
    far_check_rip(c, u, &cs, v[0]);
    stack_drop(&st, (uint64_t)u->imm);
    stack_commit(c, &st);
    return far_enter(c, u, &cs, v[0]);
}
