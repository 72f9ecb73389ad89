/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that mean no good: tables in themselves, everywhere at once, and changing under the
 * walker.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "mmu_guest.h"

#define MIB     UINT64_C(0x100000)
#define FRAME_A 0x400000
#define FRAME_B 0x401000

static void recursive_tables(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    map4(&g, 0x1000, FRAME_A | PWU);
    go(&g, 0x1000, MMU_READ, SUP);
    wr64(&g, g.ctx.cr3 + 8 * 511, g.ctx.cr3 | PWU);
    /* The root seen as a page, as a page table, ... */
    assert_page(go(&g, UINT64_C(0xfffffffffffff000), MMU_READ, SUP), g.ctx.cr3);
    uint64_t pt = rd64(&g, slot4(&g, g.ctx.cr3, 0x1000, 2)) & ~UINT64_C(0xfff);
    assert_page(go(&g, UINT64_C(0xffffff8000000000), MMU_WRITE, SUP), pt);
    /* The guest edits its table through the window, then flushes. */
    struct mmu_result r = go(&g, UINT64_C(0xffffff8000000000), MMU_WRITE, SUP);
    ((uint64_t *)hva_ptr(r.hva))[1] = FRAME_B | PWU;
    mmu_invlpg(g.mmu, gva_make(0x1000));
    assert_page(go(&g, 0x1000, MMU_READ, SUP), FRAME_B);
    guest_close(&g);
}

static void quota_holds(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    /* One table at every level for everything: 2^27 linear pages' worth of keys. */
    uint64_t t = new_table(&g);
    for (unsigned i = 0; i < 512; i++)
        wr64(&g, t + 8 * i, t | PWU);
    g.ctx.cr3 = t;
    enter(&g, MMU_SWITCH_FLUSH);
    uint64_t gva = 0;
    for (unsigned i = 0; i < 20000; i++) {
        gva = (gva * 6364136223846793005u + 1442695040888963407u);
        uint64_t va = gva >> 16;
        if (va >> 47)
            va |= UINT64_C(0xffff) << 48;
        assert_page(go(&g, va, MMU_READ, SUP), t);
    }
    const struct mmu_stats *s = mmu_stats(g.mmu);
    assert_true(s->shadow_pages_peak <= 512);
    assert_true(s->shadow_pages_zapped > 10000);
    assert_true(s->shadow_bytes <= 512 * 16 * 1024);
    assert_true(s->zaps_places > 10000);
    assert_true(s->shadow_pages <= 4 * 16); /* of one frame */
    guest_close(&g);
}

/* More tables than the quota allows, each in a frame of its own. */
static void quota_holds_for_many_tables(void **state)
{
    const unsigned tables = 1000;
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    for (unsigned i = 0; i < tables; i++)
        map4(&g, (uint64_t)i << 21, (i & 1 ? FRAME_A : FRAME_B) | PWU);
    enter(&g, MMU_SWITCH_FLUSH);
    for (unsigned i = 0; i < 20 * tables; i++) {
        unsigned n = i * 7 % tables;
        assert_page(go(&g, (uint64_t)n << 21, MMU_READ, SUP), n & 1 ? FRAME_A : FRAME_B);
    }
    const struct mmu_stats *s = mmu_stats(g.mmu);
    assert_true(s->shadow_pages_peak <= 512);
    assert_true(s->zaps_quota > 10000);
    assert_int_equal(s->zaps_places, 0);
    guest_close(&g);
}

static void one_frame_mapped_everywhere(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 64 * MIB, false);
    guest_long_mode(&g);
    for (unsigned i = 0; i < 20000; i++) {
        map4(&g, (uint64_t)i << 12, FRAME_A | PWU);
        assert_page(go(&g, (uint64_t)i << 12, MMU_READ, SUP), FRAME_A);
    }
    assert_true(mmu_audit(g.mmu));
    /* Zero page becomes real: all 20000 go, at once. */
    go(&g, 0, MMU_WRITE, SUP);
    assert_true(mmu_audit(g.mmu));
    uint64_t missing = mmu_stats(g.mmu)->hidden_missing;
    assert_page(go(&g, 19999u << 12, MMU_READ, SUP), FRAME_A);
    assert_int_equal(mmu_stats(g.mmu)->hidden_missing, missing + 1);
    guest_close(&g);
}

static void tags_run_out(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, false);
    guest_long_mode(&g);
    for (unsigned i = 0; i < 3000; i++) {
        enter(&g, MMU_SWITCH_FLUSH);
        assert_in_range(mmu_asid(g.mmu), 1, 1023);
    }
    assert_in_range(g.told.flush_all, 2, 3);
    guest_close(&g);
}

struct editor {
    uint64_t *entry;
    uint32_t *small;
    atomic_bool stop;
};

/* Another CPU, as it were: rewrites entries of the tables in use as fast as it can. */
static void *edit_for_ever(void *arg)
{
    struct editor *e = arg;
    uint64_t n = 1;

    while (!atomic_load(&e->stop)) {
        n = n * UINT64_C(6364136223846793005) + 1;
        uint64_t v = __atomic_load_n(e->entry, __ATOMIC_RELAXED);
        v = n >> 60 == 3 ? v & ~(uint64_t)P_ : v | P_;
        __atomic_store_n(e->entry, (v ^ UINT64_C(1) << 52) & ~(uint64_t)(A_ | D_),
                         __ATOMIC_RELAXED);
        __atomic_store_n(e->small, FRAME_A | PWU | (uint32_t)(n >> 61) << 9, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void tables_change_under_the_walk(void **state)
{
    struct guest g;
    struct editor e = {.entry = NULL};
    pthread_t thread;
    size_t count;
    (void)state;

    guest_open(&g, 16 * MIB, false);
    guest_long_mode(&g);
    struct mmu_context four = g.ctx;
    map4(&g, 0x1000, FRAME_A | PWU);
    wr32(&g, 0x200000, 0x201000 | PWU);
    wr32(&g, 0x201004, FRAME_A | PWU);
    uint8_t *ram = hva_ptr(mem_slots(g.mem, &count)->userspace_addr);
    e.entry = (uint64_t *)(ram + slot4(&g, g.ctx.cr3, 0x1000, 1));
    e.small = (uint32_t *)(ram + 0x201004);
    assert_int_equal(pthread_create(&thread, NULL, edit_for_ever, &e), 0);
    for (unsigned i = 0; i < 200000; i++) {
        if (i % 1000 == 0) {
            g.ctx = i / 1000 % 2 ? four : (struct mmu_context){.cr0 = CR0_PG_WP, .cr3 = 0x200000};
            enter(&g, MMU_SWITCH_FLUSH_ALL);
        }
        struct mmu_result r = go(&g, 0x1000, i % 3 ? MMU_WRITE : MMU_READ, SUP);
        assert_true(r.kind == MMU_GUEST_FAULT || r.page_gpa.v == FRAME_A);
        if (i % 2)
            mmu_invlpg(g.mmu, gva_make(0x1000));
    }
    atomic_store(&e.stop, true);
    pthread_join(thread, NULL);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recursive_tables),
        cmocka_unit_test(quota_holds),
        cmocka_unit_test(quota_holds_for_many_tables),
        cmocka_unit_test(one_frame_mapped_everywhere),
        cmocka_unit_test(tags_run_out),
        cmocka_unit_test(tables_change_under_the_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
