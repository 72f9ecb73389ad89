/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls and returns in pairs, so that the host's predictor of returns works for the guest's. While
 * native code runs rsp is the top of a stack of pairs:
 *
 *   [rsp]     native code that goes on at lin     pushed by the call instruction
 *   [rsp + 8] lin, a guest's return address       pushed before it
 *
 * A guest's RET reads its address from the guest's stack, like any load. If the top pair's lin is
 * the same, a host's RET goes there; else the table of jumps is asked (far.c).
 *
 * Invariants
 *   P1  the fetch TLB's entry of the page of each pair's lin has been as it is now, in the present
 *       fetch view, since the pair was made. Whatever changes an entry or the view empties the
 *       stack; so does the dropping of a block.
 *   P2  while native code runs the fetch TLB has an entry for its page: asked on each way from C
 *       to it. So a pair that is made there satisfies P1.
 *   P3  the code of a pair is between the host's CALL and the exit behind it, which links and
 *       unlinks like any other; code memory is reused only after the stack was emptied (drop_all)
 *   P4  a pair that is on the stack wrongly (the guest changed stacks, returned by JMP, ...) is
 *       never taken by another address. Above the stack lie pairs of address 0, whose code leaves
 *       to the outer loop for address 0.
 *   P5  a call at the stack's end empties it. Below it there is room for a signal's frame.
 */
#ifndef UMBRA_CPU_TRANSLATE_PAIRS_H
#define UMBRA_CPU_TRANSLATE_PAIRS_H

#include <stdint.h>

#include "cpu/interp/interp.h"
#include "cpu/translate/emit.h"

#define PAIRS            1024u
#define PAIRS_ABOVE      8u
#define PAIRS_ROOM_BELOW 65536u

struct pair {
    const uint8_t *code;
    uint64_t lin;
};

/* rsp: while C runs. lost: of a routine that pairs.c writes. view: of the pairs. */
struct pairs {
    uint8_t room[PAIRS_ROOM_BELOW];
    struct pair pair[PAIRS + PAIRS_ABOVE];
    uint64_t rsp, view[HALVES];
    const uint8_t *lost;
};

struct compile;
struct translate;

/* No pair is on the stack any more. Only in C. */
void pairs_empty(struct pairs *p);

/* The fetch view is another one, perhaps. */
void pairs_view(struct pairs *p, const uint64_t fetch_view[HALVES]);

/* The routine `lost`, and the pairs above the stack. */
void pairs_write_routines(struct emit *e, struct translate *t);

/* Native code, where pairs.view becomes another one. */
void put_pairs_empty(struct emit *e, struct translate *t);

/*
 * Native code. rsp may not have a pair less than it had between these two:
 * put_room:     before anything of the call is done; RFLAGS are lost
 * put_pair_up:  pushes the address behind the call n, which is in r11 if the code is not fixed; the
 *               host's CALL follows
 */
void put_pair_room(struct compile *k);
void put_pair_up(struct compile *k, unsigned n);

/* Where the host's RET arrives: goes on behind the call n. */
void put_pair_return(struct compile *k, unsigned n);

/* Is the top pair that of the address in r10? Answers the place of the jump taken if not. */
uint8_t *put_pair_question(struct compile *k);

/* It was not: takes down pairs up to that of r10, or one. r10, r11 stay; RFLAGS are lost. */
void put_pair_lost(struct compile *k);

#endif
