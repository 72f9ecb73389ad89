/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Indirect jumps and calls that went mostly to one place while they were interpreted (tier.h): the
 * target is compared with that guess before the table of jumps is asked.
 *
 *   in this page   with its address; then all is as with a direct branch in the page
 *   elsewhere      with the entry of the table that it looks into, whose place is a number then; so
 *                  a direct branch into another page does
 *
 * So a guess is as true as a direct branch is, whatever is written or mapped, and nobody has to
 * hear of it. What goes elsewhere looks into the table in the cold half.
 */
#include "cpu/interp/tier.h"
#include "cpu/translate/far.h"

#define PUT(...) EMIT(&k->e, __VA_ARGS__)

/* The branch as a direct one. False: no place had enough of its runs. */
static bool find_guess(const struct compile *k, const struct uop *u, struct uop *direct)
{
    *direct = *u;
    direct->imm = (int64_t)(branch_usual_target(u) - k->t->c.gpr[GPR_PAGE / 8]);
    return branch_majority(u) > k->t->c.hot_runs / 4;
}

/* Answers the place of the jump taken if r10 is not that place in this page. */
static uint8_t *put_compare(struct compile *k, const struct uop *direct)
{
    if (is_fixed(k)) {
        PUT(0x49, 0x81, 0xfa); /* cmp r10, number */
        emit_u32(&k->e, (uint32_t)(k->page + (uint64_t)direct->imm));
    } else {
        put_from_page(k, HOST_T1, direct->imm);
        PUT(0x4d, 0x39, 0xda); /* cmp r10, r11 */
    }
    return emit_jcc(&k->e, 5);
}

static void put_jump(struct compile *k, const struct uop *direct, struct native_exit *x)
{
    put_count(k, direct->n);
    if (x)
        put_exit_way(k, x, emit_jump(&k->e));
    else
        put_known_go(k, direct);
}

static void put_call(struct compile *k, unsigned n, const struct uop *direct, struct native_exit *x)
{
    k->r10_share = NO_SHARE;
    put_push_return(k, n);
    put_count(k, direct->n);
    if (x) {
        put_call_exit(k, n, x);
        return;
    }
    put_on_known(k, direct, 0x8b, HOST_T0, JUMP_OFFSET(lin));
    put_call_known(k, n, direct);
}

bool put_guess(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n), *copy;
    bool calls = k->i[n].mnemonic == ZYDIS_MNEMONIC_CALL, polls, was_cold;
    struct native_exit *x = NULL;
    struct uop direct;
    uint8_t *other;

    if (!find_guess(k, u, &direct))
        return false;
    if (is_in_page(direct.imm) && !(x = new_exit(k, &direct)))
        return true;
    if (x)
        x->loaded = !calls && k->gate.from;
    k->t->c.stats.native_guesses += !k->is_cold; /* not again in a second copy */
    copy = leaving_copy(k, u);
    put_operand(k, n);
    polls = calls || !x || direct.imm <= (int64_t)u->off; /* as direct ones do */
    if (polls)
        add_leave(k, put_poll(k), copy);
    other = x ? put_compare(k, &direct) : put_known_compare(k, &direct, HOST_T0);
    put_profile(k, &k->t->c.stats.native_guess_hits);
    if (calls)
        put_call(k, n, &direct, x);
    else
        put_jump(k, &direct, x);

    was_cold = go_cold(k);
    emit_patch(other, k->e.at);
    put_profile(k, &k->t->c.stats.native_guess_misses);
    if (!polls)
        add_leave(k, put_poll(k), copy);
    put_look_up(k, copy);
    if (calls)
        put_push_and_go(k, n);
    else
        put_go(k, u->n);
    go_back(k, was_cold);
    return true;
}
