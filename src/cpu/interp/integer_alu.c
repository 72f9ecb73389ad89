/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ADD OR ADC SBB AND SUB XOR CMP TEST: each executed by the host's own instruction, flags and all.
 */
#define INTERP_HOT
#include "cpu/interp/integer.h"

/* pre: loads CF from flags16 (bit 8) where the instruction reads it. */
#define CF_NONE ""
#define CF_LOAD "btl $8, %k[f]\n\t"

#define DEFINE_CORE(op, insn, pre, bits, sfx)                                                      \
    static inline uint##bits##_t do_##op##bits(struct interp *c, uint##bits##_t a,                 \
                                               uint##bits##_t b)                                   \
    {                                                                                              \
        uint32_t f = c->flags16;                                                                   \
        __asm__(pre insn sfx " %[b], %[a]" FLAGS_ASM                                               \
                : [a] "+&r"(a), [f] "+&a"(f)                                                       \
                : [b] "r"(b)                                                                       \
                : "cc");                                                                           \
        c->flags16 = (uint16_t)f;                                                                  \
        return a;                                                                                  \
    }                                                                                              \
    static inline void lock_##op##bits(struct interp *c, void *p, uint##bits##_t b)                \
    {                                                                                              \
        uint32_t f = c->flags16;                                                                   \
        __asm__ volatile(pre "lock " insn sfx " %[b], %[m]" FLAGS_ASM                              \
                         : [m] "+m"(*(mem##bits##_t *)p), [f] "+&a"(f)                             \
                         : [b] "r"(b)                                                              \
                         : "cc", "memory");                                                        \
        c->flags16 = (uint16_t)f;                                                                  \
    }

/* Compares write no operand, and have no lock form. */
#define DEFINE_COMPARE(op, insn, bits, sfx)                                                        \
    static inline void do_##op##bits(struct interp *c, uint##bits##_t a, uint##bits##_t b)         \
    {                                                                                              \
        uint32_t f;                                                                                \
        __asm__(insn sfx " %[b], %[a]" FLAGS_ASM : [f] "=&a"(f) : [a] "r"(a), [b] "r"(b) : "cc");  \
        c->flags16 = (uint16_t)f;                                                                  \
    }

#define DEFINE_RW_MEM(op, bits, V)                                                                 \
    HANDLER(op##bits##_rm_##V)                                                                     \
    {                                                                                              \
        uint##bits##_t b = lin_ld##bits(c, u, LIN_##V(bits / 8, MMU_READ));                        \
        SET_GPR##bits(u->dst, do_##op##bits(c, GPR##bits(u->dst), b));                             \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_mr_##V)                                                                     \
    {                                                                                              \
        mem##bits##_t *p = rmw_begin(c, u, LIN_##V(bits / 8, MMU_WRITE), bits / 8);                \
        *p = do_##op##bits(c, *p, GPR##bits(u->src));                                              \
        rmw_end(c, u, p);                                                                          \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_mi_##V)                                                                     \
    {                                                                                              \
        mem##bits##_t *p = rmw_begin(c, u, LIN_##V(bits / 8, MMU_WRITE), bits / 8);                \
        *p = do_##op##bits(c, *p, (uint##bits##_t)u->imm);                                         \
        rmw_end(c, u, p);                                                                          \
        NEXT;                                                                                      \
    }

#define DEFINE_RW(op, bits)                                                                        \
    HANDLER(op##bits##_rr)                                                                         \
    {                                                                                              \
        SET_GPR##bits(u->dst, do_##op##bits(c, GPR##bits(u->dst), GPR##bits(u->src)));             \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_ri)                                                                         \
    {                                                                                              \
        SET_GPR##bits(u->dst, do_##op##bits(c, GPR##bits(u->dst), (uint##bits##_t)u->imm));        \
        NEXT;                                                                                      \
    }                                                                                              \
    DEFINE_RW_MEM(op, bits, F)                                                                     \
    DEFINE_RW_MEM(op, bits, G)                                                                     \
    HANDLER(op##bits##_lock_mr)                                                                    \
    {                                                                                              \
        void *p = rmw_begin(c, u, uop_lin(c, u, bits / 8, MMU_WRITE), bits / 8);                   \
        lock_##op##bits(c, p, GPR##bits(u->src));                                                  \
        rmw_end(c, u, p);                                                                          \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_lock_mi)                                                                    \
    {                                                                                              \
        void *p = rmw_begin(c, u, uop_lin(c, u, bits / 8, MMU_WRITE), bits / 8);                   \
        lock_##op##bits(c, p, (uint##bits##_t)u->imm);                                             \
        rmw_end(c, u, p);                                                                          \
        NEXT;                                                                                      \
    }

#define DEFINE_RO_MEM(op, bits, V)                                                                 \
    HANDLER(op##bits##_rm_##V)                                                                     \
    {                                                                                              \
        do_##op##bits(c, GPR##bits(u->dst), lin_ld##bits(c, u, LIN_##V(bits / 8, MMU_READ)));      \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_mr_##V)                                                                     \
    {                                                                                              \
        do_##op##bits(c, lin_ld##bits(c, u, LIN_##V(bits / 8, MMU_READ)), GPR##bits(u->src));      \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_mi_##V)                                                                     \
    {                                                                                              \
        do_##op##bits(c, lin_ld##bits(c, u, LIN_##V(bits / 8, MMU_READ)), (uint##bits##_t)u->imm); \
        NEXT;                                                                                      \
    }

#define DEFINE_RO(op, bits)                                                                        \
    HANDLER(op##bits##_rr)                                                                         \
    {                                                                                              \
        do_##op##bits(c, GPR##bits(u->dst), GPR##bits(u->src));                                    \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_ri)                                                                         \
    {                                                                                              \
        do_##op##bits(c, GPR##bits(u->dst), (uint##bits##_t)u->imm);                               \
        NEXT;                                                                                      \
    }                                                                                              \
    DEFINE_RO_MEM(op, bits, F)                                                                     \
    DEFINE_RO_MEM(op, bits, G)

#define DEFINE_ALU(op, insn, pre)                                                                  \
    DEFINE_CORE(op, insn, pre, 8, "b")                                                             \
    DEFINE_CORE(op, insn, pre, 16, "w")                                                            \
    DEFINE_CORE(op, insn, pre, 32, "l")                                                            \
    DEFINE_CORE(op, insn, pre, 64, "q")                                                            \
    DEFINE_RW(op, 8)                                                                               \
    DEFINE_RW(op, 16)                                                                              \
    DEFINE_RW(op, 32)                                                                              \
    DEFINE_RW(op, 64)

#define DEFINE_CMP(op, insn)                                                                       \
    DEFINE_COMPARE(op, insn, 8, "b")                                                               \
    DEFINE_COMPARE(op, insn, 16, "w")                                                              \
    DEFINE_COMPARE(op, insn, 32, "l")                                                              \
    DEFINE_COMPARE(op, insn, 64, "q")                                                              \
    DEFINE_RO(op, 8)                                                                               \
    DEFINE_RO(op, 16)                                                                              \
    DEFINE_RO(op, 32)                                                                              \
    DEFINE_RO(op, 64)

DEFINE_ALU(add, "add", CF_NONE)
DEFINE_ALU(or, "or", CF_NONE)
DEFINE_ALU(adc, "adc", CF_LOAD)
DEFINE_ALU(sbb, "sbb", CF_LOAD)
DEFINE_ALU(and, "and", CF_NONE)
DEFINE_ALU(sub, "sub", CF_NONE)
DEFINE_ALU(xor, "xor", CF_NONE)
DEFINE_CMP(cmp, "cmp")
DEFINE_CMP(test, "test")

/* XOR and SUB of a register with itself: the usual way to zero it. ZF and PF are set. */
HANDLER(zero32)
{
    GPR64(u->dst) = 0;
    c->flags16 = F16_ZF | F16_PF | F16_ONE;
    NEXT;
}

enum { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP, ALU_TEST, ALU_OPS };

#define BY_SIZE(op)                                                                                \
    {                                                                                              \
        FORM_NAMES(op, 8), FORM_NAMES(op, 16), FORM_NAMES(op, 32), FORM_NAMES(op, 64)              \
    }
#define LOCK_NAMES(op)                                                                             \
    {                                                                                              \
        {op##8_lock_mr, op##8_lock_mi}, {op##16_lock_mr, op##16_lock_mi},                          \
            {op##32_lock_mr, op##32_lock_mi}, {op##64_lock_mr, op##64_lock_mi},                    \
    }

static uop_fn *const alu_fn[ALU_OPS][4][FORMS] = {
    BY_SIZE(add), BY_SIZE(or),  BY_SIZE(adc), BY_SIZE(sbb),  BY_SIZE(and),
    BY_SIZE(sub), BY_SIZE(xor), BY_SIZE(cmp), BY_SIZE(test),
};

static uop_fn *const lock_fn[ALU_CMP][4][2] = {
    LOCK_NAMES(add), LOCK_NAMES(or),  LOCK_NAMES(adc), LOCK_NAMES(sbb),
    LOCK_NAMES(and), LOCK_NAMES(sub), LOCK_NAMES(xor),
};

bool int_build_alu(struct dec *d, struct uop *u)
{
    unsigned op, size = size_index(u->opsize);
    enum form form;

    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
        op = ALU_ADD;
        break;
    case ZYDIS_MNEMONIC_OR:
        op = ALU_OR;
        break;
    case ZYDIS_MNEMONIC_ADC:
        op = ALU_ADC;
        break;
    case ZYDIS_MNEMONIC_SBB:
        op = ALU_SBB;
        break;
    case ZYDIS_MNEMONIC_AND:
        op = ALU_AND;
        break;
    case ZYDIS_MNEMONIC_SUB:
        op = ALU_SUB;
        break;
    case ZYDIS_MNEMONIC_XOR:
        op = ALU_XOR;
        break;
    case ZYDIS_MNEMONIC_CMP:
        op = ALU_CMP;
        break;
    case ZYDIS_MNEMONIC_TEST:
        op = ALU_TEST;
        break;
    default:
        return false;
    }
    form = int_form(d, u);
    u->fn = alu_fn[op][size][form];
    if (u->prefix & UOP_LOCK)
        u->fn = lock_fn[op][size][form >= FORM_MI];
    if ((op == ALU_XOR || op == ALU_SUB) && form == FORM_RR && u->dst == u->src && u->opsize >= 4)
        u->fn = zero32;
    return true;
}
