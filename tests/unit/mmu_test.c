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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paging_off_is_identity),
        cmocka_unit_test(four_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
