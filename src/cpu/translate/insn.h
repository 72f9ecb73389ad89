/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the translator has to know of one decoded instruction: which arithmetic flags it reads and
 * surely writes, and whether its bytes may be written again with other registers and another memory
 * operand.
 */
#ifndef UMBRA_CPU_TRANSLATE_INSN_H
#define UMBRA_CPU_TRANSLATE_INSN_H

#include "cpu/interp/decode.h"

/* Flags as in RFLAGS_ARITH; touches: those that it writes at least sometimes. */
struct insn_flags {
    uint32_t reads, writes, touches;
};

struct insn_flags insn_flags(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op);

/* Which general registers it writes, at least sometimes or in part: bit n for number n. */
unsigned insn_written(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op);

/*
 * An instruction that does nothing but compute on its visible operands and flags: what it does is
 * the same wherever its operands lie.
 */
bool insn_is_plain(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op);

/* The same for an instruction with XMM registers: legacy encoding, no MMX register. */
bool insn_is_vector(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op);

/* Jcc with a displacement. */
bool insn_is_jcc(const ZydisDecodedInstruction *i);

/* A hint without any effect. */
bool insn_is_nothing(const ZydisDecodedInstruction *i);

#endif
