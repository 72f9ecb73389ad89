/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory driven at random under limits far too small for it, against a model that keeps every
 * byte: a guest that reads and writes through cached translations, a disk, a balloon, orders that
 * change, files that fail. Whatever happens, each page holds what the model holds, each cached
 * translation is what memory would answer, the limit holds after each service, and mem_check
 * agrees.
 *
 * One file because the model is one struct that all acts share.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/aio.h"
#include "mem/balloon.h"
#include "mem/image.h"
#include "mem/reclaim.h"

#define PAGES  512
#define BLOCKS 256
#define PAGE   4096

struct entry {
    bool is_there, writable;
    hva_t hva;
};

struct world {
    struct guest_mem *mem;
    uint64_t random, now_ns;
    uint8_t page[PAGES][PAGE];
    uint8_t disk[BLOCKS][PAGE];
    struct entry tlb[PAGES];
    bool pinned[PAGES];
    bool disk_fails;
    struct mem_orders orders;
    char path[64], smart_path[64];
};

static uint64_t next(struct world *w, uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (w->random >> 11) % below;
}

/* --- an engine's caches --- */

static void on_unmap(void *arg, gfn_t gfn)
{
    ((struct world *)arg)->tlb[gfn.v].is_there = false;
}

static void on_unmap_many(void *arg, const gfn_t *gfns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        on_unmap(arg, gfns[i]);
}

static void on_unmap_all(void *arg)
{
    for (uint64_t g = 0; g < PAGES; g++)
        on_unmap(arg, gfn_make(g));
}

static void on_write_protect(void *arg, gfn_t gfn)
{
    ((struct world *)arg)->tlb[gfn.v].writable = false;
}

static void on_age(void *arg)
{
    on_unmap_all(arg);
}

static enum err read_disk(void *arg, unsigned disk, uint64_t block, void *buf, size_t count)
{
    struct world *w = arg;

    assert_int_equal(disk, 3);
    if (w->disk_fails)
        return err_new(ERR_IO, "a disk that fails");
    assert_true(block + count <= BLOCKS);
    memcpy(buf, w->disk[block], count * PAGE);
    return ERR_OK;
}

/* Pages of all kinds: random ones, ones that compress, ones that many frames hold, zeros. */
static void fill(struct world *w, uint8_t *page)
{
    uint64_t kind = next(w, 8), what = next(w, 6);

    memset(page, 0, PAGE);
    if (kind < 3) {
        for (size_t i = 0; i < PAGE; i += 8) {
            uint64_t r = next(w, UINT64_MAX);
            memcpy(page + i, &r, 8);
        }
    } else if (kind < 5) {
        for (size_t i = 0; i < PAGE; i++)
            page[i] = (uint8_t)(i / 16 + what);
        memcpy(page, &w->random, 8);
    } else if (kind < 7) {
        memset(page, (int)what + 1, PAGE);
    }
}

static bool is_waiting(struct world *w)
{
    return mem_stall(w->mem) != NULL;
}

/* An access of the guest's: through the cache, or by asking. NULL: the host failed, it waits. */
static uint8_t *translate(struct world *w, uint64_t g, enum mem_intent intent)
{
    struct entry *e = &w->tlb[g];
    bool writes = intent != MEM_FOR_READ;

    if (e->is_there && (!writes || e->writable))
        return hva_ptr(e->hva);
    enum mem_answer answer = mem_make_resident(w->mem, gfn_make(g), intent, &e->hva, &e->writable);
    if (answer != MEM_OK) {
        assert_int_equal(answer, MEM_HOST_ERROR);
        assert_true(is_waiting(w));
        e->is_there = false;
        return NULL;
    }
    if (writes)
        assert_true(e->writable);
    mem_note_used(w->mem, gfn_make(g));
    e->is_there = true;
    e->writable = e->writable && !mem_track(w->mem, gfn_make(g));
    return hva_ptr(e->hva);
}

static void written(struct world *w, uint64_t g, size_t offset, size_t bytes)
{
    if (mem_track(w->mem, gfn_make(g)))
        mem_note_written(w->mem, gpa_make(g * PAGE + offset), bytes);
}

static void cpu_write(struct world *w, uint64_t g)
{
    size_t offset = next(w, PAGE - 8);
    uint64_t value = next(w, 3) ? next(w, UINT64_MAX) : 0;
    uint8_t *p = translate(w, g, MEM_FOR_WRITE);

    if (!p)
        return;
    memcpy(p + offset, &value, 8);
    memcpy(w->page[g] + offset, &value, 8);
    written(w, g, offset, 8);
}

static void cpu_overwrite(struct world *w, uint64_t g)
{
    uint8_t *p = translate(w, g, MEM_FOR_OVERWRITE);

    if (!p)
        return;
    if (next(w, 2))
        fill(w, w->page[g]);
    else
        memcpy(w->page[g], w->page[next(w, PAGES)], PAGE);
    memcpy(p, w->page[g], PAGE);
    written(w, g, 0, PAGE);
}

static void cpu_read(struct world *w, uint64_t g)
{
    uint8_t *p = translate(w, g, MEM_FOR_READ);

    if (p && memcmp(p, w->page[g], PAGE) != 0)
        fail_msg("frame %u does not hold what was written", (unsigned)g);
}

/* --- devices --- */

static void device_write(struct world *w, uint64_t g)
{
    size_t offset = next(w, 2) ? 0 : next(w, PAGE);
    size_t bytes = next(w, 3) ? PAGE : 1 + next(w, 2 * PAGE);
    static uint8_t buf[3 * PAGE];
    uint64_t at = g * PAGE + offset;

    if (at + bytes > (uint64_t)PAGES * PAGE)
        return;
    for (size_t i = 0; i < 3; i++)
        fill(w, buf + i * PAGE);
    bool zero = next(w, 4) == 0;
    bool done = zero ? mem_fill_zero(w->mem, gpa_make(at), bytes)
                     : mem_write(w->mem, gpa_make(at), buf, bytes);
    if (zero)
        memset(buf, 0, bytes);
    if (done) {
        memcpy((uint8_t *)w->page + at, buf, bytes);
        return;
    }
    /* A part of it may be there: ask memory, once it can answer. */
    assert_true(is_waiting(w));
    w->disk_fails = false;
    for (int i = 0; !mem_write(w->mem, gpa_make(at), buf, bytes); i++)
        assert_true(i < 100);
    memcpy((uint8_t *)w->page + at, buf, bytes);
}

static void device_read(struct world *w, uint64_t g)
{
    size_t offset = next(w, PAGE), bytes = next(w, 2) ? PAGE : 1 + next(w, PAGE);
    static uint8_t buf[2 * PAGE];
    uint64_t at = g * PAGE + (bytes == PAGE ? 0 : offset);
    enum page_state before = mem_page_state(w->mem, gfn_make(g));
    bool through = next(w, 2);

    if (at + bytes > (uint64_t)PAGES * PAGE)
        return;
    bool done = through ? mem_read_through(w->mem, gpa_make(at), buf, bytes)
                        : mem_read(w->mem, gpa_make(at), buf, bytes);
    if (!done)
        assert_true(is_waiting(w));
    else
        assert_memory_equal(buf, (uint8_t *)w->page + at, bytes);
    if (done && through)
        assert_int_equal(mem_page_state(w->mem, gfn_make(g)), before);
}

static void disk_to_memory(struct world *w, uint64_t g)
{
    uint64_t run = 1 + next(w, 8), block = next(w, BLOCKS);

    for (uint64_t i = 0; i < run && g + i < PAGES && block + i < BLOCKS; i++) {
        if (!mem_write(w->mem, gpa_make((g + i) * PAGE), w->disk[block + i], PAGE))
            fail_msg("%s", err_text()); /* an overwrite needs nothing of the host */
        memcpy(w->page[g + i], w->disk[block + i], PAGE);
        mem_image_is_equal(w->mem, gfn_make(g + i), 3, block + i);
    }
}

static void memory_to_disk(struct world *w, uint64_t g)
{
    uint64_t block = next(w, BLOCKS);
    static uint8_t buf[PAGE];

    if (!mem_read_through(w->mem, gpa_make(g * PAGE), buf, PAGE) ||
        !mem_image_overwritten(w->mem, 3, block, 1)) {
        assert_true(is_waiting(w));
        return;
    }
    uint64_t ticket = mem_image_write_begins(w->mem, gfn_make(g), 3, block);
    bool fails = next(w, 4) == 0;
    if (!fails)
        memcpy(w->disk[block], buf, PAGE);
    /* Meanwhile. */
    switch (next(w, 4)) {
    case 0:
        cpu_write(w, g);
        break;
    case 1:
        if (mem_image_overwritten(w->mem, 3, block, 1))
            fill(w, w->disk[block]);
        break;
    case 2:
        mem_report_free(w->mem, gfn_make(g), 1, MEM_FREE_HINTED);
        if (!w->pinned[g])
            memset(w->page[g], 0, PAGE);
        break;
    default:
        break;
    }
    mem_image_write_done(w->mem, gfn_make(g), ticket, !fails);
}

static void disk_discard(struct world *w)
{
    uint64_t block = next(w, BLOCKS), blocks = next(w, 8) ? 1 + next(w, 16) : UINT64_MAX;

    if (!mem_image_overwritten(w->mem, 3, block, blocks)) {
        assert_true(is_waiting(w));
        return;
    }
    for (uint64_t b = block; b < BLOCKS && b - block < blocks; b++)
        memset(w->disk[b], 0, PAGE);
}

static void balloon(struct world *w, uint64_t g)
{
    uint64_t run = 1 + next(w, 16);

    for (uint64_t i = 0; i < run && g + i < PAGES; i++) {
        uint64_t at = next(w, 2) ? g + i : PAGES - 1 - (g + i);
        bool was_in = mem_page_state(w->mem, gfn_make(at)) == PAGE_BALLOONED;
        switch (next(w, 3)) {
        case 0:
            assert_int_equal(mem_balloon_inflate(w->mem, gfn_make(at)), !was_in && !w->pinned[at]);
            break;
        case 1:
            assert_int_equal(mem_balloon_deflate(w->mem, gfn_make(at)), was_in);
            continue;
        default:
            mem_report_free(w->mem, gfn_make(at), 1, MEM_FREE_REPORTED);
            break;
        }
        if (!w->pinned[at])
            memset(w->page[at], 0, PAGE);
    }
    if (next(w, 2))
        mem_give_back_flush(w->mem);
    if (next(w, 50) == 0)
        mem_balloon_reset(w->mem);
}

static void pin(struct world *w, uint64_t g)
{
    if (w->pinned[g]) {
        mem_unpin(w->mem, gfn_make(g));
        w->pinned[g] = false;
    } else if (next(w, 16) == 0) {
        w->pinned[g] = mem_pin(w->mem, gfn_make(g));
    }
}

static void orders(struct world *w)
{
    const uint64_t pages[] = {64, 96, 128, 200, 300, 600};

    w->orders.limit_bytes = next(w, 3) ? pages[next(w, 6)] * PAGE : UINT64_MAX;
    w->orders.target_bytes = next(w, 3) ? UINT64_MAX : pages[next(w, 6)] * PAGE;
    w->orders.means = (unsigned)next(w, 8);
    w->orders.share_scan_pages_per_s = next(w, 2) ? 2000 : 0;
    w->orders.smart_limit_bytes = next(w, 2) ? 0 : pages[next(w, 6)] * PAGE;
    mem_set_orders(w->mem, &w->orders);
}

static void service(struct world *w)
{
    w->now_ns += next(w, 8) ? next(w, 50000000) : MEM_AGE_PERIOD_NS;
    mem_service(w->mem, w->now_ns, 1000000);
    if (!is_waiting(w) && w->orders.limit_bytes != UINT64_MAX)
        assert_true(mem_host_bytes(w->mem) <= w->orders.limit_bytes);
    w->disk_fails = next(w, 8) == 0;
}

static void act(struct world *w)
{
    uint64_t g = next(w, 4) ? next(w, PAGES / 4) : next(w, PAGES);

    switch (next(w, 32)) {
    case 0:
        cpu_overwrite(w, g);
        break;
    case 1:
    case 2:
        device_write(w, g);
        break;
    case 3:
    case 4:
        device_read(w, g);
        break;
    case 5:
        disk_to_memory(w, g);
        break;
    case 6:
        memory_to_disk(w, g);
        break;
    case 7:
        if (next(w, 4) == 0)
            disk_discard(w);
        break;
    case 8:
        balloon(w, g);
        break;
    case 9:
        pin(w, g);
        break;
    case 10:
        mem_track_set(w->mem, gfn_make(g), next(w, 2) ? MEM_TRACK_CODE : MEM_TRACK_TABLE);
        break;
    case 11:
        mem_track_clear(w->mem, gfn_make(g), next(w, 2) ? MEM_TRACK_CODE : MEM_TRACK_TABLE);
        break;
    case 12:
    case 13:
        service(w);
        break;
    case 14:
        if (next(w, 8) == 0)
            orders(w);
        break;
    case 15:
    case 16:
    case 17:
    case 18:
    case 19:
    case 20:
        cpu_write(w, g);
        break;
    default:
        cpu_read(w, g);
        break;
    }
}

/* Every translation that the guest could still use is what memory answers now. */
static void check_caches(struct world *w)
{
    for (uint64_t g = 0; g < PAGES; g++) {
        const struct entry *e = &w->tlb[g];
        hva_t hva;
        bool writable;
        if (!e->is_there)
            continue;
        assert_int_equal(mem_peek(w->mem, gfn_make(g), MEM_FOR_READ, &hva, &writable), MEM_OK);
        assert_int_equal(hva.v, e->hva.v);
        if (e->writable)
            assert_true(writable && !mem_track(w->mem, gfn_make(g)));
        assert_memory_equal(hva_ptr(hva), w->page[g], PAGE);
    }
}

static void check(struct world *w)
{
    if (!mem_check(w->mem))
        fail_msg("%s", err_text());
    check_caches(w);
}

static void check_all_pages(struct world *w)
{
    static uint8_t buf[PAGE];

    w->disk_fails = false;
    w->orders.means = MEM_MEANS_ALL;
    mem_set_orders(w->mem, &w->orders);
    for (uint64_t g = 0; g < PAGES; g++) {
        /* Reads that were made to fail succeed at last. */
        for (int i = 0; !mem_read_through(w->mem, gpa_make(g * PAGE), buf, PAGE); i++)
            assert_true(i < 100);
        assert_memory_equal(buf, w->page[g], PAGE);
    }
    check(w);
}

static void drive(uint64_t seed, const struct aio_faults *faults, uint64_t swap_pages,
                  unsigned acts)
{
    struct world *w = calloc(1, sizeof *w);
    const struct mem_observer observer = {.arg = w,
                                          .unmap = on_unmap,
                                          .unmap_many = seed % 2 ? on_unmap_many : NULL,
                                          .age = on_age,
                                          .unmap_all = on_unmap_all,
                                          .write_protect = on_write_protect};
    const struct mem_image_source source = {.arg = w, .read = read_disk};

    assert_non_null(w);
    w->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    w->now_ns = 1000000000;
    snprintf(w->path, sizeof w->path, "/tmp/umbra-mem-%d.vswp", (int)getpid());
    assert_int_equal(mem_create(&w->mem, (uint64_t)PAGES * PAGE), ERR_OK);
    snprintf(w->smart_path, sizeof w->smart_path, "/tmp/umbra-mem-%d.smart", (int)getpid());
    const struct mem_store_config config = {.path = swap_pages ? w->path : NULL,
                                            .smart_path = seed % 4 ? w->smart_path : NULL,
                                            .smart_faults = faults,
                                            .bytes = swap_pages * PAGE,
                                            .compress_bytes = (16 + seed % 5 * 16) * PAGE,
                                            .faults = faults};
    if (mem_stores_open(w->mem, &config))
        fail_msg("%s", err_text());
    mem_set_image_source(w->mem, &source);
    assert_int_equal(mem_add_observer(w->mem, &observer), ERR_OK);
    for (uint64_t b = 0; b < BLOCKS; b++)
        fill(w, w->disk[b]);
    orders(w);
    for (unsigned i = 0; i < acts; i++) {
        act(w);
        if (i % 64 == 63)
            check(w);
        if (next(w, 20000) == 0) {
            mem_reset(w->mem);
            memset(w->page, 0, sizeof w->page);
            memset(w->pinned, 0, sizeof w->pinned);
            check(w);
        }
    }
    check_all_pages(w);
    mem_destroy(w->mem);
    assert_int_not_equal(access(w->path, F_OK), 0);
    assert_int_not_equal(access(w->smart_path, F_OK), 0);
    free(w);
}

static void contents_survive(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        drive(seed, NULL, PAGES, 12000);
}

static void contents_survive_a_small_file(void **state)
{
    (void)state;
    for (uint64_t seed = 20; seed <= 26; seed++)
        drive(seed, NULL, seed == 20 ? 0 : 32, 8000);
}

static void contents_survive_failures(void **state)
{
    const struct aio_fault bad[] = {
        {.op = AIO_WRITE, .first = 3, .last = 20, .error = 28 /* ENOSPC */},
        {.op = AIO_WRITE, .first = 60, .last = 70, .error = 5 /* EIO */},
        {.op = AIO_READ, .first = 5, .last = 9, .error = 5},
        {.op = AIO_READ, .first = 30, .last = 60, .error = 5},
        {.op = AIO_PUNCH, .first = 1, .last = 10, .error = 95 /* EOPNOTSUPP */},
    };
    const struct aio_faults faults = {.fault = bad, .count = sizeof bad / sizeof *bad};

    (void)state;
    for (uint64_t seed = 40; seed <= 46; seed++)
        drive(seed, &faults, PAGES, 8000);
}

/* A long run by hand: mem_random_test FIRST_SEED COUNT */
static void many_seeds(void **state)
{
    char **argv = *state;
    uint64_t first = strtoull(argv[1], NULL, 0), count = strtoull(argv[2], NULL, 0);

    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        drive(seed, NULL, seed % 3 ? PAGES : 48, 30000);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents_survive),
        cmocka_unit_test(contents_survive_a_small_file),
        cmocka_unit_test(contents_survive_failures),
    };
    const struct CMUnitTest by_hand[] = {cmocka_unit_test_prestate(many_seeds, argv)};

    return argc == 3 ? cmocka_run_group_tests(by_hand, NULL, NULL)
                     : cmocka_run_group_tests(tests, NULL, NULL);
}
