/* SPDX-License-Identifier: Apache-2.0 */
/* What far.c and guess.c share: the parts of near branches to anywhere. Flags are away. */
#ifndef UMBRA_CPU_TRANSLATE_FAR_H
#define UMBRA_CPU_TRANSLATE_FAR_H

#include "cpu/translate/compile.h"

/* The branch is its handler's, by its copy, where the jump at `from` is taken. */
void add_leave(struct compile *k, uint8_t *from, const struct uop *copy);

/* r10: the operand of an indirect branch, its target. */
void put_operand(struct compile *k, unsigned n);

/* r11: the entry of r10 in the table of jumps; leaves where r10 has no native code. */
void put_look_up(struct compile *k, const struct uop *copy);

/* Through the entry that was found: a jump, retired; a call with all that it does. */
void put_go(struct compile *k, unsigned instructions);
void put_push_and_go(struct compile *k, unsigned n);

/*
 * The entry of address u->imm, counted from the page, if the page is always where it is now: the
 * place of the jump taken if it is not that of the address in a register; a jump to its code;
 * another operation on one of its fields.
 */
uint8_t *put_known_compare(struct compile *k, const struct uop *u, unsigned reg);
void put_known_go(struct compile *k, const struct uop *u);
void put_on_known(struct compile *k, const struct uop *u, unsigned op, unsigned reg, size_t field);

/* The guest's return address onto its stack, checked; and room for a pair. */
void put_push_return(struct compile *k, unsigned n);

/* The end of a call, retired: by x in the page; to the code of u's entry, r10 being its target. */
void put_call_exit(struct compile *k, unsigned n, struct native_exit *x);
void put_call_known(struct compile *k, unsigned n, const struct uop *u);

/* guess.c: an indirect JMP or CALL that mostly goes to one place. False: it does not. */
bool put_guess(struct compile *k, unsigned n);

#endif
