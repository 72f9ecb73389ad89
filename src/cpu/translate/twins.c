/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Twins: a guest register that lives in memory and one that has a host register, of the same value
 * since a MOV between them. Who reads the one takes the other, and does not wait for a store.
 *
 * What is known before an instruction is known of the guest, whichever way native code came there:
 * a block is entered at its beginning only.
 */
#include "cpu/translate/compile.h"

#include <string.h>

/* A register of 64 bits that may be a twin; NO_REGISTER: another operand. */
static unsigned whole_register(const ZydisDecodedOperand *op)
{
    unsigned guest;

    if (op->type != ZYDIS_OPERAND_TYPE_REGISTER || op->size != 64 || !dec_is_gpr(op->reg.value))
        return NO_REGISTER;
    guest = dec_gpr(op->reg.value) / 8;
    return guest == RSP ? NO_REGISTER : guest;
}

static bool is_known(const struct compile *k, unsigned n)
{
    const ZydisDecodedInstruction *i = &k->i[n];

    return insn_is_jcc(i) || insn_is_nothing(i) || insn_is_plain(i, k->op[n]) ||
           insn_is_vector(i, k->op[n]) || i->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ||
           i->mnemonic == ZYDIS_MNEMONIC_LEA || is_push_or_pop(k, n);
}

static void forget_written(const struct compile *k, unsigned n, uint8_t *twin)
{
    unsigned written = insn_written(&k->i[n], k->op[n]);

    for (unsigned g = 0; g < GUEST_REGISTERS; g++)
        if ((written >> g | written >> twin[g]) & 1)
            twin[g] = NO_REGISTER;
}

void twins_find(struct compile *k)
{
    uint8_t now[GUEST_REGISTERS];

    memset(now, NO_REGISTER, sizeof now);
    for (unsigned n = 0; n < k->n; n++) {
        const ZydisDecodedOperand *op = k->op[n];

        memcpy(k->twin[n], now, sizeof now);
        if (!is_known(k, n)) {
            memset(now, NO_REGISTER, sizeof now);
            continue;
        }
        forget_written(k, n, now);
        if (k->i[n].mnemonic == ZYDIS_MNEMONIC_MOV) {
            unsigned to = whole_register(&op[0]), from = whole_register(&op[1]);

            if (to == NO_REGISTER || from == NO_REGISTER)
                continue;
            if (host_reg(to) == X_NONE && host_reg(from) != X_NONE)
                now[to] = (uint8_t)from;
            else if (host_reg(from) == X_NONE && host_reg(to) != X_NONE)
                now[from] = (uint8_t)to;
        }
    }
}

unsigned twin_host(const struct compile *k, unsigned n, unsigned guest)
{
    unsigned twin = k->in_loop ? NO_REGISTER : k->twin[n][guest];

    return twin == NO_REGISTER ? X_NONE : host_reg(twin);
}
