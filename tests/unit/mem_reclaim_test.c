/* SPDX-License-Identifier: Apache-2.0 */
/* Reclaim: who leaves, to where, and how they come back. */
#include "mem_world.h"

static const struct mem_reclaim_stats *stats(const struct mem_world *w)
{
    return mem_reclaim_stats(w->mem);
}

/* --- the ladder --- */

static void each_goes_to_the_lightest_place(void **state)
{
    struct mem_world w;
    uint8_t page[PAGE] = {0};
    (void)state;

    world_open(&w, 512, 64, 64 * PAGE, NULL);
    from_disk(&w, 0, 1, 3);
    assert_true(cpu_fill(&w, 1, MEM_FOR_WRITE, page)); /* zeros */
    content(50, page);
    assert_true(cpu_fill(&w, 2, MEM_FOR_WRITE, page)); /* equal */
    assert_true(cpu_fill(&w, 3, MEM_FOR_WRITE, page));
    memset(page, 0x42, PAGE);
    assert_true(cpu_fill(&w, 4, MEM_FOR_WRITE, page)); /* compresses well */
    fill_frames(&w, 5, 1);                             /* noise */
    evict_all(&w, MEM_MEANS_SHARE | MEM_MEANS_COMPRESS);
    order(&w, ANY, mem_host_bytes(w.mem) / PAGE - 1, MEM_MEANS_SWAP);
    serve(&w);
    order(&w, ANY, ANY, 0);
    const enum page_state want[] = {PAGE_IMAGE,  PAGE_ZERO,       PAGE_SHARED,
                                    PAGE_SHARED, PAGE_COMPRESSED, PAGE_SWAPPED};
    for (uint64_t g = 0; g < 6; g++)
        assert_int_equal(state_of(&w, g), want[g]);
    world_check(&w);
    assert_true(stats(&w)->refused_compress > 0);

    /* Reading: zero and shared pages stay where they are, read-only. */
    hva_t hva, other;
    bool writable;
    assert_true(reads_zero(&w, 1));
    assert_int_equal(mem_make_resident(w.mem, gfn_make(2), MEM_FOR_READ, &hva, &writable), MEM_OK);
    assert_false(writable);
    assert_int_equal(mem_peek(w.mem, gfn_make(3), MEM_FOR_READ, &other, &writable), MEM_OK);
    assert_int_equal(hva.v, other.v);
    assert_int_equal(mem_peek(w.mem, gfn_make(3), MEM_FOR_WRITE, &other, &writable), MEM_NOT_READY);
    assert_int_equal(mem_peek(w.mem, gfn_make(4), MEM_FOR_READ, &other, &writable), MEM_NOT_READY);
    assert_true(reads_as(&w, 0, 1003));
    assert_true(reads_as(&w, 2, 50));
    assert_true(reads_as(&w, 5, 5));

    /* Writing breaks: the writer's own, the other stays; what an instruction read stays good. */
    unsigned unmaps = w.unmaps;
    assert_int_equal(mem_make_resident(w.mem, gfn_make(2), MEM_FOR_WRITE, &other, &writable),
                     MEM_OK);
    assert_int_equal(w.unmaps, unmaps + 1);
    assert_memory_equal(hva_ptr(other), hva_ptr(hva), PAGE);
    assert_int_equal(mem_make_resident(w.mem, gfn_make(3), MEM_FOR_WRITE, &other, &writable),
                     MEM_OK);
    assert_memory_equal(hva_ptr(other), hva_ptr(hva), PAGE); /* the copy is still there */
    world_check(&w);
    serve(&w);
    struct mem_store_info info;
    mem_store_info(w.mem, &info);
    assert_int_equal(info.shared_copies, 0);
    assert_int_equal(stats(&w)->came_from_shared, 2);
    assert_true(reads_as(&w, 3, 50));
    world_close(&w);
}

static void only_by_the_means_ordered(void **state)
{
    const struct {
        unsigned means;
        enum page_state to;
    } cases[] = {{0, PAGE_RESIDENT},
                 {MEM_MEANS_SHARE, PAGE_SHARED},
                 {MEM_MEANS_COMPRESS, PAGE_COMPRESSED},
                 {MEM_MEANS_SWAP, PAGE_SWAPPED}};
    uint8_t page[PAGE];
    struct mem_world w;
    (void)state;

    memset(page, 0x42, PAGE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world_open(&w, 512, 64, 64 * PAGE, NULL);
        for (uint64_t g = 0; g < 20; g++)
            assert_true(cpu_fill(&w, g, MEM_FOR_WRITE, page));
        order(&w, ANY, 0, cases[i].means);
        serve(&w);
        assert_int_equal(in_state(&w, cases[i].to), 20);
        assert_null(mem_stall(w.mem)); /* a target that is not reached stops nobody */
        world_close(&w);
    }
}

/* Frames [0, count) come back, and leave with `equal` of them holding the same: so many share. */
static uint64_t shared_of(struct mem_world *w, uint64_t count, uint64_t equal)
{
    uint64_t before = stats(w)->evicted_shared;
    uint8_t page[PAGE];

    memset(page, 0x42, PAGE);
    for (uint64_t g = 0; g < count; g++) {
        if (g >= equal) {
            content(g, page);
            memset(page + PAGE / 8, 1, PAGE - PAGE / 8);
        }
        assert_true(cpu_fill(w, g, MEM_FOR_OVERWRITE, page));
    }
    evict_all(w, MEM_MEANS_SHARE | MEM_MEANS_COMPRESS);
    assert_int_equal(in_state(w, PAGE_RESIDENT), 0);
    return stats(w)->evicted_shared - before;
}

/* Leaving, pages are seldom looked at while none has an equal, and all are when one had. */
static void looks_in_vain_become_few(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 4096, 0, 4096 * PAGE, NULL);
    assert_int_equal(shared_of(&w, 16, 16), 16);
    for (int round = 0; round < 3; round++)
        assert_int_equal(shared_of(&w, 2048, 0), 0);
    assert_int_equal(shared_of(&w, 16, 16), 0);
    uint64_t found = 0;
    for (int round = 0; round < 20 && !found; round++)
        found = shared_of(&w, 1024, 1024);
    assert_true(found > 0);
    assert_int_equal(shared_of(&w, 16, 16), 16);
    world_close(&w);
}

/* --- limits --- */

static void what_grows_beside_counts(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 2048, 2048, 0, NULL);
    mem_note_beside(w.mem, 4096 * PAGE); /* without a limit it is nobody's business */
    order(&w, 1024, ANY, MEM_MEANS_SWAP);
    fill_frames(&w, 0, 512);
    mem_note_beside(w.mem, 128 * PAGE);
    assert_int_equal(w.hooks, 0);
    mem_note_beside(w.mem, 384 * PAGE);
    assert_int_equal(w.hooks, 1);
    /* Measured: of 1024 pages something else has 512. */
    assert_true(mem_set_limit(w.mem, 512 * PAGE));
    serve(&w);
    assert_true(mem_host_bytes(w.mem) <= 512 * PAGE);
    assert_false(mem_set_limit(w.mem, 512 * PAGE));
    mem_note_beside(w.mem, PAGE);
    assert_int_equal(w.hooks, 1);
    assert_false(mem_set_limit(w.mem, UINT64_MAX));
    world_close(&w);
}

static void a_limit_holds(void **state)
{
    const unsigned means[] = {MEM_MEANS_SWAP, MEM_MEANS_ALL};
    struct mem_world w;
    unsigned served = 0;
    (void)state;

    for (size_t m = 0; m < 2; m++, served = 0) {
        world_open(&w, 4096, 4096, 512 * PAGE, NULL);
        order(&w, 1024, ANY, means[m]);
        for (uint64_t g = 0; g < 4096; g++) {
            fill_frames(&w, g, 1);
            if (w.hooks) {
                w.hooks = 0;
                serve(&w);
                served++;
            }
            assert_null(mem_stall(w.mem));
            assert_true(mem_host_bytes(w.mem) <= 1024 * PAGE);
        }
        assert_true(served <= 4096 / 32); /* one service for many faults */
        for (uint64_t g = 0; g < 4096; g++) {
            assert_true(reads_as(&w, g, g));
            if (w.hooks) {
                w.hooks = 0;
                serve(&w);
            }
            /* with what one instruction may bring in */
            assert_true(mem_host_bytes(w.mem) <= 1024 * PAGE + PAGE);
        }
        assert_true(stats(&w)->readahead_used > 2000);
        assert_true(stats(&w)->sequential_reads > 100);
        world_close(&w);
    }
}

static void a_target_is_reached_and_kept(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 2048, 2048, 0, NULL);
    fill_frames(&w, 0, 2000);
    order(&w, ANY, 500, MEM_MEANS_SWAP);
    for (int i = 0; i < SERVE_TURNS && mem_host_bytes(w.mem) > 500 * PAGE; i++) {
        uint64_t next = mem_service(w.mem, w.now_ns, 1000000);
        assert_true(next <= w.now_ns + SEC / 10);
        usleep(1000);
    }
    assert_true(mem_host_bytes(w.mem) <= 500 * PAGE);
    fill_frames(&w, 0, 500);
    assert_true(mem_host_bytes(w.mem) > 500 * PAGE);
    SERVE_UNTIL(&w, mem_host_bytes(w.mem) <= 500 * PAGE);
    assert_true(mem_host_bytes(w.mem) <= 500 * PAGE);
    order(&w, ANY, ANY, 0);
    assert_true(serve(&w) > w.now_ns + SEC / 2); /* only ageing is left to do */
    world_close(&w);
}

static void a_full_store_flows_into_the_file(void **state)
{
    struct mem_world w;
    uint8_t page[PAGE];
    (void)state;

    world_open(&w, 1024, 1024, 64 * PAGE, NULL);
    for (uint64_t g = 0; g < 800; g++) {
        memset(page, 0, PAGE);
        content(g, page);
        memset(page + PAGE / 2, 1, PAGE / 2); /* compresses by half */
        assert_true(cpu_fill(&w, g, MEM_FOR_WRITE, page));
    }
    order(&w, ANY, 64, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP);
    SERVE_UNTIL(&w, mem_host_bytes(w.mem) <= 64 * PAGE);
    assert_true(in_state(&w, PAGE_COMPRESSED) > 20);
    assert_true(stats(&w)->compressed_to_swap > 300);
    struct mem_store_info info;
    mem_store_info(w.mem, &info);
    assert_true(info.compressed_bytes <= info.compressed_limit_bytes);
    assert_int_equal(info.compressed_limit_bytes, 64 * PAGE);
    world_close(&w);

    /* Without a file, what does not fit stays. */
    world_open(&w, 1024, 0, 64 * PAGE, NULL);
    for (uint64_t g = 0; g < 800; g++)
        assert_true(cpu_fill(&w, g, MEM_FOR_WRITE, page));
    order(&w, ANY, 0, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP);
    serve(&w);
    assert_true(in_state(&w, PAGE_RESIDENT) > 500);
    assert_true(stats(&w)->refused_full > 0);
    world_close(&w);
}

/* --- the way back --- */

static void reads_that_are_not_done(void **state)
{
    struct mem_world w;
    uint8_t page[PAGE], back[PAGE];
    (void)state;

    world_open(&w, 512, 512, 0, NULL);
    fill_frames(&w, 0, 10);
    swap_all(&w);
    content(77, page);
    assert_true(cpu_fill(&w, 0, MEM_FOR_OVERWRITE, page));
    assert_int_equal(stats(&w)->false_reads_saved, 1);
    assert_true(mem_write(w.mem, gpa_make(1 * PAGE), page, PAGE));
    assert_int_equal(stats(&w)->stale_reads_saved, 1);
    assert_true(mem_fill_zero(w.mem, gpa_make(2 * PAGE), PAGE));
    assert_int_equal(state_of(&w, 2), PAGE_ZERO);
    assert_int_equal(stats(&w)->stale_reads_saved, 2);
    assert_int_equal(stats(&w)->swap_read_bytes, 0);
    assert_true(mem_read_through(w.mem, gpa_make(3 * PAGE), back, PAGE));
    content(3, page);
    assert_memory_equal(back, page, PAGE);
    assert_int_equal(state_of(&w, 3), PAGE_SWAPPED);
    assert_int_equal(stats(&w)->double_paging_saved, 1);
    assert_true(mem_read_through(w.mem, gpa_make(4 * PAGE - 100), back, 200));
    assert_memory_equal(back, page + PAGE - 100, 100);
    /* A part of a page does need it. */
    assert_true(mem_write(w.mem, gpa_make(5 * PAGE), "12345678", 8));
    assert_int_equal(state_of(&w, 5), PAGE_RESIDENT);
    assert_int_equal(stats(&w)->came_from_swap, 1);
    const uint64_t *latency = mem_latency(w.mem, MEM_LATENCY_SWAP);
    uint64_t sum = 0;
    for (int i = 0; i < MEM_LATENCY_BUCKETS; i++)
        sum += latency[i];
    assert_int_equal(sum, 1);
    world_close(&w);
}

/* Random access does not pay for neighbours, sequential access does not pay for each page. */
static void read_ahead_adapts(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 2048, 2048, 0, NULL);
    fill_frames(&w, 0, 2000);
    swap_all(&w);
    for (uint64_t i = 0; i < 100; i++)
        assert_true(reads_as(&w, i * 1009 % 2000, i * 1009 % 2000));
    assert_true(stats(&w)->readahead < 20);
    swap_all(&w);
    for (uint64_t g = 2000; g-- > 0;) /* also backwards */
        assert_true(reads_as(&w, g, g));
    assert_true(stats(&w)->came_from_swap < 600);
    assert_true(stats(&w)->readahead_used > 1200);
    world_close(&w);
}

/* --- equal pages --- */

static void the_scan_shares(void **state)
{
    struct mem_world w;
    uint8_t page[PAGE] = {0};
    (void)state;

    world_open(&w, 1024, 0, 0, NULL);
    for (uint64_t g = 0; g < 900; g++) {
        content(g % 9, page);
        assert_true(cpu_fill(&w, g, MEM_FOR_WRITE, page));
    }
    memset(page, 0, PAGE);
    for (uint64_t g = 900; g < 1000; g++)
        assert_true(cpu_fill(&w, g, MEM_FOR_WRITE, page));
    const struct mem_orders orders = {.limit_bytes = ANY,
                                      .target_bytes = ANY,
                                      .means = MEM_MEANS_SHARE,
                                      .share_scan_pages_per_s = 200};
    mem_set_orders(w.mem, &orders);
    age_once(&w);
    assert_true(stats(&w)->scan_pages <= 200); /* paced */
    for (int i = 0; i < 12; i++)
        age_once(&w);
    assert_int_equal(in_state(&w, PAGE_SHARED), 900);
    assert_int_equal(in_state(&w, PAGE_ZERO), 100);
    assert_int_equal(mem_host_bytes(w.mem), 9 * PAGE);
    for (uint64_t g = 0; g < 900; g++)
        assert_true(reads_as(&w, g, g % 9));
    world_check(&w);
    content(3, page);
    for (uint64_t g = 0; g < 900; g += 2) /* each gets its own again */
        assert_true(cpu_fill(&w, g, MEM_FOR_WRITE, page));
    for (uint64_t g = 1; g < 900; g += 2)
        assert_true(reads_as(&w, g, g % 9));
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_goes_to_the_lightest_place),
        cmocka_unit_test(only_by_the_means_ordered),
        cmocka_unit_test(looks_in_vain_become_few),
        cmocka_unit_test(what_grows_beside_counts),
        cmocka_unit_test(a_limit_holds),
        cmocka_unit_test(a_target_is_reached_and_kept),
        cmocka_unit_test(a_full_store_flows_into_the_file),
        cmocka_unit_test(reads_that_are_not_done),
        cmocka_unit_test(read_ahead_adapts),
        cmocka_unit_test(the_scan_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
