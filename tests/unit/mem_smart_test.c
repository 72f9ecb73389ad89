/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smart-paging file: made when a page goes there, taken before the swap file, drained and
 * removed when orders allow no more, whatever the host does to it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "mem_world.h"

static const struct mem_reclaim_stats *stats(const struct mem_world *w)
{
    return mem_reclaim_stats(w->mem);
}

static bool has_file(const struct mem_world *w)
{
    return access(w->smart_path, F_OK) == 0;
}

static void order_smart(struct mem_world *w, uint64_t limit_pages, uint64_t smart_pages,
                        unsigned means)
{
    const struct mem_orders orders = {.limit_bytes = limit_pages == ANY ? ANY : limit_pages * PAGE,
                                      .target_bytes = ANY,
                                      .means = means,
                                      .smart_limit_bytes = smart_pages * PAGE};

    mem_set_orders(w->mem, &orders);
}

/* Frames [0, count), served whenever memory asks for it; false: the guest waits. */
static bool fill_served(struct mem_world *w, uint64_t count)
{
    for (uint64_t g = 0; g < count; g++) {
        fill_frames(w, g, 1);
        if (w->hooks) {
            w->hooks = 0;
            serve(w);
        }
        if (mem_stall(w->mem))
            return false;
    }
    return true;
}

/* Nothing is on its way to the smart-paging file any more. */
static bool is_written(struct mem_world *w)
{
    struct mem_store_info info;

    mem_store_info(w->mem, &info);
    return !info.smart_staging_pages;
}

/* Until the file is gone; how many slices that took. */
static unsigned drain(struct mem_world *w)
{
    unsigned slices = 0;

    for (; has_file(w) && slices < 300000; slices++) {
        w->now_ns += SEC / 100;
        mem_service(w->mem, w->now_ns, SEC / 1000);
        usleep(200);
    }
    assert_false(has_file(w));
    assert_int_equal(in_state(w, PAGE_SMART), 0);
    return slices;
}

static void all_read_right(struct mem_world *w, uint64_t count)
{
    for (uint64_t g = 0; g < count; g++) {
        assert_true(reads_as(w, g, g));
        if (g % 32 == 0)
            serve(w);
    }
}

/* 600 pages on 256, of which the rest may lie in the smart-paging file. */
static void bridge(struct mem_world *w, unsigned means)
{
    order_smart(w, 256, 600, means);
    assert_true(fill_served(w, 600));
    serve(w);
    assert_true(mem_host_bytes(w->mem) <= 256 * PAGE);
}

static void takes_pages_before_the_swap_file(void **state)
{
    struct mem_world w;
    struct stat st;
    (void)state;

    world_open(&w, 1024, 1024, 0, NULL);
    order(&w, 256, ANY, MEM_MEANS_SWAP);
    assert_true(fill_served(&w, 300));
    assert_false(has_file(&w)); /* nobody allowed it */
    assert_true(in_state(&w, PAGE_SWAPPED) > 0);
    uint64_t swapped = in_state(&w, PAGE_SWAPPED);

    bridge(&w, MEM_MEANS_SWAP);
    assert_true(has_file(&w));
    assert_int_equal(stat(w.smart_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(in_state(&w, PAGE_SMART) > 250);
    assert_true(in_state(&w, PAGE_SWAPPED) <= swapped);
    assert_int_equal(stats(&w)->smart_files, 1);
    world_check(&w);
    all_read_right(&w, 600);
    assert_true(stats(&w)->came_from_smart > 0);
    assert_int_equal(stats(&w)->smart_failures, 0);
    world_close(&w);
}

static void no_more_than_allowed(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 1024, 1024, 0, NULL);
    order_smart(&w, 256, 40, MEM_MEANS_SWAP);
    assert_true(fill_served(&w, 600));
    assert_int_equal(in_state(&w, PAGE_SMART), 40);
    assert_true(in_state(&w, PAGE_SWAPPED) > 250);
    world_check(&w);
    order_smart(&w, 256, 10, MEM_MEANS_SWAP); /* less: what is beyond goes on */
    SERVE_UNTIL(&w, in_state(&w, PAGE_SMART) <= 10);
    assert_int_equal(in_state(&w, PAGE_SMART), 10);
    assert_true(has_file(&w));
    all_read_right(&w, 600);
    world_close(&w);
}

static void drains_into_the_swap_file(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 1024, 1024, 0, NULL);
    bridge(&w, MEM_MEANS_SWAP);
    uint64_t smart = in_state(&w, PAGE_SMART);
    order_smart(&w, 256, 0, MEM_MEANS_SWAP);
    drain(&w);
    assert_int_equal(stats(&w)->smart_drained, smart);
    assert_int_equal(in_state(&w, PAGE_SWAPPED), smart);
    assert_true(stats(&w)->smart_file_ns > 0);
    assert_true(stats(&w)->smart_write_bytes > 0);
    world_check(&w);
    all_read_right(&w, 600);
    world_close(&w);
}

static void drains_into_host_memory_when_there_is_room(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 1024, 1024, 0, NULL);
    bridge(&w, MEM_MEANS_SWAP);
    order_smart(&w, ANY, 0, MEM_MEANS_SWAP);
    drain(&w);
    assert_int_equal(in_state(&w, PAGE_RESIDENT), 600);
    assert_int_equal(in_state(&w, PAGE_SWAPPED), 0);
    all_read_right(&w, 600);
    world_close(&w);
}

static void drains_into_the_compressed_store(void **state)
{
    uint8_t page[PAGE] = {0};
    struct mem_world w;
    (void)state;

    world_open(&w, 1024, 0, 64 * PAGE, NULL);
    for (uint64_t g = 0; g < 64; g++) {
        memset(page, (int)g + 1, PAGE / 2);
        memcpy(page, &g, sizeof g);
        assert_true(cpu_fill(&w, g, MEM_FOR_WRITE, page));
    }
    order_smart(&w, 16, 64, 0);
    serve(&w);
    assert_true(in_state(&w, PAGE_SMART) >= 48);
    order_smart(&w, 32, 0, MEM_MEANS_COMPRESS);
    drain(&w);
    assert_true(in_state(&w, PAGE_COMPRESSED) > 0);
    world_check(&w);
    for (uint64_t g = 0; g < 64; g++) {
        memset(page, (int)g + 1, PAGE / 2);
        memcpy(page, &g, sizeof g);
        uint8_t got[PAGE];
        assert_true(mem_read_through(w.mem, gpa_make(g * PAGE), got, PAGE));
        assert_memory_equal(got, page, PAGE);
    }
    world_close(&w);
}

/* Balloon, overwriting and zeroing need not read what is there. */
static void pages_that_nobody_wants(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 1024, 1024, 0, NULL);
    fill_frames(&w, 0, 300);
    order_smart(&w, 16, 300, MEM_MEANS_SWAP);
    serve(&w);
    uint64_t before = stats(&w)->smart_read_bytes;
    order_smart(&w, ANY, 300, MEM_MEANS_SWAP);
    for (uint64_t g = 0; g < 300; g++) {
        uint8_t page[PAGE];
        if (state_of(&w, g) != PAGE_SMART)
            continue;
        content(5000 + g, page);
        switch (g % 3) {
        case 0:
            assert_true(mem_balloon_inflate(w.mem, gfn_make(g)));
            assert_true(reads_zero(&w, g));
            break;
        case 1:
            assert_true(cpu_fill(&w, g, MEM_FOR_OVERWRITE, page));
            assert_true(reads_as(&w, g, 5000 + g));
            break;
        default:
            assert_true(mem_fill_zero(w.mem, gpa_make(g * PAGE), PAGE));
            assert_true(reads_zero(&w, g));
            break;
        }
    }
    assert_int_equal(in_state(&w, PAGE_SMART), 0);
    serve(&w);
    assert_int_equal(stats(&w)->smart_read_bytes, before);
    world_check(&w);
    order_smart(&w, ANY, 0, MEM_MEANS_SWAP);
    serve(&w);
    assert_false(has_file(&w));
    world_close(&w);
}

static void a_reset_forgets_all(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 1024, 1024, 0, NULL);
    for (unsigned restarts = 1; restarts <= 3; restarts++) {
        bridge(&w, MEM_MEANS_SWAP);
        assert_true(has_file(&w));
        mem_reset(w.mem);
        assert_false(has_file(&w));
        assert_int_equal(in_state(&w, PAGE_ABSENT), 1024);
        assert_int_equal(stats(&w)->smart_files, restarts);
        world_check(&w);
    }
    world_close(&w);
}

static void device_reads_leave_it_there(void **state)
{
    struct mem_world w;
    uint8_t got[PAGE], want[PAGE];
    (void)state;

    world_open(&w, 1024, 1024, 0, NULL);
    bridge(&w, MEM_MEANS_SWAP);
    for (uint64_t g = 0; g < 600; g++) {
        enum page_state before = state_of(&w, g);
        content(g, want);
        assert_true(mem_read_through(w.mem, gpa_make(g * PAGE), got, PAGE));
        assert_memory_equal(got, want, PAGE);
        assert_int_equal(state_of(&w, g), before);
    }
    world_close(&w);
}

/* ---- the host fails ---- */

/* The guest is not held up: the swap file takes over, and what waited to be written goes there. */
static void writes_that_fail(void **state)
{
    const int errors[] = {28 /* ENOSPC */, 5 /* EIO */};
    (void)state;

    for (unsigned e = 0; e < 2; e++) {
        for (uint64_t first = 1; first < 8; first += 3) {
            const struct aio_fault bad[] = {
                {.op = AIO_WRITE, .first = first, .last = UINT64_MAX, .error = errors[e]}};
            const struct aio_faults faults = {.fault = bad, .count = 1};
            struct mem_world w;

            world_open_smart(&w, 2048, 2048, 0, NULL, &faults);
            order_smart(&w, 256, 1800, MEM_MEANS_SWAP);
            assert_true(fill_served(&w, 1800));
            drain(&w); /* orders still allow it */
            assert_int_equal(stats(&w)->smart_failures, 1);
            assert_true(in_state(&w, PAGE_SWAPPED) > 1000);
            assert_int_equal(stats(&w)->stalls, 0);
            world_check(&w);
            all_read_right(&w, 1800);
            serve(&w);
            assert_false(has_file(&w)); /* not before the next restart */
            order_smart(&w, 256, 0, MEM_MEANS_SWAP);
            serve(&w);
            world_close(&w);
        }
    }
}

static void reads_that_fail_for_a_while(void **state)
{
    const struct aio_fault bad[] = {{.op = AIO_READ, .first = 2, .last = 8, .error = 5}};
    const struct aio_faults faults = {.fault = bad, .count = 1};
    struct mem_world w;
    (void)state;

    world_open_smart(&w, 1024, 1024, 0, NULL, &faults);
    bridge(&w, MEM_MEANS_SWAP);
    order_smart(&w, 256, 0, MEM_MEANS_SWAP);
    drain(&w);
    assert_int_equal(stats(&w)->io_errors, 7);
    assert_int_equal(stats(&w)->stalls, 0); /* nobody wanted these pages meanwhile */
    all_read_right(&w, 600);
    world_close(&w);
}

static void a_page_that_the_guest_wants_and_cannot_be_read(void **state)
{
    const struct aio_fault bad[] = {{.op = AIO_READ, .first = 1, .last = 2, .error = 5}};
    const struct aio_faults faults = {.fault = bad, .count = 1};
    struct mem_world w;
    hva_t hva;
    bool writable;
    uint64_t g = 0;
    (void)state;

    world_open_smart(&w, 1024, 1024, 0, NULL, &faults);
    fill_frames(&w, 0, 300);
    order_smart(&w, 16, 300, MEM_MEANS_SWAP);
    SERVE_UNTIL(&w, mem_host_bytes(w.mem) <= 16 * PAGE);
    SERVE_UNTIL(&w, is_written(&w));
    while (state_of(&w, g) != PAGE_SMART)
        g++;
    assert_int_equal(mem_make_resident(w.mem, gfn_make(g), MEM_FOR_READ, &hva, &writable),
                     MEM_HOST_ERROR);
    assert_non_null(strstr(mem_stall(w.mem), "smart-paging file"));
    assert_non_null(strstr(mem_stall(w.mem), ".smart"));
    world_check(&w);
    for (int i = 0; i < 10 && mem_stall(w.mem); i++) {
        usleep(110000);
        w.now_ns = UINT64_MAX / 2 + (uint64_t)i * SEC;
        mem_service(w.mem, w.now_ns, SEC);
    }
    assert_null(mem_stall(w.mem));
    assert_true(reads_as(&w, g, g));
    world_close(&w);
}

/* A full disk for both files: the guest waits, as it would without smart paging, and goes on. */
static void both_files_fail(void **state)
{
    const struct aio_fault bad[] = {{.op = AIO_WRITE, .first = 1, .last = 6, .error = 28}};
    const struct aio_faults faults = {.fault = bad, .count = 1};
    struct mem_world w;
    uint64_t g = 0;
    (void)state;

    world_open_smart(&w, 2048, 2048, 0, &faults, &faults);
    order_smart(&w, 256, 2048, MEM_MEANS_SWAP);
    for (; g < 2000 && !mem_stall(w.mem); g++) {
        fill_frames(&w, g, 1);
        if (w.hooks)
            serve(&w);
    }
    assert_true(g < 2000);
    assert_non_null(strstr(mem_stall(w.mem), "no space left"));
    world_check(&w);
    for (int i = 0; i < 3000 && mem_stall(w.mem); i++) {
        usleep(20000);
        w.now_ns += SEC / 10;
        serve(&w);
    }
    assert_null(mem_stall(w.mem));
    all_read_right(&w, g);
    world_close(&w);
}

static void a_file_that_cannot_be_made(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 1024, 1024, 0, NULL);
    assert_int_equal(mkdir(w.smart_path, 0700), 0); /* in the way */
    order_smart(&w, 256, 600, MEM_MEANS_SWAP);
    assert_true(fill_served(&w, 600));
    assert_int_equal(stats(&w)->smart_files, 0);
    assert_int_equal(stats(&w)->smart_failures, 1); /* told once */
    assert_int_equal(in_state(&w, PAGE_SMART), 0);
    assert_true(in_state(&w, PAGE_SWAPPED) > 250);
    assert_int_equal(rmdir(w.smart_path), 0);
    fill_frames(&w, 600, 100);
    serve(&w);
    assert_false(has_file(&w)); /* not before the next restart */
    order_smart(&w, 256, 0, MEM_MEANS_SWAP);
    serve(&w);
    order_smart(&w, 256, 600, MEM_MEANS_SWAP);
    fill_frames(&w, 700, 100);
    serve(&w);
    assert_true(has_file(&w));
    all_read_right(&w, 800);
    world_close(&w);
}

/* The file is gone by name only: what is in it is still ours. */
static void somebody_unlinks_it(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 1024, 1024, 0, NULL);
    bridge(&w, MEM_MEANS_SWAP);
    assert_int_equal(unlink(w.smart_path), 0);
    all_read_right(&w, 600);
    order_smart(&w, 256, 0, MEM_MEANS_SWAP);
    SERVE_UNTIL(&w, !in_state(&w, PAGE_SMART));
    assert_int_equal(in_state(&w, PAGE_SMART), 0);
    all_read_right(&w, 600);
    world_close(&w);
}

static void what_a_killed_one_left_is_removed(void **state)
{
    struct mem_world w;
    char smart[64], path[64];
    struct guest_mem *mem;
    (void)state;

    snprintf(smart, sizeof smart, "/tmp/umbra-left-%d.smart", (int)getpid());
    snprintf(path, sizeof path, "/tmp/umbra-left-%d.vswp", (int)getpid());
    int fd = open(smart, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    const struct mem_store_config config = {.path = path, .bytes = 64 * PAGE, .smart_path = smart};
    assert_int_equal(mem_create(&mem, MIB), ERR_OK);
    assert_int_equal(mem_stores_open(mem, &config), ERR_OK);
    assert_int_not_equal(access(smart, F_OK), 0);
    mem_destroy(mem);

    assert_int_equal(mkdir(smart, 0700), 0);
    assert_int_equal(mem_create(&mem, MIB), ERR_OK);
    assert_int_equal(mem_stores_open(mem, &config), ERR_IO);
    assert_non_null(strstr(err_text(), "--smart-paging-dir"));
    mem_destroy(mem);
    assert_int_equal(rmdir(smart), 0);

    world_open(&w, 256, 0, 0, NULL);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_pages_before_the_swap_file),
        cmocka_unit_test(no_more_than_allowed),
        cmocka_unit_test(drains_into_the_swap_file),
        cmocka_unit_test(drains_into_host_memory_when_there_is_room),
        cmocka_unit_test(drains_into_the_compressed_store),
        cmocka_unit_test(pages_that_nobody_wants),
        cmocka_unit_test(a_reset_forgets_all),
        cmocka_unit_test(device_reads_leave_it_there),
        cmocka_unit_test(writes_that_fail),
        cmocka_unit_test(reads_that_fail_for_a_while),
        cmocka_unit_test(a_page_that_the_guest_wants_and_cannot_be_read),
        cmocka_unit_test(both_files_fail),
        cmocka_unit_test(a_file_that_cannot_be_made),
        cmocka_unit_test(somebody_unlinks_it),
        cmocka_unit_test(what_a_killed_one_left_is_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
