/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM held to a limit.
 *
 *   room = limit - overhead             what pages and stores may take
 *
 *   0 ......... relaxed 80 % ........ soft 92 % ......... room
 *     deflate when      leave things      share scan and     mem_service reclaims by itself:
 *     the guest is      as they are       balloon            compress, swap, block
 *     short
 *
 * In a pool the manager's state says how far down this ladder the VM goes (pool_policy.h): above
 * `soft` the balloon only shrinks, and above `hard` a guest that meets its limit waits a moment for
 * a bigger one. A limit that was lowered is approached in the background, and never left again
 * upwards on the way; in `low` the guest waits for it.
 *
 * The balloon takes only what the guest has free, less a reserve. What lies beyond would be swapped
 * by the guest, and the hypervisor knows idle pages better. Nor does it take the guest's cache of
 * its disks: the hypervisor can drop these pages by itself, idlest first, and has them back in a
 * tenth of the time that the guest takes to read them again. Free pages that hold no host memory
 * are not worth asking for.
 */
#include "mem/policy.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/u64.h"

#define MIB            (UINT64_C(1) << 20)
#define ROOM_MIN       (8 * MIB)
#define RESERVE_MIN    (16 * MIB)
#define RETRY_STUCK_NS UINT64_C(60000000000)
/* A target moves only by more than this: no flapping around a boundary. */
#define DEAD_BAND_PAGES UINT64_C(256)
/* The most that a target rises by at once: the guest's figures are older than its last pages. */
#define STEP_PART 32
/* 64 MiB a second: all of 1 GiB in a quarter of a minute. */
#define SHARE_SCAN_PACE UINT64_C(16384)

const char *policy_rung_name(enum policy_rung rung)
{
    static const char *const names[POLICY_RUNGS] = {
        "nothing", "share", "balloon", "compress", "smart paging", "swap", "block",
    };

    return names[rung];
}

uint64_t policy_room(uint64_t limit, uint64_t overhead)
{
    if (limit == UINT64_MAX)
        return UINT64_MAX;
    uint64_t room = left_u64(limit, overhead);
    return room > ROOM_MIN ? room : ROOM_MIN;
}

static uint64_t smart_bytes(const struct policy_input *in)
{
    return in->ledger.pages[PAGE_SMART] * PAGE_SIZE;
}

/* Kept free in the guest, so that it need not hunt for pages itself. */
static uint64_t reserve_of(const struct policy_input *in)
{
    uint64_t share = in->memory / 32;

    return share > RESERVE_MIN ? share : RESERVE_MIN;
}

/* What the guest can give and the hypervisor cannot take as well itself. */
static uint64_t guest_can_give(const struct policy_input *in)
{
    return in->knows_disks ? min_u64(in->guest_free, in->guest_available) : in->guest_available;
}

/* Of this, what holds host memory at all. */
static uint64_t worth_taking(const struct policy_input *in)
{
    uint64_t untouched = in->ledger.pages[PAGE_ABSENT] + in->ledger.pages[PAGE_ZERO];

    return left_u64(guest_can_give(in), untouched * PAGE_SIZE);
}

/* Pages that the balloon should hold for the limit's sake. */
static uint64_t balloon_for_limit(const struct policy_state *state, const struct policy_input *in,
                                  uint64_t room)
{
    uint64_t soft = room / 100 * 92, relaxed = room / 100 * 80;
    uint64_t now = in->balloon_pages, reserve = reserve_of(in), asked = state->balloon_target_pages;
    uint64_t most = in->memory / PAGE_SIZE, can;
    uint64_t held = in->host + smart_bytes(in); /* what only bridges is excess, too */

    if (in->guest_available == UINT64_MAX || in->guest_free == UINT64_MAX)
        return min_u64(asked, now); /* it has not told: ask nothing of it */
    if (in->host_state == POOL_HIGH)
        reserve *= 2;
    can = guest_can_give(in);
    if (can < reserve / 2)
        return left_u64(now, (reserve - can) / PAGE_SIZE);
    if (in->host_state < POOL_SOFT)
        return min_u64(asked, now);
    if (held > soft) {
        /* What is asked already stays asked: other means hide how much is missing meanwhile. */
        uint64_t need = (held - soft) / PAGE_SIZE, step = most / STEP_PART;
        uint64_t give = min_u64(left_u64(can, reserve), worth_taking(in)) / PAGE_SIZE;

        return min_u64(asked > now ? asked : now + min_u64(min_u64(need, step), give), now + give);
    }
    if (held < relaxed && can < 2 * reserve)
        return left_u64(now, (relaxed - held) / PAGE_SIZE);
    return asked;
}

static uint64_t wanted_balloon(const struct policy_state *state, const struct policy_input *in,
                               uint64_t room)
{
    uint64_t wanted = 0;

    if (in->user_balloon != UINT64_MAX)
        wanted = left_u64(in->memory, in->user_balloon) / PAGE_SIZE;
    if (room != UINT64_MAX && !(in->forbidden & POLICY_MEANS_BALLOON)) {
        uint64_t limit_pages = balloon_for_limit(state, in, room);

        if (limit_pages > wanted)
            wanted = limit_pages;
    }
    return wanted;
}

static bool differs(uint64_t a, uint64_t b)
{
    return left_u64(a, b) > DEAD_BAND_PAGES || left_u64(b, a) > DEAD_BAND_PAGES;
}

static bool wants_more(const struct policy_state *state, const struct policy_input *in)
{
    return state->balloon_target_pages > in->balloon_pages + DEAD_BAND_PAGES;
}

/*
 * A balloon that was asked and has stood still is left at what it has, and asked again after a
 * while.
 */
static void watch_balloon(struct policy_state *state, const struct policy_input *in)
{
    uint64_t since =
        in->balloon_moved_ns > state->asked_ns ? in->balloon_moved_ns : state->asked_ns;

    if (!wants_more(state, in) || in->now_ns <= since + POLICY_STUCK_NS) {
        state->stuck = false;
    } else if (in->now_ns > since + RETRY_STUCK_NS) {
        state->stuck = false;
        state->asked_ns = in->now_ns;
    } else {
        state->stuck = true;
    }
}

static void decide_balloon(struct policy_state *state, const struct policy_input *in, uint64_t room,
                           struct policy_output *out)
{
    uint64_t wanted;

    if (!in->has_balloon) {
        *state = (struct policy_state){.asked_ns = in->now_ns};
        return;
    }
    wanted = wanted_balloon(state, in, room);
    /* What the user asked is asked exactly; what follows the guest's figures has a dead band. */
    if (wanted != state->balloon_target_pages &&
        (in->limit == UINT64_MAX || differs(wanted, state->balloon_target_pages))) {
        bool waits = wants_more(state, in);

        state->balloon_target_pages = wanted;
        if (!waits) /* a target that moves on does not begin the wait again */
            state->asked_ns = in->now_ns;
    }
    watch_balloon(state, in);
    out->balloon_target_pages = state->balloon_target_pages;
    out->balloon_stuck = state->stuck;
}

static uint64_t reclaimable_bytes(const struct policy_input *in, const struct policy_output *out)
{
    bool helps = in->has_balloon && in->guest_available != UINT64_MAX && !out->balloon_stuck;
    uint64_t by_balloon = helps ? left_u64(in->guest_available, reserve_of(in)) : 0;

    return by_balloon > in->idle_bytes ? by_balloon : in->idle_bytes;
}

/*
 * What the balloon will free need not be read back and put elsewhere: it has the first go, from the
 * moment that its driver is there.
 */
static uint64_t smart_limit(const struct policy_state *state, const struct policy_input *in,
                            const struct policy_output *out)
{
    bool is_asked =
        left_u64(out->balloon_target_pages, in->balloon_pages) ||
        (in->guest_available == UINT64_MAX && in->now_ns < state->asked_ns + POLICY_STUCK_NS);
    bool moves = in->has_balloon && is_asked && !out->balloon_stuck;

    return moves && !in->smart_overdue && !in->smart_allowed ? smart_bytes(in) : in->smart_allowed;
}

static enum policy_rung rung_of(const struct policy_input *in, const struct policy_output *out,
                                uint64_t room)
{
    bool asks = out->balloon_target_pages > in->balloon_pages && !out->balloon_stuck;
    bool is_over = in->host > min_u64(room, in->user_target);

    if (room == UINT64_MAX && in->user_target == UINT64_MAX)
        return asks ? POLICY_BALLOON : POLICY_NOTHING;
    if (in->user_target == UINT64_MAX && in->host <= room / 100 * 92)
        return asks ? POLICY_BALLOON : POLICY_NOTHING;
    if (asks && !is_over)
        return POLICY_BALLOON;
    if (in->forbidden & MEM_MEANS_SWAP && in->forbidden & MEM_MEANS_COMPRESS)
        return POLICY_BLOCK;
    if (in->forbidden & MEM_MEANS_SWAP)
        return POLICY_COMPRESS;
    if (!(in->forbidden & MEM_MEANS_COMPRESS) && in->compressed_limit &&
        in->compressed < in->compressed_limit / 100 * 95)
        return POLICY_COMPRESS;
    return in->smart_allowed > smart_bytes(in) && !in->smart_failed ? POLICY_SMART : POLICY_SWAP;
}

static void explain(const struct policy_input *in, struct policy_output *out, uint64_t room)
{
    uint64_t held = in->host / MIB, may = room / MIB;
    uint64_t asked = out->balloon_target_pages * PAGE_SIZE / MIB;

    if (room == UINT64_MAX && in->user_target != UINT64_MAX)
        snprintf(out->why, sizeof(out->why),
                 "no limit is set; %" PRIu64 " MiB are held, at most %" PRIu64 " are wished", held,
                 in->user_target / MIB);
    else if (room == UINT64_MAX)
        snprintf(out->why, sizeof(out->why), "no limit is set");
    else if (out->rung == POLICY_NOTHING)
        snprintf(out->why, sizeof(out->why), "%" PRIu64 " of %" PRIu64 " MiB are held: enough room",
                 held, may);
    else if (out->balloon_stuck)
        snprintf(out->why, sizeof(out->why),
                 "%" PRIu64 " of %" PRIu64 " MiB are held; the balloon stands still at %" PRIu64
                 " MiB, so other means take over",
                 held, may, in->balloon_pages * PAGE_SIZE / MIB);
    else
        snprintf(out->why, sizeof(out->why),
                 "%" PRIu64 " of %" PRIu64 " MiB are held; the balloon is asked for %" PRIu64
                 " MiB, the rest goes by %s",
                 held, may, asked, policy_rung_name(out->rung));
}

/* A limit that was lowered: down to it step by step, by the target, while the guest runs on. */
static void decide_orders(struct policy_state *state, const struct policy_input *in, uint64_t room,
                          struct mem_orders *orders)
{
    bool is_over = in->host > room && in->host_state != POOL_LOW;

    orders->limit_bytes = room;
    orders->target_bytes = in->user_target;
    orders->means = MEM_MEANS_ALL & ~in->forbidden;
    if (orders->means & MEM_MEANS_SHARE && room != UINT64_MAX && in->host > room / 100 * 80 &&
        in->host_state != POOL_HIGH)
        orders->share_scan_pages_per_s = SHARE_SCAN_PACE;
    if (!is_over) {
        state->limit_bytes = 0;
        return;
    }
    state->limit_bytes = state->limit_bytes ? min_u64(state->limit_bytes, in->host) : in->host;
    orders->limit_bytes = state->limit_bytes;
    orders->target_bytes = min_u64(room, in->user_target);
}

void policy_decide(struct policy_state *state, const struct policy_input *in,
                   struct policy_output *out)
{
    uint64_t room = policy_room(in->limit, in->overhead);

    *out = (struct policy_output){0};
    decide_balloon(state, in, room, out);
    decide_orders(state, in, room, &out->orders);
    out->orders.smart_limit_bytes = smart_limit(state, in, out);
    out->waits_for_lease = in->host_state < POOL_HARD && in->host <= room;
    out->rung = rung_of(in, out, room);
    out->reclaimable_bytes = reclaimable_bytes(in, out);
    explain(in, out, room);
}
