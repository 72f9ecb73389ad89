/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_fuzz [--seed N] [--count N] [--minutes N]
 * Runs programs N, N + 1, ... with direct execution and by the interpreter, and compares all that
 * their kernel has noted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/direct/stub.h"
#include "cpu/engine.h"
#include "direct.h"

#define SPIN_LONG    1500000u /* a new view is found to be hot within */
#define EXIT_SKIPPED 77
#define FLAGS_SEEN   UINT64_C(0x3f7fd7)

struct tally {
    uint64_t programs, cases, runs, open, bad;
};

static uint64_t load(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    memcpy(&v, p, bytes);
    return v;
}

struct difference {
    const struct program *p;
    uint64_t seed;
    unsigned n, count;
};

static void differ(struct difference *d, const char *what, uint64_t direct, uint64_t interp)
{
    const struct record *r = &d->p->record[d->n];

    if (!d->count++) {
        fprintf(stderr, "program %llu, case %u at %#llx:", (unsigned long long)d->seed, d->n,
                (unsigned long long)r->in.rip);
        for (unsigned i = 0; i < 32; i++)
            fprintf(stderr, " %02x", d->p->code[r->in.rip - CODE_BASE + i]);
        fprintf(stderr, "\n  tables %#llx %#llx %s, code %#llx\n", (unsigned long long)r->in.page,
                (unsigned long long)r->in.pte_value, r->in.whole ? "CR3" : "INVLPG",
                (unsigned long long)r->in.code_at);
    }
    fprintf(stderr, "  %-8s direct %#llx, interp %#llx\n", what, (unsigned long long)direct,
            (unsigned long long)interp);
}

static void compare_fx(struct difference *d, const uint8_t *a, const uint8_t *b)
{
    static const struct {
        const char *name;
        unsigned at, bytes;
    } words[] = {{"fcw", 0, 2}, {"fsw", 2, 2}, {"ftw", 4, 1}, {"mxcsr", 24, 4}};
    char name[16];

    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (memcmp(a + words[i].at, b + words[i].at, words[i].bytes) != 0)
            differ(d, words[i].name, load(a + words[i].at, words[i].bytes),
                   load(b + words[i].at, words[i].bytes));
    for (unsigned i = 0; i < 24; i++) {
        const unsigned at = 32 + 16 * i;

        (void)snprintf(name, sizeof name, i < 8 ? "st%u" : "xmm%u", i < 8 ? i : i - 8);
        if (memcmp(a + at, b + at, i < 8 ? 10 : 16) != 0)
            differ(d, name, load(a + at, 8), load(b + at, 8));
    }
}

static void compare_case(struct difference *d, const struct record *a, const struct record *b)
{
    static const char *const gprs[] = {"rax", "rcx", "rdx", "rbx", "",    "rbp", "rsi", "rdi",
                                       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static const char *const words[] = {"vector", "error", "rip", "cs",      "rflags",
                                        "rsp",    "ss",    "cr2", "fs base", "gs base"};
    const uint64_t *x = &a->out.vector, *y = &b->out.vector;

    for (unsigned i = 0; i < 16; i++)
        if (a->out.gpr[i] != b->out.gpr[i] && i != 4 && !d->p->no_gpr[d->n][i])
            differ(d, gprs[i], a->out.gpr[i], b->out.gpr[i]);
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        uint64_t mask = i == 4 ? FLAGS_SEEN & ~d->p->undefined_flags[d->n] : UINT64_MAX;

        if ((x[i] ^ y[i]) & mask)
            differ(d, words[i], x[i], y[i]);
    }
    compare_fx(d, a->out.fx, b->out.fx);
}

static unsigned compare(const struct program *p, uint64_t seed, const struct world *direct,
                        const struct world *interp)
{
    static const uint64_t frames[] = {DATA_GPA, OTHER_DATA};
    struct difference d = {.p = p, .seed = seed};

    for (d.n = 0; d.n < CASES && !d.count; d.n++)
        compare_case(&d, world_record(direct, d.n), world_record(interp, d.n));
    for (unsigned i = 0; i < 2 && !d.count; i++)
        for (unsigned at = 0; at < DATA_BYTES && !d.count; at += 8) {
            const uint8_t *a = world_page(direct, frames[i] + (at & ~4095u)) + at % 4096;
            const uint8_t *b = world_page(interp, frames[i] + (at & ~4095u)) + at % 4096;

            d.n = CASES - 1;
            if (memcmp(a, b, 8) != 0) {
                fprintf(stderr, "memory at %#llx:\n", (unsigned long long)frames[i] + at);
                differ(&d, "memory", load(a, 8), load(b, 8));
            }
        }
    return d.count;
}

static bool run_seed(uint64_t seed, struct tally *t)
{
    static struct program p;
    struct world *direct = NULL, *interp;
    enum world_end end = WORLD_BROKEN;
    bool ok = true;

    program_make(&p, seed);
    interp = world_open("interp", &p, 1);
    if (interp)
        end = world_go(interp, false);
    if (end == WORLD_DONE) {
        direct = world_open("translate", &p, SPIN_LONG);
        ok = direct && world_go(direct, seed % 2) == WORLD_DONE;
        if (!ok)
            fprintf(stderr, "program %llu does not end directly\n", (unsigned long long)seed);
        ok = ok && !compare(&p, seed, direct, interp);
        t->cases += CASES;
        t->runs += direct ? world_direct_runs(direct) : 0;
    }
    t->programs++;
    t->open += end == WORLD_TOO_LONG;
    ok = ok && end != WORLD_BROKEN;
    t->bad += !ok;
    if (direct)
        world_close(direct);
    if (interp)
        world_close(interp);
    return ok;
}

struct options {
    uint64_t seed, count, minutes;
};

static bool parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (!value)
            return false;
        if (!strcmp(argv[i], "--seed"))
            o->seed = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--count"))
            o->count = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--minutes"))
            o->minutes = strtoull(value, NULL, 0);
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options o = {.seed = 1, .count = 20};
    struct tally t = {0};
    time_t until;
    const char *why;

    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: direct_fuzz [--seed N] [--count N] [--minutes N]\n");
        return 2;
    }
    if (!engine_find("translate") || !stub_is_possible(&why)) {
        printf("SKIP: no direct execution here: %s\n", engine_find("translate") ? why : err_text());
        return EXIT_SKIPPED;
    }
    until = time(NULL) + (time_t)o.minutes * 60;
    for (uint64_t n = 0; o.minutes ? time(NULL) < until : n < o.count; n++)
        (void)run_seed(o.seed + n, &t);
    printf("%llu programs, %llu cases, %llu stretches, %llu programs differ, %llu not decided\n",
           (unsigned long long)t.programs, (unsigned long long)t.cases, (unsigned long long)t.runs,
           (unsigned long long)t.bad, (unsigned long long)t.open);
    return t.bad || !t.runs ? 1 : 0;
}
