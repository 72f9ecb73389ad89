/* SPDX-License-Identifier: Apache-2.0 */
/* The compressed store against a model: contents, limit, what it takes from the host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lz4.h>
#include <sys/mman.h>

#include "mem/store/zstore.h"
#include "store_model.h"

#define MIB (UINT64_C(1) << 20)

static struct zstore *open_store(uint64_t limit)
{
    struct zstore *zs;

    assert_int_equal(zstore_create(&zs, limit), ERR_OK);
    return zs;
}

static void check(const struct zstore *zs)
{
    if (!zstore_check(zs))
        fail_msg("%s", err_text());
}

static void every_size(void **state)
{
    struct zstore *zs = open_store(UINT64_MAX);
    static zstore_id id[PAGE_SIZE / 8];
    uint64_t page[PAGE_SIZE / 8];
    unsigned kept = 0;
    (void)state;

    for (unsigned noise = 0; noise < PAGE_SIZE; noise += 8) {
        enum zstore_put got;
        int block;
        char out[LZ4_COMPRESSBOUND(4096)];
        model_fill(page, noise, noise);
        block = LZ4_compress_default((char *)page, out, PAGE_SIZE, sizeof(out));
        got = zstore_put(zs, page, noise, &id[noise / 8]);
        /* near the limit LZ4's own choices decide */
        if (block < 3000)
            assert_int_equal(got, ZSTORE_OK);
        if (block > 3150)
            assert_int_equal(got, ZSTORE_POOR);
        assert_int_equal(id[noise / 8] != 0, got == ZSTORE_OK);
        kept += got == ZSTORE_OK;
    }
    assert_int_equal(zstore_pages(zs), kept);
    assert_in_range(kept, 300, 511); /* both kinds were seen */
    check(zs);
    for (unsigned noise = 0; noise < PAGE_SIZE; noise += 8) {
        if (!id[noise / 8])
            continue;
        zstore_get(zs, id[noise / 8], page);
        assert_true(model_is(page, noise, noise));
        zstore_free(zs, id[noise / 8]);
    }
    assert_int_equal(zstore_pages(zs), 0);
    assert_int_equal(zstore_bytes(zs), 0);
    check(zs);
    zstore_destroy(zs);
    zstore_destroy(NULL);
}

static unsigned fill_up(struct zstore *zs, zstore_id *id, unsigned most)
{
    uint64_t page[PAGE_SIZE / 8];
    unsigned n = 0;

    for (; n < most; n++) {
        model_fill(page, n, 1000);
        if (zstore_put(zs, page, n, &id[n]) != ZSTORE_OK)
            break;
    }
    return n;
}

static void limit(void **state)
{
    static zstore_id id[4000], none;
    struct zstore *zs = open_store(0);
    uint64_t page[PAGE_SIZE / 8];
    unsigned n;
    (void)state;

    assert_int_equal(fill_up(zs, id, 1), 0);
    zstore_set_limit(zs, MIB);
    n = fill_up(zs, id, 4000);
    assert_in_range(n, 850, 1000); /* of 1 MiB / about 1,030 bytes = 1018 */
    assert_in_range(zstore_bytes(zs), MIB * 9 / 10, MIB);
    model_fill(page, 1, 1000);
    assert_int_equal(zstore_put(zs, page, 0, &none), ZSTORE_FULL);
    assert_int_equal(none, 0);
    check(zs);
    /* one goes, one comes */
    zstore_free(zs, id[5]);
    assert_int_equal(zstore_put(zs, page, 5, &id[5]), ZSTORE_OK);
    zstore_get(zs, id[5], page);
    assert_true(model_is(page, 1, 1000));
    /* the limit comes down: what is there stays, nothing comes in until it is kept */
    zstore_set_limit(zs, MIB / 2);
    zstore_free(zs, id[6]);
    assert_int_equal(zstore_put(zs, page, 0, &none), ZSTORE_FULL);
    for (unsigned i = 0; i < n; i++) {
        if (i == 5 || i == 6)
            continue;
        zstore_get(zs, id[i], page);
        assert_true(model_is(page, i, 1000));
        zstore_free(zs, id[i]);
    }
    assert_int_equal(zstore_put(zs, page, 0, &none), ZSTORE_OK);
    check(zs);
    zstore_free_all(zs);
    assert_int_equal(zstore_bytes(zs), 0);
    assert_int_equal(zstore_pages(zs), 0);
    check(zs);
    assert_int_equal(fill_up(zs, id, 100), 100);
    check(zs);
    zstore_destroy(zs);
}

/* ---- random ---- */

#define MODEL_PAGES 20000

struct model {
    struct zstore *zs;
    uint64_t seed, compressed_bytes;
    zstore_id id[MODEL_PAGES];
    uint64_t version[MODEL_PAGES];
    uint16_t noise[MODEL_PAGES], block[MODEL_PAGES];
};

static void model_put(struct model *m, unsigned i)
{
    char out[LZ4_COMPRESSBOUND(4096)];
    uint64_t page[PAGE_SIZE / 8];

    m->version[i] = model_next(&m->seed);
    m->noise[i] = (uint16_t)model_below(&m->seed, 3400);
    model_fill(page, m->version[i], m->noise[i]);
    if (zstore_put(m->zs, page, i, &m->id[i]) != ZSTORE_OK)
        return;
    m->block[i] = (uint16_t)LZ4_compress_default((char *)page, out, PAGE_SIZE, sizeof(out));
    m->compressed_bytes += m->block[i];
}

static void model_free(struct model *m, unsigned i)
{
    zstore_free(m->zs, m->id[i]);
    m->compressed_bytes -= m->block[i];
    m->id[i] = 0;
}

static void model_get(const struct model *m, unsigned i)
{
    uint64_t page[PAGE_SIZE / 8];

    zstore_get(m->zs, m->id[i], page);
    assert_true(model_is(page, m->version[i], m->noise[i]));
}

static double overhead_percent(const struct model *m)
{
    return 100.0 * ((double)zstore_bytes(m->zs) / (double)m->compressed_bytes - 1);
}

static void against_a_model(void **state)
{
    struct model *m = calloc(1, sizeof(*m));
    uint64_t pages = 0;
    double percent;
    (void)state;

    assert_non_null(m);
    m->zs = open_store(UINT64_MAX);
    m->seed = 77;
    for (unsigned i = 0; i < MODEL_PAGES; i++)
        model_put(m, i);
    percent = overhead_percent(m);
    print_message("after filling: %.1f %% more than LZ4 made\n", percent);
    assert_true(percent < 10);
    /* pages go and others come, of other sizes */
    for (unsigned step = 0; step < 200000; step++) {
        unsigned i = (unsigned)model_below(&m->seed, MODEL_PAGES);
        if (!m->id[i])
            model_put(m, i);
        else if (step % 4)
            model_free(m, i);
        else
            model_get(m, i);
        if (step % 20000 == 0)
            check(m->zs);
    }
    for (unsigned i = 0; i < MODEL_PAGES; i++)
        if (!m->id[i])
            model_put(m, i);
    percent = overhead_percent(m);
    print_message("after 200,000 changes: %.1f %% more than LZ4 made\n", percent);
    assert_true(percent < 10);
    check(m->zs);
    for (unsigned i = 0; i < MODEL_PAGES; i++) {
        pages += m->id[i] != 0;
        if (!m->id[i])
            continue;
        model_get(m, i);
        model_free(m, i);
    }
    assert_true(pages > MODEL_PAGES / 2);
    assert_int_equal(zstore_bytes(m->zs), 0);
    check(m->zs);
    zstore_destroy(m->zs);
    free(m);
}

static void note_moved(void *arg, uint32_t owner, zstore_id id)
{
    struct model *m = arg;

    assert_true(m->id[owner] && m->id[owner] != id);
    m->id[owner] = id;
}

/* What is left after most pages went lies together again, and each is where it was said to be. */
static void scattered_pages_move_together(void **state)
{
    struct model *m = calloc(1, sizeof(*m));
    uint64_t scattered;
    (void)state;

    assert_non_null(m);
    m->zs = open_store(UINT64_MAX);
    m->seed = 5;
    for (unsigned i = 0; i < MODEL_PAGES; i++)
        model_put(m, i);
    assert_int_equal(zstore_compact(m->zs, SIZE_MAX, note_moved, m), 0); /* nothing to gain */
    for (unsigned i = 0; i < MODEL_PAGES; i++) {
        if (m->id[i] && model_below(&m->seed, 4))
            model_free(m, i);
    }
    scattered = zstore_bytes(m->zs);
    /* in slices: each does as much as it was told, rounded up to a span */
    assert_in_range(zstore_compact(m->zs, 100, note_moved, m), 100, 100 + 512);
    assert_true(zstore_bytes(m->zs) < scattered);
    check(m->zs);
    assert_in_range(zstore_compact(m->zs, SIZE_MAX, note_moved, m), 1000, MODEL_PAGES / 4);
    check(m->zs);
    assert_true(zstore_bytes(m->zs) < scattered / 2);
    assert_true(overhead_percent(m) < 20); /* each of some 60 sizes has a span with room */
    assert_int_equal(zstore_compact(m->zs, SIZE_MAX, note_moved, m), 0);
    for (unsigned i = 0; i < MODEL_PAGES; i++) {
        if (!m->id[i])
            continue;
        model_get(m, i);
        model_free(m, i);
    }
    assert_int_equal(zstore_bytes(m->zs), 0);
    check(m->zs);
    zstore_destroy(m->zs);
    free(m);
}

static uint64_t resident_bytes(void)
{
    unsigned long long size, resident;
    FILE *f = fopen("/proc/self/statm", "r");

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%llu %llu", &size, &resident), 2);
    fclose(f);
    return resident * PAGE_SIZE;
}

/* Measured from outside: what it says is what the process holds, and it comes back. */
static void memory_comes_back(void **state)
{
    static zstore_id id[60000];
    struct zstore *zs = open_store(UINT64_MAX);
    uint64_t before = resident_bytes(), full, after;
    unsigned n = fill_up(zs, id, 60000);
    (void)state;

    assert_int_equal(n, 60000);
    full = resident_bytes() - before;
    assert_true(full < zstore_bytes(zs) + 4 * MIB && full + 4 * MIB > zstore_bytes(zs));
    for (unsigned i = 0; i < n; i++)
        zstore_free(zs, id[i]);
    after = resident_bytes();
    assert_true(after < before + 4 * MIB);
    zstore_destroy(zs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size),        cmocka_unit_test(limit),
        cmocka_unit_test(against_a_model),   cmocka_unit_test(scattered_pages_move_together),
        cmocka_unit_test(memory_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
