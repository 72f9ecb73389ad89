/* SPDX-License-Identifier: Apache-2.0 */
/* The native code of a loop (loop.c): the way into it, its body, the ways out. */
#include "cpu/translate/compile.h"

#include <string.h>

#include "cpu/interp/mem.h"

/* Iterations of a loop that stays where it is, until it is asked again whether to leave. */
#define STILL_MAX 1000
/* Fewer iterations are not worth it: in the page, without the first; of the loop. */
#define LEFT_LEAST  2
#define TURNS_LEAST 4
/* x / step is x * (2^24 / step + 1) / 2^24: x is less than 4096, a step not above LOOP_STEP_MAX. */
#define RECIPROCAL_SHIFT 24

#define LINE 64u

#define PUT(...) EMIT(&k->e, __VA_ARGS__)

/* --- the way into it --- */

struct refused {
    uint8_t *from[2 * SHARES + 5];
    unsigned count;
};

/* r10 less what moves: a register, or a register times 2^scale. r11 is lost. */
static void put_less(struct compile *k, unsigned guest, unsigned scale)
{
    unsigned from = put_register_in(k, guest, HOST_T1);

    if (scale) {
        if (from != HOST_T1)
            emit_move(&k->e, HOST_T1, from);
        PUT(0x49, 0xc1, 0xe3, (uint8_t)scale); /* shl r11, scale */
        from = HOST_T1;
    }
    emit_form(&k->e, &(struct x_form){.op = 0x29, /* sub r10, ... */
                                      .w = true,
                                      .reg = (uint8_t)from,
                                      .rm = XRM_REG,
                                      .base = HOST_T0});
}

/* r10: bytes in the page behind the share, whose offset there is t->loop_at. */
static void put_room(struct compile *k, const struct share *s)
{
    emit_imm32(&k->e, HOST_T0, (uint32_t)(PAGE_SIZE - (uint64_t)(s->hi - s->lo)));
    emit_on(&k->e, 0x2b, HOST_T0, ABS(k->t->loop_at)); /* sub */
}

/* r10: iterations after the first that stay in the page. */
static void put_iterations(struct compile *k, const struct share *s, int64_t step)
{
    uint32_t size = (uint32_t)(step < 0 ? -step : step);

    if (step > 0)
        put_room(k, s);
    else
        emit_load(&k->e, HOST_T0, ABS(k->t->loop_at));
    if (size & (size - 1)) {
        PUT(0x4d, 0x69, 0xd2); /* imul r10, r10, reciprocal */
        emit_u32(&k->e, (1u << RECIPROCAL_SHIFT) / size + 1);
        PUT(0x49, 0xc1, 0xea, RECIPROCAL_SHIFT); /* shr r10 */
    } else if (size > 1) {
        PUT(0x49, 0xc1, 0xea, (uint8_t)__builtin_ctz(size));
    }
}

/* r10: the less of it and what is at an address. */
static void put_less_of(struct compile *k, uint32_t address)
{
    const struct x_form cmovae = {
        .map = 1, .op = 0x43, .w = true, .reg = HOST_T0, .rm = XRM_ABS, .disp = (int32_t)address};

    emit_on(&k->e, 0x3b, HOST_T0, address); /* cmp */
    emit_form(&k->e, &cmovae);
}

/*
 * What the shares so far allow: t->loop_left has iterations, if another one counts them, and r10 if
 * it was the last; t->loop_room bytes for the stepper. aligned: those must move by multiples of 16.
 */
struct allowed {
    unsigned left;
    bool room, aligned;
};

static bool is_still(const struct loop *l, unsigned i)
{
    return !l->step[i] && !(l->by_register >> i & 1);
}

/* How many count iterations; the stepper's together are one. */
static unsigned counting(const struct loop *l)
{
    unsigned count = l->by_register != 0;

    for (unsigned i = 0; i < l->shares; i++)
        count += l->step[i] != 0;
    return count;
}

/* r10, iterations of one more that counts them, into account. */
static void put_left(struct compile *k, struct allowed *has)
{
    if (has->left)
        put_less_of(k, ABS(k->t->loop_left));
    if (++has->left < counting(&k->loop))
        emit_store(&k->e, HOST_T0, ABS(k->t->loop_left));
}

/* The pointer of share i to t->shared; what it allows. */
static void put_pointer(struct compile *k, unsigned i, struct refused *r, struct allowed *has)
{
    bool by_register = k->loop.by_register >> i & 1;
    const struct share *s = &k->loop.share[i];
    struct uop u = *uop_of(k, s->leader);

    u.base = s->base;
    u.index = s->index;
    u.seg = s->seg;
    u.disp = s->lo;
    put_address(k, &u);
    r->from[r->count++] = put_lookup(k, (unsigned)(s->hi - s->lo), s->write);
    if (s->aligned)
        r->from[r->count++] = put_alignment(k);
    if (k->loop.step[i] || by_register)
        emit_store(&k->e, HOST_T0, ABS(k->t->loop_at));
    put_host(k);
    if (is_among(k->loop.moving, s->base))
        put_less(k, s->base / 8, 0);
    else if (is_among(k->loop.moving, s->index))
        put_less(k, s->index / 8, s->scale);
    emit_store(&k->e, HOST_T0, ABS(k->t->shared[i]));
    if (by_register) {
        put_room(k, s);
        if (has->room)
            put_less_of(k, ABS(k->t->loop_room));
        emit_store(&k->e, HOST_T0, ABS(k->t->loop_room));
        has->room = true;
        has->aligned |= s->aligned;
    } else if (k->loop.step[i]) {
        put_iterations(k, s, k->loop.step[i]);
        put_left(k, has);
    }
}

/* t->loop_room / stepper, which is refused where it is odd. */
static void put_division(struct compile *k, struct refused *r, struct allowed *has)
{
    unsigned stepper = put_register_in(k, k->loop.stepper, HOST_T1);

    if (stepper != HOST_T1)
        emit_move(&k->e, HOST_T1, stepper);
    emit_lea(&k->e, HOST_T0, HOST_T1, -1);
    PUT(0x49, 0x81, 0xfa); /* cmp r10, ... */
    emit_u32(&k->e, LOOP_STEP_MAX - 1);
    r->from[r->count++] = emit_jcc(&k->e, 7); /* above */
    if (has->aligned) {
        PUT(0x41, 0xf6, 0xc3, 0x0f);              /* test r11b, 15 */
        r->from[r->count++] = emit_jcc(&k->e, 5); /* not zero */
    }
    emit_store(&k->e, X_RAX, ABS(k->t->loop_at));
    emit_move(&k->e, HOST_T0, X_RDX);
    emit_load(&k->e, X_RAX, ABS(k->t->loop_room));
    PUT(0x31, 0xd2);       /* xor edx, edx */
    PUT(0x41, 0xf7, 0xf3); /* div r11d */
    emit_move(&k->e, X_RDX, HOST_T0);
    emit_move(&k->e, HOST_T0, X_RAX);
    emit_load(&k->e, X_RAX, ABS(k->t->loop_at));
    put_left(k, has);
}

/* Those that stay where they are first, because of r10. */
static void put_pointers(struct compile *k, struct refused *r, struct allowed *has)
{
    for (unsigned i = 0; i < k->loop.shares; i++)
        if (is_still(&k->loop, i))
            put_pointer(k, i, r, has);
    for (unsigned i = 0; i < k->loop.shares; i++)
        if (!is_still(&k->loop, i))
            put_pointer(k, i, r, has);
    if (has->room)
        put_division(k, r, has);
}

/* r11: instructions of all iterations, which MM0 has counted. */
static void put_budget(struct compile *k, struct refused *r, const struct allowed *has)
{
    if (!has->left) {
        emit_imm32(&k->e, HOST_T0, STILL_MAX);
    } else {
        PUT(0x49, 0x83, 0xfa, LEFT_LEAST); /* cmp r10, ... */
        r->from[r->count++] = emit_jcc(&k->e, 2);
    }
    emit_lea(&k->e, HOST_T1, HOST_T0, 1);
    PUT(0x4d, 0x6b, 0xdb, (uint8_t)uop_of(k, k->loop.end)->n); /* imul r11, r11, ... */
    PUT(0x49, 0x0f, 0x7e, 0xc2);                               /* movq r10, mm0 */
    PUT(0x4d, 0x01, 0xda);                                     /* add r10, r11 */
    emit_on(&k->e, 0x3b, HOST_T0, ABS(k->t->c.icount_stop));   /* cmp */
    r->from[r->count++] = emit_jcc(&k->e, 7);
    PUT(0x49, 0x0f, 0x6e, 0xc2); /* movq mm0, r10 */
}

static void put_registers(struct compile *k)
{
    const struct loop *l = &k->loop;

    for (unsigned guest = 0; guest < 16; guest++)
        if (l->spilled >> guest & 1)
            emit_store(&k->e, host_reg(guest), guest_at(k, guest));
    for (unsigned guest = 0; guest < 16; guest++)
        if (l->lent >> guest & 1)
            emit_load(&k->e, l->host[guest], guest_at(k, guest));
    for (unsigned i = 0; i < l->shares; i++)
        emit_load(&k->e, l->pointer[i], ABS(k->t->shared[i]));
}

static void put_registers_back(struct compile *k)
{
    const struct loop *l = &k->loop;

    for (unsigned guest = 0; guest < 16; guest++)
        if (l->lent & l->written & (1u << guest))
            emit_store(&k->e, l->host[guest], guest_at(k, guest));
    for (unsigned guest = 0; guest < 16; guest++)
        if (l->spilled >> guest & 1)
            emit_load(&k->e, host_reg(guest), guest_at(k, guest));
}

/* --- a guess how long it goes on --- */

/* A guest register, or NO_REGISTER: a number. */
struct value {
    unsigned guest;
    int32_t number;
};

static struct value value_of(const ZydisDecodedOperand *op)
{
    if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && dec_is_gpr(op->reg.value))
        return (struct value){.guest = dec_gpr(op->reg.value) / 8};
    return (struct value){.guest = NO_REGISTER, .number = (int32_t)op->imm.value.s};
}

/* How far instructions 0 to end move it. */
static int64_t step_of(const struct compile *k, struct value v)
{
    int64_t step = 0, by = 0;

    for (unsigned n = 0; n <= k->loop.end; n++)
        if (moved_register(k, n, &by) == v.guest && v.guest != NO_REGISTER)
            step += by;
    return step;
}

/* r10 = a - b. */
static void put_distance(struct compile *k, struct value a, struct value b)
{
    unsigned from;

    if (a.guest == NO_REGISTER) {
        PUT(0x49, 0xc7, 0xc2); /* mov r10, number */
        emit_u32(&k->e, (uint32_t)a.number);
    } else if ((from = put_register_in(k, a.guest, HOST_T0)) != HOST_T0) {
        emit_move(&k->e, HOST_T0, from);
    }
    if (b.guest == NO_REGISTER) {
        PUT(0x49, 0x81, 0xea); /* sub r10, number */
        emit_u32(&k->e, (uint32_t)b.number);
    } else {
        put_less(k, b.guest, 0);
    }
}

/* a - b is how far it has to go, in steps. */
struct guess {
    struct value a, b;
    int64_t step;
};

/*
 * Before its jump back a loop mostly compares a register that moves with one that does not, or
 * moves one until it is zero. False: this one does not.
 */
static bool find_guess(const struct compile *k, struct guess *g)
{
    unsigned last = k->loop.end - 1;
    const ZydisDecodedOperand *op = k->op[last];

    if (!k->loop.end || !insn_is_plain(&k->i[last], op) || k->i[last].operand_width != 64 ||
        op[0].type != ZYDIS_OPERAND_TYPE_REGISTER || op[1].type == ZYDIS_OPERAND_TYPE_MEMORY)
        return false;
    g->a = value_of(&op[0]);
    g->b = (struct value){.guest = NO_REGISTER};
    if (k->i[last].mnemonic == ZYDIS_MNEMONIC_CMP)
        g->b = value_of(&op[1]);
    g->step = step_of(k, g->a) - step_of(k, g->b);
    return g->step != 0 && g->step <= LOOP_STEP_MAX && g->step >= -LOOP_STEP_MAX;
}

/*
 * Few iterations before its end it is left to the first copy. Where that is not what it waits for,
 * or its numbers have changed since, nothing is lost.
 */
static void put_guess(struct compile *k, const struct guess *g, struct refused *r)
{
    if (g->step < 0)
        put_distance(k, g->a, g->b);
    else
        put_distance(k, g->b, g->a);
    PUT(0x49, 0x81, 0xfa); /* cmp r10, ... */
    emit_u32(&k->e, (uint32_t)(TURNS_LEAST * (g->step < 0 ? -g->step : g->step)));
    r->from[r->count++] = emit_jcc(&k->e, 2); /* below */
}

/* --- the loop --- */

void put_loop_operand(const struct compile *k, unsigned n, struct x_form *f)
{
    const struct loop *l = &k->loop;
    const struct share *s = &l->share[l->share_of[n]];

    f->base = l->pointer[l->share_of[n]];
    f->index = X_NONE;
    f->scale = 0;
    f->disp = (int32_t)(uop_of(k, n)->disp - s->lo);
    if (is_among(l->moving, s->base)) {
        f->index = l->host[s->base / 8];
    } else if (is_among(l->moving, s->index)) {
        f->index = l->host[s->index / 8];
        f->scale = s->scale;
    }
}

void put_loop_left(struct compile *k)
{
    PUT(0x49, 0x0f, 0x6e, 0xcb); /* movq mm1, r11 */
    PUT(0x0f, 0xfb, 0xc1);       /* psubq mm0, mm1 */
    put_registers_back(k);
}

void put_loop_ended(struct compile *k)
{
    enum flags_where flags = k->flags;

    if (!k->loop.ended)
        return;
    emit_patch(k->loop.ended, k->e.at);
    put_loop_left(k);
    k->flags = FLAGS_IN_PLACE;
    flags_join(k, k->loop.flags);
    emit_patch(emit_jump(&k->e), k->loop.resume);
    k->flags = flags;
}

/* Lines that so many bytes touch. */
static size_t lines_at(const uint8_t *at, size_t bytes)
{
    return ((uintptr_t)at % LINE + bytes + LINE - 1) / LINE;
}

/* Where the places are that the body has noted so far. */
struct noted {
    unsigned taken, immediates;
};

/*
 * A body that touches more lines than it must is half as slow again (CPUs fetch decoded
 * instructions by lines): moves it to the next line. Answers how far.
 */
static size_t move_to_line(struct compile *k, uint8_t *top, const struct noted *before)
{
    size_t bytes = (size_t)(k->e.at - top), by = -(uintptr_t)top % LINE;

    if (lines_at(top, bytes) == lines_at(NULL, bytes))
        return 0;
    emit_nops(&k->e, (unsigned)by);
    if (k->e.full)
        return 0;
    memmove(top + by, top, bytes);
    emit_nops(&(struct emit){.at = top, .end = top + by}, (unsigned)by);
    for (unsigned i = before->taken; i < k->taken_count; i++)
        k->taken[i].from += by;
    for (unsigned i = before->immediates; i < k->immediate_count; i++)
        k->immediate[i].place += by;
    return by;
}

/* The jump back, where the flags say so. */
static void put_back_to(struct compile *k, const uint8_t *top)
{
    ptrdiff_t by = top - (k->e.at + 2);

    if (by >= INT8_MIN)
        PUT(0x75, (uint8_t)by); /* not zero */
    else
        emit_patch(emit_jcc(&k->e, 5), top);
}

static void put_body(struct compile *k)
{
    const struct noted before = {k->taken_count, k->immediate_count};
    unsigned end = k->loop.end;
    uint8_t *top = k->e.at, *out = NULL;
    size_t by;

    k->in_loop = true;
    k->flags = FLAGS_IN_PLACE;
    for (unsigned n = 0; n < end && !k->failed; n++)
        put_instruction(k, n);
    if (insn_is_jcc(&k->i[end]))
        out = emit_jcc(&k->e, (k->i[end].opcode & 15u) ^ 1u);
    PUT(0x49, 0x83, 0xeb, (uint8_t)uop_of(k, end)->n); /* sub r11, ... */
    put_back_to(k, top);
    by = move_to_line(k, top, &before);
    put_registers_back(k);
    k->in_loop = false;
    k->loop.ended = out ? out + by : NULL;
}

static void put_loop(struct compile *k, const struct guess *g)
{
    struct refused r = {0};
    enum flags_where flags = k->flags;
    struct allowed has = {0};

    if (g)
        put_guess(k, g, &r);
    put_pointers(k, &r, &has);
    put_budget(k, &r, &has);
    put_registers(k);
    put_body(k);
    k->flags = flags;
    k->r10_share = NO_SHARE;
    r11_forget(k);
    for (unsigned i = 0; i < r.count; i++)
        emit_patch(r.from[i], k->e.at);
}

void put_loop_before(struct compile *k)
{
    struct guess g;

    if (k->loop.end == NO_LOOP || !find_guess(k, &g))
        return;
    k->loop.is_before = true;
    put_gate_before(k, 0, k->loop.end);
    put_loop(k, &g);
}

uint8_t *put_loop_behind(struct compile *k)
{
    put_loop(k, NULL);
    return emit_jump(&k->e);
}
