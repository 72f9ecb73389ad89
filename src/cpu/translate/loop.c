/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block that jumps back to its own beginning is a loop, and mostly one that goes through memory
 * by steps of a known size. Such a loop is written once more, without checks: before it all places
 * that it touches are looked up and it is counted how many iterations stay within their pages.
 *
 *   first copy -- jumps back --> look up, count: r11 = iterations * instructions, MM0 += r11
 *       ^                         +-> the loop, its operands behind pointers
 *       |                         |   jcc out ----------> MM0 -= r11, registers back, goes on there
 *       |                         +-- r11 -= instructions, not 0 yet
 *       +--- refused, or all done ---+
 *
 * No C runs within, so that an address that was looked up stays right. Of an operand's base and
 * index at most one moves; what does not is in the pointer. Pointers, and guest registers that
 * live in memory, are in host registers of guest registers that the loop does not use. Flags do not
 * count where the loop begins, so that counting may destroy them.
 */
#include "cpu/translate/compile.h"

#include <string.h>

#include "cpu/interp/mem.h"

/* Wider steps leave too few iterations in a page. */
#define STEP_MAX 512
/* Iterations of a loop that stays where it is, until it is asked again whether to leave. */
#define STILL_MAX 1000
/* Fewer iterations than that are not worth it, without the first. */
#define LEFT_LEAST 2
/* x / step is x * (2^24 / step + 1) / 2^24: x is less than 4096, and a step not above STEP_MAX. */
#define RECIPROCAL_SHIFT 24

#define PUT(...) EMIT(&k->e, __VA_ARGS__)

/* --- is it one? --- */

static bool is_back(const struct compile *k, unsigned n)
{
    return (insn_is_jcc(&k->i[n]) ||
            (compile_goes_to(k, n) && k->i[n].mnemonic == ZYDIS_MNEMONIC_JMP)) &&
           uop_of(k, n)->imm == uop_of(k, 0)->off;
}

/* AH, CH, DH, BH: put_plain turns their register, which may be in the address here. */
static bool has_high_byte(const struct compile *k, unsigned n)
{
    for (unsigned m = 0; m < k->i[n].operand_count_visible; m++) {
        const ZydisDecodedOperand *op = &k->op[n][m];

        if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && dec_is_gpr(op->reg.value) &&
            (dec_gpr(op->reg.value) & 1))
            return true;
    }
    return false;
}

static bool is_possible(struct compile *k, unsigned n)
{
    if (is_push_or_pop(k, n) || (memory_operand(k, n) && has_high_byte(k, n)))
        return false;
    if (k->i[n].mnemonic == ZYDIS_MNEMONIC_LEA && uop_of(k, n)->base == GPR_PAGE)
        return false;
    if (k->i[n].encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) /* scratch registers are taken */
        return false;
    return belongs_to_runs(k, n);
}

/* The last jump back; NO_LOOP. */
static unsigned find_end(struct compile *k)
{
    unsigned end = NO_LOOP;

    for (unsigned n = 0; n < k->n; n++) {
        if (is_back(k, n))
            end = n;
        if (compile_leaves(k, n) || !is_possible(k, n))
            break;
    }
    return end;
}

static uint16_t bit_of(ZydisRegister r)
{
    return dec_is_gpr(r) ? (uint16_t)(1u << dec_gpr(r) / 8) : 0;
}

static void note_registers(struct loop *l, const struct compile *k, unsigned n, unsigned moves)
{
    for (unsigned m = 0; m < k->i[n].operand_count; m++) {
        const ZydisDecodedOperand *op = &k->op[n][m];

        if (op->type == ZYDIS_OPERAND_TYPE_MEMORY)
            l->used |= bit_of(op->mem.base) | bit_of(op->mem.index);
        if (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        l->used |= bit_of(op->reg.value);
        if (!(op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            continue;
        l->written |= bit_of(op->reg.value);
        if (moves == NO_REGISTER)
            l->wild |= bit_of(op->reg.value);
        else
            l->moving |= bit_of(op->reg.value);
    }
}

static bool add_access(struct loop *l, const struct compile *k, unsigned n, const struct access *a)
{
    unsigned i = 0;

    if (a->moved > STEP_MAX || a->moved < -STEP_MAX)
        return false;
    while (i < l->shares && !share_join(&l->share[i], k, n, a))
        i++;
    if (i == SHARES)
        return false;
    if (i == l->shares)
        share_begin(&l->share[l->shares++], k, n, a);
    l->share_of[n] = (uint8_t)i;
    return true;
}

static bool find_accesses(struct loop *l, struct compile *k, struct moves *m)
{
    for (unsigned n = 0; n <= l->end; n++) {
        struct access a;
        int64_t by = 0;
        unsigned moves = moved_register(k, n, &by);

        if (find_access(k, n, m, &a)) {
            if (!add_access(l, k, n, &a))
                return false;
        } else if (memory_operand(k, n) && k->i[n].mnemonic != ZYDIS_MNEMONIC_LEA &&
                   !insn_is_nothing(&k->i[n])) {
            return false;
        }
        note_registers(l, k, n, moves);
        if (moves != NO_REGISTER)
            m->by[moves] += by;
    }
    return true;
}

static bool is_among(uint16_t registers, uint8_t at)
{
    return at < GPR_ZERO && (registers >> at / 8 & 1);
}

/* Steps are known and short enough, displacements fit. */
static bool settle_share(struct loop *l, unsigned i, const struct moves *m)
{
    struct share *s = &l->share[i];
    int64_t step = 0;

    if (is_among(l->wild, s->base) || is_among(l->wild, s->index) ||
        (is_among(l->moving, s->base) && is_among(l->moving, s->index)))
        return false;
    if (is_among(l->moving, s->base))
        step = m->by[s->base / 8];
    if (is_among(l->moving, s->index)) {
        step = m->by[s->index / 8];
        if (step > STEP_MAX || step < -STEP_MAX)
            return false;
        step *= (int64_t)1 << s->scale;
    }
    if (s->aligned) {
        s->lo -= (s->lo - s->aligned_at) & 15;
        if (step & 15)
            return false;
    }
    l->step[i] = step;
    return step <= STEP_MAX && step >= -STEP_MAX && s->lo > INT32_MIN / 2 && s->hi < INT32_MAX / 2;
}

/* --- registers --- */

/* A host register that is free in the loop; guest registers lose theirs. X_NONE: there is none. */
static unsigned take_host(struct loop *l, unsigned *next)
{
    for (; *next <= 16; ++*next) {
        unsigned guest = *next - 1;

        if (*next == 0) {
            ++*next;
            return HOST_T0;
        }
        if (host_reg(guest) == X_NONE || (l->used >> guest & 1))
            continue;
        l->spilled |= (uint16_t)(1u << guest);
        ++*next;
        return host_reg(guest);
    }
    return X_NONE;
}

static bool give_registers(struct loop *l)
{
    unsigned next = 0;

    for (unsigned guest = 0; guest < 16; guest++) {
        unsigned host = host_reg(guest);

        if (host == X_NONE && (l->used >> guest & 1)) {
            host = take_host(l, &next);
            l->lent |= (uint16_t)(1u << guest);
            if (host == X_NONE)
                return false;
        }
        l->host[guest] = (uint8_t)host;
    }
    for (unsigned i = 0; i < l->shares; i++) {
        l->pointer[i] = (uint8_t)take_host(l, &next);
        if (l->pointer[i] == (uint8_t)X_NONE)
            return false;
    }
    return true;
}

static bool settle(struct loop *l, struct compile *k)
{
    struct moves m = {0};

    if (l->end == NO_LOOP || k->live[0] || !find_accesses(l, k, &m))
        return false;
    for (unsigned i = 0; i < l->shares; i++)
        if (!settle_share(l, i, &m))
            return false;
    return give_registers(l);
}

void loop_find(struct compile *k)
{
    struct loop *l = &k->loop;
    int64_t by;

    memset(l, 0, sizeof *l);
    l->end = find_end(k);
    if (!settle(l, k)) {
        l->end = NO_LOOP;
        return;
    }
    /* The numbers are in steps. */
    for (unsigned n = 0; n <= l->end; n++)
        k->is_move[n] = moved_register(k, n, &by) != NO_REGISTER;
}

/* --- the way into it --- */

struct refused {
    uint8_t *from[2 * SHARES + 2];
    unsigned count;
};

static struct x_form on_memory(unsigned op, unsigned reg, uint32_t address)
{
    return (struct x_form){
        .op = (uint8_t)op, .w = true, .reg = (uint8_t)reg, .rm = XRM_ABS, .disp = (int32_t)address};
}

/* op reg, [address] */
static void put_on_memory(struct compile *k, unsigned op, unsigned reg, uint32_t address)
{
    const struct x_form f = on_memory(op, reg, address);

    emit_form(&k->e, &f);
}

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

/* r10: iterations after the first that stay in the page; t->loop_at: the offset there. */
static void put_iterations(struct compile *k, const struct share *s, int64_t step)
{
    uint32_t size = (uint32_t)(step < 0 ? -step : step);

    if (step > 0) {
        emit_imm32(&k->e, HOST_T0, (uint32_t)(PAGE_SIZE - (uint64_t)(s->hi - s->lo)));
        put_on_memory(k, 0x2b, HOST_T0, ABS(k->t->loop_at)); /* sub */
    } else {
        emit_load(&k->e, HOST_T0, ABS(k->t->loop_at));
    }
    if (size & (size - 1)) {
        PUT(0x4d, 0x69, 0xd2); /* imul r10, r10, reciprocal */
        emit_u32(&k->e, (1u << RECIPROCAL_SHIFT) / size + 1);
        PUT(0x49, 0xc1, 0xea, RECIPROCAL_SHIFT); /* shr r10 */
    } else if (size > 1) {
        PUT(0x49, 0xc1, 0xea, (uint8_t)__builtin_ctz(size));
    }
}

/* t->loop_left becomes r10, if that is less; is_first: in any case. */
static void put_least(struct compile *k, bool is_first)
{
    uint8_t *over = NULL;

    if (!is_first) {
        put_on_memory(k, 0x3b, HOST_T0, ABS(k->t->loop_left)); /* cmp */
        over = emit_jcc(&k->e, 3);                             /* above or equal */
    }
    emit_store(&k->e, HOST_T0, ABS(k->t->loop_left));
    if (over)
        emit_patch(over, k->e.at);
}

/* Its pointer to t->shared; the iterations that it allows to t->loop_left. */
static void put_pointer(struct compile *k, unsigned i, struct refused *r, bool is_first)
{
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
    if (k->loop.step[i])
        emit_store(&k->e, HOST_T0, ABS(k->t->loop_at));
    put_host(k);
    if (is_among(k->loop.moving, s->base))
        put_less(k, s->base / 8, 0);
    else if (is_among(k->loop.moving, s->index))
        put_less(k, s->index / 8, s->scale);
    emit_store(&k->e, HOST_T0, ABS(k->t->shared[i]));
    if (!k->loop.step[i])
        return;
    put_iterations(k, s, k->loop.step[i]);
    put_least(k, is_first);
}

/* r11: instructions of all iterations, which MM0 has counted. */
static void put_budget(struct compile *k, struct refused *r, bool is_still)
{
    if (is_still) {
        emit_imm32(&k->e, HOST_T1, STILL_MAX);
    } else {
        emit_load(&k->e, HOST_T1, ABS(k->t->loop_left));
        PUT(0x49, 0x83, 0xfb, LEFT_LEAST); /* cmp r11, ... */
        r->from[r->count++] = emit_jcc(&k->e, 2);
    }
    emit_lea(&k->e, HOST_T1, HOST_T1, 1);
    PUT(0x4d, 0x6b, 0xdb, (uint8_t)uop_of(k, k->loop.end)->n); /* imul r11, r11, ... */
    PUT(0x49, 0x0f, 0x7e, 0xc2);                               /* movq r10, mm0 */
    PUT(0x4d, 0x01, 0xda);                                     /* add r10, r11 */
    put_on_memory(k, 0x3b, HOST_T0, ABS(k->t->c.icount_stop)); /* cmp */
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

/* Behind the loop: the first copy goes on. */
static void put_left_at_end(struct compile *k, uint8_t *from)
{
    enum flags_where flags = k->flags;
    bool was_cold = go_cold(k);

    emit_patch(from, k->e.at);
    put_loop_left(k);
    k->flags = FLAGS_IN_PLACE;
    flags_join(k, k->loop.flags);
    emit_patch(emit_jump(&k->e), k->loop.resume);
    k->flags = flags;
    go_back(k, was_cold);
}

static void put_body(struct compile *k)
{
    unsigned end = k->loop.end;
    uint8_t *top = k->e.at, *out = NULL;

    k->in_loop = true;
    k->flags = FLAGS_IN_PLACE;
    for (unsigned n = 0; n < end && !k->failed; n++)
        put_instruction(k, n);
    if (insn_is_jcc(&k->i[end]))
        out = emit_jcc(&k->e, (k->i[end].opcode & 15u) ^ 1u);
    PUT(0x49, 0x83, 0xeb, (uint8_t)uop_of(k, end)->n); /* sub r11, ... */
    emit_patch(emit_jcc(&k->e, 5), top);
    put_registers_back(k);
    k->in_loop = false;
    if (out)
        put_left_at_end(k, out);
}

uint8_t *put_loop(struct compile *k)
{
    struct refused r = {0};
    enum flags_where flags = k->flags;
    bool is_still = true;

    for (unsigned i = 0; i < k->loop.shares; i++) {
        put_pointer(k, i, &r, is_still);
        is_still &= k->loop.step[i] == 0;
    }
    put_budget(k, &r, is_still);
    put_registers(k);
    put_body(k);
    k->flags = flags;
    k->r10_share = NO_SHARE;
    for (unsigned i = 0; i < r.count; i++)
        emit_patch(r.from[i], k->e.at);
    return emit_jump(&k->e);
}
