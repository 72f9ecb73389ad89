/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory with stores and a disk made of nothing, for the tests of reclaim. */
#ifndef UMBRA_TESTS_MEM_WORLD_H
#define UMBRA_TESTS_MEM_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/aio.h"
#include "mem/balloon.h"
#include "mem/image.h"
#include "mem/reclaim.h"

#define PAGE UINT64_C(4096)
#define MIB  UINT64_C(0x100000)
#define SEC  UINT64_C(1000000000)

struct mem_world {
    struct guest_mem *mem;
    uint64_t now_ns;
    unsigned unmaps, batches, protects, ages, hooks, disk_reads;
    bool disk_fails;
    char path[64], smart_path[64];
};

static inline void world_unmap(void *arg, gfn_t gfn)
{
    (void)gfn;
    ((struct mem_world *)arg)->unmaps++;
}

static inline void world_unmap_many(void *arg, const gfn_t *gfns, size_t count)
{
    (void)gfns;
    ((struct mem_world *)arg)->unmaps += (unsigned)count;
    ((struct mem_world *)arg)->batches++;
}

static inline void world_protect(void *arg, gfn_t gfn)
{
    (void)gfn;
    ((struct mem_world *)arg)->protects++;
}

static inline void world_age(void *arg)
{
    ((struct mem_world *)arg)->ages++;
}

static inline void world_hook(void *arg)
{
    ((struct mem_world *)arg)->hooks++;
}

/* Block n holds the bytes of content(1000 + n). */
static inline void content(uint64_t what, uint8_t page[PAGE])
{
    uint64_t r = what * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (size_t i = 0; i < PAGE; i += 8) {
        r ^= r << 13;
        r ^= r >> 7;
        r ^= r << 17;
        memcpy(page + i, &r, 8);
    }
}

static inline enum err world_disk(void *arg, unsigned disk, uint64_t block, void *buf, size_t count)
{
    struct mem_world *w = arg;

    assert_int_equal(disk, 0);
    w->disk_reads++;
    if (w->disk_fails)
        return err_new(ERR_IO, "input/output error while reading disk.raw");
    for (size_t i = 0; i < count; i++)
        content(1000 + block + i, (uint8_t *)buf + i * PAGE);
    return ERR_OK;
}

/* swap_pages, compress_bytes 0: none; the smart-paging file has faults of its own */
static inline void world_open_smart(struct mem_world *w, uint64_t pages, uint64_t swap_pages,
                                    uint64_t compress_bytes, const struct aio_faults *faults,
                                    const struct aio_faults *smart_faults)
{
    const struct mem_observer observer = {.arg = w,
                                          .unmap = world_unmap,
                                          .unmap_many = world_unmap_many,
                                          .write_protect = world_protect,
                                          .age = world_age};
    const struct mem_image_source source = {.arg = w, .read = world_disk};

    *w = (struct mem_world){.now_ns = SEC};
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    snprintf(w->path, sizeof w->path, "/tmp/umbra-mem-%d-%ld.vswp", (int)getpid(), t.tv_nsec);
    snprintf(w->smart_path, sizeof w->smart_path, "/tmp/umbra-mem-%d-%ld.smart", (int)getpid(),
             t.tv_nsec);
    const struct mem_store_config config = {.path = swap_pages ? w->path : NULL,
                                            .smart_path = w->smart_path,
                                            .smart_faults = smart_faults,
                                            .bytes = swap_pages * PAGE,
                                            .compress_bytes = compress_bytes,
                                            .faults = faults};
    assert_int_equal(mem_create(&w->mem, pages * PAGE), ERR_OK);
    if (mem_stores_open(w->mem, &config))
        fail_msg("%s", err_text());
    mem_set_image_source(w->mem, &source);
    mem_set_pressure_hook(w->mem, world_hook, w);
    assert_int_equal(mem_add_observer(w->mem, &observer), ERR_OK);
    mem_service(w->mem, w->now_ns, SEC); /* ages count from here */
}

static inline void world_open(struct mem_world *w, uint64_t pages, uint64_t swap_pages,
                              uint64_t compress_bytes, const struct aio_faults *faults)
{
    world_open_smart(w, pages, swap_pages, compress_bytes, faults, NULL);
}

static inline void world_check(struct mem_world *w)
{
    if (!mem_check(w->mem))
        fail_msg("%s", err_text());
}

static inline void world_close(struct mem_world *w)
{
    world_check(w);
    mem_destroy(w->mem);
    assert_int_not_equal(access(w->path, F_OK), 0);
    assert_int_not_equal(access(w->smart_path, F_OK), 0);
}

static inline uint64_t in_state(const struct mem_world *w, enum page_state state)
{
    return mem_ledger(w->mem).pages[state];
}

static inline enum page_state state_of(const struct mem_world *w, uint64_t g)
{
    return mem_page_state(w->mem, gfn_make(g));
}

/* As a CPU does it: ask, note the use, write, tell the trackers. */
static inline bool cpu_fill(struct mem_world *w, uint64_t g, enum mem_intent intent,
                            const uint8_t page[PAGE])
{
    hva_t hva;
    bool writable;

    if (mem_make_resident(w->mem, gfn_make(g), intent, &hva, &writable) != MEM_OK)
        return false;
    assert_true(writable);
    mem_note_used(w->mem, gfn_make(g));
    memcpy(hva_ptr(hva), page, PAGE);
    if (mem_track(w->mem, gfn_make(g)))
        mem_note_written(w->mem, gpa_make(g * PAGE), PAGE);
    return true;
}

/* Fills frames [first, first + count) with content(frame). */
static inline void fill_frames(struct mem_world *w, uint64_t first, uint64_t count)
{
    uint8_t page[PAGE];

    for (uint64_t g = first; g < first + count; g++) {
        content(g, page);
        assert_true(cpu_fill(w, g, MEM_FOR_WRITE, page));
    }
}

static inline bool reads_as(struct mem_world *w, uint64_t g, uint64_t what)
{
    uint8_t page[PAGE];
    hva_t hva;
    bool writable;

    if (mem_make_resident(w->mem, gfn_make(g), MEM_FOR_READ, &hva, &writable) != MEM_OK)
        return false;
    mem_note_used(w->mem, gfn_make(g));
    content(what, page);
    return memcmp(hva_ptr(hva), page, PAGE) == 0;
}

static inline bool reads_zero(struct mem_world *w, uint64_t g)
{
    static const uint8_t zero[PAGE];
    hva_t hva;
    bool writable;

    if (mem_make_resident(w->mem, gfn_make(g), MEM_FOR_READ, &hva, &writable) != MEM_OK)
        return false;
    return memcmp(hva_ptr(hva), zero, PAGE) == 0;
}

static inline void order(struct mem_world *w, uint64_t limit_pages, uint64_t target_pages,
                         unsigned means)
{
    const struct mem_orders orders = {
        .limit_bytes = limit_pages == UINT64_MAX ? UINT64_MAX : limit_pages * PAGE,
        .target_bytes = target_pages == UINT64_MAX ? UINT64_MAX : target_pages * PAGE,
        .means = means};
    mem_set_orders(w->mem, &orders);
}

#define ANY UINT64_MAX

static inline uint64_t serve(struct mem_world *w)
{
    w->now_ns += 1000000;
    return mem_service(w->mem, w->now_ns, SEC);
}

/* Serves until it holds. The turns are a guard, no bound: a slow disk may take a minute. */
#define SERVE_TURNS 60000
#define SERVE_UNTIL(w, holds)                                                                      \
    for (unsigned turn = 0; turn < SERVE_TURNS && !(holds); turn++) {                              \
        serve(w);                                                                                  \
        usleep(1000);                                                                              \
    }

/* All frames grow one period older. */
static inline void age_once(struct mem_world *w)
{
    w->now_ns += SEC;
    mem_service(w->mem, w->now_ns, SEC);
}

/* Everything that may leave does, by these means. */
static inline void evict_all(struct mem_world *w, unsigned means)
{
    order(w, ANY, 0, means);
    for (int i = 0; i < 200 && in_state(w, PAGE_RESIDENT); i++) {
        w->now_ns += 1000000;
        mem_service(w->mem, w->now_ns, SEC / 10);
    }
    order(w, ANY, ANY, 0);
}

/* All of it goes, and is written. */
static inline void swap_all(struct mem_world *w)
{
    order(w, ANY, 0, MEM_MEANS_SWAP);
    SERVE_UNTIL(w, !mem_host_bytes(w->mem));
    assert_int_equal(mem_host_bytes(w->mem), 0);
    order(w, ANY, ANY, 0);
}

/* Frames that equal disk blocks from `block` on. */
static inline void from_disk(struct mem_world *w, uint64_t first, uint64_t count, uint64_t block)
{
    uint8_t page[PAGE];

    for (uint64_t i = 0; i < count; i++) {
        content(1000 + block + i, page);
        assert_true(mem_write(w->mem, gpa_make((first + i) * PAGE), page, PAGE));
        mem_image_is_equal(w->mem, gfn_make(first + i), 0, block + i);
    }
}

#endif
