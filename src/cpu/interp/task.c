/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task switch has two halves. Up to the commit every fault belongs to the old task and nothing
 * has changed; then TR and all registers are the new task's, and what is wrong with its segments
 * faults in the new task, at its first instruction (SDM 3A 7.3, steps 1 to 11 and 12).
 */
#include "cpu/interp/task.h"

#include "cpu/interp/debug.h"
#include "cpu/interp/mem.h"
#include "cpu/interp/run.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/stack.h"

#define DR7_LOCAL 0x55u
#define TSS_GPRS  8

struct tss32 {
    uint32_t link;
    uint32_t rings[6];
    uint32_t cr3, eip, eflags;
    uint32_t gpr[TSS_GPRS];
    uint32_t seg[SEG_COUNT]; /* in the order of enum x86_seg */
    uint32_t ldt;
    uint16_t trap, io_map;
};
_Static_assert(sizeof(struct tss32) == 104, "SDM 3A figure 7-2");

struct tss16 {
    uint16_t link;
    uint16_t rings[6];
    uint16_t ip, flags;
    uint16_t gpr[TSS_GPRS];
    uint16_t seg[4]; /* ES CS SS DS */
    uint16_t ldt;
};
_Static_assert(sizeof(struct tss16) == 44, "SDM 3A figure 7-10");

/* A switch in the making. */
struct task_switch {
    enum task_reason reason;
    struct x86_segment tss; /* the new one */
    uint64_t raw;           /* its descriptor */
    struct tss32 in;        /* its contents, widened when it is a 16-bit one */
    bool is32;
    uint64_t return_rip;
    uint64_t rflags; /* image to save in the old task */
    uint64_t pdpte[4];
    bool loads_cr3, bad_cr3;
};

static bool tss_is_32(const struct x86_segment *tss)
{
    return attr_type(tss->attr) >= DESC_TSS;
}

/* Names the new TSS: checks of its descriptor (SDM 3A 7.3, steps 1 to 4). */
static void check_tss(struct interp *c, const struct uop *u, uint16_t selector,
                      struct task_switch *t)
{
    bool wants_busy = t->reason == TASK_IRET;
    enum x86_vector vector = wants_busy ? VEC_TS : VEC_GP;
    if (selector_is_null(selector) || (selector & SELECTOR_TI) ||
        !desc_read(c, u, selector, &t->raw, 8))
        exc_raise_selector(c, u, vector, selector);
    uint32_t attr = desc_attr(t->raw);
    unsigned type = attr_type(attr);
    bool ok = wants_busy ? type == DESC_TSS_BUSY || type == DESC_TSS16_BUSY
                         : type == DESC_TSS || type == DESC_TSS16;
    if ((attr & SEG_ATTR_S) || !ok)
        exc_raise_selector(c, u, vector, selector);
    if (!(attr & SEG_ATTR_P))
        exc_raise_selector(c, u, VEC_NP, selector);
    t->tss = desc_to_segment(t->raw, selector);
    t->is32 = tss_is_32(&t->tss);
    if (t->tss.limit < (t->is32 ? sizeof(struct tss32) : sizeof(struct tss16)) - 1)
        exc_raise_selector(c, u, VEC_TS, selector);
}

static void read_new(struct interp *c, const struct uop *u, struct task_switch *t)
{
    struct tss16 narrow;
    sys_probe(c, u, t->tss.base, 2, MMU_WRITE); /* the link */
    if (t->is32) {
        sys_read(c, u, t->tss.base, &t->in, sizeof t->in);
        return;
    }
    sys_read(c, u, t->tss.base, &narrow, sizeof narrow);
    t->in = (struct tss32){
        .eip = narrow.ip, .eflags = narrow.flags, .ldt = narrow.ldt, .link = narrow.link};
    for (unsigned i = 0; i < TSS_GPRS; i++)
        t->in.gpr[i] = 0xffff0000u | narrow.gpr[i];
    for (unsigned i = 0; i < 4; i++)
        t->in.seg[i] = narrow.seg[i];
}

/* Writes the old task's state; all of it is probed before. */
static void save_old(struct interp *c, const struct uop *u, const struct task_switch *t)
{
    const struct x86_segment *tr = &c->s.tr;
    uint64_t flags = t->rflags;
    if (t->reason == TASK_IRET)
        flags &= ~(uint64_t)RFLAGS_NT;
    if (tss_is_32(tr)) {
        struct tss32 o;
        sys_probe(c, u, tr->base, sizeof o, MMU_WRITE);
        sys_read(c, u, tr->base, &o, sizeof o);
        o.eip = (uint32_t)t->return_rip;
        o.eflags = (uint32_t)flags;
        for (unsigned i = 0; i < TSS_GPRS; i++)
            o.gpr[i] = (uint32_t)c->gpr[i];
        for (unsigned i = 0; i < SEG_COUNT; i++)
            o.seg[i] = c->s.seg[i].selector;
        sys_write(c, u, tr->base + offsetof(struct tss32, eip), &o.eip,
                  offsetof(struct tss32, ldt) - offsetof(struct tss32, eip));
        return;
    }
    struct tss16 o;
    sys_probe(c, u, tr->base, sizeof o, MMU_WRITE);
    o.ip = (uint16_t)t->return_rip;
    o.flags = (uint16_t)flags;
    for (unsigned i = 0; i < TSS_GPRS; i++)
        o.gpr[i] = (uint16_t)c->gpr[i];
    for (unsigned i = 0; i < 4; i++)
        o.seg[i] = c->s.seg[i].selector;
    sys_write(c, u, tr->base + offsetof(struct tss16, ip), &o.ip,
              offsetof(struct tss16, ldt) - offsetof(struct tss16, ip));
}

/* Busy bits and link (SDM 3A table 7-2). */
static void mark_tasks(struct interp *c, const struct uop *u, struct task_switch *t)
{
    uint16_t old = c->s.tr.selector;
    uint64_t raw = 0;
    if (t->reason == TASK_JMP || t->reason == TASK_IRET) {
        if (desc_read(c, u, old, &raw, 8))
            desc_set_type(c, u, old, raw, 0, 2);
    } else {
        uint32_t link = old;
        sys_write(c, u, t->tss.base, &link, 2);
        t->in.eflags |= RFLAGS_NT;
    }
    if (t->reason != TASK_IRET)
        desc_set_type(c, u, t->tss.selector, t->raw, 2, 0);
}

/* CR3 of a 32-bit TSS: what has to be read for it. */
static void read_cr3(struct interp *c, const struct uop *u, struct task_switch *t)
{
    t->loads_cr3 = t->is32 && (c->s.cr0 & CR0_PG);
    if (!t->loads_cr3 || !(c->s.cr4 & CR4_PAE))
        return;
    enum mmu_pdptes answer = mmu_load_pdptes(c->mmu, t->in.cr3, t->pdpte);
    if (answer == MMU_PDPTES_HOST_ERROR)
        leave_host_error(c, u);
    t->bad_cr3 = answer == MMU_PDPTES_RESERVED;
}

static void load_cr3(struct interp *c, const struct task_switch *t)
{
    if (!t->loads_cr3)
        return;
    if (t->bad_cr3)
        exc_raise_selector(c, NULL, VEC_TS, t->tss.selector);
    memcpy(c->s.pdpte, t->pdpte, sizeof t->pdpte);
    c->s.cr3 = t->in.cr3;
    interp_update_mmu(c, MMU_SWITCH_FLUSH);
}

static void load_vm86_segments(struct interp *c)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        struct x86_segment *s = &c->s.seg[i];
        s->base = (uint32_t)s->selector << 4;
        s->limit = 0xffff;
        s->attr =
            SEG_ATTR_P | SEG_ATTR_S | 3u << SEG_ATTR_DPL_SHIFT | SEG_TYPE_RW | SEG_TYPE_ACCESSED;
    }
}

/* CS and SS of the new task; the RPL of CS is its level. */
static void load_task_code(struct interp *c)
{
    uint16_t selector = c->s.seg[SEG_CS].selector;
    unsigned cpl = selector & SELECTOR_RPL;
    uint64_t raw = 0;
    if (selector_is_null(selector) || !desc_read(c, NULL, selector, &raw, 8))
        exc_raise_selector(c, NULL, VEC_TS, selector);
    uint32_t attr = desc_attr(raw);
    if (!attr_is_code(attr) ||
        (attr_is_conforming(attr) ? attr_dpl(attr) > cpl : attr_dpl(attr) != cpl))
        exc_raise_selector(c, NULL, VEC_TS, selector);
    if (!(attr & SEG_ATTR_P))
        exc_raise_selector(c, NULL, VEC_NP, selector);
    desc_set_type(c, NULL, selector, raw, SEG_TYPE_ACCESSED, 0);
    c->s.seg[SEG_CS] = desc_to_segment(raw, selector);
    c->s.seg[SEG_CS].attr |= SEG_TYPE_ACCESSED;
    struct x86_segment ss;
    seg_check_stack(c, NULL, c->s.seg[SEG_SS].selector, cpl, VEC_TS, &ss);
    c->s.seg[SEG_SS] = ss;
    interp_update_mode(c);
}

/* A data segment of the new task: as by MOV, but wrong ones are #TS. */
static void load_task_data(struct interp *c, enum x86_seg seg)
{
    uint16_t selector = c->s.seg[seg].selector;
    uint64_t raw = 0;
    if (selector_is_null(selector))
        return;
    if (!desc_read(c, NULL, selector, &raw, 8))
        exc_raise_selector(c, NULL, VEC_TS, selector);
    uint32_t attr = desc_attr(raw);
    bool readable = (attr & SEG_ATTR_S) && (!attr_is_code(attr) || (attr & SEG_TYPE_RW));
    bool reachable = attr_is_conforming(attr) ||
                     (attr_dpl(attr) >= c->cpl && attr_dpl(attr) >= (selector & SELECTOR_RPL));
    if (!readable || !reachable)
        exc_raise_selector(c, NULL, VEC_TS, selector);
    struct x86_segment out;
    seg_check_load(c, NULL, seg, selector, &out);
    c->s.seg[seg] = out;
}

/* Registers of the new task: from here on faults are its own. */
static void commit(struct interp *c, const struct task_switch *t)
{
    unsigned cpl = t->in.seg[SEG_CS] & SELECTOR_RPL;
    c->s.tr = t->tss;
    c->s.tr.attr |= 2; /* busy */
    c->s.cr0 |= CR0_TS;
    c->s.dr[7] &= ~(uint64_t)DR7_LOCAL;
    for (unsigned i = 0; i < TSS_GPRS; i++)
        c->gpr[i] = t->in.gpr[i];
    for (unsigned i = 0; i < SEG_COUNT; i++)
        c->s.seg[i] = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE | cpl << SEG_ATTR_DPL_SHIFT,
                                           .selector = (uint16_t)t->in.seg[i]};
    c->s.ldtr = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE, .selector = (uint16_t)t->in.ldt};
    c->rip = t->in.eip;
    interp_set_rflags(c, (t->in.eflags & 0x3f7fd7u) | RFLAGS_ONE);
    load_cr3(c, t);
    interp_update_mode(c);
}

/* Its segments, from the selectors; done again from the start if it did not come to its end. */
static void load_segments(struct interp *c)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    struct x86_segment ldt;
    seg_check_ldt(c, NULL, c->s.ldtr.selector, VEC_TS, &ldt);
    c->s.ldtr = ldt;
    if (c->s.rflags & RFLAGS_VM) {
        load_vm86_segments(c);
    } else {
        load_task_code(c);
        for (unsigned i = 0; i < sizeof data; i++)
            load_task_data(c, data[i]);
    }
    interp_update_mode(c);
    if (c->rip > c->s.seg[SEG_CS].limit)
        exc_raise_code(c, NULL, VEC_GP, exc_ext(c));
}

/*
 * The second half, which the new task sees. Until its end all that is to be done lies in c->task,
 * and each part changes nothing before all its accesses have been made (exc_begin_anew).
 */
void task_go_on(struct interp *c)
{
    struct task_rest *t = &c->task;
    load_segments(c);
    if (t->has_error) {
        uint64_t error = t->error;
        struct stack st = stack_current(c);
        stack_push_frame(c, NULL, &st, &error, 1, t->is32 ? 4 : 2, exc_ext(c));
        stack_commit(c, &st);
    }
    t->waits = false;
    if (t->ends_nmi)
        c->s.nmi_blocked = false;
    if (!t->in_event)
        c->icount++;
    if (t->trap) { /* T of the new TSS: #DB before its first instruction */
        c->s.dr[6] |= DR6_BT;
        exc_deliver(c, EVENT_TRAP, VEC_DB, false, 0, c->rip);
    }
}

static void task_switch(struct interp *c, const struct uop *u, uint16_t selector,
                        struct task_switch *t, const struct event *e)
{
    check_tss(c, u, selector, t);
    read_new(c, u, t);
    read_cr3(c, u, t);
    save_old(c, u, t);
    mark_tasks(c, u, t);
    if (u) {
        c->icount += u->n - 1u;
        c->cur = NULL;
    }
    c->task = (struct task_rest){.waits = true,
                                 .in_event = e != NULL,
                                 .has_error = e && e->has_error,
                                 .error = e ? e->error : 0,
                                 .is32 = t->is32,
                                 .trap = t->is32 && (t->in.trap & 1),
                                 .ends_nmi = t->reason == TASK_IRET};
    commit(c, t);
    task_go_on(c);
}

const struct uop *task_switch_far(struct interp *c, const struct uop *u, uint16_t selector,
                                  enum task_reason reason)
{
    struct task_switch t = {
        .reason = reason, .return_rip = insn_next_rip(c, u), .rflags = interp_rflags(c)};
    uint64_t raw = 0;
    uint16_t tss = selector;
    if (!desc_read(c, u, selector, &raw, 8))
        exc_raise_selector(c, u, VEC_GP, selector);
    uint32_t attr = desc_attr(raw);
    if (attr_dpl(attr) < c->cpl || attr_dpl(attr) < (selector & SELECTOR_RPL))
        exc_raise_selector(c, u, VEC_GP, selector);
    if (attr_is_system(attr, DESC_TASK_GATE)) {
        if (!(attr & SEG_ATTR_P))
            exc_raise_selector(c, u, VEC_NP, selector);
        tss = (uint16_t)(raw >> 16);
    }
    task_switch(c, u, tss, &t, NULL);
    return NULL;
}

const struct uop *task_return(struct interp *c, const struct uop *u)
{
    struct task_switch t = {
        .reason = TASK_IRET, .return_rip = insn_next_rip(c, u), .rflags = interp_rflags(c)};
    uint16_t link;
    sys_read(c, u, c->s.tr.base, &link, sizeof link);
    task_switch(c, u, link, &t, NULL);
    return NULL;
}

void task_switch_event(struct interp *c, const struct event *e, uint16_t selector)
{
    struct task_switch t = {.reason = TASK_EVENT, .return_rip = e->return_rip, .rflags = e->rflags};
    task_switch(c, NULL, selector, &t, e);
}
