/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_balloon_fuzz [--seed N] [--count N] [--seconds N] [--corpus FILE] [--case N]
 *
 * Balloon devices driven at random: case N is one device on a small guest memory and some hundred
 * steps, right and wrong ones mixed: chains of any kind, rings anywhere, resets, targets, hints,
 * pages that are written, compressed and pinned meanwhile. With --seconds, cases follow each other
 * until the time is over. --corpus: cases that once found a fault, one a line.
 *
 * What must hold: no crash, no report of a sanitizer; memory's proof after each case; a service
 * does not more than its share; a page reads as what was written there last or as zeros, never as
 * anything else; and after a reset the device serves a driver that behaves.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../unit/balloon_driver.h"
#include "mem/reclaim.h"

#define STEPS 400
/* Pages with marks; those before them hold rings and buffers. */
#define MARKED     BD_OWN
#define SHARE      (UINT64_C(8192) * BD_QUEUES)
#define LONG_CHAIN (UINT32_C(1) << 22)

struct fuzz {
    struct bd d;
    uint64_t state; /* of the generator */
    uint64_t now_ns;
    uint32_t version[BD_PAGES]; /* of the mark that was written last; 0: none */
    uint64_t pinned;            /* a pinned page, 0: none */
    const char *step;
};

/* SplitMix64: every seed gives another sequence. */
static uint64_t next(struct fuzz *f)
{
    uint64_t z = f->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t below(struct fuzz *f, uint64_t n)
{
    return next(f) % n;
}

static bool one_in(struct fuzz *f, uint64_t n)
{
    return below(f, n) == 0;
}

static void fault(const struct fuzz *f, const char *what)
{
    fprintf(stderr, "virtio_balloon_fuzz: %s, in or before step '%s': %s\n", what, f->step,
            err_text());
    abort();
}

/* ---- marks ---- */

static uint64_t mark_of(uint64_t page, uint32_t version, unsigned word)
{
    return (page << 32 | version) * UINT64_C(0x2545f4914f6cdd1d) + word;
}

/* Pages that compress, by their 8-byte words. */
static void write_mark(struct fuzz *f, uint64_t page)
{
    uint64_t words[512];

    f->version[page]++;
    for (unsigned i = 0; i < 512; i++)
        words[i] = mark_of(page, f->version[page], i % 4);
    if (!mem_write(f->d.mem, gpa_make(page * PAGE_SIZE), words, sizeof words))
        fault(f, "a write to memory failed");
}

static void write_marks(struct fuzz *f)
{
    uint64_t first = MARKED + below(f, BD_PAGES - MARKED), count = 1 + below(f, 64);

    for (uint64_t page = first; page < first + count && page < BD_PAGES; page++)
        write_mark(f, page);
}

static void check_mark(struct fuzz *f, uint64_t page)
{
    uint64_t words[512];
    unsigned word = (unsigned)below(f, 512);

    if (!mem_read_through(f->d.mem, gpa_make(page * PAGE_SIZE), words, sizeof words))
        fault(f, "a read of memory failed");
    if (!words[0] && !words[word])
        return;
    if (words[word] != mark_of(page, f->version[page], word % 4) ||
        words[0] != mark_of(page, f->version[page], 0))
        fault(f, "a page holds what nobody wrote there");
}

/* ---- right steps ---- */

static uint32_t any_pfn(struct fuzz *f)
{
    switch (below(f, 8)) {
    case 0:
        return (uint32_t)next(f);
    case 1:
        return (uint32_t)below(f, MARKED);
    case 2:
        return (uint32_t)(BD_PAGES - 4 + below(f, 8));
    default:
        return (uint32_t)below(f, BD_PAGES);
    }
}

static void send_run(struct fuzz *f)
{
    uint32_t first = any_pfn(f);
    unsigned count = 1 + (unsigned)below(f, 600);

    bd_send_run(&f->d, one_in(f, 3) ? BD_DEFLATE : BD_INFLATE, first, count);
}

static void send_scattered(struct fuzz *f)
{
    uint32_t pfns[64];
    unsigned count = 1 + (unsigned)below(f, 64);

    for (unsigned i = 0; i < count; i++)
        pfns[i] = any_pfn(f);
    bd_send_pfns(&f->d, one_in(f, 3) ? BD_DEFLATE : BD_INFLATE, pfns, count);
}

static void send_pages(struct fuzz *f)
{
    struct bd_buffer buffers[8];
    unsigned count = 1 + (unsigned)below(f, 8);

    for (unsigned i = 0; i < count; i++) {
        uint64_t page = below(f, BD_PAGES), most = BD_PAGES - page;

        buffers[i] = (struct bd_buffer){
            page * PAGE_SIZE,
            (uint32_t)((1 + below(f, one_in(f, 4) ? most
                                     : most < 64  ? most
                                                  : 64)) *
                       PAGE_SIZE),
            true,
        };
    }
    bd_send(&f->d, one_in(f, 3) ? BD_HINT : BD_REPORT, buffers, count);
}

static void send_command(struct fuzz *f)
{
    const struct bd_buffer buffer = {BD_BUFFERS, one_in(f, 20) ? 8 : 4, false};
    uint32_t id = bd_config(&f->d, BD_CMD_ID);

    if (one_in(f, 3))
        id = (uint32_t)below(f, 4);
    if (!mem_write(f->d.mem, gpa_make(BD_BUFFERS), &id, sizeof id))
        fault(f, "a write to memory failed");
    bd_send(&f->d, BD_HINT, &buffer, 1);
}

/* A round of hints; the guest uses some of the pages again before the device comes to look. */
static void hint_round(struct fuzz *f)
{
    uint64_t first = MARKED + below(f, BD_PAGES - MARKED - 64);
    const struct bd_buffer pages = {first * PAGE_SIZE, 64 * (uint32_t)PAGE_SIZE, true};
    const struct bd_buffer command = {BD_BUFFERS, 4, false};
    struct mem_balloon_stats before, after;
    uint64_t written, mark = 1;
    uint32_t id;

    balloon_start_hinting(f->d.balloon);
    id = bd_config(&f->d, BD_CMD_ID);
    if (!mem_write(f->d.mem, gpa_make(BD_BUFFERS), &id, sizeof id) ||
        !mem_fill_zero(f->d.mem, gpa_make(pages.gpa), 32 * PAGE_SIZE))
        fault(f, "a write to memory failed");
    bd_send(&f->d, BD_HINT, &command, 1);
    bd_add(&f->d, BD_HINT, &pages, 1);
    written = first + below(f, 64);
    write_mark(f, written);
    before = *mem_balloon_stats(f->d.mem);
    virtio_notify(&f->d.dev, BD_HINT);
    bd_settle(&f->d);
    after = *mem_balloon_stats(f->d.mem);
    /* unless something else took it, it is there */
    if (before.inflated == after.inflated && before.reported == after.reported &&
        !mem_read(f->d.mem, gpa_make(written * PAGE_SIZE), &mark, sizeof mark))
        fault(f, "a read of memory failed");
    if (!mark)
        fault(f, "a hinted page that was written to is lost");
}

static void send_stats(struct fuzz *f)
{
    uint64_t bytes[64];
    const struct bd_buffer buffer = {BD_BUFFERS, 1 + (uint32_t)below(f, sizeof bytes), false};

    for (unsigned i = 0; i < 64; i++)
        bytes[i] = next(f) >> below(f, 64);
    if (!mem_write(f->d.mem, gpa_make(BD_BUFFERS), bytes, sizeof bytes))
        fault(f, "a write to memory failed");
    bd_send(&f->d, BD_STATS, &buffer, 1);
}

static void start(struct fuzz *f)
{
    uint64_t features = VIRTIO_F_VERSION_1;

    features |= one_in(f, 3) ? next(f) & 0x3e : 0x3e;
    if (one_in(f, 3))
        bd_set_config(&f->d, BD_POISON, (uint32_t)next(f));
    if (!bd_start(&f->d, features))
        fault(f, "a driver that behaves was refused");
}

static void ask(struct fuzz *f)
{
    struct balloon_info info;

    switch (below(f, 4)) {
    case 0:
        balloon_set_target(f->d.balloon, next(f) >> below(f, 64));
        break;
    case 1:
        balloon_ask_stats(f->d.balloon);
        break;
    case 2:
        balloon_start_hinting(f->d.balloon);
        break;
    default:
        bd_set_config(&f->d, BD_ACTUAL, (uint32_t)(next(f) >> below(f, 64)));
        break;
    }
    balloon_get_info(f->d.balloon, &info);
    if (info.actual_pages > BD_PAGES || info.target_pages > BD_PAGES)
        fault(f, "more pages than there are");
}

static void pin(struct fuzz *f)
{
    if (f->pinned)
        mem_unpin(f->d.mem, gfn_make(f->pinned));
    f->pinned = one_in(f, 2) ? 0 : MARKED + below(f, BD_PAGES - MARKED);
    if (f->pinned && !mem_pin(f->d.mem, gfn_make(f->pinned)))
        fault(f, "a page could not be pinned");
}

/* Pages go to the compressed store and become shared; some time passes. */
static void reclaim(struct fuzz *f)
{
    struct mem_orders orders = {
        .limit_bytes = UINT64_MAX,
        .target_bytes = one_in(f, 2) ? UINT64_MAX : below(f, BD_BYTES),
        .means = (unsigned)below(f, MEM_MEANS_ALL + 1) & ~(unsigned)MEM_MEANS_SWAP,
        .share_scan_pages_per_s = one_in(f, 2) ? 100000 : 0,
    };

    mem_set_orders(f->d.mem, &orders);
    f->now_ns += below(f, 3000000000);
    mem_service(f->d.mem, f->now_ns, 2000000);
}

/* ---- wrong steps ---- */

/* Descriptors, available ring and its index from a dice cup, on rings of our own. */
static void wild_ring(struct fuzz *f)
{
    unsigned queue = (unsigned)below(f, BD_QUEUES);
    unsigned count = 1 + (unsigned)below(f, BD_QUEUE_SIZE);
    uint16_t idx = (uint16_t)(f->d.avail[queue] + below(f, one_in(f, 4) ? 65536 : 20));

    for (unsigned i = 0; i < count; i++) {
        struct {
            uint64_t addr;
            uint32_t len;
            uint16_t flags, next;
        } desc = {one_in(f, 8) ? next(f) : below(f, BD_BYTES), (uint32_t)below(f, 8192),
                  (uint16_t)below(f, one_in(f, 6) ? 65536 : 4),
                  (uint16_t)below(f, one_in(f, 6) ? 65536 : BD_QUEUE_SIZE)};
        uint16_t head = (uint16_t)below(f, one_in(f, 8) ? 65536 : BD_QUEUE_SIZE);

        if (one_in(f, 16))
            desc.len = (uint32_t)next(f);
        else if (one_in(f, 40))
            desc.len = LONG_CHAIN;
        if (!mem_write(f->d.mem, gpa_make(bd_ring(queue, 0) + 16 * below(f, BD_QUEUE_SIZE)), &desc,
                       sizeof desc) ||
            !mem_write(f->d.mem, gpa_make(bd_ring(queue, 1) + 4 + 2 * (uint64_t)i), &head, 2))
            fault(f, "a write to memory failed");
    }
    if (!mem_write(f->d.mem, gpa_make(bd_ring(queue, 1) + 2), &idx, 2))
        fault(f, "a write to memory failed");
    f->d.avail[queue] = idx;
    virtio_notify(&f->d.dev, queue);
}

/* Rings that overlap each other or lie where there is nothing; below the marks, or no RAM. */
static void misplace_ring(struct fuzz *f)
{
    unsigned queue = (unsigned)below(f, BD_QUEUES);
    struct virtq *q = &f->d.dev.queue[queue];
    gpa_t *const parts[] = {&q->desc, &q->avail, &q->used};

    virtio_set_status(&f->d.dev, 0);
    virtio_set_status(&f->d.dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    virtio_set_driver_features(&f->d.dev, BD_F_DEFAULT);
    virtio_set_status(&f->d.dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    for (unsigned i = 0; i < BD_QUEUES; i++) {
        if (i != queue)
            bd_enable(&f->d, i);
    }
    q->size = (uint16_t)(1u << below(f, 8));
    for (unsigned i = 0; i < 3; i++) {
        *parts[i] = gpa_make(below(f, 48 * PAGE_SIZE) & ~UINT64_C(3));
        if (one_in(f, 6))
            *parts[i] = gpa_make(UINT64_MAX - below(f, 1 << 20));
    }
    virtio_enable_queue(&f->d.dev, queue);
    virtio_set_status(&f->d.dev, 15);
    virtio_notify(&f->d.dev, queue);
}

static void wild_config(struct fuzz *f)
{
    uint64_t bytes = next(f);
    uint8_t out[8];

    virtio_config_write(&f->d.dev, below(f, 20), &bytes, 1 + below(f, 8));
    virtio_config_read(&f->d.dev, below(f, 20), out, 1 + below(f, 8));
    if (one_in(f, 8))
        virtio_set_status(&f->d.dev, (uint8_t)next(f));
}

static void notify_all(struct fuzz *f)
{
    for (unsigned i = 0; i < BD_QUEUES; i++)
        virtio_notify(&f->d.dev, i);
}

/* ---- cases ---- */

static const struct {
    const char *name;
    void (*run)(struct fuzz *f);
    unsigned weight;
} steps[] = {
    {"run", send_run, 12},
    {"scattered", send_scattered, 6},
    {"pages", send_pages, 10},
    {"command", send_command, 6},
    {"hint round", hint_round, 4},
    {"stats", send_stats, 4},
    {"start", start, 3},
    {"ask", ask, 8},
    {"pin", pin, 2},
    {"reclaim", reclaim, 4},
    {"write", write_marks, 20},
    {"wild ring", wild_ring, 8},
    {"misplaced ring", misplace_ring, 2},
    {"wild config", wild_config, 3},
    {"notify all", notify_all, 2},
};

#define STEP_KINDS (sizeof(steps) / sizeof(steps[0]))

static uint64_t handled(const struct fuzz *f)
{
    const struct mem_balloon_stats *s = mem_balloon_stats(f->d.mem);

    return s->inflated + s->deflated + s->reported + s->hinted + s->ignored;
}

static void step(struct fuzz *f)
{
    unsigned total = 0, at = 0;
    uint64_t dice, before;

    for (size_t i = 0; i < STEP_KINDS; i++)
        total += steps[i].weight;
    dice = below(f, total);
    while (dice >= steps[at].weight)
        dice -= steps[at++].weight;
    f->step = steps[at].name;
    /* most drivers that are told to reset do so */
    if ((f->d.dev.status & VIRTIO_DEVICE_NEEDS_RESET) && one_in(f, 3))
        start(f);
    steps[at].run(f);
    before = handled(f);
    if (bd_service(&f->d) && handled(f) - before > SHARE)
        fault(f, "a service did more than its share");
    check_mark(f, MARKED + below(f, BD_PAGES - MARKED));
}

static void run_case(uint64_t number)
{
    static const struct mem_store_config stores = {.compress_bytes = UINT64_C(4) << 20};
    struct fuzz *f = calloc(1, sizeof(*f));

    if (!f || bd_open(&f->d) || mem_stores_open(f->d.mem, &stores)) {
        fprintf(stderr, "virtio_balloon_fuzz: no memory\n");
        exit(4);
    }
    f->state = number;
    f->now_ns = UINT64_C(1000000000);
    f->step = "start";
    start(f);
    for (unsigned i = 0; i < STEPS; i++)
        step(f);
    bd_settle(&f->d);
    if (!mem_check(f->d.mem))
        fault(f, "memory's proof failed");
    for (uint64_t page = MARKED; page < BD_PAGES; page++)
        check_mark(f, page);
    if (f->pinned)
        mem_unpin(f->d.mem, gfn_make(f->pinned));
    start(f);
    bd_send_run(&f->d, BD_INFLATE, MARKED, 100);
    if (bd_used(&f->d, BD_INFLATE) != 1 || mem_ledger(f->d.mem).pages[PAGE_BALLOONED] != 100)
        fault(f, "a driver that behaves is not served after a reset");
    bd_close(&f->d);
    free(f);
}

static uint64_t now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec;
}

static void run_corpus(const char *path)
{
    char line[128];
    FILE *file = fopen(path, "r");

    if (!file) {
        perror(path);
        exit(2);
    }
    while (fgets(line, sizeof line, file)) {
        if (line[0] != '#' && line[0] != '\n')
            run_case(strtoull(line, NULL, 0));
    }
    fclose(file);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, count = 1, seconds = 0, done = 0, begin = now_s();

    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (value && !strcmp(argv[i], "--seed"))
            seed = strtoull(value, NULL, 0);
        else if (value && !strcmp(argv[i], "--count"))
            count = strtoull(value, NULL, 0);
        else if (value && !strcmp(argv[i], "--seconds"))
            seconds = strtoull(value, NULL, 0);
        else if (value && !strcmp(argv[i], "--corpus"))
            run_corpus(value);
        else if (value && !strcmp(argv[i], "--case"))
            seed = strtoull(value, NULL, 0), count = 1;
        else
            return fprintf(stderr, "usage: virtio_balloon_fuzz [--seed N] [--count N] "
                                   "[--seconds N] [--corpus FILE] [--case N]\n"),
                   2;
    }
    for (; seconds ? now_s() - begin < seconds : done < count; done++) {
        if (seconds && done % 1000 == 0)
            fprintf(stderr, "case %" PRIu64 "\n", seed + done);
        run_case(seed + done);
    }
    printf("%" PRIu64 " cases passed, from %" PRIu64 " on\n", done, seed);
    return 0;
}
