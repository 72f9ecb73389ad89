/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses explained: what `umbra walk` says, against tables whose every entry is known. */
#include "mmu_guest.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "control/pagemap.h"
#include "control/walk.h"
#include "mmu/explain.h"

#define GVA UINT64_C(0x7f0000201000)

static struct mmu_explain explain(struct guest *g, uint64_t gva)
{
    struct mmu_explain w;

    mmu_explain(g->mmu, gva_make(gva), NULL, &w);
    return w;
}

static void open_long_mode(struct guest *g)
{
    guest_open(g, 16u << 20, false);
    guest_long_mode(g);
    map4(g, GVA, 0x300000 | PWU);
}

static void levels_and_formula(void **state)
{
    struct guest g;
    const uint64_t gva = GVA + 0x123;

    (void)state;
    open_long_mode(&g);
    struct mmu_explain w = explain(&g, gva);
    assert_int_equal(w.end, MMU_WALK_MAPPED);
    for (unsigned level = 4; level >= 1; level--) {
        const struct mmu_explain_level *l = &w.level[level];
        uint64_t at = slot4(&g, g.ctx.cr3, gva, level);
        assert_true(l->read);
        assert_int_equal(l->index, gva >> (12 + 9 * (level - 1)) & 511);
        assert_int_equal(l->entry_gpa.v, at);
        assert_int_equal(l->entry, rd64(&g, at));
        assert_int_equal(l->place, MMU_TABLE_IN_RAM);
    }
    assert_int_equal(w.gpa.v, 0x300123);
    assert_int_equal(w.hva_formula.v, mem_find_slot(g.mem, gfn_make(0x300))->userspace_addr.v +
                                          ((UINT64_C(0x300) - 0) << 12));
    assert_true(w.as_user.write && w.as_kernel.write && w.as_user.exec);
    guest_close(&g);
}

/* Looking changes nothing: no state, no counter, no bit of the guest's. */
static void changes_nothing(void **state)
{
    struct guest g;

    (void)state;
    open_long_mode(&g);
    const struct mem_ledger ledger = mem_ledger(g.mem);
    const struct mmu_stats stats = *mmu_stats(g.mmu);
    const uint64_t leaf = slot4(&g, g.ctx.cr3, GVA, 1), entry = rd64(&g, leaf);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t other = UINT64_C(0x900000);
        struct mmu_explain w = explain(&g, GVA + i * 0x1000);
        mmu_explain(g.mmu, gva_make(GVA), &other, &w);
    }
    assert_int_equal(rd64(&g, leaf), entry);
    assert_memory_equal(&stats, mmu_stats(g.mmu), sizeof stats);
    const struct mem_ledger after = mem_ledger(g.mem);
    assert_memory_equal(&ledger, &after, sizeof ledger);
    guest_close(&g);
}

static void agreement(void **state)
{
    struct guest g;
    struct mmu_explain w;

    (void)state;
    open_long_mode(&g);
    assert_int_equal(explain(&g, GVA).agreement, MMU_MISSING);
    go(&g, GVA, MMU_READ, USER);
    w = explain(&g, GVA);
    assert_int_equal(w.agreement, MMU_AGREE);
    assert_int_equal(w.state, PAGE_ZERO);
    assert_true(w.hva_is_zero_page);
    assert_int_equal(w.withheld, MMU_WITHHELD_CLEAN | MMU_WITHHELD_RESIDENCE);
    assert_int_equal(w.level[1].shadow, MMU_SHADOW_LEAF);
    assert_int_equal(w.level[4].shadow, MMU_SHADOW_LINK);
    assert_int_equal(w.level[3].role.level, 3);
    assert_int_equal(w.mappings, 1);
    go(&g, GVA, MMU_WRITE, USER);
    w = explain(&g, GVA);
    assert_int_equal(w.withheld, 0);
    assert_int_equal(w.level[1].spte.hva.v, w.hva_formula.v);
    mem_track_set(g.mem, gfn_make(0x300), MEM_TRACK_CODE);
    assert_int_equal(explain(&g, GVA).withheld, MMU_WITHHELD_CODE);

    /* the guest edits its table without a flush */
    map4(&g, GVA, 0x555000 | PWU | A_ | D_);
    w = explain(&g, GVA);
    assert_int_equal(w.agreement, MMU_STALE);
    assert_int_equal(w.gpa.v, 0x555000);
    assert_int_equal(w.level[1].spte.raw, 0x300000 | PWU | A_ | D_);
    map4(&g, GVA, 0);
    w = explain(&g, GVA);
    assert_int_equal(w.end, MMU_WALK_NOT_PRESENT);
    assert_int_equal(w.agreement, MMU_STALE);
    mmu_invlpg(g.mmu, gva_make(GVA));
    assert_int_equal(explain(&g, GVA).agreement, MMU_MISSING);
    guest_close(&g);
}

static void where_walks_stop(void **state)
{
    struct guest g;
    struct mmu_explain w;

    (void)state;
    open_long_mode(&g);
    assert_int_equal(explain(&g, UINT64_C(1) << 47).end, MMU_WALK_NOT_CANONICAL);
    assert_int_equal(explain(&g, UINT64_C(0xffff7fffffffffff)).end, MMU_WALK_NOT_CANONICAL);
    w = explain(&g, UINT64_C(0xffff800000000000));
    assert_int_equal(w.end, MMU_WALK_NOT_PRESENT);
    assert_int_equal(w.last, 4);
    map4(&g, GVA + 0x1000, 0x301000 | PWU | UINT64_C(1) << 45);
    w = explain(&g, GVA + 0x1000);
    assert_int_equal(w.end, MMU_WALK_RESERVED);
    assert_int_equal(w.level[1].reserved, UINT64_C(1) << 45);
    wr64(&g, slot4(&g, g.ctx.cr3, GVA + (1u << 21), 2), UINT64_C(0xd0000000) | PWU);
    w = explain(&g, GVA + (1u << 21));
    assert_int_equal(w.level[1].place, MMU_TABLE_NOT_RAM);
    assert_int_equal(w.end, MMU_WALK_RESERVED);
    wr64(&g, slot4(&g, g.ctx.cr3, GVA + (2u << 21), 2), 0xa00000 | PWU);
    w = explain(&g, GVA + (2u << 21));
    assert_int_equal(w.level[1].place, MMU_TABLE_ABSENT);
    assert_int_equal(w.end, MMU_WALK_NOT_PRESENT);
    map4(&g, GVA + 0x2000, UINT64_C(0xfee00000) | PWU);
    w = explain(&g, GVA + 0x2000);
    assert_int_equal(w.end, MMU_WALK_MAPPED);
    assert_null(w.slot);
    guest_close(&g);
}

static void other_formats(void **state)
{
    struct guest g;
    struct mmu_explain w;

    (void)state;
    guest_open(&g, 16u << 20, false);
    w = explain(&g, 0x1234); /* paging is off */
    assert_int_equal(w.end, MMU_WALK_MAPPED);
    assert_int_equal(w.gpa.v, 0x1234);
    assert_int_equal(w.level[3].place, MMU_TABLE_IN_REGISTERS);
    assert_int_equal(explain(&g, UINT64_C(1) << 32).end, MMU_WALK_NOT_CANONICAL);

    g.ctx = (struct mmu_context){.cr0 = CR0_PG_WP, .cr3 = 0x20000, .cr4 = C4_PSE};
    wr32(&g, 0x20000 + 4 * 1, 0x21000 | PWU);
    wr32(&g, 0x21000 + 4 * 2, 0x305000 | P_ | W_);
    enter(&g, MMU_SWITCH_FLUSH_ALL);
    w = explain(&g, 0x402abc);
    assert_int_equal(w.gpa.v, 0x305abc);
    assert_int_equal(w.level[2].entry_gpa.v, 0x20004);
    assert_false(w.as_user.read);
    assert_true(w.as_kernel.write);

    g.ctx = (struct mmu_context){
        .cr0 = CR0_PG_WP, .cr3 = 0x22020, .cr4 = C4_PAE, .pdpte = {0x23000 | P_}};
    wr64(&g, 0x23000, 0x24000 | PWU);
    wr64(&g, 0x24000 + 8 * 5, 0x306000 | PWU);
    enter(&g, MMU_SWITCH_FLUSH_ALL);
    w = explain(&g, 0x5001);
    assert_int_equal(w.gpa.v, 0x306001);
    assert_int_equal(w.cr3, 0x22020);
    /* another PAE address space, whose registers are read from memory */
    uint64_t cr3 = 0x22040;
    wr64(&g, 0x22040, 0x25000 | P_);
    wr64(&g, 0x25000, 0x400000 | PWU | PS_);
    mmu_explain(g.mmu, gva_make(0x5001), &cr3, &w);
    assert_int_equal(w.gpa.v, 0x405001);
    assert_true(w.level[2].large);
    assert_false(w.root_known);
    guest_close(&g);
}

static void other_address_spaces(void **state)
{
    struct guest g;
    struct mmu_explain w;
    struct mmu_root_info roots[MMU_ROOTS_MAX];

    (void)state;
    open_long_mode(&g);
    go(&g, GVA, MMU_READ, USER);
    const uint64_t first = g.ctx.cr3;
    guest_long_mode(&g);
    map4(&g, GVA, 0x400000 | PWU);
    go(&g, GVA, MMU_READ, USER);
    assert_int_equal(explain(&g, GVA).gpa.v, 0x400000);
    mmu_explain(g.mmu, gva_make(GVA), &first, &w);
    assert_int_equal(w.gpa.v, 0x300000);
    assert_int_equal(w.agreement, MMU_AGREE);
    assert_true(w.root_known && !w.is_current);
    size_t count = mmu_roots(g.mmu, roots, MMU_ROOTS_MAX);
    assert_int_equal(count, 3); /* with the one of reset */
    assert_true(roots[0].is_current);
    assert_int_equal(roots[0].cr3, g.ctx.cr3);
    assert_int_equal(roots[1].cr3, first);
    assert_true(roots[1].used > roots[2].used);
    assert_int_equal(mmu_roots(g.mmu, roots, 2), 2);
    assert_int_equal(roots[1].cr3, first);
    guest_close(&g);
}

static void longest_chain(void **state)
{
    struct guest g;
    gfn_t gfn;

    (void)state;
    open_long_mode(&g);
    assert_int_equal(mmu_longest_chain(g.mmu, &gfn), 0);
    for (uint64_t i = 1; i <= 9; i++) {
        map4(&g, GVA + (i << 12), 0x301000 | PWU);
        go(&g, GVA + (i << 12), MMU_READ, USER);
    }
    go(&g, GVA, MMU_READ, USER);
    assert_int_equal(mmu_longest_chain(g.mmu, &gfn), 9);
    assert_int_equal(gfn.v, 0x301);
    assert_int_equal(explain(&g, GVA + 0x1000).mappings, 9);
    guest_close(&g);
}

static json_t *walk_of(struct guest *g, uint64_t gva)
{
    struct mmu_explain w = explain(g, gva);
    json_t *object = walk_json(&w);

    assert_non_null(object);
    return object;
}

static void as_json_and_words(void **state)
{
    struct guest g;
    char *text = NULL, want[96];
    size_t size = 0;

    (void)state;
    open_long_mode(&g);
    go(&g, GVA, MMU_WRITE, USER);
    json_t *walk = walk_of(&g, GVA + 0x10);
    json_t *levels = json_object_get(walk, "levels");
    assert_int_equal(json_array_size(levels), 4);
    assert_string_equal(json_string_value(json_object_get(json_array_get(levels, 3), "bits")),
                        "P W U A D");
    assert_string_equal(json_string_value(json_object_get(walk, "gpa")), "0x300010");
    assert_string_equal(json_string_value(json_object_get(walk, "state")), "resident");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(walk, "shadow"), "verdict")), "agree");
    FILE *f = open_memstream(&text, &size);
    walk_print(walk, f);
    fclose(f);
    uint64_t base = mem_find_slot(g.mem, gfn_make(0))->userspace_addr.v;
    snprintf(want, sizeof want,
             "HVA   0x%" PRIx64 " = 0x%" PRIx64 " + ((0x300 - 0x0) << 12) + 0x10\n",
             base + 0x300010, base);
    assert_non_null(strstr(text, want));
    assert_non_null(strstr(
        text,
        "PML4 254 (bits 47:39) | PDPT 0 (bits 38:30) | PD 1 (bits 29:21) | PT 1 (bits 20:12)"));
    assert_non_null(strstr(text, "=> guest and shadow agree\n"));
    free(text);
    json_decref(walk);
    guest_close(&g);
}

/* Each way a walk can end prints something, and nothing that is not there. */
static void words_for_every_end(void **state)
{
    struct guest g;
    const uint64_t addresses[] = {
        GVA, GVA + 0x1000, GVA + 0x2000, GVA + (1u << 21), UINT64_C(1) << 60, 0};

    (void)state;
    open_long_mode(&g);
    map4(&g, GVA + 0x2000, UINT64_C(0xfee00000) | PWU);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);
        json_t *walk = walk_of(&g, addresses[i]);
        walk_print(walk, f);
        fclose(f);
        assert_true(size > 100);
        assert_null(strstr(text, "?"));
        free(text);
        json_decref(walk);
    }
    guest_close(&g);
}

static void host_pages(void **state)
{
    struct pagemap_page page;

    (void)state;
    pagemap_decode(UINT64_C(1) << 63 | 0x1234, hva_make(0x7f0000000abc), &page);
    assert_int_equal(page.kind, PAGEMAP_PRESENT);
    assert_int_equal(page.hpa, 0x1234abc);
    pagemap_decode(UINT64_C(1) << 63, hva_make(0), &page);
    assert_int_equal(page.kind, PAGEMAP_HIDDEN);
    assert_non_null(strstr(page.text, "CAP_SYS_ADMIN"));
    pagemap_decode(UINT64_C(1) << 62 | 5, hva_make(0), &page);
    assert_int_equal(page.kind, PAGEMAP_SWAPPED);
    pagemap_decode(0, hva_make(0), &page);
    assert_int_equal(page.kind, PAGEMAP_NONE);
    pagemap_look_up(hva_from_ptr(&page), &page);
    assert_true(page.kind == PAGEMAP_PRESENT || page.kind == PAGEMAP_HIDDEN ||
                page.kind == PAGEMAP_UNREADABLE);
    assert_true(page.text[0]);
}

/* Memory of a file, touched by another mapping only, is there. */
static void host_pages_of_a_file(void **state)
{
    int fd = memfd_create("explain", MFD_CLOEXEC);
    struct pagemap_page page;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 2 * PAGE_SIZE), 0);
    char *map = mmap(NULL, 2 * PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(pwrite(fd, "x", 1, 0), 1);
    pagemap_look_up(hva_from_ptr(map + 5), &page);
    assert_true(page.kind == PAGEMAP_HIDDEN || page.kind == PAGEMAP_UNREADABLE);
    munmap(map, 2 * PAGE_SIZE);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_and_formula),
        cmocka_unit_test(changes_nothing),
        cmocka_unit_test(agreement),
        cmocka_unit_test(where_walks_stop),
        cmocka_unit_test(other_formats),
        cmocka_unit_test(other_address_spaces),
        cmocka_unit_test(longest_chain),
        cmocka_unit_test(as_json_and_words),
        cmocka_unit_test(words_for_every_end),
        cmocka_unit_test(host_pages),
        cmocka_unit_test(host_pages_of_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
