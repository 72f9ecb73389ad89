/* SPDX-License-Identifier: Apache-2.0 */
/* What the translation of a block knows of its runs (share.c) and of its loop (loop.c). */
#ifndef UMBRA_CPU_TRANSLATE_RUNS_H
#define UMBRA_CPU_TRANSLATE_RUNS_H

#include "cpu/translate/translate.h"

/*
 * Accesses of a run that share one check (share.c): by base + index, displacements lo up to hi.
 * They are counted from where the registers were at the run's beginning; origin: how far they have
 * moved at the first access. aligned_at: of the accesses that must be aligned. stored: its host
 * address is in t->shared, too.
 */
struct share {
    uint8_t base, index, scale, seg;
    bool open, write, aligned, stored;
    unsigned leader, members;
    int64_t lo, hi, origin, aligned_at;
};

#define NO_SHARE (-1)

/* How far registers have moved in the run by numbers that are known: PUSH, POP, ADD, ... */
struct moves {
    int64_t by[16];
};

/* at: displacement with the registers as at the run's beginning; moved: how far they are off */
struct access {
    const struct uop *u;
    uint8_t base, index;
    int64_t at, moved;
    unsigned bytes;
    bool write, aligned;
};

#define NO_REGISTER     16u
#define GUEST_REGISTERS 16u
#define NO_LOOP         0xffu
/* Wider steps leave too few iterations in a page. */
#define LOOP_STEP_MAX 512

/*
 * A loop that is instructions 0 to end of the block (loop.c). host: of guest registers while it
 * runs; spilled: guest registers whose own is used otherwise, lent: those in memory that have one.
 * stepped: those that move by another register, the stepper; by_register: shares that move so.
 */
struct loop {
    unsigned end, shares;
    struct share share[SHARES];
    int64_t step[SHARES]; /* how far an iteration moves its accesses */
    uint8_t pointer[SHARES], share_of[BLOCK_MAX_INSNS];
    uint8_t host[16];
    uint16_t used, wild, moving, written, spilled, lent, stepped, by_register;
    uint8_t stepper;
    bool is_before;        /* it lies before the first copy */
    uint8_t *ended;        /* the jump that is taken when it has ended; NULL: there is none */
    const uint8_t *resume; /* where the first copy goes on behind it, and the flags there */
    enum flags_where flags;
};

/*
 * A run written twice; what its first copy goes on with, and the flags there. with_end: the
 * instruction behind it ends the block and shares a check, so that each copy has one of its own.
 */
struct run {
    unsigned first, end;
    bool with_end;
    const uint8_t *resume;
    enum flags_where flags;
};
#define RUNS (BLOCK_MAX_INSNS / 2)

/* A check in a first copy that failed: the second copy goes on with instruction n. */
struct refusal {
    uint8_t *from;
    unsigned n;
    enum flags_where flags;
};

#endif
