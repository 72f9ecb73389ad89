/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the view shows: the VMs with their last two samples, the pools, order and selection. Pure:
 * no clock, no I/O, no terminal.
 *
 * Invariants
 *   T1  names are unique;  T2  order[] is a permutation of the rows
 *   T3  the selection is a name: it stays with its VM while rows move, and moves to a neighbour
 *       when its VM goes; until it is first moved it is the first row
 */
#ifndef UMBRA_CONTROL_TOP_MODEL_H
#define UMBRA_CONTROL_TOP_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "control/paths.h"
#include "control/top/sample.h"

/* has_now: it has answered once;  has_rates: twice;  is_silent: it does not answer now */
struct top_row {
    char name[NAME_MAX_BYTES + 1];
    bool has_now, has_rates, is_silent;
    struct top_sample now;
    struct top_rates rates;
    json_t *memory; /* of the last answer, for umbra explain's sentences; NULL before it */
};

/* Figures of a pool as its manager told them last; sizes in bytes. */
struct top_pool {
    char name[NAME_MAX_BYTES + 1];
    bool is_silent;
    char state[16];
    uint64_t bytes, free, shortage, asked;
    json_t *members; /* name -> object as in docs/pool.md */
};

/* X(ENUM, key, word): the key that sorts by it */
/* clang-format off */
#define TOP_ORDERS(X)                                                                              \
    X(NAME,  'n', "name")                                                                          \
    X(HELD,  'm', "memory held")                                                                   \
    X(LIMIT, 'l', "part of the limit held")                                                        \
    X(IN,    'i', "pages in")                                                                      \
    X(OUT,   'o', "pages out")                                                                     \
    X(WAIT,  'w', "time spent waiting")                                                            \
    X(MIPS,  'c', "speed")
/* clang-format on */

#define TOP_ORDER_ENUM(name, key, word) TOP_BY_##name,
enum top_order { TOP_ORDERS(TOP_ORDER_ENUM) TOP_ORDER_KINDS };
char top_order_key(enum top_order order);
const char *top_order_word(enum top_order order);

/* Zero-initialise. order: indices of rows, best first. */
struct top_model {
    struct top_row *rows;
    size_t *order;
    size_t count, room;
    struct top_pool *pools;
    size_t pool_count;
    enum top_order by;
    bool is_reversed, was_moved;
    char selected[NAME_MAX_BYTES + 1]; /* "": nothing */
};

void top_model_fini(struct top_model *model);

/* The row of `name`, made when there is none. NULL: no memory. Valid until rows come or go. */
struct top_row *top_model_row(struct top_model *model, const char *name);
void top_model_remove(struct top_model *model, const char *name);

/* An answer of x-umbra-stat has come (borrowed). */
void top_row_take(struct top_row *row, const json_t *stat, uint64_t now_ns);

/* The same for pools; `told` and `members` as docs/pool.md says, members is taken over. */
struct top_pool *top_model_pool(struct top_model *model, const char *name);
void top_model_remove_pool(struct top_model *model, const char *name);
void top_pool_take(struct top_pool *pool, const json_t *told, json_t *members);

/* What the manager of its pool said of a VM last, and which pool; NULL: it is in none. */
const json_t *top_model_member(const struct top_model *model, const char *name,
                               const struct top_pool **pool);

/* After rows came, went or changed: order and selection (T2, T3). */
void top_model_sort(struct top_model *model);

/* Where the selection is in order[]; moves it by so many rows, at most to an end. */
size_t top_model_selected(const struct top_model *model);
void top_model_select(struct top_model *model, long by);

/* Sums over the VMs that answered. */
struct top_sums {
    size_t vms, silent;
    uint64_t guest, held;
    double in_per_second, out_per_second;
};
struct top_sums top_model_sums(const struct top_model *model);

#endif
