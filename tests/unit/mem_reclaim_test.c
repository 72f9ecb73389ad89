/* SPDX-License-Identifier: Apache-2.0 */
/* Reclaim: who leaves, to where, and how they come back. */
#include <errno.h>

#include "forbid.h"
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

/* --- who leaves --- */

static void the_idlest_leave_first(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 512, 0, NULL);
    fill_frames(&w, 0, 400);
    for (int i = 0; i < 5; i++) {
        age_once(&w);
        for (uint64_t g = 300; g < 400; g++)
            mem_note_used(w.mem, gfn_make(g));
    }
    assert_int_equal(w.ages, 5);
    for (uint64_t g = 100; g < 200; g++)
        mem_note_used(w.mem, gfn_make(g)); /* used now */
    age_once(&w);
    for (uint64_t g = 300; g < 400; g++)
        mem_note_used(w.mem, gfn_make(g));
    uint64_t pages[MEM_AGES];
    mem_age_histogram(w.mem, pages);
    assert_int_equal(pages[0], 100);
    assert_int_equal(pages[1], 100);
    assert_int_equal(pages[6], 200);
    order(&w, ANY, 200, MEM_MEANS_SWAP);
    serve(&w);
    for (uint64_t g = 0; g < 400; g++)
        assert_int_equal(state_of(&w, g),
                         g < 100 || (g >= 200 && g < 300) ? PAGE_SWAPPED : PAGE_RESIDENT);
    assert_true(w.batches >= 4 && w.batches <= 8); /* in batches, not one by one */
    order(&w, ANY, 100, MEM_MEANS_SWAP);
    serve(&w);
    assert_int_equal(state_of(&w, 100), PAGE_SWAPPED);
    assert_int_equal(state_of(&w, 399), PAGE_RESIDENT);
    world_close(&w);
}

/* What came back after long leaves before what is used every second, though it was used since. */
static void seldom_used_before_often_used(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 512, 0, NULL);
    fill_frames(&w, 0, 32);
    swap_all(&w);
    fill_frames(&w, 100, 32);
    for (unsigned second = 0; second < 8; second++) {
        age_once(&w);
        for (uint64_t g = 100; g < 132; g++)
            mem_note_used(w.mem, gfn_make(g));
    }
    for (uint64_t g = 0; g < 32; g++)
        assert_true(reads_as(&w, g, g));
    order(&w, ANY, 32, MEM_MEANS_SWAP);
    serve(&w);
    for (uint64_t g = 0; g < 32; g++) {
        assert_int_equal(state_of(&w, g), PAGE_SWAPPED);
        assert_int_equal(state_of(&w, 100 + g), PAGE_RESIDENT);
    }
    /* used again soon: it is one of them */
    order(&w, ANY, ANY, 0);
    assert_true(reads_as(&w, 5, 5));
    for (unsigned second = 0; second < 2; second++) {
        age_once(&w);
        for (uint64_t g = 100; g < 132; g++)
            mem_note_used(w.mem, gfn_make(g));
        mem_note_used(w.mem, gfn_make(5));
    }
    assert_true(reads_as(&w, 6, 6));
    order(&w, ANY, 33, MEM_MEANS_SWAP);
    serve(&w);
    assert_int_equal(state_of(&w, 5), PAGE_RESIDENT);
    assert_int_equal(state_of(&w, 6), PAGE_SWAPPED);
    world_close(&w);
}

/* While much comes in, what is used again is told from what was used once within the second. */
/* 200 frames on 100 pages, four times over; how many host pages were handed on. */
static int cycle(void *filter)
{
    struct mem_world w;
    int moved;

    if (filter && forbid_call(FORBID_USERFAULTFD, EPERM))
        return FORBID_SKIP;
    world_open(&w, 512, 512, 0, NULL);
    order(&w, 100, ANY, MEM_MEANS_ALL);
    for (uint64_t n = 0; n < 800; n++) {
        if (n < 200)
            fill_frames(&w, n, 1);
        assert_true(reads_as(&w, n % 200, n % 200));
        if (n % 4 == 3)
            serve(&w);
        assert_true(mem_host_bytes(w.mem) <= 110 * PAGE);
    }
    world_check(&w);
    moved = stats(&w)->host_pages_moved > 0;
    w.now_ns += SEC; /* without pressure all of them go back */
    serve(&w);
    assert_int_equal(mem_host_bytes(w.mem), in_state(&w, PAGE_RESIDENT) * PAGE);
    world_close(&w);
    return moved;
}

static void host_pages_are_handed_on_where_the_host_allows_it(void **state)
{
    int got = cycle(NULL);
    (void)state;

    if (!got)
        print_message("SKIP: the host moves no pages (userfaultfd)\n");
    got = forbid_run(cycle, &got);
    if (got == FORBID_SKIP)
        print_message("SKIP: the host has no filters for system calls\n");
    else
        assert_int_equal(got, 0);
}

static void under_pressure_ages_are_finer(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 512, 0, NULL);
    fill_frames(&w, 0, 64);
    swap_all(&w);
    for (uint64_t g = 0; g < 64; g++)
        assert_true(reads_as(&w, g, g));
    unsigned ages = w.ages;
    w.now_ns += SEC / 16;
    mem_service(w.mem, w.now_ns, SEC);
    assert_int_equal(w.ages, ages + 1);
    for (uint64_t g = 0; g < 64; g += 2)
        mem_note_used(w.mem, gfn_make(g));
    w.now_ns += SEC / 16; /* nothing has come in since */
    mem_service(w.mem, w.now_ns, SEC);
    assert_int_equal(w.ages, ages + 1);
    uint64_t pages[MEM_AGES];
    mem_age_histogram(w.mem, pages);
    assert_int_equal(pages[0], 64); /* all within the second */
    order(&w, ANY, 32, MEM_MEANS_SWAP);
    serve(&w);
    for (uint64_t g = 0; g < 64; g++)
        assert_int_equal(state_of(&w, g), g % 2 ? PAGE_SWAPPED : PAGE_RESIDENT);
    world_close(&w);
}

static void file_pages_before_others_of_their_age(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 512, 0, NULL);
    fill_frames(&w, 0, 50);
    from_disk(&w, 50, 50, 0);
    fill_frames(&w, 100, 50);
    age_once(&w);
    order(&w, ANY, 100, MEM_MEANS_SWAP);
    serve(&w);
    assert_int_equal(in_state(&w, PAGE_IMAGE), 50);
    assert_int_equal(in_state(&w, PAGE_SWAPPED), 0);
    assert_int_equal(stats(&w)->file_pages_first, 50);
    world_close(&w);
}

static void tables_and_code_last_and_pinned_never(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 512, 0, NULL);
    fill_frames(&w, 0, 100);
    for (uint64_t g = 0; g < 20; g++)
        mem_track_set(w.mem, gfn_make(g), g % 2 ? MEM_TRACK_CODE : MEM_TRACK_TABLE);
    for (uint64_t g = 20; g < 30; g++)
        assert_true(mem_pin(w.mem, gfn_make(g)));
    for (int i = 0; i < 5; i++)
        age_once(&w);
    for (uint64_t g = 30; g < 100; g++)
        mem_note_used(w.mem, gfn_make(g)); /* all others are hot */
    order(&w, ANY, 40, MEM_MEANS_SWAP);
    serve(&w);
    for (uint64_t g = 0; g < 30; g++)
        assert_true(state_of(&w, g) >= PAGE_RESIDENT);
    order(&w, ANY, 0, MEM_MEANS_SWAP);
    serve(&w); /* when there is nothing else, they go too */
    assert_int_equal(in_state(&w, PAGE_PINNED), 10);
    assert_int_equal(in_state(&w, PAGE_RESIDENT), 0);
    assert_int_equal(mem_track(w.mem, gfn_make(0)), MEM_TRACK_TABLE); /* still heard of */
    assert_true(reads_as(&w, 0, 0));
    world_close(&w);
}

/* Long idle code goes before what was used a moment ago. */
static void old_code_before_hot_data(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 512, 0, NULL);
    fill_frames(&w, 0, 100);
    for (uint64_t g = 0; g < 50; g++)
        mem_track_set(w.mem, gfn_make(g), MEM_TRACK_CODE);
    for (int i = 0; i < 40; i++) {
        age_once(&w);
        for (uint64_t g = 50; g < 100; g++)
            mem_note_used(w.mem, gfn_make(g));
    }
    order(&w, ANY, 50, MEM_MEANS_SWAP);
    serve(&w);
    for (uint64_t g = 0; g < 100; g++)
        assert_int_equal(state_of(&w, g), g < 50 ? PAGE_SWAPPED : PAGE_RESIDENT);
    world_close(&w);
}

static void what_does_not_compress_stays_longer(void **state)
{
    struct mem_world w;
    uint8_t page[PAGE];
    (void)state;

    world_open(&w, 512, 512, 256 * PAGE, NULL);
    fill_frames(&w, 0, 50); /* noise */
    for (uint64_t g = 50; g < 150; g++) {
        memset(page, (int)g, PAGE);
        assert_true(cpu_fill(&w, g, MEM_FOR_WRITE, page));
    }
    order(&w, ANY, 30, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP);
    for (int i = 0; i < 200 && mem_host_bytes(w.mem) > 30 * PAGE; i++)
        serve(&w);
    for (uint64_t g = 0; g < 50; g++)
        assert_int_equal(state_of(&w, g), PAGE_SWAPPED);
    order(&w, ANY, ANY, 0);
    for (uint64_t g = 0; g < 150; g++)
        (void)reads_as(&w, g, g);
    /* Now it is known. The noise is idle longer, and stays all the same. */
    for (int i = 0; i < 4; i++) {
        age_once(&w);
        for (uint64_t g = 50; g < 150; g++)
            mem_note_used(w.mem, gfn_make(g));
    }
    age_once(&w);
    order(&w, ANY, 70, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP);
    serve(&w);
    for (uint64_t g = 0; g < 50; g++)
        assert_int_equal(state_of(&w, g), PAGE_RESIDENT);
    assert_true(in_state(&w, PAGE_COMPRESSED) > 70);
    /* Eight times as long, and it leaves before the others. */
    order(&w, ANY, ANY, 0);
    for (uint64_t g = 0; g < 150; g++)
        (void)reads_as(&w, g, g);
    for (int i = 0; i < 40; i++) {
        age_once(&w);
        for (uint64_t g = 50; g < 150; g++)
            mem_note_used(w.mem, gfn_make(g));
    }
    age_once(&w);
    order(&w, ANY, 110, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP);
    serve(&w);
    assert_true(in_state(&w, PAGE_SWAPPED) >= 40);
    world_close(&w);
}

/* --- limits --- */

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
    for (int i = 0; i < 200 && mem_host_bytes(w.mem) > 500 * PAGE; i++) {
        uint64_t next = mem_service(w.mem, w.now_ns, 1000000);
        assert_true(next <= w.now_ns + SEC / 10);
        usleep(1000);
    }
    assert_true(mem_host_bytes(w.mem) <= 500 * PAGE);
    fill_frames(&w, 0, 500);
    assert_true(mem_host_bytes(w.mem) > 500 * PAGE);
    for (int i = 0; i < 200 && mem_host_bytes(w.mem) > 500 * PAGE; i++) {
        serve(&w);
        usleep(1000);
    }
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
    for (int i = 0; i < 500 && mem_host_bytes(w.mem) > 64 * PAGE; i++) {
        serve(&w);
        usleep(1000);
    }
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
        cmocka_unit_test(the_idlest_leave_first),
        cmocka_unit_test(host_pages_are_handed_on_where_the_host_allows_it),
        cmocka_unit_test(seldom_used_before_often_used),
        cmocka_unit_test(under_pressure_ages_are_finer),
        cmocka_unit_test(file_pages_before_others_of_their_age),
        cmocka_unit_test(tables_and_code_last_and_pinned_never),
        cmocka_unit_test(old_code_before_hot_data),
        cmocka_unit_test(what_does_not_compress_stays_longer),
        cmocka_unit_test(a_limit_holds),
        cmocka_unit_test(a_target_is_reached_and_kept),
        cmocka_unit_test(a_full_store_flows_into_the_file),
        cmocka_unit_test(reads_that_are_not_done),
        cmocka_unit_test(read_ahead_adapts),
        cmocka_unit_test(the_scan_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
