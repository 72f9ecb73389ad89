/* SPDX-License-Identifier: Apache-2.0 */
/* A swap store in a folder of its own, for the tests of it. Included by one file per program. */
#ifndef UMBRA_TESTS_SWAP_FIXTURE_H
#define UMBRA_TESTS_SWAP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sys/stat.h>

#include "mem/store/swap.h"
#include "store_model.h"

#define NOISE 4096

static char folder[256], path[300]; /* of the test that runs */

static inline int set_up(void **state)
{
    (void)state;
    model_folder(folder, sizeof(folder));
    snprintf(path, sizeof(path), "%s/guest.vswp", folder);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    model_folder_remove(folder);
    return 0;
}

static inline struct swap *open_swap(uint64_t slots, uint64_t pages,
                                     const struct aio_faults *faults)
{
    struct swap *sw;

    if (swap_open(&sw, SWAP_FOR_SWAPPING, path, slots * PAGE_SIZE, pages, faults))
        fail_msg("%s", err_text());
    return sw;
}

static inline void check(const struct swap *sw)
{
    if (!swap_check(sw))
        fail_msg("%s", err_text());
}

static inline struct swap_info info(const struct swap *sw)
{
    struct swap_info i;

    swap_get_info(sw, &i);
    return i;
}

static inline uint32_t put(struct swap *sw, uint64_t index, uint64_t version)
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
static inline void write_all(struct swap *sw)
{
    for (int i = 0; info(sw).staged && i < 10000; i++) {
        swap_work(sw, SWAP_ALL_NOW);
        swap_wait_room(sw);
        if (!info(sw).in_flight)
            usleep(1000); /* until what has failed is tried again */
    }
    assert_int_equal(info(sw).staged, 0);
    check(sw);
}

/* Until no hole is being punched. */
static inline void punch_all(struct swap *sw)
{
    struct pollfd p = {.fd = swap_fd(sw), .events = POLLIN};

    swap_punch(sw);
    while (info(sw).in_flight) {
        assert_int_equal(poll(&p, 1, 60000), 1);
        swap_work(sw, SWAP_ALL_NOW);
    }
    check(sw);
}

static inline void assert_page(struct swap *sw, uint32_t slot, uint64_t version)
{
    uint64_t page[PAGE_SIZE / 8];
    void *pages = page;
    bool ok = false;

    assert_true(swap_get(sw, &slot, &pages, &ok, 1));
    assert_true(ok);
    assert_true(model_is(page, version, NOISE));
}

static inline uint64_t allocated_bytes(void)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
