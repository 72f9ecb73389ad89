/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes x86-64 machine code (SDM 2A 2). Code is written through one mapping and run through
 * another (code.h), so that places are given as pointers into the writable one; jumps are relative
 * and the same in both.
 */
#ifndef UMBRA_CPU_TRANSLATE_EMIT_H
#define UMBRA_CPU_TRANSLATE_EMIT_H

#include <stdbool.h>
#include <stdint.h>

/* at: where the next byte goes. Beyond end nothing is written and full is set. */
struct emit {
    uint8_t *at, *end;
    bool full;
};

enum { X_RAX, X_RCX, X_RDX, X_RBX, X_RSP, X_RBP, X_RSI, X_RDI, X_R8, X_R9, X_R10, X_R11 };
#define X_NONE 0xffu

enum x_rm {
    XRM_NONE, /* no ModRM; base: register in the opcode's low bits, or X_NONE */
    XRM_REG,  /* base */
    XRM_MEM,  /* [base + index << scale + disp]; base may be X_NONE */
    XRM_ABS   /* [disp], an address below 2 GiB */
};

/*
 * One instruction without its immediate.
 * map: 0 one-byte opcodes, 1 0F, 2 0F 38, 3 0F 3A;  rep: 0, 0xf2 or 0xf3;  w: REX.W
 * rex: a REX prefix even where no bit of it is needed (SPL, SIL, ...); gs: from the base of GS
 */
struct x_form {
    uint8_t map, op, reg, base, index, scale;
    uint8_t rep;
    enum x_rm rm;
    bool w, rex, lock, size16, gs;
    int32_t disp;
};

void emit_form(struct emit *e, const struct x_form *f);
void emit_bytes(struct emit *e, const void *bytes, unsigned count);
/* The bytes that are listed. */
#define EMIT(e_, ...)                                                                              \
    emit_bytes(e_, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
void emit_u8(struct emit *e, unsigned v);
void emit_u32(struct emit *e, uint32_t v);
void emit_u64(struct emit *e, uint64_t v);

/* MOV and LEA of 64 bits, for callers that want another width. */
struct x_form move_form(unsigned to, unsigned from);
struct x_form lea_form(unsigned to, unsigned base, int32_t disp);

/* An opcode of 64 bits with a register and what is at a 32-bit absolute address. */
void emit_on(struct emit *e, unsigned op, unsigned reg, uint32_t address);

/* Whole instructions; addresses as 32-bit absolute, operands of 64 bits. None touches flags. */
void emit_load(struct emit *e, unsigned reg, uint32_t address);
void emit_store(struct emit *e, unsigned reg, uint32_t address);
void emit_push_at(struct emit *e, uint32_t address);
void emit_pop_at(struct emit *e, uint32_t address);
void emit_move(struct emit *e, unsigned to, unsigned from);
void emit_lea(struct emit *e, unsigned to, unsigned base, int32_t disp);
void emit_imm32(struct emit *e, unsigned reg, uint32_t value); /* zero-extended */
void emit_imm64(struct emit *e, unsigned reg, uint64_t value);
/* So many bytes that do nothing, in few instructions. */
void emit_nops(struct emit *e, unsigned bytes);

/* A jump, call or conditional jump with a place for its distance; answers that place. */
uint8_t *emit_jump(struct emit *e);
uint8_t *emit_call(struct emit *e);
uint8_t *emit_jcc(struct emit *e, unsigned condition);
/* Makes the jump whose distance is at `place` go to `target`. */
void emit_patch(uint8_t *place, const uint8_t *target);

#endif
