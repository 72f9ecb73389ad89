/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random use of the swap store and the compressed store against a model, with random failures of
 * the host and random damage to the swap file. A case is a number: it decides the sizes, the
 * failures and each step.
 *
 *     stores_fuzz [--seed N] [--count N | --seconds N] [--corpus FILE]
 *
 * What must hold: a page that is said to be good is what was put; a page is only said to be bad
 * when the host failed or somebody damaged the file; nothing is lost when the host works again; the
 * stores' own checks hold.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/store_model.h"
#include "base/invariant.h"
#include "mem/store/swap.h"
#include "mem/store/zstore.h"

#define MOST_PAGES  4000
#define MOST_FAULTS 4
#define MOST_READ   130

struct page_model {
    uint64_t version; /* 0: not there */
    uint32_t slot;
    bool is_damaged;
    zstore_id id; /* 0: not there */
    uint64_t id_version;
    uint16_t noise;
};

struct fuzz {
    uint64_t seed, pages, zstore_limit;
    struct swap *sw;
    struct zstore *zs;
    struct aio_fault fault[MOST_FAULTS];
    struct aio_faults faults;
    struct page_model page[MOST_PAGES];
    char folder[256], path[300];
};

static uint64_t below(struct fuzz *f, uint64_t limit)
{
    return model_below(&f->seed, limit);
}

static struct swap_info info(const struct fuzz *f)
{
    struct swap_info i;

    swap_get_info(f->sw, &i);
    return i;
}

static void begin(struct fuzz *f, uint64_t number)
{
    static const enum aio_op ops[] = {AIO_WRITE, AIO_WRITE, AIO_READ, AIO_PUNCH};
    static const int errors[] = {EIO, ENOSPC, EDQUOT, ENXIO, EOPNOTSUPP};
    uint64_t slots;

    f->seed = number * UINT64_C(0x9e3779b97f4a7c15) | 1;
    for (unsigned i = 0; i < 4; i++)
        (void)model_next(&f->seed);
    f->pages = 1 + below(f, below(f, 2) ? MOST_PAGES : 200);
    slots = below(f, 2) ? f->pages + below(f, 100) : 1 + below(f, f->pages);
    f->faults = (struct aio_faults){f->fault, below(f, MOST_FAULTS + 1)};
    for (size_t i = 0; i < f->faults.count; i++) {
        uint64_t first = 1 + below(f, 300);
        f->fault[i] = (struct aio_fault){.op = ops[below(f, 4)],
                                         .first = first,
                                         .last = first + below(f, 30),
                                         .error = errors[below(f, 5)]};
    }
    model_folder(f->folder, sizeof(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/swap", f->folder);
    f->zstore_limit = below(f, 3) ? below(f, 4 << 20) : UINT64_MAX;
    if (swap_open(&f->sw, SWAP_FOR_SWAPPING, f->path, slots * PAGE_SIZE, f->pages, &f->faults) ||
        zstore_create(&f->zs, f->zstore_limit)) {
        fprintf(stderr, "stores_fuzz: %s\n", err_text());
        abort();
    }
}

static void check(const struct fuzz *f)
{
    if (swap_check(f->sw) && zstore_check(f->zs))
        return;
    fprintf(stderr, "stores_fuzz: %s\n", err_text());
    abort();
}

/* ---- steps ---- */

static void put_run(struct fuzz *f, uint64_t from, uint64_t run)
{
    uint64_t page[PAGE_SIZE / 8];

    for (uint64_t i = from; i < from + run && i < f->pages; i++) {
        struct page_model *p = &f->page[i];
        uint64_t version = model_next(&f->seed) | 1;
        enum swap_put got;
        if (p->version)
            continue;
        model_fill(page, version, 4096);
        got = swap_put(f->sw, i, page, &p->slot);
        if (got == SWAP_OK) {
            p->version = version;
            p->is_damaged = false;
        } else if (got == SWAP_FULL) {
            invariant(info(f).used == info(f).slots);
        } else {
            swap_wait_room(f->sw);
        }
    }
}

static void free_run(struct fuzz *f, uint64_t from, uint64_t run)
{
    for (uint64_t i = from; i < from + run && i < f->pages; i++) {
        if (f->page[i].version)
            swap_free(f->sw, f->page[i].slot);
        f->page[i].version = 0;
    }
}

/* How many of the pages came; each that did is right. */
static unsigned get_run(struct fuzz *f, uint64_t from, unsigned most, unsigned *asked)
{
    static uint64_t memory[MOST_READ][PAGE_SIZE / 8];
    struct swap_info before = info(f);
    uint64_t index[MOST_READ];
    uint32_t slots[MOST_READ];
    void *pages[MOST_READ];
    bool ok[MOST_READ], result;
    unsigned n = 0, came = 0, damaged = 0;

    for (uint64_t i = from; i < f->pages && n < most; i++) {
        if (!f->page[i].version)
            continue;
        index[n] = i;
        slots[n] = f->page[i].slot;
        pages[n] = memory[n];
        n++;
    }
    for (unsigned i = 0; n > 1 && i < n; i++) { /* in any order */
        uint64_t k = below(f, n), t = index[i];
        uint32_t slot = slots[i];
        index[i] = index[k];
        slots[i] = slots[k];
        index[k] = t;
        slots[k] = slot;
    }
    result = swap_get(f->sw, slots, pages, ok, n);
    for (unsigned i = 0; i < n; i++) {
        const struct page_model *p = &f->page[index[i]];
        damaged += p->is_damaged;
        invariant(!ok[i] || (!p->is_damaged && model_is(memory[i], p->version, 4096)));
        came += ok[i];
    }
    invariant(came + damaged == n || info(f).errors > before.errors);
    invariant(result || (!came && n && swap_trouble(f->sw)));
    *asked = n - damaged;
    return came;
}

/* Flips a bit of a page that is in the file, and of no other. */
static void damage(struct fuzz *f, uint64_t index)
{
    struct page_model *p = &f->page[index];
    uint8_t byte;
    off_t at;
    int fd;

    swap_work(f->sw, SWAP_WHEN_DUE);
    if (!p->version || p->is_damaged || swap_is_staged(f->sw, p->slot) || info(f).in_flight)
        return;
    fd = open(f->path, O_RDWR | O_CLOEXEC);
    at = (off_t)(p->slot * PAGE_SIZE + below(f, PAGE_SIZE));
    invariant(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= (uint8_t)(1u << below(f, 8));
    invariant(pwrite(fd, &byte, 1, at) == 1 && !fsync(fd));
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    p->is_damaged = true;
}

static void note_moved(void *arg, uint32_t owner, zstore_id id)
{
    struct fuzz *f = arg;

    invariant(f->page[owner].id);
    f->page[owner].id = id;
}

static void compress_step(struct fuzz *f, uint64_t index)
{
    struct page_model *p = &f->page[index];
    uint64_t page[PAGE_SIZE / 8];

    if (p->id) {
        zstore_get(f->zs, p->id, page);
        invariant(model_is(page, p->id_version, p->noise));
        if (below(f, 3)) {
            zstore_free(f->zs, p->id);
            p->id = 0;
        }
        return;
    }
    p->id_version = model_next(&f->seed);
    p->noise = (uint16_t)below(f, 4097);
    model_fill(page, p->id_version, p->noise);
    switch (zstore_put(f->zs, page, (uint32_t)index, &p->id)) {
    case ZSTORE_OK:
        invariant(p->id && p->noise < 3200);
        break;
    case ZSTORE_POOR:
        invariant(!p->id && p->noise > 2800);
        break;
    case ZSTORE_FULL:
        invariant(!p->id && zstore_bytes(f->zs) + 65536 > f->zstore_limit);
        break;
    }
}

static void step(struct fuzz *f)
{
    uint64_t index = below(f, f->pages), run = 1 + below(f, below(f, 4) ? 8 : 100);
    unsigned asked;

    switch (below(f, 16)) {
    case 0 ... 4:
        put_run(f, index, run);
        break;
    case 5 ... 7:
        free_run(f, index, run);
        break;
    case 8 ... 9:
        (void)get_run(f, index, 1 + (unsigned)below(f, below(f, 4) ? 8 : MOST_READ), &asked);
        break;
    case 10:
        (void)zstore_compact(f->zs, below(f, 1000), note_moved, f);
        break;
    case 11:
        if (below(f, 4))
            swap_work(f->sw, below(f, 2) ? SWAP_WHEN_DUE : SWAP_ALL_NOW);
        else
            swap_punch(f->sw);
        break;
    case 12 ... 14:
        compress_step(f, index);
        break;
    default:
        if (!below(f, 4)) {
            damage(f, index);
        } else if (!below(f, 40)) {
            swap_free_all(f->sw);
            for (uint64_t i = 0; i < f->pages; i++)
                f->page[i].version = 0;
        } else if (!below(f, 10)) {
            f->zstore_limit = below(f, 4 << 20);
            zstore_set_limit(f->zs, f->zstore_limit);
        }
    }
}

/* ---- a case ---- */

/* The host works again: everything reaches the file and comes back. */
static void end(struct fuzz *f)
{
    unsigned asked;

    for (unsigned tries = 0; info(f).staged; tries++) {
        invariant(tries < 20000);
        swap_work(f->sw, SWAP_ALL_NOW);
        swap_wait_room(f->sw);
        if (swap_trouble(f->sw))
            usleep(10000);
    }
    for (uint64_t i = 0; i < f->pages; i += MOST_READ / 2) {
        unsigned tries = 0;
        while (get_run(f, i, MOST_READ / 2, &asked) != asked)
            invariant(++tries < 200); /* made-up failures end */
    }
    check(f);
    swap_close(f->sw);
    zstore_destroy(f->zs);
    invariant(access(f->path, F_OK));
    model_folder_remove(f->folder);
}

static void run_case(uint64_t number)
{
    struct fuzz *f = calloc(1, sizeof(*f));
    unsigned steps;

    invariant(f);
    begin(f, number);
    steps = 200 + (unsigned)below(f, 1500);
    for (unsigned i = 0; i < steps; i++) {
        step(f);
        if (i % 128 == 0)
            check(f);
    }
    end(f);
    free(f);
}

/* The newest case, for whoever reads the core or the log of a failure. */
static void announce(uint64_t number)
{
    fprintf(stderr, "\rcase %llu ", (unsigned long long)number);
}

static bool run_corpus(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[128];

    if (!file)
        return false;
    while (fgets(line, sizeof(line), file)) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        announce(strtoull(line, NULL, 0));
        run_case(strtoull(line, NULL, 0));
    }
    fclose(file);
    return true;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, count = 20, seconds = 0, done = 0;
    time_t start = time(NULL);

    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seed"))
            seed = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--count"))
            count = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--seconds"))
            seconds = strtoull(argv[i + 1], NULL, 0);
        else if (strcmp(argv[i], "--corpus") || !run_corpus(argv[i + 1]))
            return 2;
    }
    for (; seconds ? (uint64_t)(time(NULL) - start) < seconds : done < count; done++) {
        announce(seed + done);
        run_case(seed + done);
    }
    fprintf(stderr, "\r%llu cases, no complaint\n", (unsigned long long)done);
    return 0;
}
