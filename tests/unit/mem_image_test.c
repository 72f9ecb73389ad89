/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that equal disk blocks: when they do, when they cease to, and what that saves. */
#include "mem_world.h"

static const struct mem_reclaim_stats *stats(const struct mem_world *w)
{
    return mem_reclaim_stats(w->mem);
}

static void dropped_and_read_back(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 64, 0, NULL);
    from_disk(&w, 10, 4, 100);
    assert_int_equal(mem_track(w.mem, gfn_make(10)), MEM_TRACK_IMAGE);
    assert_int_equal(w.protects, 4);
    evict_all(&w, MEM_MEANS_SWAP);
    assert_int_equal(in_state(&w, PAGE_IMAGE), 4);
    assert_int_equal(mem_host_bytes(w.mem), 0);
    assert_int_equal(stats(&w)->evicted_image, 4);
    assert_int_equal(stats(&w)->silent_writes_saved, 4);
    assert_int_equal(stats(&w)->swap_write_bytes, 0);
    for (uint64_t g = 10; g < 14; g++)
        assert_true(reads_as(&w, g, 1000 + 90 + g));
    assert_int_equal(stats(&w)->came_from_image + stats(&w)->readahead, 4);
    assert_int_equal(stats(&w)->image_read_bytes, 4 * PAGE);
    /* It is still equal, and leaves for nothing again. */
    evict_all(&w, 0);
    assert_int_equal(in_state(&w, PAGE_IMAGE), 4);
    world_close(&w);
}

static void the_first_write_ends_it(void **state)
{
    struct mem_world w;
    uint8_t page[PAGE];
    (void)state;

    world_open(&w, 512, 64, 0, NULL);
    from_disk(&w, 10, 2, 100);
    content(5, page);
    assert_true(cpu_fill(&w, 10, MEM_FOR_WRITE, page));
    assert_int_equal(mem_track(w.mem, gfn_make(10)), 0);
    evict_all(&w, MEM_MEANS_SWAP);
    assert_int_equal(state_of(&w, 10), PAGE_SWAPPED);
    assert_int_equal(state_of(&w, 11), PAGE_IMAGE);
    assert_true(reads_as(&w, 10, 5));
    /* A dropped page that is written comes in first. */
    hva_t hva;
    bool writable;
    assert_int_equal(mem_make_resident(w.mem, gfn_make(11), MEM_FOR_WRITE, &hva, &writable),
                     MEM_OK);
    assert_true(reads_as(&w, 11, 1101));
    mem_note_written(w.mem, gpa_make(11 * PAGE), 1);
    assert_int_equal(mem_track(w.mem, gfn_make(11)), 0);
    world_close(&w);
}

static void changed_blocks_come_in_first(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 64, 0, NULL);
    from_disk(&w, 10, 4, 100);
    from_disk(&w, 20, 1, 100); /* the same block twice */
    evict_all(&w, 0);
    assert_int_equal(in_state(&w, PAGE_IMAGE), 5);
    assert_true(mem_image_overwritten(w.mem, 0, 100, 2));
    assert_int_equal(state_of(&w, 10), PAGE_RESIDENT);
    assert_int_equal(state_of(&w, 11), PAGE_RESIDENT);
    assert_int_equal(state_of(&w, 20), PAGE_RESIDENT);
    assert_int_equal(mem_track(w.mem, gfn_make(10)) | mem_track(w.mem, gfn_make(20)), 0);
    assert_int_equal(mem_track(w.mem, gfn_make(13)), MEM_TRACK_IMAGE);
    assert_true(mem_image_overwritten(w.mem, 1, 102, 2)); /* another disk */
    assert_int_equal(mem_track(w.mem, gfn_make(13)), MEM_TRACK_IMAGE);
    assert_true(mem_image_overwritten(w.mem, 0, 0, UINT64_MAX)); /* the whole disk */
    assert_int_equal(in_state(&w, PAGE_IMAGE), 0);
    evict_all(&w, MEM_MEANS_SWAP);
    assert_int_equal(in_state(&w, PAGE_SWAPPED), 5);
    for (uint64_t g = 10; g < 14; g++)
        assert_true(reads_as(&w, g, 1090 + g));
    world_close(&w);
}

/* Not read back, not overwritten: the device is told no, the guest waits, nothing is lost. */
static void a_disk_that_fails(void **state)
{
    struct mem_world w;
    hva_t hva;
    bool writable;
    (void)state;

    world_open(&w, 512, 0, 0, NULL);
    from_disk(&w, 10, 4, 100);
    evict_all(&w, 0);
    w.disk_fails = true;
    assert_false(mem_image_overwritten(w.mem, 0, 101, 1));
    assert_int_equal(state_of(&w, 11), PAGE_IMAGE);
    assert_int_equal(mem_make_resident(w.mem, gfn_make(12), MEM_FOR_READ, &hva, &writable),
                     MEM_HOST_ERROR);
    assert_non_null(strstr(mem_stall(w.mem), "disk.raw"));
    world_check(&w);
    serve(&w);
    assert_non_null(mem_stall(w.mem));
    assert_int_equal(stats(&w)->stalls, 1);
    assert_true(stats(&w)->io_errors >= 2);
    /* Overwriting it asks nothing of the disk. */
    uint8_t page[PAGE];
    content(3, page);
    assert_true(cpu_fill(&w, 13, MEM_FOR_OVERWRITE, page));
    w.disk_fails = false;
    usleep(110000); /* tries again no sooner */
    w.now_ns = UINT64_MAX / 2;
    mem_service(w.mem, w.now_ns, SEC);
    assert_null(mem_stall(w.mem));
    assert_true(reads_as(&w, 12, 1102));
    assert_true(reads_as(&w, 13, 3));
    assert_true(mem_image_overwritten(w.mem, 0, 101, 1));
    assert_true(reads_as(&w, 11, 1101));
    world_close(&w);
}

static void writes_under_way(void **state)
{
    struct mem_world w;
    uint8_t page[PAGE];
    (void)state;

    world_open(&w, 512, 64, 0, NULL);
    /* Frame 20+k holds what block 20+k will hold. */
    for (uint64_t k = 0; k < 6; k++) {
        content(1020 + k, page);
        assert_true(cpu_fill(&w, 20 + k, MEM_FOR_WRITE, page));
    }
    uint64_t ticket[6];
    for (uint64_t k = 0; k < 6; k++) {
        assert_true(mem_image_overwritten(w.mem, 0, 20 + k, 1));
        ticket[k] = mem_image_write_begins(w.mem, gfn_make(20 + k), 0, 20 + k);
        assert_true(ticket[k] != 0);
        assert_int_equal(mem_track(w.mem, gfn_make(20 + k)), MEM_TRACK_IMAGE);
    }
    content(7, page);
    assert_true(cpu_fill(&w, 21, MEM_FOR_WRITE, page));          /* written by the CPU */
    assert_true(mem_write(w.mem, gpa_make(22 * PAGE), page, 8)); /* by a device */
    assert_true(mem_image_overwritten(w.mem, 0, 23, 1));         /* another write to the block */
    assert_true(mem_balloon_inflate(w.mem, gfn_make(24)));       /* gone */
    for (uint64_t k = 0; k < 6; k++)
        mem_image_write_done(w.mem, gfn_make(20 + k), ticket[k], k != 5); /* 5: failed */
    mem_image_write_done(w.mem, gfn_make(20), ticket[0], true); /* an old ticket means nothing */
    mem_image_write_done(w.mem, gfn_make(25), 0, true);
    mem_image_write_done(w.mem, gfn_make(25), 12345, true);
    for (uint64_t k = 0; k < 6; k++)
        assert_int_equal(mem_track(w.mem, gfn_make(20 + k)), k ? 0 : MEM_TRACK_IMAGE);
    evict_all(&w, MEM_MEANS_SWAP);
    assert_int_equal(state_of(&w, 20), PAGE_IMAGE);
    assert_int_equal(in_state(&w, PAGE_IMAGE), 1);
    assert_true(reads_as(&w, 20, 1020));
    assert_true(reads_as(&w, 21, 7));
    assert_true(reads_as(&w, 23, 1023));
    world_close(&w);
}

/* More writes under way than there is room for: the last makes its frame equal to nothing. */
static void a_book_that_is_full(void **state)
{
    struct mem_world w;
    uint64_t ticket[1025];
    (void)state;

    world_open(&w, 2048, 0, 0, NULL);
    fill_frames(&w, 0, 1025);
    for (uint64_t g = 0; g < 1025; g++)
        ticket[g] = mem_image_write_begins(w.mem, gfn_make(g), 0, g);
    assert_true(ticket[1023] != 0);
    assert_int_equal(ticket[1024], 0);
    for (uint64_t g = 0; g < 1025; g++)
        mem_image_write_done(w.mem, gfn_make(g), ticket[g], g % 2 == 0);
    for (uint64_t g = 0; g < 1025; g++)
        assert_int_equal(mem_track(w.mem, gfn_make(g)),
                         g % 2 == 0 && g < 1024 ? MEM_TRACK_IMAGE : 0);
    assert_true(mem_image_write_begins(w.mem, gfn_make(0), 0, 7) != 0);
    mem_reset(w.mem); /* nor do writes under way outlive a reset */
    for (uint64_t g = 0; g < 1025; g++)
        assert_int_equal(mem_track(w.mem, gfn_make(g)), 0);
    world_close(&w);
}

/* One block in all frames: the chain is bounded, the rest goes to the swap file. */
static void a_guest_that_reads_one_block_everywhere(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 512, 0, NULL);
    for (uint64_t g = 0; g < 400; g++)
        from_disk(&w, g, 1, 9);
    evict_all(&w, MEM_MEANS_SWAP);
    assert_true(in_state(&w, PAGE_IMAGE) > 0 && in_state(&w, PAGE_IMAGE) < 100);
    assert_true(mem_image_overwritten(w.mem, 0, 9, 1));
    for (uint64_t g = 0; g < 400; g++)
        assert_true(reads_as(&w, g, 1009));
    /* Out of range: believed by nobody. */
    mem_image_is_equal(w.mem, gfn_make(0), MEM_DISKS_MAX, 1);
    mem_image_is_equal(w.mem, gfn_make(0), 0, UINT64_MAX);
    mem_image_is_equal(w.mem, gfn_make(512), 0, 1);
    assert_int_equal(mem_track(w.mem, gfn_make(0)), 0);
    assert_int_equal(mem_image_write_begins(w.mem, gfn_make(512), 0, 1), 0);
    world_close(&w);
}

/* A file read again in order: one read brings the blocks that follow, wherever their frames are. */
static void sequence_is_kept(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 0, 0, NULL);
    for (uint64_t b = 0; b < 256; b++)
        from_disk(&w, b * 37 % 256, 1, b);
    evict_all(&w, 0);
    w.disk_reads = 0;
    for (uint64_t b = 0; b < 256; b++)
        assert_true(reads_as(&w, b * 37 % 256, 1000 + b));
    assert_true(w.disk_reads <= 256 / 16 + 6);
    assert_true(stats(&w)->readahead_used >= 230);
    world_close(&w);
}

static void order_without_cures(struct mem_world *w, uint64_t target_pages)
{
    const struct mem_orders orders = {.limit_bytes = UINT64_MAX,
                                      .target_bytes = target_pages * PAGE,
                                      .means = MEM_MEANS_SWAP,
                                      .without_cures = true};

    mem_set_orders(w->mem, &orders);
    SERVE_UNTIL(w, mem_host_bytes(w->mem) <= target_pages * PAGE);
    assert_true(mem_host_bytes(w->mem) <= target_pages * PAGE);
}

/* As a hypervisor that knows of no cure: each disease shows, and no counter says it was saved. */
static void without_cures(void **state)
{
    struct mem_world w;
    uint8_t page[PAGE];
    (void)state;

    world_open(&w, 512, 64, 0, NULL);
    from_disk(&w, 10, 4, 100); /* known before the orders */
    order_without_cures(&w, 0);
    from_disk(&w, 20, 4, 200);
    fill_frames(&w, 30, 8);
    assert_int_equal(mem_track(w.mem, gfn_make(20)), 0);
    order_without_cures(&w, 0);
    assert_int_equal(in_state(&w, PAGE_IMAGE), 0);
    assert_int_equal(in_state(&w, PAGE_SWAPPED), 16); /* silent writes */
    order_without_cures(&w, 512);
    content(1, page);
    assert_true(mem_write(w.mem, gpa_make(10 * PAGE), page, PAGE)); /* a stale read */
    assert_true(mem_fill_zero(w.mem, gpa_make(11 * PAGE), PAGE));
    assert_true(cpu_fill(&w, 12, MEM_FOR_OVERWRITE, page)); /* a false one */
    assert_true(mem_read_for_device(w.mem, gpa_make(13 * PAGE), page, PAGE));
    assert_int_equal(state_of(&w, 13), PAGE_RESIDENT); /* double paging */
    for (uint64_t g = 30; g < 38; g++)
        assert_true(reads_as(&w, g, g));
    assert_int_equal(stats(&w)->came_from_swap, 12); /* one by one */
    assert_int_equal(stats(&w)->readahead, 0);
    assert_int_equal(stats(&w)->silent_writes_saved + stats(&w)->stale_reads_saved +
                         stats(&w)->false_reads_saved + stats(&w)->sequential_reads +
                         stats(&w)->file_pages_first + stats(&w)->double_paging_saved,
                     0);
    assert_true(reads_as(&w, 10, 1));
    assert_true(reads_zero(&w, 11));
    assert_true(reads_as(&w, 12, 1));
    assert_true(reads_as(&w, 13, 1103));
    assert_true(mem_image_overwritten(w.mem, 0, 0, UINT64_MAX));
    world_close(&w);
}

/* Blocks of which a quarter is noise. */
static void soft_content(uint64_t block, uint8_t page[PAGE])
{
    content(1000 + block, page);
    memset(page + PAGE / 4, 0x5a, PAGE / 4 * 3);
}

static enum err soft_disk(void *arg, unsigned disk, uint64_t block, void *buf, size_t count)
{
    struct mem_world *w = arg;

    assert_int_equal(disk, 0);
    w->disk_reads++;
    for (size_t i = 0; i < count; i++)
        soft_content(block + i, (uint8_t *)buf + i * PAGE);
    return ERR_OK;
}

static void from_soft_disk(struct mem_world *w, uint64_t g, uint64_t count, uint64_t block)
{
    uint8_t page[PAGE];

    for (uint64_t i = 0; i < count; i++) {
        soft_content(block + i, page);
        assert_true(mem_write(w->mem, gpa_make((g + i) * PAGE), page, PAGE));
        mem_image_is_equal(w->mem, gfn_make(g + i), 0, block + i);
    }
}

static void read_soft(struct mem_world *w, uint64_t g, uint64_t count, uint64_t block)
{
    uint8_t page[PAGE];

    for (uint64_t i = 0; i < count; i++) {
        hva_t hva;
        bool writable;
        assert_int_equal(mem_make_resident(w->mem, gfn_make(g + i), MEM_FOR_READ, &hva, &writable),
                         MEM_OK);
        mem_note_used(w->mem, gfn_make(g + i));
        soft_content(block + i, page);
        assert_memory_equal(hva_ptr(hva), page, PAGE);
    }
}

/* Down to as much as all of them take compressed, and a little. */
static void evict_most(struct mem_world *w)
{
    order(w, ANY, 100, MEM_MEANS_ALL);
    for (unsigned i = 0; i < 20; i++)
        serve(w);
    order(w, ANY, ANY, 0);
    world_check(w);
}

/* Dropped at first; compressed once they were seen to come back; dropped again when not. */
static void files_that_come_back_are_compressed(void **state)
{
    struct mem_world w;
    unsigned reads;
    (void)state;

    world_open(&w, 1024, 1024, 512 * PAGE, NULL);
    const struct mem_image_source source = {.arg = &w, .read = soft_disk};
    mem_set_image_source(w.mem, &source);
    from_soft_disk(&w, 0, 256, 0);
    evict_all(&w, MEM_MEANS_ALL);
    assert_int_equal(in_state(&w, PAGE_IMAGE), 256);
    read_soft(&w, 0, 256, 0);
    reads = w.disk_reads;
    evict_most(&w);
    assert_in_range(in_state(&w, PAGE_COMPRESSED), 220, 256);
    assert_int_equal(in_state(&w, PAGE_IMAGE), 0);
    read_soft(&w, 0, 128, 0);
    evict_most(&w); /* their tie was kept */
    assert_in_range(in_state(&w, PAGE_COMPRESSED), 220, 256);
    assert_int_equal(in_state(&w, PAGE_IMAGE), 0);
    /* their blocks change: what they hold need not come in first */
    uint64_t before = in_state(&w, PAGE_COMPRESSED);
    assert_true(mem_image_overwritten(w.mem, 0, 0, 64));
    assert_int_equal(in_state(&w, PAGE_COMPRESSED), before);
    assert_int_equal(mem_track(w.mem, gfn_make(0)), 0);
    world_check(&w);
    read_soft(&w, 0, 64, 0);
    assert_int_equal(w.disk_reads, reads);
    evict_most(&w);
    /* pages that nobody wants again: these are dropped, and so are those that were kept */
    for (uint64_t block = 1000; block < 4000; block += 200) {
        from_soft_disk(&w, 512, 200, block);
        evict_most(&w);
    }
    assert_in_range(in_state(&w, PAGE_IMAGE), 192, 192 + 200);
    assert_in_range(in_state(&w, PAGE_COMPRESSED), 1, 64);
    assert_int_equal(stats(&w)->swap_write_bytes, 0);
    read_soft(&w, 0, 256, 0);
    assert_true(w.disk_reads > reads);
    world_close(&w);
}

/* The store has no room left: what equals a disk block goes from it, and nothing is written. */
static void compressed_files_make_room(void **state)
{
    struct mem_world w;
    uint8_t page[PAGE];
    (void)state;

    world_open(&w, 1024, 1024, 512 * PAGE, NULL);
    const struct mem_image_source source = {.arg = &w, .read = soft_disk};
    mem_set_image_source(w.mem, &source);
    from_soft_disk(&w, 0, 256, 0);
    evict_all(&w, MEM_MEANS_ALL);
    read_soft(&w, 0, 256, 0);
    evict_most(&w);
    assert_in_range(in_state(&w, PAGE_COMPRESSED), 220, 256);
    for (uint64_t g = 512; g < 768; g++) {
        soft_content(g, page);
        assert_true(cpu_fill(&w, g, MEM_FOR_WRITE, page));
    }
    evict_most(&w);
    assert_int_equal(in_state(&w, PAGE_SWAPPED), 0);
    assert_int_equal(stats(&w)->swap_write_bytes, 0);
    assert_in_range(in_state(&w, PAGE_IMAGE), 150, 256);
    read_soft(&w, 0, 256, 0);
    read_soft(&w, 512, 256, 512);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropped_and_read_back),
        cmocka_unit_test(the_first_write_ends_it),
        cmocka_unit_test(changed_blocks_come_in_first),
        cmocka_unit_test(a_disk_that_fails),
        cmocka_unit_test(writes_under_way),
        cmocka_unit_test(a_book_that_is_full),
        cmocka_unit_test(a_guest_that_reads_one_block_everywhere),
        cmocka_unit_test(sequence_is_kept),
        cmocka_unit_test(without_cures),
        cmocka_unit_test(files_that_come_back_are_compressed),
        cmocka_unit_test(compressed_files_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
