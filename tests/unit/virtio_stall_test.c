/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues whose memory is in the swap file, which cannot be read now: nothing is lost, nothing
 * breaks, and all is done in order when it can be read again.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/aio.h"
#include "mem/reclaim.h"
#include "virtio_driver.h"
#include "virtio_echo.h"

#define MEMORY   (UINT64_C(1) << 20)
#define REQUESTS 6
#define BYTES    64

struct fixture {
    struct driver d;
    struct echo echo;
    char path[64];
};

static void start(struct fixture *f, uint64_t features, const struct aio_faults *faults)
{
    const struct mem_store_config config = {.path = f->path, .bytes = MEMORY, .faults = faults};

    memset(f, 0, sizeof(*f));
    snprintf(f->path, sizeof(f->path), "%s/umbra-stall-%d.vswp",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
    driver_start(&f->d, MEMORY);
    assert_int_equal(mem_stores_open(f->d.mem, &config), ERR_OK);
    driver_plug(&f->d, &echo_ops, &f->echo);
    f->echo.dev = f->d.dev;
    assert_true(driver_negotiate(&f->d, VIRTIO_F_VERSION_1 | features));
    /* far from each other, so that reading ahead brings in one of them only */
    driver_place_queue(&f->d, 0, 16, gpa_make(0x10000), gpa_make(0x50000), gpa_make(0x90000));
    driver_put16(&f->d, gpa_make(0x90800), 1); /* a page of zeros would need no reading */
    f->d.next_free = 0xd0000;
    driver_ok(&f->d);
}

static void stop(struct fixture *f)
{
    driver_stop(&f->d);
    unlink(f->path);
}

static uint64_t resident(struct fixture *f)
{
    struct mem_ledger ledger = mem_ledger(f->d.mem);

    return ledger.pages[PAGE_RESIDENT];
}

/* Every page goes to the swap file. */
static void swap_all_out(struct fixture *f)
{
    const struct mem_orders out = {
        .limit_bytes = UINT64_MAX, .target_bytes = 0, .means = MEM_MEANS_SWAP};
    const struct mem_orders rest = {.limit_bytes = UINT64_MAX, .target_bytes = UINT64_MAX};
    uint64_t now = 0;

    mem_set_orders(f->d.mem, &out);
    for (unsigned i = 0; i < 600000 && (resident(f) || mem_host_bytes(f->d.mem)); i++) {
        mem_service(f->d.mem, now += UINT64_C(2000000000), UINT64_C(100000000));
        usleep(100);
    }
    assert_int_equal(resident(f), 0);
    mem_set_orders(f->d.mem, &rest);
}

static void fill(struct fixture *f, struct virtq_buffer b[2], unsigned i)
{
    uint8_t bytes[BYTES];

    memset(bytes, (int)(i + 1), sizeof(bytes));
    b[0] = (struct virtq_buffer){driver_alloc(&f->d, BYTES, 4096), BYTES};
    b[1] = (struct virtq_buffer){driver_alloc(&f->d, BYTES, 4096), BYTES};
    driver_put(&f->d, b[0].gpa, bytes, sizeof(bytes));
    memset(bytes, 0xee, sizeof(bytes));
    driver_put(&f->d, b[1].gpa, bytes, sizeof(bytes));
    driver_add(&f->d, 0, b, 1, 1);
}

/* Some reads of the swap file fail, whichever they are. */
static void chains_wait_until_memory_is_back(void **state)
{
    unsigned stalls = 0;

    (void)state;
    for (unsigned i = 0; i < 120; i++) {
        const struct aio_fault fault = {.op = AIO_READ,
                                        .first = 1 + i / 2 % 20,
                                        .last = 3 + i / 2 % 20 + 2 * (i / 60),
                                        .error = EIO};
        const struct aio_faults faults = {.fault = &fault, .count = 1};
        struct virtq_buffer b[REQUESTS][2];
        struct fixture f;
        uint32_t head, written;
        unsigned served = 0, requests = i % 3 ? REQUESTS : 1;

        start(&f, i % 2 ? VIRTIO_F_EVENT_IDX : 0, &faults);
        for (unsigned k = 0; k < requests; k++)
            fill(&f, b[k], k);
        swap_all_out(&f);
        f.d.wanted = 0;
        virtio_notify(f.d.dev, 0);
        for (; f.d.wanted && served < 100; served++) {
            f.d.wanted = 0; /* whoever is not done asks for the next service */
            driver_serve(&f.d);
            assert_false(driver_status(&f.d) & VIRTIO_DEVICE_NEEDS_RESET);
        }
        assert_true(served < 100);
        stalls += served - 1;
        for (unsigned k = 0; k < requests; k++) {
            uint8_t bytes[BYTES], want[BYTES];

            assert_true(driver_used(&f.d, 0, &head, &written));
            assert_int_equal(head, 2 * k);
            assert_int_equal(written, BYTES);
            memset(want, (int)(k + 1), sizeof(want));
            driver_get(&f.d, b[k][1].gpa, bytes, sizeof(bytes));
            assert_memory_equal(bytes, want, sizeof(want));
        }
        assert_true(f.d.intx);
        stop(&f);
    }
    assert_true(stalls > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_wait_until_memory_is_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
