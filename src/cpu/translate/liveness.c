/* SPDX-License-Identifier: Apache-2.0 */
/* Which arithmetic flags count where: a check may destroy the others. */
#include "cpu/translate/compile.h"

#include <string.h>

#include "cpu/interp/run.h"

#define LOOK_AHEAD 12

/*
 * UD2 is behind the jumps of checks that hold (BUG and WARN in kernels): code that has it is worth
 * no less, and leaves there.
 */
static bool is_ud2(const struct compile *k, const uint8_t *bytes, unsigned room)
{
    return !k->across_bytes && room >= 2 && bytes[0] == 0x0f && bytes[1] == 0x0b;
}

static bool decode_one(struct compile *k, unsigned off, struct uop *u)
{
    unsigned room = (unsigned)PAGE_SIZE - off;
    const uint8_t *bytes;

    if (off >= PAGE_SIZE)
        return false;
    if (k->across_bytes && off == uop_of(k, 0)->off)
        room = k->across_bytes;
    bytes = code_bytes(k, off);
    if (dec_insn(&k->dec, bytes, room, off, u) != DEC_OK)
        return false;
    return u->fn == op_ud ? is_ud2(k, bytes, room) : u->fn != op_too_long;
}

/* All flags count where a handler or another block may look at them. */
static struct insn_flags flags_of(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    if (insn_is_jcc(i) || insn_is_plain(i, op) || insn_is_vector(i, op) ||
        i->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX || insn_is_nothing(i))
        return insn_flags(i, op);
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_LEA:
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
    case ZYDIS_MNEMONIC_LEAVE:
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
    case ZYDIS_MNEMONIC_SFENCE:
    case ZYDIS_MNEMONIC_MFENCE:
    case ZYDIS_MNEMONIC_CLD:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDFSBASE:
    case ZYDIS_MNEMONIC_RDGSBASE:
    case ZYDIS_MNEMONIC_STD:
    case ZYDIS_MNEMONIC_WRFSBASE:
    case ZYDIS_MNEMONIC_WRGSBASE:
        return (struct insn_flags){0};
    case ZYDIS_MNEMONIC_MOV: /* to a general register, from one that is not */
        return (struct insn_flags){.reads = op[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                                                    dec_is_gpr(op[0].reg.value)
                                                ? 0
                                                : RFLAGS_ARITH};
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
        return insn_flags(i, op);
    default:
        return (struct insn_flags){.reads = RFLAGS_ARITH};
    }
}

/* A direct JMP or CALL. */
static bool is_direct(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    return (i->mnemonic == ZYDIS_MNEMONIC_JMP || i->mnemonic == ZYDIS_MNEMONIC_CALL) &&
           op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

/* Is this the place of one of the block's own instructions, which are watched anyway? */
static bool is_own(const struct compile *k, int64_t off)
{
    for (unsigned n = 0; n < k->n; n++)
        if (uop_of(k, n)->off == off)
            return true;
    return false;
}

uint32_t compile_live_at(struct compile *k, int64_t off)
{
    uint32_t live = 0, open = RFLAGS_ARITH;
    bool own = is_own(k, off);
    struct uop u;

    for (unsigned left = LOOK_AHEAD; left && open; left--) {
        struct insn_flags f;

        if (off < 0 || !decode_one(k, (unsigned)off, &u))
            break;
        own = own && is_own(k, off);
        if (!own)
            k->looked_at |= block_lines((unsigned)off, (unsigned)off + u.len);
        if (is_direct(&k->dec.i, k->dec.op) && u.opsize == k->word) {
            off = u.imm;
            left = left / 2 + 1; /* ways that turn often are not worth it */
            continue;
        }
        f = flags_of(&k->dec.i, k->dec.op);
        live |= f.reads & open;
        open &= ~(f.reads | f.writes);
        if (k->dec.ends_block || insn_is_jcc(&k->dec.i))
            break;
        off += u.len;
    }
    return live | open;
}

bool compile_leaves(const struct compile *k, unsigned n)
{
    return k->is_last && n == k->n - 1;
}

bool compile_goes_to(const struct compile *k, unsigned n)
{
    return compile_leaves(k, n) && is_direct(&k->i[n], k->op[n]);
}

/* Decoding ahead uses k->dec, so targets are looked at after the block itself. */
static void find_live(struct compile *k)
{
    uint32_t live = RFLAGS_ARITH;

    if (!k->is_last)
        live = compile_live_at(k, uop_of(k, k->n)->imm);
    k->live[k->n] = live;
    for (unsigned n = k->n; n-- > 0;) {
        struct insn_flags f = flags_of(&k->i[n], k->op[n]);

        if (insn_is_jcc(&k->i[n]))
            live |= compile_live_at(k, uop_of(k, n)->imm) | f.reads;
        else if (compile_goes_to(k, n))
            live = compile_live_at(k, uop_of(k, n)->imm);
        else
            live = (live & ~f.writes) | f.reads;
        k->live[n] = live;
    }
}

bool compile_decode(struct compile *k)
{
    const struct tier_block *b = k->b;
    struct uop u;

    dec_init(&k->dec, &k->t->c);
    k->n = b->count - 1;
    k->is_last = false;
    if (!k->n || k->n > BLOCK_MAX_INSNS)
        return false;
    for (unsigned n = 0; n < k->n; n++) {
        if (!decode_one(k, uop_of(k, n)->off, &u))
            return false;
        k->i[n] = k->dec.i;
        memcpy(k->op[n], k->dec.op, sizeof k->op[n]);
        if (k->dec.ends_block)
            k->is_last = true;
    }
    find_live(k);
    return true;
}
