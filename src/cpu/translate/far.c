/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Near branches to anywhere: returns, indirect jumps and calls, direct ones into another page. The
 * target's native code is looked for in the window's table of jumps. Nothing is changed before it
 * has been found and the outer loop has nothing to do; if it is not there, the handler branches.
 *
 * Flags go away first and come back at the target's far entry, if they count there.
 */
#include "cpu/translate/far.h"

#include "cpu/interp/mem.h"

#define PUT(...) EMIT(&k->e, __VA_ARGS__)

/* r11: the offset in a window's table of the entry for the address in r10. */
static void put_index(struct compile *k)
{
    /* rorx r11, r10, by the rotation to the left that a scaled index is */
    PUT(0xc4, 0x43, 0xfb, 0xf0, 0xda, 64 + JUMP_ALIGN_SHIFT - JUMP_ENTRY_SHIFT);
    PUT(0x41, 0x81, 0xe3); /* and r11d, mask */
    emit_u32(&k->e, (JUMPS - 1) << JUMP_ENTRY_SHIFT);
}

void put_jump_entry(struct compile *k, uint32_t base)
{
    put_index(k);
    emit_on(&k->e, 0x03, HOST_T1, base); /* add */
}

void add_leave(struct compile *k, uint8_t *from, const struct uop *copy)
{
    k->slow[k->slow_count++] = (struct slow_way){.from = from, .uop = copy, .flags = k->flags};
}

void put_look_up(struct compile *k, const struct uop *copy)
{
    const struct x_form compare = in_window(0x3b, HOST_T0, JUMP_OFFSET(lin));

    put_index(k);
    emit_form(&k->e, &compare);
    add_leave(k, emit_jcc(&k->e, 5), copy);
}

/* The same, or where the outer loop has something to do. */
static void put_find(struct compile *k, const struct uop *copy)
{
    add_leave(k, put_poll(k), copy);
    put_look_up(k, copy);
}

void put_go(struct compile *k, unsigned instructions)
{
    const struct x_form jump = in_window(0xff, 4, JUMP_OFFSET(code));

    put_count(k, instructions);
    emit_form(&k->e, &jump);
}

/* Does a displacement reach u's target? With 32-bit addresses it wraps like them. */
static bool is_within_reach(const struct compile *k, const struct uop *u)
{
    return k->word == 4 || u->imm == (int32_t)u->imm;
}

/* The address that u->imm means. */
static void put_direct_target(struct compile *k, const struct uop *u, unsigned to)
{
    put_from_page(k, to, u->imm);
}

void put_on_known(struct compile *k, const struct uop *u, unsigned op, unsigned reg, size_t field)
{
    struct x_form f = in_window(op, reg, field);
    uint64_t lin = k->t->c.gpr[GPR_PAGE / 8] + (uint64_t)u->imm;

    if (k->word == 4)
        lin = (uint32_t)lin;
    f.base = X_NONE;
    f.disp += (int32_t)(jump_index(lin) << JUMP_ENTRY_SHIFT);
    emit_form(&k->e, &f);
}

uint8_t *put_known_compare(struct compile *k, const struct uop *u, unsigned reg)
{
    put_on_known(k, u, 0x3b, reg, JUMP_OFFSET(lin));
    return emit_jcc(&k->e, 5);
}

void put_known_go(struct compile *k, const struct uop *u)
{
    put_on_known(k, u, 0xff, 4, JUMP_OFFSET(code));
}

/* u's target into a register; answers the place of the jump taken if that entry is not its own. */
static uint8_t *put_known_target(struct compile *k, const struct uop *u, unsigned to)
{
    put_direct_target(k, u, to);
    return put_known_compare(k, u, to);
}

/* Forward jumps, and a block's end, end without being asked, where addresses do. */
void put_far_direct(struct compile *k, const struct uop *u)
{
    const struct uop *copy = leaving_copy(k, u);
    uint8_t *other;
    bool was_cold;

    if (!is_within_reach(k, u)) {
        put_leave(k, copy, k->flags);
        return;
    }
    flags_away(k);
    if ((u->len && u->imm <= (int64_t)u->off) || k->word == 4)
        add_leave(k, put_poll(k), copy);
    other = put_known_target(k, u, HOST_T0);
    put_count(k, u->n);
    put_known_go(k, u);
    was_cold = go_cold(k);
    emit_patch(other, k->e.at);
    put_look_up(k, copy);
    put_go(k, u->n);
    go_back(k, was_cold);
}

static void put_load_t0(struct compile *k)
{
    struct x_form f = word_at_t0(k, 0x8b, HOST_T0);

    emit_form(&k->e, &f);
}

void put_operand(struct compile *k, unsigned n)
{
    const ZydisDecodedOperand *op = &k->op[n][0];
    const struct uop *u = uop_of(k, n);
    unsigned from;

    if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        put_place_check(k, n, u, k->word, false, false);
        put_load_t0(k);
        return;
    }
    from = put_register_in(k, dec_gpr(op->reg.value) / 8, HOST_T0);
    if (from != HOST_T0)
        put_word_move(k, HOST_T0, from);
}

static void put_ret(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);
    struct x_form load = word_at_t0(k, 0x8b, HOST_T0);
    int32_t moves;
    bool was_cold;
    uint8_t *other;

    load.disp = put_stack_access(k, n, false);
    k->r10_share = NO_SHARE;
    emit_form(&k->e, &load);
    other = put_pair_question(k);
    moves = k->stack_moves;
    move_stack(k, (int32_t)(k->word + u->imm));
    put_count(k, u->n);
    PUT(0xc3); /* ret */
    was_cold = go_cold(k);
    emit_patch(other, k->e.at);
    move_stack(k, moves);
    put_find(k, leaving_copy(k, u));
    put_pair_lost(k);
    move_stack(k, (int32_t)(k->word + u->imm));
    put_go(k, u->n);
    go_back(k, was_cold);
}

/* Not where the next instruction is in another page, whose mapping is not this one's (P1). */
static bool makes_pair(const struct uop *u)
{
    return u->off + u->len < PAGE_SIZE;
}

/* Checked, and room for a pair: nothing is changed yet. Answers where the address is from r10. */
static int32_t put_call_place(struct compile *k, unsigned n)
{
    int32_t disp = put_stack_access(k, n, true);

    if (makes_pair(uop_of(k, n)))
        put_pair_room(k);
    return disp;
}

/* The guest's return address onto its stack. It is in r11 then, if the code is not fixed. */
static void put_return_address(struct compile *k, unsigned n, int32_t disp)
{
    const struct uop *u = uop_of(k, n);
    unsigned next = u->off + u->len;
    struct x_form f = word_at_t0(k, is_fixed(k) ? 0xc7 : 0x89, is_fixed(k) ? 0 : HOST_T1);

    f.disp = disp;
    if (!is_fixed(k))
        put_from_page(k, HOST_T1, next);
    emit_form(&k->e, &f);
    if (is_fixed(k))
        emit_u32(&k->e, (uint32_t)(k->page + next));
    move_stack(k, -(int32_t)k->word);
}

void put_push_return(struct compile *k, unsigned n)
{
    put_return_address(k, n, put_call_place(k, n));
}

void put_push_and_go(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);
    const struct x_form code = in_window(0x8b, HOST_T1, JUMP_OFFSET(code));

    emit_form(&k->e, &code);
    emit_store(&k->e, HOST_T1, ABS(k->t->target_code));
    emit_store(&k->e, HOST_T0, ABS(k->t->target));
    k->r10_share = NO_SHARE;
    put_push_return(k, n);
    emit_load(&k->e, HOST_T0, ABS(k->t->target));
    put_count(k, u->n);
    if (makes_pair(u))
        put_pair_up(k, n);
    emit_form(&k->e, &(struct x_form){.op = 0xff,
                                      .reg = makes_pair(u) ? 2 : 4, /* call or jmp */
                                      .rm = XRM_ABS,
                                      .disp = (int32_t)ABS(k->t->target_code)});
    if (makes_pair(u))
        put_pair_return(k, n);
}

/*
 * An indirect call in fixed code, which needs no register for the return address: the entry in the
 * table of jumps stays in r11 until the call itself.
 */
static void put_fixed_call(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);
    const struct x_form call = in_window(0xff, makes_pair(u) ? 2 : 4, JUMP_OFFSET(code));
    int32_t disp = put_call_place(k, n);

    emit_store(&k->e, HOST_T0, ABS(k->t->stack_place));
    k->r10_share = NO_SHARE;
    put_operand(k, n);
    put_find(k, leaving_copy(k, u));
    emit_store(&k->e, HOST_T0, ABS(k->t->target));
    emit_load(&k->e, HOST_T0, ABS(k->t->stack_place));
    put_return_address(k, n, disp);
    emit_load(&k->e, HOST_T0, ABS(k->t->target));
    put_count(k, u->n);
    if (makes_pair(u))
        put_pair_up(k, n);
    emit_form(&k->e, &call);
    if (makes_pair(u))
        put_pair_return(k, n);
}

void put_call_known(struct compile *k, unsigned n, const struct uop *u)
{
    if (!makes_pair(uop_of(k, n))) {
        put_known_go(k, u);
        return;
    }
    put_pair_up(k, n);
    put_on_known(k, u, 0xff, 2, JUMP_OFFSET(code));
    put_pair_return(k, n);
}

void put_call_exit(struct compile *k, unsigned n, struct native_exit *x)
{
    enum flags_where flags = k->flags;
    uint8_t *call;

    if (!makes_pair(uop_of(k, n))) {
        put_exit_way(k, x, emit_jump(&k->e));
        return;
    }
    put_pair_up(k, n);
    call = emit_call(&k->e);
    put_pair_return(k, n);
    k->flags = flags;
    put_exit_way(k, x, call);
}

static void put_far_call(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n), *copy = leaving_copy(k, u);
    uint8_t *other;
    bool was_cold;

    add_leave(k, put_poll(k), copy);
    other = put_known_target(k, u, HOST_T1);
    put_push_return(k, n);
    if (is_fixed(k))
        put_direct_target(k, u, HOST_T0);
    else
        put_word_lea(k, HOST_T0, HOST_T1, (int32_t)(u->imm - u->off - u->len));
    put_count(k, u->n);
    put_call_known(k, n, u);
    was_cold = go_cold(k);
    emit_patch(other, k->e.at);
    emit_move(&k->e, HOST_T0, HOST_T1);
    put_look_up(k, copy);
    put_push_and_go(k, n);
    go_back(k, was_cold);
}

void put_near_call(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);
    struct native_exit *x = new_exit(k, u);

    if (!x)
        return;
    flags_before(k, k->live[n]);
    if (!k->live[n])
        k->flags = FLAGS_BOTH; /* nobody asks */
    add_leave(k, put_poll(k), leaving_copy(k, u));
    put_push_return(k, n);
    put_count(k, u->n);
    put_call_exit(k, n, x);
}

bool far_end_is_possible(const struct compile *k, unsigned n)
{
    const ZydisDecodedInstruction *i = &k->i[n];
    const struct uop *u = uop_of(k, n);

    if (u->opsize != k->word || code32_is_based(k, n) || code32_refuses(k, n) ||
        i->meta.branch_type != ZYDIS_BRANCH_TYPE_NEAR ||
        (compile_goes_to(k, n) && !is_within_reach(k, u)))
        return false;
    return k->op[n][0].type != ZYDIS_OPERAND_TYPE_MEMORY || address_fits(u);
}

bool put_far_end(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);
    ZydisMnemonic m = k->i[n].mnemonic;

    if (!far_end_is_possible(k, n) ||
        (m != ZYDIS_MNEMONIC_RET && m != ZYDIS_MNEMONIC_JMP && m != ZYDIS_MNEMONIC_CALL))
        return false;
    flags_away(k);
    if (m == ZYDIS_MNEMONIC_RET) {
        put_ret(k, n);
        return true;
    }
    if (compile_goes_to(k, n)) {
        put_far_call(k, n);
        return true;
    }
    if (put_guess(k, n))
        return true;
    if (m == ZYDIS_MNEMONIC_CALL && is_fixed(k)) {
        put_fixed_call(k, n);
        return true;
    }
    put_operand(k, n);
    put_find(k, leaving_copy(k, u));
    if (m == ZYDIS_MNEMONIC_CALL)
        put_push_and_go(k, n);
    else
        put_go(k, u->n);
    return true;
}
