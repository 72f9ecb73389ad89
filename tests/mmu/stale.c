/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stale translations: tables are changed between accesses, with and without flushes. An answer is
 * right if it is
 *
 *   fresh   what model.c says of the tables as they are, with exactly the A and D bits set that it
 *           says; or
 *   stale   one whole translation of history.c that allows the access, with D set for a write, and
 *           then nothing is written; faults are never stale
 *
 * in address, rights and what the TLB may do with it at once: never a mix of two. Answers are kept
 * in a TLB that forgets nothing by itself, and its hits are judged in the same way.
 *
 *   stale [--count N] [--seed S]   N sequences of STEPS steps
 *   stale --full                   FULL_FACTOR times as many
 *   stale --case N [--seed S]      one sequence, told step by step
 *
 * --shadow NAME: with this strategy (default: lazy)
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "guest.h"
#include "history.h"
#include "judge.h"
#include "tlb.h"

#define STEPS         400u
#define COUNT_DEFAULT 2000u
#define FULL_FACTOR   100u
#define SHOWN_MAX     10u

struct test {
    struct guest guest;
    struct world world;
    struct model model;
    struct history history;
    struct tlb tlb;
    unsigned step;
    enum mmu_strategy strategy;
    bool loud, failed;
    uint64_t accesses, tlb_hits, stale_answers, faults, edits, flushes, unjudged, mismatches;
};

static void say(const struct test *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(const struct test *t, const char *format, ...)
{
    va_list args;

    if (!t->loud)
        return;
    printf("%4u ", t->step);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

/* What a CPU might be caching by now. */
static void note_history(struct test *t)
{
    struct model_walk w;

    for (unsigned n = 0; n < t->guest.addresses; n++) {
        model_walk(&t->model, t->guest.gva[n], world_load, &t->world, &w);
        history_add(&t->history, n, guest_pcid(&t->guest), &w);
    }
}

static void set_context(struct test *t, enum mmu_switch how)
{
    mmu_set_context(t->world.mmu, &t->guest.ctx, how);
    model_init(&t->model, &t->guest.ctx, t->guest.maxphyaddr);
    if (how == MMU_SWITCH_FLUSH_ALL)
        history_flush_all(&t->history);
    else if (how == MMU_SWITCH_FLUSH)
        history_flush_pcid(&t->history, guest_pcid(&t->guest));
    note_history(t);
}

/* --- judging --- */

struct question {
    const struct mmu_access *access;
    bool ac;
    unsigned address;
    struct model_walk walk; /* as the tables were before the access */
    struct model_answer want;
};

/* Are the slots as they were, plus what the model's walk sets if it was one? */
static bool memory_is(struct test *t, const struct question *q, bool with_set)
{
    struct guest *g = &t->guest;

    for (unsigned n = 0; n < g->slots; n++) {
        uint64_t gpa = guest_slot_gpa(g, n), value = g->memory[n];
        for (unsigned i = 0; with_set && i < q->walk.entries; i++) {
            if (!q->walk.entry[i].in_registers && q->walk.entry[i].gpa == gpa)
                value |= q->want.set[i];
        }
        if (world_load(&t->world, gpa, g->entry_bytes) != value)
            return false;
    }
    return true;
}

static bool is_fresh(struct test *t, const struct question *q, const struct mmu_result *r)
{
    return !judge_answer(&t->world, &t->model, &q->walk, &q->want, q->access, q->ac, r) &&
           memory_is(t, q, true);
}

static bool is_stale(struct test *t, const struct question *q, const struct mmu_result *r)
{
    const struct model_answer nothing_set = {0};
    struct model_walk w;
    unsigned i = 0;

    if (r->kind == MMU_GUEST_FAULT || !memory_is(t, q, false))
        return false;
    while (history_get(&t->history, q->address, &i, guest_pcid(&t->guest), &w)) {
        if (q->access->kind == MMU_WRITE && !w.dirty)
            continue;
        if (model_rights(&t->model, &w, q->access, q->ac).allowed[q->access->kind] &&
            !judge_answer(&t->world, &t->model, &w, &nothing_set, q->access, q->ac, r))
            return true;
    }
    return false;
}

static void print_history(const struct test *t, unsigned address)
{
    for (unsigned i = 0; i < t->history.count[address]; i++) {
        const struct seen *s = &t->history.seen[address][i];
        printf("  may be cached: pcid=%u page=%" PRIx64
               " size=2^%u user=%d write=%d xd=%d dirty=%d global=%d key=%u\n",
               s->pcid, s->page, s->shift, s->user, s->write, s->xd, s->dirty, s->global, s->key);
    }
}

static void mismatch(struct test *t, const struct question *q, const struct mmu_result *r,
                     const char *what)
{
    struct model_walk after;

    t->failed = true;
    printf("step %u: %s\n", t->step, what);
    judge_print_access(&t->guest.ctx, t->guest.maxphyaddr, q->access, q->ac, &q->walk, &q->want);
    judge_print_result(r);
    model_walk(&t->model, q->access->gva.v, world_load, &t->world, &after);
    judge_print_entries("after", &after);
    print_history(t, q->address);
}

/* A host page may be used only as long as it is the frame's. */
static bool host_page_is_right(const struct test *t, const struct mmu_access *a,
                               const struct mmu_result *r, bool from_tlb)
{
    gfn_t gfn = gpa_gfn(r->page_gpa);

    if (r->kind != MMU_MAPPED)
        return true;
    if (from_tlb ? r->may_write && mem_track(t->world.mem, gfn)
                 : (r->may_write && r->tracked) || r->tracked != mem_track(t->world.mem, gfn))
        return false;
    if (mem_page_state(t->world.mem, gfn) < PAGE_RESIDENT)
        return a->kind != MMU_WRITE && r->hva.v == mem_zero_page(t->world.mem).v;
    return r->hva.v == (uint64_t)(uintptr_t)(t->world.ram + r->page_gpa.v);
}

static void judge(struct test *t, const struct question *q, const struct mmu_result *r,
                  bool from_tlb)
{
    if (!host_page_is_right(t, q->access, r, from_tlb)) {
        mismatch(t, q, r, from_tlb ? "host page of the TLB" : "host page");
    } else if (!is_fresh(t, q, r)) {
        if (is_stale(t, q, r))
            t->stale_answers++;
        else if (t->history.overflowed[q->address])
            t->unjudged++;
        else
            mismatch(t, q, r, from_tlb ? "answer of the TLB" : "answer");
    }
}

/* --- steps --- */

static struct tlb_tags tags(const struct test *t)
{
    return (struct tlb_tags){.asid = mmu_asid(t->world.mmu),
                             .global = mmu_global_asid(t->world.mmu)};
}

static void do_access(struct test *t)
{
    struct guest *g = &t->guest;
    unsigned n = dice_roll(&g->dice, 8);
    struct mmu_access a = {
        .kind = (enum mmu_access_kind)(n % 3), .user = n < 3, .implicit = n >= 6};
    struct question q = {.access = &a, .ac = dice_roll(&g->dice, 2), .address = guest_address(g)};
    struct mmu_result r;

    a.gva = gva_make(g->gva[q.address] + dice_roll(&g->dice, 4096));
    model_walk(&t->model, a.gva.v, world_load, &t->world, &q.walk);
    model_access(&t->model, &q.walk, &a, q.ac, &q.want);
    t->accesses++;
    say(t, "%s %s ac=%d %016" PRIx64,
        a.user       ? "user"
        : a.implicit ? "implicit"
                     : "supervisor",
        a.kind == MMU_READ    ? "read"
        : a.kind == MMU_WRITE ? "write"
                              : "fetch",
        q.ac, a.gva.v);

    bool smap_off = q.ac && !a.implicit && t->model.smap;
    const struct mmu_result *hit = tlb_find(&t->tlb, tags(t), &a, smap_off);
    if (hit) {
        r = *hit;
        r.gpa = gpa_make(r.page_gpa.v + (a.gva.v & 0xfff));
        t->tlb_hits++;
    } else {
        memset(&r, 0, sizeof r);
        mmu_translate(t->world.mmu, &a, q.ac, &r);
    }
    t->faults += r.kind == MMU_GUEST_FAULT;
    judge(t, &q, &r, hit != NULL);
    if (!hit && r.kind == MMU_MAPPED)
        tlb_fill(&t->tlb, tags(t), &a, smap_off, &r);
    for (n = 0; n < g->slots; n++)
        g->memory[n] = world_load(&t->world, guest_slot_gpa(g, n), g->entry_bytes);
    note_history(t);
}

static uint64_t random_address(struct test *t)
{
    struct guest *g = &t->guest;

    return g->gva[guest_address(g)] + dice_roll(&g->dice, 4096);
}

static void do_invlpg(struct test *t)
{
    uint64_t gva = random_address(t);

    say(t, "invlpg %016" PRIx64, gva);
    mmu_invlpg(t->world.mmu, gva_make(gva));
    history_flush_address(&t->history, guest_pcid(&t->guest), gva);
    note_history(t);
    t->flushes++;
}

static void do_edit(struct test *t)
{
    struct guest *g = &t->guest;

    if (g->may_be_pae && dice_roll(&g->dice, 12) == 0) {
        guest_edit_register(g);
        return;
    }
    unsigned slot = dice_roll(&g->dice, g->slots);
    uint64_t value = guest_edit(g, slot);
    say(t, "slot %u (level %u, gpa %" PRIx64 ") = %016" PRIx64, slot,
        g->levels - slot / 2 / TABLES_EACH, guest_slot_gpa(g, slot), value);
    world_store(&t->world, guest_slot_gpa(g, slot), value, g->entry_bytes);
    note_history(t);
    t->edits++;
}

static void do_cr3(struct test *t)
{
    struct guest *g = &t->guest;
    unsigned root = dice_roll(&g->dice, TABLES_EACH), pcid = dice_roll(&g->dice, 3);
    enum mmu_switch how =
        guest_has_pcid(g) && dice_roll(&g->dice, 3) ? MMU_SWITCH_KEEP : MMU_SWITCH_FLUSH;

    guest_load_cr3(g, root, pcid);
    say(t, "cr3 = %" PRIx64 "%s", g->ctx.cr3, how == MMU_SWITCH_KEEP ? ", keep" : "");
    set_context(t, how);
    t->flushes++;
}

static void do_invpcid(struct test *t)
{
    struct guest *g = &t->guest;
    unsigned type = dice_roll(&g->dice, 4), pcid = guest_has_pcid(g) ? dice_roll(&g->dice, 3) : 0;
    uint64_t gva = random_address(t);

    say(t, "invpcid %u, %u, %016" PRIx64, type, pcid, gva);
    mmu_invpcid(t->world.mmu, type, pcid, gva_make(gva));
    if (type == 0)
        history_flush_address_of_pcid(&t->history, pcid, gva);
    else if (type == 1)
        history_flush_pcid(&t->history, pcid);
    else if (type == 2)
        history_flush_all(&t->history);
    else
        history_flush_not_global(&t->history);
    note_history(t);
    t->flushes++;
}

/* WP, SMEP, SMAP, PKE and PKRU change what a cached translation allows, and flush nothing. */
static void do_view(struct test *t)
{
    static const uint64_t cr4[] = {0x100000, 0x200000, 0x400000};
    struct guest *g = &t->guest;
    unsigned what = dice_roll(&g->dice, 5);

    if (what < 3)
        g->ctx.cr4 ^= cr4[what];
    else if (what == 3)
        g->ctx.cr0 ^= 0x10000;
    else
        g->ctx.pkru = (uint32_t)(dice_bits(&g->dice) & dice_bits(&g->dice));
    say(t, "cr0 = %" PRIx64 " cr4 = %" PRIx64 " pkru = %x", g->ctx.cr0, g->ctx.cr4, g->ctx.pkru);
    set_context(t, MMU_SWITCH_KEEP);
}

static void take_addresses(struct test *t)
{
    t->history.addresses = t->guest.addresses;
    memcpy(t->history.gva, t->guest.gva, sizeof t->history.gva);
}

/* NXE, PGE, PSE and the paging mode change what entries mean. */
static void do_control(struct test *t)
{
    struct guest *g = &t->guest;
    unsigned what = dice_roll(&g->dice, 4);

    if (what == 3 && guest_change_mode(g))
        take_addresses(t);
    else if (what == 0)
        g->ctx.efer ^= 0x800;
    else
        g->ctx.cr4 ^= what == 1 ? 0x80 : 0x10;
    say(t, "%s, cr4 = %" PRIx64 " efer = %" PRIx64 ", flush all", guest_mode_name(g), g->ctx.cr4,
        g->ctx.efer);
    set_context(t, MMU_SWITCH_FLUSH_ALL);
    t->flushes++;
}

/* An engine holds code of a data page, or forgets it again. */
static void do_track(struct test *t)
{
    gfn_t gfn = gpa_gfn(gpa_make(guest_data_page(dice_roll(&t->guest.dice, DATA_PAGES))));
    bool set = dice_roll(&t->guest.dice, 2);

    say(t, "track %" PRIx64 " %d", gfn.v, set);
    if (set)
        mem_track_set(t->world.mem, gfn, MEM_TRACK_CODE);
    else
        mem_track_clear(t->world.mem, gfn, MEM_TRACK_CODE);
}

static void do_step(struct test *t)
{
    static const struct {
        unsigned percent;
        unsigned is_flush; /* of one address, of more */
        void (*run)(struct test *t);
    } steps[] = {{60, 0, do_access}, {20, 0, do_edit}, {8, 1, do_invlpg},  {5, 2, do_cr3},
                 {2, 2, do_invpcid}, {2, 0, do_view},  {1, 2, do_control}, {2, 0, do_track}};
    unsigned roll = dice_roll(&t->guest.dice, 100);

    for (unsigned i = 0;; i++) {
        if (roll < steps[i].percent) {
            if (dice_roll(&t->guest.dice, 100) < t->guest.percent[steps[i].is_flush])
                steps[i].run(t);
            return;
        }
        roll -= steps[i].percent;
    }
}

static void run_sequence(struct test *t, uint64_t seed, uint64_t number)
{
    struct mmu_tlb_ops ops = tlb_ops(&t->tlb);
    struct guest *g = &t->guest;

    guest_init(g, random_at(seed, number));
    tlb_clear(&t->tlb);
    history_flush_all(&t->history);
    take_addresses(t);
    t->failed = false;
    world_open(&t->world, g->maxphyaddr, t->strategy, &ops);
    world_hurry(&t->world, 1 + dice_roll(&g->dice, 3), 2 + dice_roll(&g->dice, 8));
    for (unsigned n = 0; n < g->slots; n++)
        world_store(&t->world, guest_slot_gpa(g, n), g->memory[n], g->entry_bytes);
    set_context(t, MMU_SWITCH_FLUSH_ALL);
    for (t->step = 0; t->step < STEPS && !t->failed; t->step++)
        do_step(t);
    if (!t->failed && !mmu_audit(t->world.mmu)) {
        t->failed = true;
        printf("audit: %s\n", err_text());
    }
    if (t->failed) {
        t->mismatches++;
        printf("MISMATCH in case %" PRIu64 " of seed %" PRIu64 " (%s)\n", number, seed,
               guest_mode_name(g));
    }
    world_close(&t->world);
}

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"full", no_argument, NULL, 'f'},        {"case", required_argument, NULL, 'c'},
        {"seed", required_argument, NULL, 's'},  {"shadow", required_argument, NULL, 'h'},
        {"count", required_argument, NULL, 'n'}, {NULL, 0, NULL, 0}};
    static struct test t;
    uint64_t seed = 1, first = 0, count = COUNT_DEFAULT;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'f':
            count *= FULL_FACTOR;
            break;
        case 'c':
            first = strtoull(optarg, NULL, 0);
            count = 1;
            t.loud = true;
            break;
        case 'h':
            t.strategy = world_strategy(optarg);
            break;
        case 's':
            seed = strtoull(optarg, NULL, 0);
            break;
        case 'n':
            count = strtoull(optarg, NULL, 0);
            break;
        default:
            return 2;
        }
    }
    double start = seconds();
    for (uint64_t n = first; n < first + count && t.mismatches < SHOWN_MAX; n++)
        run_sequence(&t, seed, n);
    printf("seed=%" PRIu64 " sequences=%" PRIu64 " accesses=%" PRIu64 " tlb_hits=%" PRIu64
           " stale=%" PRIu64 " faults=%" PRIu64 " edits=%" PRIu64 " flushes=%" PRIu64
           " unjudged=%" PRIu64 " mismatches=%" PRIu64 " seconds=%.1f\n",
           seed, count, t.accesses, t.tlb_hits, t.stale_answers, t.faults, t.edits, t.flushes,
           t.unjudged, t.mismatches, seconds() - start);
    return t.mismatches != 0;
}
