/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block_fuzz [--seed N] [--count N] [--minutes N] [--corpus FILE] [--engine E] [--events N]
 *            [--bits 32|64]
 * Runs programs N, N + 1, ... on the engine under test and on the interpreter in lock-step.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "block.h"

struct options {
    uint64_t seed, count, minutes, events, keep_going, bits;
    const char *engine, *corpus;
};

struct tally {
    uint64_t programs, instructions, records, native, entries, guesses, bad, open;
};

/*
 * Both to the record that differs; then their memory side by side. False: it need not mean
 * anything.
 */
static bool examine(struct world_config one, struct world_config two, unsigned at, bool loud)
{
    struct world *a, *b;
    bool meant;

    one.stop_at_record = two.stop_at_record = at;
    two.loud = loud;
    a = world_create(&one);
    b = world_create(&two);
    if (!a || !b)
        exit(4);
    (void)world_run(a);
    (void)world_run(b);
    meant = !world_is_inconclusive(b);
    if (loud)
        world_compare_memory(a, b);
    world_destroy(a);
    world_destroy(b);
    return meant;
}

static bool run_seed(const struct options *o, uint64_t seed, struct tally *t)
{
    static const unsigned hot_runs[] = {0, 3, 1, 3, 1};
    struct world_config leader = {.seed = seed,
                                  .engine = o->engine,
                                  .hot_runs = hot_runs[seed % 5],
                                  .narrow = o->bits == 32,
                                  .events = (unsigned)o->events,
                                  .instructions = 200000,
                                  .stop_at_record = UINT64_MAX},
                        follower = leader;
    struct world *a = world_create(&leader), *b = NULL;
    bool ok = a && world_run(a);

    follower.engine = "interp";
    if (ok) {
        follower.follow = world_log(a);
        b = world_create(&follower);
        ok = b && world_run(b);
    }
    t->programs++;
    if (b) {
        t->instructions += world_stats(b)->instructions;
        t->records += world_log(a)->count;
        t->native += world_stats(a)->native_blocks;
        t->entries += world_stats(a)->native_entries;
        t->guesses += world_stats(a)->native_guesses;
    }
    if (b && !ok) {
        if (examine(leader, follower, world_at(b), false)) {
            (void)examine(leader, follower, world_at(b), true);
        } else {
            t->open++;
            ok = true;
        }
    }
    if (a)
        world_destroy(a);
    if (b)
        world_destroy(b);
    return ok;
}

/* One seed a line; # starts a comment. */
static bool run_corpus(const struct options *o, struct tally *t)
{
    char line[256];
    FILE *f = fopen(o->corpus, "r");

    if (!f) {
        fprintf(stderr, "block_fuzz: %s: %s\n", o->corpus, strerror(errno));
        return false;
    }
    while (fgets(line, sizeof line, f))
        if (line[0] >= '0' && line[0] <= '9' && !run_seed(o, strtoull(line, NULL, 10), t))
            t->bad++;
    fclose(f);
    return true;
}

static bool parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (!value)
            return false;
        if (!strcmp(argv[i], "--engine"))
            o->engine = value;
        else if (!strcmp(argv[i], "--corpus"))
            o->corpus = value;
        else if (!strcmp(argv[i], "--seed"))
            o->seed = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--count"))
            o->count = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--minutes"))
            o->minutes = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--events"))
            o->events = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--bits"))
            o->bits = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--keep-going"))
            o->keep_going = strtoull(value, NULL, 0);
        else
            return false;
    }
    return o->bits == 32 || o->bits == 64;
}

#define EXIT_SKIPPED 77 /* what Meson counts as skipped */

int main(int argc, char **argv)
{
    struct options o = {

        .seed = 1, .count = 100, .events = 150, .keep_going = 5, .bits = 64, .engine = "translate"};
    struct tally t = {0};
    time_t end;

    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: block_fuzz [--seed N] [--count N] [--minutes N] [--corpus FILE] "
                        "[--engine E] [--events N] [--keep-going N] [--bits 32|64]\n");
        return 2;
    }
    log_set_level(LOG_ERROR);
    if (!engine_find(o.engine)) {
        printf("SKIP: %s\n", err_text());
        return EXIT_SKIPPED;
    }
    if (o.corpus && !run_corpus(&o, &t))
        return 2;
    end = time(NULL) + (time_t)(o.minutes * 60);
    for (uint64_t seed = o.seed; t.bad < o.keep_going; seed++) {
        if (o.minutes ? time(NULL) >= end : seed - o.seed >= o.count)
            break;
        if (!run_seed(&o, seed, &t))
            t.bad++;
    }
    printf(
        "%llu programs, %llu instructions, %llu states compared, %llu native blocks entered %llu "
        "times, %llu branches guessed, %llu programs differ, %llu not decided\n",
        (unsigned long long)t.programs, (unsigned long long)t.instructions,
        (unsigned long long)t.records, (unsigned long long)t.native, (unsigned long long)t.entries,
        (unsigned long long)t.guesses, (unsigned long long)t.bad, (unsigned long long)t.open);
    return t.bad ? 1 : 0;
}
