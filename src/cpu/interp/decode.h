/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to a uop: Zydis decodes, the family of the mnemonic chooses the handler.
 *
 * A family is a file with a build function; families.c lists them. build gets the decoded
 * instruction and a uop whose operand fields (base, index, scale, disp, seg, opsize, addrsize,
 * prefix, imm, off, len, n) are already filled by decode.c, and sets u->fn (and dst, src, ...). It
 * answers false for a form that this CPU does not have: #UD. u->extra and u->link of branches are
 * the block cache's (integer_branch.c).
 */
#ifndef UMBRA_CPU_INTERP_DECODE_H
#define UMBRA_CPU_INTERP_DECODE_H

#include <Zydis/Zydis.h>

#include "cpu/interp/interp.h"

struct dec {
    const struct interp *c;
    ZydisDecodedInstruction i;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    unsigned ops; /* visible (explicit) operands: op[0..ops-1] */
    int mem_op;   /* index of the explicit memory operand in op[], -1: none */
    enum code_mode mode;
    bool linkable;     /* direct branches may link (CS has no limit) */
    bool ends_block;   /* set by the builder: branch, mode change, ... */
    uint8_t immediate; /* see rewrite_immediate */
    ZydisDecoder decoder;
};

typedef bool build_fn(struct dec *d, struct uop *u);

/* Prepares d for the code mode of c. */
void dec_init(struct dec *d, const struct interp *c);

/*
 * Decodes one instruction at offset off of its page; avail bytes can be read. DEC_NEEDS_MORE: it
 * goes on beyond them. All else is DEC_OK: an instruction that does not exist becomes a uop that
 * raises.
 */
enum dec_result { DEC_OK, DEC_NEEDS_MORE };
enum dec_result dec_insn(struct dec *d, const uint8_t *bytes, unsigned avail, unsigned off,
                         struct uop *u);

/* families.c: asks each family in turn; false: #UD. */
bool families_build(struct dec *d, struct uop *u);

bool dec_is_gpr(ZydisRegister reg);

/* enum x86_seg of a Zydis segment register (SEG_DS for none). */
uint8_t dec_seg(ZydisRegister reg);

/* Segment of an implicit memory operand: the override that counts, else seg. */
uint8_t dec_override(const struct dec *d, uint8_t seg);

/* Byte offset in c->gpr of a Zydis general register (AH.. included); invariant: it is one. */
uint8_t dec_gpr(ZydisRegister reg);

/* Families (each in the file of its name). */
build_fn build_integer; /* integer.c: moves, ALU, shifts, bits, strings, near branches, BMI */
build_fn
    /* system.c: segments, far transfers, interrupts, control registers, MSRs, I/O, ... */
    build_system;
build_fn build_fp; /* fp.c: x87, MMX, SSE..SSE4.2, AES, XSAVE family, MXCSR */

#endif
