/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/interp/io.h"

#include "cpu/interp/debug.h"
#include "cpu/interp/mem.h"
#include "cpu/interp/run.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/system.h"

#define TSS_IO_MAP_BASE 0x66
#define TSS_MIN_LIMIT   0x67

void io_check(struct interp *c, const struct uop *u, uint16_t port, unsigned bytes)
{
    uint16_t base, bits;
    unsigned mask = ((1u << bytes) - 1) << (port & 7);
    bool vm86 = c->s.rflags & RFLAGS_VM;
    if (!(c->s.cr0 & CR0_PE) || (c->cpl <= iopl(c) && !vm86))
        return;
    unsigned type = attr_type(c->s.tr.attr);
    if ((type != DESC_TSS && type != DESC_TSS_BUSY) || c->s.tr.limit < TSS_MIN_LIMIT)
        exc_raise_code(c, u, VEC_GP, 0);
    sys_read(c, u, c->s.tr.base + TSS_IO_MAP_BASE, &base, sizeof base);
    uint32_t at = base + port / 8u;
    if (at + 1 > c->s.tr.limit)
        exc_raise_code(c, u, VEC_GP, 0);
    sys_read(c, u, c->s.tr.base + at, &bits, sizeof bits);
    if (bits & mask)
        exc_raise_code(c, u, VEC_GP, 0);
}

static uint32_t port_read(struct interp *c, const struct uop *u, uint16_t port)
{
    debug_note_io(c, port, u->opsize);
    c->cur = u;
    uint32_t value = c->bus->port_in(c->bus->arg, port, u->opsize);
    c->cur = NULL;
    c->stats.exits_port_in++;
    return value;
}

static void port_write(struct interp *c, const struct uop *u, uint16_t port, uint32_t value)
{
    debug_note_io(c, port, u->opsize);
    c->cur = u;
    c->bus->port_out(c->bus->arg, port, u->opsize, value);
    c->cur = NULL;
    c->stats.exits_port_out++;
}

static const struct uop *do_in(struct interp *c, const struct uop *u, uint16_t port)
{
    io_check(c, u, port, u->opsize);
    uint32_t value = port_read(c, u, port);
    if (u->opsize == 1)
        GPR8(RAX) = (uint8_t)value;
    else if (u->opsize == 2)
        GPR16(RAX) = (uint16_t)value;
    else
        SET_GPR32(RAX, value);
    return goto_next_insn(c, u);
}

static const struct uop *do_out(struct interp *c, const struct uop *u, uint16_t port)
{
    static const uint32_t mask[] = {0, 0xff, 0xffff, 0, 0xffffffff};
    io_check(c, u, port, u->opsize);
    port_write(c, u, port, GPR32(RAX) & mask[u->opsize]);
    return goto_next_insn(c, u);
}

const struct uop *sys_in_imm(struct interp *c, const struct uop *u)
{
    return do_in(c, u, (uint8_t)u->imm);
}

const struct uop *sys_in_dx(struct interp *c, const struct uop *u)
{
    return do_in(c, u, GPR16(RDX * 8));
}

const struct uop *sys_out_imm(struct interp *c, const struct uop *u)
{
    return do_out(c, u, (uint8_t)u->imm);
}

const struct uop *sys_out_dx(struct interp *c, const struct uop *u)
{
    return do_out(c, u, GPR16(RDX * 8));
}

static uint64_t address_mask(const struct uop *u)
{
    return u->addrsize == 8 ? ~UINT64_C(0) : u->addrsize == 4 ? 0xffffffff : 0xffff;
}

/* Writes a register in the address size: 16 bits keep the rest, 32 bits clear the upper half. */
static void set_address_reg(struct interp *c, const struct uop *u, enum x86_gpr reg, uint64_t value)
{
    if (u->addrsize == 2)
        GPR16(reg * 8) = (uint16_t)value;
    else
        c->gpr[reg] = value & address_mask(u);
}

/*
 * After one element: the index register moves on, and with REP the instruction starts over (so that
 * events are seen between elements) until the count is used up.
 */
static const struct uop *step_done(struct interp *c, const struct uop *u, enum x86_gpr index)
{
    uint64_t delta = c->s.rflags & RFLAGS_DF ? -(uint64_t)u->opsize : u->opsize;
    set_address_reg(c, u, index, c->gpr[index] + delta);
    if (u->prefix & (UOP_REP | UOP_REPNE)) {
        uint64_t left = (c->gpr[RCX] - 1) & address_mask(u);
        set_address_reg(c, u, RCX, left);
        if (left) {
            c->icount++; /* nobody is to find two states at one count */
            return leave_at(c, u);
        }
    }
    return goto_next_insn(c, u);
}

static bool is_rep_of_none(const struct interp *c, const struct uop *u)
{
    return (u->prefix & (UOP_REP | UOP_REPNE)) && !(c->gpr[RCX] & address_mask(u));
}

const struct uop *sys_ins(struct interp *c, const struct uop *u)
{
    uint16_t port = GPR16(RDX * 8);
    io_check(c, u, port, u->opsize);
    if (is_rep_of_none(c, u))
        return goto_next_insn(c, u);
    uint64_t lin = seg_linear(c, u, SEG_ES, c->gpr[RDI] & address_mask(u), u->opsize, MMU_WRITE);
    lin_probe(c, u, lin, u->opsize, MMU_WRITE);
    uint32_t value = port_read(c, u, port);
    lin_write(c, u, lin, &value, u->opsize);
    return step_done(c, u, RDI);
}

const struct uop *sys_outs(struct interp *c, const struct uop *u)
{
    uint16_t port = GPR16(RDX * 8);
    uint32_t value = 0;
    io_check(c, u, port, u->opsize);
    if (is_rep_of_none(c, u))
        return goto_next_insn(c, u);
    uint64_t lin = seg_linear(c, u, u->seg, c->gpr[RSI] & address_mask(u), u->opsize, MMU_READ);
    lin_read(c, u, lin, &value, u->opsize);
    port_write(c, u, port, value);
    return step_done(c, u, RSI);
}
