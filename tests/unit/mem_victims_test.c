/* SPDX-License-Identifier: Apache-2.0 */
/* Who leaves first, and who gets the host pages. */
#include <errno.h>

#include "forbid.h"
#include "mem_world.h"

static const struct mem_reclaim_stats *stats(const struct mem_world *w)
{
    return mem_reclaim_stats(w->mem);
}

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
    order(&w, 100, 60, MEM_MEANS_ALL); /* what waits would be above the target */
    serve(&w);
    assert_true(mem_host_bytes(w.mem) <= 60 * PAGE);
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

/* Host pages that wait to be handed on. */
static uint64_t waiting(const struct mem_world *w)
{
    struct mem_store_info info;

    mem_store_info(w->mem, &info);
    return mem_host_bytes(w->mem) / PAGE - in_state(w, PAGE_RESIDENT) - info.swap_staging_pages;
}

/* Read from the first to the last over and over: the last that left are those just read before. */
static void what_comes_back_soon_has_its_host_page_still(void **state)
{
    const struct mem_orders orders = {.limit_bytes = 100 * PAGE,
                                      .target_bytes = ANY,
                                      .means = MEM_MEANS_SWAP,
                                      .without_cures = true}; /* one page at a time */
    struct mem_world w;
    unsigned own = 0;
    (void)state;

    world_open(&w, 512, 512, 0, NULL);
    mem_set_orders(w.mem, &orders);
    for (uint64_t n = 0; n < 400; n++) {
        if (n < 200)
            fill_frames(&w, n, 1);
        assert_true(reads_as(&w, n % 200, n % 200));
        if (n % 4 == 3)
            serve(&w);
    }
    bool can_move = stats(&w)->host_pages_moved > 0;
    for (uint64_t g = 200; g-- > 0;) {
        uint64_t before = waiting(&w), moved = stats(&w)->host_pages_moved;
        if (before < 2 || state_of(&w, g) == PAGE_RESIDENT)
            continue;
        assert_true(reads_as(&w, g, g));
        assert_int_equal(waiting(&w), before - 1);
        own += stats(&w)->host_pages_moved == moved;
    }
    if (!can_move)
        print_message("SKIP: the host moves no pages (userfaultfd)\n");
    else
        assert_true(own > 0);
    world_close(&w);
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

static void use_each(struct mem_world *w, uint64_t first, unsigned seconds)
{
    while (seconds--)
        age_once(w);
    for (uint64_t g = first; g < first + 50; g++)
        mem_note_used(w->mem, gfn_make(g));
}

/* Used every ten seconds, and once soon again, says less than used every five seconds. */
static void one_short_interval_says_nothing(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 512, 0, NULL);
    fill_frames(&w, 0, 100);
    for (int i = 0; i < 4; i++) {
        use_each(&w, 50, 5);
        use_each(&w, 50, 5);
        use_each(&w, 0, 0);
    }
    use_each(&w, 0, 1);
    use_each(&w, 50, 0);
    order(&w, ANY, 50, MEM_MEANS_SWAP);
    serve(&w);
    for (uint64_t g = 0; g < 100; g++)
        assert_int_equal(state_of(&w, g), g < 50 ? PAGE_SWAPPED : PAGE_RESIDENT);
    world_close(&w);
}

/* Frames 0 to 49 hold noise, 50 to 149 what compresses. */
static void open_with_noise(struct mem_world *w)
{
    uint8_t page[PAGE];

    world_open(w, 512, 512, 256 * PAGE, NULL);
    fill_frames(w, 0, 50);
    for (uint64_t g = 50; g < 150; g++) {
        memset(page, (int)g, PAGE);
        assert_true(cpu_fill(w, g, MEM_FOR_WRITE, page));
    }
}

/* A page that turns out not to compress stays while others of its age do. */
static void noise_is_known_at_once(void **state)
{
    struct mem_world w;
    (void)state;

    open_with_noise(&w);
    age_once(&w);
    order(&w, ANY, 100, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP);
    serve(&w);
    assert_true(mem_host_bytes(w.mem) <= 100 * PAGE);
    assert_int_equal(in_state(&w, PAGE_SWAPPED), 0);
    assert_in_range(in_state(&w, PAGE_COMPRESSED), 50, 100);
    world_close(&w);
}

/* More of it than lists are long: each page in them turns out so, and yet nobody waits. */
static void noise_alone_leaves_at_once(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 8192, 8192, 256 * PAGE, NULL);
    fill_frames(&w, 0, 6000);
    age_once(&w);
    order(&w, 3000, ANY, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP);
    serve(&w);
    if (mem_stall(w.mem))
        fail_msg("%s", mem_stall(w.mem));
    assert_int_equal(stats(&w)->stalls, 0);
    assert_true(mem_host_bytes(w.mem) <= 3000 * PAGE);
    assert_true(in_state(&w, PAGE_SWAPPED) >= 3000);
    world_close(&w);
}

static void what_does_not_compress_stays_longer(void **state)
{
    struct mem_world w;
    (void)state;

    open_with_noise(&w);
    order(&w, ANY, 8, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP); /* what is compressed takes as much */
    for (int i = 0; i < 200 && in_state(&w, PAGE_RESIDENT); i++)
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
    /* Many times as long, and it leaves before the others, even if the disk is slow. */
    order(&w, ANY, ANY, 0);
    for (uint64_t g = 0; g < 150; g++)
        (void)reads_as(&w, g, g);
    for (int i = 0; i < 110; i++) {
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_idlest_leave_first),
        cmocka_unit_test(seldom_used_before_often_used),
        cmocka_unit_test(host_pages_are_handed_on_where_the_host_allows_it),
        cmocka_unit_test(what_comes_back_soon_has_its_host_page_still),
        cmocka_unit_test(under_pressure_ages_are_finer),
        cmocka_unit_test(file_pages_before_others_of_their_age),
        cmocka_unit_test(tables_and_code_last_and_pinned_never),
        cmocka_unit_test(old_code_before_hot_data),
        cmocka_unit_test(one_short_interval_says_nothing),
        cmocka_unit_test(noise_is_known_at_once),
        cmocka_unit_test(noise_alone_leaves_at_once),
        cmocka_unit_test(what_does_not_compress_stays_longer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
