/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 32-bit code: a kernel of its own, or programs under a 64-bit one. It is native while its segments
 * are flat (code_is_flat), so that an effective address, cut to 32 bits, is a linear one. Registers
 * are written as by 64-bit code that uses 32 bits of them; what lies in their upper halves never
 * gets into an address, because addresses are computed in 32 bits.
 */
#include "cpu/interp/mem.h"
#include "cpu/translate/compile.h"

/* Branches with 16-bit operands cut EIP. */
bool code32_takes(const struct compile *k)
{
    for (unsigned n = 0; k->word == 4 && n < k->n; n++)
        if (k->i[n].meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && uop_of(k, n)->opsize == 2)
            return false;
    return true;
}

/* FS, GS and CS are not flat, or not for every access; 16-bit addresses are rare. */
bool code32_refuses(const struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);

    return k->word == 4 && memory_operand(k, n) && (!seg_is_flat(u->seg) || u->addrsize != 4);
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

void put_word_lea(struct compile *k, unsigned to, unsigned from, int32_t disp)
{
    emit_form(&k->e, &(struct x_form){.op = 0x8d,
                                      .w = k->word == 8,
                                      .reg = (uint8_t)to,
                                      .rm = XRM_MEM,
                                      .base = (uint8_t)from,
                                      .index = X_NONE,
                                      .disp = disp});
}

void put_word_move(struct compile *k, unsigned to, unsigned from)
{
    emit_form(&k->e, &(struct x_form){.op = 0x89,
                                      .w = k->word == 8,
                                      .reg = (uint8_t)from,
                                      .rm = XRM_REG,
                                      .base = (uint8_t)to});
}

struct x_form word_at_t0(const struct compile *k, unsigned op, unsigned reg)
{
    struct x_form f = at_t0(op, reg);

    f.w = k->word == 8;
    return f;
}
