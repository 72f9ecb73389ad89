/* SPDX-License-Identifier: Apache-2.0 */
/* From a hot block to native code: one pass, instruction by instruction; then the ways out. */
#include "cpu/translate/compile.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/interp/run.h"

/* Room that one block surely does not pass. */
#define BLOCK_ROOM 65536u

/* --- handlers --- */

/* Tells native_fallback which addresses the window may learn, see there. */
static void note_address(const struct compile *k, unsigned n, struct uop *pair)
{
    struct uop *stop = &pair[1];

    stop->src = memory_operand(k, n) != NULL;
    stop->base = 8 * RSP;
    switch (k->i[n].mnemonic) {
    case ZYDIS_MNEMONIC_LEAVE:
        pair->base = 8 * RBP;
        stop->src = 1;
        break;
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_PUSHFQ:
        stop->src2 = 1;
        stop->dst = (uint8_t)k->word;
        break;
    case ZYDIS_MNEMONIC_POP:
    case ZYDIS_MNEMONIC_POPFQ:
        stop->src2 = 1;
        break;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
        if (stop->src && k->op[n][1].type == ZYDIS_OPERAND_TYPE_REGISTER)
            stop->index = (uint8_t)(dec_gpr(k->op[n][1].reg.value) + 1);
        break;
    default:
        if (string_is_native(k, n))
            string_note_addresses(pair);
        break;
    }
}

const struct uop *fallback_pair(struct compile *k, unsigned n, enum callout_why why)
{
    const struct uop *u = uop_of(k, n);
    struct uop *pair = code_memory_data(&k->t->code, 2 * sizeof *pair);

    if (!pair) {
        k->failed = true;
        return NULL;
    }
    pair[0] = *u;
    pair[0].link = NULL;
    pair[1] =
        (struct uop){.fn = op_resume, .off = (uint16_t)(u->off + u->len), .n = u->n, .m = u->m};
    pair[1].imm = k->i[n].mnemonic;
    pair[1].cond = (uint8_t)why;
    note_address(k, n, pair);
    k->stop[k->stop_count++] = &pair[1];
    return pair;
}

void put_call_fallback(struct compile *k, const struct uop *pair, enum flags_where flags)
{
    const uint8_t *thunk =
        flags == FLAGS_IN_PLACE ? k->t->to_fallback : k->t->to_fallback_flags_away;

    put_page_out(k);
    emit_imm32(&k->e, HOST_T0, ABS(*pair));
    emit_patch(emit_call(&k->e), code_rw(&k->t->code, thunk));
}

static void put_fallback(struct compile *k, unsigned n)
{
    put_call_fallback(k, fallback_pair(k, n, CALLOUT_NO_FORM), k->flags);
    note_immediate(k, n, NULL);
    k->flags = FLAGS_BOTH;
    k->fallbacks++;
}

/* --- leaving --- */

/* The last instruction by its handler in the loop. */
static void put_leave_by_handler(struct compile *k, const struct uop *u)
{
    put_leave(k, leaving_copy(k, u), k->flags);
}

static void put_slow(struct compile *k, const struct slow_way *s)
{
    emit_patch(s->from, k->e.at);
    if (!s->resume) {
        put_leave(k, s->uop, s->flags);
        return;
    }
    put_edge_way(k, s);
    put_call_fallback(k, s->uop, s->flags);
    emit_patch(emit_jump(&k->e), s->resume);
}

/* --- instructions that are not plain --- */

void put_stack_address(struct compile *k, unsigned n, bool push)
{
    if (push)
        put_word_lea(k, HOST_T0, HOST_SP, -(int32_t)k->word);
    else
        put_word_move(k, HOST_T0, HOST_SP);
    put_check(k, n, k->word, push);
}

static bool put_push(struct compile *k, unsigned n)
{
    const ZydisDecodedOperand *op = &k->op[n][0];
    unsigned value;

    if (k->i[n].operand_width != 8 * k->word)
        return false;
    if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        struct x_form f = word_at_t0(k, 0xc7, 0);

        f.disp = put_stack_access(k, n, true);
        emit_form(&k->e, &f);
        emit_u32(&k->e, (uint32_t)op->imm.value.s);
    } else if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && dec_is_gpr(op->reg.value)) {
        int32_t disp = put_stack_access(k, n, true);
        struct x_form f;

        value = put_register_in(k, dec_gpr(op->reg.value) / 8, HOST_T1);
        f = word_at_t0(k, 0x89, value);
        f.disp = disp;
        emit_form(&k->e, &f);
    } else {
        return op->type == ZYDIS_OPERAND_TYPE_MEMORY && put_push_memory(k, n);
    }
    move_stack(k, -(int32_t)k->word);
    return true;
}

static bool put_pop(struct compile *k, unsigned n)
{
    const ZydisDecodedOperand *op = &k->op[n][0];
    unsigned guest, to;
    struct x_form f;
    int32_t disp;

    if (k->i[n].operand_width != 8 * k->word || op->type != ZYDIS_OPERAND_TYPE_REGISTER ||
        !dec_is_gpr(op->reg.value))
        return false;
    guest = dec_gpr(op->reg.value) / 8;
    to = host_reg(guest);
    disp = put_stack_access(k, n, false);
    move_stack(k, (int32_t)k->word);
    f = word_at_t0(k, 0x8b, to == X_NONE ? HOST_T1 : to);
    f.disp = disp;
    emit_form(&k->e, &f);
    if (to == X_NONE) {
        emit_store(&k->e, HOST_T1, guest_at(k, guest));
        r11_note(k, guest);
    }
    return true;
}

static bool put_special(struct compile *k, unsigned n)
{
    switch (k->i[n].mnemonic) {
    case ZYDIS_MNEMONIC_LEA:
        return put_lea(k, n);
    case ZYDIS_MNEMONIC_PUSH:
        return put_push(k, n);
    case ZYDIS_MNEMONIC_POP:
        return put_pop(k, n);
    default:
        return put_sensitive(k, n) || put_integer(k, n) || put_vector(k, n);
    }
}

/* --- the block --- */

bool put_end(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);

    if (!compile_leaves(k, n))
        return false;
    if (k->i[n].mnemonic != ZYDIS_MNEMONIC_RET)
        put_stack_moved(k);
    if (compile_goes_to(k, n) && k->i[n].mnemonic == ZYDIS_MNEMONIC_JMP) {
        add_taken(k, u, NULL);
    } else if (compile_goes_to(k, n) && is_in_page(u->imm)) {
        put_near_call(k, n);
    } else if (!put_far_end(k, n) && !put_fast_system_call(k, n) && !put_iret(k, n) &&
               !put_mapping(k, n)) {
        put_leave_by_handler(k, u);
    }
    return true;
}

static void put_jcc(struct compile *k, unsigned n)
{
    const uint8_t *start;

    flags_in_place(k);
    start = k->e.at;
    put_branch(k, uop_of(k, n), k->i[n].opcode & 15u);
    r11_stays(k, start);
}

void put_instruction(struct compile *k, unsigned n)
{
    const ZydisDecodedInstruction *i = &k->i[n];
    unsigned slow = k->slow_count;

    if (!is_push_or_pop(k, n))
        put_stack_moved(k);
    if (code32_is_based(k, n) && !code32_refuses(k, n))
        put_base_guard(k, n);
    if (!leaves_r11_alone(k, n))
        k->r11_share = NO_SHARE;
    if (insn_is_jcc(i)) {
        put_jcc(k, n);
    } else if (code32_refuses(k, n)) {
        put_fallback(k, n);
    } else if (insn_is_plain(i, k->op[n]) ? !put_plain(k, n)
                                          : !insn_is_nothing(i) && !put_special(k, n)) {
        put_fallback(k, n);
    }
    for (; slow < k->slow_count; slow++) {
        k->slow[slow].resume = k->e.at;
        r11_forget(k);
    }
}

static void put_ways_out(struct compile *k)
{
    /* The one that the code falls into comes first. */
    unsigned last = k->taken_count;
    bool was_cold;

    if (last && !k->taken[last - 1].from)
        put_taken(k, --k->taken_count);
    last = k->taken_count;
    for (unsigned n = 0; n < last; n++)
        put_taken(k, n);
    was_cold = go_cold(k);
    put_careful_copies(k);
    for (unsigned n = last; n < k->taken_count; n++)
        put_taken(k, n);
    put_loop_ended(k);
    put_refusals(k);
    for (unsigned n = 0; n < k->slow_count; n++)
        put_slow(k, &k->slow[n]);
    put_gate_way(k);
    go_back(k, was_cold);
}

void put_profile(struct compile *k, const uint64_t *counter)
{
    if (!k->t->profile)
        return;
    EMIT(&k->e, 0x0f, 0x6f, 0x0c, 0x25); /* movq mm1, [counter] */
    emit_u32(&k->e, ABS(*counter));
    EMIT(&k->e, 0x0f, 0xd4, 0x0c, 0x25); /* paddq mm1, [1] */
    emit_u32(&k->e, ABS(k->t->counts[1]));
    EMIT(&k->e, 0x0f, 0x7f, 0x0c, 0x25); /* movq [counter], mm1 */
    emit_u32(&k->e, ABS(*counter));
}

/*
 * The ways in. One comes from another page, with the linear address in r10 and the flags away. The
 * block begins where its first check wants the flags, so that those who have put them away already
 * go around it.
 */
static void put_entries(struct compile *k, struct native_block *b)
{
    bool away = flags_begin_away(k);
    uint8_t *around = NULL;

    b->far_entry = k->e.at;
    put_profile(k, &k->t->c.stats.native_far_runs);
    put_page_in(k, uop_of(k, 0)->off);
    b->entry[FLAGS_AWAY] = k->e.at;
    if (away)
        around = emit_jump(&k->e);
    else if (k->live[0])
        put_flags_back(k);
    b->entry[FLAGS_IN_PLACE] = b->entry[FLAGS_BOTH] = k->e.at;
    if (away) {
        flags_away(k);
        emit_patch(around, k->e.at);
        b->entry[FLAGS_AWAY] = b->entry[FLAGS_BOTH] = k->e.at;
    }
    put_profile(k, &k->t->c.stats.native_runs);
}

/* Who has the vectors loaded already goes around the question, if the block begins with it. */
static void note_loaded_entries(const struct compile *k, struct native_block *b)
{
    for (unsigned f = 0; f <= FLAGS_BOTH; f++)
        b->loaded[f] = k->gate.from && b->entry[f] == k->gate.start ? k->gate.resume : b->entry[f];
}

static void put_block(struct compile *k)
{
    put_loop_before(k);
    for (unsigned n = 0; n < k->n && !k->failed; n++) {
        if (put_end(k, n))
            break;
        shares_before(k, n);
        put_instruction(k, n);
        shares_after(k, n);
        if (n == k->loop.end) {
            k->loop.resume = k->e.at;
            k->loop.flags = k->flags;
            r11_forget(k);
        }
    }
    if (k->failed)
        return;
    if (!k->is_last) {
        const struct uop *end = uop_of(k, k->n);

        if (end->fn == op_end || k->across_bytes)
            add_taken(k, end, NULL);
        else
            put_leave_by_handler(k, end);
    }
    if (!k->failed)
        put_ways_out(k);
}

static bool is_worth_it(const struct compile *k)
{
    return k->fallbacks * 2 <= k->n;
}

static uint64_t guest_bytes(const struct compile *k)
{
    const struct uop *last = uop_of(k, k->n - 1);

    return last->off + last->len - (uint64_t)uop_of(k, 0)->off;
}

/* A copy that lives as long as the code; NULL: no room. */
static void *keep(struct code_memory *m, const void *from, size_t bytes)
{
    void *to = code_memory_data(m, bytes);

    if (to && bytes)
        memcpy(to, from, bytes);
    return to;
}

struct native_block *translate_block(struct translate *t, struct tier_block *b)
{
    struct compile *k = t->compile;
    struct code_memory *m = &t->code;
    struct native_block *nb, ways = {0};
    uint64_t held = code_memory_held(m);

    if (m->size / 2 - m->used < BLOCK_ROOM || m->size - m->cold_used < BLOCK_ROOM)
        return NULL;
    across_take(k, b);
    k->word = t->c.mode == CODE_64 ? 8 : 4;
    fixed_take(k, b->moves);
    k->e = (struct emit){.at = m->rw + m->used, .end = m->rw + m->size / 2};
    k->other = (struct emit){.at = m->rw + m->cold_used, .end = m->rw + m->size};
    k->slow_count = k->taken_count = k->stop_count = k->immediate_count = k->fallbacks = 0;
    memset(k->is_move, 0, sizeof k->is_move);
    memset(k->slow, 0, sizeof k->slow);
    k->gate = (struct vector_gate){0};
    k->failed = k->is_cold = false;
    k->flags = FLAGS_IN_PLACE;
    k->in_run = k->in_loop = k->end_shares = false;
    r11_forget(k);
    k->run_count = k->refusal_count = k->looked_up_to = 0;
    k->stack_moves = 0;
    k->looked_at = 0;
    if (!compile_decode(k) || !code32_takes(k))
        return NULL;
    twins_find(k);
    loop_find(k);
    put_entries(k, &ways);
    put_across_guard(k);
    put_block(k);
    note_loaded_entries(k, &ways);
    nb = code_memory_data(m, sizeof *nb);
    if (!nb || k->failed || k->e.full || k->other.full || !is_worth_it(k))
        return NULL;
    *nb = ways;
    nb->page = k->page;
    immediates_sort(k);
    nb->stops = keep(m, k->stop, k->stop_count * sizeof k->stop[0]);
    nb->immediate = keep(m, k->immediate, k->immediate_count * sizeof k->immediate[0]);
    if (!nb->stops || !nb->immediate)
        return NULL;
    nb->stop_count = k->stop_count;
    nb->immediate_count = k->immediate_count;
    b->looked_at = k->looked_at;
    perf_map_add(t->perf_map, code_rx(m, nb->far_entry), (size_t)(k->e.at - nb->far_entry),
                 t->c.gpr[GPR_PAGE / 8] + uop_of(k, 0)->off);
    perf_map_add(t->perf_map, code_rx(m, m->rw + m->cold_used),
                 (size_t)(k->other.at - (m->rw + m->cold_used)),
                 t->c.gpr[GPR_PAGE / 8] + uop_of(k, 0)->off);
    t->c.stats.native_blocks++;
    t->c.stats.native_guest_bytes += guest_bytes(k);
    t->c.stats.native_bytes += (uint64_t)(k->e.at - nb->far_entry);
    t->c.stats.native_bytes += (uint64_t)(k->other.at - (m->rw + m->cold_used));
    m->used = ((size_t)(k->e.at - m->rw) + 15) & ~(size_t)15;
    m->cold_used = (size_t)(k->other.at - m->rw);
    mem_note_beside(t->c.mem, code_memory_held(m) - held);
    return nb;
}

enum err compile_create(struct translate *t)
{
    t->compile = calloc(1, sizeof *t->compile);
    if (!t->compile)
        return err_new(ERR_NOMEM, "no memory for the translator");
    t->compile->t = t;
    return ERR_OK;
}

void compile_destroy(struct translate *t)
{
    free(t->compile);
}
