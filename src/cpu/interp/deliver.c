/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a vector to the first instruction of its handler: IVT, 16/32-bit gates and 64-bit gates (SDM
 * 2A INT n, SDM 3A 6.12 and 6.14).
 *
 * Every check and every stack write comes before the first register changes, so a nested fault
 * finds the state as it was.
 */
#include "cpu/interp/exception.h"
#include "cpu/interp/mem.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/stack.h"
#include "cpu/interp/task.h"

#define TSS32_RING_STRIDE 8
#define TSS32_ESP0        4
#define TSS16_RING_STRIDE 4
#define TSS16_SP0         2
#define TSS64_RSP0        4
#define TSS64_IST1        0x24

/* A gate of the IDT, whatever its width. */
struct gate {
    uint64_t offset;
    uint32_t attr;
    uint16_t selector;
    uint8_t ist;
};

static _Noreturn void raise_idt(struct interp *c, enum x86_vector vector, const struct event *e)
{
    exc_raise_code(c, NULL, vector, e->vector * 8u + ERROR_IDT + exc_ext(c));
}

static _Noreturn void raise_ext(struct interp *c, enum x86_vector vector)
{
    exc_raise_code(c, NULL, vector, exc_ext(c));
}

/* RFLAGS of the handler. Real mode and gates differ in what else they clear. */
static void enter_handler(struct interp *c, const struct event *e, uint64_t rip, uint64_t clear)
{
    interp_set_rflags(c, e->rflags & ~(clear | RFLAGS_TF | RFLAGS_RF));
    c->rip = rip;
}

static void deliver_real(struct interp *c, const struct event *e)
{
    struct stack st = stack_current(c);
    uint16_t ivt[2];
    uint32_t at = e->vector * 4u;
    if (at + 3 > c->s.idtr.limit)
        raise_idt(c, VEC_GP, e);
    sys_read(c, NULL, c->s.idtr.base + at, ivt, sizeof ivt);
    uint64_t frame[] = {e->rflags & 0xffff & ~(uint64_t)RFLAGS_RF, c->s.seg[SEG_CS].selector,
                        e->return_rip & 0xffff};
    stack_push_frame(c, NULL, &st, frame, 3, 2, exc_ext(c));
    stack_commit(c, &st);
    c->s.seg[SEG_CS].selector = ivt[1];
    c->s.seg[SEG_CS].base = (uint32_t)ivt[1] << 4;
    enter_handler(c, e, ivt[0], RFLAGS_IF | RFLAGS_AC);
}

/* Checks common to all modes' gates; the gate is present and may be used after it. */
static void check_gate(struct interp *c, const struct event *e, const struct gate *g)
{
    if (e->kind == EVENT_SOFT_INT && attr_dpl(g->attr) < c->cpl)
        raise_idt(c, VEC_GP, e);
    if (!(g->attr & SEG_ATTR_P))
        raise_idt(c, VEC_NP, e);
}

/* The code segment a gate leads to, and the CPL it will run at. */
static unsigned check_gate_code(struct interp *c, const struct gate *g, struct x86_segment *cs)
{
    uint64_t raw = 0;
    if (selector_is_null(g->selector))
        raise_ext(c, VEC_GP);
    if (!desc_read(c, NULL, g->selector, &raw, 8))
        exc_raise_selector(c, NULL, VEC_GP, g->selector);
    uint32_t attr = desc_attr(raw);
    if (!attr_is_code(attr) || attr_dpl(attr) > c->cpl)
        exc_raise_selector(c, NULL, VEC_GP, g->selector);
    if (in_long_mode(c) && (attr & (SEG_ATTR_L | SEG_ATTR_DB)) != SEG_ATTR_L)
        exc_raise_selector(c, NULL, VEC_GP, g->selector);
    if (!(attr & SEG_ATTR_P))
        exc_raise_selector(c, NULL, VEC_NP, g->selector);
    unsigned cpl = attr_is_conforming(attr) ? c->cpl : attr_dpl(attr);
    if ((c->s.rflags & RFLAGS_VM) && cpl != 0)
        exc_raise_selector(c, NULL, VEC_GP, g->selector);
    desc_set_type(c, NULL, g->selector, raw, SEG_TYPE_ACCESSED, 0);
    *cs = desc_to_segment(raw, (uint16_t)((g->selector & ~SELECTOR_RPL) | cpl));
    cs->attr |= SEG_TYPE_ACCESSED;
    return cpl;
}

void tss_read_stack(struct interp *c, const struct uop *u, unsigned cpl, struct stack *st)
{
    const struct x86_segment *tr = &c->s.tr;
    bool is32 = attr_type(tr->attr) >= DESC_TSS;
    uint32_t at = is32 ? TSS32_ESP0 + cpl * TSS32_RING_STRIDE : TSS16_SP0 + cpl * TSS16_RING_STRIDE;
    unsigned size = is32 ? 4 : 2;
    uint32_t sp = 0;
    uint16_t ss = 0;
    if (at + size + 1 > tr->limit)
        exc_raise_selector(c, u, VEC_TS, tr->selector);
    sys_read(c, u, tr->base + at, &sp, size);
    sys_read(c, u, tr->base + at + size, &ss, 2);
    seg_check_stack(c, u, ss, cpl, VEC_TS, &st->ss);
    *st = stack_of(c, st->ss, sp, cpl);
}

uint64_t tss_read_rsp(struct interp *c, const struct uop *u, unsigned at)
{
    uint64_t rsp;
    if (at + 7 > c->s.tr.limit)
        exc_raise_selector(c, u, VEC_TS, c->s.tr.selector);
    sys_read(c, u, c->s.tr.base + at, &rsp, sizeof rsp);
    return rsp;
}

unsigned tss_rsp_offset(unsigned cpl)
{
    return TSS64_RSP0 + cpl * 8;
}

static void deliver_long(struct interp *c, const struct event *e)
{
    uint64_t raw[2];
    uint32_t at = e->vector * 16u;
    if (at + 15 > c->s.idtr.limit)
        raise_idt(c, VEC_GP, e);
    sys_read(c, NULL, c->s.idtr.base + at, raw, sizeof raw);
    struct gate g = {.offset = (raw[0] & 0xffff) | ((raw[0] >> 32) & 0xffff0000) | raw[1] << 32,
                     .attr = desc_attr(raw[0]),
                     .selector = (uint16_t)(raw[0] >> 16),
                     .ist = (raw[0] >> 32) & 7};
    if (!attr_is_system(g.attr, DESC_INT) && !attr_is_system(g.attr, DESC_TRAP))
        raise_idt(c, VEC_GP, e);
    check_gate(c, e, &g);

    struct x86_segment cs;
    unsigned cpl = check_gate_code(c, &g, &cs);
    uint64_t rsp = c->gpr[RSP];
    if (g.ist)
        rsp = tss_read_rsp(c, NULL, TSS64_IST1 + (g.ist - 1u) * 8);
    else if (cpl != c->cpl)
        rsp = tss_read_rsp(c, NULL, tss_rsp_offset(cpl));
    rsp &= ~UINT64_C(15);
    if (!is_canonical(c, g.offset))
        raise_ext(c, VEC_GP);

    uint64_t frame[] = {e->error,  e->return_rip, c->s.seg[SEG_CS].selector,
                        e->rflags, c->gpr[RSP],   c->s.seg[SEG_SS].selector};
    unsigned skip = e->has_error ? 0 : 1;
    unsigned bytes = (unsigned)sizeof frame - skip * 8;
    if (!is_canonical(c, rsp - bytes) || !is_canonical(c, rsp - 1))
        raise_ext(c, VEC_SS);
    stack_probe_pushes(c, NULL, rsp - bytes, bytes, 8, cpl == 3);
    priv_write(c, NULL, rsp - bytes, frame + skip, bytes, cpl == 3);

    c->gpr[RSP] = rsp - bytes;
    c->s.seg[SEG_CS] = cs;
    if (cpl != c->cpl)
        c->s.seg[SEG_SS] = seg_null_stack(cpl);
    enter_handler(c, e, g.offset,
                  RFLAGS_NT | RFLAGS_VM | (attr_type(g.attr) == DESC_INT ? RFLAGS_IF : 0));
}

/* Pushes the frame of a 16- or 32-bit gate; the data segments of VM86 come first. */
static void push_gate_frame(struct interp *c, const struct event *e, struct stack *st,
                            unsigned size, bool switches, uint32_t ss_error)
{
    uint64_t frame[10];
    unsigned n = 0;
    if (c->s.rflags & RFLAGS_VM) {
        frame[n++] = c->s.seg[SEG_GS].selector;
        frame[n++] = c->s.seg[SEG_FS].selector;
        frame[n++] = c->s.seg[SEG_DS].selector;
        frame[n++] = c->s.seg[SEG_ES].selector;
    }
    if (switches) {
        frame[n++] = c->s.seg[SEG_SS].selector;
        frame[n++] = c->gpr[RSP];
    }
    frame[n++] = e->rflags;
    frame[n++] = c->s.seg[SEG_CS].selector;
    frame[n++] = e->return_rip;
    if (e->has_error)
        frame[n++] = e->error;
    stack_push_frame(c, NULL, st, frame, n, size, ss_error);
}

static void deliver_protected(struct interp *c, const struct event *e)
{
    uint64_t raw;
    uint32_t at = e->vector * 8u;
    if (at + 7 > c->s.idtr.limit)
        raise_idt(c, VEC_GP, e);
    sys_read(c, NULL, c->s.idtr.base + at, &raw, sizeof raw);
    struct gate g = {.attr = desc_attr(raw), .selector = (uint16_t)(raw >> 16)};
    unsigned type = attr_type(g.attr);
    bool is_task = type == DESC_TASK_GATE;
    bool is16 = type == DESC_INT16 || type == DESC_TRAP16;
    if ((g.attr & SEG_ATTR_S) || !(is_task || is16 || type == DESC_INT || type == DESC_TRAP))
        raise_idt(c, VEC_GP, e);
    check_gate(c, e, &g);
    if (is_task) {
        task_switch_event(c, e, g.selector);
        return;
    }
    g.offset = (raw & 0xffff) | (is16 ? 0 : (raw >> 32) & 0xffff0000);

    struct x86_segment cs;
    unsigned cpl = check_gate_code(c, &g, &cs);
    bool from_vm86 = c->s.rflags & RFLAGS_VM;
    bool switches = cpl != c->cpl;
    struct stack st = stack_current(c);
    if (switches)
        tss_read_stack(c, NULL, cpl, &st);
    if (!seg_covers(&cs, g.offset, 1))
        raise_ext(c, VEC_GP);
    push_gate_frame(c, e, &st, is16 ? 2 : 4, switches,
                    switches ? (st.ss.selector & 0xfffcu) | exc_ext(c) : exc_ext(c));

    stack_commit(c, &st);
    c->s.seg[SEG_CS] = cs;
    if (switches)
        c->s.seg[SEG_SS] = st.ss;
    if (from_vm86) {
        static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
        for (unsigned i = 0; i < sizeof data; i++)
            c->s.seg[data[i]] = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE};
    }
    bool masks = type == DESC_INT16 || type == DESC_INT;
    enter_handler(c, e, g.offset, RFLAGS_NT | RFLAGS_VM | (masks ? RFLAGS_IF : 0));
}

void deliver_event(struct interp *c, const struct event *e)
{
    if (!(c->s.cr0 & CR0_PE))
        deliver_real(c, e);
    else if (in_long_mode(c))
        deliver_long(c, e);
    else
        deliver_protected(c, e);
}
