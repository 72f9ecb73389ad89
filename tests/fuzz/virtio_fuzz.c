/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio_fuzz.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/aio.h"
#include "mem/reclaim.h"

#define STEPS_MOST 300

/* A case that takes longer than this hangs: SIGALRM ends the process, the seed was printed. */
#define CASE_SECONDS 30

/* ---- wild accesses ---- */

static unsigned random_width(struct fuzz *f)
{
    return 1u << fuzz_below(f, 4);
}

static uint64_t random_value(struct fuzz *f)
{
    switch (fuzz_below(f, 4)) {
    case 0:
        return fuzz_below(f, 16);
    case 1:
        return UINT64_MAX;
    case 2:
        return fuzz_below(f, 0x10000);
    default:
        return fuzz_random(f);
    }
}

static void touch_common(struct fuzz *f)
{
    enum driver_common at = (enum driver_common)fuzz_below(f, 64);

    if (fuzz_one_in(f, 2))
        driver_common_write(&f->d, at, random_width(f), random_value(f));
    else
        driver_common_read(&f->d, at, random_width(f));
}

/* The window takes up to 8 bytes of any alignment, as the instruction emulation may ask. */
static void touch_bar(struct fuzz *f)
{
    uint64_t at = f->d.common + fuzz_below(f, 6) * 0x1000 + fuzz_below(f, 80);

    if (fuzz_one_in(f, 8))
        at = PCI_WINDOW + fuzz_below(f, PCI_WINDOW_BYTES - 8);
    if (fuzz_one_in(f, 2))
        driver_write(&f->d, at, 1 + (unsigned)fuzz_below(f, 8), random_value(f));
    else
        driver_read(&f->d, at, 1 + (unsigned)fuzz_below(f, 8));
}

static void touch_pci(struct fuzz *f)
{
    unsigned bytes = 1u << fuzz_below(f, 3);
    unsigned at = (unsigned)fuzz_below(f, 256) & ~(bytes - 1);

    if (fuzz_one_in(f, 3))
        at = f->d.pci_cfg_cap + (unsigned)fuzz_below(f, 20 / bytes) * bytes;
    if (fuzz_one_in(f, 2))
        driver_pci_write(&f->d, at, bytes, (uint32_t)random_value(f));
    else
        driver_pci_read(&f->d, at, bytes);
}

/* ---- a case ---- */

static unsigned bits_in_flight(const struct virtq *q)
{
    unsigned count = 0;

    for (size_t i = 0; i < sizeof(q->in_flight) / sizeof(q->in_flight[0]); i++)
        count += (unsigned)__builtin_popcountll(q->in_flight[i]);
    return count;
}

static void check(struct fuzz *f)
{
    const struct virtio_device *dev = f->d.dev;

    invariant((dev->status & VIRTIO_FEATURES_OK) || !(dev->status & VIRTIO_DRIVER_OK));
    invariant(!(dev->status & VIRTIO_FEATURES_OK) ||
              !(dev->driver_features & ~virtio_offered(dev)));
    for (unsigned i = 0; i < dev->ops->queues; i++) {
        const struct virtq *q = &dev->queue[i];

        invariant(q->size && q->size <= dev->ops->queue_size && !(q->size & (q->size - 1)));
        invariant(q->done_count <= q->size && bits_in_flight(q) <= q->size);
    }
}

/* Pages go to the swap file, whose reads and writes fail now and then. */
static void swap_out(struct fuzz *f)
{
    const struct mem_orders orders = {
        .limit_bytes = UINT64_MAX,
        .target_bytes = fuzz_one_in(f, 2) ? 0 : fuzz_below(f, FUZZ_MEMORY),
        .means = MEM_MEANS_ALL,
    };

    mem_set_orders(f->d.mem, &orders);
    for (uint64_t i = fuzz_below(f, 4); i > 0; i--)
        mem_service(f->d.mem, f->now_ns += MEM_AGE_PERIOD_NS, 1000000);
}

static void step(struct fuzz *f, const struct fuzz_target *target)
{
    unsigned queue = (unsigned)fuzz_below(f, f->d.dev->ops->queues);

    switch (fuzz_below(f, 32)) {
    case 0:
        fuzz_bring_up(f);
        break;
    case 1:
        virtio_pci_reset(f->d.vp);
        break;
    case 2:
        virtio_config_changed(f->d.dev);
        break;
    case 3:
        virtio_ask_service(f->d.dev);
        break;
    case 4 ... 5:
        touch_common(f);
        break;
    case 6 ... 7:
        touch_bar(f);
        break;
    case 8:
        touch_pci(f);
        break;
    case 9 ... 13:
        fuzz_scribble(f, queue);
        break;
    case 14 ... 18:
        fuzz_add(f, queue);
        break;
    case 19 ... 22:
        virtio_notify(f->d.dev, queue);
        break;
    case 23:
        if (f->swaps)
            swap_out(f);
        break;
    case 24 ... 27:
        if (target->step)
            target->step(f);
        break;
    default:
        driver_serve(&f->d);
        break;
    }
    check(f);
}

/* What is running, for the last words. */
static struct {
    const char *target;
    uint64_t seed;
} now;

static void say_case(void)
{
    fprintf(stderr, "the case that failed: %s %" PRIu64 "\n", now.target, now.seed);
}

static void on_signal(int number)
{
    (void)number;
    say_case();
    signal(SIGABRT, SIG_DFL);
    abort();
}

/* A sanitizer that ends the process calls this. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void catch_ends(void)
{
    signal(SIGALRM, on_signal);
    signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(say_case);
}

static void open_stores(struct fuzz *f, struct aio_fault fault[2], const struct aio_faults *faults)
{
    char path[64];
    const struct mem_store_config config = {
        .path = path, .bytes = FUZZ_MEMORY, .compress_bytes = 0x10000, .faults = faults};

    for (unsigned i = 0; i < 2; i++) {
        fault[i] = (struct aio_fault){.op = i ? AIO_WRITE : AIO_READ,
                                      .first = 1 + fuzz_below(f, 20),
                                      .error = i ? ENOSPC : EIO};
        fault[i].last = fault[i].first + fuzz_below(f, 30);
    }
    snprintf(path, sizeof(path), "/tmp/umbra-fuzz-%d.vswp", (int)getpid());
    invariant(mem_stores_open(f->d.mem, &config) == ERR_OK);
}

static void run_case(const struct fuzz_target *target, uint64_t seed)
{
    static struct fuzz f; /* large */
    struct aio_fault fault[2];
    const struct aio_faults faults = {.fault = fault, .count = 2};
    unsigned steps;

    memset(&f, 0, sizeof(f));
    f.random = seed;
    now.target = target->name;
    now.seed = seed;
    alarm(CASE_SECONDS);
    driver_start(&f.d, FUZZ_MEMORY);
    f.swaps = target->swaps && fuzz_one_in(&f, 8);
    if (f.swaps)
        open_stores(&f, fault, &faults);
    target->create(&f);
    fuzz_bring_up(&f);
    steps = (unsigned)fuzz_below(&f, STEPS_MOST);
    for (unsigned i = 0; i < steps; i++)
        step(&f, target);
    invariant(mem_check(f.d.mem));
    driver_stop(&f.d);
    if (target->destroy)
        target->destroy(&f);
    alarm(0);
}

/* ---- options ---- */

struct options {
    uint64_t seed, cases, one, seconds;
    bool has_one;
    const char *corpus;
};

static bool parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){.seed = 1, .cases = 1000};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];

        if (!strcmp(argv[i], "--seed")) {
            o->seed = strtoull(value, NULL, 0);
        } else if (!strcmp(argv[i], "--cases")) {
            o->cases = strtoull(value, NULL, 0);
        } else if (!strcmp(argv[i], "--seconds")) {
            o->seconds = strtoull(value, NULL, 0);
        } else if (!strcmp(argv[i], "--case")) {
            o->one = strtoull(value, NULL, 0);
            o->has_one = true;
        } else if (!strcmp(argv[i], "--corpus")) {
            o->corpus = value;
        } else {
            return false;
        }
    }
    return argc % 2 == 1;
}

/* Lines "target seed", '#' begins a comment. False: cannot be read. */
static bool run_corpus(const char *path, const struct fuzz_target *targets, size_t count)
{
    FILE *file = fopen(path, "r");
    char line[128], name[32];
    uint64_t seed;

    if (!file)
        return false;
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "%31s %" SCNu64, name, &seed) != 2 || name[0] == '#')
            continue;
        for (size_t i = 0; i < count; i++)
            if (!strcmp(name, targets[i].name))
                run_case(&targets[i], seed);
    }
    fclose(file);
    return true;
}

int fuzz_main(int argc, char **argv, const struct fuzz_target *targets, size_t count)
{
    struct options o;
    time_t end;
    uint64_t ran = 0;

    if (!parse(argc, argv, &o)) {
        fprintf(stderr,
                "usage: %s [--seed N] [--cases N] [--seconds N] [--case SEED] "
                "[--corpus FILE]\n",
                argv[0]);
        return 2;
    }
    catch_ends();
    if (o.corpus && !run_corpus(o.corpus, targets, count)) {
        fprintf(stderr, "cannot read %s\n", o.corpus);
        return 2;
    }
    end = time(NULL) + (time_t)o.seconds;
    for (uint64_t i = 0; o.has_one ? i < 1 : o.seconds ? time(NULL) < end : i < o.cases; i++) {
        uint64_t seed = o.has_one ? o.one : o.seed * UINT64_C(1000000007) + i;

        for (size_t t = 0; t < count; t++) {
            run_case(&targets[t], seed);
            ran++;
        }
    }
    printf("%" PRIu64 " cases, none crashed or hung\n", ran);
    return 0;
}
