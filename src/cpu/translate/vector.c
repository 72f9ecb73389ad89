/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vector instructions: the guest's XMM registers in the host's of the same number, and when.
 *
 * They are loaded by the first vector instruction that runs, and stay until native code is left.
 * Each block asks once, before its first vector instruction ("gate"): from there to the block's end
 * they are loaded. When they may not be loaded the interpreter goes on with that instruction.
 */
#include "cpu/translate/compile.h"

#include "cpu/interp/fp.h"

static const uint32_t default_mxcsr_bits = FP_MXCSR_MASKS | FP_MXCSR_MODES;

#define PUT(...) EMIT(e, __VA_ARGS__)

/* --- from the image to the host's registers and back --- */

bool vectors_are_allowed(const struct interp *c)
{
    return !(c->s.cr0 & (CR0_EM | CR0_TS)) && (c->s.cr4 & CR4_OSFXSR) &&
           (fp_get32(c, FPU_MXCSR) & FP_MXCSR_MASKS) == FP_MXCSR_MASKS;
}

/* An opcode of the 0F map without prefix on an absolute address. */
static void put_at(struct emit *e, unsigned op, unsigned reg, uint32_t address)
{
    emit_form(e, &(struct x_form){.map = 1,
                                  .op = (uint8_t)op,
                                  .reg = (uint8_t)reg,
                                  .rm = XRM_ABS,
                                  .disp = (int32_t)address});
}

#define MOVAPS_LOAD  0x28
#define MOVAPS_STORE 0x29
#define MXCSR_OP     0xae
#define LDMXCSR      2
#define STMXCSR      3

static void put_all_registers(struct emit *e, struct translate *t, unsigned op)
{
    for (unsigned n = 0; n < 16; n++)
        put_at(e, op, n, ABS(t->c.s.fpu[FPU_XMM + 16 * n]));
}

static void put_eax_from(struct emit *e, uint32_t address)
{
    emit_form(e, &(struct x_form){.op = 0x8b, .rm = XRM_ABS, .disp = (int32_t)address});
}

static void put_and_eax(struct emit *e, uint32_t mask)
{
    emit_u8(e, 0x25);
    emit_u32(e, mask);
}

static void put_cmp_eax(struct emit *e, uint32_t value)
{
    emit_u8(e, 0x3d);
    emit_u32(e, value);
}

/* MXCSR is written only when it differs: writing is slow. */
static void put_out_routine(struct emit *e, struct translate *t)
{
    uint8_t *usual;

    put_all_registers(e, t, MOVAPS_STORE);
    put_at(e, MXCSR_OP, STMXCSR, ABS(t->c.s.fpu[FPU_MXCSR]));
    put_eax_from(e, ABS(t->c.s.fpu[FPU_MXCSR]));
    put_and_eax(e, default_mxcsr_bits);
    put_cmp_eax(e, FP_MXCSR_INIT);
    usual = emit_jcc(e, 4);
    put_at(e, MXCSR_OP, LDMXCSR, ABS(t->host_mxcsr));
    emit_patch(usual, e->at);
    PUT(0xc3); /* ret */
}

static void put_in_routine(struct emit *e, struct translate *t)
{
    uint8_t *same;

    put_all_registers(e, t, MOVAPS_LOAD);
    put_at(e, MXCSR_OP, STMXCSR, ABS(t->present_mxcsr));
    put_eax_from(e, ABS(t->present_mxcsr));
    emit_form(e, &(struct x_form){
                     .op = 0x3b, .rm = XRM_ABS, .disp = (int32_t)ABS(t->c.s.fpu[FPU_MXCSR])});
    same = emit_jcc(e, 4);
    put_at(e, MXCSR_OP, LDMXCSR, ABS(t->c.s.fpu[FPU_MXCSR]));
    emit_patch(same, e->at);
    PUT(0xc3);
}

/* cmp byte [t->vectors], VECTORS_IN_HOST */
static void put_compare(struct emit *e, struct translate *t)
{
    PUT(0x80, 0x3c, 0x25);
    emit_u32(e, ABS(t->vectors));
    emit_u8(e, VECTORS_IN_HOST);
}

/* Calls a routine when the vectors are in the host's registers. */
static void put_call_if_loaded(struct emit *e, struct translate *t, const uint8_t *routine)
{
    uint8_t *over;

    put_compare(e, t);
    over = emit_jcc(e, 5);
    emit_patch(emit_call(e), code_rw(&t->code, routine));
    emit_patch(over, e->at);
}

void put_vectors_out(struct emit *e, struct translate *t)
{
    put_call_if_loaded(e, t, t->vectors_out);
}

void put_vectors_in(struct emit *e, struct translate *t)
{
    put_call_if_loaded(e, t, t->vectors_in);
}

/* mov byte [t->vectors], where */
void put_vectors_are(struct emit *e, struct translate *t, enum vectors_where where)
{
    PUT(0xc6, 0x04, 0x25);
    emit_u32(e, ABS(t->vectors));
    emit_u8(e, where);
}

/* --- the way through a gate --- */

/* vectors_are_allowed; answers the places of the jumps to "no". */
static void put_question(struct emit *e, struct translate *t, uint8_t *no[3])
{
    put_eax_from(e, ABS(t->c.s.cr0));
    PUT(0xa8, CR0_EM | CR0_TS); /* test al, imm8 */
    no[0] = emit_jcc(e, 5);
    put_eax_from(e, ABS(t->c.s.cr4));
    emit_u8(e, 0xa9); /* test eax, imm32 */
    emit_u32(e, CR4_OSFXSR);
    no[1] = emit_jcc(e, 4);
    put_eax_from(e, ABS(t->c.s.fpu[FPU_MXCSR]));
    put_and_eax(e, FP_MXCSR_MASKS);
    put_cmp_eax(e, FP_MXCSR_MASKS);
    no[2] = emit_jcc(e, 5);
}

/*
 * Called by a gate with, in r10, the uop that the interpreter goes on with if they may not be
 * loaded. Guest registers stay, flags if they are in place; r11 is lost.
 */
static const uint8_t *put_gate_routine(struct compile *k, enum flags_where flags)
{
    struct translate *t = k->t;
    struct emit *e = &k->e;
    const uint8_t *at = code_rx(&t->code, e->at);
    uint8_t *no[3];

    if (flags == FLAGS_IN_PLACE)
        put_flags_away(k);
    emit_move(e, HOST_T1, X_RAX);
    put_question(e, t, no);
    emit_patch(emit_call(e), code_rw(&t->code, t->vectors_in));
    put_vectors_are(e, t, VECTORS_IN_HOST);
    emit_move(e, X_RAX, HOST_T1);
    if (flags == FLAGS_IN_PLACE)
        put_flags_back(k);
    PUT(0xc3);
    for (unsigned n = 0; n < 3; n++)
        emit_patch(no[n], e->at);
    emit_move(e, X_RAX, HOST_T1);
    PUT(0x48, 0x83, 0xc4, 0x08); /* add rsp, 8: the return address */
    emit_patch(emit_jump(e), code_rw(&t->code, t->to_exit_flags_away));
    return at;
}

void vectors_write_routines(struct emit *e, struct translate *t)
{
    t->vectors_out = code_rx(&t->code, e->at);
    put_out_routine(e, t);
    t->vectors_in = code_rx(&t->code, e->at);
    put_in_routine(e, t);
}

void vectors_write_gates(struct emit *e, struct translate *t)
{
    struct compile *k = t->compile;

    k->e = *e;
    t->vectors_gate = put_gate_routine(k, FLAGS_IN_PLACE);
    t->vectors_gate_flags_away = put_gate_routine(k, FLAGS_AWAY);
    *e = k->e;
}

/* --- in a block --- */

/*
 * Where flags count and stay in place the byte is tested without them: mov r10, rcx; movzx ecx,
 * byte [t->vectors]; jrcxz over the jump; the jump; mov rcx, r10.
 */
static void put_gate_by_rcx(struct compile *k, struct vector_gate *g)
{
    emit_move(&k->e, HOST_T0, X_RCX);
    emit_form(&k->e, &(struct x_form){.map = 1,
                                      .op = 0xb6,
                                      .reg = X_RCX,
                                      .rm = XRM_ABS,
                                      .disp = (int32_t)ABS(k->t->vectors)});
    emit_u8(&k->e, 0xe3);
    emit_u8(&k->e, 5);
    g->from = emit_jump(&k->e);
    emit_move(&k->e, X_RCX, HOST_T0);
}

void put_gate(struct compile *k, unsigned n)
{
    struct vector_gate *g = &k->gate;

    k->r10_share = NO_SHARE;
    /* The check of a memory operand puts them away anyway. */
    if (uop_of(k, n)->m > (n ? uop_of(k, n - 1)->m : 0))
        flags_before(k, k->live[n]);
    *g = (struct vector_gate){.start = k->e.at, .uop = uop_of(k, n), .flags = k->flags};
    g->by_rcx = k->flags != FLAGS_AWAY && k->live[n];
    if (g->by_rcx) {
        put_gate_by_rcx(k, g);
    } else {
        put_compare(&k->e, k->t);
        g->from = emit_jcc(&k->e, 5);
    }
    g->resume = k->e.at;
}

void put_gate_before(struct compile *k, unsigned first, unsigned end)
{
    for (unsigned n = first; n < end && !k->gate.from; n++)
        if (insn_is_vector(&k->i[n], k->op[n]))
            put_gate(k, first);
}

void put_gate_way(struct compile *k)
{
    const struct vector_gate *g = &k->gate;

    if (!g->from)
        return;
    emit_patch(g->from, k->e.at);
    if (g->by_rcx)
        emit_move(&k->e, X_RCX, HOST_T0);
    put_page_out(k);
    emit_imm64(&k->e, HOST_T0, (uint64_t)(uintptr_t)g->uop);
    emit_patch(emit_call(&k->e),
               code_rw(&k->t->code, g->flags == FLAGS_AWAY ? k->t->vectors_gate_flags_away
                                                           : k->t->vectors_gate));
    emit_patch(emit_jump(&k->e), g->resume);
}

bool put_vector(struct compile *k, unsigned n)
{
    if (!insn_is_vector(&k->i[n], k->op[n]))
        return false;
    if (!k->gate.from)
        put_gate(k, n);
    return put_plain(k, n);
}

bool vector_is_aligned(const struct compile *k, unsigned n)
{
    return insn_is_vector(&k->i[n], k->op[n]) && (uop_of(k, n)->cond & FP_ALIGNED);
}
