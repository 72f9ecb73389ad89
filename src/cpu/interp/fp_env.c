/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87 control: FNINIT, FNCLEX, status and control words, the environment (SDM 1 8.1.10, figures 8-9
 * to 8-12) and FNSAVE/FRSTOR. Selectors of the pointers are always 0 (as where CPUID says FCS/FDS
 * are deprecated).
 *
 *            32-bit protected     32-bit real          16-bit protected  16-bit real
 *   word 0   FCW                  FCW                  FCW               FCW
 *   word 1   FSW                  FSW                  FSW               FSW
 *   word 2   FTW                  FTW                  FTW               FTW
 *   word 3   FIP                  FIP 15..0            FIP               FIP 15..0
 *   word 4   FOP << 16 | FCS      FIP 31..16 <<12|FOP  FCS               FIP 19..16 << 12 | FOP
 *   word 5   FDP                  FDP 15..0            FDP               FDP 15..0
 *   word 6   FDS                  FDP 31..16 << 12     FDS               FDP 19..16 << 12
 */
#include "cpu/interp/fp.h"

#define HANDLER(name) static const struct uop *name(struct interp *c, const struct uop *u)

/* fp_stubs_x87.S */
void fp_x87_normalize(void *image);

void fp_image_init(uint8_t *image)
{
    static const uint8_t start[FPU_MXCSR] = {FP_FCW_INIT & 0xff, FP_FCW_INIT >> 8};
    memcpy(image, start, sizeof start);
}

void fp_image_normalize(struct interp *c)
{
    uint8_t pointers[FPU_MXCSR - FPU_FOP];
    memcpy(pointers, fp_at(c, FPU_FOP), sizeof pointers);
    fp_x87_normalize(c->s.fpu);
    fp_restore_host_mxcsr(c);
    memcpy(fp_at(c, FPU_FOP), pointers, sizeof pointers);
    fp_set32(c, FPU_MXCSR_MASK, FP_MXCSR_MASK);
}

/* Full tag (2 bits) of physical register i: 0 valid, 1 zero, 2 special, 3 empty. */
static unsigned full_tag(const struct interp *c, unsigned i)
{
    if (!(c->s.fpu[FPU_FTW] >> i & 1))
        return 3;
    unsigned top = (fp_get16(c, FPU_FSW) & FP_FSW_TOP) >> 11;
    unsigned at = FPU_ST + ((i - top) & 7) * 16;
    uint64_t mantissa = fp_get64(c, at);
    unsigned exponent = fp_get16(c, at + 8) & 0x7fffu;
    if (exponent == 0)
        return mantissa ? 2 : 1;
    return exponent == 0x7fff || !(mantissa >> 63) ? 2 : 0;
}

static uint16_t full_tags(const struct interp *c)
{
    unsigned r = 0;
    for (unsigned i = 0; i < 8; i++)
        r |= full_tag(c, i) << (2 * i);
    return (uint16_t)r;
}

static bool is_real_format(const struct interp *c)
{
    return !(c->s.cr0 & CR0_PE) || (c->s.rflags & RFLAGS_VM);
}

/* u->dst: bytes of one word of the environment, 2 or 4. */
static void env_store(const struct interp *c, unsigned word_bytes, uint8_t *out)
{
    uint32_t fip = (uint32_t)fp_get64(c, FPU_FIP), fdp = (uint32_t)fp_get64(c, FPU_FDP);
    uint32_t fop = fp_get16(c, FPU_FOP) & 0x7ffu;
    uint32_t word[7] = {fp_get16(c, FPU_FCW), fp_get16(c, FPU_FSW), full_tags(c), fip, 0, fdp, 0};
    if (is_real_format(c)) {
        word[3] = fip & 0xffff;
        word[4] = (fip >> 16) << 12 | fop;
        word[5] = fdp & 0xffff;
        word[6] = (fdp >> 16) << 12;
    } else if (word_bytes == 4) {
        word[4] = fop << 16;
        word[6] = 0xffff0000u;
    }
    if (word_bytes == 4) {
        for (unsigned i = 0; i < 3; i++)
            word[i] |= 0xffff0000u;
    }
    for (unsigned i = 0; i < 7; i++)
        memcpy(out + i * word_bytes, &word[i], word_bytes);
}

static void env_load(struct interp *c, unsigned word_bytes, const uint8_t *in)
{
    uint32_t word[7] = {0};
    for (unsigned i = 0; i < 7; i++)
        memcpy(&word[i], in + i * word_bytes, word_bytes);
    unsigned tags = 0;
    for (unsigned i = 0; i < 8; i++)
        tags |= (unsigned)((word[2] >> (2 * i) & 3) != 3) << i;
    uint32_t fip = word[3], fdp = word[5], fop = word_bytes == 4 ? word[4] >> 16 : 0;
    if (is_real_format(c)) {
        fip = (word[3] & 0xffff) | (word[4] >> 12) << 16;
        fdp = (word[5] & 0xffff) | (word[6] >> 12) << 16;
        fop = word[4];
    }
    fp_set_top(c, (word[1] & FP_FSW_TOP) >> 11);
    fp_set16(c, FPU_FCW, (uint16_t)word[0]);
    fp_set16(c, FPU_FSW, (uint16_t)word[1]);
    fp_set16(c, FPU_FTW, (uint16_t)tags);
    fp_set16(c, FPU_FOP, fop & 0x7ffu);
    fp_set64(c, FPU_FIP, fip);
    fp_set64(c, FPU_FDP, fdp);
}

/* --- handlers; the helpers hold the buffers, so that NEXT stays a jump --- */

static void __attribute__((noinline)) store_env(struct interp *c, const struct uop *u)
{
    uint8_t buf[28];
    unsigned bytes = 7u * u->dst;
    env_store(c, u->dst, buf);
    lin_write(c, u, uop_lin(c, u, bytes, MMU_WRITE), buf, bytes);
    fp_set16(c, FPU_FCW, fp_get16(c, FPU_FCW) | 0x3f);
    fp_set16(c, FPU_FSW, fp_get16(c, FPU_FSW) & (uint16_t) ~(FP_FSW_ES | FP_FSW_B));
}

HANDLER(fnstenv)
{
    fp_check_x87_nowait(c, u);
    store_env(c, u);
    NEXT;
}

static void __attribute__((noinline)) load_env(struct interp *c, const struct uop *u)
{
    uint8_t buf[28];
    unsigned bytes = 7u * u->dst;
    lin_read(c, u, uop_lin(c, u, bytes, MMU_READ), buf, bytes);
    env_load(c, u->dst, buf);
    fp_image_normalize(c);
}

HANDLER(fldenv)
{
    fp_check_x87(c, u);
    load_env(c, u);
    NEXT;
}

/* Data registers stay where they physically are, while TOP becomes 0. */
static void init_unit(struct interp *c)
{
    fp_set_top(c, 0);
    fp_image_init(c->s.fpu);
}

static void __attribute__((noinline)) save_all(struct interp *c, const struct uop *u)
{
    uint8_t buf[28 + 80];
    unsigned env = 7u * u->dst;
    env_store(c, u->dst, buf);
    for (unsigned i = 0; i < 8; i++)
        memcpy(buf + env + 10 * i, fp_at(c, FPU_ST + 16 * i), 10);
    lin_write(c, u, uop_lin(c, u, env + 80, MMU_WRITE), buf, env + 80);
    init_unit(c);
}

HANDLER(fnsave)
{
    fp_check_x87_nowait(c, u);
    save_all(c, u);
    NEXT;
}

static void __attribute__((noinline)) restore_all(struct interp *c, const struct uop *u)
{
    uint8_t buf[28 + 80];
    unsigned env = 7u * u->dst;
    lin_read(c, u, uop_lin(c, u, env + 80, MMU_READ), buf, env + 80);
    env_load(c, u->dst, buf);
    for (unsigned i = 0; i < 8; i++)
        memcpy(fp_at(c, FPU_ST + 16 * i), buf + env + 10 * i, 10);
    fp_image_normalize(c);
}

HANDLER(frstor)
{
    fp_check_x87(c, u);
    restore_all(c, u);
    NEXT;
}

HANDLER(fninit)
{
    fp_check_x87_nowait(c, u);
    init_unit(c);
    NEXT;
}

HANDLER(fnclex)
{
    fp_check_x87_nowait(c, u);
    fp_set16(c, FPU_FSW, fp_get16(c, FPU_FSW) & 0x7f00);
    NEXT;
}

HANDLER(fnstsw_ax)
{
    fp_check_x87_nowait(c, u);
    GPR16(8 * RAX) = fp_get16(c, FPU_FSW);
    NEXT;
}

HANDLER(fnstsw_m)
{
    fp_check_x87_nowait(c, u);
    mem_st16(c, u, fp_get16(c, FPU_FSW));
    NEXT;
}

HANDLER(fnstcw)
{
    fp_check_x87_nowait(c, u);
    mem_st16(c, u, fp_get16(c, FPU_FCW));
    NEXT;
}

HANDLER(fwait)
{
    if (unlikely((c->s.cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)))
        exc_raise(c, u, VEC_NM);
    if (unlikely(fp_get16(c, FPU_FSW) & FP_FSW_ES))
        exc_raise(c, u, VEC_MF);
    NEXT;
}

/* FENI, FDISI, FSETPM of the 8087 and 80287: nothing since the 80387. */
HANDLER(x87_nothing)
{
    fp_check_x87_nowait(c, u);
    NEXT;
}

static uop_fn *choose(const struct dec *d)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_FNSTENV:
        return fnstenv;
    case ZYDIS_MNEMONIC_FLDENV:
        return fldenv;
    case ZYDIS_MNEMONIC_FNSAVE:
        return fnsave;
    case ZYDIS_MNEMONIC_FRSTOR:
        return frstor;
    case ZYDIS_MNEMONIC_FNINIT:
        return fninit;
    case ZYDIS_MNEMONIC_FNCLEX:
        return fnclex;
    case ZYDIS_MNEMONIC_FNSTSW:
        return d->mem_op >= 0 ? fnstsw_m : fnstsw_ax;
    case ZYDIS_MNEMONIC_FNSTCW:
        return fnstcw;
    case ZYDIS_MNEMONIC_FWAIT:
        return fwait;
    case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FDISI8087_NOP:
    case ZYDIS_MNEMONIC_FSETPM287_NOP:
        return x87_nothing;
    default:
        return NULL;
    }
}

bool fp_build_env(struct dec *d, struct uop *u)
{
    u->fn = choose(d);
    if (!u->fn)
        return false;
    /* the 16-bit formats come with a 16-bit operand size only */
    u->dst = d->i.operand_width == 16 ? 2 : 4;
    return true;
}
