/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers (SDM 4; AMD APM 2 appendix A). Those of the APIC, the TSC deadline and
 * the paravirtual clock are the machine's; all others are here. What is in neither place raises
 * #GP(0), once logged.
 */
#include "cpu/interp/mem.h"
#include "cpu/interp/run.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/system.h"
#include "cpu/x86/cpuid.h"

enum msr {
    MSR_TSC = 0x10,
    MSR_TSC_ADJUST = 0x3b,
    MSR_SPEC_CTRL = 0x48,
    MSR_PRED_CMD = 0x49,
    MSR_UCODE_REV = 0x8b,
    MSR_PLATFORM_INFO = 0xce,
    MSR_MTRR_CAP = 0xfe,
    MSR_ARCH_CAPABILITIES = 0x10a,
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    MSR_MCG_CAP = 0x179, /* no banks: there is no machine check, but some kernels look unasked */
    MSR_MCG_STATUS = 0x17a,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_DEBUGCTL = 0x1d9,
    MSR_MTRR_PHYS = 0x200, /* base and mask, 8 pairs */
    MSR_MTRR_FIX64K = 0x250,
    MSR_MTRR_FIX16K = 0x258,
    MSR_MTRR_FIX4K = 0x268,
    MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MSR_EFER = 0xc0000080,
    MSR_STAR,
    MSR_LSTAR,
    MSR_CSTAR,
    MSR_SFMASK,
    MSR_FS_BASE = 0xc0000100,
    MSR_GS_BASE,
    MSR_KERNEL_GS_BASE,
    MSR_TSC_AUX,
    MSR_AMD_PERF = 0xc0010000, /* 4 selectors and 4 counters that never count */
    MSR_AMD_SYSCFG = 0xc0010010,
    MSR_AMD_HWCR = 0xc0010015,
    MSR_AMD_NB_CFG = 0xc001001f,
    MSR_AMD_INT_PENDING = 0xc0010055,
    MSR_AMD_DE_CFG = 0xc0011029
};

#define UCODE_REV          UINT64_C(0x0a101148)
#define MTRR_CAP           UINT64_C(0x508) /* 8 variable ranges, fixed ranges, write combining */
#define MTRR_VARIABLE      8
#define MTRR_DEF_TYPE_BITS UINT64_C(0xcff)
#define MTRR_MASK_VALID    UINT64_C(0x800)
#define ARCH_CAPABILITIES                                                                          \
    UINT64_C(0x17b) /* RDCL_NO IBRS_ALL SKIP_L1DFL SSB_NO MDS_NO PSCHANGE_NO TAA_NO */
#define MISC_ENABLE_BITS UINT64_C(0x400c51889)
#define SPEC_CTRL_BITS   UINT64_C(0x7)
#define HWCR_TSC_P0      (UINT64_C(1) << 24)
#define DE_CFG_LFENCE    UINT64_C(0x2)
#define PHYS_PAGES       (((UINT64_C(1) << CPUID_MAXPHYADDR) - 1) & PAGE_MASK)

static uint64_t tsc_now(struct interp *c, const struct uop *u)
{
    c->cur = u;
    uint64_t tsc = c->bus->tsc(c->bus->arg);
    c->cur = NULL;
    return tsc + c->s.tsc_adjust;
}

/* Where a register that is plain storage lives; NULL: not plain. */
static uint64_t *msr_storage(struct interp *c, uint32_t msr)
{
    switch (msr) {
    case MSR_TSC_ADJUST:
        return &c->s.tsc_adjust;
    case MSR_SPEC_CTRL:
        return &c->s.spec_ctrl;
    case MSR_SYSENTER_CS:
        return &c->s.sysenter_cs;
    case MSR_SYSENTER_ESP:
        return &c->s.sysenter_esp;
    case MSR_SYSENTER_EIP:
        return &c->s.sysenter_eip;
    case MSR_MISC_ENABLE:
        return &c->s.misc_enable;
    case MSR_PAT:
        return &c->s.pat;
    case MSR_MTRR_DEF_TYPE:
        return &c->s.mtrr_def_type;
    case MSR_MTRR_FIX64K:
        return &c->s.mtrr_fixed[0];
    case MSR_MTRR_FIX16K:
    case MSR_MTRR_FIX16K + 1:
        return &c->s.mtrr_fixed[1 + msr - MSR_MTRR_FIX16K];
    case MSR_EFER:
        return &c->s.efer;
    case MSR_STAR:
        return &c->s.star;
    case MSR_LSTAR:
        return &c->s.lstar;
    case MSR_CSTAR:
        return &c->s.cstar;
    case MSR_SFMASK:
        return &c->s.sfmask;
    case MSR_FS_BASE:
        return &c->s.seg[SEG_FS].base;
    case MSR_GS_BASE:
        return &c->s.seg[SEG_GS].base;
    case MSR_KERNEL_GS_BASE:
        return &c->s.kernel_gs_base;
    case MSR_TSC_AUX:
        return &c->s.tsc_aux;
    default:
        break;
    }
    if (msr >= MSR_MTRR_FIX4K && msr < MSR_MTRR_FIX4K + 8)
        return &c->s.mtrr_fixed[3 + msr - MSR_MTRR_FIX4K];
    if (msr >= MSR_MTRR_PHYS && msr < MSR_MTRR_PHYS + 2 * MTRR_VARIABLE) {
        unsigned i = (msr - MSR_MTRR_PHYS) / 2;
        return msr & 1 ? &c->s.mtrr_phys_mask[i] : &c->s.mtrr_phys_base[i];
    }
    return NULL;
}

static bool msr_read(struct interp *c, const struct uop *u, uint32_t msr, uint64_t *value)
{
    const uint64_t *storage = msr_storage(c, msr);
    if (storage) {
        *value = *storage;
        return true;
    }
    switch (msr) {
    case MSR_TSC:
        *value = tsc_now(c, u);
        return true;
    case MSR_UCODE_REV:
        *value = UCODE_REV;
        return true;
    case MSR_PLATFORM_INFO: /* ratio to 100 MHz */
        *value = ((c->identity.tsc_khz / 100000) & 0xff) << 8;
        return true;
    case MSR_MTRR_CAP:
        *value = MTRR_CAP;
        return true;
    case MSR_ARCH_CAPABILITIES:
        *value = ARCH_CAPABILITIES;
        return true;
    case MSR_AMD_HWCR:
        *value = HWCR_TSC_P0;
        return true;
    case MSR_AMD_DE_CFG:
        *value = DE_CFG_LFENCE;
        return true;
    case MSR_MCG_CAP:
    case MSR_MCG_STATUS:
    case MSR_DEBUGCTL:
    case MSR_AMD_PERF ... MSR_AMD_PERF + 7:
    case MSR_AMD_SYSCFG:
    case MSR_AMD_NB_CFG:
    case MSR_AMD_INT_PENDING:
        *value = 0;
        return true;
    default:
        c->cur = u;
        bool known = c->bus->msr_read(c->bus->arg, msr, value);
        c->cur = NULL;
        c->stats.exits_msr += known;
        return known;
    }
}

/* Memory types of MTRRs and PAT (SDM 3A 11.11, 11.12). */
static bool is_mtrr_type(unsigned type)
{
    return type <= 6 && type != 2 && type != 3;
}

static bool is_pat_type(unsigned type)
{
    return type <= 7 && type != 2 && type != 3;
}

static bool all_bytes(uint64_t value, bool (*valid)(unsigned))
{
    for (unsigned i = 0; i < 8; i++)
        if (!valid((value >> (8 * i)) & 0xff))
            return false;
    return true;
}

/* May this value go into the plain storage of that register? */
static bool msr_value_ok(const struct interp *c, uint32_t msr, uint64_t value)
{
    switch (msr) {
    case MSR_SYSENTER_ESP:
    case MSR_SYSENTER_EIP:
    case MSR_LSTAR:
    case MSR_CSTAR:
    case MSR_FS_BASE:
    case MSR_GS_BASE:
    case MSR_KERNEL_GS_BASE:
        return is_canonical_base(c, value);
    case MSR_SYSENTER_CS:
    case MSR_SFMASK:
    case MSR_TSC_AUX:
        return value >> 32 == 0;
    case MSR_MISC_ENABLE:
        return !(value & ~MISC_ENABLE_BITS);
    case MSR_SPEC_CTRL:
        return !(value & ~SPEC_CTRL_BITS);
    case MSR_PAT:
        return all_bytes(value, is_pat_type);
    case MSR_MTRR_DEF_TYPE:
        return !(value & ~MTRR_DEF_TYPE_BITS) && is_mtrr_type(value & 0xff);
    case MSR_TSC_ADJUST:
    case MSR_STAR:
        return true;
    default:
        break;
    }
    if (msr >= MSR_MTRR_FIX64K)
        return all_bytes(value, is_mtrr_type);
    if (msr & 1) /* mask of a variable range */
        return !(value & ~(PHYS_PAGES | MTRR_MASK_VALID));
    return !(value & ~(PHYS_PAGES | 0xff)) && is_mtrr_type(value & 0xff);
}

static bool msr_write(struct interp *c, const struct uop *u, uint32_t msr, uint64_t value)
{
    if (msr == MSR_EFER) {
        efer_write(c, u, value);
        return true;
    }
    uint64_t *storage = msr_storage(c, msr);
    if (storage) {
        if (!msr_value_ok(c, msr, value))
            exc_raise_code(c, u, VEC_GP, 0);
        *storage = value;
        return true;
    }
    switch (msr) {
    case MSR_TSC:
        c->s.tsc_adjust += value - tsc_now(c, u);
        return true;
    case MSR_PRED_CMD:
        if (value & ~UINT64_C(1))
            exc_raise_code(c, u, VEC_GP, 0);
        return true;
    case MSR_MCG_STATUS:
        if (value)
            exc_raise_code(c, u, VEC_GP, 0);
        return true;
    case MSR_UCODE_REV: /* nothing behind these can be changed */
    case MSR_DEBUGCTL:
    case MSR_AMD_PERF ... MSR_AMD_PERF + 7:
    case MSR_AMD_SYSCFG:
    case MSR_AMD_HWCR:
    case MSR_AMD_NB_CFG:
    case MSR_AMD_INT_PENDING:
    case MSR_AMD_DE_CFG:
        return true;
    default:
        c->cur = u;
        bool known = c->bus->msr_write(c->bus->arg, msr, value);
        c->cur = NULL;
        c->stats.exits_msr += known;
        return known;
    }
}

_Noreturn static void raise_unknown(struct interp *c, const struct uop *u, uint32_t msr,
                                    const char *what)
{
    unsigned i = 0;
    while (i < c->msr_logged_count && c->msr_logged[i] != msr)
        i++;
    if (i == c->msr_logged_count && i < sizeof c->msr_logged / sizeof c->msr_logged[0]) {
        c->msr_logged[c->msr_logged_count++] = msr;
        log_msg(LOG_INFO, "cpu",
                "msr=0x%x access=%s rip=0x%llx answer=#GP: unknown, or a value it does not take",
                msr, what, (unsigned long long)insn_rip(c, u));
    }
    exc_raise_code(c, u, VEC_GP, 0);
}

const struct uop *sys_rdmsr(struct interp *c, const struct uop *u)
{
    uint32_t msr = (uint32_t)c->gpr[RCX];
    uint64_t value = 0;
    require_cpl0(c, u);
    if (!msr_read(c, u, msr, &value))
        raise_unknown(c, u, msr, "read");
    c->gpr[RAX] = (uint32_t)value;
    c->gpr[RDX] = value >> 32;
    NEXT;
}

const struct uop *sys_wrmsr(struct interp *c, const struct uop *u)
{
    uint32_t msr = (uint32_t)c->gpr[RCX];
    uint64_t value = (uint32_t)c->gpr[RAX] | c->gpr[RDX] << 32;
    require_cpl0(c, u);
    if (!msr_write(c, u, msr, value))
        raise_unknown(c, u, msr, "write");
    return goto_next_insn(c, u);
}

static void check_tsd(struct interp *c, const struct uop *u)
{
    if ((c->s.cr4 & CR4_TSD) && c->cpl > 0)
        exc_raise_code(c, u, VEC_GP, 0);
}

const struct uop *sys_rdtsc(struct interp *c, const struct uop *u)
{
    check_tsd(c, u);
    uint64_t tsc = tsc_now(c, u);
    c->gpr[RAX] = (uint32_t)tsc;
    c->gpr[RDX] = tsc >> 32;
    NEXT;
}

const struct uop *sys_rdtscp(struct interp *c, const struct uop *u)
{
    check_tsd(c, u);
    uint64_t tsc = tsc_now(c, u);
    c->gpr[RAX] = (uint32_t)tsc;
    c->gpr[RDX] = tsc >> 32;
    c->gpr[RCX] = (uint32_t)c->s.tsc_aux;
    NEXT;
}

const struct uop *sys_rdpid(struct interp *c, const struct uop *u)
{
    GPR64(u->dst) = (uint32_t)c->s.tsc_aux;
    NEXT;
}

/* There are no performance counters: every index is one too many. */
const struct uop *sys_rdpmc(struct interp *c, const struct uop *u)
{
    exc_raise_code(c, u, VEC_GP, 0);
}

const struct uop *sys_swapgs(struct interp *c, const struct uop *u)
{
    uint64_t base = c->s.seg[SEG_GS].base;
    require_cpl0(c, u);
    c->s.seg[SEG_GS].base = c->s.kernel_gs_base;
    c->s.kernel_gs_base = base;
    NEXT;
}

const struct uop *sys_rdfsbase(struct interp *c, const struct uop *u)
{
    uint64_t base = c->s.seg[u->cond].base;
    if (!(c->s.cr4 & CR4_FSGSBASE))
        exc_raise(c, u, VEC_UD);
    GPR64(u->dst) = u->opsize == 8 ? base : (uint32_t)base;
    NEXT;
}

const struct uop *sys_wrfsbase(struct interp *c, const struct uop *u)
{
    uint64_t base = u->opsize == 8 ? GPR64(u->src) : GPR32(u->src);
    if (!(c->s.cr4 & CR4_FSGSBASE))
        exc_raise(c, u, VEC_UD);
    if (!is_canonical_base(c, base))
        exc_raise_code(c, u, VEC_GP, 0);
    c->s.seg[u->cond].base = base;
    NEXT;
}
