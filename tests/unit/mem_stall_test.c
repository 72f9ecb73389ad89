/* SPDX-License-Identifier: Apache-2.0 */
/* A host that fails or has no room: the guest waits, nothing is lost, and it goes on. */
#include "mem_world.h"

static const struct mem_reclaim_stats *stats(const struct mem_world *w)
{
    return mem_reclaim_stats(w->mem);
}

static void no_room_on_the_disk(void **state)
{
    const struct aio_fault bad[] = {
        {.op = AIO_WRITE, .first = 1, .last = 4, .error = 28 /* ENOSPC */}};
    const struct aio_faults faults = {.fault = bad, .count = 1};
    struct mem_world w;
    uint64_t g = 0;
    (void)state;

    world_open(&w, 2048, 2048, 0, &faults);
    order(&w, 256, ANY, MEM_MEANS_SWAP);
    for (; g < 2000 && !mem_stall(w.mem); g++) {
        fill_frames(&w, g, 1);
        if (w.hooks)
            serve(&w);
    }
    assert_true(g < 2000);
    assert_non_null(strstr(mem_stall(w.mem), "vswp"));
    assert_int_equal(stats(&w)->stalls, 1);
    assert_true(stats(&w)->io_errors > 0);
    assert_true(serve(&w) <= w.now_ns + SEC / 10); /* tries again soon */
    world_check(&w);
    for (uint64_t f = 0; f < g; f++) /* nothing is lost meanwhile */
        assert_true(reads_as(&w, f, f));
    for (int i = 0; i < 3000 && mem_stall(w.mem); i++) {
        usleep(20000);
        w.now_ns += 100000000;
        serve(&w);
    }
    assert_null(mem_stall(w.mem));
    assert_true(mem_host_bytes(w.mem) <= 256 * PAGE);
    for (uint64_t f = 0; f < g; f++) {
        assert_true(reads_as(&w, f, f));
        if (w.hooks)
            serve(&w);
    }
    world_close(&w);
}

static void a_file_that_cannot_be_read(void **state)
{
    const struct aio_fault bad[] = {{.op = AIO_READ, .first = 1, .last = 3, .error = 5 /* EIO */}};
    const struct aio_faults faults = {.fault = bad, .count = 1};
    struct mem_world w;
    hva_t hva;
    bool writable;
    (void)state;

    world_open(&w, 512, 512, 0, &faults);
    fill_frames(&w, 0, 200);
    swap_all(&w);
    assert_int_equal(mem_make_resident(w.mem, gfn_make(9), MEM_FOR_WRITE, &hva, &writable),
                     MEM_HOST_ERROR);
    assert_int_equal(state_of(&w, 9), PAGE_SWAPPED);
    assert_non_null(strstr(mem_stall(w.mem), "vswp"));
    world_check(&w); /* no host page was left behind */
    for (int i = 0; i < 10 && mem_stall(w.mem); i++) {
        usleep(110000);
        w.now_ns = UINT64_MAX / 2 + (uint64_t)i * SEC;
        mem_service(w.mem, w.now_ns, SEC);
    }
    assert_null(mem_stall(w.mem));
    for (uint64_t g = 0; g < 200; g++)
        assert_true(reads_as(&w, g, g));
    world_close(&w);
}

/* Somebody wrote into the file: the guest never sees it, and goes on only by overwriting. */
static void a_file_that_was_changed(void **state)
{
    struct mem_world w;
    uint8_t page[PAGE] = {0};
    hva_t hva;
    bool writable;
    (void)state;

    world_open(&w, 512, 512, 0, NULL);
    fill_frames(&w, 0, 4);
    swap_all(&w);
    FILE *file = fopen(w.path, "r+");
    assert_non_null(file);
    assert_int_equal(fwrite(page, 1, PAGE, file), PAGE); /* frame 0 has the first slot */
    fclose(file);
    assert_int_equal(mem_make_resident(w.mem, gfn_make(0), MEM_FOR_READ, &hva, &writable),
                     MEM_HOST_ERROR);
    assert_non_null(strstr(mem_stall(w.mem), "not what was written"));
    assert_true(stats(&w)->checksum_errors > 0);
    world_check(&w);
    for (int i = 0; i < 2; i++) {
        usleep(110000);
        w.now_ns = UINT64_MAX / 2 + (uint64_t)i * SEC;
        mem_service(w.mem, w.now_ns, SEC);
        assert_non_null(mem_stall(w.mem));
    }
    for (uint64_t g = 1; g < 4; g++)
        assert_true(reads_as(&w, g, g)); /* the others are what they were */
    assert_true(cpu_fill(&w, 0, MEM_FOR_OVERWRITE, page));
    usleep(110000);
    w.now_ns += SEC;
    mem_service(w.mem, w.now_ns, SEC);
    assert_null(mem_stall(w.mem));
    world_close(&w);
}

/* The guest waits when there is no place left, and says why; a higher limit lets it go on. */
static void no_place_left(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 1024, 64, 0, NULL);
    order(&w, 256, ANY, MEM_MEANS_SWAP);
    uint64_t g = 0;
    for (; g < 1000 && !mem_stall(w.mem); g++) {
        fill_frames(&w, g, 1);
        if (w.hooks)
            serve(&w);
    }
    assert_true(g >= 256 + 64 - 1 && g < 400);
    assert_non_null(strstr(mem_stall(w.mem), "swap file is full"));
    world_check(&w);
    order(&w, 512, ANY, MEM_MEANS_SWAP);
    serve(&w);
    assert_null(mem_stall(w.mem));
    order(&w, 64, ANY, 0);
    serve(&w);
    assert_non_null(strstr(mem_stall(w.mem), "not allowed"));
    mem_report_free(w.mem, gfn_make(0), 1024, MEM_FREE_REPORTED); /* the guest helped itself */
    serve(&w);
    assert_null(mem_stall(w.mem));
    assert_int_equal(stats(&w)->stalls, 2);
    world_close(&w);
}

/* Whoever waits for the vCPU's thread need not wait for the limit, which is kept before it runs. */
static void somebody_waits(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 4096, 4096, 0, NULL);
    fill_frames(&w, 0, 4000);
    mem_hurry(w.mem);
    order(&w, 64, ANY, MEM_MEANS_SWAP);
    assert_true(serve(&w) <= w.now_ns);
    assert_null(mem_stall(w.mem));
    assert_true(mem_host_bytes(w.mem) > 2048 * PAGE);
    world_check(&w);
    mem_hurry_over(w.mem);
    serve(&w);
    assert_true(mem_host_bytes(w.mem) <= 64 * PAGE);
    world_check(&w);
    for (uint64_t g = 0; g < 4000; g++)
        assert_true(reads_as(&w, g, g));
    world_close(&w);
}

static void a_file_that_cannot_be_made(void **state)
{
    const struct mem_store_config config = {
        .path = "/nonexistent/folder/x.vswp", .bytes = MIB, .compress_bytes = MIB};
    struct guest_mem *mem;
    (void)state;

    assert_int_equal(mem_create(&mem, MIB), ERR_OK);
    assert_int_not_equal(mem_stores_open(mem, &config), ERR_OK);
    assert_non_null(strstr(err_text(), "/nonexistent/folder/x.vswp"));
    assert_int_equal(mem_io_fd(mem), -1);
    mem_destroy(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_room_on_the_disk),     cmocka_unit_test(a_file_that_cannot_be_read),
        cmocka_unit_test(a_file_that_was_changed), cmocka_unit_test(no_place_left),
        cmocka_unit_test(somebody_waits),          cmocka_unit_test(a_file_that_cannot_be_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
