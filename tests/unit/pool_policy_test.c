/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy of many VMs in a simulated host: every tick each VM grows towards its demand as far as
 * its lease lets it, gives back what it is asked at its own pace, and reports (some of them lies).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mem/pool_policy.h"

#define MIB_PAGES UINT64_C(256)
#define VMS       300

struct sim_vm {
    uint64_t demand; /* would hold if it could */
    double active;   /* part of what it holds that it uses */
    uint64_t pace;   /* pages it can give back or take in a tick */
    bool lies;
};

struct sim {
    struct pool pool;
    struct pool_vm vm[VMS];
    struct sim_vm real[VMS];
    size_t count;
    uint64_t seed;
    uint64_t under_before[VMS];
};

static uint64_t rnd(struct sim *s, uint64_t below)
{
    s->seed = s->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (s->seed >> 33) % below;
}

static void begin(struct sim *s, uint64_t pages, unsigned tax, uint64_t seed)
{
    const struct pool_config config = {
        .pages = pages, .tax_percent = tax, .slack_pages = 4 * MIB_PAGES};

    memset(s, 0, sizeof(*s));
    s->seed = seed;
    pool_init(&s->pool, &config);
}

static void add(struct sim *s, uint64_t minimum, uint64_t maximum, uint64_t shares, uint64_t demand,
                double active)
{
    size_t i = s->count++;

    s->vm[i] = (struct pool_vm){.minimum = minimum, .maximum = maximum, .shares = shares};
    s->real[i] = (struct sim_vm){.demand = demand, .active = active, .pace = 16 * MIB_PAGES};
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void report(struct sim *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct pool_vm *vm = &s->vm[i];

        vm->wanted = least(s->real[i].demand, vm->maximum);
        vm->active = (uint64_t)((double)vm->held * s->real[i].active);
        if (s->real[i].lies) {
            vm->active = rnd(s, 2) ? UINT64_MAX : 0;
            vm->wanted = rnd(s, 2) ? UINT64_MAX : 0;
        }
    }
}

static void live(struct sim *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct pool_vm *vm = &s->vm[i];
        uint64_t to = least(s->real[i].demand, vm->lease);

        if (vm->lease < vm->held)
            vm->held -= least(vm->held - vm->lease, s->real[i].pace);
        else if (to > vm->held)
            vm->held += least(to - vm->held, s->real[i].pace);
    }
}

static void tick(struct sim *s, struct pool_answer *answer)
{
    uint64_t most = 0, asked = 0;

    report(s);
    pool_decide(&s->pool, s->vm, s->count, answer);
    for (size_t i = 0; i < s->count; i++) {
        const struct pool_vm *vm = &s->vm[i];

        most += vm->held > vm->lease ? vm->held : vm->lease;
        assert_true(vm->lease <= vm->maximum || vm->lease <= vm->held);
        if (vm->lease < vm->held) {
            assert_true(vm->lease >= vm->minimum); /* P2 */
            assert_true(vm->held > vm->entitled);  /* P4 */
            assert_true(vm->lease >= vm->entitled);
            asked += vm->held - vm->lease;
        }
    }
    assert_true(most <= s->pool.config.pages); /* P1 */
    assert_true(asked == answer->asked);
    assert_true(asked <= answer->shortage + answer->shortage / 10); /* P3 */
    live(s);
}

static void everybody_gets_what_there_is_enough_of(void **unused)
{
    static struct sim s;
    struct pool_answer answer;

    (void)unused;
    begin(&s, 4096 * MIB_PAGES, 75, 1);
    for (unsigned i = 0; i < 4; i++)
        add(&s, 64 * MIB_PAGES, 1024 * MIB_PAGES, 100, (256 + 64 * i) * MIB_PAGES, 0.5);
    for (unsigned t = 0; t < 200; t++) {
        tick(&s, &answer);
        assert_true(answer.asked == 0);
    }
    for (unsigned i = 0; i < 4; i++)
        assert_true(s.vm[i].held == s.real[i].demand);
    assert_int_equal(answer.state, POOL_HIGH);
}

/* Prices of all whose entitlement lies between their bounds. */
static void assert_formula_holds(const struct sim *s, double error)
{
    double low = INFINITY, high = 0;

    for (size_t i = 0; i < s->count; i++) {
        const struct pool_vm *vm = &s->vm[i];
        double price = pool_price(&s->pool, vm, vm->held);

        if (s->real[i].lies || vm->held <= vm->minimum + vm->minimum / 50 ||
            vm->entitled >= vm->wanted)
            continue;
        low = fmin(low, price);
        high = fmax(high, price);
    }
    assert_true(high > 0);
    assert_true(high / low <= 1 + error);
}

static void an_idle_page_costs_four_times_an_active_one(void **unused)
{
    static struct sim s;
    struct pool_answer answer;

    (void)unused;
    for (unsigned tax = 0; tax <= 75; tax += 75) {
        begin(&s, 1000 * MIB_PAGES, tax, 1);
        add(&s, 16 * MIB_PAGES, 900 * MIB_PAGES, 100, 900 * MIB_PAGES, 0.0);
        for (unsigned t = 0; t < 100; t++)
            tick(&s, &answer); /* the idle one has all of it before the busy one comes */
        add(&s, 16 * MIB_PAGES, 900 * MIB_PAGES, 100, 900 * MIB_PAGES, 1.0);
        for (unsigned t = 0; t < 300; t++)
            tick(&s, &answer);
        assert_formula_holds(&s, 0.03);
        assert_int_equal(answer.state, POOL_HARD);
        double ratio = (double)s.vm[1].held / (double)s.vm[0].held;
        assert_true(fabs(ratio - (tax ? 4.0 : 1.0)) < (tax ? 0.15 : 0.04));
    }
}

static void live_through_changes(bool liars)
{
    static struct sim s;
    struct pool_answer answer;

    begin(&s, 64 * 1024 * MIB_PAGES, 75, 42);
    for (unsigned i = 0; i < VMS; i++) {
        uint64_t maximum = (256 + rnd(&s, 768)) * MIB_PAGES;

        add(&s, 32 * MIB_PAGES + rnd(&s, 64) * MIB_PAGES, maximum, 1 + rnd(&s, 1000),
            rnd(&s, maximum), (double)rnd(&s, 100) / 100);
        s.real[i].pace = (4 + rnd(&s, 32)) * MIB_PAGES;
        s.real[i].lies = liars && i % 10 == 0;
    }
    for (unsigned round = 0; round < 20; round++) {
        unsigned changes = 0;
        enum pool_state before = s.pool.state;

        for (unsigned i = 0; i < 60; i++) {
            size_t v = rnd(&s, VMS);
            s.real[v].demand = rnd(&s, s.vm[v].maximum);
            s.real[v].active = (double)rnd(&s, 100) / 100;
        }
        for (unsigned t = 0; t < 300; t++) {
            tick(&s, &answer);
            if (t > 150 && answer.state != before)
                changes++;
            before = answer.state;
        }
        assert_true(changes <= 2);
        /* Who changes its word at every tick leaves nobody's part as it was. */
        if (answer.shortage && !liars)
            assert_formula_holds(&s, 0.05);
    }
}

static void three_hundred_vms_with_changing_demands(void **unused)
{
    (void)unused;
    live_through_changes(false);
}

/* With thirty that say anything of what they use and want. */
static void three_hundred_vms_some_of_which_lie(void **unused)
{
    (void)unused;
    live_through_changes(true);
}

static void lies_move_nobody_under_its_minimum(void **unused)
{
    static struct sim s;
    struct pool_answer answer;

    (void)unused;
    begin(&s, 10 * 1024 * MIB_PAGES, 75, 7);
    for (unsigned i = 0; i < VMS; i++) {
        add(&s, 26 * MIB_PAGES, 1000 * MIB_PAGES, 100, 900 * MIB_PAGES, 0.5);
        s.real[i].lies = i % 2;
    }
    for (unsigned t = 0; t < 1000; t++) {
        tick(&s, &answer);
        for (unsigned i = 0; i < VMS; i++) {
            if (s.under_before[i] >= s.vm[i].minimum)
                assert_true(s.vm[i].held >= s.vm[i].minimum);
            s.under_before[i] = s.vm[i].held;
        }
    }
}

static void admission_keeps_all_minimums_possible(void **unused)
{
    static struct sim s;

    (void)unused;
    begin(&s, 1000 * MIB_PAGES, 75, 1);
    add(&s, 500 * MIB_PAGES, 900 * MIB_PAGES, 100, 900 * MIB_PAGES, 0.5);
    assert_true(pool_admits(&s.pool, s.vm, s.count, 400 * MIB_PAGES));
    assert_false(pool_admits(&s.pool, s.vm, s.count, 500 * MIB_PAGES));
}

/* One VM that holds so much, wants no more and has no slack. */
static enum pool_state state_at(struct sim *s, uint64_t mib)
{
    struct pool_answer answer;

    s->vm[0].held = s->vm[0].lease = s->real[0].demand = mib * MIB_PAGES;
    report(s);
    pool_decide(&s->pool, s->vm, s->count, &answer);
    return answer.state;
}

static void states_go_down_at_once_and_up_with_a_margin(void **unused)
{
    static const struct {
        uint64_t held;
        enum pool_state state;
    } way[] = {
        {100, POOL_HIGH}, {965, POOL_SOFT}, {945, POOL_SOFT},  {939, POOL_CLEAR}, {915, POOL_CLEAR},
        {909, POOL_HIGH}, {939, POOL_HIGH}, {941, POOL_CLEAR}, {981, POOL_HARD},  {991, POOL_LOW},
        {986, POOL_LOW},  {984, POOL_HARD}, {971, POOL_HARD},  {969, POOL_SOFT},
    };
    static struct sim s;

    (void)unused;
    begin(&s, 1000 * MIB_PAGES, 75, 1);
    add(&s, 16 * MIB_PAGES, 1000 * MIB_PAGES, 100, 1000 * MIB_PAGES, 0.5);
    for (unsigned i = 0; i < sizeof(way) / sizeof(way[0]); i++)
        assert_int_equal(state_at(&s, way[i].held), way[i].state);
    for (unsigned t = 0; t < 1000; t++) /* around the threshold of 40 per mille */
        assert_int_equal(state_at(&s, t % 2 ? 962 : 952), POOL_SOFT);
}

static void smart_paging_wants_all_three_conditions(void **unused)
{
    unsigned pages_in = 0;

    (void)unused;
    for (unsigned bits = 0; bits < 8; bits++) {
        const struct pool_smart_input in = {
            .is_restarting = bits & 1,
            .free = bits & 2 ? 0 : MIB_PAGES,
            .reclaimable = bits & 4 ? 0 : MIB_PAGES,
            .missing = 1000,
        };
        uint64_t pages = pool_smart_pages(&in);

        assert_int_equal(pages, bits == 7 ? 1000 : 0);
        pages_in += pages > 0;
    }
    assert_int_equal(pages_in, 1);
    const struct pool_smart_input nothing_missing = {.is_restarting = true};
    assert_int_equal(pool_smart_pages(&nothing_missing), 0);
}

/* The VM `which` restarts: it holds nothing any more, and wants its startup size. */
static void restart(struct sim *s, size_t which, uint64_t startup)
{
    s->vm[which].startup = startup;
    s->vm[which].is_restarting = true;
    s->vm[which].held = 0;
    s->real[which].demand = startup;
}

/* What others say they could give counts up to what they hold over their parts, and no further. */
static void smart_paging_follows_what_is_free_and_what_others_hold(void **unused)
{
    static struct sim s;
    struct pool_smart_input in;
    struct pool_answer answer;

    (void)unused;
    begin(&s, 1000 * MIB_PAGES, 75, 3);
    for (unsigned i = 0; i < 4; i++)
        add(&s, 64 * MIB_PAGES, 600 * MIB_PAGES, 100, 600 * MIB_PAGES, 1.0);
    for (unsigned t = 0; t < 200; t++)
        tick(&s, &answer);
    for (unsigned i = 0; i < 4; i++)
        s.vm[i].reclaimable = UINT64_MAX;
    restart(&s, 0, 400 * MIB_PAGES);
    tick(&s, &answer); /* what it gave up is still its own: only more is missing */
    pool_smart_look(&s.pool, s.vm, s.count, 0, &in);
    assert_true(in.is_restarting && in.free < MIB_PAGES);
    assert_true(in.missing >= 150 * MIB_PAGES && in.missing <= 160 * MIB_PAGES);
    assert_int_equal(pool_smart_pages(&in), in.reclaimable < MIB_PAGES ? in.missing : 0);
    pool_smart_look(&s.pool, s.vm, s.count, 1, &in);
    assert_int_equal(pool_smart_pages(&in), 0); /* it runs */

    s.real[1].demand = 100 * MIB_PAGES; /* another needs less: that is reclaimed first */
    for (unsigned t = 0; t < 2; t++)
        tick(&s, &answer);
    pool_smart_look(&s.pool, s.vm, s.count, 0, &in);
    assert_true(in.reclaimable >= MIB_PAGES || in.free >= MIB_PAGES || in.missing == 0);
    assert_int_equal(pool_smart_pages(&in), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_gets_what_there_is_enough_of),
        cmocka_unit_test(an_idle_page_costs_four_times_an_active_one),
        cmocka_unit_test(three_hundred_vms_with_changing_demands),
        cmocka_unit_test(three_hundred_vms_some_of_which_lie),
        cmocka_unit_test(lies_move_nobody_under_its_minimum),
        cmocka_unit_test(admission_keeps_all_minimums_possible),
        cmocka_unit_test(states_go_down_at_once_and_up_with_a_margin),
        cmocka_unit_test(smart_paging_wants_all_three_conditions),
        cmocka_unit_test(smart_paging_follows_what_is_free_and_what_others_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
