/* SPDX-License-Identifier: Apache-2.0 */
/* The shadow MMU while frames leave: read-only copies, batches, tables that are away, ages. */
#include "mem/balloon.h"
#include "mmu/explain.h"
#include "mmu/internal.h"
#include "mmu_guest.h"
#include "pressure.h"

#define MIB     UINT64_C(0x100000)
#define FRAME_A UINT64_C(0x400000)
#define FRAME_B UINT64_C(0x401000)
#define TABLE   UINT64_C(0x13000) /* the leaf table of the first 2 MiB */

struct away {
    struct guest g;
    struct pressure p;
};

static void away_open(struct away *a, enum mmu_strategy strategy)
{
    struct guest *g = &a->g;

    memset(a, 0, sizeof *a);
    assert_int_equal(mem_create(&g->mem, 16 * MIB), ERR_OK);
    pressure_open(&a->p, g->mem);
    struct mmu_config config = {
        .mem = g->mem,
        .maxphyaddr = 40,
        .strategy = strategy,
        .oracle = true,
        .audit_exits = true,
        .tlb = {&g->told, told_flush_all, told_flush_page, told_drop_frames, told_write_protect},
    };
    assert_int_equal(mmu_create(&g->mmu, &config), ERR_OK);
    g->next_table = 0x10000;
    guest_long_mode(g);
}

static void away_close(struct away *a)
{
    pressure_close(&a->p);
    guest_close(&a->g);
}

static enum page_state state_of(struct away *a, uint64_t gpa)
{
    return mem_page_state(a->g.mem, gfn_make(gpa >> PAGE_SHIFT));
}

static void shared_frames_are_read_from_one_page(void **state)
{
    struct away a;
    (void)state;

    away_open(&a, MMU_LAZY);
    for (unsigned i = 0; i < 3; i++) {
        wr64(&a.g, FRAME_A + 0x1000 * i, 77);
        map4(&a.g, 0x1000 * i, (FRAME_A + 0x1000 * i) | PWU);
        assert_true(go(&a.g, 0x1000 * i, MMU_WRITE, USER).may_write);
    }
    pressure_evict(&a.p, MEM_MEANS_SHARE);
    assert_int_equal(state_of(&a, FRAME_A), PAGE_SHARED);
    struct mmu_result r = go(&a.g, 0, MMU_READ, USER), s = go(&a.g, 0x1000, MMU_READ, USER);
    assert_int_equal(r.hva.v, s.hva.v);
    assert_int_not_equal(r.hva.v, mem_zero_page(a.g.mem).v);
    assert_false(r.may_write || r.may_note || s.may_write);
    assert_int_equal(go(&a.g, 0, MMU_READ, USER).hva.v, r.hva.v); /* now from the shadow */

    /* One of them is written: only its own translations go. */
    unsigned drops = a.g.told.drop_frames;
    struct mmu_result w = go(&a.g, 0, MMU_WRITE, USER);
    assert_true(w.may_write);
    assert_int_not_equal(w.hva.v, r.hva.v);
    assert_int_equal(*(uint64_t *)hva_ptr(w.hva), 77);
    assert_int_equal(a.g.told.drop_frames, drops + 1);
    assert_int_equal(a.g.told.last_frame, FRAME_A >> 12);
    uint64_t walks = mmu_stats(a.g.mmu)->step4_walks;
    assert_int_equal(go(&a.g, 0x1000, MMU_READ, USER).hva.v, r.hva.v);
    assert_int_equal(mmu_stats(a.g.mmu)->step4_walks, walks);
    away_close(&a);
}

static void a_batch_is_one_word_to_the_tlb(void **state)
{
    struct away a;
    (void)state;

    away_open(&a, MMU_LAZY);
    for (unsigned i = 0; i < 50; i++) {
        map4(&a.g, 0x1000 * i, (FRAME_A + 0x1000 * i) | PWU);
        assert_true(go(&a.g, 0x1000 * i, MMU_WRITE, USER).may_write);
    }
    unsigned drops = a.g.told.drop_frames, flushes = a.g.told.flush_all;
    uint64_t before = mmu_stats(a.g.mmu)->frames_unmapped;
    pressure_evict(&a.p, 0); /* they are zeros */
    assert_int_equal(mmu_stats(a.g.mmu)->frames_unmapped - before, 50);
    assert_int_equal(a.g.told.drop_frames, drops + 1);
    assert_int_equal(a.g.told.flush_all, flushes);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(go(&a.g, 0x1000 * i, MMU_READ, USER).hva.v, mem_zero_page(a.g.mem).v);
    away_close(&a);
}

/* Looking brings nothing in, using does. */
static void tables_away(enum mmu_strategy strategy)
{
    struct away a;
    struct mmu_explain e;
    gpa_t gpa;

    away_open(&a, strategy);
    a.g.mmu->calm_min = 1;
    for (unsigned i = 0; i < 8; i++) {
        map4(&a.g, 0x1000 * i, (FRAME_A + 0x1000 * i) | PWU);
        go(&a.g, 0x1000 * i, MMU_WRITE, USER);
    }
    for (unsigned i = 0; i < 3; i++) { /* adaptive follows them by now */
        enter(&a.g, MMU_SWITCH_FLUSH);
        assert_page(go(&a.g, 0, MMU_READ, USER), FRAME_A);
    }
    for (uint64_t t = a.g.ctx.cr3; t <= TABLE; t += 0x1000)
        pressure_drop(&a.p, t);
    assert_int_equal(state_of(&a, TABLE), PAGE_IMAGE);
    assert_true(mmu_audit(a.g.mmu));
    assert_true(mmu_probe(a.g.mmu, gva_make(0x1234), &gpa));
    assert_int_equal(gpa.v, FRAME_A + 0x1234);
    mmu_explain(a.g.mmu, gva_make(0x1234), NULL, &e);
    assert_int_equal(e.end, MMU_WALK_MAPPED);
    assert_int_equal(e.gpa.v, FRAME_A + 0x1234);
    assert_int_equal(e.level[1].state, PAGE_IMAGE);
    for (uint64_t t = a.g.ctx.cr3; t <= TABLE; t += 0x1000)
        assert_int_equal(state_of(&a, t), PAGE_IMAGE);

    /* What is followed needs no table; the others come in by the walk, and say the same. */
    assert_page(go(&a.g, 0x2000, MMU_READ, USER), FRAME_A + 0x2000);
    enter(&a.g, MMU_SWITCH_FLUSH);
    for (unsigned i = 0; i < 8; i++)
        assert_page(go(&a.g, 0x1000 * i, MMU_WRITE, USER), FRAME_A + 0x1000 * i);
    if (strategy == MMU_LAZY)
        assert_int_equal(state_of(&a, TABLE), PAGE_RESIDENT);

    /* A table that is written while it is away. */
    pressure_drop(&a.p, TABLE);
    map4(&a.g, 0x3000, FRAME_B | PWU);
    mmu_invlpg(a.g.mmu, gva_make(0x3000));
    assert_page(go(&a.g, 0x3000, MMU_READ, USER), FRAME_B);

    /* And one that is lost: its entries are zeros. */
    assert_true(mem_balloon_inflate(a.g.mem, gfn_make(TABLE >> 12)));
    enter(&a.g, MMU_SWITCH_FLUSH_ALL);
    assert_fault(go(&a.g, 0x3000, MMU_READ, USER), PF_U);
    away_close(&a);
}

static void tables_that_are_away(void **state)
{
    (void)state;
    for (int strategy = 0; strategy < MMU_STRATEGIES; strategy++)
        tables_away((enum mmu_strategy)strategy);
}

/* The host fails at each of the pages that one access needs, and nothing is half done. */
static void a_failing_host(void **state)
{
    struct away a;
    (void)state;

    away_open(&a, MMU_ADAPTIVE);
    map4(&a.g, 0x1000, FRAME_A | PWU);
    wr64(&a.g, FRAME_A, 5);
    for (uint64_t t = a.g.ctx.cr3; t <= TABLE; t += 0x1000)
        pressure_drop(&a.p, t);
    pressure_drop(&a.p, FRAME_A);
    struct mmu_result r;
    unsigned failures = 0;
    for (;; failures++) {
        a.p.fails = 100;
        r = go(&a.g, 0x1000, MMU_WRITE, USER);
        a.p.fails = 0;
        if (r.kind != MMU_HOST_ERROR)
            break;
        assert_non_null(mem_stall(a.g.mem));
        assert_true(mmu_audit(a.g.mmu));
        while (mem_stall(a.g.mem))
            pressure_age(&a.p); /* which brings this one in */
    }
    assert_in_range(failures, 2, 5); /* neighbours come in together */
    assert_true(r.may_note);         /* it still equals its block */
    assert_int_equal(*(uint64_t *)hva_ptr(r.hva), 5);
    uint64_t pdpte[4] = {1};
    pressure_drop(&a.p, TABLE);
    a.p.fails = 1;
    assert_int_equal(mmu_load_pdptes(a.g.mmu, TABLE, pdpte), MMU_PDPTES_HOST_ERROR);
    assert_int_equal(pdpte[0], 1);
    away_close(&a);
}

static uint64_t used_now(struct away *a)
{
    uint64_t ages[MEM_AGES];

    mem_age_histogram(a->g.mem, ages);
    return ages[0];
}

/* An answer from the shadow is a use of the page and of the tables that led there. */
static void ages(enum mmu_strategy strategy)
{
    struct away a;

    away_open(&a, strategy);
    for (unsigned i = 0; i < 8; i++) {
        map4(&a.g, 0x1000 * i, (FRAME_A + 0x1000 * i) | PWU);
        go(&a.g, 0x1000 * i, MMU_WRITE, USER);
    }
    wr64(&a.g, slot4(&a.g, a.g.ctx.cr3, 0x400000, 2), 0x800000 | PWU | PS_);
    assert_true(go(&a.g, 0x402000, MMU_WRITE, USER).may_write);
    pressure_age(&a.p);
    unsigned flushes = a.g.told.flush_all;
    pressure_age(&a.p);
    assert_int_equal(a.g.told.flush_all, flushes + 1);
    assert_int_equal(used_now(&a), 0);
    uint64_t walks = mmu_stats(a.g.mmu)->step4_walks;
    go(&a.g, 0x2000, MMU_READ, USER);
    assert_int_equal(used_now(&a), 1 + 4);
    go(&a.g, 0x3000, MMU_READ, USER);
    assert_int_equal(used_now(&a), 2 + 4);
    go(&a.g, 0x402000, MMU_READ, USER); /* a piece of a large page */
    assert_int_equal(used_now(&a), 3 + 4);
    assert_int_equal(mmu_stats(a.g.mmu)->step4_walks, walks);
    pressure_age(&a.p);
    map4(&a.g, 0x4000, FRAME_B | PWU); /* its table is used by the test itself */
    mmu_invlpg(a.g.mmu, gva_make(0x4000));
    go(&a.g, 0x4000, MMU_READ, USER);
    assert_int_equal(used_now(&a), 1 + 4);
    away_close(&a);
}

static void use_is_noted(void **state)
{
    (void)state;
    for (int strategy = 0; strategy < MMU_STRATEGIES; strategy++)
        ages((enum mmu_strategy)strategy);
}

/* Tables that nobody uses any more take no host memory, and are found again when they are used. */
static void idle_tables_go(void **state)
{
    struct away a;
    (void)state;

    for (int strategy = 0; strategy < MMU_STRATEGIES; strategy++) {
        away_open(&a, (enum mmu_strategy)strategy);
        const struct mmu_stats *s = mmu_stats(a.g.mmu);
        map4(&a.g, 0x1000, FRAME_A | PWU);
        go(&a.g, 0x1000, MMU_READ, USER);
        uint64_t bytes = s->shadow_bytes;
        map4(&a.g, 0x40000000, FRAME_B | PWU);
        assert_page(go(&a.g, 0x40000000, MMU_WRITE, USER), FRAME_B);
        assert_true(s->shadow_bytes > bytes);
        for (int i = 0; i < 70; i++) {
            pressure_age(&a.p);
            assert_page(go(&a.g, 0x1000, MMU_READ, USER), FRAME_A);
        }
        assert_int_equal(s->zaps_idle, 2); /* the leaf table and the one above */
        assert_in_range(s->shadow_bytes, 1, bytes + PAGE_SIZE);
        assert_page(go(&a.g, 0x40000000, MMU_WRITE, USER), FRAME_B);
        for (int i = 0; i < 70; i++)
            pressure_age(&a.p);
        assert_page(go(&a.g, 0x1000, MMU_READ, USER), FRAME_A);
        assert_page(go(&a.g, 0x40000000, MMU_READ, USER), FRAME_B);
        away_close(&a);
    }
}

/* Whole pages that are overwritten: what tracks or walks the frame keeps it. */
static void overwriting(void **state)
{
    struct away a;
    (void)state;

    away_open(&a, MMU_TRACE);
    struct mmu_access w = {.gva = gva_make(0x1000),
                           .kind = MMU_WRITE,
                           .user = true,
                           .overwrites = true,
                           .source = {MMU_NO_SOURCE, MMU_NO_SOURCE}};
    struct mmu_result r;
    map4(&a.g, 0x1000, FRAME_A | PWU);
    map4(&a.g, 0x2000, TABLE | PWU);
    wr64(&a.g, FRAME_A, 5);
    pressure_drop(&a.p, FRAME_A);
    mmu_translate(a.g.mmu, &w, false, &r);
    assert_true(r.may_write);
    assert_int_equal(a.p.reads, 0);

    mmu_invlpg(a.g.mmu, gva_make(0x1000));
    wr64(&a.g, FRAME_A, 6);
    pressure_drop(&a.p, FRAME_A);
    w.source[1] = gfn_make(FRAME_A >> 12);
    mmu_translate(a.g.mmu, &w, false, &r);
    assert_int_equal(a.p.reads, 1);
    assert_int_equal(*(uint64_t *)hva_ptr(r.hva), 6);

    w.source[1] = MMU_NO_SOURCE;
    pressure_drop(&a.p, FRAME_A);
    mem_track_set(a.g.mem, gfn_make(FRAME_A >> 12), MEM_TRACK_CODE);
    mmu_translate(a.g.mmu, &w, false, &r);
    assert_int_equal(a.p.reads, 2);
    assert_false(r.may_write);
    mem_track_clear(a.g.mem, gfn_make(FRAME_A >> 12), MEM_TRACK_CODE);

    /* The walk's own table: followed only from step 7 on, but kept. */
    shadow_zap_all(a.g.mmu);
    pressure_drop(&a.p, TABLE);
    w.gva = gva_make(0x2000);
    mmu_translate(a.g.mmu, &w, false, &r);
    assert_int_equal(a.p.reads, 3);
    assert_true(r.tracked);
    assert_int_equal(rd64(&a.g, TABLE + 8) & ~UINT64_C(0xfff), FRAME_A);
    away_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_frames_are_read_from_one_page),
        cmocka_unit_test(a_batch_is_one_word_to_the_tlb),
        cmocka_unit_test(tables_that_are_away),
        cmocka_unit_test(a_failing_host),
        cmocka_unit_test(use_is_noted),
        cmocka_unit_test(idle_tables_go),
        cmocka_unit_test(overwriting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
