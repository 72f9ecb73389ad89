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
 * Where it is known how many iterations are left, it lies before the first copy, which then has the
 * last few and not the first.
 *
 * No C runs within, so that an address that was looked up stays right. Of an operand's base and
 * index at most one moves; what does not is in the pointer. Pointers, and guest registers that
 * live in memory, are in host registers of guest registers that the loop does not use, but perhaps
 * in what a pointer has already. Flags do not count where the loop begins, so that counting may
 * destroy them.
 */
#include "cpu/translate/compile.h"

#include <string.h>

#include "cpu/interp/mem.h"

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

/* ADD of a register, the same one throughout the loop, that moves another once. */
static bool steps_by_register(struct loop *l, const struct compile *k, unsigned n)
{
    const ZydisDecodedOperand *op = k->op[n];
    unsigned by;

    if (k->i[n].mnemonic != ZYDIS_MNEMONIC_ADD || k->i[n].operand_width != 64 ||
        op[0].type != ZYDIS_OPERAND_TYPE_REGISTER || op[1].type != ZYDIS_OPERAND_TYPE_REGISTER ||
        op[0].reg.value == op[1].reg.value || (l->stepped & bit_of(op[0].reg.value)))
        return false;
    by = dec_gpr(op[1].reg.value) / 8;
    if (l->stepper != NO_REGISTER && l->stepper != by)
        return false;
    l->stepper = (uint8_t)by;
    l->stepped |= bit_of(op[0].reg.value);
    return true;
}

static void note_registers(struct loop *l, const struct compile *k, unsigned n, bool moves)
{
    uint16_t written = (uint16_t)insn_written(&k->i[n], k->op[n]);

    for (unsigned m = 0; m < k->i[n].operand_count; m++) {
        const ZydisDecodedOperand *op = &k->op[n][m];

        /* What does not move in an operand's address is in a pointer. */
        if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && k->i[n].mnemonic == ZYDIS_MNEMONIC_LEA)
            l->used |= bit_of(op->mem.base) | bit_of(op->mem.index);
        if (op->type == ZYDIS_OPERAND_TYPE_REGISTER)
            l->used |= bit_of(op->reg.value);
    }
    l->written |= written;
    if (moves)
        l->moving |= written;
    else
        l->wild |= written;
}

static bool add_access(struct loop *l, const struct compile *k, unsigned n, const struct access *a)
{
    unsigned i = 0;

    if (a->moved > LOOP_STEP_MAX || a->moved < -LOOP_STEP_MAX || is_among(l->stepped, a->base) ||
        is_among(l->stepped, a->index))
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
        note_registers(l, k, n, moves != NO_REGISTER || steps_by_register(l, k, n));
        if (moves != NO_REGISTER)
            m->by[moves] += by;
    }
    return true;
}

/* Steps are known and short enough, displacements fit. */
static bool settle_share(struct loop *l, unsigned i, const struct moves *m)
{
    struct share *s = &l->share[i];
    int64_t step = 0;

    if (is_among(l->wild, s->base) || is_among(l->wild, s->index) ||
        (is_among(l->moving, s->base) && is_among(l->moving, s->index)))
        return false;
    if (is_among(l->stepped, s->base) || (is_among(l->stepped, s->index) && !s->scale))
        l->by_register |= (uint16_t)(1u << i);
    else if (is_among(l->stepped, s->index))
        return false;
    if (is_among(l->moving, s->base))
        step = m->by[s->base / 8];
    if (is_among(l->moving, s->index)) {
        step = m->by[s->index / 8];
        if (step > LOOP_STEP_MAX || step < -LOOP_STEP_MAX)
            return false;
        step *= (int64_t)1 << s->scale;
    }
    if (s->aligned) {
        s->lo -= (s->lo - s->aligned_at) & 15;
        if (step & 15)
            return false;
    }
    /* By one or the other, not both. */
    if ((l->by_register >> i & 1) && (step || (l->written >> l->stepper & 1)))
        return false;
    l->step[i] = step;
    return step <= LOOP_STEP_MAX && step >= -LOOP_STEP_MAX && s->lo > INT32_MIN / 2 &&
           s->hi < INT32_MAX / 2;
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

    memset(l, 0, sizeof *l);
    l->stepper = NO_REGISTER;
    l->end = find_end(k);
    if (k->word != 8 || k->across_bytes || !settle(l, k)) { /* 32-bit addresses wrap */
        l->end = NO_LOOP;
        return;
    }
    note_moves(k, 0, l->end, l->share, l->shares); /* in steps, too */
}
