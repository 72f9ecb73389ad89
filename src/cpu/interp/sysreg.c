/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control registers: what may be written (SDM 3A 2.5, SDM 2B MOV CR), and what follows for mode,
 * views and MMU.
 */
#include "cpu/interp/mem.h"
#include "cpu/interp/run.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/system.h"
#include "cpu/x86/cpuid.h"

#define CR0_DEFINED                                                                                \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |     \
     CR0_PG)
#define CR0_MMU    (CR0_PG | CR0_WP)
#define CR0_PDPTES (CR0_PG | CR0_CD | CR0_NW)
/* What every CPU of ours offers; more by its features. */
#define CR4_ALWAYS                                                                                 \
    (CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT |      \
     CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE)
#define CR4_MMU                                                                                    \
    (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_LA57)
#define CR4_PDPTES   (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP)
#define CR3_NO_FLUSH (UINT64_C(1) << 63)
#define CR3_PCID     UINT64_C(0xfff)
#define EFER_AIBRSE  UINT64_C(0x200000)
#define EFER_DEFINED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_AIBRSE)
#define MSW_BITS     (CR0_PE | CR0_MP | CR0_EM | CR0_TS)

static bool is_full_flat(const struct x86_segment *s)
{
    return s->base == 0 && s->limit == 0xffffffff && !(s->attr & SEG_ATTR_UNUSABLE);
}

static bool is_flat_data(const struct x86_segment *s)
{
    return is_full_flat(s) &&
           (s->attr & (SEG_TYPE_CODE | SEG_TYPE_EXPAND | SEG_TYPE_RW)) == SEG_TYPE_RW;
}

void interp_update_mode(struct interp *c)
{
    const struct x86_segment *cs = &c->s.seg[SEG_CS];
    if (c->s.cr0 & CR0_PE)
        c->cpl = (uint8_t)attr_dpl(c->s.seg[SEG_SS].attr);
    else
        c->cpl = 0;
    if (in_long_mode(c) && (cs->attr & SEG_ATTR_L))
        c->mode = CODE_64;
    else
        c->mode = cs->attr & SEG_ATTR_DB ? CODE_32 : CODE_16;
    c->flat =
        c->mode == CODE_64 || (is_full_flat(cs) && is_flat_data(&c->s.seg[SEG_SS]) &&
                               is_flat_data(&c->s.seg[SEG_DS]) && is_flat_data(&c->s.seg[SEG_ES]));
    c->cs_limited = c->mode != CODE_64 && cs->limit != 0xffffffff;
    c->slow_step = (c->s.rflags & RFLAGS_TF) || (c->s.dr[7] & 0xff);
    c->canonical_shift = c->s.cr4 & CR4_LA57 ? CANONICAL_SHIFT_57 : CANONICAL_SHIFT_48;
    tlb_update_views(c);
}

void interp_update_mmu(struct interp *c, enum mmu_switch how)
{
    struct mmu_context ctx = {
        .cr0 = c->s.cr0, .cr3 = c->s.cr3, .cr4 = c->s.cr4, .efer = c->s.efer, .pkru = c->s.pkru};
    memcpy(ctx.pdpte, c->s.pdpte, sizeof ctx.pdpte);
    mmu_set_context(c->mmu, &ctx, how);
    tlb_update_views(c);
}

static _Noreturn void raise_gp0(struct interp *c, const struct uop *u)
{
    exc_raise_code(c, u, VEC_GP, 0);
}

/* PAE paging with these control registers: the PDPTEs at cr3 into c->s.pdpte, or #GP(0). */
static void load_pdptes(struct interp *c, const struct uop *u, uint64_t cr3)
{
    switch (mmu_load_pdptes(c->mmu, cr3, c->s.pdpte)) {
    case MMU_PDPTES_OK:
        return;
    case MMU_PDPTES_RESERVED:
        raise_gp0(c, u);
    case MMU_PDPTES_HOST_ERROR:
        leave_host_error(c, u);
    }
}

static bool is_pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

static void check_cr0(struct interp *c, const struct uop *u, uint64_t value)
{
    bool pg = value & CR0_PG;
    bool was_pg = c->s.cr0 & CR0_PG;
    const struct x86_segment *cs = &c->s.seg[SEG_CS];
    if (value >> 32 || (pg && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
        raise_gp0(c, u);
    if (pg && !was_pg && (c->s.efer & EFER_LME)) {
        bool tss16 =
            attr_type(c->s.tr.attr) == DESC_TSS16_BUSY || attr_type(c->s.tr.attr) == DESC_TSS16;
        if (!(c->s.cr4 & CR4_PAE) || (cs->attr & SEG_ATTR_L) || (tss16 && c->s.tr.selector))
            raise_gp0(c, u);
    }
    if (!pg && was_pg && (c->mode == CODE_64 || (c->s.cr4 & CR4_PCIDE)))
        raise_gp0(c, u);
}

static void cr0_write(struct interp *c, const struct uop *u, uint64_t value)
{
    uint64_t efer = c->s.efer;
    check_cr0(c, u, value);
    value = (value & CR0_DEFINED) | CR0_ET;
    uint64_t changed = value ^ c->s.cr0;
    if (changed & CR0_PG) {
        efer &= ~(uint64_t)EFER_LMA;
        if ((value & CR0_PG) && (efer & EFER_LME))
            efer |= EFER_LMA;
    }
    if ((changed & CR0_PDPTES) && is_pae_paging(value, c->s.cr4, efer))
        load_pdptes(c, u, c->s.cr3);
    c->s.cr0 = value;
    c->s.efer = efer;
    if (changed & CR0_MMU)
        interp_update_mmu(c, MMU_SWITCH_FLUSH_ALL);
    interp_update_mode(c);
}

static void cr3_write(struct interp *c, const struct uop *u, uint64_t value)
{
    enum mmu_switch how = MMU_SWITCH_FLUSH;
    if (in_long_mode(c)) {
        if ((c->s.cr4 & CR4_PCIDE) && (value & CR3_NO_FLUSH)) {
            how = MMU_SWITCH_KEEP;
            value &= ~CR3_NO_FLUSH;
        }
        if (value >> CPUID_MAXPHYADDR)
            raise_gp0(c, u);
    } else {
        value = (uint32_t)value;
        if (is_pae_paging(c->s.cr0, c->s.cr4, c->s.efer))
            load_pdptes(c, u, value);
    }
    c->s.cr3 = value;
    interp_update_mmu(c, how);
}

static uint64_t cr4_defined(const struct interp *c)
{
    static const struct {
        uint32_t feature, bit;
    } by_feature[] = {{CPU_FEATURE_SMEP, CR4_SMEP},
                      {CPU_FEATURE_SMAP, CR4_SMAP},
                      {CPU_FEATURE_UMIP, CR4_UMIP},
                      {CPU_FEATURE_PKU, CR4_PKE},
                      {CPU_FEATURE_LA57, CR4_LA57}};
    uint64_t bits = CR4_ALWAYS;
    for (unsigned i = 0; i < sizeof by_feature / sizeof by_feature[0]; i++)
        if (c->identity.features & by_feature[i].feature)
            bits |= by_feature[i].bit;
    return bits;
}

static void cr4_write(struct interp *c, const struct uop *u, uint64_t value)
{
    uint64_t changed = value ^ c->s.cr4;
    if (value & ~cr4_defined(c))
        raise_gp0(c, u);
    if (in_long_mode(c) && (!(value & CR4_PAE) || (changed & CR4_LA57)))
        raise_gp0(c, u);
    if ((changed & value & CR4_PCIDE) && (!in_long_mode(c) || (c->s.cr3 & CR3_PCID)))
        raise_gp0(c, u);
    if ((changed & CR4_PDPTES) && is_pae_paging(c->s.cr0, value, c->s.efer))
        load_pdptes(c, u, c->s.cr3);
    c->s.cr4 = value;
    if (changed & CR4_MMU)
        interp_update_mmu(c, MMU_SWITCH_FLUSH_ALL);
    interp_update_mode(c);
}

void efer_write(struct interp *c, const struct uop *u, uint64_t value)
{
    uint64_t changed = value ^ c->s.efer;
    if ((value & ~(uint64_t)EFER_DEFINED) || ((changed & EFER_LME) && (c->s.cr0 & CR0_PG)))
        raise_gp0(c, u);
    c->s.efer = (value & ~(uint64_t)EFER_LMA) | (c->s.efer & EFER_LMA);
    if (changed & EFER_NXE)
        interp_update_mmu(c, MMU_SWITCH_FLUSH_ALL);
}

const struct uop *sys_mov_from_cr(struct interp *c, const struct uop *u)
{
    uint64_t value;
    require_cpl0(c, u);
    switch (u->imm) {
    case 0:
        value = c->s.cr0;
        break;
    case 2:
        value = c->s.cr2;
        break;
    case 3:
        value = c->s.cr3;
        break;
    case 4:
        value = c->s.cr4;
        break;
    default:
        c->cur = u;
        value = c->bus->cr8_read(c->bus->arg);
        c->cur = NULL;
        break;
    }
    GPR64(u->dst) = c->mode == CODE_64 ? value : (uint32_t)value;
    NEXT;
}

const struct uop *sys_mov_to_cr(struct interp *c, const struct uop *u)
{
    uint64_t value = c->mode == CODE_64 ? GPR64(u->src) : GPR32(u->src);
    uint64_t next = insn_next_rip(c, u);
    require_cpl0(c, u);
    switch (u->imm) {
    case 0:
        cr0_write(c, u, value);
        break;
    case 2:
        c->s.cr2 = value;
        break;
    case 3:
        cr3_write(c, u, value);
        break;
    case 4:
        cr4_write(c, u, value);
        break;
    default:
        if (value > 15)
            raise_gp0(c, u);
        c->cur = u;
        c->bus->cr8_write(c->bus->arg, value);
        c->cur = NULL;
        break;
    }
    return leave_to(c, u, next);
}

const struct uop *sys_clts(struct interp *c, const struct uop *u)
{
    require_cpl0(c, u);
    c->s.cr0 &= ~(uint64_t)CR0_TS;
    return goto_next_insn(c, u);
}

const struct uop *sys_lmsw(struct interp *c, const struct uop *u)
{
    uint64_t next = insn_next_rip(c, u);
    require_cpl0(c, u);
    uint64_t value = u->cond == OPERAND_MEMORY ? mem_ld16(c, u) : GPR16(u->src);
    uint64_t kept = c->s.cr0 & ~(uint64_t)(MSW_BITS & ~CR0_PE);
    cr0_write(c, u, kept | (value & MSW_BITS));
    return leave_to(c, u, next);
}

const struct uop *sys_smsw(struct interp *c, const struct uop *u)
{
    if ((c->s.cr4 & CR4_UMIP) && c->cpl > 0)
        raise_gp0(c, u);
    if (u->cond == OPERAND_MEMORY)
        mem_st16(c, u, (uint16_t)c->s.cr0);
    else if (u->opsize == 2)
        GPR16(u->dst) = (uint16_t)c->s.cr0;
    else
        GPR64(u->dst) = u->opsize == 8 ? c->s.cr0 : (uint32_t)c->s.cr0;
    NEXT;
}

const struct uop *sys_invlpg(struct interp *c, const struct uop *u)
{
    uint64_t lin = uop_ea(c, u);
    require_cpl0(c, u);
    if (c->mode != CODE_64)
        lin = (uint32_t)(lin + c->s.seg[u->seg].base);
    else if (u->seg >= SEG_FS)
        lin += c->s.seg[u->seg].base;
    if (is_canonical_base(c, lin))
        mmu_invlpg(c->mmu, gva_make(lin));
    tlb_update_views(c);
    return goto_next_insn(c, u);
}

const struct uop *sys_invpcid(struct interp *c, const struct uop *u)
{
    uint64_t desc[2];
    uint64_t type = c->mode == CODE_64 ? GPR64(u->src) : GPR32(u->src);
    require_cpl0(c, u);
    lin_read(c, u, uop_lin(c, u, sizeof desc, MMU_READ), desc, sizeof desc);
    if (type > 3 || desc[0] >> 12)
        raise_gp0(c, u);
    if (type < 2 && desc[0] != 0 && !(c->s.cr4 & CR4_PCIDE))
        raise_gp0(c, u);
    if (type == 0 && !is_canonical_base(c, desc[1]))
        raise_gp0(c, u);
    mmu_invpcid(c->mmu, (unsigned)type, (unsigned)desc[0], gva_make(desc[1]));
    tlb_update_views(c);
    return goto_next_insn(c, u);
}
