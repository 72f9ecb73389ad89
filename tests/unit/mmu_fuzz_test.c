/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random guests against the oracle: tables that point anywhere (at each other, at themselves, at
 * devices, past the end of memory), edited at random between accesses and flushes of every kind. A
 * model of an engine's TLB sits in front, so that tags, single-page flushes and the reverse map are
 * judged too.
 */
#include <stdio.h>

#include "mmu/internal.h"
#include "mmu_guest.h"
#include "pressure.h"

#define MIB        UINT64_C(0x100000)
#define MEMORY     (4 * MIB)
#define TABLES     20u
#define TABLE_AT   UINT64_C(0x10000)
#define LINES      256u
#define FAVOURITES 16u

struct line {
    bool valid;
    unsigned tag; /* asid << 2 | ac << 1 | user */
    uint64_t page;
    struct mmu_result result;
};

struct fuzz {
    struct guest g;
    uint64_t seed;
    struct line tlb[LINES];
    uint64_t tlb_hits;
    uint64_t favourite[FAVOURITES];
    struct pressure pressure;
    bool at_rest; /* no frame leaves */
    bool calm;    /* nearly all entries allow everything: more answers from the shadow */
};

static uint32_t rnd(struct fuzz *f, uint32_t below)
{
    f->seed = f->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((f->seed >> 33) % below);
}

static void tlb_flush_all(void *arg)
{
    struct fuzz *f = arg;
    for (unsigned i = 0; i < LINES; i++)
        f->tlb[i].valid = false;
}

static void tlb_flush_page(void *arg, gva_t gva)
{
    struct fuzz *f = arg;
    for (unsigned i = 0; i < LINES; i++) {
        if (f->tlb[i].page == gva.v)
            f->tlb[i].valid = false;
    }
}

static void tlb_drop_frames(void *arg, const gfn_t *gfns, size_t count)
{
    struct fuzz *f = arg;
    for (unsigned i = 0; i < LINES; i++) {
        for (size_t k = 0; k < count; k++) {
            if (gpa_gfn(f->tlb[i].result.page_gpa).v == gfns[k].v)
                f->tlb[i].valid = false;
        }
    }
}

static void tlb_protect(void *arg, gfn_t gfn)
{
    struct fuzz *f = arg;
    for (unsigned i = 0; i < LINES; i++) {
        if (f->tlb[i].valid && gpa_gfn(f->tlb[i].result.page_gpa).v == gfn.v)
            f->tlb[i].result.may_write = false;
    }
}

static uint64_t fresh_gva(struct fuzz *f)
{
    uint64_t gva = 0;
    const unsigned few[] = {0, 1, 2, 511};
    if ((f->g.ctx.cr4 & C4_PAE) && (f->g.ctx.efer & 0x400)) {
        unsigned top = f->g.ctx.cr4 & C4_LA57 ? 5 : 4;
        for (unsigned l = 1; l <= top; l++)
            gva |= (uint64_t)few[rnd(f, 4)] << (12 + 9 * (l - 1));
        unsigned sign = 12 + 9 * top - 1;
        if (gva >> sign & 1)
            gva |= UINT64_MAX << sign;
    } else {
        gva =
            (uint64_t)few[rnd(f, 4)] << 12 | (uint64_t)rnd(f, 4) << 21 | (uint64_t)rnd(f, 4) << 30;
    }
    return gva | rnd(f, 4096);
}

/* Mostly one of a few pages, so that there is something to be stale. */
static uint64_t any_gva(struct fuzz *f)
{
    uint64_t *slot = &f->favourite[rnd(f, FAVOURITES)];
    if (!*slot || !rnd(f, 200))
        *slot = fresh_gva(f) | 1;
    return (*slot & PAGE_MASK) | rnd(f, 4096);
}

static uint64_t any_address(struct fuzz *f)
{
    switch (rnd(f, 32)) {
    case 0:
        return 0xfee00000; /* a device */
    case 1:
        return UINT64_C(0xff00000000); /* beyond memory */
    case 2:
    case 3:
    case 4:
        return MIB + ((uint64_t)rnd(f, 16) << 12); /* a few frames of data */
    case 5:
        return (uint64_t)rnd(f, 8) << 21;
    default:
        return TABLE_AT + ((uint64_t)rnd(f, TABLES) << 12);
    }
}

static uint64_t any_entry(struct fuzz *f)
{
    uint64_t e = any_address(f);
    bool long_mode = f->g.ctx.efer & 0x400;
    if (f->calm && rnd(f, 20))
        return e | PWU | (rnd(f, 2) ? A_ | D_ : 0) | (rnd(f, 4) ? 0 : G_);
    if (rnd(f, 16))
        e |= P_;
    if (rnd(f, 8))
        e |= W_;
    if (rnd(f, 8))
        e |= U_;
    if (rnd(f, 2))
        e |= A_;
    if (rnd(f, 2))
        e |= D_;
    if (!rnd(f, 12))
        e = (e & ~UINT64_C(0x1ff000)) | PS_ | (rnd(f, 8) ? 0 : UINT64_C(1) << rnd(f, 40));
    if (!rnd(f, 4))
        e |= G_;
    if (!rnd(f, 16) && (f->g.ctx.efer & EF_NXE))
        e |= NX_;
    if (!rnd(f, 8) && long_mode)
        e |= (uint64_t)rnd(f, 16) << 59;
    if (!rnd(f, 64))
        e |= UINT64_C(1) << rnd(f, 64);
    return e;
}

static void edit(struct fuzz *f)
{
    uint64_t table = TABLE_AT + ((uint64_t)rnd(f, TABLES) << 12);
    const unsigned few[] = {0, 1, 2, 511, 512, 513, 1023};
    unsigned i = few[rnd(f, 7)];
    if (f->g.ctx.cr4 & C4_PAE)
        wr64(&f->g, table + 8 * (i % 512), any_entry(f));
    else
        wr32(&f->g, table + 4 * i, (uint32_t)any_entry(f));
}

static void any_mode(struct fuzz *f)
{
    struct mmu_context *c = &f->g.ctx;
    memset(c, 0, sizeof *c);
    memset(f->favourite, 0, sizeof f->favourite);
    c->cr0 = CR0_PG_WP;
    c->cr3 = TABLE_AT + ((uint64_t)rnd(f, TABLES) << 12);
    switch (rnd(f, 8)) {
    case 0:
        c->cr0 = 1;
        break;
    case 1:
    case 2:
        c->cr4 = C4_PSE;
        break;
    case 3:
    case 4:
        c->cr4 = C4_PAE;
        c->cr3 |= (uint64_t)rnd(f, 4) << 5;
        break;
    case 5:
        c->cr4 = C4_PAE | C4_LA57;
        c->efer = EF_LM;
        break;
    default:
        c->cr4 = C4_PAE;
        c->efer = EF_LM;
        break;
    }
    if ((c->efer & 0x400) && rnd(f, 2))
        c->cr4 |= C4_PCIDE;
    if (rnd(f, 2))
        c->cr4 |= C4_PGE;
    if (rnd(f, 2))
        c->efer |= EF_NXE;
}

/* MOV to CR3; with PCIDs sometimes without a flush. */
static void switch_cr3(struct fuzz *f, bool other)
{
    struct mmu_context *c = &f->g.ctx;
    enum mmu_switch how = MMU_SWITCH_FLUSH;
    if (other) {
        unsigned t = rnd(f, 3);
        c->cr3 = TABLE_AT + ((uint64_t)t << 12);
        if (c->cr4 & C4_PCIDE) {
            c->cr3 |= t + 1; /* one PCID for each root, as kernels do */
            if (rnd(f, 2))
                how = MMU_SWITCH_KEEP;
        }
    }
    if ((c->cr4 & C4_PAE) && !(c->efer & 0x400) && mmu_load_pdptes(f->g.mmu, c->cr3, c->pdpte))
        memset(c->pdpte, 0, sizeof c->pdpte);
    enter(&f->g, how);
}

static void toggle_view(struct fuzz *f)
{
    struct mmu_context *c = &f->g.ctx;
    switch (rnd(f, 5)) {
    case 0:
        c->cr0 ^= 0x10000;
        break;
    case 1:
        c->cr4 ^= C4_SMAP;
        break;
    case 2:
        c->cr4 ^= C4_SMEP;
        break;
    case 3:
        c->cr4 ^= C4_PKE;
        break;
    default:
        c->pkru = rnd(f, UINT32_MAX);
        break;
    }
    enter(&f->g, MMU_SWITCH_KEEP);
}

static struct line *line_at(struct fuzz *f, unsigned asid, unsigned view, uint64_t page)
{
    unsigned tag = asid << 2 | view;

    return &f->tlb[(page >> 12 ^ page >> 22 ^ page >> 31 ^ tag) % LINES];
}

/* Global translations are kept for all address spaces. */
static struct line *line_find(struct fuzz *f, unsigned view, uint64_t page)
{
    const unsigned asids[] = {mmu_asid(f->g.mmu), mmu_global_asid(f->g.mmu)};

    for (unsigned i = 0; i < 2; i++) {
        struct line *line = line_at(f, asids[i], view, page);
        if (line->valid && line->tag == (asids[i] << 2 | view) && line->page == page)
            return line;
    }
    return NULL;
}

static void line_fill(struct fuzz *f, unsigned view, uint64_t page, const struct mmu_result *r)
{
    unsigned asid = r->global ? mmu_global_asid(f->g.mmu) : mmu_asid(f->g.mmu);

    *line_at(f, asid, view, page) =
        (struct line){.valid = true, .tag = asid << 2 | view, .page = page, .result = *r};
}

static void access_once(struct fuzz *f)
{
    struct mmu_access a = {
        .gva = gva_make(any_gva(f)), .kind = (enum mmu_access_kind)rnd(f, 3), .user = rnd(f, 2)};
    bool ac = rnd(f, 2);
    a.implicit = !a.user && !rnd(f, 4);
    unsigned view = (unsigned)(ac && !a.implicit) << 1 | a.user;
    uint64_t page = a.gva.v & PAGE_MASK;
    const struct line *line = line_find(f, view, page);
    if (line) {
        const struct mmu_result *r = &line->result;
        if (a.kind == MMU_READ ? r->may_read : a.kind == MMU_WRITE ? r->may_write : r->may_exec) {
            struct mmu_result again = *r;
            again.gpa = gpa_add(r->page_gpa, a.gva.v & 0xfff);
            if (again.tracked != mem_track(f->g.mem, gpa_gfn(again.page_gpa)))
                again.tracked =
                    mem_track(f->g.mem, gpa_gfn(again.page_gpa)); /* told by write_protect */
            f->tlb_hits++;
            /*
             * Like the engine: an untracked page is asked for again only when something is missing.
             */
            if (a.kind != MMU_WRITE || again.may_write)
                oracle_check(f->g.mmu->oracle, &a, ac, &again, true);
            return;
        }
    }
    struct mmu_result r;
    memset(&r, 0, sizeof r);
    f->pressure.fails = rnd(f, 50) ? 0 : 1 + rnd(f, 3);
    do {
        mmu_translate(f->g.mmu, &a, ac, &r);
        while (mem_stall(f->g.mem))
            pressure_age(&f->pressure);
    } while (r.kind == MMU_HOST_ERROR);
    f->pressure.fails = 0;
    if (r.kind == MMU_MAPPED)
        line_fill(f, view, page, &r);
    if (r.kind == MMU_MAPPED && a.kind == MMU_WRITE && (page >> 12) % 3 && r.page_gpa.v >= MIB) {
        ((uint8_t *)hva_ptr(r.hva))[a.gva.v & 0xfff] = (uint8_t)page;
        if (r.tracked)
            mem_note_written(f->g.mem, r.gpa, 1);
    }
}

static void flush_some(struct fuzz *f)
{
    gva_t gva = gva_make(any_gva(f));
    unsigned pcid = f->g.ctx.cr4 & C4_PCIDE ? rnd(f, 4) : 0;
    switch (rnd(f, 12)) {
    case 0:
        mmu_invpcid(f->g.mmu, rnd(f, 4), pcid, gva);
        break;
    case 1:
        switch_cr3(f, false);
        break;
    case 2:
    case 3:
        switch_cr3(f, true);
        break;
    default:
        mmu_invlpg(f->g.mmu, gva);
        break;
    }
}

/* Frames leave: some that equal a disk, or whatever goes somewhere; or all grow older, or old. */
static void unrest(struct fuzz *f)
{
    switch (rnd(f, 4)) {
    case 0:
        for (unsigned n = rnd(f, 16) ? 1 : 40; n > 0; n--)
            pressure_age(&f->pressure);
        break;
    case 1:
        pressure_evict(&f->pressure, rnd(f, MEM_MEANS_ALL + 1));
        break;
    default:
        for (unsigned n = rnd(f, 8); n > 0; n--)
            pressure_drop(&f->pressure, (uint64_t)rnd(f, (MIB >> PAGE_SHIFT) + 16) << PAGE_SHIFT);
        break;
    }
}

static void step(struct fuzz *f)
{
    unsigned dice = rnd(f, 1000);
    gfn_t data = gfn_make((MIB >> 12) + rnd(f, 16));
    if (!f->at_rest && !rnd(f, 100))
        unrest(f);
    if (dice < 880)
        access_once(f);
    else if (dice < 930)
        edit(f);
    else if (dice < 970)
        flush_some(f);
    else if (dice < 980)
        toggle_view(f);
    else if (dice < 985)
        mem_track_set(f->g.mem, data, MEM_TRACK_CODE);
    else if (dice < 990)
        mem_track_clear(f->g.mem, data, MEM_TRACK_CODE);
    else if (dice < 994)
        wr32(&f->g, gfn_gpa(data).v + 4 * rnd(f, 1024), rnd(f, 1000));
    else if (dice < 999 || rnd(f, 20)) {
        any_mode(f);
        switch_cr3(f, false);
        enter(&f->g, MMU_SWITCH_FLUSH_ALL);
        for (unsigned i = 0; i < 200; i++)
            edit(f);
    } else {
        mem_reset(f->g.mem);
    }
}

enum audit_when { AUDIT_SOMETIMES, AUDIT_EACH_EXIT };

static void run_seed(uint64_t seed, unsigned steps, enum mmu_strategy strategy,
                     enum audit_when audit)
{
    struct fuzz *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->seed = seed;
    f->calm = seed % 2;
    f->at_rest = seed % 5 == 4;
    assert_int_equal(mem_create(&f->g.mem, MEMORY), ERR_OK);
    pressure_open(&f->pressure, f->g.mem);
    struct mmu_config config = {
        .mem = f->g.mem,
        .maxphyaddr = 40,
        .strategy = strategy,
        .oracle = true,
        .audit_exits = audit == AUDIT_EACH_EXIT,
        .tlb = {f, tlb_flush_all, tlb_flush_page, tlb_drop_frames, tlb_protect},
    };
    assert_int_equal(mmu_create(&f->g.mmu, &config), ERR_OK);
    /* tables here live too short for the usual measure */
    if (strategy == MMU_ADAPTIVE && seed % 3) {
        f->g.mmu->calm_min = (unsigned)(seed % 3);
        f->g.mmu->flood_max = 4;
    }
    any_mode(f);
    switch_cr3(f, false);
    enter(&f->g, MMU_SWITCH_FLUSH_ALL);
    for (unsigned i = 0; i < 400; i++)
        edit(f);
    for (unsigned i = 0; i < steps; i++) {
        step(f);
        if (mmu_stats(f->g.mmu)->oracle_mismatches)
            fail_msg("strategy %d seed %llu step %u", (int)strategy, (unsigned long long)seed, i);
        if (i % 1024 == 0 && !mmu_audit(f->g.mmu))
            fail_msg("strategy %d seed %llu step %u: %s", (int)strategy, (unsigned long long)seed,
                     i, err_text());
    }
    const struct mmu_stats *s = mmu_stats(f->g.mmu);
    assert_true(s->step2_shadow_hits > 0);
    if (getenv("FUZZ_SHOW"))
        printf("strategy %d seed %llu: %llu checks, %llu stale, %llu hits, %llu tlb, %llu walks, "
               "%llu pages, "
               "%llu zapped, %llu unmapped, %llu reads (shared %llu, swapped %llu), %llu table "
               "writes, %llu tracked, %llu unsync, %llu of %llu re-read "
               "changed, %llu of %llu prefetched used\n",
               (int)strategy, (unsigned long long)seed, (unsigned long long)s->oracle_checks,
               (unsigned long long)s->oracle_stale_allowed,
               (unsigned long long)s->step2_shadow_hits, (unsigned long long)f->tlb_hits,
               (unsigned long long)s->step4_walks, (unsigned long long)s->shadow_pages_peak,
               (unsigned long long)s->shadow_pages_zapped, (unsigned long long)s->frames_unmapped,
               (unsigned long long)f->pressure.reads,
               (unsigned long long)mem_reclaim_stats(f->g.mem)->evicted_shared,
               (unsigned long long)mem_reclaim_stats(f->g.mem)->evicted_swapped,
               (unsigned long long)s->table_writes, (unsigned long long)s->tables_tracked,
               (unsigned long long)s->unsyncs, (unsigned long long)s->sync_changes,
               (unsigned long long)s->sync_reads, (unsigned long long)s->prefetch_used,
               (unsigned long long)s->prefetched);
    pressure_close(&f->pressure);
    guest_close(&f->g);
    free(f);
}

static void random_tables(enum mmu_strategy strategy)
{
    const char *env = getenv("FUZZ_SEEDS");
    unsigned seeds = env ? (unsigned)atoi(env) : 24;

    for (unsigned s = 1; s <= seeds; s++)
        run_seed(s, 20000, strategy, AUDIT_SOMETIMES);
}

static void random_tables_lazy(void **state)
{
    (void)state;
    random_tables(MMU_LAZY);
}

static void random_tables_trace(void **state)
{
    (void)state;
    random_tables(MMU_TRACE);
}

static void random_tables_adaptive(void **state)
{
    (void)state;
    random_tables(MMU_ADAPTIVE);
}

/* The audit of debug builds: after each exit that changed the shadow. */
static void audited_exits(void **state)
{
    (void)state;
    for (int strategy = 0; strategy < MMU_STRATEGIES; strategy++)
        run_seed(5, 1500, (enum mmu_strategy)strategy, AUDIT_EACH_EXIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_tables_lazy),
        cmocka_unit_test(random_tables_trace),
        cmocka_unit_test(random_tables_adaptive),
        cmocka_unit_test(audited_exits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
