/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile drivers for virtio devices: a case is a seed; it makes a fresh device and lets a driver
 * do a few hundred random things to it, half of them plausible, so that deep code is reached. What
 * is tested is that nothing crashes, hangs or breaks an invariant; run it under sanitizers.
 *
 *     NAME [--seed N] [--cases N] [--seconds N] [--case SEED] [--corpus FILE]
 *
 * A fuzzer of one device is a table of targets and a main that calls fuzz_main.
 */
#ifndef UMBRA_TESTS_FUZZ_VIRTIO_FUZZ_H
#define UMBRA_TESTS_FUZZ_VIRTIO_FUZZ_H

#include "../unit/virtio_driver.h"

#define FUZZ_MEMORY (UINT64_C(2) << 20)

struct fuzz {
    struct driver d;
    uint64_t random, now_ns;
    bool swaps; /* there is a swap file, which fails at times */
    void *arg;  /* the target's own */
};

/*
 * swaps:   some cases have a swap file, through the real base/aio.h, which fails at times
 * create:  makes the device, plugs it into f->d (driver_plug) and attaches it
 * step:    one random thing of the device's own, for example a plausible request; may be NULL
 * destroy: what the device does not free itself; may be NULL
 */
struct fuzz_target {
    const char *name;
    bool swaps;
    void (*create)(struct fuzz *f);
    void (*step)(struct fuzz *f);
    void (*destroy)(struct fuzz *f);
};

uint64_t fuzz_random(struct fuzz *f);
/* 0 .. below-1 */
uint64_t fuzz_below(struct fuzz *f, uint64_t below);
static inline bool fuzz_one_in(struct fuzz *f, uint64_t n)
{
    return fuzz_below(f, n) == 0;
}

/* An address in guest memory, most often; sometimes its end, a hole, the rings, or anything. */
gpa_t fuzz_address(struct fuzz *f);
/* A small length, most often; sometimes 0, a page, or anything. */
uint32_t fuzz_length(struct fuzz *f);

/* Everything a driver does until DRIVER_OK, with random features, sizes and vectors. */
void fuzz_bring_up(struct fuzz *f);
/* Random bytes into descriptors, rings and indices of one queue. */
void fuzz_scribble(struct fuzz *f, unsigned queue);
/* A chain of random buffers, also through indirect tables, made available. */
void fuzz_add(struct fuzz *f, unsigned queue);

int fuzz_main(int argc, char **argv, const struct fuzz_target *targets, size_t count);

#endif
