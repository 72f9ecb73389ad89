/* SPDX-License-Identifier: Apache-2.0 */
/* The policy of one VM under a limit, driven with figures of a guest that need not exist. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mem/policy.h"

#define MIB  (UINT64_C(1) << 20)
#define MS   UINT64_C(1000000)
#define STEP (200 * MS)

static struct policy_input figures(void)
{
    return (struct policy_input){
        .now_ns = 1000 * MS,
        .memory = 512 * MIB,
        .limit = UINT64_MAX,
        .host_state = POOL_LOW,
        .overhead = 20 * MIB,
        .host = 300 * MIB,
        .compressed_limit = 100 * MIB,
        .user_target = UINT64_MAX,
        .user_balloon = UINT64_MAX,
        .has_balloon = true,
        .guest_free = 100 * MIB,
        .guest_available = 200 * MIB,
    };
}

static void leaves_a_vm_without_limit_alone(void **unused)
{
    struct policy_state state = {0};
    struct policy_input in = figures();
    struct policy_output out;

    (void)unused;
    policy_decide(&state, &in, &out);
    assert_true(out.orders.limit_bytes == UINT64_MAX && out.orders.target_bytes == UINT64_MAX);
    assert_int_equal(out.orders.share_scan_pages_per_s, 0);
    assert_int_equal(out.balloon_target_pages, 0);
    assert_int_equal(out.rung, POLICY_NOTHING);
}

static void limit_less_overhead_is_the_room(void **unused)
{
    struct policy_state state = {0};
    struct policy_input in = figures();
    struct policy_output out;

    (void)unused;
    in.limit = 256 * MIB;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.limit_bytes, 236 * MIB);
    in.overhead = 300 * MIB; /* more than the limit: still some room, or nothing could run */
    policy_decide(&state, &in, &out);
    assert_true(out.orders.limit_bytes > 0 && out.orders.limit_bytes < 64 * MIB);
}

static void asks_the_balloon_for_no_more_than_the_guest_can_give(void **unused)
{
    struct policy_input in = figures();
    struct policy_output out;

    (void)unused;
    in.limit = 256 * MIB;
    for (uint64_t available = 0; available <= 512; available += 16) {
        struct policy_state state = {0};

        in.guest_available = available * MIB;
        policy_decide(&state, &in, &out);
        assert_true(out.balloon_target_pages * 4096 <= in.guest_available);
        if (available >= 128)
            assert_true(out.balloon_target_pages > 0);
    }
    struct policy_state state = {0};
    in.guest_available = UINT64_MAX; /* it never told */
    policy_decide(&state, &in, &out);
    assert_int_equal(out.balloon_target_pages, 0);
}

/* Pages that the guest has free and never touched, and its cache of known disks, are not asked. */
static void asks_only_for_what_is_worth_it(void **unused)
{
    struct policy_input in = figures();
    struct policy_output out;
    struct policy_state state = {0};

    (void)unused;
    in.limit = 256 * MIB;
    in.ledger.pages[PAGE_ABSENT] = 100 * MIB / 4096; /* all that is free; the rest is cache */
    policy_decide(&state, &in, &out);
    assert_true(out.balloon_target_pages > 0);
    in.knows_disks = true;
    state = (struct policy_state){0};
    policy_decide(&state, &in, &out);
    assert_int_equal(out.balloon_target_pages, 0);
    in.ledger.pages[PAGE_ABSENT] = 40 * MIB / 4096;
    policy_decide(&state, &in, &out);
    assert_in_range(out.balloon_target_pages, 1, 60 * MIB / 4096);
    in.guest_free = 2 * MIB; /* it needs its memory for its cache */
    in.balloon_pages = out.balloon_target_pages;
    policy_decide(&state, &in, &out);
    assert_true(out.balloon_target_pages + 256 < in.balloon_pages);
}

/* What is asked rises by a 32nd of memory at once: the guest's figures are old. */
static void rises_step_by_step(void **unused)
{
    struct policy_input in = figures();
    struct policy_output out;
    struct policy_state state = {0};
    uint64_t last = 0, step = 512 * MIB / 32 / 4096;

    (void)unused;
    in.limit = 128 * MIB;
    in.guest_free = in.guest_available = 400 * MIB;
    for (unsigned i = 0; i < 5; i++) {
        policy_decide(&state, &in, &out);
        assert_int_equal(out.balloon_target_pages, last + step);
        last = in.balloon_pages = out.balloon_target_pages;
        in.now_ns += STEP;
    }
    in.user_balloon = 64 * MIB; /* the user's wish is asked whole */
    policy_decide(&state, &in, &out);
    assert_int_equal(out.balloon_target_pages, 448 * MIB / 4096);
}

static void gives_back_to_a_guest_that_is_short(void **unused)
{
    struct policy_state state = {.balloon_target_pages = 32768};
    struct policy_input in = figures();
    struct policy_output out;

    (void)unused;
    in.limit = 256 * MIB;
    in.balloon_pages = 32768;
    in.guest_available = 2 * MIB;
    policy_decide(&state, &in, &out);
    assert_true(out.balloon_target_pages < 32768);
}

static void does_what_the_user_asks(void **unused)
{
    struct policy_state state = {0};
    struct policy_input in = figures();
    struct policy_output out;

    (void)unused;
    in.user_balloon = 300 * MIB;
    in.user_target = 64 * MIB;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.balloon_target_pages, 212 * MIB / 4096);
    assert_int_equal(out.orders.target_bytes, 64 * MIB);
    assert_true(out.orders.limit_bytes == UINT64_MAX);
    in.user_balloon = 300 * MIB + 4096; /* to the page, whatever was asked before */
    policy_decide(&state, &in, &out);
    assert_int_equal(out.balloon_target_pages, 212 * MIB / 4096 - 1);
    in.user_balloon = 4096 * MIB; /* more than it has: nothing to take */
    policy_decide(&state, &in, &out);
    assert_int_equal(out.balloon_target_pages, 0);
}

static void reports_a_balloon_that_stands_still(void **unused)
{
    struct policy_state state = {0};
    struct policy_input in = figures();
    struct policy_output out;
    uint64_t asked = in.now_ns, stuck_at = 0;

    (void)unused;
    in.user_balloon = 256 * MIB;
    for (; in.now_ns < asked + 20000 * MS && !stuck_at; in.now_ns += STEP) {
        policy_decide(&state, &in, &out);
        if (out.balloon_stuck)
            stuck_at = in.now_ns;
    }
    assert_true(stuck_at > asked + POLICY_STUCK_NS && stuck_at <= asked + POLICY_STUCK_NS + STEP);
    for (; in.balloon_pages < 65536; in.now_ns += STEP) { /* slow, but it moves */
        in.balloon_pages += 512;
        in.balloon_moved_ns = in.now_ns;
        policy_decide(&state, &in, &out);
        assert_false(out.balloon_stuck);
    }
    assert_false(out.balloon_stuck);
}

/* A guest whose cache can be given and whose balloon follows at 200 MiB a second. */
static void settles_without_flapping(void **unused)
{
    struct policy_state state = {0};
    struct policy_input in = figures();
    struct policy_output out;
    uint64_t touched = 480 * MIB, last = 0;
    unsigned changes = 0, turns = 0;
    int direction = 0;

    (void)unused;
    in.limit = 256 * MIB;
    for (unsigned i = 0; i < 1000; i++, in.now_ns += STEP) {
        uint64_t balloon = in.balloon_pages * 4096;

        in.host = touched > balloon ? touched - balloon : 0;
        if (in.host > out.orders.limit_bytes && i)
            in.host = out.orders.limit_bytes;
        in.guest_available = 300 * MIB > balloon ? 300 * MIB - balloon : 0;
        policy_decide(&state, &in, &out);
        if (out.balloon_target_pages != last) {
            int now = out.balloon_target_pages > last ? 1 : -1;

            changes++;
            turns += direction && now != direction;
            direction = now;
            last = out.balloon_target_pages;
        }
        if (in.balloon_pages < last) {
            uint64_t step = last - in.balloon_pages < 10240 ? last - in.balloon_pages : 10240;
            in.balloon_pages += step;
            in.balloon_moved_ns = in.now_ns;
        } else {
            in.balloon_pages = last;
        }
    }
    assert_true(in.host <= 236 * MIB);
    assert_true(in.balloon_pages > 0);
    assert_true(turns <= 1);
    assert_true(changes < 40);
}

static void uses_no_forbidden_means(void **unused)
{
    struct policy_state state = {0};
    struct policy_input in = figures();
    struct policy_output out;

    (void)unused;
    in.limit = 256 * MIB;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.means, MEM_MEANS_ALL);
    assert_true(out.balloon_target_pages > 0 && out.orders.share_scan_pages_per_s > 0);
    state = (struct policy_state){0};
    in.forbidden = POLICY_MEANS_BALLOON | MEM_MEANS_SHARE | MEM_MEANS_COMPRESS;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.means, MEM_MEANS_SWAP);
    assert_int_equal(out.balloon_target_pages, 0);
    assert_int_equal(out.orders.share_scan_pages_per_s, 0);
    assert_int_equal(out.rung, POLICY_SWAP);
    in.user_balloon = 400 * MIB; /* the user's word counts all the same */
    policy_decide(&state, &in, &out);
    assert_int_equal(out.balloon_target_pages, 112 * MIB / 4096);
    in.user_balloon = UINT64_MAX;
    in.forbidden = MEM_MEANS_SWAP | POLICY_MEANS_BALLOON;
    in.compressed = 100 * MIB;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.rung, POLICY_COMPRESS);
    in.forbidden = POLICY_MEANS_ALL;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.means, 0);
    assert_int_equal(out.rung, POLICY_BLOCK);
}

static void the_pools_state_selects_the_means(void **unused)
{
    struct policy_input in = figures();
    struct policy_output out;

    (void)unused;
    in.limit = in.host + in.overhead + 4 * MIB; /* nearly met */
    for (enum pool_state s = POOL_HIGH; s <= POOL_LOW; s++) {
        struct policy_state state = {0};

        in.host_state = s;
        policy_decide(&state, &in, &out);
        assert_int_equal(out.orders.share_scan_pages_per_s > 0, s >= POOL_CLEAR);
        assert_int_equal(out.balloon_target_pages > 0, s >= POOL_SOFT);
        assert_int_equal(out.waits_for_lease, s < POOL_HARD);
        assert_int_equal(out.orders.limit_bytes, in.limit - in.overhead);
    }
}

static void a_lowered_limit_is_approached_while_the_guest_runs(void **unused)
{
    struct policy_state state = {0};
    struct policy_input in = figures();
    struct policy_output out;
    uint64_t room;

    (void)unused;
    in.limit = 256 * MIB;
    room = in.limit - in.overhead;
    in.host_state = POOL_HARD;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.limit_bytes, in.host); /* no page more */
    assert_int_equal(out.orders.target_bytes, room);
    assert_false(out.waits_for_lease);
    in.host = 280 * MIB;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.limit_bytes, 280 * MIB);
    in.host = 290 * MIB; /* what cannot be so changes nothing */
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.limit_bytes, 280 * MIB);
    in.host_state = POOL_LOW; /* the guest waits */
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.limit_bytes, room);
    in.host_state = POOL_HARD;
    in.host = room;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.limit_bytes, room);
    assert_true(out.orders.target_bytes == UINT64_MAX);
}

static void smart_pages_wait_for_a_balloon_that_moves(void **unused)
{
    struct policy_state state = {0};
    struct policy_input in = figures();
    struct policy_output out;

    (void)unused;
    in.limit = 256 * MIB;
    in.host = 200 * MIB;
    in.ledger.pages[PAGE_SMART] = 100 * MIB / PAGE_SIZE;
    in.has_balloon = false;
    in.smart_allowed = 150 * MIB; /* while it restarts */
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.smart_limit_bytes, 150 * MIB);
    in.has_balloon = true;
    in.smart_allowed = 0; /* it has booted: what is there is excess, which the balloon can take */
    in.guest_available = in.guest_free = UINT64_MAX; /* as soon as the guest has told */
    in.now_ns += STEP;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.smart_limit_bytes, 100 * MIB);
    in.guest_available = in.guest_free = 200 * MIB;
    in.now_ns += STEP;
    policy_decide(&state, &in, &out);
    assert_true(out.balloon_target_pages > 10 * MIB / PAGE_SIZE);
    assert_int_equal(out.orders.smart_limit_bytes, 100 * MIB);
    in.balloon_pages = out.balloon_target_pages; /* it has what was asked */
    in.ledger.pages[PAGE_SMART] = 40 * MIB / PAGE_SIZE;
    in.guest_available = in.guest_free = 16 * MIB; /* and no more to give */
    in.balloon_moved_ns = in.now_ns += STEP;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.smart_limit_bytes, 0);

    in.guest_available = in.guest_free = 200 * MIB; /* asked for more, but its time is up */
    in.now_ns += STEP;
    in.smart_overdue = true;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.smart_limit_bytes, 0);
}

static void a_guest_that_tells_nothing_is_not_waited_for(void **unused)
{
    struct policy_state state = {0};
    struct policy_input in = figures();
    struct policy_output out;

    (void)unused;
    in.limit = 256 * MIB;
    in.ledger.pages[PAGE_SMART] = 100 * MIB / PAGE_SIZE;
    in.has_balloon = false;
    policy_decide(&state, &in, &out);
    in.has_balloon = true;
    in.guest_available = in.guest_free = UINT64_MAX;
    in.now_ns += STEP;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.smart_limit_bytes, 100 * MIB);
    in.now_ns += POLICY_STUCK_NS;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.smart_limit_bytes, 0);
}

static void a_guest_without_a_balloon_drains_at_once(void **unused)
{
    struct policy_state state = {0};
    struct policy_input in = figures();
    struct policy_output out;

    (void)unused;
    in.limit = 256 * MIB;
    in.has_balloon = false;
    in.ledger.pages[PAGE_SMART] = 100 * MIB / PAGE_SIZE;
    policy_decide(&state, &in, &out);
    assert_int_equal(out.orders.smart_limit_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_a_vm_without_limit_alone),
        cmocka_unit_test(limit_less_overhead_is_the_room),
        cmocka_unit_test(asks_the_balloon_for_no_more_than_the_guest_can_give),
        cmocka_unit_test(asks_only_for_what_is_worth_it),
        cmocka_unit_test(rises_step_by_step),
        cmocka_unit_test(gives_back_to_a_guest_that_is_short),
        cmocka_unit_test(does_what_the_user_asks),
        cmocka_unit_test(reports_a_balloon_that_stands_still),
        cmocka_unit_test(settles_without_flapping),
        cmocka_unit_test(the_pools_state_selects_the_means),
        cmocka_unit_test(a_lowered_limit_is_approached_while_the_guest_runs),
        cmocka_unit_test(uses_no_forbidden_means),
        cmocka_unit_test(smart_pages_wait_for_a_balloon_that_moves),
        cmocka_unit_test(a_guest_that_tells_nothing_is_not_waited_for),
        cmocka_unit_test(a_guest_without_a_balloon_drains_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
