/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways between C and native code. enter is a C function; native code reaches to_fallback by a
 * call, with the uop in r10, and to_exit by a jump, with the uop in r10 that C goes on with. Each
 * has a stack of its own (pairs.h).
 */
#include "cpu/translate/translate.h"

#define PUT(...) EMIT(e, __VA_ARGS__)

static uint32_t gpr_at(struct translate *t, unsigned guest)
{
    return ABS(t->c.gpr[guest]);
}

/* Opcode with a 16-bit operand at an absolute address. */
static void flags_operand(struct emit *e, struct translate *t)
{
    PUT(0x04, 0x25);
    emit_u32(e, ABS(t->c.flags16));
}

/* c.flags16 -> RFLAGS; rax is lost. */
static void put_flags_in(struct emit *e, struct translate *t)
{
    PUT(0x0f, 0xb7); /* movzx eax, word [flags16] */
    flags_operand(e, t);
    PUT(0x04, 0x7f, 0x9e); /* add al, 127; sahf */
}

void put_window(struct emit *e, unsigned reg)
{
    PUT(0xf3, reg >= 8 ? 0x49 : 0x48, 0x0f, 0xae, 0xd8 | (reg & 7u)); /* wrgsbase */
}

/* GS is the host thread's; C does not use it. */
static void put_window_in(struct emit *e, struct translate *t)
{
    uint8_t *same;

    PUT(0xf3, 0x48, 0x0f, 0xae, 0xc8);            /* rdgsbase rax */
    emit_on(e, 0x3b, X_RAX, ABS(t->window_base)); /* cmp */
    same = emit_jcc(e, 4);
    emit_load(e, X_RAX, ABS(t->window_base));
    put_window(e, X_RAX);
    emit_patch(same, e->at);
}

static void put_state_in(struct emit *e, struct translate *t)
{
    put_window_in(e, t);
    put_vectors_in(e, t);
    PUT(0x0f, 0x6f, 0x04, 0x25); /* movq mm0, [icount] */
    emit_u32(e, ABS(t->c.icount));
    put_flags_in(e, t);
    for (unsigned g = RAX; g <= R15; g++)
        if (host_reg(g) != X_NONE)
            emit_load(e, host_reg(g), gpr_at(t, g));
}

static void put_state_out(struct emit *e, struct translate *t, bool flags)
{
    for (unsigned g = RAX; g <= R15; g++)
        if (host_reg(g) != X_NONE)
            emit_store(e, host_reg(g), gpr_at(t, g));
    if (flags) {
        PUT(0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
        PUT(0x66, 0x89);             /* mov [flags16], ax */
        flags_operand(e, t);
    }
    PUT(0x0f, 0x7f, 0x04, 0x25); /* movq [icount], mm0 */
    emit_u32(e, ABS(t->c.icount));
    PUT(0x0f, 0x77); /* emms */
    put_vectors_out(e, t);
}

static void put_c_stack(struct emit *e, struct translate *t)
{
    emit_store(e, X_RSP, ABS(t->pairs.rsp));
    emit_load(e, X_RSP, ABS(t->c_rsp));
}

/* rdi: c, rsi: the uop, rax: the function; calls it with rsp a multiple of 16. */
static void put_c_call(struct emit *e, struct translate *t,
                       const struct uop *(*function)(struct interp *, const struct uop *))
{
    emit_imm64(e, X_RDI, (uint64_t)(uintptr_t)&t->c);
    emit_move(e, X_RSI, X_R10);
    emit_imm64(e, X_RAX, (uint64_t)(uintptr_t)function);
    PUT(0xff, 0xd0); /* call rax */
}

static uint8_t *align(struct emit *e)
{
    while ((uintptr_t)e->at & 15u)
        emit_u8(e, 0xcc);
    return e->at;
}

static const uint8_t *put_return(struct emit *e, const struct code_memory *m)
{
    const uint8_t *at = align(e);

    PUT(0x48, 0x83, 0xc4, 0x08);                         /* add rsp, 8 */
    PUT(0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c); /* pop r15 r14 r13 r12 */
    PUT(0x5d, 0x5b, 0xc3);                               /* pop rbp rbx; ret */
    return code_rx(m, at);
}

static void put_enter(struct emit *e, struct translate *t)
{
    const uint8_t *at = align(e);

    PUT(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); /* push rbx rbp r12..r15 */
    PUT(0x48, 0x83, 0xec, 0x08);                                     /* sub rsp, 8 */
    emit_store(e, X_RSP, ABS(t->c_rsp));
    emit_move(e, HOST_T1, X_RDI);
    put_state_in(e, t);
    emit_load(e, X_RSP, ABS(t->pairs.rsp));
    PUT(0x41, 0xff, 0xe3); /* jmp r11 */
    t->enter = (native_enter_fn *)(uintptr_t)code_rx(&t->code, at);
}

static const uint8_t *put_exit(struct emit *e, struct translate *t, const uint8_t *to_return,
                               bool flags)
{
    const uint8_t *at = align(e);

    put_c_stack(e, t);
    put_state_out(e, t, flags);
    put_vectors_are(e, t, VECTORS_IN_IMAGE);
    emit_move(e, X_RAX, X_R10);
    emit_patch(emit_jump(e), code_rw(&t->code, to_return));
    return code_rx(&t->code, at);
}

static const uint8_t *put_fallback(struct emit *e, struct translate *t, const uint8_t *to_return,
                                   bool flags)
{
    const uint8_t *at = align(e);
    uint8_t *leave;

    emit_pop_at(e, ABS(t->resume));
    put_c_stack(e, t);
    put_state_out(e, t, flags);
    put_c_call(e, t, native_fallback);
    PUT(0x48, 0x85, 0xc0);  /* test rax, rax */
    leave = emit_jcc(e, 5); /* jnz */
    put_state_in(e, t);
    emit_load(e, X_RSP, ABS(t->pairs.rsp));
    emit_push_at(e, ABS(t->resume));
    PUT(0xc3); /* ret */
    emit_patch(leave, align(e));
    emit_patch(emit_jump(e), code_rw(&t->code, to_return));
    return code_rx(&t->code, at);
}

void thunks_write(struct translate *t)
{
    struct code_memory *m = &t->code;
    struct emit emitter = {.at = m->rw, .end = m->rw + m->size / 2}, *e = &emitter;
    const uint8_t *to_return;

    vectors_write_routines(e, t);
    put_enter(e, t);
    to_return = put_return(e, m);
    t->to_exit = put_exit(e, t, to_return, true);
    t->to_exit_flags_away = put_exit(e, t, to_return, false);
    t->to_arrival = code_rx(m, align(e));
    emit_store(e, HOST_T0, ABS(t->c.rip));
    PUT(0x45, 0x31, 0xd2); /* xor r10d, r10d */
    emit_patch(emit_jump(e), code_rw(m, t->to_exit_flags_away));
    t->to_fallback = put_fallback(e, t, to_return, true);
    t->to_fallback_flags_away = put_fallback(e, t, to_return, false);
    align(e);
    pairs_write_routines(e, t);
    align(e);
    vectors_write_gates(e, t);
    align(e);
    edges_write_routines(e, t);
    m->used = (size_t)(e->at - m->rw);
    m->keep = m->used;
}
