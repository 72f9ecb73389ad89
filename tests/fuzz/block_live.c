/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flags that are dead, found by walking all ways that code can go on: what nobody can look at may
 * differ (docs/translator.md, "Exactness"). Where a way cannot be followed, all flags are live.
 */
#include <Zydis/Zydis.h>

#include "block.h"

#define DEPTH 96u

struct walk {
    int (*fetch)(void *arg, uint64_t va);
    void *arg;
    ZydisDecoder decoder;
};

static bool is_shift(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
        return true;
    default:
        return false;
    }
}

/* These surely write what they leave undefined. */
static bool is_logic(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_AND || m == ZYDIS_MNEMONIC_OR || m == ZYDIS_MNEMONIC_XOR ||
           m == ZYDIS_MNEMONIC_TEST || m == ZYDIS_MNEMONIC_SHL || m == ZYDIS_MNEMONIC_SHR ||
           m == ZYDIS_MNEMONIC_SAR;
}

/* A shift whose count may be 0 leaves the flags. */
static bool may_leave_flags(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    const ZydisDecodedOperand *count = &op[i->operand_count_visible - 1];

    if (i->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE))
        return true;
    return is_shift(i->mnemonic) && !(count->type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
                                      (count->imm.value.u & (i->operand_width == 64 ? 63 : 31)));
}

/* Of the flags in `open`, those that some way reads before it writes them. */
static uint32_t live(struct walk *w, uint64_t rip, uint32_t open, unsigned depth)
{
    uint8_t bytes[15];
    ZydisDecodedInstruction i;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    uint32_t found = 0, reads = 0, writes = 0;
    unsigned n = 0;

    for (; open; rip += i.length, depth--) {
        if (!depth)
            return found | open;
        for (n = 0; n < sizeof bytes; n++) {
            int b = w->fetch(w->arg, rip + n);
            if (b < 0)
                break;
            bytes[n] = (uint8_t)b;
        }
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&w->decoder, bytes, n, &i, op)))
            return found | open;
        reads = writes = 0;
        if (i.cpu_flags) {
            reads = i.cpu_flags->tested & RFLAGS_ARITH;
            if (!may_leave_flags(&i, op))
                writes = (i.cpu_flags->modified | i.cpu_flags->set_0 | i.cpu_flags->set_1 |
                          (is_logic(i.mnemonic) ? i.cpu_flags->undefined : 0)) &
                         RFLAGS_ARITH;
        }
        found |= reads & open;
        open &= ~(reads | writes);
        if (i.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE && i.meta.category != ZYDIS_CATEGORY_RET &&
            i.meta.category != ZYDIS_CATEGORY_INTERRUPT &&
            i.meta.category != ZYDIS_CATEGORY_SYSCALL)
            continue;
        if (op[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE ||
            i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ||
            i.meta.category == ZYDIS_CATEGORY_INTERRUPT)
            return found | open;
        found |= live(w, rip + i.length + (uint64_t)op[0].imm.value.s, open, depth / 2);
        open &= ~found;
        if (i.meta.category != ZYDIS_CATEGORY_COND_BR)
            return found;
    }
    return found;
}

bool is_narrow(uint64_t cs)
{
    return cs == CS_KERNEL_32 || cs == CS_USER_32;
}

uint32_t dead_flags(uint64_t rip, bool narrow, int (*fetch)(void *arg, uint64_t va), void *arg)
{
    struct walk w = {.fetch = fetch, .arg = arg};

    if (narrow)
        ZydisDecoderInit(&w.decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    else
        ZydisDecoderInit(&w.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return RFLAGS_ARITH & ~live(&w, rip, RFLAGS_ARITH, DEPTH);
}
