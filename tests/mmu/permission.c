/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Permission test: each case of cases.c is stored into guest tables, accessed through the MMU, and
 * fault or not, error code, guest physical address, host address, permissions for the TLB and every
 * bit of the entries afterwards are compared with model.c. A second access follows, which the
 * shadow may answer.
 *
 *   permission [--count N] [--seed S]   N cases drawn evenly from all families
 *   permission --full [--family TEXT]   all of them, or of the families whose name contains TEXT
 *   permission --case N                 one, told in full
 *
 * --shadow NAME: with this strategy (default: lazy)
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cases.h"
#include "judge.h"
#include "model.h"
#include "world.h"

#define SAMPLE_DEFAULT 3000000u
#define SHOWN_MAX      20u
#define WORLDS         (PHYS_MAX - PHYS_MIN + 1)

struct test {
    struct world world[WORLDS];
    struct family family[FAMILIES_MAX];
    unsigned families;
    uint64_t cases, accesses, faults, mismatches;
    enum mmu_strategy strategy;
    bool loud;
};

/* One entry may have been used at several levels: what all of them set is what it has. */
static bool compare_entries(struct world *world, const struct model *m, const struct model_walk *w,
                            const struct model_answer *want)
{
    for (unsigned i = 0; i < w->entries; i++) {
        if (w->entry[i].in_registers)
            continue;
        uint64_t value = w->entry[i].value;
        for (unsigned j = 0; j < w->entries; j++) {
            if (!w->entry[j].in_registers && w->entry[j].gpa == w->entry[i].gpa)
                value |= want->set[j];
        }
        if (world_load(world, w->entry[i].gpa, m->entry_bytes) != value)
            return false;
    }
    return true;
}

static bool check_access(struct test *t, struct world *world, const struct model *m,
                         const struct test_case *c, const struct mmu_access *a, bool ac)
{
    struct model_walk w, after;
    struct model_answer want;
    struct mmu_result r;

    model_walk(m, a->gva.v, world_load, world, &w);
    model_access(m, &w, a, ac, &want);
    memset(&r, 0, sizeof r);
    mmu_translate(world->mmu, a, ac, &r);
    t->accesses++;
    t->faults += want.faults;
    const char *wrong = judge_answer(world, m, &w, &want, a, ac, &r);
    if (!wrong && !compare_entries(world, m, &w, &want))
        wrong = "entries afterwards";
    if (wrong || t->loud) {
        judge_print_access(&c->ctx, c->maxphyaddr, a, ac, &w, &want);
        judge_print_result(&r);
        model_walk(m, a->gva.v, world_load, world, &after);
        judge_print_entries("after", &after);
        printf("  %s\n", wrong ? wrong : "as the model says");
    }
    return !wrong;
}

static bool run_case(struct test *t, struct world *world, const struct test_case *c, uint64_t dice)
{
    struct mmu_access again = c->access;
    bool ac = c->ac;
    struct model m;

    for (unsigned i = 0; i < c->entries; i++) {
        if (c->at[i])
            world_store(world, c->at[i], c->entry[i], c->entry_bytes);
    }
    model_init(&m, &c->ctx, c->maxphyaddr);
    mmu_set_context(world->mmu, &c->ctx, MMU_SWITCH_FLUSH_ALL);
    bool ok = check_access(t, world, &m, c, &c->access, c->ac);
    if (dice & 1)
        cases_access(dice >> 1 & (ACCESSES - 1), &again, &ac);
    ok = check_access(t, world, &m, c, &again, ac) && ok;
    for (unsigned i = 0; i < c->entries; i++) {
        if (c->at[i])
            world_store(world, c->at[i], 0, c->entry_bytes);
    }
    return ok;
}

static struct world *world_for(struct test *t, unsigned maxphyaddr)
{
    struct world *w = &t->world[maxphyaddr - PHYS_MIN];

    if (!w->mmu)
        world_open(w, maxphyaddr, t->strategy, NULL);
    return w;
}

/* A mismatch is tried again in a world without a past: is it the case, or what was before it? */
static void report(struct test *t, const struct test_case *c, uint64_t number, uint64_t dice)
{
    struct world fresh;

    if (++t->mismatches > SHOWN_MAX)
        return;
    world_open(&fresh, c->maxphyaddr, t->strategy, NULL);
    printf("case %" PRIu64 ", alone:\n", number);
    bool ok = run_case(t, &fresh, c, dice);
    printf("%s\n", ok ? "right when alone" : "wrong when alone too");
    world_close(&fresh);
}

static void run_number(struct test *t, const struct family *f, uint64_t n, uint64_t number)
{
    struct test_case c;
    uint64_t dice = random_at(number, 40);

    cases_get(f, n, &c);
    t->cases++;
    if (!run_case(t, world_for(t, c.maxphyaddr), &c, dice)) {
        printf("MISMATCH in case %" PRIu64 " (%s)\n", number, f->name);
        report(t, &c, number, dice);
    }
}

/* Nothing but the entries of the cases was written: all of memory is zero again. */
static void check_memory(struct test *t, const char *after)
{
    for (unsigned i = 0; i < WORLDS; i++) {
        const struct world *w = &t->world[i];
        for (uint64_t gpa = 0; w->mmu && gpa < WORLD_BYTES; gpa += 4096) {
            if (mem_page_state(w->mem, gpa_gfn(gpa_make(gpa))) < PAGE_RESIDENT)
                continue;
            if (w->ram[gpa] || memcmp(w->ram + gpa, w->ram + gpa + 1, 4095)) {
                printf("MISMATCH: something was written to frame %" PRIx64 " (%s)\n", gpa, after);
                t->mismatches++;
            }
        }
    }
}

/* PDPTEs: what MOV to CR3 refuses, by every bit and MAXPHYADDR (SDM 3A 4.4.1). */
static void check_pdptes(struct test *t)
{
    for (unsigned phys = PHYS_MIN; phys <= PHYS_MAX; phys++) {
        struct world *w = world_for(t, phys);
        for (unsigned n = 0; n < 64 * 4 * 2; n++) {
            const uint64_t gpa = 0x10000 + (n & 4) * 0x20 + n / 8 % 4 * 8;
            uint64_t value = (n & 1) | UINT64_C(1) << n / 8, loaded[4];
            world_store(w, gpa, value, 8);
            bool ok = mmu_load_pdptes(w->mmu, gpa & ~UINT64_C(31), loaded) == MMU_PDPTES_OK;
            world_store(w, gpa, 0, 8);
            t->cases++;
            if (ok == model_pdpte_refused(value, phys) || (ok && loaded[n / 8 % 4] != value)) {
                printf("MISMATCH: PDPTE %016" PRIx64 ", maxphyaddr %u\n", value, phys);
                t->mismatches++;
            }
        }
    }
}

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void run_full(struct test *t, const char *only)
{
    uint64_t first = 0;

    for (unsigned i = 0; i < t->families; i++) {
        const struct family *f = &t->family[i];
        if (!only || strstr(f->name, only)) {
            uint64_t before = t->mismatches;
            double start = seconds();
            for (uint64_t n = 0; n < f->count; n++)
                run_number(t, f, n, first + n);
            check_memory(t, f->name);
            printf("%-32s cases %10" PRIu64 "..%-10" PRIu64 " mismatches %" PRIu64 ", %.1f s\n",
                   f->name, first, first + f->count - 1, t->mismatches - before, seconds() - start);
            fflush(stdout);
        }
        first += f->count;
    }
}

/* Each family gets the same share; a small one may be drawn more than once. */
static void run_sample(struct test *t, uint64_t seed, uint64_t count)
{
    struct dice dice = {.seed = seed};
    uint64_t first = 0;

    for (unsigned i = 0; i < t->families; i++) {
        const struct family *f = &t->family[i];
        for (uint64_t k = 0; k < count / t->families; k++) {
            uint64_t n = dice_bits(&dice) % f->count;
            run_number(t, f, n, first + n);
        }
        first += f->count;
    }
    check_memory(t, "sample");
}

static int run_one(struct test *t, uint64_t number)
{
    uint64_t n = number;

    t->loud = true;
    for (unsigned i = 0; i < t->families; i++) {
        const struct family *f = &t->family[i];
        if (n < f->count) {
            printf("case %" PRIu64 " (%s, %" PRIu64 ")\n", number, f->name, n);
            run_number(t, f, n, number);
            return 0;
        }
        n -= f->count;
    }
    fprintf(stderr, "there is no case %" PRIu64 "\n", number);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"full", no_argument, NULL, 'f'},
                                            {"family", required_argument, NULL, 'o'},
                                            {"case", required_argument, NULL, 'c'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"shadow", required_argument, NULL, 'h'},
                                            {"count", required_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    static struct test t;
    const char *family = NULL, *one = NULL, *what;
    uint64_t seed = 1, count = SAMPLE_DEFAULT;
    bool full = false;
    int option, status = 0;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'f':
            full = true;
            break;
        case 'o':
            family = optarg;
            break;
        case 'c':
            one = optarg;
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
    if (!model_tables_are_whole(&what)) {
        printf("the model's table %s does not cover every bit once\n", what);
        return 2;
    }
    t.families = cases_families(t.family);
    double start = seconds();
    if (one) {
        status = run_one(&t, strtoull(one, NULL, 0));
    } else {
        check_pdptes(&t);
        if (full)
            run_full(&t, family);
        else
            run_sample(&t, seed, count);
    }
    printf("seed=%" PRIu64 " families=%u cases=%" PRIu64 " accesses=%" PRIu64 " faults=%" PRIu64
           " mismatches=%" PRIu64 " seconds=%.1f\n",
           seed, t.families, t.cases, t.accesses, t.faults, t.mismatches, seconds() - start);
    for (unsigned i = 0; i < WORLDS; i++) {
        if (t.world[i].mmu)
            world_close(&t.world[i]);
    }
    return status ? status : t.mismatches != 0;
}
