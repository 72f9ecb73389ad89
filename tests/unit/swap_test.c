/* SPDX-License-Identifier: Apache-2.0 */
/* The swap store against a model: contents, slots, staging. */
#include <errno.h>

#include "forbid.h"
#include "swap_fixture.h"

/* ---- the plain way ---- */

static void put_write_get_free(void **state)
{
    struct swap *sw = open_swap(256, 256, NULL);
    uint32_t slot[200];
    struct stat st;
    (void)state;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    assert_int_equal(st.st_size, 256 * PAGE_SIZE);
    assert_int_equal(st.st_blocks, 0);
    for (unsigned i = 0; i < 200; i++) {
        slot[i] = put(sw, i, i);
        assert_int_equal(slot[i], i); /* as many slots as pages: each has its own */
        assert_true(swap_is_staged(sw, slot[i]));
    }
    assert_page(sw, slot[7], 7);
    write_all(sw);
    assert_false(swap_is_staged(sw, slot[7]));
    assert_int_equal(info(sw).write_bytes, 200 * PAGE_SIZE);
    for (unsigned i = 0; i < 200; i++)
        assert_page(sw, slot[i], i);
    assert_int_equal(info(sw).used, 200);
    assert_int_equal(info(sw).read_bytes, 200 * PAGE_SIZE);
    assert_true(allocated_bytes() >= 200 * PAGE_SIZE);
    for (unsigned i = 0; i < 200; i++)
        swap_free(sw, slot[i]);
    punch_all(sw);
    assert_int_equal(info(sw).used, 0);
    assert_int_equal(allocated_bytes(), 0);
    swap_close(sw);
    assert_int_not_equal(stat(path, &st), 0);
}

/* ---- anything, against a model ---- */

#define MODEL_PAGES 6000

struct model {
    struct swap *sw;
    uint64_t seed;
    uint32_t slot[MODEL_PAGES];
    uint64_t version[MODEL_PAGES]; /* 0: not there */
};

static void model_get(struct model *m, uint64_t start, unsigned count)
{
    static uint64_t memory[300][PAGE_SIZE / 8];
    uint32_t slots[300] = {0};
    uint64_t index[300];
    void *pages[300] = {NULL};
    bool ok[300];
    unsigned n = 0;

    for (uint64_t i = start; i < MODEL_PAGES && n < count; i++) {
        if (!m->version[i])
            continue;
        slots[n] = m->slot[i];
        index[n] = i;
        pages[n] = memory[n];
        n++;
    }
    assert_true(swap_get(m->sw, slots, pages, ok, n));
    for (unsigned i = 0; i < n; i++) {
        assert_true(ok[i]);
        assert_true(model_is(memory[i], m->version[index[i]], NOISE));
    }
}

static void model_step(struct model *m)
{
    uint64_t index = model_below(&m->seed, MODEL_PAGES), page[PAGE_SIZE / 8];
    unsigned what = (unsigned)model_below(&m->seed, 100);
    unsigned run = 1 + (unsigned)model_below(&m->seed, 20);

    if (what < 50) {
        for (uint64_t i = index; i < index + run && i < MODEL_PAGES; i++) {
            uint64_t version = model_next(&m->seed) | 1;
            enum swap_put got;
            if (m->version[i])
                continue;
            model_fill(page, version, NOISE);
            got = swap_put(m->sw, i, page, &m->slot[i]);
            if (got == SWAP_OK)
                m->version[i] = version;
            else if (got == SWAP_BUSY)
                swap_wait_room(m->sw);
            else
                assert_int_equal(info(m->sw).used, info(m->sw).slots);
        }
    } else if (what < 85) {
        for (uint64_t i = index; i < index + run && i < MODEL_PAGES; i++) {
            if (m->version[i])
                swap_free(m->sw, m->slot[i]);
            m->version[i] = 0;
        }
    } else if (what < 90) {
        model_get(m, index, what == 89 ? 300 : run);
    } else {
        swap_work(m->sw, what < 98 ? SWAP_WHEN_DUE : SWAP_ALL_NOW);
    }
}

static void run_model(uint64_t slots, uint64_t seed, unsigned steps)
{
    struct model *m = calloc(1, sizeof(*m));
    uint64_t used = 0;

    assert_non_null(m);
    m->seed = seed;
    m->sw = open_swap(slots, MODEL_PAGES, NULL);
    for (unsigned i = 0; i < steps; i++) {
        model_step(m);
        if (i % 1024 == 0)
            check(m->sw);
        if (i == steps / 2) {
            swap_free_all(m->sw);
            memset(m->version, 0, sizeof(m->version));
            assert_int_equal(info(m->sw).used, 0);
            check(m->sw);
        }
    }
    for (uint64_t i = 0; i < MODEL_PAGES; i++)
        used += m->version[i] != 0;
    assert_int_equal(info(m->sw).used, used);
    for (unsigned i = 0; i < MODEL_PAGES; i += 100)
        model_get(m, i, 300);
    assert_int_equal(info(m->sw).errors, 0);
    assert_int_equal(info(m->sw).checksum_errors, 0);
    write_all(m->sw);
    punch_all(m->sw);
    /* and what the file system needs to say where they are */
    assert_true(allocated_bytes() <= (used + MODEL_PAGES / 50) * PAGE_SIZE);
    swap_close(m->sw);
    free(m);
}

static void model_with_own_slots(void **state)
{
    (void)state;
    run_model(MODEL_PAGES, 1, 6000);
}

static void model_with_fewer_slots(void **state)
{
    (void)state;
    run_model(MODEL_PAGES / 3 + 7, 2, 6000);
}

/* ---- where pages lie ---- */

static void neighbours_lie_together(void **state)
{
    struct swap *sw = open_swap(1000, 4000, NULL);
    uint64_t seed = 5, order[64];
    uint32_t slot[64];
    (void)state;

    for (unsigned i = 0; i < 64; i++)
        order[i] = i;
    for (unsigned i = 63; i > 0; i--) {
        uint64_t k = model_below(&seed, i + 1), t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
    (void)put(sw, 3999, 1);
    (void)put(sw, 0, 2);
    for (unsigned i = 0; i < 64; i++)
        slot[order[i]] = put(sw, 1280 + order[i], 100 + order[i]);
    for (unsigned i = 1; i < 64; i++)
        assert_int_equal(slot[i], slot[i - 1] + 1);
    write_all(sw);

    uint64_t memory[64][PAGE_SIZE / 8];
    void *pages[64];
    uint32_t wanted[64];
    bool ok[64];
    for (unsigned i = 0; i < 64; i++) { /* asked for in any order */
        pages[i] = memory[i];
        wanted[i] = slot[order[i]];
    }
    assert_true(swap_get(sw, wanted, pages, ok, 64));
    for (unsigned i = 0; i < 64; i++)
        assert_true(ok[i] && model_is(memory[i], 100 + order[i], NOISE));
    assert_int_equal(info(sw).sequential_reads, 1);
    assert_int_equal(info(sw).read_bytes, 64 * PAGE_SIZE);
    swap_close(sw);
}

static void full_and_busy(void **state)
{
    uint64_t page[PAGE_SIZE / 8];
    struct swap *sw = open_swap(3, 5000, NULL);
    uint32_t slot[3], none;
    (void)state;

    model_fill(page, 1, NOISE);
    for (unsigned i = 0; i < 3; i++)
        slot[i] = put(sw, i * 1000, i);
    assert_int_equal(swap_put(sw, 7, page, &none), SWAP_FULL);
    assert_int_equal(none, SWAP_NO_SLOT);
    swap_free(sw, slot[1]);
    slot[1] = put(sw, 7, 77);
    assert_page(sw, slot[1], 77);
    check(sw);
    swap_close(sw);

    sw = open_swap(5000, 5000, NULL);
    for (unsigned i = 0; i < SWAP_STAGING_PAGES; i++)
        assert_int_equal(swap_put(sw, i, page, &none), SWAP_OK);
    assert_int_equal(swap_put(sw, 4999, page, &none), SWAP_BUSY);
    assert_int_equal(info(sw).used, SWAP_STAGING_PAGES);
    swap_wait_room(sw);
    assert_int_equal(swap_put(sw, 4999, page, &none), SWAP_OK);
    check(sw);
    swap_close(sw);
}

/* Host memory of this process, in pages. */
static long resident_pages(void)
{
    long size, resident;
    FILE *f = fopen("/proc/self/statm", "r");

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return resident;
}

static void staging_rests(void **state)
{
    struct swap *sw = open_swap(5000, 5000, NULL);
    uint32_t slot[SWAP_STAGING_PAGES];
    (void)state;

    for (unsigned i = 0; i < SWAP_STAGING_PAGES; i++)
        slot[i] = put(sw, i, i);
    long full = resident_pages();
    write_all(sw);
    swap_work(sw, SWAP_WHEN_DUE);
    assert_true(full - resident_pages() > SWAP_STAGING_PAGES / 2);
    for (unsigned i = 0; i < SWAP_STAGING_PAGES; i++)
        assert_page(sw, slot[i], i);
    for (unsigned i = 0; i < SWAP_STAGING_PAGES; i++)
        slot[i] = put(sw, SWAP_STAGING_PAGES + i, i + 1);
    assert_page(sw, slot[0], 1);
    write_all(sw);
    check(sw);
    swap_close(sw);
}

static void freed_while_written(void **state)
{
    struct swap *sw = open_swap(512, 512, NULL);
    uint32_t slot[512];
    (void)state;

    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 512; i++)
            slot[i] = put(sw, i, round * 1000 + i);
        swap_work(sw, SWAP_ALL_NOW); /* on their way */
        for (unsigned i = round % 3; i < 512; i += 3)
            swap_free(sw, slot[i]);
        check(sw);
        for (unsigned i = round % 3; i < 512; i += 6)
            slot[i] = put(sw, i, round * 1000 + i + 7777);
        swap_work(sw, SWAP_ALL_NOW);
        write_all(sw);
        for (unsigned i = 0; i < 512; i++) {
            bool freed = i >= round % 3 && (i - round % 3) % 3 == 0;
            bool again = freed && (i - round % 3) % 6 == 0;
            if (freed && !again)
                continue;
            assert_page(sw, slot[i], round * 1000 + i + (again ? 7777 : 0));
            swap_free(sw, slot[i]);
        }
        assert_int_equal(info(sw).used, 0);
        punch_all(sw);
    }
    assert_true(allocated_bytes() <= 4 * PAGE_SIZE);
    swap_close(sw);
}

static int run_synchronously(void *arg)
{
    (void)arg;
    if (forbid_call(FORBID_IO_URING, EPERM))
        return FORBID_SKIP;
    run_model(MODEL_PAGES, 3, 1500);
    run_model(MODEL_PAGES / 3, 4, 1500);
    return 0;
}

static void without_io_uring(void **state)
{
    int got = forbid_run(run_synchronously, NULL);
    (void)state;

    if (got == FORBID_SKIP)
        skip();
    assert_int_equal(got, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_write_get_free),     TEST(neighbours_lie_together), TEST(full_and_busy),
        TEST(staging_rests),          TEST(freed_while_written),     TEST(model_with_own_slots),
        TEST(model_with_fewer_slots), TEST(without_io_uring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
