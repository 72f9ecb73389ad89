/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The builder of the system family: which mnemonic goes to which handler with which operands. What
 * CPUID does not offer (MONITOR, VMX, SVM, SMM) is not here and so raises #UD.
 */
#include "cpu/interp/system.h"

#include "cpu/interp/decode.h"
#include "cpu/interp/run.h"
#include "cpu/interp/seg.h"
#include "cpu/x86/cpuid.h"

#define KVM_ENOSYS 1000
#define KVM_EPERM  1

#define MSR_APIC_BASE    0x1bu
#define APIC_BASE_ENABLE 0x800u
#define CPUID_EDX_APIC   (1u << 9)

/* --- handlers that belong to no other file --- */

const struct uop *sys_hlt(struct interp *c, const struct uop *u)
{
    require_cpl0(c, u);
    return leave_halted(c, u);
}

const struct uop *sys_int(struct interp *c, const struct uop *u)
{
    if ((c->s.rflags & RFLAGS_VM) && iopl(c) < 3)
        exc_raise_code(c, u, VEC_GP, 0);
    return leave_with_event(c, u, EVENT_SOFT_INT, (uint8_t)u->imm, insn_next_rip(c, u));
}

const struct uop *sys_int3(struct interp *c, const struct uop *u)
{
    return leave_with_event(c, u, EVENT_SOFT_INT, VEC_BP, insn_next_rip(c, u));
}

const struct uop *sys_into(struct interp *c, const struct uop *u)
{
    if (!(interp_rflags(c) & RFLAGS_OF))
        NEXT;
    return leave_with_event(c, u, EVENT_SOFT_INT, VEC_OF, insn_next_rip(c, u));
}

const struct uop *sys_int1(struct interp *c, const struct uop *u)
{
    return leave_with_event(c, u, EVENT_INT1, VEC_DB, insn_next_rip(c, u));
}

/* The APIC bit of leaves 1 and 0x80000001 follows the machine's enable bit (SDM 3A 10.4.3). */
static bool is_apic_disabled(struct interp *c)
{
    uint64_t base;
    return c->bus->msr_read(c->bus->arg, MSR_APIC_BASE, &base) && !(base & APIC_BASE_ENABLE);
}

const struct uop *sys_cpuid(struct interp *c, const struct uop *u)
{
    uint32_t leaf = (uint32_t)c->gpr[RAX];
    struct cpuid_regs r = x86_cpuid(&c->s, leaf, (uint32_t)c->gpr[RCX], &c->identity);
    if ((leaf == 1 || leaf == 0x80000001) && is_apic_disabled(c))
        r.edx &= ~CPUID_EDX_APIC;
    c->gpr[RAX] = r.eax;
    c->gpr[RBX] = r.ebx;
    c->gpr[RCX] = r.ecx;
    c->gpr[RDX] = r.edx;
    NEXT;
}

/* VMCALL, VMMCALL: the KVM interface that CPUID shows, without any hypercall behind it. */
const struct uop *sys_hypercall(struct interp *c, const struct uop *u)
{
    int64_t answer = c->cpl == 0 ? -KVM_ENOSYS : -KVM_EPERM;
    c->gpr[RAX] = c->mode == CODE_64 ? (uint64_t)answer : (uint32_t)answer;
    NEXT;
}

/* INVD, WBINVD: guest memory is always coherent. */
const struct uop *sys_wbinvd(struct interp *c, const struct uop *u)
{
    require_cpl0(c, u);
    NEXT;
}

/* --- builder --- */

static bool is_reg_class(const ZydisDecodedOperand *op, ZydisRegister first, ZydisRegister last)
{
    return op->type == ZYDIS_OPERAND_TYPE_REGISTER && op->reg.value >= first &&
           op->reg.value <= last;
}

static bool is_sreg(const ZydisDecodedOperand *op)
{
    return is_reg_class(op, ZYDIS_REGISTER_ES, ZYDIS_REGISTER_GS);
}

_Static_assert(ZYDIS_REGISTER_CS - ZYDIS_REGISTER_ES == SEG_CS &&
                   ZYDIS_REGISTER_SS - ZYDIS_REGISTER_ES == SEG_SS &&
                   ZYDIS_REGISTER_DS - ZYDIS_REGISTER_ES == SEG_DS &&
                   ZYDIS_REGISTER_GS - ZYDIS_REGISTER_ES == SEG_GS,
               "Zydis and the SDM number segment registers alike");

static uint8_t sreg_number(const ZydisDecodedOperand *op)
{
    return (uint8_t)(op->reg.value - ZYDIS_REGISTER_ES);
}

static bool with(struct uop *u, uop_fn *fn)
{
    u->fn = fn;
    return true;
}

/* The handler always leaves the block. */
static bool ending(struct dec *d, struct uop *u, uop_fn *fn)
{
    d->ends_block = true;
    return with(u, fn);
}

/* op[i] is an r/m operand: memory, or a register into *reg. */
static void take_rm(const struct dec *d, struct uop *u, unsigned i, uint8_t *reg)
{
    if (d->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY) {
        u->cond = OPERAND_MEMORY;
        return;
    }
    *reg = dec_gpr(d->op[i].reg.value);
    u->opsize = (uint8_t)(d->op[i].size / 8);
}

static bool build_src_rm(struct dec *d, struct uop *u, uop_fn *fn)
{
    take_rm(d, u, 0, &u->src);
    return with(u, fn);
}

static bool build_dst_rm(struct dec *d, struct uop *u, uop_fn *fn)
{
    take_rm(d, u, 0, &u->dst);
    return with(u, fn);
}

static bool build_mov(struct dec *d, struct uop *u)
{
    const ZydisDecodedOperand *dst = &d->op[0], *src = &d->op[1];
    if (is_sreg(dst)) {
        u->dst = sreg_number(dst);
        take_rm(d, u, 1, &u->src);
        return u->dst != SEG_CS && with(u, sys_mov_to_sreg);
    }
    if (is_sreg(src)) {
        u->src = sreg_number(src);
        take_rm(d, u, 0, &u->dst);
        return with(u, sys_mov_from_sreg);
    }
    if (is_reg_class(dst, ZYDIS_REGISTER_CR0, ZYDIS_REGISTER_CR15)) {
        u->imm = dst->reg.value - ZYDIS_REGISTER_CR0;
        u->src = dec_gpr(src->reg.value);
        return ending(d, u, sys_mov_to_cr);
    }
    if (is_reg_class(src, ZYDIS_REGISTER_CR0, ZYDIS_REGISTER_CR15)) {
        u->imm = src->reg.value - ZYDIS_REGISTER_CR0;
        u->dst = dec_gpr(dst->reg.value);
        return with(u, sys_mov_from_cr);
    }
    if (is_reg_class(dst, ZYDIS_REGISTER_DR0, ZYDIS_REGISTER_DR7)) {
        u->imm = dst->reg.value - ZYDIS_REGISTER_DR0;
        u->src = dec_gpr(src->reg.value);
        return ending(d, u, sys_mov_to_dr);
    }
    if (is_reg_class(src, ZYDIS_REGISTER_DR0, ZYDIS_REGISTER_DR7)) {
        u->imm = src->reg.value - ZYDIS_REGISTER_DR0;
        u->dst = dec_gpr(dst->reg.value);
        return with(u, sys_mov_from_dr);
    }
    return false;
}

static bool build_push_pop(struct dec *d, struct uop *u, bool is_push)
{
    if (!is_sreg(&d->op[0]))
        return false;
    u->seg = SEG_SS;
    if (is_push) {
        u->src = sreg_number(&d->op[0]);
        return with(u, sys_push_sreg);
    }
    u->dst = sreg_number(&d->op[0]);
    return with(u, sys_pop_sreg);
}

static bool build_load_far(struct dec *d, struct uop *u, enum x86_seg seg)
{
    u->dst = dec_gpr(d->op[0].reg.value);
    u->src = (uint8_t)seg;
    return with(u, sys_load_far);
}

/* Far JMP or CALL. */
static bool build_far(struct dec *d, struct uop *u, uop_fn *direct, uop_fn *memory)
{
    if (d->i.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR)
        return false;
    if (d->op[0].type != ZYDIS_OPERAND_TYPE_POINTER)
        return ending(d, u, memory);
    u->imm = d->op[0].ptr.offset;
    u->src2 = d->op[0].ptr.segment & 0xff;
    u->dst = d->op[0].ptr.segment >> 8;
    return ending(d, u, direct);
}

static bool build_ret_far(struct dec *d, struct uop *u)
{
    if (d->i.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR)
        return false;
    u->imm = d->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && d->ops
                 ? (uint16_t)d->op[0].imm.value.u
                 : 0;
    u->seg = SEG_SS;
    return ending(d, u, sys_ret_far);
}

/* Stack instructions whose size is in the mnemonic. */
static bool build_sized(struct uop *u, uop_fn *fn, uint8_t size)
{
    u->opsize = size;
    u->seg = SEG_SS;
    return with(u, fn);
}

static bool build_iret(struct dec *d, struct uop *u, uint8_t size)
{
    d->ends_block = true;
    return build_sized(u, sys_iret, size);
}

static uint8_t io_bytes(const struct dec *d)
{
    if (!(d->i.opcode & 1))
        return 1;
    return d->i.operand_width == 16 ? 2 : 4;
}

/* IN and OUT: opcodes E4..E7 have the port in the instruction, EC..EF in DX. */
static bool build_in_out(struct dec *d, struct uop *u, uop_fn *by_imm, uop_fn *by_dx)
{
    u->opsize = io_bytes(d);
    return ending(d, u, d->i.opcode & 8 ? by_dx : by_imm);
}

static bool build_string_io(struct dec *d, struct uop *u, uop_fn *fn)
{
    u->opsize = io_bytes(d);
    u->seg = SEG_DS;
    for (unsigned i = 0; i < d->i.operand_count; i++)
        if (d->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
            u->seg = (uint8_t)(d->op[i].mem.segment - ZYDIS_REGISTER_ES);
    return ending(d, u, fn);
}

static bool build_table(struct dec *d, struct uop *u, uop_fn *fn)
{
    u->opsize = d->mode != CODE_64 && d->i.operand_width == 16 ? 2 : 8;
    return with(u, fn);
}

static bool build_segment_base(struct dec *d, struct uop *u, uop_fn *fn, enum x86_seg seg)
{
    if (d->mode != CODE_64)
        return false;
    u->dst = u->src = dec_gpr(d->op[0].reg.value);
    u->opsize = (uint8_t)(d->op[0].size / 8);
    u->cond = (uint8_t)seg;
    return with(u, fn);
}

/* SYSRET, SYSEXIT: REX.W returns to 64-bit code. */
static bool build_fast_return(struct dec *d, struct uop *u, uop_fn *fn)
{
    u->opsize = (d->i.attributes & ZYDIS_ATTRIB_HAS_REX) && d->i.raw.rex.W ? 8 : 4;
    return ending(d, u, fn);
}

/* LAR, LSL */
static bool build_ask(struct dec *d, struct uop *u, uop_fn *fn)
{
    u->dst = dec_gpr(d->op[0].reg.value);
    take_rm(d, u, 1, &u->src);
    u->opsize = (uint8_t)(d->op[0].size / 8);
    return with(u, fn);
}

static bool build_arpl(struct dec *d, struct uop *u)
{
    take_rm(d, u, 0, &u->dst);
    u->src = dec_gpr(d->op[1].reg.value);
    return with(u, sys_arpl);
}

static bool build_segments(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        return build_mov(d, u);
    case ZYDIS_MNEMONIC_PUSH:
        return build_push_pop(d, u, true);
    case ZYDIS_MNEMONIC_POP:
        return build_push_pop(d, u, false);
    case ZYDIS_MNEMONIC_LDS:
        return build_load_far(d, u, SEG_DS);
    case ZYDIS_MNEMONIC_LES:
        return build_load_far(d, u, SEG_ES);
    case ZYDIS_MNEMONIC_LFS:
        return build_load_far(d, u, SEG_FS);
    case ZYDIS_MNEMONIC_LGS:
        return build_load_far(d, u, SEG_GS);
    case ZYDIS_MNEMONIC_LSS:
        return build_load_far(d, u, SEG_SS);
    case ZYDIS_MNEMONIC_LGDT:
        return build_table(d, u, sys_lgdt);
    case ZYDIS_MNEMONIC_LIDT:
        return build_table(d, u, sys_lidt);
    case ZYDIS_MNEMONIC_SGDT:
        return build_table(d, u, sys_sgdt);
    case ZYDIS_MNEMONIC_SIDT:
        return build_table(d, u, sys_sidt);
    case ZYDIS_MNEMONIC_LLDT:
        return build_src_rm(d, u, sys_lldt);
    case ZYDIS_MNEMONIC_LTR:
        return build_src_rm(d, u, sys_ltr);
    case ZYDIS_MNEMONIC_SLDT:
        return build_dst_rm(d, u, sys_sldt);
    case ZYDIS_MNEMONIC_STR:
        return build_dst_rm(d, u, sys_str);
    case ZYDIS_MNEMONIC_LAR:
        return build_ask(d, u, sys_lar);
    case ZYDIS_MNEMONIC_LSL:
        return build_ask(d, u, sys_lsl);
    case ZYDIS_MNEMONIC_VERR:
        return build_src_rm(d, u, sys_verr);
    case ZYDIS_MNEMONIC_VERW:
        return build_src_rm(d, u, sys_verw);
    case ZYDIS_MNEMONIC_ARPL:
        return build_arpl(d, u);
    case ZYDIS_MNEMONIC_RDFSBASE:
        return build_segment_base(d, u, sys_rdfsbase, SEG_FS);
    case ZYDIS_MNEMONIC_RDGSBASE:
        return build_segment_base(d, u, sys_rdfsbase, SEG_GS);
    case ZYDIS_MNEMONIC_WRFSBASE:
        return build_segment_base(d, u, sys_wrfsbase, SEG_FS);
    case ZYDIS_MNEMONIC_WRGSBASE:
        return build_segment_base(d, u, sys_wrfsbase, SEG_GS);
    case ZYDIS_MNEMONIC_SWAPGS:
        return with(u, sys_swapgs);
    default:
        return false;
    }
}

static bool build_transfers(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
        return build_far(d, u, sys_jmp_far_direct, sys_jmp_far_memory);
    case ZYDIS_MNEMONIC_CALL:
        return build_far(d, u, sys_call_far_direct, sys_call_far_memory);
    case ZYDIS_MNEMONIC_RET:
        return build_ret_far(d, u);
    case ZYDIS_MNEMONIC_IRET:
        return build_iret(d, u, 2);
    case ZYDIS_MNEMONIC_IRETD:
        return build_iret(d, u, 4);
    case ZYDIS_MNEMONIC_IRETQ:
        return build_iret(d, u, 8);
    case ZYDIS_MNEMONIC_INT:
        u->imm = (uint8_t)d->op[0].imm.value.u;
        return ending(d, u, sys_int);
    case ZYDIS_MNEMONIC_INT3:
        return ending(d, u, sys_int3);
    case ZYDIS_MNEMONIC_INT1:
        return ending(d, u, sys_int1);
    case ZYDIS_MNEMONIC_INTO:
        return with(u, sys_into);
    case ZYDIS_MNEMONIC_SYSCALL:
        return ending(d, u, sys_syscall);
    case ZYDIS_MNEMONIC_SYSRET:
        return build_fast_return(d, u, sys_sysret);
    case ZYDIS_MNEMONIC_SYSENTER:
        return ending(d, u, sys_sysenter);
    case ZYDIS_MNEMONIC_SYSEXIT:
        return build_fast_return(d, u, sys_sysexit);
    case ZYDIS_MNEMONIC_HLT:
        return ending(d, u, sys_hlt);
    default:
        return false;
    }
}

static bool build_io(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_IN:
        return build_in_out(d, u, sys_in_imm, sys_in_dx);
    case ZYDIS_MNEMONIC_OUT:
        return build_in_out(d, u, sys_out_imm, sys_out_dx);
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
        return build_string_io(d, u, sys_ins);
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
        return build_string_io(d, u, sys_outs);
    default:
        return false;
    }
}

static bool build_registers(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_PUSHF:
        return build_sized(u, sys_pushf, 2);
    case ZYDIS_MNEMONIC_PUSHFD:
        return build_sized(u, sys_pushf, 4);
    case ZYDIS_MNEMONIC_PUSHFQ:
        return build_sized(u, sys_pushf, 8);
    case ZYDIS_MNEMONIC_POPF:
        return build_sized(u, sys_popf, 2);
    case ZYDIS_MNEMONIC_POPFD:
        return build_sized(u, sys_popf, 4);
    case ZYDIS_MNEMONIC_POPFQ:
        return build_sized(u, sys_popf, 8);
    case ZYDIS_MNEMONIC_CLI:
        return with(u, sys_cli);
    case ZYDIS_MNEMONIC_STI:
        return with(u, sys_sti);
    case ZYDIS_MNEMONIC_STAC:
        return with(u, sys_stac);
    case ZYDIS_MNEMONIC_CLAC:
        return with(u, sys_clac);
    case ZYDIS_MNEMONIC_RDPKRU:
        return with(u, sys_rdpkru);
    case ZYDIS_MNEMONIC_WRPKRU:
        return ending(d, u, sys_wrpkru);
    case ZYDIS_MNEMONIC_CLTS:
        return ending(d, u, sys_clts);
    case ZYDIS_MNEMONIC_LMSW:
        d->ends_block = true;
        return build_src_rm(d, u, sys_lmsw);
    case ZYDIS_MNEMONIC_SMSW:
        return build_dst_rm(d, u, sys_smsw);
    case ZYDIS_MNEMONIC_INVLPG:
        return ending(d, u, sys_invlpg);
    case ZYDIS_MNEMONIC_INVPCID:
        u->src = dec_gpr(d->op[0].reg.value);
        return ending(d, u, sys_invpcid);
    case ZYDIS_MNEMONIC_INVD:
    case ZYDIS_MNEMONIC_WBINVD:
        return with(u, sys_wbinvd);
    case ZYDIS_MNEMONIC_RDMSR:
        return with(u, sys_rdmsr);
    case ZYDIS_MNEMONIC_WRMSR:
        return ending(d, u, sys_wrmsr);
    case ZYDIS_MNEMONIC_RDTSC:
        return with(u, sys_rdtsc);
    case ZYDIS_MNEMONIC_RDTSCP:
        return with(u, sys_rdtscp);
    case ZYDIS_MNEMONIC_RDPMC:
        return with(u, sys_rdpmc);
    case ZYDIS_MNEMONIC_RDPID:
        u->dst = dec_gpr(d->op[0].reg.value);
        return with(u, sys_rdpid);
    case ZYDIS_MNEMONIC_CPUID:
        return with(u, sys_cpuid);
    case ZYDIS_MNEMONIC_VMCALL:
    case ZYDIS_MNEMONIC_VMMCALL:
        return with(u, sys_hypercall);
    default:
        return false;
    }
}

bool build_system(struct dec *d, struct uop *u)
{
    return build_segments(d, u) || build_transfers(d, u) || build_io(d, u) || build_registers(d, u);
}
