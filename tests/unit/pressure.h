/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of what runs on guest memory while frames leave it: a disk that can equal any frame and
 * whose reads can fail, and orders that make frames leave now.
 */
#ifndef UMBRA_TESTS_PRESSURE_H
#define UMBRA_TESTS_PRESSURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mem/image.h"
#include "mem/reclaim.h"

#define PRESSURE_FRAMES 4096u

/* A block for each frame. fails: so many reads fail from now on. */
struct pressure {
    struct guest_mem *mem;
    uint8_t *disk;
    unsigned reads, fails;
    uint64_t now_ns;
};

static inline enum err pressure_read(void *arg, unsigned disk, uint64_t block, void *buf,
                                     size_t count)
{
    struct pressure *p = arg;

    (void)disk;
    p->reads++;
    if (p->fails) {
        p->fails--;
        return err_new(ERR_IO, "on purpose");
    }
    memcpy(buf, p->disk + block * PAGE_SIZE, count * PAGE_SIZE);
    return ERR_OK;
}

static inline void pressure_open(struct pressure *p, struct guest_mem *mem)
{
    char path[64];
    struct mem_store_config config = {
        .path = path, .bytes = mem_size_bytes(mem), .compress_bytes = mem_size_bytes(mem)};
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    *p = (struct pressure){.mem = mem, .now_ns = (uint64_t)t.tv_sec * 1000000000u};
    snprintf(path, sizeof path, "/tmp/umbra-pressure-%d.vswp", (int)getpid());
    assert_int_equal(mem_stores_open(mem, &config), ERR_OK);
    unlink(path);
    p->disk = calloc(PRESSURE_FRAMES, PAGE_SIZE);
    assert_non_null(p->disk);
    mem_set_image_source(mem, &(struct mem_image_source){.arg = p, .read = pressure_read});
}

static inline void pressure_close(struct pressure *p)
{
    mem_set_image_source(p->mem, NULL);
    free(p->disk);
}

/* All that the means can take leaves; without any, what is zeros and what equals the disk. */
static inline void pressure_evict(struct pressure *p, unsigned means)
{
    struct mem_orders orders = {.limit_bytes = UINT64_MAX, .target_bytes = 0, .means = means};

    mem_set_orders(p->mem, &orders);
    (void)mem_service(p->mem, p->now_ns, UINT64_C(10000000000));
    orders.target_bytes = UINT64_MAX;
    mem_set_orders(p->mem, &orders);
}

/* Some time passes. */
static inline void pressure_age(struct pressure *p)
{
    p->now_ns += MEM_AGE_PERIOD_NS;
    (void)mem_service(p->mem, p->now_ns, 1000000);
}

/* This frame leaves, and those of which it was said before. */
static inline void pressure_drop(struct pressure *p, uint64_t gpa)
{
    uint64_t f = gpa >> PAGE_SHIFT;

    assert_true(mem_read(p->mem, gpa_make(f << PAGE_SHIFT), p->disk + f * PAGE_SIZE, PAGE_SIZE));
    mem_image_is_equal(p->mem, gfn_make(f), 0, f);
    pressure_evict(p, 0);
}

#endif
