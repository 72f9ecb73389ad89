/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87: every computing instruction runs on the host's x87 unit, in a stub that loads the guest's
 * image, does it and stores the image back. The instruction pointers in the image are kept by hand:
 * the host would show the stub's. u->imm: FOP, the low 11 bits of the two opcode bytes.
 */
#include "cpu/interp/fp.h"

extern const char fp_x87_reg_stubs[], fp_x87_mem_stubs[];

typedef uint64_t x87_reg_stub(void *image, uint64_t flags16);
typedef void x87_mem_stub(void *image, void *operand);

#define HANDLER(name) static const struct uop *name(struct interp *c, const struct uop *u)

/* u->cond */
enum { X87_CONTROL = 1 }; /* FLDCW: leaves the pointers alone */

struct pointers {
    uint16_t fop;
    uint64_t fip, fdp;
};

static inline struct pointers pointers_get(const struct interp *c)
{
    return (struct pointers){fp_get16(c, FPU_FOP), fp_get64(c, FPU_FIP), fp_get64(c, FPU_FDP)};
}

static inline void pointers_set(struct interp *c, const struct pointers *p)
{
    fp_set16(c, FPU_FOP, p->fop);
    fp_set64(c, FPU_FIP, p->fip);
    fp_set64(c, FPU_FDP, p->fdp);
    fp_set32(c, FPU_MXCSR_MASK, FP_MXCSR_MASK);
}

static uint64_t run_reg(struct interp *c, const struct uop *u)
{
    fp_check_x87(c, u);
    struct pointers p = {(uint16_t)u->imm, insn_rip(c, u), fp_get64(c, FPU_FDP)};
    uint64_t flags = ((x87_reg_stub *)u->extra)(c->s.fpu, c->flags16);
    fp_restore_host_mxcsr(c);
    pointers_set(c, &p);
    return flags;
}

HANDLER(x87_reg)
{
    run_reg(c, u);
    NEXT;
}

/* FCOMI and its kin. */
HANDLER(x87_reg_flags)
{
    c->flags16 = run_reg(c, u);
    NEXT;
}

HANDLER(x87_load)
{
    fp_check_x87(c, u);
    uint64_t ea = uop_ea(c, u);
    lin_read(c, u, uop_lin(c, u, u->opsize, MMU_READ), c->fp_buf, u->opsize);
    struct pointers p = {(uint16_t)u->imm, insn_rip(c, u), ea};
    if (u->cond & X87_CONTROL)
        p = pointers_get(c);
    ((x87_mem_stub *)u->extra)(c->s.fpu, c->fp_buf);
    fp_restore_host_mxcsr(c);
    pointers_set(c, &p);
    NEXT;
}

/*
 * Was the operand written? An unmasked exception may keep the CPU from it. Then a second run over
 * other bytes tells: what was written is the same both times.
 */
static bool was_written(struct interp *c, const struct uop *u, const uint8_t *image,
                        const uint8_t *first)
{
    uint16_t fsw;
    memcpy(&fsw, image + FPU_FSW, sizeof fsw);
    if (!(fsw & FP_FSW_ES))
        return true;
    uint8_t again[sizeof c->s.fpu] __attribute__((aligned(64)));
    uint8_t second[16];
    memcpy(again, c->s.fpu, sizeof again);
    memset(second, 0xff, sizeof second);
    ((x87_mem_stub *)u->extra)(again, second);
    return memcmp(first, second, u->opsize) == 0;
}

/* The stub works on a copy: a store that faults must leave no trace. */
static void __attribute__((noinline)) store(struct interp *c, const struct uop *u)
{
    uint8_t image[sizeof c->s.fpu] __attribute__((aligned(64)));
    uint8_t operand[16] = {0};
    struct pointers p = {(uint16_t)u->imm, insn_rip(c, u), uop_ea(c, u)};
    uint64_t lin = uop_lin(c, u, u->opsize, MMU_WRITE);

    memcpy(image, c->s.fpu, sizeof image);
    ((x87_mem_stub *)u->extra)(image, operand);
    bool written = was_written(c, u, image, operand);
    fp_restore_host_mxcsr(c);
    if (written)
        lin_write(c, u, lin, operand, u->opsize);
    else
        lin_probe(c, u, lin, u->opsize, MMU_WRITE);
    memcpy(c->s.fpu, image, FPU_END);
    pointers_set(c, &p);
}

HANDLER(x87_store)
{
    fp_check_x87(c, u);
    store(c, u);
    NEXT;
}

/* FCOMI, FUCOMI, FCOMIP, FUCOMIP: DB or DF, E8..F7. */
static bool sets_flags(unsigned opcode, unsigned modrm)
{
    return (opcode == 0xdb || opcode == 0xdf) && modrm >= 0xe8 && modrm <= 0xf7;
}

/* Bit n: memory form /n of this opcode is a store. */
static unsigned stores_of(unsigned opcode)
{
    static const uint8_t stores[8] = {
        [0xd9 & 7] = 1 << 2 | 1 << 3,                   /* FST(P) m32 */
        [0xdb & 7] = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 7, /* FISTTP, FIST(P) m32, FSTP m80 */
        [0xdd & 7] = 1 << 1 | 1 << 2 | 1 << 3,          /* FISTTP m64, FST(P) m64 */
        [0xdf & 7] =
            1 << 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 7, /* FISTTP, FIST(P) m16, FBSTP, FISTP m64 */
    };
    return stores[opcode & 7];
}

/* Control instructions were taken by fp_build_env before. */
bool fp_build_x87(struct dec *d, struct uop *u)
{
    unsigned opcode = d->i.opcode;
    if (d->i.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT || (opcode & 0xf8) != 0xd8)
        return false;
    unsigned modrm =
        (unsigned)(d->i.raw.modrm.mod << 6 | d->i.raw.modrm.reg << 3 | d->i.raw.modrm.rm);
    u->imm = (int64_t)((opcode & 7) << 8 | modrm);
    if (modrm >= 0xc0) {
        unsigned at = (opcode & 7) * 64 + (modrm & 63);
        u->extra = (void *)(uintptr_t)(fp_x87_reg_stubs + (size_t)at * FP_STRIDE_X87);
        u->fn = sets_flags(opcode, modrm) ? x87_reg_flags : x87_reg;
        return true;
    }
    if (d->mem_op < 0)
        return false;
    unsigned at = (opcode & 7) * 8 + d->i.raw.modrm.reg;
    u->extra = (void *)(uintptr_t)(fp_x87_mem_stubs + (size_t)at * FP_STRIDE_X87);
    u->opsize = (uint8_t)(d->op[d->mem_op].size / 8);
    u->cond = d->i.mnemonic == ZYDIS_MNEMONIC_FLDCW ? X87_CONTROL : 0;
    u->fn = stores_of(opcode) >> d->i.raw.modrm.reg & 1 ? x87_store : x87_load;
    return u->opsize <= 10;
}
