/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest walker per format: sizes of pages, odd tables, accessed and dirty bits, PDPTEs,
 * probing.
 */
#include "mmu_guest.h"

#define MIB UINT64_C(0x100000)

static void four_kib_two_mib_one_gib(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 64 * MIB, true);
    guest_long_mode(&g);
    wr64(&g, slot4(&g, g.ctx.cr3, 0x40000000, 3), 0x0 | PWU | PS_);
    wr64(&g, slot4(&g, g.ctx.cr3, 0x200000, 2), 0x400000 | PWU | PS_ | 0x1000 /* PAT */);
    map4(&g, 0x5000, 0x7000 | PWU);
    assert_page(go(&g, 0x40123456, MMU_READ, USER), 0x123000);
    assert_page(go(&g, 0x323456, MMU_READ, USER), 0x523000);
    assert_page(go(&g, 0x5fff, MMU_READ, USER), 0x7000);
    assert_int_equal(go(&g, 0x40000000 + 0x3fffffff, MMU_READ, USER).kind, MMU_DEVICE);
    assert_int_equal(go(&g, 0x40000000 + 0x3fffffff, MMU_READ, USER).gpa.v, 0x3fffffff);
    /* A large page may be part RAM, part not. */
    wr64(&g, slot4(&g, g.ctx.cr3, 0x600000, 2), (64 * MIB - 2 * MIB) | PWU | PS_);
    wr64(&g, slot4(&g, g.ctx.cr3, 0x800000, 2), (64 * MIB) | PWU | PS_);
    assert_page(go(&g, 0x7fffff, MMU_READ, USER), 64 * MIB - 0x1000);
    assert_int_equal(go(&g, 0x800000, MMU_READ, USER).kind, MMU_DEVICE);
    /* Reserved address bits of large pages. */
    wr64(&g, slot4(&g, g.ctx.cr3, 0xa00000, 2), 0x402000 | PWU | PS_);
    assert_fault(go(&g, 0xa00000, MMU_READ, SUP), PF_P | PF_RSVD);
    wr64(&g, slot4(&g, g.ctx.cr3, 0x80000000, 3), 0x200000 | PWU | PS_);
    assert_fault(go(&g, 0x80000000, MMU_WRITE, USER), PF_P | PF_RSVD | PF_W | PF_U);
    map4(&g, 0x6000, UINT64_C(1) << 40 | PWU);
    assert_fault(go(&g, 0x6000, MMU_READ, SUP), PF_P | PF_RSVD);
    /* Bits 52 to 58 mean nothing. */
    map4(&g, 0x8000, 0x9000 | PWU | UINT64_C(0x07f0) << 48);
    assert_page(go(&g, 0x8000, MMU_READ, SUP), 0x9000);
    guest_close(&g);
}

static void two_level(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 64 * MIB, true);
    g.ctx = (struct mmu_context){.cr0 = CR0_PG_WP, .cr3 = 0x10000, .cr4 = C4_PSE};
    enter(&g, MMU_SWITCH_FLUSH_ALL);
    wr32(&g, 0x10000 + 4 * 0x300, 0x11000 | PWU);
    wr32(&g, 0x11000 + 4 * 0x3ff, 0x5000 | P_ | U_);
    wr32(&g, 0x10000 + 4 * 0x301, 0x800000 | PWU | PS_);
    assert_page(go(&g, 0xc03ff008, MMU_READ, USER), 0x5000);
    assert_fault(go(&g, 0xc03ff008, MMU_WRITE, SUP), PF_P | PF_W);
    assert_int_equal(rd32(&g, 0x11000 + 4 * 0x3ff), 0x5000 | P_ | U_ | A_);
    assert_page(go(&g, 0xc0412345, MMU_WRITE, USER), 0x812000);
    assert_int_equal(rd32(&g, 0x10000 + 4 * 0x301), 0x800000 | PWU | PS_ | A_ | D_);
    /* PSE-36: address bits 39:32 at 20:13; bit 21 is reserved. */
    wr32(&g, 0x10000 + 4 * 0x302, 0x800000 | PWU | PS_ | 0xff << 13);
    struct mmu_result r = go(&g, 0xc0812345, MMU_READ, USER);
    assert_int_equal(r.kind, MMU_DEVICE);
    assert_int_equal(r.gpa.v, UINT64_C(0xff00812345));
    wr32(&g, 0x10000 + 4 * 0x303, 0x800000 | PWU | PS_ | 1 << 21);
    assert_fault(go(&g, 0xc0c00000, MMU_READ, USER), PF_P | PF_RSVD | PF_U);
    /* Without CR4.PSE the bit means nothing. */
    g.ctx.cr4 = 0;
    enter(&g, MMU_SWITCH_FLUSH_ALL);
    wr32(&g, 0x10000 + 4 * 0x301, 0x11000 | PWU | PS_);
    assert_page(go(&g, 0xc07ff008, MMU_READ, USER), 0x5000);
    /* A fetch is not told apart without SMEP. */
    wr32(&g, 0x11000 + 4, 0x6000 | P_);
    assert_fault(go(&g, 0xc0001000, MMU_FETCH, USER), PF_P | PF_U);
    guest_close(&g);
}

static void pae(void **state)
{
    struct guest g;
    uint64_t pdpte[4];
    (void)state;

    guest_open(&g, 64 * MIB, true);
    wr64(&g, 0x10060, 0x11000 | P_);
    wr64(&g, 0x10078, 0x12000 | P_ | 0x18);
    assert_int_equal(mmu_load_pdptes(g.mmu, 0x10060, pdpte), MMU_PDPTES_OK);
    assert_int_equal(pdpte[0], 0x11000 | P_);
    assert_int_equal(pdpte[3], 0x12000 | P_ | 0x18);
    wr64(&g, 0x10068, W_); /* not present: its other bits do not matter */
    assert_int_equal(mmu_load_pdptes(g.mmu, 0x10060, pdpte), MMU_PDPTES_OK);
    wr64(&g, 0x10068, P_ | W_);
    assert_int_equal(mmu_load_pdptes(g.mmu, 0x10060, pdpte), MMU_PDPTES_RESERVED);
    wr64(&g, 0x10068, P_ | UINT64_C(1) << 40);
    assert_int_equal(mmu_load_pdptes(g.mmu, 0x10060, pdpte), MMU_PDPTES_RESERVED);
    wr64(&g, 0x10068, 0);
    assert_int_equal(mmu_load_pdptes(g.mmu, 0xfee00000, pdpte), MMU_PDPTES_OK); /* not RAM */
    assert_int_equal(pdpte[0], 0);

    g.ctx = (struct mmu_context){.cr0 = CR0_PG_WP, .cr3 = 0x10060, .cr4 = C4_PAE, .efer = EF_NXE};
    assert_int_equal(mmu_load_pdptes(g.mmu, g.ctx.cr3, g.ctx.pdpte), MMU_PDPTES_OK);
    enter(&g, MMU_SWITCH_FLUSH_ALL);
    wr64(&g, 0x12ff8, 0x13000 | PWU);
    wr64(&g, 0x13ff8, 0x5000 | PWU | NX_);
    wr64(&g, 0x11008, 0x600000 | PWU | PS_);
    assert_page(go(&g, 0xfffff123, MMU_WRITE, USER), 0x5000);
    assert_fault(go(&g, 0xfffff123, MMU_FETCH, USER), PF_P | PF_U | PF_I);
    assert_page(go(&g, 0x3ff000, MMU_FETCH, USER), 0x7ff000);
    assert_fault(go(&g, 0x40000000, MMU_READ, USER), PF_U);
    assert_int_equal(rd64(&g, 0x10060), 0x11000 | P_); /* PDPTEs have no accessed bit */
    /* The registers count, not the memory, until CR3 is loaded again. */
    wr64(&g, 0x10060, 0);
    mmu_invlpg(g.mmu, gva_make(0x3ff000));
    assert_page(go(&g, 0x3ff000, MMU_FETCH, USER), 0x7ff000);
    assert_int_equal(mmu_load_pdptes(g.mmu, g.ctx.cr3, g.ctx.pdpte), MMU_PDPTES_OK);
    enter(&g, MMU_SWITCH_FLUSH);
    assert_fault(go(&g, 0x3ff000, MMU_FETCH, USER), PF_U | PF_I);
    /* Bits 52 to 62 are reserved here. */
    wr64(&g, 0x13008, 0x5000 | PWU | UINT64_C(1) << 55);
    assert_fault(go(&g, 0xffe01000, MMU_READ, USER), PF_P | PF_RSVD | PF_U);
    guest_close(&g);
}

static void five_levels(void **state)
{
    struct guest g;
    const uint64_t va = UINT64_C(0x00fe123456789000);
    (void)state;

    guest_open(&g, 16 * MIB, true);
    g.ctx = (struct mmu_context){
        .cr0 = CR0_PG_WP, .cr3 = 0x10000, .cr4 = C4_PAE | C4_LA57, .efer = EF_LM};
    enter(&g, MMU_SWITCH_FLUSH_ALL);
    uint64_t table = 0x10000;
    for (unsigned l = 5; l >= 1; l--) {
        wr64(&g, table + 8 * (va >> (12 + 9 * (l - 1)) & 511),
             (l > 1 ? table + 0x1000 : 0x5000) | PWU);
        table += 0x1000;
    }
    assert_page(go(&g, va, MMU_WRITE, USER), 0x5000);
    assert_fault(go(&g, va ^ UINT64_C(1) << 48, MMU_READ, SUP), 0);
    wr64(&g, 0x10000 + 8 * (va >> 48 & 511), 0x11000 | PWU | PS_);
    mmu_invlpg(g.mmu, gva_make(va));
    assert_fault(go(&g, va, MMU_READ, SUP), PF_P | PF_RSVD);
    guest_close(&g);
}

static void accessed_and_dirty(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    map4(&g, 0x1000, 0x5000 | P_); /* supervisor, read only */
    uint64_t pte = slot4(&g, g.ctx.cr3, 0x1000, 1), pde = slot4(&g, g.ctx.cr3, 0x1000, 2);
    uint64_t absent = slot4(&g, g.ctx.cr3, 0x2000, 1);
    /* A walk that meets an absent entry marks what it went through, and nothing else. */
    assert_fault(go(&g, 0x2000, MMU_WRITE, SUP), PF_W);
    assert_int_equal(rd64(&g, pde) & (A_ | D_), A_);
    assert_int_equal(rd64(&g, absent), 0);
    assert_fault(go(&g, 0x1000, MMU_READ, USER), PF_P | PF_U);
    assert_fault(go(&g, 0x1000, MMU_WRITE, SUP), PF_P | PF_W);
    assert_int_equal(rd64(&g, pte), 0x5000 | P_);
    assert_page(go(&g, 0x1000, MMU_READ, SUP), 0x5000);
    assert_int_equal(rd64(&g, pte), 0x5000 | P_ | A_);
    wr64(&g, pte, 0x5000 | P_ | W_ | A_);
    mmu_invlpg(g.mmu, gva_make(0x1000));
    assert_page(go(&g, 0x1000, MMU_READ, SUP), 0x5000);
    assert_int_equal(rd64(&g, pte) & D_, 0);
    assert_true(go(&g, 0x1000, MMU_WRITE, SUP).may_write);
    assert_int_equal(rd64(&g, pte), 0x5000 | P_ | W_ | A_ | D_);
    assert_int_equal(rd64(&g, pde) & D_, 0);
    guest_close(&g);
}

static void written_tracked_table(void *arg, gpa_t gpa, size_t bytes)
{
    uint64_t *seen = arg;
    seen[0]++;
    seen[1] = gpa.v;
    seen[2] = bytes;
}

static void trackers_hear_of_accessed_bits(void **state)
{
    struct guest g;
    uint64_t seen[3] = {0};
    const struct mem_observer ob = {.arg = seen, .written = written_tracked_table};
    (void)state;

    guest_open(&g, 16 * MIB, true);
    guest_long_mode(&g);
    map4(&g, 0x3000, 0x5000 | PWU);
    uint64_t pte = slot4(&g, g.ctx.cr3, 0x3000, 1);
    assert_int_equal(mem_add_observer(g.mem, &ob), ERR_OK);
    mem_track_set(g.mem, gfn_make(pte >> 12), MEM_TRACK_CODE);
    go(&g, 0x3000, MMU_READ, USER);
    assert_int_equal(seen[0], 1);
    assert_int_equal(seen[1], pte);
    assert_int_equal(seen[2], 8);
    go(&g, 0x3000, MMU_WRITE, USER);
    assert_int_equal(seen[0], 2);
    go(&g, 0x3000, MMU_WRITE, USER);
    assert_int_equal(seen[0], 2);
    mem_remove_observer(g.mem, seen);
    guest_close(&g);
}

static void tables_in_odd_places(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 16 * MIB, true);
    /* Root never touched: reads as zeros and costs nothing. */
    g.ctx = (struct mmu_context){
        .cr0 = CR0_PG_WP, .cr3 = 0x800000, .cr4 = C4_PAE, .efer = EF_LM | EF_NXE};
    enter(&g, MMU_SWITCH_FLUSH_ALL);
    assert_fault(go(&g, 0x1000, MMU_READ, SUP), 0);
    assert_int_equal(mem_ledger(g.mem).pages[PAGE_RESIDENT], 0);
    /* It becomes a real page later: the shadow must look at the new one. */
    guest_long_mode(&g);
    g.ctx.cr3 = 0x800000;
    enter(&g, MMU_SWITCH_FLUSH);
    assert_fault(go(&g, 0x1000, MMU_READ, SUP), 0);
    map4(&g, 0x1000, 0x5000 | PWU);
    assert_page(go(&g, 0x1000, MMU_READ, SUP), 0x5000);
    /* Root in a device, in the hole, beyond memory: all ones, a reserved bit is set. */
    const uint64_t odd[] = {0xfee00000, MEM_HOLE_START, UINT64_C(0xfffffff000)};
    for (unsigned i = 0; i < 3; i++) {
        g.ctx.cr3 = odd[i];
        enter(&g, MMU_SWITCH_FLUSH);
        assert_fault(go(&g, 0x1000, MMU_WRITE, USER), PF_P | PF_RSVD | PF_W | PF_U);
    }
    /* Lower tables likewise. */
    g.ctx.cr3 = 0x800000;
    enter(&g, MMU_SWITCH_FLUSH);
    wr64(&g, slot4(&g, g.ctx.cr3, 0x200000, 2), 0xfee00000 | PWU);
    assert_fault(go(&g, 0x200000, MMU_READ, SUP), PF_P | PF_RSVD);
    /*
     * 32-bit entries of all ones are legal without PSE: PDE and PTE in a device lead to a device.
     */
    g.ctx = (struct mmu_context){.cr0 = CR0_PG_WP, .cr3 = 0xfee00000};
    enter(&g, MMU_SWITCH_FLUSH_ALL);
    struct mmu_result r = go(&g, 0x1234, MMU_WRITE, USER);
    assert_int_equal(r.kind, MMU_DEVICE);
    assert_int_equal(r.gpa.v, 0xfffff234);
    guest_close(&g);
}

static void probe_changes_nothing(void **state)
{
    struct guest g;
    gpa_t gpa;
    (void)state;

    guest_open(&g, 16 * MIB, false);
    assert_true(mmu_probe(g.mmu, gva_make(0x123), &gpa));
    assert_int_equal(gpa.v, 0x123);
    guest_long_mode(&g);
    map4(&g, 0x7000, 0x5000 | P_);
    assert_true(mmu_probe(g.mmu, gva_make(0x7abc), &gpa));
    assert_int_equal(gpa.v, 0x5abc);
    assert_int_equal(rd64(&g, slot4(&g, g.ctx.cr3, 0x7000, 1)), 0x5000 | P_);
    assert_false(mmu_probe(g.mmu, gva_make(0x8000), &gpa));
    wr64(&g, slot4(&g, g.ctx.cr3, 0x200000, 2), 0x900000 | PWU);
    assert_false(mmu_probe(g.mmu, gva_make(0x200000), &gpa));
    assert_int_equal(mem_page_state(g.mem, gfn_make(0x900)), PAGE_ABSENT);
    assert_int_equal(mmu_stats(g.mmu)->shadow_pages, 0);
    guest_close(&g);
}

static void widths(void **state)
{
    struct guest_mem *mem;
    struct mmu *mmu;
    (void)state;

    assert_int_equal(mem_create(&mem, MIB), ERR_OK);
    for (unsigned bits = 30; bits <= 54; bits++) {
        const struct mmu_config config = {.mem = mem, .maxphyaddr = bits};
        enum err err = mmu_create(&mmu, &config);
        assert_int_equal(err, bits < 32 || bits > 52 ? ERR_INVAL : ERR_OK);
        mmu_destroy(mmu);
    }
    mem_destroy(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_kib_two_mib_one_gib),
        cmocka_unit_test(two_level),
        cmocka_unit_test(pae),
        cmocka_unit_test(five_levels),
        cmocka_unit_test(accessed_and_dirty),
        cmocka_unit_test(trackers_hear_of_accessed_bits),
        cmocka_unit_test(tables_in_odd_places),
        cmocka_unit_test(probe_changes_nothing),
        cmocka_unit_test(widths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
