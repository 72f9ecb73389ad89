/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the guest's arithmetic flags are at the place that is being written. A check destroys
 * RFLAGS: flags that count are put away before it and come back only where something needs them.
 */
#include "cpu/translate/compile.h"

void put_flags_away(struct compile *k)
{
    static const uint8_t take[] = {0x9f, 0x0f, 0x90, 0xc0}; /* lahf; seto al */

    emit_move(&k->e, HOST_T1, X_RAX);
    emit_bytes(&k->e, take, sizeof take);
    emit_form(&k->e, &(struct x_form){.op = 0x89,
                                      .size16 = true,
                                      .rm = XRM_ABS,
                                      .disp = (int32_t)ABS(k->t->c.flags16)});
    emit_move(&k->e, X_RAX, HOST_T1);
}

void put_flags_back(struct compile *k)
{
    static const uint8_t set[] = {0x04, 0x7f, 0x9e}; /* add al, 127; sahf */

    emit_move(&k->e, HOST_T1, X_RAX);
    emit_form(&k->e,
              &(struct x_form){
                  .map = 1, .op = 0xb7, .rm = XRM_ABS, .disp = (int32_t)ABS(k->t->c.flags16)});
    emit_bytes(&k->e, set, sizeof set);
    emit_move(&k->e, X_RAX, HOST_T1);
}

void flags_away(struct compile *k)
{
    if (k->flags == FLAGS_IN_PLACE)
        put_flags_away(k);
    k->flags = FLAGS_AWAY;
}

void flags_in_place(struct compile *k)
{
    if (k->flags != FLAGS_AWAY)
        return;
    put_flags_back(k);
    k->flags = FLAGS_BOTH;
}

void flags_join(struct compile *k, enum flags_where want)
{
    if (want != FLAGS_IN_PLACE && k->flags == FLAGS_IN_PLACE)
        put_flags_away(k);
    if (want != FLAGS_AWAY)
        flags_in_place(k);
}

void flags_before(struct compile *k, uint32_t live)
{
    if (live || k->flags == FLAGS_BOTH)
        flags_away(k);
}

bool flags_begin_away(const struct compile *k)
{
    if (k->across_bytes)
        return k->live[0];
    for (unsigned n = 0; n < k->n && k->live[n]; n++) {
        struct insn_flags f = insn_flags(&k->i[n], k->op[n]);

        if (f.reads || f.touches)
            return false;
        if (memory_operand(k, n) || compile_leaves(k, n))
            return !compile_goes_to(k, n) || k->i[n].mnemonic == ZYDIS_MNEMONIC_CALL ||
                   !is_in_page(uop_of(k, n)->imm);
        if (k->i[n].mnemonic == ZYDIS_MNEMONIC_PUSH || k->i[n].mnemonic == ZYDIS_MNEMONIC_POP)
            return true;
    }
    return false;
}

/* Those that it leaves alone must be there, too. */
static bool needs_flags(const struct compile *k, unsigned n, const struct insn_flags *f)
{
    return f->reads || (f->touches && (k->live[n + 1] & ~f->writes));
}

bool flags_come_back(const struct compile *k, unsigned n)
{
    struct insn_flags f = insn_flags(&k->i[n], k->op[n]);

    return k->flags == FLAGS_AWAY && needs_flags(k, n, &f);
}

void flags_for(struct compile *k, unsigned n)
{
    struct insn_flags f = insn_flags(&k->i[n], k->op[n]);

    if (needs_flags(k, n, &f))
        flags_in_place(k);
    if (f.touches)
        k->flags = FLAGS_IN_PLACE;
}
