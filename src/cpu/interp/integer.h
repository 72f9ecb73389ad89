/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the files of the integer family: operand access by size, the two ways to a memory
 * operand, and the builders of the subfamilies.
 *
 * Handlers exist per size (8, 16, 32, 64) and form. Memory forms exist twice:
 *   F  64-bit mode, 8-byte addresses, no FS or GS: base + index * scale + disp is the linear
 *      address
 *   G  everything else, through uop_lin
 */
#ifndef UMBRA_CPU_INTERP_INTEGER_H
#define UMBRA_CPU_INTERP_INTEGER_H

#include "cpu/interp/decode.h"
#include "cpu/interp/flags.h"
#include "cpu/interp/mem.h"
#include "cpu/interp/run.h"

/* Guest memory by host pointer: any alignment. */
typedef uint8_t mem8_t;
typedef uint16_t mem16_t __attribute__((aligned(1), may_alias));
typedef uint32_t mem32_t __attribute__((aligned(1), may_alias));
typedef uint64_t mem64_t __attribute__((aligned(1), may_alias));

typedef __int128 int128_t;
typedef unsigned __int128 uint128_t;

#define SET_GPR8(off, v)  (GPR8(off) = (uint8_t)(v))
#define SET_GPR16(off, v) (GPR16(off) = (uint16_t)(v))
#define SET_GPR64(off, v) (GPR64(off) = (uint64_t)(v))

#define REG_RAX 0
#define REG_RCX 8
#define REG_RDX 16
#define REG_RBX 24
#define REG_RSP 32
#define REG_RBP 40
#define REG_RSI 48
#define REG_RDI 56
#define REG_AH  1

#define HANDLER(name) static const struct uop *name(struct interp *c, const struct uop *u)

static inline uint64_t ea_fast(const struct interp *c, const struct uop *u)
{
    return *(const uint64_t *)((const char *)c->gpr + u->base) +
           (*(const uint64_t *)((const char *)c->gpr + u->index) << u->scale) + (uint64_t)u->disp;
}

#define LIN_F(bytes, kind) ea_fast(c, u)
#define LIN_G(bytes, kind) uop_lin(c, u, bytes, kind)

/* 0..3 for 1, 2, 4, 8 bytes. */
static inline unsigned size_index(unsigned bytes)
{
    return (unsigned)__builtin_ctz(bytes);
}

/* Operand forms; the memory ones are followed by their F variant. */
enum form { FORM_RR, FORM_RI, FORM_RM, FORM_RM_F, FORM_MR, FORM_MR_F, FORM_MI, FORM_MI_F, FORMS };

#define FORM_NAMES(op, bits)                                                                       \
    {                                                                                              \
        op##bits##_rr, op##bits##_ri, op##bits##_rm_G, op##bits##_rm_F, op##bits##_mr_G,           \
            op##bits##_mr_F, op##bits##_mi_G, op##bits##_mi_F                                      \
    }

/* True when the F variant may be used for u's memory operand. */
bool int_is_fast(const struct dec *d, const struct uop *u);

/* Form of a two-operand instruction; sets u->dst and u->src. */
enum form int_form(const struct dec *d, struct uop *u);

/*
 * Stack pushes and pops of the current privilege (SDM 1 6.2). bytes: 2, 4 or 8. peek reads at rsp +
 * skip without changing RSP; the caller moves RSP with stack_add after everything that can fault.
 */
uint64_t stack_peek(struct interp *c, const struct uop *u, unsigned bytes, unsigned skip);
void stack_push(struct interp *c, const struct uop *u, unsigned bytes, uint64_t value);
void stack_add(struct interp *c, int64_t bytes);
/* Linear address of the stack at SP + delta for an access. */
uint64_t stack_linear(struct interp *c, const struct uop *u, int64_t delta, unsigned bytes,
                      enum mmu_access_kind kind);

/* Operand values of any size for the rarer instructions, by opsize. */
static inline uint64_t gpr_get(const struct interp *c, unsigned off, unsigned bytes)
{
    switch (bytes) {
    case 1:
        return GPR8(off);
    case 2:
        return GPR16(off);
    case 4:
        return GPR32(off);
    default:
        return GPR64(off);
    }
}

static inline void gpr_set(struct interp *c, unsigned off, unsigned bytes, uint64_t v)
{
    switch (bytes) {
    case 1:
        SET_GPR8(off, v);
        break;
    case 2:
        SET_GPR16(off, v);
        break;
    case 4:
        SET_GPR32(off, v);
        break;
    default:
        SET_GPR64(off, v);
        break;
    }
}

/*
 * For asm around an instruction: AX = flags16 into the host's flags (OF by an overflowing addition,
 * the rest by SAHF), and the host's flags into AX. Loading first keeps what an instruction leaves
 * undefined as this host leaves it.
 */
#define FLAGS_LOAD "addb $127, %%al\n\tsahf\n\t"
#define FLAGS_ASM  "\n\tlahf\n\tseto %%al"

/* Subfamilies, asked in this order by build_integer. */
build_fn int_build_mov, int_build_alu, int_build_unary, int_build_branch, int_build_stack,
    int_build_shift, int_build_muldiv, int_build_bits, int_build_bmi, int_build_string,
    int_build_atomic, int_build_misc;

#endif
