/* SPDX-License-Identifier: Apache-2.0 */
#include "control/top/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORDER_ROW(name, key, word) {key, word},
static const struct {
    char key;
    const char *word;
} orders[TOP_ORDER_KINDS] = {TOP_ORDERS(ORDER_ROW)};

char top_order_key(enum top_order order)
{
    return orders[order].key;
}

const char *top_order_word(enum top_order order)
{
    return orders[order].word;
}

/* ---- rows ---- */

static void row_fini(struct top_row *row)
{
    json_decref(row->memory);
}

static bool make_room(struct top_model *model)
{
    size_t room = model->room ? 2 * model->room : 16;
    struct top_row *rows = realloc(model->rows, room * sizeof(*rows));
    size_t *order;

    if (!rows)
        return false;
    model->rows = rows;
    order = realloc(model->order, room * sizeof(*order));
    if (!order)
        return false;
    model->order = order;
    model->room = room;
    return true;
}

static struct top_row *find_row(struct top_model *model, const char *name)
{
    for (size_t i = 0; i < model->count; i++) {
        if (!strcmp(model->rows[i].name, name))
            return &model->rows[i];
    }
    return NULL;
}

struct top_row *top_model_row(struct top_model *model, const char *name)
{
    struct top_row *row = find_row(model, name);

    if (row)
        return row;
    if (model->count == model->room && !make_room(model))
        return NULL;
    model->order[model->count] = model->count;
    row = &model->rows[model->count++];
    memset(row, 0, sizeof(*row));
    snprintf(row->name, sizeof(row->name), "%s", name);
    return row;
}

void top_model_remove(struct top_model *model, const char *name)
{
    struct top_row *row = find_row(model, name);
    size_t at = top_model_selected(model);

    if (!row)
        return;
    if (!strcmp(model->selected, name)) { /* T3 */
        size_t heir = at + 1 < model->count ? at + 1 : at - 1;

        snprintf(model->selected, sizeof(model->selected), "%s",
                 model->count > 1 ? model->rows[model->order[heir]].name : "");
    }
    row_fini(row);
    *row = model->rows[--model->count];
    top_model_sort(model);
}

void top_row_take(struct top_row *row, const json_t *stat, uint64_t now_ns)
{
    struct top_sample before = row->now;

    top_sample_take(&row->now, stat, now_ns);
    row->has_rates = row->has_now && top_rates_between(&row->rates, &before, &row->now);
    row->has_now = true;
    row->is_silent = false;
    json_decref(row->memory);
    row->memory = json_incref(json_object_get(stat, "memory"));
}

/* ---- pools ---- */

static void pool_fini(struct top_pool *pool)
{
    json_decref(pool->members);
}

struct top_pool *top_model_pool(struct top_model *model, const char *name)
{
    struct top_pool *pools;

    for (size_t i = 0; i < model->pool_count; i++) {
        if (!strcmp(model->pools[i].name, name))
            return &model->pools[i];
    }
    pools = realloc(model->pools, (model->pool_count + 1) * sizeof(*pools));
    if (!pools)
        return NULL;
    model->pools = pools;
    pools += model->pool_count++;
    memset(pools, 0, sizeof(*pools));
    snprintf(pools->name, sizeof(pools->name), "%s", name);
    return pools;
}

void top_model_remove_pool(struct top_model *model, const char *name)
{
    for (size_t i = 0; i < model->pool_count; i++) {
        if (strcmp(model->pools[i].name, name))
            continue;
        pool_fini(&model->pools[i]);
        memmove(&model->pools[i], &model->pools[i + 1],
                (--model->pool_count - i) * sizeof(model->pools[0]));
        return;
    }
}

static uint64_t size_of(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));

    return value > 0 ? (uint64_t)value : 0;
}

void top_pool_take(struct top_pool *pool, const json_t *told, json_t *members)
{
    const char *state = json_string_value(json_object_get(told, "state"));

    pool->is_silent = false;
    snprintf(pool->state, sizeof(pool->state), "%s", state ? state : "");
    pool->bytes = size_of(told, "bytes");
    pool->free = size_of(told, "free");
    pool->shortage = size_of(told, "shortage");
    pool->asked = size_of(told, "asked");
    json_decref(pool->members);
    pool->members = members;
}

const json_t *top_model_member(const struct top_model *model, const char *name,
                               const struct top_pool **pool)
{
    for (size_t i = 0; i < model->pool_count; i++) {
        const json_t *member = json_object_get(model->pools[i].members, name);

        if (!member)
            continue;
        *pool = &model->pools[i];
        return member;
    }
    return NULL;
}

/* ---- order ---- */

static double limit_part(const struct top_row *row)
{
    const struct top_sample *s = &row->now;

    return s->limit == TOP_UNKNOWN || !s->limit ? 0 : (double)s->held / (double)s->limit;
}

static double weight(const struct top_row *row, enum top_order by)
{
    const struct top_rates *rates = &row->rates;

    if (by == TOP_BY_HELD)
        return (double)row->now.held;
    if (by == TOP_BY_LIMIT)
        return limit_part(row);
    if (!row->has_rates)
        return by == TOP_BY_MIPS ? row->now.mips : 0;
    if (by == TOP_BY_IN)
        return rates->in_per_second;
    if (by == TOP_BY_OUT)
        return rates->out_per_second;
    return by == TOP_BY_WAIT ? rates->waiting : rates->mips;
}

/* The most first; the name decides among equals. */
static int compare(const void *a, const void *b, void *arg)
{
    const struct top_model *model = arg;
    const struct top_row *x = &model->rows[*(const size_t *)a];
    const struct top_row *y = &model->rows[*(const size_t *)b];
    double p = weight(x, model->by), q = weight(y, model->by);
    int by_name = strcmp(x->name, y->name);
    int answer = by_name;

    if (model->by != TOP_BY_NAME && p != q)
        answer = p > q ? -1 : 1;
    return model->is_reversed ? -answer : answer;
}

void top_model_sort(struct top_model *model)
{
    for (size_t i = 0; i < model->count; i++)
        model->order[i] = i;
    if (model->count)
        qsort_r(model->order, model->count, sizeof(model->order[0]), compare, model);
    if (model->count && (!model->was_moved || !find_row(model, model->selected)))
        snprintf(model->selected, sizeof(model->selected), "%s", model->rows[model->order[0]].name);
}

size_t top_model_selected(const struct top_model *model)
{
    for (size_t i = 0; i < model->count; i++) {
        if (!strcmp(model->rows[model->order[i]].name, model->selected))
            return i;
    }
    return 0;
}

void top_model_select(struct top_model *model, long by)
{
    long at = (long)top_model_selected(model) + by;

    model->was_moved = true;
    if (!model->count)
        return;
    if (at < 0)
        at = 0;
    if (at >= (long)model->count)
        at = (long)model->count - 1;
    snprintf(model->selected, sizeof(model->selected), "%s", model->rows[model->order[at]].name);
}

struct top_sums top_model_sums(const struct top_model *model)
{
    struct top_sums sums = {.vms = model->count};

    for (size_t i = 0; i < model->count; i++) {
        const struct top_row *row = &model->rows[i];

        sums.silent += row->is_silent;
        sums.guest += row->now.guest;
        sums.held += row->now.held;
        if (row->has_rates) {
            sums.in_per_second += row->rates.in_per_second;
            sums.out_per_second += row->rates.out_per_second;
        }
    }
    return sums;
}

void top_model_fini(struct top_model *model)
{
    for (size_t i = 0; i < model->count; i++)
        row_fini(&model->rows[i]);
    for (size_t i = 0; i < model->pool_count; i++)
        pool_fini(&model->pools[i]);
    free(model->rows);
    free(model->order);
    free(model->pools);
    memset(model, 0, sizeof(*model));
}
