/* SPDX-License-Identifier: Apache-2.0 */
/* INC DEC NEG NOT. */
#define INTERP_HOT
#include "cpu/interp/integer.h"

/* INC and DEC keep CF: the host gets it first. NOT has no flags at all. */
#define FLAGGED_CORE(op, insn, pre, bits, sfx)                                                     \
    static inline uint##bits##_t do_##op##bits(struct interp *c, uint##bits##_t a)                 \
    {                                                                                              \
        uint32_t f = c->flags16;                                                                   \
        __asm__(pre insn sfx " %[a]" FLAGS_ASM : [a] "+&r"(a), [f] "+&a"(f) : : "cc");             \
        c->flags16 = (uint16_t)f;                                                                  \
        return a;                                                                                  \
    }                                                                                              \
    static inline void lock_##op##bits(struct interp *c, void *p)                                  \
    {                                                                                              \
        uint32_t f = c->flags16;                                                                   \
        __asm__ volatile(pre "lock " insn sfx " %[m]" FLAGS_ASM                                    \
                         : [m] "+m"(*(mem##bits##_t *)p), [f] "+&a"(f)                             \
                         :                                                                         \
                         : "cc", "memory");                                                        \
        c->flags16 = (uint16_t)f;                                                                  \
    }

#define PLAIN_CORE(op, insn, pre, bits, sfx)                                                       \
    static inline uint##bits##_t do_##op##bits(struct interp *c, uint##bits##_t a)                 \
    {                                                                                              \
        (void)c;                                                                                   \
        return (uint##bits##_t) ~a;                                                                \
    }                                                                                              \
    static inline void lock_##op##bits(struct interp *c, void *p)                                  \
    {                                                                                              \
        (void)c;                                                                                   \
        __asm__ volatile("lock " insn sfx " %[m]" : [m] "+m"(*(mem##bits##_t *)p) : : "memory");   \
    }

#define DEFINE_FORMS(op, bits)                                                                     \
    HANDLER(op##bits##_r)                                                                          \
    {                                                                                              \
        SET_GPR##bits(u->dst, do_##op##bits(c, GPR##bits(u->dst)));                                \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_m)                                                                          \
    {                                                                                              \
        mem##bits##_t *p = rmw_begin(c, u, uop_lin(c, u, bits / 8, MMU_WRITE), bits / 8);          \
        *p = do_##op##bits(c, *p);                                                                 \
        rmw_end(c, u, p);                                                                          \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_lock)                                                                       \
    {                                                                                              \
        void *p = rmw_begin(c, u, uop_lin(c, u, bits / 8, MMU_WRITE), bits / 8);                   \
        lock_##op##bits(c, p);                                                                     \
        rmw_end(c, u, p);                                                                          \
        NEXT;                                                                                      \
    }

#define DEFINE_UNARY(CORE, op, insn, pre)                                                          \
    CORE(op, insn, pre, 8, "b")                                                                    \
    CORE(op, insn, pre, 16, "w")                                                                   \
    CORE(op, insn, pre, 32, "l")                                                                   \
    CORE(op, insn, pre, 64, "q")                                                                   \
    DEFINE_FORMS(op, 8)                                                                            \
    DEFINE_FORMS(op, 16)                                                                           \
    DEFINE_FORMS(op, 32)                                                                           \
    DEFINE_FORMS(op, 64)

DEFINE_UNARY(FLAGGED_CORE, inc, "inc", "btl $8, %[f]\n\t")
DEFINE_UNARY(FLAGGED_CORE, dec, "dec", "btl $8, %[f]\n\t")
DEFINE_UNARY(FLAGGED_CORE, neg, "neg", "")
DEFINE_UNARY(PLAIN_CORE, not, "not", "")

enum { UNARY_R, UNARY_M, UNARY_LOCK, UNARY_FORMS };

#define UNARY_NAMES(op, bits)                                                                      \
    {                                                                                              \
        op##bits##_r, op##bits##_m, op##bits##_lock                                                \
    }
#define UNARY_SIZES(op)                                                                            \
    {                                                                                              \
        UNARY_NAMES(op, 8), UNARY_NAMES(op, 16), UNARY_NAMES(op, 32), UNARY_NAMES(op, 64)          \
    }

static uop_fn *const inc_fn[4][UNARY_FORMS] = UNARY_SIZES(inc);
static uop_fn *const dec_fn[4][UNARY_FORMS] = UNARY_SIZES(dec);
static uop_fn *const neg_fn[4][UNARY_FORMS] = UNARY_SIZES(neg);
static uop_fn *const not_fn[4][UNARY_FORMS] = UNARY_SIZES(not );

bool int_build_unary(struct dec *d, struct uop *u)
{
    unsigned form = d->mem_op < 0 ? UNARY_R : u->prefix & UOP_LOCK ? UNARY_LOCK : UNARY_M;
    uop_fn *const(*table)[UNARY_FORMS];

    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_INC:
        table = inc_fn;
        break;
    case ZYDIS_MNEMONIC_DEC:
        table = dec_fn;
        break;
    case ZYDIS_MNEMONIC_NEG:
        table = neg_fn;
        break;
    case ZYDIS_MNEMONIC_NOT:
        table = not_fn;
        break;
    default:
        return false;
    }
    if (form == UNARY_R)
        u->dst = dec_gpr(d->op[0].reg.value);
    u->fn = table[size_index(u->opsize)][form];
    return true;
}
