/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fast system calls. SYSCALL works in compatibility and legacy protected mode too, as on the AMD
 * CPU that CPUID names; SYSENTER works in long mode too, as Intel has it (SDM 2B; AMD APM 3).
 */
#include "cpu/interp/run.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/system.h"

#define SYSRET_FLAGS UINT64_C(0x3c7fd7)

enum code_width { CODE_WIDTH_32, CODE_WIDTH_64 };

/* Flat segments without reading a descriptor; the RPL becomes dpl. */
static void load_flat(struct interp *c, uint16_t cs, uint16_t ss, unsigned dpl,
                      enum code_width width)
{
    uint32_t common = SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_G | dpl << SEG_ATTR_DPL_SHIFT;
    c->s.seg[SEG_CS] = (struct x86_segment){
        .limit = 0xffffffff,
        .attr = common | SEG_TYPE_CODE | SEG_TYPE_RW | SEG_TYPE_ACCESSED |
                (width == CODE_WIDTH_64 ? SEG_ATTR_L : SEG_ATTR_DB),
        .selector = (uint16_t)((cs & ~SELECTOR_RPL) | dpl),
    };
    c->s.seg[SEG_SS] = (struct x86_segment){
        .limit = 0xffffffff,
        .attr = common | SEG_TYPE_RW | SEG_TYPE_ACCESSED | SEG_ATTR_DB,
        .selector = (uint16_t)((ss & ~SELECTOR_RPL) | dpl),
    };
}

const struct uop *sys_syscall(struct interp *c, const struct uop *u)
{
    uint16_t cs = (uint16_t)(c->s.star >> 32);
    uint64_t next = insn_next_rip(c, u);
    uint64_t target = (uint32_t)c->s.star;
    if (!(c->s.efer & EFER_SCE) || !in_protected_mode(c))
        exc_raise(c, u, VEC_UD);
    if (in_long_mode(c)) {
        target = c->mode == CODE_64 ? c->s.lstar : c->s.cstar;
        c->gpr[RCX] = next;
        c->gpr[R11] = interp_rflags(c);
        interp_set_rflags(c, c->gpr[R11] & ~(c->s.sfmask | RFLAGS_RF));
        load_flat(c, cs, (uint16_t)(cs + 8), 0, CODE_WIDTH_64);
    } else {
        c->gpr[RCX] = (uint32_t)next;
        interp_set_rflags(c, interp_rflags(c) & ~(uint64_t)(RFLAGS_IF | RFLAGS_RF));
        load_flat(c, cs, (uint16_t)(cs + 8), 0, CODE_WIDTH_32);
    }
    /* The single-step trap goes by the new TF: a masked one does not trap in the kernel. */
    c->no_step_trap = !(c->s.rflags & RFLAGS_TF);
    interp_update_mode(c);
    return resume_at(c, u, target);
}

const struct uop *sys_sysret(struct interp *c, const struct uop *u)
{
    uint16_t selector = (uint16_t)(c->s.star >> 48);
    bool to64 = u->opsize == 8;
    if (!(c->s.efer & EFER_SCE) || !in_protected_mode(c))
        exc_raise(c, u, VEC_UD);
    require_cpl0(c, u);
    uint64_t target = to64 ? c->gpr[RCX] : (uint32_t)c->gpr[RCX];
    if (to64 && !is_canonical(c, target))
        exc_raise_code(c, u, VEC_GP, 0);
    if (in_long_mode(c))
        interp_set_rflags(c, (c->gpr[R11] & SYSRET_FLAGS) | RFLAGS_ONE);
    else
        c->s.rflags |= RFLAGS_IF;
    load_flat(c, (uint16_t)(selector + (to64 ? 16 : 0)), (uint16_t)(selector + 8), 3,
              to64 ? CODE_WIDTH_64 : CODE_WIDTH_32);
    interp_update_mode(c);
    return resume_at(c, u, target);
}

const struct uop *sys_sysenter(struct interp *c, const struct uop *u)
{
    uint16_t cs = (uint16_t)c->s.sysenter_cs;
    bool to64 = in_long_mode(c);
    if (!(c->s.cr0 & CR0_PE) || selector_is_null(cs))
        exc_raise_code(c, u, VEC_GP, 0);
    c->s.rflags &= ~(uint64_t)(RFLAGS_VM | RFLAGS_IF | RFLAGS_RF);
    load_flat(c, cs, (uint16_t)(cs + 8), 0, to64 ? CODE_WIDTH_64 : CODE_WIDTH_32);
    c->gpr[RSP] = to64 ? c->s.sysenter_esp : (uint32_t)c->s.sysenter_esp;
    interp_update_mode(c);
    return resume_at(c, u, to64 ? c->s.sysenter_eip : (uint32_t)c->s.sysenter_eip);
}

const struct uop *sys_sysexit(struct interp *c, const struct uop *u)
{
    uint16_t cs = (uint16_t)c->s.sysenter_cs;
    bool to64 = u->opsize == 8;
    uint64_t rip = to64 ? c->gpr[RDX] : (uint32_t)c->gpr[RDX];
    uint64_t rsp = to64 ? c->gpr[RCX] : (uint32_t)c->gpr[RCX];
    if (!(c->s.cr0 & CR0_PE) || selector_is_null(cs) || c->cpl != 0 ||
        (to64 && (!is_canonical(c, rip) || !is_canonical(c, rsp))))
        exc_raise_code(c, u, VEC_GP, 0);
    load_flat(c, (uint16_t)(cs + (to64 ? 32 : 16)), (uint16_t)(cs + (to64 ? 40 : 24)), 3,
              to64 ? CODE_WIDTH_64 : CODE_WIDTH_32);
    c->gpr[RSP] = rsp;
    interp_update_mode(c);
    return resume_at(c, u, rip);
}
