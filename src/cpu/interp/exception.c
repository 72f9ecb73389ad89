/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/interp/exception.h"

#include "cpu/interp/debug.h"
#include "cpu/interp/task.h"

_Noreturn static void raise_now(struct interp *c, const struct uop *u, struct interp_exception e)
{
    c->cur = u;
    c->exc = e;
    c->task.waits = false; /* the fault is the new task's */
    _longjmp(c->on_exception, LEAVE_RAISED);
}

void exc_raise(struct interp *c, const struct uop *u, enum x86_vector vector)
{
    raise_now(c, u, (struct interp_exception){.vector = (uint8_t)vector});
}

void exc_raise_code(struct interp *c, const struct uop *u, enum x86_vector vector, uint32_t error)
{
    struct interp_exception e = {.vector = (uint8_t)vector, .has_error = true, .error = error};
    raise_now(c, u, e);
}

void exc_raise_pf(struct interp *c, const struct uop *u, uint64_t cr2, uint32_t error)
{
    struct interp_exception e = {.vector = VEC_PF, .has_error = true, .error = error, .cr2 = cr2};
    raise_now(c, u, e);
}

static bool is_contributory(unsigned vector)
{
    return vector == VEC_DE || (vector >= VEC_TS && vector <= VEC_GP);
}

enum nesting { NEST_SERIAL, NEST_DOUBLE_FAULT, NEST_SHUTDOWN };

/* SDM 3A table 6-5: a fault while another event was being delivered. */
static enum nesting nest(const struct interp *c, unsigned second)
{
    unsigned first = c->delivering_vector;
    if (c->delivering_kind != EVENT_FAULT)
        return NEST_SERIAL;
    if (first == VEC_DF)
        return is_contributory(second) || second == VEC_PF ? NEST_SHUTDOWN : NEST_SERIAL;
    if (first == VEC_PF)
        return is_contributory(second) || second == VEC_PF ? NEST_DOUBLE_FAULT : NEST_SERIAL;
    return is_contributory(first) && is_contributory(second) ? NEST_DOUBLE_FAULT : NEST_SERIAL;
}

void exc_handle_raised(struct interp *c)
{
    const struct uop *u = c->cur;
    struct interp_exception e = c->exc;
    c->cur = NULL;
    if (u) {
        c->rip = insn_rip(c, u);
        c->icount += u->n - 1u;
    }
    if (e.vector == VEC_PF)
        c->s.cr2 = e.cr2;
    if (c->delivering) {
        switch (nest(c, e.vector)) {
        case NEST_SERIAL:
            break;
        case NEST_DOUBLE_FAULT:
            e = (struct interp_exception){.vector = VEC_DF, .has_error = true};
            break;
        case NEST_SHUTDOWN:
            c->delivering = false;
            c->shutdown = true;
            return;
        }
    }
    if (e.vector == VEC_PF)
        c->stats.page_faults++;
    exc_deliver(c, EVENT_FAULT, e.vector, e.has_error, e.error, c->rip);
}

/* What the handler of an event finds beside its registers. */
static void delivered(struct interp *c, enum event_kind kind, uint8_t vector)
{
    c->delivering = false;
    if (vector == VEC_DB && kind != EVENT_SOFT_INT && kind != EVENT_EXTERNAL)
        c->s.dr[7] &= ~(uint64_t)DR7_GD;
    interp_update_mode(c);
    if (kind != EVENT_EXTERNAL && kind != EVENT_NMI)
        c->stats.exceptions++;
    c->no_step_trap = true;
}

void exc_deliver(struct interp *c, enum event_kind kind, uint8_t vector, bool has_error,
                 uint32_t error, uint64_t return_rip)
{
    struct event e = {.kind = kind,
                      .vector = vector,
                      .has_error = has_error,
                      .error = error,
                      .return_rip = return_rip,
                      .rflags = interp_rflags(c)};
    if (kind == EVENT_FAULT)
        e.rflags |= RFLAGS_RF;
    c->s.halted = false;
    c->delivering = true;
    c->delivering_kind = (uint8_t)kind;
    c->delivering_vector = vector;
    c->delivering_has_error = has_error;
    c->delivering_error = error;
    c->delivering_return_rip = return_rip;
    deliver_event(c, &e);
    delivered(c, kind, vector);
}

/*
 * The host failed at c->cur. An instruction, u, has changed nothing and begins anew; so does the
 * delivery of an event, which nobody would raise a second time. Only a task switch has a part
 * behind it and goes on.
 */
void exc_begin_anew(struct interp *c)
{
    const struct uop *u = c->cur;

    c->cur = NULL;
    if (u) {
        c->rip = insn_rip(c, u);
        c->icount += u->n - 1u;
    }
    if (c->delivering) {
        c->event_waits = !c->task.waits;
        c->delivering = false;
    } else if (!c->task.waits && c->icount == c->turn.icount) {
        c->inhibit_irq = c->turn.inhibit_irq;
        c->inhibit_debug = c->turn.inhibit_debug;
        if (c->turn.rf)
            c->s.rflags |= RFLAGS_RF;
    }
}

void exc_resume(struct interp *c)
{
    enum event_kind kind = (enum event_kind)c->delivering_kind;
    uint8_t vector = c->delivering_vector;

    if (c->task.waits) {
        bool in_event = c->delivering = c->task.in_event;
        task_go_on(c);
        if (in_event)
            delivered(c, kind, vector);
    } else if (c->event_waits) {
        c->event_waits = false;
        exc_deliver(c, kind, vector, c->delivering_has_error, c->delivering_error,
                    c->delivering_return_rip);
    }
}
