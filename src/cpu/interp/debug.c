/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/interp/debug.h"

#include "cpu/interp/exception.h"
#include "cpu/interp/system.h"

#define BREAKPOINTS  4
#define RW_EXECUTE   0
#define RW_IO        2
#define DR6_WRITABLE UINT64_C(0xe00f)
#define DR7_WRITABLE UINT64_C(0xffff23ff)

static bool is_enabled(const struct interp *c, unsigned i)
{
    return (c->s.dr[7] >> (2 * i)) & 3;
}

static unsigned kind_of(const struct interp *c, unsigned i)
{
    return (c->s.dr[7] >> (16 + 4 * i)) & 3;
}

static unsigned length_of(const struct interp *c, unsigned i)
{
    static const uint8_t length[] = {1, 2, 8, 4};
    return length[(c->s.dr[7] >> (18 + 4 * i)) & 3];
}

void debug_note_io(struct interp *c, uint16_t port, unsigned bytes)
{
    if (!debug_has_breakpoints(c) || !(c->s.cr4 & CR4_DE))
        return;
    for (unsigned i = 0; i < BREAKPOINTS; i++) {
        unsigned len = length_of(c, i);
        uint64_t at = c->s.dr[i] & ~(uint64_t)(len - 1);
        if (is_enabled(c, i) && kind_of(c, i) == RW_IO && port < at + len &&
            at < (uint64_t)port + bytes)
            c->dr6_pending |= UINT64_C(1) << i;
    }
}

/*
 * Not EVENT_FAULT even before an instruction: a code breakpoint pushes RF as it is (SDM
 * 3B 17.3.1.1).
 */
static void deliver_debug(struct interp *c, uint64_t why)
{
    c->s.dr[6] = (c->s.dr[6] & ~(uint64_t)DR6_B) | why;
    exc_deliver(c, EVENT_TRAP, VEC_DB, false, 0, c->rip);
}

bool debug_before_insn(struct interp *c)
{
    uint64_t hit = 0;
    uint64_t lin = c->mode == CODE_64 ? c->rip : (uint32_t)(c->rip + c->s.seg[SEG_CS].base);
    bool inhibited = c->inhibit_debug;
    c->inhibit_debug = false;
    c->no_step_trap = false;
    if (!inhibited) { /* what the instruction before met still waits otherwise */
        c->dr6_pending = 0;
        for (unsigned i = 0; i < BREAKPOINTS; i++)
            if (is_enabled(c, i) && kind_of(c, i) == RW_EXECUTE && c->s.dr[i] == lin)
                hit |= UINT64_C(1) << i;
        if (hit && !(c->s.rflags & RFLAGS_RF)) {
            deliver_debug(c, hit);
            return true;
        }
    }
    c->s.rflags &= ~(uint64_t)RFLAGS_RF;
    return false;
}

void debug_after_insn(struct interp *c, bool tf)
{
    uint64_t why = c->dr6_pending;
    if (c->inhibit_debug)
        return;
    if (tf && !c->no_step_trap)
        why |= DR6_BS;
    c->dr6_pending = 0;
    if (why)
        deliver_debug(c, why);
}

void debug_after_step_elsewhere(struct interp *c)
{
    c->inhibit_debug = false;
    c->no_step_trap = false;
    c->dr6_pending = 0;
    debug_after_insn(c, true);
}

/* The register meant, after the checks common to both directions. */
static unsigned check_access(struct interp *c, const struct uop *u)
{
    unsigned n = (unsigned)u->imm;
    if (n == 4 || n == 5) {
        if (c->s.cr4 & CR4_DE)
            exc_raise(c, u, VEC_UD);
        n += 2;
    }
    require_cpl0(c, u);
    if (c->s.dr[7] & DR7_GD) {
        c->s.dr[6] = (c->s.dr[6] & ~(uint64_t)DR6_B) | DR6_BD;
        exc_raise(c, u, VEC_DB);
    }
    return n;
}

const struct uop *sys_mov_from_dr(struct interp *c, const struct uop *u)
{
    uint64_t value = c->s.dr[check_access(c, u)];
    GPR64(u->dst) = c->mode == CODE_64 ? value : (uint32_t)value;
    NEXT;
}

const struct uop *sys_mov_to_dr(struct interp *c, const struct uop *u)
{
    uint64_t value = c->mode == CODE_64 ? GPR64(u->src) : GPR32(u->src);
    uint64_t next = insn_next_rip(c, u);
    unsigned n = check_access(c, u);
    if (n >= 6 && value >> 32)
        exc_raise_code(c, u, VEC_GP, 0);
    if (n == 6)
        value = (value & DR6_WRITABLE) | DR6_ONE;
    else if (n == 7)
        value = (value & DR7_WRITABLE) | DR7_ONE;
    c->s.dr[n] = value;
    interp_update_mode(c);
    return leave_to(c, u, next);
}
