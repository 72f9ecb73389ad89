/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three parts: entitlements (equal prices between bounds), what is asked of those above theirs,
 * what is granted from what is free.
 */
#include "mem/pool_policy.h"

#include <math.h>
#include <string.h>

#include "base/invariant.h"
#include "base/u64.h"

/* Kept free, per mille of the pool: in "hard", whether it is reached from above or from below. */
#define RESERVE_PER_MILLE 17u
/* Less over its entitlement than this is left to a VM: its figures are not that exact. */
#define TOLERANCE_PER_MILLE 2u
#define NOTHING_PAGES       UINT64_C(256)
#define BISECTIONS          100

static const unsigned threshold_per_mille[POOL_STATES] = {
    [POOL_HIGH] = 60, [POOL_CLEAR] = 40, [POOL_SOFT] = 20, [POOL_HARD] = 10, [POOL_LOW] = 0,
};

static const char *const state_names[POOL_STATES] = {"high", "clear", "soft", "hard", "low"};

const char *pool_state_name(enum pool_state state)
{
    return state_names[state];
}

enum pool_state pool_state_of_name(const char *name)
{
    enum pool_state state = POOL_HIGH;

    while (state < POOL_LOW && (!name || strcmp(name, state_names[state])))
        state++;
    return state;
}

void pool_init(struct pool *pool, const struct pool_config *config)
{
    invariant(config->pages && config->tax_percent < 100);
    *pool = (struct pool){.config = *config, .state = POOL_HIGH};
}

/* What one page costs the VM per share: (f + k (1 - f)) / S. */
static double page_cost(const struct pool *pool, const struct pool_vm *vm)
{
    double k = 100.0 / (100 - pool->config.tax_percent);
    double f = vm->held ? fmin(1.0, (double)vm->active / (double)vm->held) : 1.0;

    return (f + k * (1.0 - f)) / (double)max_u64(vm->shares, 1);
}

double pool_price(const struct pool *pool, const struct pool_vm *vm, uint64_t pages)
{
    return pages ? 1.0 / ((double)pages * page_cost(pool, vm)) : INFINITY;
}

uint64_t pool_reserve(const struct pool *pool)
{
    return pool->config.pages / 1000 * RESERVE_PER_MILLE;
}

/* ---- host state ---- */

static uint64_t threshold_down(const struct pool *pool, enum pool_state state)
{
    return pool->config.pages / 1000 * threshold_per_mille[state];
}

static uint64_t threshold_up(const struct pool *pool, enum pool_state state)
{
    return threshold_down(pool, state) / 2 * 3;
}

static enum pool_state next_state(const struct pool *pool, uint64_t unleased)
{
    enum pool_state state = pool->state;

    while (state < POOL_LOW && unleased <= threshold_down(pool, state))
        state++;
    while (state > POOL_HIGH && unleased > threshold_up(pool, state - 1))
        state--;
    return state;
}

/* ---- entitlements ---- */

static uint64_t wish(const struct pool_vm *vm)
{
    return min_u64(vm->wanted, vm->maximum);
}

/* Its own whatever others want; what it does not want is lent. */
static uint64_t right(const struct pool_vm *vm)
{
    return min_u64(vm->minimum, wish(vm));
}

/* Nobody can take this from it: its right, and what it holds under its minimum unwanted. */
static uint64_t floor_of(const struct pool_vm *vm)
{
    return max_u64(right(vm), min_u64(vm->minimum, vm->held));
}

/* All entitlements when a page's price is 1 / level for everybody; answers their sum. */
static uint64_t entitle_at(const struct pool *pool, struct pool_vm *vms, size_t count, double level)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        double pages = level / page_cost(pool, &vms[i]);
        uint64_t whole = pages < (double)(UINT64_C(1) << 52) ? (uint64_t)pages : UINT64_MAX;

        vms[i].entitled = max_u64(min_u64(whole, wish(&vms[i])), floor_of(&vms[i]));
        sum += vms[i].entitled;
    }
    return sum;
}

static void entitle(const struct pool *pool, struct pool_vm *vms, size_t count)
{
    uint64_t have = left_u64(pool->config.pages, pool_reserve(pool));
    double low = 0, high = 1;

    if (entitle_at(pool, vms, count, INFINITY) <= have)
        return;
    while (entitle_at(pool, vms, count, high) <= have && high < 1e300)
        high *= 2;
    for (unsigned i = 0; i < BISECTIONS; i++) {
        double middle = low + (high - low) / 2;

        if (entitle_at(pool, vms, count, middle) <= have)
            low = middle;
        else
            high = middle;
    }
    (void)entitle_at(pool, vms, count, low);
}

/* ---- movement ---- */

/* What a VM holds over its entitlement, and may be asked for. */
static uint64_t excess(const struct pool_vm *vm)
{
    uint64_t over = left_u64(vm->held, vm->entitled);

    return over > vm->held / 1000 * TOLERANCE_PER_MILLE ? over : 0;
}

/* Everybody above gives the same part of its excess. */
static uint64_t ask_back(struct pool_vm *vms, size_t count, uint64_t shortage)
{
    uint64_t all = 0, asked = 0;

    for (size_t i = 0; i < count; i++)
        all += excess(&vms[i]);
    if (!all)
        return 0;
    double part = fmin(1.0, (double)shortage / (double)all);
    for (size_t i = 0; i < count; i++) {
        uint64_t back = (uint64_t)((double)excess(&vms[i]) * part);

        if (!back)
            continue;
        vms[i].lease = vms[i].held - back;
        asked += back;
    }
    return asked;
}

static uint64_t slack_pages(const struct pool *pool)
{
    return pool->state == POOL_HIGH ? pool->config.slack_pages : 0;
}

/* What a VM may hold already and may keep. */
static uint64_t keep(const struct pool *pool, const struct pool_vm *vm)
{
    uint64_t use = max_u64(vm->held, vm->entitled) + slack_pages(pool);

    return max_u64(vm->held, min_u64(vm->lease, min_u64(use, vm->maximum)));
}

static uint64_t missing_of(const struct pool_vm *vm)
{
    return left_u64(vm->entitled, max_u64(vm->held, vm->lease));
}

/*
 * Minimums come first and may use the reserve; then each gets the same part of what it misses.
 * Answers what is left of free.
 */
static uint64_t grant(const struct pool *pool, struct pool_vm *vms, size_t count, uint64_t free)
{
    uint64_t missing = 0, spare;

    for (size_t i = 0; i < count; i++) {
        uint64_t by_right = min_u64(left_u64(right(&vms[i]), vms[i].lease), free);

        vms[i].lease += by_right;
        free -= by_right;
    }
    for (size_t i = 0; i < count; i++)
        missing += missing_of(&vms[i]);
    spare = left_u64(free, pool_reserve(pool));
    free -= spare;
    double part = missing ? fmin(1.0, (double)spare / (double)missing) : 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t more = min_u64((uint64_t)((double)missing_of(&vms[i]) * part), spare);

        vms[i].lease += more;
        spare -= more;
    }
    free += spare;
    spare = left_u64(free, threshold_up(pool, POOL_HIGH)); /* slack leaves the state as it is */
    for (size_t i = 0; i < count; i++) {
        uint64_t top =
            min_u64(max_u64(vms[i].held, vms[i].entitled) + slack_pages(pool), vms[i].maximum);
        uint64_t slack = min_u64(spare / (count - i), left_u64(top, vms[i].lease));

        if (vms[i].lease < vms[i].held)
            continue;
        vms[i].lease += slack;
        spare -= slack;
        free -= slack;
    }
    return free;
}

void pool_decide(struct pool *pool, struct pool_vm *vms, size_t count, struct pool_answer *answer)
{
    uint64_t held = 0, taken = 0, missing = 0;

    *answer = (struct pool_answer){0};
    entitle(pool, vms, count);
    for (size_t i = 0; i < count; i++) {
        held += vms[i].held;
        taken += max_u64(vms[i].held, vms[i].lease);
        missing += left_u64(vms[i].entitled, vms[i].held);
    }
    answer->free = left_u64(pool->config.pages, held);
    answer->shortage = left_u64(missing + pool_reserve(pool), answer->free);
    for (size_t i = 0; i < count; i++)
        vms[i].lease = keep(pool, &vms[i]);
    if (answer->shortage)
        answer->asked = ask_back(vms, count, answer->shortage);
    answer->unleased = grant(pool, vms, count, left_u64(pool->config.pages, taken));
    pool->state = answer->state = next_state(pool, answer->unleased);
}

bool pool_admits(const struct pool *pool, const struct pool_vm *vms, size_t count,
                 uint64_t minimum_pages)
{
    uint64_t sum = minimum_pages;

    for (size_t i = 0; i < count; i++)
        sum += vms[i].minimum;
    return sum <= left_u64(pool->config.pages, pool_reserve(pool));
}

/* ---- smart paging ---- */

/* What all but one hold over their entitlements and could give by light means. */
static uint64_t reclaimable_elsewhere(const struct pool_vm *vms, size_t count, size_t which)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t above = left_u64(vms[i].held, max_u64(vms[i].minimum, vms[i].entitled));

        if (i != which)
            sum += min_u64(vms[i].reclaimable, above);
    }
    return sum;
}

/* What could be granted yet. */
static uint64_t grantable(const struct pool *pool, const struct pool_vm *vms, size_t count)
{
    uint64_t taken = pool_reserve(pool);

    for (size_t i = 0; i < count; i++)
        taken += max_u64(vms[i].held, vms[i].lease);
    return left_u64(pool->config.pages, taken);
}

void pool_smart_look(const struct pool *pool, const struct pool_vm *vms, size_t count, size_t which,
                     struct pool_smart_input *out)
{
    const struct pool_vm *vm = &vms[which];

    *out = (struct pool_smart_input){
        .is_restarting = vm->is_restarting,
        .free = grantable(pool, vms, count),
        .reclaimable = reclaimable_elsewhere(vms, count, which),
        .missing = left_u64(vm->startup, max_u64(vm->held, vm->lease)),
    };
}

uint64_t pool_smart_pages(const struct pool_smart_input *in)
{
    if (!in->is_restarting || in->free >= NOTHING_PAGES || in->reclaimable >= NOTHING_PAGES)
        return 0;
    return in->missing;
}
