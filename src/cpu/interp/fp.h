/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the floating-point and vector family of the interp engine; see docs/fp.md.
 *
 * The guest's registers live in c->s.fpu, an FXSAVE64 image (SDM 1 10.5.1). Moves and bit
 * operations are C; everything that computes runs the host's own instruction in a stub
 * (fp_stubs_*.S) on that image.
 *
 * Invariants
 *   F1  MXCSR in the image has no reserved bit set: it can always be loaded
 *   F2  outside of a handler the host's x87 unit is empty with its default control word, and
 *       MXCSR differs from its default in sticky flags only
 *   F3  the image's MXCSR_MASK is FP_MXCSR_MASK and the pointers in it are the guest's, never the
 *       stubs'
 */
#ifndef UMBRA_CPU_INTERP_FP_H
#define UMBRA_CPU_INTERP_FP_H

#include <string.h>

#include "cpu/interp/decode.h"
#include "cpu/interp/interp.h"
#include "cpu/interp/mem.h"

/* Byte offsets in the image. */
#define FPU_FCW        0
#define FPU_FSW        2
#define FPU_FTW        4 /* abridged: one bit per physical register, 1: not empty */
#define FPU_FOP        6
#define FPU_FIP        8
#define FPU_FDP        16
#define FPU_MXCSR      24
#define FPU_MXCSR_MASK 28
#define FPU_ST         32
#define FPU_XMM        160
#define FPU_END        416 /* the rest is left to software */

#define FP_FCW_INIT    0x037f
#define FP_FSW_ES      0x0080
#define FP_FSW_B       0x8000
#define FP_FSW_TOP     0x3800
#define FP_MXCSR_INIT  0x1f80u
#define FP_MXCSR_MASKS 0x1f80u
#define FP_MXCSR_MODES 0xe040u /* FZ, RC, DAZ */
#define FP_MXCSR_MASK  0xffffu

/* Distance in bytes of two stubs of one table. */
#define FP_STRIDE_XMM 16
#define FP_STRIDE_MMX 32
#define FP_STRIDE_X87 32

/* Vector stub: contract in fp_stubs_mx.S. */
typedef uint64_t fp_stub(void *dst, const void *src, const void *xmm0);

static inline void *fp_at(struct interp *c, unsigned offset)
{
    return c->s.fpu + offset;
}

static inline uint16_t fp_get16(const struct interp *c, unsigned offset)
{
    uint16_t v;
    memcpy(&v, c->s.fpu + offset, sizeof v);
    return v;
}

static inline void fp_set16(struct interp *c, unsigned offset, uint16_t v)
{
    memcpy(c->s.fpu + offset, &v, sizeof v);
}

static inline uint32_t fp_get32(const struct interp *c, unsigned offset)
{
    uint32_t v;
    memcpy(&v, c->s.fpu + offset, sizeof v);
    return v;
}

static inline void fp_set32(struct interp *c, unsigned offset, uint32_t v)
{
    memcpy(c->s.fpu + offset, &v, sizeof v);
}

static inline uint64_t fp_get64(const struct interp *c, unsigned offset)
{
    uint64_t v;
    memcpy(&v, c->s.fpu + offset, sizeof v);
    return v;
}

static inline void fp_set64(struct interp *c, unsigned offset, uint64_t v)
{
    memcpy(c->s.fpu + offset, &v, sizeof v);
}

/* In uops of this family XMM registers are number * 16 and MMX registers number * 16, too. */
#define FP_XMM(reg) (c->s.fpu + FPU_XMM + (reg))
#define FP_MM(reg)  (c->s.fpu + FPU_ST + (reg))

/* --- fp.c: may the unit be used now? --- */

/*
 * Raises what an SSE, MMX or x87 instruction raises in this state of CR0, CR4 and FSW, if
 * anything.
 */
void fp_refuse_sse(struct interp *c, const struct uop *u);
void fp_refuse_mmx(struct interp *c, const struct uop *u);
void fp_refuse_x87(struct interp *c, const struct uop *u);

static inline void fp_check_sse(struct interp *c, const struct uop *u)
{
    if (unlikely((c->s.cr0 & (CR0_EM | CR0_TS)) || !(c->s.cr4 & CR4_OSFXSR)))
        fp_refuse_sse(c, u);
}

static inline void fp_check_mmx(struct interp *c, const struct uop *u)
{
    if (unlikely((c->s.cr0 & (CR0_EM | CR0_TS)) || (fp_get16(c, FPU_FSW) & FP_FSW_ES)))
        fp_refuse_mmx(c, u);
}

/* For control instructions that do not wait for a pending exception. */
static inline void fp_check_x87_nowait(struct interp *c, const struct uop *u)
{
    if (unlikely(c->s.cr0 & (CR0_EM | CR0_TS)))
        fp_refuse_x87(c, u);
}

static inline void fp_check_x87(struct interp *c, const struct uop *u)
{
    if (unlikely((c->s.cr0 & (CR0_EM | CR0_TS)) || (fp_get16(c, FPU_FSW) & FP_FSW_ES)))
        fp_refuse_x87(c, u);
}

/* Sets TOP; the registers keep their physical place, so that their order in the image changes. */
void fp_set_top(struct interp *c, unsigned top);

/*
 * The move to MMX mode (SDM 1 9.5.1): TOP becomes 0 (registers keep their physical place), all
 * tags valid.
 */
void fp_enter_mmx_slow(struct interp *c);

static inline void fp_enter_mmx(struct interp *c)
{
    if (unlikely((fp_get16(c, FPU_FSW) & FP_FSW_TOP) || c->s.fpu[FPU_FTW] != 0xff))
        fp_enter_mmx_slow(c);
}

/* A write to an MMX register sets exponent and sign of the x87 register to ones. */
static inline void fp_mm_written(struct interp *c, unsigned reg)
{
    fp_set16(c, FPU_ST + reg + 8, 0xffff);
}

/* --- memory operands --- */

_Noreturn void fp_misaligned(struct interp *c, const struct uop *u);

/* u->cond of memory forms. */
#define FP_ALIGNED 1u /* #GP when not on a multiple of the operand's size */

static inline uint64_t fp_lin(struct interp *c, const struct uop *u, unsigned bytes,
                              enum mmu_access_kind kind)
{
    uint64_t lin = uop_lin(c, u, bytes, kind);
    if (unlikely((u->cond & FP_ALIGNED) && (lin & (bytes - 1))))
        fp_misaligned(c, u);
    return lin;
}

/* Pointer to the 16 bytes of a memory operand: in guest memory, or in buf. */
static inline const void *fp_src16(struct interp *c, const struct uop *u, void *buf)
{
    uint64_t lin = fp_lin(c, u, 16, MMU_READ);
    const struct tlb_entry *e = tlb_slot(c, lin);
    if (likely(e->rtag == tlb_want(c, lin) && MEM_FITS(lin, 16)))
        return (const void *)(uintptr_t)(lin + e->addend);
    lin_read(c, u, lin, buf, 16);
    return buf;
}

static inline void fp_store16(struct interp *c, const struct uop *u, const void *src)
{
    uint64_t lin = fp_lin(c, u, 16, MMU_WRITE);
    const struct tlb_entry *e = tlb_slot(c, lin);
    if (likely(e->wtag == tlb_want(c, lin) && MEM_FITS(lin, 16)))
        memcpy((void *)(uintptr_t)(lin + e->addend), src, 16);
    else
        lin_write(c, u, lin, src, 16);
}

/* Memory operand of 1, 2, 4 or 8 bytes, zero-extended. */
static inline uint64_t fp_load_small(struct interp *c, const struct uop *u, unsigned bytes)
{
    return lin_load(c, u, fp_lin(c, u, bytes, MMU_READ), bytes);
}

/* --- fp_trap.c: stubs that obey MXCSR --- */

/*
 * Runs a stub under the guest's MXCSR and merges the sticky flags into it. An exception that the
 * guest has unmasked leaves with #XM (#UD when CR4.OSXMMEXCPT is 0), the destination unchanged and
 * the flags as the host's CPU sets them.
 */
uint64_t fp_call_mx_slow(struct interp *c, const struct uop *u, fp_stub *stub, void *dst,
                         const void *src);

static inline uint32_t fp_host_mxcsr(void)
{
    uint32_t v;
    __asm__ volatile("stmxcsr %0" : "=m"(v) : : "memory");
    return v;
}

static inline void fp_set_host_mxcsr(uint32_t v)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(v) : "memory");
}

static inline uint64_t fp_call_mx(struct interp *c, const struct uop *u, fp_stub *stub, void *dst,
                                  const void *src)
{
    uint32_t *guest = fp_at(c, FPU_MXCSR);
    if (unlikely((*guest & (FP_MXCSR_MASKS | FP_MXCSR_MODES)) != FP_MXCSR_INIT))
        return fp_call_mx_slow(c, u, stub, dst, src);
    /* The usual case: only sticky flags differ from the host's, which may keep them. */
    __asm__ volatile("ldmxcsr %0" : : "m"(*guest) : "memory");
    uint64_t r = stub(dst, src, NULL);
    __asm__ volatile("stmxcsr %0" : "=m"(*guest) : : "memory");
    return r;
}

/* After a stub that loaded the guest's MXCSR: restores F2. */
static inline void fp_restore_host_mxcsr(const struct interp *c)
{
    if (unlikely((fp_get32(c, FPU_MXCSR) & (FP_MXCSR_MASKS | FP_MXCSR_MODES)) != FP_MXCSR_INIT))
        fp_set_host_mxcsr(FP_MXCSR_INIT);
}

/* --- builders of the parts; same contract as build_fn --- */
build_fn fp_build_move; /* fp_move.c: full and scalar moves, bit operations that dominate */
build_fn fp_build_lane; /* fp_lane.c: lanes, masks, MMX moves, masked stores */
build_fn fp_build_vector; /* fp_vector.c: everything that runs as a vector stub */
build_fn fp_build_string; /* fp_string.c: PCMPxSTRx */
build_fn fp_build_x87;    /* fp_x87.c */
build_fn fp_build_env;    /* fp_env.c: x87 control, environment and FSAVE */
build_fn fp_build_state;  /* fp_state.c: FXSAVE, XSAVE, MXCSR, XCR0 */

/* --- fp_env.c --- */

/* FNINIT on an image: control, status and tag words and the pointers; data registers stay. */
void fp_image_init(uint8_t *image);

/* Lets the host work out the redundant parts of the image (ES, B); keeps the guest's pointers. */
void fp_image_normalize(struct interp *c);

/* --- fp_table.c --- */

enum {
    FP_MX = 1,        /* obeys MXCSR */
    FP_TO_GPR = 2,    /* dst is a general register; 32- and 64-bit stubs */
    FP_FROM_GPR = 4,  /* src is a general register or memory; 32- and 64-bit stubs */
    FP_TO_FLAGS = 8,  /* stub answers flags */
    FP_IMM = 16,      /* a table of 256 stubs */
    FP_SHIFT_IMM = 32 /* an immediate count goes to the stub as an operand */
};

/*
 * xmm: stub with an XMM destination (TO_GPR: the 32-bit one); mmx: with an MMX destination; wide:
 * 64-bit.
 */
struct fp_op {
    fp_stub *xmm;
    fp_stub *mmx;
    fp_stub *wide;
    uint8_t flags;
};

/* NULL: not an instruction that runs as a stub. */
const struct fp_op *fp_op_find(ZydisMnemonic mnemonic);

/* --- small helpers for builders --- */

static inline bool dec_is_xmm(const ZydisDecodedOperand *op)
{
    return op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_XMM;
}

static inline bool dec_is_mm(const ZydisDecodedOperand *op)
{
    return op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_MMX;
}

static inline bool dec_is_mem(const ZydisDecodedOperand *op)
{
    return op->type == ZYDIS_OPERAND_TYPE_MEMORY;
}

/* FP_XMM or FP_MM index of a vector register operand. */
static inline uint8_t dec_vec(const ZydisDecodedOperand *op)
{
    return (uint8_t)(ZydisRegisterGetId(op->reg.value) * 16);
}

#endif
