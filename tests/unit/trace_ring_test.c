/* SPDX-License-Identifier: Apache-2.0 */
/* The trace's ring: order, bound, drops, a writer that never waits. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/trace_ring.h"

static struct mmu_trace_record record(uint64_t number)
{
    struct mmu_trace_record r;

    memset(&r, 0, sizeof(r));
    r.at[0] = number;
    r.old_value = ~number;
    return r;
}

static void keeps_the_order_and_drops_the_newest(void **state)
{
    struct trace_ring ring;
    struct mmu_trace_record r;

    (void)state;
    assert_int_equal(trace_ring_init(&ring, 8), ERR_OK);
    assert_false(trace_ring_take(&ring, &r));
    for (uint64_t round = 0; round < 5; round++) {
        for (uint64_t i = 0; i < 11; i++) {
            r = record(round * 100 + i);
            trace_ring_put(&ring, &r);
        }
        assert_int_equal(trace_ring_dropped(&ring), 3 * (round + 1));
        for (uint64_t i = 0; i < 8; i++) {
            assert_true(trace_ring_take(&ring, &r));
            assert_int_equal(r.at[0], round * 100 + i);
            assert_int_equal(r.old_value, ~(round * 100 + i));
        }
        assert_false(trace_ring_take(&ring, &r));
    }
    trace_ring_fini(&ring);
}

#define RECORDS 200000u

static void *write_all(void *arg)
{
    for (uint64_t i = 1; i <= RECORDS; i++) {
        struct mmu_trace_record r = record(i);

        trace_ring_put(arg, &r);
    }
    return NULL;
}

/* Whatever is lost, what comes is whole, in order, and together with the drops complete. */
static void two_threads(void **state)
{
    struct trace_ring ring;
    struct mmu_trace_record r;
    pthread_t writer;
    uint64_t seen = 0, last = 0;
    bool done = false;

    (void)state;
    assert_int_equal(trace_ring_init(&ring, 64), ERR_OK);
    assert_int_equal(pthread_create(&writer, NULL, write_all, &ring), 0);
    while (!done) {
        done = pthread_tryjoin_np(writer, NULL) == 0;
        while (trace_ring_take(&ring, &r)) {
            assert_true(r.at[0] > last);
            assert_int_equal(r.old_value, ~r.at[0]);
            last = r.at[0];
            seen++;
        }
    }
    assert_int_equal(seen + trace_ring_dropped(&ring), RECORDS);
    trace_ring_fini(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_order_and_drops_the_newest),
        cmocka_unit_test(two_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
