/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MUL IMUL DIV IDIV. Quotients that do not fit are found before the host divides: #DE, never
 * SIGFPE.
 */
#define INTERP_HOT
#include "cpu/interp/integer.h"

/* src2: the explicit operand is in memory. */
static inline uint64_t operand(struct interp *c, const struct uop *u)
{
    if (u->src2)
        return lin_load(c, u, uop_lin(c, u, u->opsize, MMU_READ), u->opsize);
    return gpr_get(c, u->src, u->opsize);
}

#define DEFINE_MUL8(op, insn)                                                                      \
    HANDLER(op##8)                                                                                 \
    {                                                                                              \
        uint8_t b = (uint8_t)operand(c, u);                                                        \
        uint32_t f = c->flags16;                                                                   \
        uint16_t product = GPR8(REG_RAX);                                                          \
        __asm__(FLAGS_LOAD "movl %k[p], %%eax\n\t" insn "b %[b]\n\tmovw %%ax, %[p]" FLAGS_ASM      \
                : "+&a"(f), [p] "+&r"(product)                                                     \
                : [b] "r"(b)                                                                       \
                : "cc");                                                                           \
        GPR16(REG_RAX) = product;                                                                  \
        c->flags16 = (uint16_t)f;                                                                  \
        NEXT;                                                                                      \
    }

#define DEFINE_MUL(op, insn, bits, sfx, reg)                                                       \
    HANDLER(op##bits)                                                                              \
    {                                                                                              \
        uint##bits##_t b = (uint##bits##_t)operand(c, u);                                          \
        uint##bits##_t low = GPR##bits(REG_RAX), high;                                             \
        uint64_t f = c->flags16;                                                                   \
        __asm__(FLAGS_LOAD "mov" sfx " %[low], %%" reg "\n\t" insn sfx " %[b]\n\tmov" sfx          \
                           " %%" reg ", %[low]" FLAGS_ASM                                          \
                : "+&a"(f), [low] "+&r"(low), "=&d"(high)                                          \
                : [b] "r"(b)                                                                       \
                : "cc");                                                                           \
        SET_GPR##bits(REG_RAX, low);                                                               \
        SET_GPR##bits(REG_RDX, high);                                                              \
        c->flags16 = (uint16_t)f;                                                                  \
        NEXT;                                                                                      \
    }

DEFINE_MUL8(mul, "mul")
DEFINE_MUL(mul, "mul", 16, "w", "ax")
DEFINE_MUL(mul, "mul", 32, "l", "eax")
DEFINE_MUL(mul, "mul", 64, "q", "rax")
DEFINE_MUL8(imul, "imul")
DEFINE_MUL(imul, "imul", 16, "w", "ax")
DEFINE_MUL(imul, "imul", 32, "l", "eax")
DEFINE_MUL(imul, "imul", 64, "q", "rax")

/* IMUL with two and three operands: dst = a * b. */
#define DEFINE_IMUL2(bits, sfx)                                                                    \
    static inline uint##bits##_t do_imul##bits(struct interp *c, uint##bits##_t a,                 \
                                               uint##bits##_t b)                                   \
    {                                                                                              \
        uint32_t f = c->flags16;                                                                   \
        __asm__(FLAGS_LOAD "imul" sfx " %[b], %[a]" FLAGS_ASM                                      \
                : [a] "+&r"(a), "+&a"(f)                                                           \
                : [b] "r"(b)                                                                       \
                : "cc");                                                                           \
        c->flags16 = (uint16_t)f;                                                                  \
        return a;                                                                                  \
    }                                                                                              \
    HANDLER(imul##bits##_rr)                                                                       \
    {                                                                                              \
        SET_GPR##bits(u->dst, do_imul##bits(c, GPR##bits(u->dst), GPR##bits(u->src)));             \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(imul##bits##_rm)                                                                       \
    {                                                                                              \
        SET_GPR##bits(u->dst, do_imul##bits(c, GPR##bits(u->dst), mem_ld##bits(c, u)));            \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(imul##bits##_rri)                                                                      \
    {                                                                                              \
        SET_GPR##bits(u->dst, do_imul##bits(c, GPR##bits(u->src), (uint##bits##_t)u->imm));        \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(imul##bits##_rmi)                                                                      \
    {                                                                                              \
        SET_GPR##bits(u->dst, do_imul##bits(c, mem_ld##bits(c, u), (uint##bits##_t)u->imm));       \
        NEXT;                                                                                      \
    }

DEFINE_IMUL2(16, "w")
DEFINE_IMUL2(32, "l")
DEFINE_IMUL2(64, "q")

HANDLER(div8)
{
    unsigned b = (uint8_t)operand(c, u), a = GPR16(REG_RAX);

    if (unlikely(b == 0 || a / b > UINT8_MAX))
        exc_raise(c, u, VEC_DE);
    GPR8(REG_RAX) = (uint8_t)(a / b);
    GPR8(REG_AH) = (uint8_t)(a % b);
    NEXT;
}

HANDLER(idiv8)
{
    int b = (int)(int8_t)operand(c, u), a = (int16_t)GPR16(REG_RAX);

    if (unlikely(b == 0 || a / b > INT8_MAX || a / b < INT8_MIN))
        exc_raise(c, u, VEC_DE);
    GPR8(REG_RAX) = (uint8_t)(a / b);
    GPR8(REG_AH) = (uint8_t)(a % b);
    NEXT;
}

#define DEFINE_DIV(bits, wide)                                                                     \
    HANDLER(div##bits)                                                                             \
    {                                                                                              \
        uint##bits##_t b = (uint##bits##_t)operand(c, u);                                          \
        wide a = (wide)GPR##bits(REG_RDX) << bits | GPR##bits(REG_RAX);                            \
        if (unlikely(GPR##bits(REG_RDX) >= b))                                                     \
            exc_raise(c, u, VEC_DE);                                                               \
        SET_GPR##bits(REG_RAX, a / b);                                                             \
        SET_GPR##bits(REG_RDX, a % b);                                                             \
        NEXT;                                                                                      \
    }

/* The smallest dividend by -1 would overflow even the wide type. */
#define DEFINE_IDIV(bits, wide, uwide)                                                             \
    HANDLER(idiv##bits)                                                                            \
    {                                                                                              \
        int##bits##_t b = (int##bits##_t)operand(c, u);                                            \
        wide a = (wide)((uwide)GPR##bits(REG_RDX) << bits | GPR##bits(REG_RAX));                   \
        wide q;                                                                                    \
        if (unlikely(b == 0 || (b == -1 && a < -(wide)INT##bits##_MAX)))                           \
            exc_raise(c, u, VEC_DE);                                                               \
        q = a / b;                                                                                 \
        if (unlikely(q > INT##bits##_MAX || q < INT##bits##_MIN))                                  \
            exc_raise(c, u, VEC_DE);                                                               \
        SET_GPR##bits(REG_RAX, q);                                                                 \
        SET_GPR##bits(REG_RDX, a - q * b);                                                         \
        NEXT;                                                                                      \
    }

DEFINE_DIV(16, uint32_t)
DEFINE_DIV(32, uint64_t)
DEFINE_IDIV(16, int32_t, uint32_t)
DEFINE_IDIV(32, int64_t, uint64_t)
DEFINE_IDIV(64, int128_t, uint128_t)

HANDLER(div64)
{
    uint64_t b = operand(c, u), a = GPR64(REG_RAX), high = GPR64(REG_RDX);

    if (unlikely(high >= b))
        exc_raise(c, u, VEC_DE);
    __asm__("divq %[b]" : "+&a"(a), "+&d"(high) : [b] "r"(b) : "cc");
    GPR64(REG_RAX) = a;
    GPR64(REG_RDX) = high;
    NEXT;
}

static uop_fn *const mul_fn[4] = {mul8, mul16, mul32, mul64};
static uop_fn *const imul_fn[4] = {imul8, imul16, imul32, imul64};
static uop_fn *const div_fn[4] = {div8, div16, div32, div64};
static uop_fn *const idiv_fn[4] = {idiv8, idiv16, idiv32, idiv64};

/* [size][rr rm rri rmi] */
static uop_fn *const imul2_fn[4][4] = {
    [1] = {imul16_rr, imul16_rm, imul16_rri, imul16_rmi},
    [2] = {imul32_rr, imul32_rm, imul32_rri, imul32_rmi},
    [3] = {imul64_rr, imul64_rm, imul64_rri, imul64_rmi},
};

static bool build_one(struct dec *d, struct uop *u, uop_fn *const table[4])
{
    u->src2 = d->mem_op == 0;
    if (!u->src2)
        u->src = dec_gpr(d->op[0].reg.value);
    u->fn = table[size_index(u->opsize)];
    return true;
}

/* The one-operand form is F6 /5 or F7 /5. */
static bool build_imul(struct dec *d, struct uop *u)
{
    bool memory = d->mem_op == 1;

    if (d->i.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (d->i.opcode == 0xf6 || d->i.opcode == 0xf7))
        return build_one(d, u, imul_fn);
    u->dst = dec_gpr(d->op[0].reg.value);
    if (!memory)
        u->src = dec_gpr(d->op[1].reg.value);
    u->fn = imul2_fn[size_index(u->opsize)][(d->ops > 2 ? 2 : 0) + memory];
    return true;
}

bool int_build_muldiv(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_MUL:
        return build_one(d, u, mul_fn);
    case ZYDIS_MNEMONIC_DIV:
        return build_one(d, u, div_fn);
    case ZYDIS_MNEMONIC_IDIV:
        return build_one(d, u, idiv_fn);
    case ZYDIS_MNEMONIC_IMUL:
        return build_imul(d, u);
    default:
        return false;
    }
}
