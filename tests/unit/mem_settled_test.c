/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed pages that hardly come back go on to the swap file; those that do come back stay. */
#include "forbid.h"
#include "mem_world.h"

#define USED   400
#define FRAMES 640
#define POOR   96

static void some_content(uint64_t g, uint8_t page[PAGE])
{
    content(g, page);
    memset(page + PAGE / 8, 1, PAGE - PAGE / 8);
}

/* Those behind them, if there are any, do not compress, and are in the swap file. */
static void open_compressed(struct mem_world *w, uint64_t poor)
{
    uint8_t page[PAGE];

    world_open(w, 1024, 1024, 1024 * PAGE, NULL);
    fill_frames(w, FRAMES, poor);
    evict_all(w, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP);
    assert_int_equal(in_state(w, PAGE_SWAPPED), poor);
    for (uint64_t g = 0; g < FRAMES; g++) {
        some_content(g, page);
        assert_true(cpu_fill(w, g, MEM_FOR_WRITE, page));
    }
    evict_all(w, MEM_MEANS_COMPRESS);
    assert_int_equal(in_state(w, PAGE_COMPRESSED), FRAMES);
}

static void assert_some(struct mem_world *w, uint64_t g)
{
    uint8_t page[PAGE];
    hva_t hva;
    bool writable;

    some_content(g, page);
    assert_int_equal(mem_make_resident(w->mem, gfn_make(g), MEM_FOR_READ, &hva, &writable), MEM_OK);
    mem_note_used(w->mem, gfn_make(g));
    assert_memory_equal(hva_ptr(hva), page, PAGE);
}

/* One second, in which the first so many frames are used once. */
static void use_each_second(struct mem_world *w, unsigned seconds, uint64_t used)
{
    for (unsigned s = 0; s < seconds; s++) {
        age_once(w);
        for (uint64_t g = 0; g < used; g++) {
            assert_some(w, g);
            if (g % 8 == 7)
                serve(w);
        }
    }
}

static void what_hardly_comes_back_goes_on(void **state)
{
    struct mem_world w;
    (void)state;

    open_compressed(&w, 0);
    order(&w, 150, ANY, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP);
    use_each_second(&w, 30, USED);
    assert_int_equal(mem_reclaim_stats(w.mem)->compressed_settled, FRAMES - USED);
    for (uint64_t g = 0; g < FRAMES; g++) {
        if (g < USED)
            assert_int_not_equal(state_of(&w, g), PAGE_SWAPPED);
        else
            assert_int_equal(state_of(&w, g), PAGE_SWAPPED);
    }
    world_check(&w);
    for (uint64_t g = 0; g < FRAMES; g++) {
        assert_some(&w, g);
        serve(&w);
    }
    world_close(&w);
}

/* It comes back from the file after any time, since it was never in the compressed store. */
static void what_does_not_compress_says_nothing_of_what_does(void **state)
{
    struct mem_world w;
    (void)state;

    open_compressed(&w, POOR);
    for (unsigned seconds = 0; seconds < 30; seconds++)
        age_once(&w);
    order(&w, 250, ANY, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP);
    for (uint64_t g = FRAMES; g < FRAMES + POOR; g++) {
        if (g % 8 == 0)
            use_each_second(&w, 1, USED);
        assert_true(reads_as(&w, g, g));
    }
    assert_int_equal(mem_reclaim_stats(w.mem)->compressed_settled, FRAMES - USED);
    world_close(&w);
}

static void what_comes_back_after_long_stays(void **state)
{
    struct mem_world w;
    (void)state;

    open_compressed(&w, 0);
    order(&w, 150, ANY, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP);
    for (unsigned round = 0; round < 8; round++) {
        use_each_second(&w, 1, FRAMES);
        for (unsigned s = 0; s < 12; s++)
            age_once(&w);
    }
    assert_int_equal(mem_reclaim_stats(w.mem)->compressed_settled, 0);
    world_close(&w);
}

static void nothing_goes_on_without_the_file_or_a_limit(void **state)
{
    struct mem_world w;
    (void)state;

    open_compressed(&w, 0);
    order(&w, 150, ANY, MEM_MEANS_COMPRESS);
    use_each_second(&w, 10, USED);
    assert_true(mem_reclaim_stats(w.mem)->came_from_compressed > 1024);
    order(&w, ANY, ANY, MEM_MEANS_COMPRESS | MEM_MEANS_SWAP);
    use_each_second(&w, 10, USED);
    assert_int_equal(mem_reclaim_stats(w.mem)->compressed_settled, 0);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_hardly_comes_back_goes_on),
        cmocka_unit_test(what_does_not_compress_says_nothing_of_what_does),
        cmocka_unit_test(what_comes_back_after_long_stays),
        cmocka_unit_test(nothing_goes_on_without_the_file_or_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
