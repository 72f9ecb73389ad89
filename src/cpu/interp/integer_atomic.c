/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B. On memory they are always done by the host's locked
 * instruction: other vCPUs and device threads share the frame.
 */
#define INTERP_HOT
#include <stddef.h>

#include "cpu/interp/integer.h"

#define DEFINE_ATOMIC(bits, sfx)                                                                   \
    HANDLER(xchg##bits##_r)                                                                        \
    {                                                                                              \
        uint##bits##_t a = GPR##bits(u->dst), b = GPR##bits(u->src);                               \
        SET_GPR##bits(u->dst, b);                                                                  \
        SET_GPR##bits(u->src, a);                                                                  \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(xchg##bits##_m)                                                                        \
    {                                                                                              \
        void *p = rmw_begin(c, u, uop_lin(c, u, bits / 8, MMU_WRITE), bits / 8);                   \
        uint##bits##_t v = GPR##bits(u->src);                                                      \
        __asm__ volatile("xchg" sfx " %[v], %[m]"                                                  \
                         : [v] "+r"(v), [m] "+m"(*(mem##bits##_t *)p)                              \
                         :                                                                         \
                         : "memory");                                                              \
        rmw_end(c, u, p);                                                                          \
        SET_GPR##bits(u->src, v);                                                                  \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(xadd##bits##_r)                                                                        \
    {                                                                                              \
        uint##bits##_t a = GPR##bits(u->dst), b = GPR##bits(u->src), sum = a;                      \
        uint32_t f;                                                                                \
        __asm__("add" sfx " %[b], %[a]" FLAGS_ASM : [a] "+&r"(sum), "=&a"(f) : [b] "r"(b) : "cc"); \
        SET_GPR##bits(u->src, a);                                                                  \
        SET_GPR##bits(u->dst, sum);                                                                \
        c->flags16 = (uint16_t)f;                                                                  \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(xadd##bits##_m)                                                                        \
    {                                                                                              \
        void *p = rmw_begin(c, u, uop_lin(c, u, bits / 8, MMU_WRITE), bits / 8);                   \
        uint##bits##_t v = GPR##bits(u->src);                                                      \
        uint32_t f;                                                                                \
        __asm__ volatile("lock xadd" sfx " %[v], %[m]" FLAGS_ASM                                   \
                         : [v] "+&r"(v), [m] "+m"(*(mem##bits##_t *)p), "=&a"(f)                   \
                         :                                                                         \
                         : "cc", "memory");                                                        \
        rmw_end(c, u, p);                                                                          \
        SET_GPR##bits(u->src, v);                                                                  \
        c->flags16 = (uint16_t)f;                                                                  \
        NEXT;                                                                                      \
    }                                                                                              \
    /* The flags are those of CMP accumulator, operand. */                                         \
    static inline bool compare_a##bits(struct interp *c, uint##bits##_t operand)                   \
    {                                                                                              \
        uint##bits##_t a = GPR##bits(REG_RAX);                                                     \
        uint32_t f;                                                                                \
        __asm__("cmp" sfx " %[b], %[a]" FLAGS_ASM                                                  \
                : "=&a"(f)                                                                         \
                : [a] "r"(a), [b] "r"(operand)                                                     \
                : "cc");                                                                           \
        c->flags16 = (uint16_t)f;                                                                  \
        return a == operand;                                                                       \
    }                                                                                              \
    HANDLER(cmpxchg##bits##_r)                                                                     \
    {                                                                                              \
        uint##bits##_t old = GPR##bits(u->dst);                                                    \
        if (compare_a##bits(c, old))                                                               \
            SET_GPR##bits(u->dst, GPR##bits(u->src));                                              \
        else                                                                                       \
            SET_GPR##bits(REG_RAX, old);                                                           \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(cmpxchg##bits##_m)                                                                     \
    {                                                                                              \
        void *p = rmw_begin(c, u, uop_lin(c, u, bits / 8, MMU_WRITE), bits / 8);                   \
        uint##bits##_t old = GPR##bits(REG_RAX);                                                   \
        __asm__ volatile("lock cmpxchg" sfx " %[v], %[m]"                                          \
                         : "+a"(old), [m] "+m"(*(mem##bits##_t *)p)                                \
                         : [v] "r"(GPR##bits(u->src))                                              \
                         : "cc", "memory");                                                        \
        rmw_end(c, u, p);                                                                          \
        if (!compare_a##bits(c, old))                                                              \
            SET_GPR##bits(REG_RAX, old);                                                           \
        NEXT;                                                                                      \
    }

DEFINE_ATOMIC(8, "b")
DEFINE_ATOMIC(16, "w")
DEFINE_ATOMIC(32, "l")
DEFINE_ATOMIC(64, "q")

static void set_zf(struct interp *c, bool zf)
{
    c->flags16 = (uint16_t)((c->flags16 & ~F16_ZF) | (zf ? F16_ZF : 0));
}

HANDLER(cmpxchg8b)
{
    void *p = rmw_begin(c, u, uop_lin(c, u, 8, MMU_WRITE), 8);
    uint64_t want = (uint64_t)GPR32(REG_RDX) << 32 | GPR32(REG_RAX), old = want;
    uint64_t new = (uint64_t)GPR32(REG_RCX) << 32 | GPR32(REG_RBX);

    __asm__ volatile("lock cmpxchgq %[v], %[m]"
                     : "+a"(old), [m] "+m"(*(mem64_t *)p)
                     : [v] "r"(new)
                     : "cc", "memory");
    rmw_end(c, u, p);
    set_zf(c, old == want);
    if (old != want) {
        SET_GPR32(REG_RAX, old);
        SET_GPR32(REG_RDX, old >> 32);
    }
    NEXT;
}

_Static_assert(offsetof(struct interp, rmw_buf) % 16 == 0, "CMPXCHG16B may work in it");

HANDLER(cmpxchg16b)
{
    uint64_t lin = uop_lin(c, u, 16, MMU_WRITE);
    uint64_t low = GPR64(REG_RAX), high = GPR64(REG_RDX);
    void *p;
    bool equal;

    if (lin & 15u)
        exc_raise_code(c, u, VEC_GP, 0);
    p = rmw_begin(c, u, lin, 16);
    __asm__ volatile("lock cmpxchg16b %[m]\n\tsetz %[z]"
                     : "+a"(low), "+d"(high), [m] "+m"(*(uint128_t *)p), [z] "=q"(equal)
                     : "b"(GPR64(REG_RBX)), "c"(GPR64(REG_RCX))
                     : "cc", "memory");
    rmw_end(c, u, p);
    set_zf(c, equal);
    if (!equal) {
        GPR64(REG_RAX) = low;
        GPR64(REG_RDX) = high;
    }
    NEXT;
}

#define ATOMIC_NAMES(op)                                                                           \
    {                                                                                              \
        {op##8_r, op##8_m}, {op##16_r, op##16_m}, {op##32_r, op##32_m},                            \
        {                                                                                          \
            op##64_r, op##64_m                                                                     \
        }                                                                                          \
    }

static uop_fn *const xchg_fn[4][2] = ATOMIC_NAMES(xchg);
static uop_fn *const xadd_fn[4][2] = ATOMIC_NAMES(xadd);
static uop_fn *const cmpxchg_fn[4][2] = ATOMIC_NAMES(cmpxchg);

static bool build(struct dec *d, struct uop *u, uop_fn *const table[4][2])
{
    unsigned reg_op = d->mem_op == 1 ? 0 : 1;

    u->src = dec_gpr(d->op[reg_op].reg.value);
    if (d->mem_op < 0)
        u->dst = dec_gpr(d->op[0].reg.value);
    u->fn = table[size_index(u->opsize)][d->mem_op >= 0];
    return true;
}

bool int_build_atomic(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_XCHG:
        return build(d, u, xchg_fn);
    case ZYDIS_MNEMONIC_XADD:
        return build(d, u, xadd_fn);
    case ZYDIS_MNEMONIC_CMPXCHG:
        return build(d, u, cmpxchg_fn);
    case ZYDIS_MNEMONIC_CMPXCHG8B:
        u->fn = cmpxchg8b;
        return true;
    case ZYDIS_MNEMONIC_CMPXCHG16B:
        u->fn = cmpxchg16b;
        return true;
    default:
        return false;
    }
}
