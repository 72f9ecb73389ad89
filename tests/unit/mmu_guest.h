/* SPDX-License-Identifier: Apache-2.0 */
/* A guest made of tables only: what the tests of the MMU build their cases from. */
#ifndef UMBRA_TESTS_MMU_GUEST_H
#define UMBRA_TESTS_MMU_GUEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mem/mem.h"
#include "mmu/mmu.h"

#define P_  0x001u
#define W_  0x002u
#define U_  0x004u
#define A_  0x020u
#define D_  0x040u
#define PS_ 0x080u
#define G_  0x100u
#define NX_ (UINT64_C(1) << 63)
#define PWU (P_ | W_ | U_)

#define CR0_PG_WP   0x80010001u
#define CR0_PG_ONLY 0x80000001u
#define C4_PSE      0x10u
#define C4_PAE      0x20u
#define C4_PGE      0x80u
#define C4_LA57     0x1000u
#define C4_PCIDE    0x20000u
#define C4_SMEP     0x100000u
#define C4_SMAP     0x200000u
#define C4_PKE      0x400000u
#define EF_LM       0x500u
#define EF_NXE      0x800u

/* What the TLB was told. */
struct told {
    unsigned flush_all, flush_page, drop_frames, write_protect;
    uint64_t last_page;
    uint64_t last_frame;
};

struct guest {
    struct guest_mem *mem;
    struct mmu *mmu;
    struct mmu_context ctx;
    struct told told;
    uint64_t next_table;
};

static inline void told_flush_all(void *arg)
{
    ((struct told *)arg)->flush_all++;
}

static inline void told_flush_page(void *arg, gva_t gva)
{
    ((struct told *)arg)->flush_page++;
    ((struct told *)arg)->last_page = gva.v;
}

static inline void told_drop_frames(void *arg, const gfn_t *gfns, size_t count)
{
    ((struct told *)arg)->drop_frames++;
    ((struct told *)arg)->last_frame = gfns[count - 1].v;
}

static inline void told_write_protect(void *arg, gfn_t gfn)
{
    ((struct told *)arg)->write_protect++;
    ((struct told *)arg)->last_frame = gfn.v;
}

static inline void guest_open(struct guest *g, uint64_t bytes, bool oracle)
{
    memset(g, 0, sizeof *g);
    assert_int_equal(mem_create(&g->mem, bytes), ERR_OK);
    struct mmu_config config = {
        .mem = g->mem,
        .maxphyaddr = 40,
        .oracle = oracle,
        .tlb = {&g->told, told_flush_all, told_flush_page, told_drop_frames, told_write_protect},
    };
    assert_int_equal(mmu_create(&g->mmu, &config), ERR_OK);
    g->next_table = 0x10000;
}

static inline void guest_close(struct guest *g)
{
    if (!mmu_audit(g->mmu))
        fail_msg("audit: %s", err_text());
    assert_true(mem_check(g->mem));
    assert_int_equal(mmu_stats(g->mmu)->oracle_mismatches, 0);
    mmu_destroy(g->mmu);
    mem_destroy(g->mem);
}

static inline uint64_t rd64(struct guest *g, uint64_t gpa)
{
    uint64_t v = 0;
    assert_true(mem_read(g->mem, gpa_make(gpa), &v, 8));
    return v;
}

static inline uint32_t rd32(struct guest *g, uint64_t gpa)
{
    uint32_t v = 0;
    assert_true(mem_read(g->mem, gpa_make(gpa), &v, 4));
    return v;
}

static inline void wr64(struct guest *g, uint64_t gpa, uint64_t v)
{
    assert_true(mem_write(g->mem, gpa_make(gpa), &v, 8));
}

static inline void wr32(struct guest *g, uint64_t gpa, uint32_t v)
{
    assert_true(mem_write(g->mem, gpa_make(gpa), &v, 4));
}

static inline uint64_t new_table(struct guest *g)
{
    uint64_t t = g->next_table;
    g->next_table += 0x1000;
    return t;
}

static inline void enter(struct guest *g, enum mmu_switch how)
{
    mmu_set_context(g->mmu, &g->ctx, how);
}

/* 4-level tables at a fresh root. */
static inline void guest_long_mode(struct guest *g)
{
    g->ctx = (struct mmu_context){
        .cr0 = CR0_PG_WP, .cr3 = new_table(g), .cr4 = C4_PAE, .efer = EF_LM | EF_NXE};
    enter(g, MMU_SWITCH_FLUSH_ALL);
}

/* Address of the entry for gva at a level of 4-level tables; makes the tables above it. */
static inline uint64_t slot4(struct guest *g, uint64_t root, uint64_t gva, unsigned level)
{
    uint64_t table = root;
    for (unsigned l = 4;; l--) {
        uint64_t at = table + 8 * (gva >> (12 + 9 * (l - 1)) & 511);
        if (l == level)
            return at;
        uint64_t e = rd64(g, at);
        if (!(e & P_)) {
            e = new_table(g) | PWU;
            wr64(g, at, e);
        }
        table = e & UINT64_C(0xffffffffff000);
    }
}

static inline void map4(struct guest *g, uint64_t gva, uint64_t entry)
{
    wr64(g, slot4(g, g->ctx.cr3 & ~UINT64_C(0xfff), gva, 1), entry);
}

static inline struct mmu_result go(struct guest *g, uint64_t gva, enum mmu_access_kind kind,
                                   bool user)
{
    struct mmu_access a = {.gva = gva_make(gva), .kind = kind, .user = user};
    struct mmu_result r;
    memset(&r, 0, sizeof r);
    mmu_translate(g->mmu, &a, false, &r);
    return r;
}

#define SUP  false
#define USER true

#define assert_page(r, gpa_)                                                                       \
    do {                                                                                           \
        struct mmu_result r_ = (r);                                                                \
        assert_int_equal(r_.kind, MMU_MAPPED);                                                     \
        assert_int_equal(r_.page_gpa.v, (gpa_));                                                   \
    } while (0)

#define assert_fault(r, code)                                                                      \
    do {                                                                                           \
        struct mmu_result r_ = (r);                                                                \
        assert_int_equal(r_.kind, MMU_GUEST_FAULT);                                                \
        assert_int_equal(r_.error_code, (code));                                                   \
    } while (0)

#endif
