/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks shared by the accesses of a run: instructions that only compute, with conditional jumps
 * out of them. Accesses by the same registers lie close to each other, mostly in one page; their
 * first one checks the range of all and keeps its host address.
 *
 * Within a run no C runs, so that an address that was checked stays right. That is why the run is
 * written twice: the first copy has no ways to handlers. Where one of its checks fails, the second,
 * careful copy goes on with that instruction, and checks each access for itself to the run's end.
 * The block's end, if its stack access is shared, too, is written twice with it.
 */
#include "cpu/interp/mem.h"
#include "cpu/translate/compile.h"

/* A wider range crosses pages too often. */
#define RANGE_MAX 512

/* Room for a range that begins below. */
#define DISP_LEAST (INT32_MIN + 2 * RANGE_MAX)

/* --- which instructions, which accesses --- */

bool is_push_or_pop(const struct compile *k, unsigned n)
{
    const ZydisDecodedOperand *op = &k->op[n][0];
    ZydisMnemonic m = k->i[n].mnemonic;

    if (k->i[n].operand_width != 8 * k->word ||
        (m != ZYDIS_MNEMONIC_PUSH && m != ZYDIS_MNEMONIC_POP))
        return false;
    if (op->type == ZYDIS_OPERAND_TYPE_REGISTER)
        return dec_is_gpr(op->reg.value) && dec_gpr(op->reg.value) != 8 * RSP;
    return m == ZYDIS_MNEMONIC_PUSH && op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

static bool is_stack_access(const struct compile *k, unsigned n)
{
    ZydisMnemonic m = k->i[n].mnemonic;

    return is_push_or_pop(k, n) ||
           (compile_leaves(k, n) && (m == ZYDIS_MNEMONIC_CALL || m == ZYDIS_MNEMONIC_RET) &&
            far_end_is_possible(k, n));
}

bool belongs_to_runs(struct compile *k, unsigned n)
{
    const ZydisDecodedInstruction *i = &k->i[n];

    if (insn_is_jcc(i) || insn_is_nothing(i) || is_push_or_pop(k, n))
        return true;
    if (code32_refuses(k, n) || code32_is_based(k, n))
        return false;
    if (i->mnemonic == ZYDIS_MNEMONIC_LEA)
        return lea_is_possible(k, n);
    if (vex_is_possible(k, n))
        return true;
    return (insn_is_plain(i, k->op[n]) || insn_is_vector(i, k->op[n])) && plain_is_possible(k, n);
}

static int64_t moved(const struct moves *m, uint8_t base, uint8_t index, uint8_t scale)
{
    int64_t by = base < GPR_ZERO ? m->by[base / 8] : 0;

    return index < GPR_ZERO ? by + (int64_t)((uint64_t)m->by[index / 8] << scale) : by;
}

bool find_access(const struct compile *k, unsigned n, const struct moves *m, struct access *a)
{
    const struct uop *u = uop_of(k, n);
    const ZydisDecodedOperand *mem = memory_operand(k, n);

    if (is_stack_access(k, n)) {
        bool push =
            k->i[n].mnemonic == ZYDIS_MNEMONIC_PUSH || k->i[n].mnemonic == ZYDIS_MNEMONIC_CALL;

        *a = (struct access){.u = u,
                             .base = 8 * RSP,
                             .index = GPR_ZERO,
                             .at = push ? -(int64_t)k->word : 0,
                             .moved = m->by[RSP],
                             .bytes = k->word,
                             .write = push};
        a->at += a->moved;
        return true;
    }
    if (!mem || insn_is_nothing(&k->i[n]) || u->addrsize != k->word || u->disp < DISP_LEAST)
        return false;
    *a = (struct access){.u = u,
                         .base = u->base,
                         .index = u->index,
                         .at = u->disp,
                         .moved = moved(m, u->base, u->index, u->scale),
                         .bytes = mem->size / 8,
                         .write = (mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0,
                         .aligned = vector_is_aligned(k, n)};
    a->at += a->moved;
    return true;
}

/* PUSH, POP, ... have the fields of their segment and operand in no other use. */
static bool is_same_place(const struct compile *k, const struct share *s, unsigned n,
                          const struct access *a)
{
    bool stack = is_stack_access(k, n);
    unsigned seg = stack ? SEG_SS : a->u->seg;

    if (!s->open || s->base != a->base || s->index != a->index)
        return false;
    if (s->index != GPR_ZERO && s->scale != a->u->scale)
        return false;
    return s->seg == seg || (seg_is_flat(s->seg) && seg_is_flat(seg));
}

bool share_join(struct share *s, const struct compile *k, unsigned n, const struct access *a)
{
    int64_t lo = a->at < s->lo ? a->at : s->lo;
    int64_t hi = a->at + a->bytes > s->hi ? a->at + a->bytes : s->hi;

    if (!is_same_place(k, s, n, a) || hi - lo > RANGE_MAX ||
        (a->aligned && s->aligned && ((a->at - s->aligned_at) & 15)))
        return false;
    s->lo = lo;
    s->hi = hi;
    s->write |= a->write;
    if (a->aligned) {
        s->aligned = true;
        s->aligned_at = a->at;
    }
    s->members++;
    return true;
}

void share_begin(struct share *s, const struct compile *k, unsigned n, const struct access *a)
{
    *s = (struct share){.base = a->base,
                        .index = a->index,
                        .scale = a->u->scale,
                        .seg = is_stack_access(k, n) ? SEG_SS : a->u->seg,
                        .open = true,
                        .write = a->write,
                        .aligned = a->aligned,
                        .leader = n,
                        .members = 1,
                        .lo = a->at,
                        .hi = a->at + a->bytes,
                        .origin = a->moved,
                        .aligned_at = a->at};
}

static void take(struct compile *k, unsigned n, const struct access *a)
{
    k->share_at[n] = a->at;
    for (unsigned i = 0; i < k->share_count; i++)
        if (share_join(&k->share[i], k, n, a)) {
            k->share_of[n] = (int8_t)i;
            return;
        }
    if (k->share_count == SHARES)
        return;
    k->share_of[n] = (int8_t)k->share_count;
    share_begin(&k->share[k->share_count++], k, n, a);
}

unsigned moved_register(const struct compile *k, unsigned n, int64_t *by)
{
    const ZydisDecodedOperand *op = k->op[n];
    ZydisMnemonic m = k->i[n].mnemonic;

    if (is_push_or_pop(k, n)) {
        *by = m == ZYDIS_MNEMONIC_PUSH ? -(int64_t)k->word : k->word;
        return RSP;
    }
    if (k->i[n].operand_width != 8 * k->word || op[0].type != ZYDIS_OPERAND_TYPE_REGISTER ||
        !dec_is_gpr(op[0].reg.value))
        return NO_REGISTER;
    if (m == ZYDIS_MNEMONIC_LEA && k->i[n].address_width == 64 &&
        op[1].mem.base == op[0].reg.value && op[1].mem.index == ZYDIS_REGISTER_NONE)
        *by = op[1].mem.disp.value;
    else if (m == ZYDIS_MNEMONIC_INC || m == ZYDIS_MNEMONIC_DEC)
        *by = m == ZYDIS_MNEMONIC_INC ? 1 : -1;
    else if ((m == ZYDIS_MNEMONIC_ADD || m == ZYDIS_MNEMONIC_SUB) &&
             op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        *by = m == ZYDIS_MNEMONIC_ADD ? op[1].imm.value.s : -op[1].imm.value.s;
    else
        return NO_REGISTER;
    return dec_gpr(op[0].reg.value) / 8;
}

/* Shares by a register that instruction n writes are over; not by one that it moves. */
static void close_written(struct compile *k, unsigned n, unsigned moves)
{
    unsigned written = insn_written(&k->i[n], k->op[n]) & ~(1u << moves);

    for (unsigned i = 0; i < k->share_count; i++)
        if (is_among(written, k->share[i].base) || is_among(written, k->share[i].index))
            k->share[i].open = false;
}

static void look_at_end(struct compile *k, unsigned n, const struct moves *m)
{
    struct access a;

    if (n == k->n)
        return;
    k->share_of[n] = NO_SHARE;
    if (compile_leaves(k, n) && is_stack_access(k, n) && find_access(k, n, m, &a))
        take(k, n, &a);
}

/* Accesses of the run that begins at `first` into shares; answers its end. */
static unsigned look_at_run(struct compile *k, unsigned first)
{
    struct moves m = {0};
    unsigned n;

    k->share_count = 0;
    for (n = first; n < k->n && !compile_leaves(k, n) && belongs_to_runs(k, n); n++) {
        struct access a;
        int64_t by = 0;
        unsigned moves = moved_register(k, n, &by);

        k->share_of[n] = NO_SHARE;
        if (find_access(k, n, &m, &a))
            take(k, n, &a);
        close_written(k, n, moves);
        if (moves != NO_REGISTER)
            m.by[moves] += by;
        if (n == k->loop.end) {
            if (n + 1 < k->n)
                k->share_of[n + 1] = NO_SHARE;
            return n + 1;
        }
    }
    look_at_end(k, n, &m);
    return n;
}

/* Accesses that are alone check for themselves. True: there are others. */
static bool settle(struct compile *k, unsigned first, unsigned end)
{
    bool any = false;

    for (unsigned n = first; n <= end && n < k->n; n++) {
        if (k->share_of[n] == NO_SHARE)
            continue;
        if (k->share[k->share_of[n]].members < 2)
            k->share_of[n] = NO_SHARE;
        else
            any = true;
    }
    for (unsigned i = 0; i < k->share_count; i++) {
        struct share *s = &k->share[i];

        if (s->aligned)
            s->lo -= (s->lo - s->aligned_at) & 15;
    }
    return any;
}

/* --- the first copy --- */

void note_moves(struct compile *k, unsigned first, unsigned end, const struct share *s,
                unsigned count)
{
    int64_t by;

    for (unsigned n = first; n < end; n++) {
        unsigned moves = moved_register(k, n, &by);

        for (unsigned i = 0; i < count && moves != NO_REGISTER; i++)
            k->is_move[n] |= s[i].base == 8 * moves || s[i].index == 8 * moves;
    }
}

void shares_before(struct compile *k, unsigned n)
{
    unsigned end;

    if (k->in_run || k->run_count == RUNS || n < k->looked_up_to)
        return;
    end = look_at_run(k, n);
    k->looked_up_to = end;
    if (end == n || !settle(k, n, end))
        return;
    note_moves(k, n, end, k->share, k->share_count);
    put_gate_before(k, n, end);
    k->run[k->run_count] = (struct run){
        .first = n, .end = end, .with_end = end < k->n && k->share_of[end] != NO_SHARE};
    k->in_run = true;
    k->r10_share = k->r11_share = NO_SHARE;
}

void shares_after(struct compile *k, unsigned n)
{
    struct run *r = &k->run[k->run_count];

    if (!k->in_run || n + 1 < r->end)
        return;
    if (!r->with_end)
        put_stack_moved(k);
    r->resume = k->e.at;
    r11_forget(k);
    r->flags = k->flags;
    k->run_count++;
    k->in_run = false;
    k->end_shares = r->with_end;
}

/* A register operand, or one of an address, that lives in memory. */
static bool has_resident(const struct compile *k, unsigned n)
{
    for (unsigned m = 0; m < k->i[n].operand_count; m++) {
        const ZydisDecodedOperand *op = &k->op[n][m];
        ZydisRegister of[] = {op->type == ZYDIS_OPERAND_TYPE_REGISTER ? op->reg.value : 0,
                              op->type == ZYDIS_OPERAND_TYPE_MEMORY ? op->mem.base : 0,
                              op->type == ZYDIS_OPERAND_TYPE_MEMORY ? op->mem.index : 0};

        for (unsigned r = 0; r < 3; r++)
            if (dec_is_gpr(of[r]) && host_reg(dec_gpr(of[r]) / 8) == X_NONE)
                return true;
    }
    return false;
}

/* Does r10, the pointer of a share, surely outlive instruction n of a run? */
static bool keeps_pointer(const struct compile *k, unsigned n, int share)
{
    if (k->share_of[n] == share || insn_is_jcc(&k->i[n]) || insn_is_nothing(&k->i[n]))
        return true;
    if (is_push_or_pop(k, n) || has_resident(k, n))
        return false;
    if (k->i[n].mnemonic == ZYDIS_MNEMONIC_LEA)
        return uop_of(k, n)->base != GPR_PAGE;
    return !memory_operand(k, n) || leaves_r11_alone(k, n);
}

/* Does the instruction that ends the block use r10 before its stack access? */
static bool end_takes_pointer(const struct compile *k, unsigned n)
{
    int64_t to = uop_of(k, n)->imm;

    if (k->i[n].mnemonic == ZYDIS_MNEMONIC_RET)
        return false;
    return !compile_goes_to(k, n) || to < 0 || to >= (int64_t)PAGE_SIZE;
}

/* Will the share of instruction n, its first one, be asked for when r10 has something else? */
static bool must_be_stored(const struct compile *k, unsigned n)
{
    const struct run *r = &k->run[k->run_count];
    int share = k->share_of[n];
    bool kept = true;

    for (unsigned m = n + 1; m < r->end; m++) {
        if (k->share_of[m] == share && !kept)
            return true;
        kept = kept && keeps_pointer(k, m, share);
    }
    return r->with_end && k->share_of[r->end] == share && (!kept || end_takes_pointer(k, r->end));
}

/* The pointer that put_shared has stored. */
static void put_stored(struct compile *k, int share, unsigned to)
{
    const uint8_t *start = k->e.at;

    if (!k->share[share].stored)
        k->failed = true; /* keeps_pointer was wrong */
    emit_load(&k->e, to, ABS(k->t->shared[share]));
    if (to != HOST_T1)
        r11_stays(k, start);
}

int32_t put_shared(struct compile *k, unsigned n)
{
    int share = k->share_of[n];
    struct share *s = &k->share[share];

    if (n == s->leader) {
        struct uop u = *uop_of(k, n);

        u.base = s->base;
        u.index = s->index;
        u.seg = s->seg;
        u.addrsize = (uint8_t)k->word;
        u.disp = s->lo - s->origin;
        put_place_check(k, n, &u, (unsigned)(s->hi - s->lo), s->write, s->aligned);
        s->stored = must_be_stored(k, n);
        if (s->stored)
            emit_store(&k->e, HOST_T0, ABS(k->t->shared[share]));
    } else if (k->r10_share != share) {
        put_stored(k, share, HOST_T0);
    }
    k->r10_share = share;
    return (int32_t)(k->share_at[n] - s->lo);
}

void put_stack_moved(struct compile *k)
{
    const uint8_t *start = k->e.at;

    if (k->stack_moves)
        put_word_lea(k, HOST_SP, HOST_SP, k->stack_moves);
    r11_stays(k, start);
    k->stack_moves = 0;
}

void move_stack(struct compile *k, int32_t by)
{
    k->stack_moves += by;
    if (!k->in_run)
        put_stack_moved(k);
}

bool leaves_r11_alone(const struct compile *k, unsigned n)
{
    const ZydisDecodedOperand *op = k->op[n];
    struct insn_flags f = insn_flags(&k->i[n], op);

    if (!k->in_run || k->word != 8 || !insn_is_vector(&k->i[n], op) || f.touches || f.reads)
        return false;
    for (unsigned m = 0; m < k->i[n].operand_count; m++)
        if (op[m].type == ZYDIS_OPERAND_TYPE_REGISTER && dec_is_gpr(op[m].reg.value) &&
            host_reg(dec_gpr(op[m].reg.value) / 8) == X_NONE)
            return false;
    return !memory_operand(k, n) ||
           (k->share_of[n] != NO_SHARE && k->share[k->share_of[n]].leader != n);
}

int32_t put_shared_in_either(struct compile *k, unsigned n, uint8_t *pointer)
{
    int share = k->share_of[n];

    *pointer = HOST_T0;
    if (k->r10_share == share)
        return put_shared(k, n);
    if (k->r11_share != share)
        put_stored(k, share, HOST_T1);
    k->r11_share = share;
    *pointer = HOST_T1;
    return (int32_t)(k->share_at[n] - k->share[share].lo);
}

int32_t put_stack_access(struct compile *k, unsigned n, bool push)
{
    bool shares = has_share(k, n) || (k->end_shares && compile_leaves(k, n));

    if (!shares || k->share[k->share_of[n]].leader == n)
        put_stack_moved(k);
    if (shares)
        return put_shared(k, n);
    put_stack_address(k, n, push);
    return 0;
}

/* --- the second copy --- */

void put_careful_copies(struct compile *k)
{
    k->end_shares = false;
    for (unsigned i = 0; i < k->run_count; i++) {
        const struct run *r = &k->run[i];

        k->flags = FLAGS_AWAY;
        for (unsigned n = r->first; n < r->end && !k->failed; n++) {
            k->careful[n] = k->e.at;
            r11_forget(k);
            k->careful_flags[n] = k->flags;
            put_instruction(k, n);
        }
        if (r->with_end) {
            (void)put_end(k, r->end);
            continue;
        }
        flags_join(k, r->flags);
        emit_patch(emit_jump(&k->e), r->resume);
    }
}

void put_refusals(struct compile *k)
{
    for (unsigned i = 0; i < k->refusal_count; i++) {
        const struct refusal *f = &k->refusal[i];

        emit_patch(f->from, k->e.at);
        if (f->flags == FLAGS_AWAY && k->careful_flags[f->n] != FLAGS_AWAY)
            put_flags_back(k);
        emit_patch(emit_jump(&k->e), k->careful[f->n]);
    }
}
