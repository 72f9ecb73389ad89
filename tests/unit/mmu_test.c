/* SPDX-License-Identifier: Apache-2.0 */
/* The seven steps, shadow hits, flushes and the quota. */
#include "mmu_guest.h"

#define MIB UINT64_C(0x100000)

static void paging_off_is_identity(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, false);
    struct mmu_result r = go(&g, 0x5123, MMU_READ, SUP);
    assert_page(r, 0x5000);
    assert_int_equal(r.gpa.v, 0x5123);
    assert_true(r.may_read && r.may_exec && !r.may_write); /* reads as zeros so far */
    r = go(&g, 0x5123, MMU_WRITE, USER);
    assert_page(r, 0x5000);
    assert_true(r.may_write);
    assert_int_equal(go(&g, 0xfee00000, MMU_READ, SUP).kind, MMU_DEVICE);
    assert_int_equal(go(&g, 64 * MIB, MMU_READ, SUP).kind, MMU_DEVICE);
    r = go(&g, 0x5ff0, MMU_FETCH, SUP);
    assert_page(r, 0x5000);
    assert_true(mmu_stats(g.mmu)->step2_shadow_hits >= 1);
    guest_close(&g);
}

static void four_levels(void **state)
{
    struct guest g;
    const uint64_t va = UINT64_C(0xffff888000123000);
    (void)state;

    guest_open(&g, 16 * MIB, false);
    guest_long_mode(&g);
    assert_fault(go(&g, va, MMU_READ, SUP), 0);
    assert_fault(go(&g, va, MMU_WRITE, USER), PF_W | PF_U);
    map4(&g, va, 0x400000 | PWU);
    struct mmu_result r = go(&g, va + 8, MMU_READ, SUP);
    assert_page(r, 0x400000);
    assert_false(r.may_write); /* neither dirty nor resident */
    uint64_t pte = slot4(&g, g.ctx.cr3, va, 1);
    assert_int_equal(rd64(&g, pte), 0x400000 | PWU | A_);
    assert_int_equal(rd64(&g, slot4(&g, g.ctx.cr3, va, 3)) & A_, A_);
    r = go(&g, va + 8, MMU_WRITE, SUP);
    assert_true(r.may_write);
    assert_int_equal(rd64(&g, pte), 0x400000 | PWU | A_ | D_);
    uint64_t hits = mmu_stats(g.mmu)->step2_shadow_hits;
    r = go(&g, va + 16, MMU_WRITE, SUP);
    assert_true(r.may_write);
    assert_int_equal(mmu_stats(g.mmu)->step2_shadow_hits, hits + 1);
    assert_int_equal(mmu_stats(g.mmu)->hidden_dirty, 1);
    guest_close(&g);
}

#define FRAME_A 0x400000
#define FRAME_B 0x401000

static void stale_until_invlpg(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    map4(&g, 0x1000, FRAME_A | PWU);
    map4(&g, 0x2000, FRAME_A | PWU);
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_A);
    assert_page(go(&g, 0x2000, MMU_READ, USER), FRAME_A);
    map4(&g, 0x1000, FRAME_B | PWU | A_);
    map4(&g, 0x2000, FRAME_B | PWU | A_);
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_A); /* as a TLB would */
    mmu_invlpg(g.mmu, gva_make(0x1fff));
    assert_int_equal(g.told.last_page, 0x1000);
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_B);
    assert_page(go(&g, 0x2000, MMU_READ, USER), FRAME_A);
    /* From not present to present needs no flush. */
    map4(&g, 0x3000, 0);
    assert_fault(go(&g, 0x3000, MMU_READ, USER), PF_U);
    map4(&g, 0x3000, FRAME_B | PWU);
    assert_page(go(&g, 0x3000, MMU_READ, USER), FRAME_B);
    /* More rights need none either: the walk decides before anybody faults. */
    map4(&g, 0x3000, FRAME_B | P_ | U_ | A_);
    mmu_invlpg(g.mmu, gva_make(0x3000));
    assert_page(go(&g, 0x3000, MMU_READ, USER), FRAME_B);
    map4(&g, 0x3000, FRAME_B | PWU | A_);
    assert_page(go(&g, 0x3000, MMU_WRITE, USER), FRAME_B);
    assert_int_equal(mmu_stats(g.mmu)->hidden_stale, 1);
    guest_close(&g);
}

static void cr3_write_flushes_by_comparing(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    map4(&g, 0x1000, FRAME_A | PWU | G_);
    map4(&g, 0x2000, FRAME_A | PWU);
    go(&g, 0x1000, MMU_WRITE, USER);
    go(&g, 0x2000, MMU_WRITE, USER);
    unsigned asid = mmu_asid(g.mmu);
    map4(&g, 0x2000, FRAME_B | PWU | A_ | D_);
    enter(&g, MMU_SWITCH_FLUSH);
    assert_int_not_equal(mmu_asid(g.mmu), asid);
    uint64_t walks = mmu_stats(g.mmu)->step4_walks;
    assert_page(go(&g, 0x1000, MMU_WRITE, USER), FRAME_A);
    assert_int_equal(mmu_stats(g.mmu)->step4_walks, walks); /* unchanged: kept */
    assert_page(go(&g, 0x2000, MMU_READ, USER), FRAME_B);
    assert_int_equal(mmu_stats(g.mmu)->step4_walks, walks + 1);
    guest_close(&g);
}

static void global_only_with_pge(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    map4(&g, 0x1000, FRAME_A | PWU | G_);
    assert_false(go(&g, 0x1000, MMU_READ, USER).global);
    g.ctx.cr4 |= C4_PGE;
    enter(&g, MMU_SWITCH_FLUSH_ALL);
    assert_true(go(&g, 0x1000, MMU_READ, USER).global);
    guest_close(&g);
}

static void accessed_bit_cleared_by_the_guest(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    map4(&g, 0x1000, FRAME_A | PWU);
    uint64_t pte = slot4(&g, g.ctx.cr3, 0x1000, 1);
    go(&g, 0x1000, MMU_WRITE, USER);
    wr64(&g, pte, FRAME_A | PWU);
    enter(&g, MMU_SWITCH_FLUSH);
    assert_false(go(&g, 0x1000, MMU_READ, USER).may_write);
    assert_int_equal(rd64(&g, pte), FRAME_A | PWU | A_);
    go(&g, 0x1000, MMU_WRITE, USER);
    assert_int_equal(rd64(&g, pte), FRAME_A | PWU | A_ | D_);
    guest_close(&g);
}

/* The guest takes a table out, flushes one page of it, and uses its frame for other things. */
static void freed_table_is_not_reached(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    map4(&g, 0x200000, FRAME_A | PWU);
    map4(&g, 0x201000, FRAME_A | PWU);
    go(&g, 0x200000, MMU_READ, USER);
    go(&g, 0x201000, MMU_READ, USER);
    uint64_t pde = slot4(&g, g.ctx.cr3, 0x200000, 2);
    uint64_t table = rd64(&g, pde) & ~UINT64_C(0xfff);
    wr64(&g, pde, 0);
    mmu_invlpg(g.mmu, gva_make(0x200000));
    assert_fault(go(&g, 0x200000, MMU_READ, USER), PF_U);
    /* The same frame as a table elsewhere, with other contents in its second entry. */
    wr64(&g, table + 8, FRAME_B | PWU);
    wr64(&g, slot4(&g, g.ctx.cr3, 0x400000, 2), table | PWU);
    assert_page(go(&g, 0x401000, MMU_READ, USER), FRAME_B);
    assert_page(go(&g, 0x400000, MMU_READ, USER), FRAME_A);
    assert_fault(go(&g, 0x201000, MMU_READ, USER), PF_U);
    /* And back to its old place: what was cached there long ago does not count. */
    wr64(&g, table + 8, FRAME_A | 0x2000 | PWU | A_);
    wr64(&g, pde, table | PWU);
    assert_page(go(&g, 0x201000, MMU_READ, USER), FRAME_A | 0x2000);
    guest_close(&g);
}

static void large_page_goes_as_a_whole(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    uint64_t pde = slot4(&g, g.ctx.cr3, 0x200000, 2);
    wr64(&g, pde, 0x400000 | PWU | PS_);
    assert_page(go(&g, 0x200000, MMU_READ, USER), 0x400000);
    assert_page(go(&g, 0x3ff000, MMU_READ, USER), 0x5ff000);
    wr64(&g, pde, 0x600000 | PWU | PS_);
    assert_page(go(&g, 0x3ff000, MMU_READ, USER), 0x5ff000);
    unsigned pages = g.told.flush_page, all = g.told.flush_all;
    mmu_invlpg(g.mmu, gva_make(0x234567));
    assert_true(g.told.flush_page - pages == 512 || g.told.flush_all > all);
    assert_page(go(&g, 0x3ff000, MMU_READ, USER), 0x7ff000);
    /* 1 GiB pages: everything goes. */
    wr64(&g, slot4(&g, g.ctx.cr3, 0x40000000, 3), PWU | PS_);
    go(&g, 0x40000000, MMU_READ, USER);
    all = g.told.flush_all;
    mmu_invlpg(g.mmu, gva_make(0x50000000));
    assert_int_equal(g.told.flush_all, all + 1);
    guest_close(&g);
}

static void large_page_takes_memory_by_4_kib(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    wr64(&g, slot4(&g, g.ctx.cr3, 0x200000, 2), 0x400000 | PWU | PS_ | A_ | D_);
    uint64_t before = mem_ledger(g.mem).pages[PAGE_RESIDENT];
    assert_true(go(&g, 0x200000, MMU_WRITE, USER).may_write);
    struct mmu_result r = go(&g, 0x201000, MMU_READ, USER);
    assert_false(r.may_write);
    assert_int_equal(r.hva.v, mem_zero_page(g.mem).v);
    assert_int_equal(mem_ledger(g.mem).pages[PAGE_RESIDENT] - before, 1);
    unsigned drops = g.told.drop_frames;
    assert_true(go(&g, 0x201000, MMU_WRITE, USER).may_write);
    assert_int_equal(g.told.drop_frames, drops + 1);
    assert_int_equal(g.told.last_frame, 0x401);
    assert_int_equal(mmu_stats(g.mmu)->hidden_residency, 2);
    guest_close(&g);
}

static void pcids(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    uint64_t a = g.ctx.cr3, b = new_table(&g);
    g.ctx.cr4 |= C4_PCIDE | C4_PGE;
    g.ctx.cr3 = a | 1;
    enter(&g, MMU_SWITCH_FLUSH_ALL);
    map4(&g, 0x1000, FRAME_A | PWU);
    go(&g, 0x1000, MMU_READ, USER);
    unsigned asid_a = mmu_asid(g.mmu);
    g.ctx.cr3 = b | 2;
    enter(&g, MMU_SWITCH_FLUSH);
    map4(&g, 0x1000, FRAME_B | PWU);
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_B);
    assert_int_not_equal(mmu_asid(g.mmu), asid_a);
    /* Back without a flush: the tag is still there, and what is under it in the TLB. */
    g.ctx.cr3 = a | 1;
    enter(&g, MMU_SWITCH_KEEP);
    assert_int_equal(mmu_asid(g.mmu), asid_a);
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_A);
    wr64(&g, slot4(&g, a, 0x1000, 1), FRAME_A | 0x5000 | PWU | A_);
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_A);
    /* INVPCID of another context is not heard here. */
    mmu_invpcid(g.mmu, 0, 2, gva_make(0x1000));
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_A);
    mmu_invpcid(g.mmu, 1, 2, gva_make(0));
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_A);
    assert_int_equal(mmu_asid(g.mmu), asid_a);
    mmu_invpcid(g.mmu, 0, 1, gva_make(0x1000));
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_A | 0x5000);
    wr64(&g, slot4(&g, a, 0x1000, 1), FRAME_A | PWU | A_);
    mmu_invpcid(g.mmu, 1, 1, gva_make(0));
    assert_int_not_equal(mmu_asid(g.mmu), asid_a);
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_A);
    wr64(&g, slot4(&g, a, 0x1000, 1), FRAME_A | 0x5000 | PWU | A_);
    mmu_invpcid(g.mmu, 3, 0, gva_make(0));
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_A | 0x5000);
    wr64(&g, slot4(&g, a, 0x1000, 1), FRAME_A | PWU | A_);
    mmu_invpcid(g.mmu, 2, 0, gva_make(0));
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_A);
    /* An address flushed while the other root was current. */
    g.ctx.cr3 = b | 2;
    enter(&g, MMU_SWITCH_KEEP);
    map4(&g, 0x1000, FRAME_B | 0x5000 | PWU | A_);
    g.ctx.cr3 = a | 1;
    enter(&g, MMU_SWITCH_KEEP);
    mmu_invpcid(g.mmu, 0, 2, gva_make(0x1000));
    g.ctx.cr3 = b | 2;
    enter(&g, MMU_SWITCH_KEEP);
    assert_page(go(&g, 0x1000, MMU_READ, USER), FRAME_B | 0x5000);
    guest_close(&g);
}

static void mode_changes_find_other_roots(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    map4(&g, 0x1000, FRAME_A | P_ | A_ | D_);
    assert_fault(go(&g, 0x1000, MMU_WRITE, SUP), PF_P | PF_W);
    unsigned asid = mmu_asid(g.mmu);
    uint64_t pages = mmu_stats(g.mmu)->shadow_pages;
    g.ctx.cr0 = CR0_PG_ONLY;
    enter(&g, MMU_SWITCH_KEEP);
    assert_int_not_equal(mmu_asid(g.mmu), asid);
    assert_true(go(&g, 0x1000, MMU_WRITE, SUP).may_write);
    g.ctx.cr0 = CR0_PG_WP;
    enter(&g, MMU_SWITCH_KEEP);
    assert_int_equal(mmu_asid(g.mmu), asid);
    assert_fault(go(&g, 0x1000, MMU_WRITE, SUP), PF_P | PF_W);
    assert_true(mmu_stats(g.mmu)->shadow_pages <=
                pages + 4); /* one set of tables serves both views */
    guest_close(&g);
}

/* One tag for global translations in all address spaces, until a flush that they do not outlive. */
static void global_translations_have_one_tag(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    const uint64_t first = g.ctx.cr3;
    unsigned tag = mmu_global_asid(g.mmu);
    assert_int_not_equal(tag, mmu_asid(g.mmu));
    for (unsigned i = 0; i < 8; i++) {
        g.ctx.cr3 = first + (i & 1 ? 0x1000 : 0);
        enter(&g, MMU_SWITCH_FLUSH);
        assert_int_equal(mmu_global_asid(g.mmu), tag);
        assert_int_not_equal(mmu_asid(g.mmu), tag);
    }
    mmu_invpcid(g.mmu, 1, 0, gva_make(0));
    mmu_invpcid(g.mmu, 3, 0, gva_make(0));
    assert_int_equal(mmu_global_asid(g.mmu), tag);
    g.ctx.cr0 = CR0_PG_ONLY; /* without WP rights are others */
    enter(&g, MMU_SWITCH_KEEP);
    assert_int_not_equal(mmu_global_asid(g.mmu), tag);
    g.ctx.cr0 = CR0_PG_WP;
    enter(&g, MMU_SWITCH_KEEP);
    assert_int_equal(mmu_global_asid(g.mmu), tag);
    mmu_invpcid(g.mmu, 2, 0, gva_make(0));
    assert_int_not_equal(mmu_global_asid(g.mmu), tag);
    tag = mmu_global_asid(g.mmu);
    enter(&g, MMU_SWITCH_FLUSH_ALL);
    assert_int_not_equal(mmu_global_asid(g.mmu), tag);
    tag = mmu_global_asid(g.mmu);
    for (unsigned i = 0; i < 3000; i++) { /* tags run out, and begin again */
        enter(&g, MMU_SWITCH_FLUSH);
        assert_in_range(mmu_asid(g.mmu), 1, 1023);
        assert_in_range(mmu_global_asid(g.mmu), 1, 1023);
        assert_int_not_equal(mmu_asid(g.mmu), mmu_global_asid(g.mmu));
    }
    guest_close(&g);
}

static void smap_knows_implicit_accesses(void **state)
{
    struct guest g;
    struct mmu_access a = {.gva = gva_make(0x1000), .kind = MMU_READ};
    struct mmu_result r;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    g.ctx.cr4 |= C4_SMAP;
    enter(&g, MMU_SWITCH_FLUSH_ALL);
    map4(&g, 0x1000, FRAME_A | PWU);
    mmu_translate(g.mmu, &a, false, &r);
    assert_fault(r, PF_P);
    mmu_translate(g.mmu, &a, true, &r);
    assert_page(r, FRAME_A);
    a.implicit = true;
    mmu_translate(g.mmu, &a, true, &r);
    assert_fault(r, PF_P);
    guest_close(&g);
}

static void tracked_frames_are_not_writable(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    map4(&g, 0x1000, FRAME_A | PWU);
    struct mmu_result r = go(&g, 0x1000, MMU_WRITE, USER);
    assert_true(r.may_write);
    mem_track_set(g.mem, gfn_make(FRAME_A >> 12), MEM_TRACK_CODE);
    assert_int_equal(g.told.write_protect, 1);
    assert_int_equal(g.told.last_frame, r.page_gpa.v >> 12);
    r = go(&g, 0x1000, MMU_WRITE, USER);
    assert_page(r, FRAME_A);
    assert_false(r.may_write);
    assert_int_equal(r.tracked, MEM_TRACK_CODE);
    assert_int_equal(mmu_stats(g.mmu)->hidden_tracked, 1);
    mem_track_clear(g.mem, gfn_make(FRAME_A >> 12), MEM_TRACK_CODE);
    assert_true(go(&g, 0x1000, MMU_WRITE, USER).may_write);
    guest_close(&g);
}

static void reset_forgets_all(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    map4(&g, 0x1000, FRAME_A | PWU);
    go(&g, 0x1000, MMU_WRITE, USER);
    unsigned all = g.told.flush_all;
    mem_reset(g.mem);
    assert_int_equal(g.told.flush_all, all + 1);
    assert_int_equal(mmu_stats(g.mmu)->shadow_pages, 0);
    assert_fault(go(&g, 0x1000, MMU_WRITE, USER), PF_W | PF_U);
    const struct mmu_context reset = {0};
    mmu_set_context(g.mmu, &reset, MMU_SWITCH_FLUSH_ALL);
    assert_page(go(&g, 0x1000, MMU_READ, SUP), 0x1000);
    guest_close(&g);
}

static void device_pages_are_cached(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    map4(&g, 0x1000, 0xfee00000 | PWU);
    assert_int_equal(go(&g, 0x1020, MMU_READ, SUP).gpa.v, 0xfee00020);
    uint64_t walks = mmu_stats(g.mmu)->step4_walks;
    struct mmu_result r = go(&g, 0x1030, MMU_READ, SUP);
    assert_int_equal(r.kind, MMU_DEVICE);
    assert_int_equal(r.gpa.v, 0xfee00030);
    assert_int_equal(mmu_stats(g.mmu)->step4_walks, walks);
    /* A device entry gives way to memory and back. */
    map4(&g, 0x1000, FRAME_A | PWU);
    mmu_invlpg(g.mmu, gva_make(0x1000));
    assert_page(go(&g, 0x1000, MMU_WRITE, SUP), FRAME_A);
    map4(&g, 0x1000, 0xfee00000 | PWU);
    mmu_invlpg(g.mmu, gva_make(0x1000));
    assert_int_equal(go(&g, 0x1020, MMU_WRITE, SUP).kind, MMU_DEVICE);
    guest_close(&g);
}

/* Every access ends in exactly one of the counted ways. */
static void counters_add_up(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, false);
    guest_long_mode(&g);
    for (unsigned i = 0; i < 64; i++)
        map4(&g, 0x1000 * i,
             i % 7 == 0   ? 0
             : i % 5 == 0 ? (0xfee00000 | PWU)
                          : (0x400000 + 0x1000 * (i % 9)) | PWU);
    for (unsigned i = 0; i < 1000; i++)
        go(&g, 0x1000 * (i * 37 % 64), (enum mmu_access_kind)(i % 3), i % 2);
    const struct mmu_stats *s = mmu_stats(g.mmu);
    uint64_t hidden = s->hidden_missing + s->hidden_dirty + s->hidden_residency + s->hidden_stale +
                      s->hidden_tracked + s->hidden_spurious;
    uint64_t true_faults = s->true_not_present + s->true_protection + s->true_reserved;
    assert_int_equal(s->step1_exits,
                     s->step2_shadow_hits + hidden + true_faults + s->device_accesses);
    assert_int_equal(s->hidden_spurious, 0);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paging_off_is_identity),
        cmocka_unit_test(four_levels),
        cmocka_unit_test(stale_until_invlpg),
        cmocka_unit_test(cr3_write_flushes_by_comparing),
        cmocka_unit_test(global_only_with_pge),
        cmocka_unit_test(accessed_bit_cleared_by_the_guest),
        cmocka_unit_test(freed_table_is_not_reached),
        cmocka_unit_test(large_page_goes_as_a_whole),
        cmocka_unit_test(large_page_takes_memory_by_4_kib),
        cmocka_unit_test(pcids),
        cmocka_unit_test(mode_changes_find_other_roots),
        cmocka_unit_test(global_translations_have_one_tag),
        cmocka_unit_test(smap_knows_implicit_accesses),
        cmocka_unit_test(tracked_frames_are_not_writable),
        cmocka_unit_test(reset_forgets_all),
        cmocka_unit_test(device_pages_are_cached),
        cmocka_unit_test(counters_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
