/* SPDX-License-Identifier: Apache-2.0 */
/* Who watches the watchers: every damage done on purpose is found by the audit or by the oracle. */
#include "mmu/internal.h"
#include "mmu_guest.h"

#define MIB     UINT64_C(0x100000)
#define FRAME_A 0x400000
#define FRAME_B 0x401000

static void open_mapped(struct guest *g, bool oracle)
{
    guest_open(g, 16 * MIB, oracle);
    guest_long_mode(g);
    for (unsigned i = 0; i < 8; i++) {
        map4(g, 0x1000 * i, (FRAME_A + 0x1000 * i) | PWU);
        assert_page(go(g, 0x1000 * i, MMU_WRITE, USER), FRAME_A + 0x1000 * i);
    }
}

static struct shadow_page *page_at(struct guest *g, unsigned level)
{
    struct shadow_page *p = g->mmu->cur->page;
    while (p->level > level)
        p = spte_child(p->spte[0]);
    return p;
}

/* Each damage is undone, so that the next one is alone. */
#define assert_found(what)                                                                         \
    do {                                                                                           \
        if (mmu_audit(g.mmu))                                                                      \
            fail_msg("not found: %s", what);                                                       \
        assert_true(strlen(err_text()) > 10);                                                      \
    } while (0)

#define damage(type, place, value)                                                                 \
    do {                                                                                           \
        type *at_ = &(place), old_ = *at_;                                                         \
        *at_ = (type)(value);                                                                      \
        assert_found(#place " = " #value);                                                         \
        *at_ = old_;                                                                               \
        assert_true(mmu_audit(g.mmu));                                                             \
    } while (0)

static void audit_finds_damage(void **state)
{
    struct guest g;
    (void)state;

    open_mapped(&g, false);
    struct shadow_page *leaf = page_at(&g, 1), *up = page_at(&g, 2);
    damage(uint64_t, leaf->spte[3], leaf->spte[3] ^ SPTE_W);
    damage(uint64_t, leaf->spte[3], leaf->spte[3] ^ SPTE_U);
    damage(uint64_t, leaf->spte[3], leaf->spte[3] ^ SPTE_NX);
    damage(uint64_t, leaf->spte[3], leaf->spte[3] ^ SPTE_D);
    damage(uint64_t, leaf->spte[3], leaf->spte[3] + 0x1000);
    damage(uint64_t, leaf->spte[3], 0);
    damage(uint64_t, leaf->raw[3], leaf->raw[3] & ~(uint64_t)P_);
    damage(uint64_t, leaf->raw[3], leaf->raw[3] + 0x1000);
    damage(uint64_t, leaf->present[0], leaf->present[0] ^ 8);
    damage(uint16_t, leaf->present_count, 7);
    damage(node_id, leaf->chain[3].prev, 77);
    damage(node_id, leaf->chain[3].next, leaf->id << NODE_INDEX_BITS | 4);
    damage(node_id, leaf->chain[3].next, leaf->id << NODE_INDEX_BITS | 100);
    damage(node_id, leaf->parents, 0);
    damage(node_id, *rmap_head(g.mmu, gfn_make((FRAME_A >> 12) + 3)), 0);
    damage(uint64_t, leaf->gva, 0x200000);
    damage(uint32_t, leaf->role, leaf->role | ROLE_NX);
    damage(uint32_t, up->role, up->role & ~(uint32_t)ROLE_WRITE);
    damage(uint64_t, up->raw[0], up->raw[0] + 0x1000);
    damage(uint64_t, g.mmu->stats.shadow_pages, 3);
    damage(uint64_t, g.mmu->quota_pages, 3);
    guest_close(&g);
}

static void audit_finds_twins(void **state)
{
    struct guest g;
    (void)state;

    open_mapped(&g, false);
    struct shadow_page *leaf = page_at(&g, 1), *up = page_at(&g, 3);
    struct shadow_page copy = *leaf;
    copy.hash_next = NULL;
    struct shadow_page *tail = leaf;
    while (tail->hash_next)
        tail = tail->hash_next;
    tail->hash_next = &copy;
    assert_found("two pages with one key");
    tail->hash_next = NULL;
    /* A parent that does not link here. */
    node_id old = leaf->parents;
    leaf->parents = up->parents;
    assert_found("a parent of somebody else");
    leaf->parents = old;
    guest_close(&g);
}

/* Answers that no CPU could give: the oracle sees each of them. */
static void oracle_finds_damage(void **state)
{
    struct guest g;
    (void)state;

    open_mapped(&g, true);
    struct shadow_page *leaf = page_at(&g, 1);
    assert_page(go(&g, 0x3000, MMU_WRITE, USER), FRAME_A + 0x3000);
    assert_int_equal(mmu_stats(g.mmu)->oracle_mismatches, 0);
    const uint64_t flips[] = {SPTE_NX, 0x2000, SPTE_DV};
    for (unsigned i = 0; i < 3; i++) {
        leaf->spte[3] ^= flips[i];
        go(&g, 0x3000, MMU_READ, USER);
        leaf->spte[3] ^= flips[i];
        assert_int_equal(mmu_stats(g.mmu)->oracle_mismatches, i + 1);
    }
    /* A translation that outlives its flush. */
    uint64_t spte = leaf->spte[3], raw = leaf->raw[3];
    map4(&g, 0x3000, FRAME_B | PWU | A_ | D_);
    mmu_invlpg(g.mmu, gva_make(0x3000));
    go(&g, 0x3000, MMU_READ, USER);
    shadow_set_leaf(g.mmu, leaf, 3, raw, spte);
    go(&g, 0x3000, MMU_READ, USER);
    assert_int_equal(mmu_stats(g.mmu)->oracle_mismatches, 4);
    /* A fault that is none, and an error code that is wrong. */
    struct mmu_access a = {.gva = gva_make(0x4000), .kind = MMU_READ, .user = true};
    struct mmu_result r = {.kind = MMU_GUEST_FAULT, .error_code = PF_U};
    oracle_check(g.mmu->oracle, &a, false, &r, false);
    assert_int_equal(mmu_stats(g.mmu)->oracle_mismatches, 5);
    a.gva = gva_make(0x9000);
    r.error_code = PF_U | PF_P;
    oracle_check(g.mmu->oracle, &a, false, &r, false);
    assert_int_equal(mmu_stats(g.mmu)->oracle_mismatches, 6);
    r.error_code = PF_U;
    oracle_check(g.mmu->oracle, &a, false, &r, false);
    assert_int_equal(mmu_stats(g.mmu)->oracle_mismatches, 6);
    /* A write that was promised although somebody wants to hear of it. */
    r = go(&g, 0x5000, MMU_WRITE, USER);
    a = (struct mmu_access){.gva = gva_make(0x5000), .kind = MMU_WRITE, .user = true};
    mem_track_set(g.mem, gfn_make((FRAME_A >> 12) + 5), MEM_TRACK_CODE);
    oracle_check(g.mmu->oracle, &a, false, &r, true);
    assert_int_equal(mmu_stats(g.mmu)->oracle_mismatches, 7);
    g.mmu->stats.oracle_mismatches = 0;
    guest_close(&g);
}

/* Many pages in one set of the oracle's memory: what it forgot it does not judge. */
static void oracle_forgets_fairly(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    uint64_t pde = slot4(&g, g.ctx.cr3, 0x200000, 2);
    hva_t hva;
    bool writable;
    for (uint64_t f = 0; f < 16 * MIB >> 12; f++)
        assert_int_equal(mem_make_resident(g.mem, gfn_make(f), MEM_FOR_READ, &hva, &writable),
                         MEM_OK);
    for (unsigned i = 0; i < 40; i++) {
        wr64(&g, pde, (uint64_t)(i % 7) << 21 | PWU | PS_);
        mmu_invlpg(g.mmu, gva_make(0x200000));
        go(&g, 0x200000 + 0x1000 * i, MMU_READ, USER);
        wr64(&g, pde, UINT64_C(7) << 21 | PWU | PS_);
        go(&g, 0x3ff000 - 0x1000 * i, MMU_READ, USER);
    }
    assert_true(mmu_stats(g.mmu)->oracle_stale_allowed >= 40);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(audit_finds_damage),
        cmocka_unit_test(audit_finds_twins),
        cmocka_unit_test(oracle_finds_damage),
        cmocka_unit_test(oracle_forgets_fairly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
