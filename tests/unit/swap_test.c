/* SPDX-License-Identifier: Apache-2.0 */
/* The swap store against a model: contents, slots, failures, the file as others see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "mem/store/swap.h"
#include "store_model.h"

#define NOISE 4096

static char folder[256], path[300];

static int set_up(void **state)
{
    (void)state;
    model_folder(folder, sizeof(folder));
    snprintf(path, sizeof(path), "%s/guest.vswp", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    model_folder_remove(folder);
    return 0;
}

static struct swap *open_swap(uint64_t slots, uint64_t pages, const struct aio_faults *faults)
{
    struct swap *sw;

    if (swap_open(&sw, path, slots * PAGE_SIZE, pages, faults))
        fail_msg("%s", err_text());
    return sw;
}

static void check(const struct swap *sw)
{
    if (!swap_check(sw))
        fail_msg("%s", err_text());
}

static struct swap_info info(const struct swap *sw)
{
    struct swap_info i;

    swap_get_info(sw, &i);
    return i;
}

static uint32_t put(struct swap *sw, uint64_t index, uint64_t version)
{
    uint64_t page[PAGE_SIZE / 8];
    uint32_t slot;
    enum swap_put got;

    model_fill(page, version, NOISE);
    while ((got = swap_put(sw, index, page, &slot)) == SWAP_BUSY)
        swap_wait_room(sw);
    assert_int_equal(got, SWAP_OK);
    return slot;
}

/* Until nothing is staged. */
static void write_all(struct swap *sw)
{
    for (int i = 0; info(sw).staged && i < 10000; i++) {
        swap_work(sw, SWAP_ALL_NOW);
        swap_wait_room(sw);
    }
    assert_int_equal(info(sw).staged, 0);
    check(sw);
}

/* Until no hole is being punched. */
static void punch_all(struct swap *sw)
{
    struct pollfd p = {.fd = swap_fd(sw), .events = POLLIN};

    do
        swap_work(sw, SWAP_ALL_NOW);
    while (poll(&p, 1, 100) > 0);
    check(sw);
}

static void assert_page(struct swap *sw, uint32_t slot, uint64_t version)
{
    uint64_t page[PAGE_SIZE / 8];
    void *pages = page;
    bool ok = false;

    assert_true(swap_get(sw, &slot, &pages, &ok, 1));
    assert_true(ok);
    assert_true(model_is(page, version, NOISE));
}

static uint64_t allocated_bytes(void)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

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
    uint32_t slots[300];
    uint64_t index[300];
    void *pages[300];
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
    run_model(MODEL_PAGES, 1, 20000);
}

static void model_with_fewer_slots(void **state)
{
    (void)state;
    run_model(MODEL_PAGES / 3 + 7, 2, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(put_write_get_free, set_up, tear_down),
        cmocka_unit_test_setup_teardown(model_with_own_slots, set_up, tear_down),
        cmocka_unit_test_setup_teardown(model_with_fewer_slots, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
