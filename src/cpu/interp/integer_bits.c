/* SPDX-License-Identifier: Apache-2.0 */
/* BT BTS BTR BTC BSF BSR TZCNT LZCNT POPCNT CRC32. */
#define INTERP_HOT
#include "cpu/interp/integer.h"

/* --- BT family: only CF changes --- */

enum { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };

static inline void set_cf(struct interp *c, bool cf)
{
    c->flags16 = (uint16_t)((c->flags16 & ~F16_CF) | (cf ? F16_CF : 0));
}

static inline uint64_t bit_apply(uint64_t v, uint64_t bit, unsigned what)
{
    switch (what) {
    case BIT_SET:
        return v | bit;
    case BIT_RESET:
        return v & ~bit;
    case BIT_COMPLEMENT:
        return v ^ bit;
    default:
        return v;
    }
}

/* src2: the bit number is a register (src), else imm. */
static inline uint64_t bit_number(const struct interp *c, const struct uop *u)
{
    return u->src2 ? GPR64(u->src) : (uint64_t)u->imm;
}

HANDLER(bt_reg)
{
    uint64_t v = gpr_get(c, u->dst, u->opsize);
    uint64_t n = bit_number(c, u) & (8u * u->opsize - 1);

    set_cf(c, (v >> n) & 1u);
    if (u->cond != BIT_TEST)
        gpr_set(c, u->dst, u->opsize, bit_apply(v, UINT64_C(1) << n, u->cond));
    NEXT;
}

/* A register bit number is signed and reaches any distance from the operand. */
static uint64_t bit_linear(struct interp *c, const struct uop *u, enum mmu_access_kind kind)
{
    uint64_t ea = uop_ea(c, u);

    if (u->src2) {
        unsigned bits = 8u * u->opsize;
        int64_t n = (int64_t)(GPR64(u->src) << (64 - bits)) >> (64 - bits);

        ea += (uint64_t)((n >> (3 + size_index(u->opsize))) * u->opsize);
        if (u->addrsize < 8)
            ea = u->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
    }
    return seg_linear(c, u, u->seg, ea, u->opsize, kind);
}

HANDLER(bt_mem)
{
    uint64_t n = bit_number(c, u) & (8u * u->opsize - 1);

    set_cf(c, (lin_load(c, u, bit_linear(c, u, MMU_READ), u->opsize) >> n) & 1u);
    NEXT;
}

static uint64_t ptr_get(const void *p, unsigned bytes)
{
    switch (bytes) {
    case 2:
        return *(const mem16_t *)p;
    case 4:
        return *(const mem32_t *)p;
    default:
        return *(const mem64_t *)p;
    }
}

static void ptr_set(void *p, unsigned bytes, uint64_t v)
{
    switch (bytes) {
    case 2:
        *(mem16_t *)p = (uint16_t)v;
        break;
    case 4:
        *(mem32_t *)p = (uint32_t)v;
        break;
    default:
        *(mem64_t *)p = v;
        break;
    }
}

HANDLER(btx_mem)
{
    uint64_t n = bit_number(c, u) & (8u * u->opsize - 1);
    void *p = rmw_begin(c, u, bit_linear(c, u, MMU_WRITE), u->opsize);
    uint64_t v = ptr_get(p, u->opsize);

    ptr_set(p, u->opsize, bit_apply(v, UINT64_C(1) << n, u->cond));
    set_cf(c, (v >> n) & 1u);
    rmw_end(c, u, p);
    NEXT;
}

#define LOCKED_BIT(insn, bits, sfx)                                                                \
    __asm__ volatile("lock " insn sfx " %[n], %[m]\n\tsetc %[cf]"                                  \
                     : [m] "+m"(*(mem##bits##_t *)p), [cf] "=q"(cf)                                \
                     : [n] "r"((uint##bits##_t)n)                                                  \
                     : "cc", "memory")
#define LOCKED_SIZES(insn)                                                                         \
    do {                                                                                           \
        if (u->opsize == 2)                                                                        \
            LOCKED_BIT(insn, 16, "w");                                                             \
        else if (u->opsize == 4)                                                                   \
            LOCKED_BIT(insn, 32, "l");                                                             \
        else                                                                                       \
            LOCKED_BIT(insn, 64, "q");                                                             \
    } while (0)

HANDLER(btx_lock)
{
    uint64_t n = bit_number(c, u) & (8u * u->opsize - 1);
    void *p = rmw_begin(c, u, bit_linear(c, u, MMU_WRITE), u->opsize);
    bool cf;

    if (u->cond == BIT_SET)
        LOCKED_SIZES("bts");
    else if (u->cond == BIT_RESET)
        LOCKED_SIZES("btr");
    else
        LOCKED_SIZES("btc");
    set_cf(c, cf);
    rmw_end(c, u, p);
    NEXT;
}

static bool build_bt(struct dec *d, struct uop *u, unsigned what)
{
    u->cond = (uint8_t)what;
    u->src2 = d->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
    if (u->src2)
        u->src = dec_gpr(d->op[1].reg.value);
    if (d->mem_op == 0) {
        u->fn = what == BIT_TEST ? bt_mem : u->prefix & UOP_LOCK ? btx_lock : btx_mem;
        return true;
    }
    u->dst = dec_gpr(d->op[0].reg.value);
    u->fn = bt_reg;
    return true;
}

/*
 * --- bit scans and counts, executed by the host on the whole register: BSF of zero keeps what it
 * keeps ---
 */

#define DEFINE_SCAN(op, insn, bits, sfx, mod)                                                      \
    static inline void do_##op##bits(struct interp *c, const struct uop *u, uint##bits##_t b)      \
    {                                                                                              \
        uint64_t a = GPR64(u->dst);                                                                \
        uint32_t f = c->flags16;                                                                   \
        __asm__(FLAGS_LOAD insn sfx " %[b], %" mod "[a]" FLAGS_ASM                                 \
                : [a] "+&r"(a), "+&a"(f)                                                           \
                : [b] "r"(b)                                                                       \
                : "cc");                                                                           \
        GPR64(u->dst) = a;                                                                         \
        c->flags16 = (uint16_t)f;                                                                  \
    }                                                                                              \
    HANDLER(op##bits##_r)                                                                          \
    {                                                                                              \
        do_##op##bits(c, u, GPR##bits(u->src));                                                    \
        NEXT;                                                                                      \
    }                                                                                              \
    HANDLER(op##bits##_m)                                                                          \
    {                                                                                              \
        do_##op##bits(c, u, mem_ld##bits(c, u));                                                   \
        NEXT;                                                                                      \
    }
#define DEFINE_SCANS(op, insn)                                                                     \
    DEFINE_SCAN(op, insn, 16, "w", "w")                                                            \
    DEFINE_SCAN(op, insn, 32, "l", "k")                                                            \
    DEFINE_SCAN(op, insn, 64, "q", "q")

DEFINE_SCANS(bsf, "bsf")
DEFINE_SCANS(bsr, "bsr")
DEFINE_SCANS(tzcnt, "tzcnt")
DEFINE_SCANS(lzcnt, "lzcnt")
DEFINE_SCANS(popcnt, "popcnt")

#define SCAN_NAMES(op)                                                                             \
    {                                                                                              \
        [1] = {op##16_r, op##16_m}, [2] = {op##32_r, op##32_m}, [3] = { op##64_r, op##64_m }       \
    }
static uop_fn *const bsf_fn[4][2] = SCAN_NAMES(bsf);
static uop_fn *const bsr_fn[4][2] = SCAN_NAMES(bsr);
static uop_fn *const tzcnt_fn[4][2] = SCAN_NAMES(tzcnt);
static uop_fn *const lzcnt_fn[4][2] = SCAN_NAMES(lzcnt);
static uop_fn *const popcnt_fn[4][2] = SCAN_NAMES(popcnt);

static bool build_scan(struct dec *d, struct uop *u, uop_fn *const table[4][2])
{
    bool memory = d->mem_op == 1;

    u->dst = dec_gpr(d->op[0].reg.value);
    if (!memory)
        u->src = dec_gpr(d->op[1].reg.value);
    u->fn = table[size_index(u->opsize)][memory];
    return true;
}

/* --- CRC32 (SSE4.2); src2: memory operand; cond: source size --- */

#define CRC_STEP(bits, sfx) __asm__("crc32" sfx " %1, %0" : "+r"(crc) : "r"((uint##bits##_t)v))

HANDLER(crc32)
{
    uint64_t v = u->src2 ? lin_load(c, u, uop_lin(c, u, u->cond, MMU_READ), u->cond)
                         : gpr_get(c, u->src, u->cond);
    uint32_t crc = GPR32(u->dst);

    if (u->cond == 1) {
        CRC_STEP(8, "b");
    } else if (u->cond == 2) {
        CRC_STEP(16, "w");
    } else if (u->cond == 4) {
        CRC_STEP(32, "l");
    } else {
        uint64_t wide = crc;
        __asm__("crc32q %1, %0" : "+r"(wide) : "r"(v));
        crc = (uint32_t)wide;
    }
    SET_GPR32(u->dst, crc);
    NEXT;
}

static bool build_crc32(struct dec *d, struct uop *u)
{
    u->dst = dec_gpr(d->op[0].reg.value);
    u->cond = (uint8_t)(d->op[1].size / 8);
    u->src2 = d->mem_op == 1;
    if (!u->src2)
        u->src = dec_gpr(d->op[1].reg.value);
    u->fn = crc32;
    return true;
}

bool int_build_bits(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
        return build_bt(d, u, BIT_TEST);
    case ZYDIS_MNEMONIC_BTS:
        return build_bt(d, u, BIT_SET);
    case ZYDIS_MNEMONIC_BTR:
        return build_bt(d, u, BIT_RESET);
    case ZYDIS_MNEMONIC_BTC:
        return build_bt(d, u, BIT_COMPLEMENT);
    case ZYDIS_MNEMONIC_BSF:
        return build_scan(d, u, bsf_fn);
    case ZYDIS_MNEMONIC_BSR:
        return build_scan(d, u, bsr_fn);
    case ZYDIS_MNEMONIC_TZCNT:
        return build_scan(d, u, tzcnt_fn);
    case ZYDIS_MNEMONIC_LZCNT:
        return build_scan(d, u, lzcnt_fn);
    case ZYDIS_MNEMONIC_POPCNT:
        return build_scan(d, u, popcnt_fn);
    case ZYDIS_MNEMONIC_CRC32:
        return build_crc32(d, u);
    default:
        return false;
    }
}
