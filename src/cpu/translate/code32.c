/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 32-bit code: a kernel of its own, or programs under a 64-bit one. It is native while its segments
 * are flat (code_is_flat), so that an effective address, cut to 32 bits, is a linear one. Registers
 * are written as by 64-bit code that uses 32 bits of them; what lies in their upper halves never
 * gets into an address, because addresses are computed in 32 bits.
 */
#include "cpu/interp/mem.h"
#include "cpu/interp/seg.h"
#include "cpu/translate/compile.h"

/* Branches with 16-bit operands cut EIP. */
bool code32_takes(const struct compile *k)
{
    for (unsigned n = 0; k->word == 4 && n < k->n; n++)
        if (k->i[n].meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && uop_of(k, n)->opsize == 2)
            return false;
    return true;
}

/* --- FS and GS --- */

#define DATA_BITS                                                                                  \
    (SEG_ATTR_UNUSABLE | SEG_ATTR_P | SEG_ATTR_S | SEG_TYPE_CODE | SEG_TYPE_EXPAND | SEG_TYPE_RW)

/* Data that may be read and written, without a limit, wherever it begins. */
static bool is_without_limit(const struct x86_segment *s)
{
    return s->limit == UINT32_MAX &&
           (s->attr & DATA_BITS) == (SEG_ATTR_P | SEG_ATTR_S | SEG_TYPE_RW);
}

static bool is_constant(const struct uop *u)
{
    return u->base == GPR_ZERO && u->index == GPR_ZERO;
}

/* Does an access of so many bytes there end within the segment? */
static bool is_within(uint32_t at, unsigned bytes)
{
    return at <= UINT32_MAX - (bytes - 1);
}

/* Is there an operand in memory that is looked at? A hint has one for its length only. */
static bool has_operand(const struct compile *k, unsigned n)
{
    return k->word == 4 && memory_operand(k, n) && !insn_is_nothing(&k->i[n]);
}

bool code32_is_based(const struct compile *k, unsigned n)
{
    return has_operand(k, n) && !seg_is_flat(uop_of(k, n)->seg);
}

static bool base_is_possible(const struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);

    return (u->seg == SEG_FS || u->seg == SEG_GS) && is_without_limit(&k->t->c.s.seg[u->seg]) &&
           (!is_constant(u) || is_within((uint32_t)u->disp, memory_operand(k, n)->size / 8));
}

_Static_assert(offsetof(struct x86_segment, attr) == offsetof(struct x86_segment, limit) + 4,
               "limit and attr are compared at once");

void put_base_guard(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n), *pair = fallback_pair(k, n, CALLOUT_STATE);
    const struct x86_segment *s = &k->t->c.s.seg[u->seg];
    unsigned bytes = memory_operand(k, n)->size / 8;

    k->r10_share = NO_SHARE;
    flags_before(k, k->live[n]);
    emit_imm64(&k->e, HOST_T0, s->limit | (uint64_t)s->attr << 32);
    emit_on(&k->e, 0x3b, HOST_T0, ABS(s->limit)); /* cmp */
    put_slow_if(k, 5, pair);                      /* not equal */
    if (is_constant(u) || bytes == 1)
        return;
    put_effective(k, u, HOST_T0);
    EMIT(&k->e, 0x41, 0x81, 0xfa); /* cmp r10d, ... */
    emit_u32(&k->e, UINT32_MAX - (bytes - 1));
    put_slow_if(k, 7, pair); /* above */
}

/* --- which instructions --- */

/* CS is no place for data; 16-bit addresses are rare. */
bool code32_refuses(const struct compile *k, unsigned n)
{
    return has_operand(k, n) &&
           (uop_of(k, n)->addrsize != 4 || (code32_is_based(k, n) && !base_is_possible(k, n)));
}

void code32_form(const ZydisDecodedInstruction *i, struct x_form *f)
{
    if (i->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
        return;
    if ((i->opcode & 0xf0u) == 0x40) { /* INC, DEC of a register */
        f->reg = i->opcode >> 3 & 1;
        f->op = 0xff;
        f->rm = XRM_REG;
    } else if ((i->opcode & 0xfcu) == 0xa0) { /* MOV of AL or EAX by an absolute address */
        f->op = i->opcode ^ (0xa0 ^ 0x8a);
        f->reg = X_RAX;
        f->rm = XRM_MEM;
    } else if (i->opcode == 0x82) { /* the same as 80 */
        f->op = 0x80;
    }
}

static void put_word_form(struct compile *k, struct x_form f)
{
    f.w = k->word == 8;
    emit_form(&k->e, &f);
}

void put_word_lea(struct compile *k, unsigned to, unsigned from, int32_t disp)
{
    put_word_form(k, lea_form(to, from, disp));
}

void put_word_move(struct compile *k, unsigned to, unsigned from)
{
    put_word_form(k, move_form(to, from));
}

struct x_form word_at_t0(const struct compile *k, unsigned op, unsigned reg)
{
    struct x_form f = at_t0(op, reg);

    f.w = k->word == 8;
    return f;
}
