/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to put a page away and to have it back: compressed, shared, swapped.
 *
 *     build/bench/stores [FOLDER OF THE SWAP FILE] [MiB]
 *
 * One line per measure: GiB/s, and us per page: on the clock and of processors (the kernel's
 * threads for us included), or median and 99th percentile over calls, which a busy host disturbs
 * less.
 */
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/addr.h"
#include "mem/store/share.h"
#include "mem/store/swap.h"
#include "mem/store/zstore.h"

struct bench {
    uint64_t pages;
    uint8_t *memory, *back;
    uint32_t *id;
    double *us;
    uint64_t *order;
};

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static uint8_t *page_of(const struct bench *b, uint64_t i)
{
    return b->memory + i * PAGE_SIZE;
}

/*
 * Like data structures and text: words from a small set, broken by random ones. How many differs
 * from page to page, so that compressed sizes do too (about 0.2 to 0.8 of a page).
 */
static void fill(struct bench *b)
{
    uint64_t seed = 42;

    for (uint64_t i = 0; i < b->pages; i++) {
        uint64_t *words = (uint64_t *)(void *)page_of(b, i), odd = 1 + next(&seed) % 7;
        for (unsigned k = 0; k < PAGE_SIZE / 8; k++)
            words[k] = next(&seed) % 10 < odd ? next(&seed) >> 8 * (next(&seed) % 4)
                                              : (i << 12) + (next(&seed) % 16) * 64;
    }
    for (uint64_t i = 0; i < b->pages; i++)
        b->order[i] = i;
    for (uint64_t i = b->pages - 1; i > 0; i--) {
        uint64_t k = next(&seed) % (i + 1), t = b->order[i];
        b->order[i] = b->order[k];
        b->order[k] = t;
    }
}

struct start {
    double us, cpu_us;
};

static struct start start_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (struct start){now_us(), (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3};
}

static void say(const char *what, uint64_t pages, struct start start)
{
    struct start end = start_now();
    double us = end.us - start.us;

    printf("%-34s %7.2f GiB/s %8.2f us/page  processor %.2f us\n", what,
           (double)pages * (double)PAGE_SIZE / us * 1e6 / (1 << 30), us / (double)pages,
           (end.cpu_us - start.cpu_us) / (double)pages);
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void say_each(const char *what, double *us, uint64_t pages)
{
    double sum = 0;

    qsort(us, pages, sizeof(*us), by_value);
    for (uint64_t i = 0; i < pages; i++)
        sum += us[i];
    printf("%-34s %7.2f GiB/s %8.2f us/page  median %.2f us, 99%% %.2f us\n", what,
           (double)pages * (double)PAGE_SIZE / sum * 1e6 / (1 << 30), sum / (double)pages,
           us[pages / 2], us[pages * 99 / 100]);
}

static int die(const char *what)
{
    fprintf(stderr, "stores: %s: %s\n", what, err_text());
    return 1;
}

/* ---- compressed ---- */

static int bench_zstore(struct bench *b)
{
    uint64_t kept = 0, poor = 0, bytes = 0;
    char block[LZ4_COMPRESSBOUND(4096)];
    struct zstore *zs;

    if (zstore_create(&zs, UINT64_MAX))
        return die("zstore");
    for (uint64_t i = 0; i < b->pages; i++) {
        double start = now_us();
        if (zstore_put(zs, page_of(b, i), (uint32_t)i, &b->id[i]) != ZSTORE_OK)
            poor++;
        b->us[i] = now_us() - start;
        if (b->id[i])
            bytes += (uint64_t)LZ4_compress_default((char *)page_of(b, i), block, (int)PAGE_SIZE,
                                                    sizeof(block));
    }
    say_each("compressed store, in", b->us, b->pages);
    for (uint64_t i = 0; i < b->pages; i++) {
        double start = now_us();
        if (!b->id[i])
            continue;
        zstore_get(zs, b->id[i], b->back);
        b->us[kept++] = now_us() - start;
    }
    say_each("compressed store, out", b->us, kept);
    printf(
        "%-34s %7.1f %% of the pages kept, in %.1f %% of their size, %.1f %% more than LZ4 made\n",
        "", 100.0 * (double)kept / (double)(kept + poor),
        100.0 * (double)zstore_bytes(zs) / ((double)kept * (double)PAGE_SIZE),
        100.0 * ((double)zstore_bytes(zs) / (double)bytes - 1));
    zstore_destroy(zs);
    return 0;
}

/* ---- shared ---- */

static int bench_share(struct bench *b)
{
    uint64_t sum = 0;
    uint64_t copies = b->pages / 8;
    struct share *sh;
    struct start start = start_now();

    for (uint64_t i = 0; i < b->pages; i++)
        sum += share_hash(page_of(b, i));
    say(sum ? "sharing, hash" : "", b->pages, start);
    if (share_create(&sh))
        return die("share");
    for (uint64_t i = 0; i < copies; i++)
        if (!share_add(sh, share_hash(page_of(b, i)), page_of(b, i)))
            return die("share");
    start = start_now();
    for (uint64_t i = 0; i < copies; i++)
        if (!share_find(sh, share_hash(page_of(b, i)), page_of(b, i)))
            return die("share");
    say("sharing, hash and compare", copies, start);
    share_destroy(sh);
    return 0;
}

/* ---- swapped ---- */

static bool swap_out(struct bench *b, struct swap *sw, const uint64_t *order, const char *what)
{
    struct start start = start_now();
    struct swap_info info;

    for (uint64_t i = 0; i < b->pages; i++) {
        uint64_t index = order ? order[i] : i;
        double put_start = now_us();
        enum swap_put got = swap_put(sw, index, page_of(b, index), &b->id[index]);
        b->us[i] = now_us() - put_start;
        if (got == SWAP_BUSY) {
            swap_wait_room(sw);
            i--;
        } else if (i % 64 == 0) {
            swap_work(sw, SWAP_WHEN_DUE);
        }
        if (got == SWAP_FULL || swap_trouble(sw))
            return false;
    }
    do {
        swap_wait_room(sw);
        swap_get_info(sw, &info);
    } while (info.staged && !swap_trouble(sw));
    say(what, b->pages, start);
    say_each("  of this in swap_put", b->us, b->pages);
    return !swap_trouble(sw);
}

static bool swap_in(struct bench *b, struct swap *sw, const uint64_t *order, unsigned run,
                    const char *what)
{
    uint64_t calls = 0, most = order ? b->pages / 16 : b->pages;
    void *pages[64];
    bool ok[64];

    for (unsigned k = 0; k < run; k++)
        pages[k] = b->back + k * PAGE_SIZE;
    for (uint64_t i = 0; i + run <= most; i += run) {
        uint64_t index = order ? order[i] / run * run : i;
        double call_start = now_us();
        if (index + run > b->pages)
            continue;
        if (!swap_get(sw, b->id + index, pages, ok, run) || !ok[0] ||
            memcmp(b->back, page_of(b, index), run * PAGE_SIZE))
            return false;
        b->us[calls++] = (now_us() - call_start) / run;
    }
    say_each(what, b->us, calls);
    return true;
}

/*
 * What a guest at its limit does all the time: a page comes in, its slot is free, another goes
 * out.
 */
static bool swap_again(struct bench *b, struct swap *sw)
{
    uint64_t count = b->pages / 8;
    struct start start = start_now();
    struct swap_info info;

    for (uint64_t i = 0; i < count; i++) {
        swap_free(sw, b->id[b->order[i]]);
        if (i % 64 == 0)
            swap_work(sw, SWAP_WHEN_DUE);
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t index = b->order[i];
        while (swap_put(sw, index, page_of(b, index), &b->id[index]) == SWAP_BUSY)
            swap_wait_room(sw);
        if (i % 64 == 0)
            swap_work(sw, SWAP_WHEN_DUE);
    }
    do {
        swap_wait_room(sw);
        swap_get_info(sw, &info);
    } while (info.staged && !swap_trouble(sw));
    say("free and swap out again, at random", count, start);
    return !swap_trouble(sw);
}

static int bench_swap(struct bench *b, const char *folder)
{
    struct swap *sw;
    char path[4096];

    snprintf(path, sizeof(path), "%s/bench.vswp", folder);
    if (swap_open(&sw, SWAP_FOR_SWAPPING, path, b->pages * PAGE_SIZE, b->pages, NULL))
        return die("swap");
    if (!swap_out(b, sw, NULL, "swap out, in guest order") ||
        !swap_in(b, sw, NULL, 64, "swap in, in order, 64 a call") ||
        !swap_in(b, sw, NULL, 16, "swap in, in order, 16 a call") ||
        !swap_in(b, sw, b->order, 1, "swap in, at random, 1 a call"))
        return die("swap");
    swap_free_all(sw);
    if (!swap_out(b, sw, b->order, "swap out, at random") ||
        !swap_in(b, sw, b->order, 16, "swap in, at random, 16 a call") || !swap_again(b, sw))
        return die("swap");
    swap_close(sw);
    return 0;
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "/var/tmp";
    struct bench b = {.pages = (argc > 2 ? strtoull(argv[2], NULL, 0) : 256) << 8};

    if (!b.pages || b.pages > UINT64_C(1) << 26)
        return 2;
    b.memory = malloc(b.pages * PAGE_SIZE);
    b.back = malloc(64 * PAGE_SIZE);
    b.id = calloc(b.pages, sizeof(*b.id));
    b.us = calloc(b.pages, sizeof(*b.us));
    b.order = calloc(b.pages, sizeof(*b.order));
    if (!b.memory || !b.back || !b.id || !b.us || !b.order)
        return 1;
    fill(&b);
    return bench_zstore(&b) || bench_share(&b) || bench_swap(&b, folder);
}
