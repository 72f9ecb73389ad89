/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest gives back: every state, runs for the host, and frame numbers that lie. */
#include <errno.h>

#include "forbid.h"
#include "mem_world.h"

static const struct mem_balloon_stats *stats(const struct mem_world *w)
{
    return mem_balloon_stats(w->mem);
}

static void in_and_out(void **state)
{
    struct mem_world w;
    const gfn_t f = gfn_make(7);
    (void)state;

    world_open(&w, 512, 64, 0, NULL);
    fill_frames(&w, 7, 1);
    assert_true(mem_balloon_inflate(w.mem, f));
    assert_int_equal(state_of(&w, 7), PAGE_BALLOONED);
    assert_int_equal(w.unmaps, 1);
    assert_true(reads_zero(&w, 7)); /* before the run was given back, too */
    assert_int_equal(state_of(&w, 7), PAGE_BALLOONED);
    mem_give_back_flush(w.mem);
    assert_true(reads_zero(&w, 7));
    assert_false(mem_balloon_inflate(w.mem, f)); /* twice */
    assert_true(mem_balloon_deflate(w.mem, f));
    assert_int_equal(state_of(&w, 7), PAGE_ABSENT);
    assert_false(mem_balloon_deflate(w.mem, f));
    assert_int_equal(stats(&w)->inflated, 1);
    assert_int_equal(stats(&w)->deflated, 1);
    assert_int_equal(stats(&w)->ignored, 2);
    world_close(&w);
}

/* A guest that writes to what it gave away gets a page of zeros, also while the run still waits. */
static void touched_anyway(void **state)
{
    struct mem_world w;
    uint8_t page[PAGE];
    hva_t hva;
    bool writable;
    (void)state;

    world_open(&w, 512, 0, 0, NULL);
    fill_frames(&w, 0, 8);
    for (uint64_t g = 0; g < 8; g++)
        assert_true(mem_balloon_inflate(w.mem, gfn_make(g)));
    assert_int_equal(mem_make_resident(w.mem, gfn_make(3), MEM_FOR_WRITE, &hva, &writable), MEM_OK);
    assert_int_equal(*(uint64_t *)hva_ptr(hva), 0);
    content(99, page);
    memcpy(hva_ptr(hva), page, PAGE);
    mem_give_back_flush(w.mem);
    assert_true(reads_as(&w, 3, 99));
    assert_int_equal(state_of(&w, 3), PAGE_RESIDENT);
    assert_int_equal(stats(&w)->touched, 1);
    assert_int_equal(in_state(&w, PAGE_BALLOONED), 7);
    assert_false(mem_balloon_deflate(w.mem, gfn_make(3))); /* it came out by itself */
    world_close(&w);
}

static void from_every_state(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 64, 64 * PAGE, NULL);
    fill_frames(&w, 0, 1);
    evict_all(&w, MEM_MEANS_SWAP);
    const uint8_t ones[PAGE] = {[0 ... PAGE - 1] = 1};
    assert_true(cpu_fill(&w, 1, MEM_FOR_WRITE, ones));
    evict_all(&w, MEM_MEANS_COMPRESS);
    fill_frames(&w, 2, 1);
    uint8_t page[PAGE];
    content(2, page);
    assert_true(cpu_fill(&w, 3, MEM_FOR_WRITE, page));
    evict_all(&w, MEM_MEANS_SHARE);
    from_disk(&w, 4, 1, 5);
    evict_all(&w, 0);
    assert_true(reads_zero(&w, 5));
    fill_frames(&w, 6, 1);
    const enum page_state want[] = {PAGE_SWAPPED, PAGE_COMPRESSED, PAGE_SHARED,  PAGE_SHARED,
                                    PAGE_IMAGE,   PAGE_ZERO,       PAGE_RESIDENT};
    for (uint64_t g = 0; g < 7; g++)
        assert_int_equal(state_of(&w, g), want[g]);
    world_check(&w);
    for (uint64_t g = 0; g < 8; g++) {
        if (g % 2)
            mem_report_free(w.mem, gfn_make(g), 1, MEM_FREE_HINTED);
        else
            assert_true(mem_balloon_inflate(w.mem, gfn_make(g)));
        assert_true(reads_zero(&w, g));
        world_check(&w);
    }
    assert_int_equal(stats(&w)->hinted, 4);
    serve(&w); /* what an instruction could still have read goes now */
    struct mem_store_info info;
    mem_store_info(w.mem, &info);
    assert_int_equal(info.swap_slots_used + info.shared_copies, 0);
    assert_int_equal(mem_host_bytes(w.mem), 0);
    world_close(&w);
}

static void hostile_numbers(void **state)
{
    const uint64_t wild[] = {512,
                             513,
                             MEM_HOLE_START >> 12,
                             MEM_HOLE_END >> 12,
                             UINT64_MAX,
                             UINT64_MAX >> 12,
                             UINT64_C(1) << 63};
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 0, 0, NULL);
    fill_frames(&w, 0, 4);
    assert_true(mem_pin(w.mem, gfn_make(2)));
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        assert_false(mem_balloon_inflate(w.mem, gfn_make(wild[i])));
        assert_false(mem_balloon_deflate(w.mem, gfn_make(wild[i])));
        mem_report_free(w.mem, gfn_make(wild[i]), UINT64_MAX, MEM_FREE_REPORTED);
    }
    assert_int_equal(stats(&w)->reported, 0);
    assert_false(mem_balloon_inflate(w.mem, gfn_make(2))); /* in use by a device */
    mem_report_free(w.mem, gfn_make(0), UINT64_MAX, MEM_FREE_REPORTED);
    assert_int_equal(stats(&w)->reported, 511);
    assert_int_equal(state_of(&w, 2), PAGE_PINNED);
    assert_true(reads_as(&w, 2, 2));
    assert_true(reads_zero(&w, 3));
    /* All of memory, again and again, and everything back. */
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t g = 512; g-- > 0;)
            assert_int_equal(mem_balloon_inflate(w.mem, gfn_make(g)), g != 2 && round == 0);
    }
    assert_int_equal(in_state(&w, PAGE_BALLOONED), 511);
    mem_report_free(w.mem, gfn_make(0), 512, MEM_FREE_REPORTED); /* is the balloon's already */
    assert_int_equal(in_state(&w, PAGE_BALLOONED), 511);
    mem_balloon_reset(w.mem);
    assert_int_equal(in_state(&w, PAGE_ABSENT), 511);
    mem_unpin(w.mem, gfn_make(2));
    world_close(&w);
}

/* 1024 pages in three orders: one run of 4 MiB each time. */
static void neighbours_go_in_runs(void **state)
{
    struct mem_world w;
    (void)state;

    for (unsigned how = 0; how < 3; how++) {
        world_open(&w, 2048, 0, 0, NULL);
        fill_frames(&w, 0, 2048);
        for (uint64_t i = 0; i < 1024; i++) {
            /* upwards; downwards; blocks of 32 upwards in an order that jumps */
            uint64_t g = how == 0 ? i : how == 1 ? 1023 - i : (i / 32 * 7 % 32) * 32 + i % 32;
            assert_true(mem_balloon_inflate(w.mem, gfn_make(512 + g)));
        }
        mem_give_back_flush(w.mem);
        assert_int_equal(stats(&w)->host_runs, 1);
        assert_int_equal(stats(&w)->host_huge, 1);
        assert_int_equal(stats(&w)->host_pages, 1024);
        assert_int_equal(mem_host_bytes(w.mem), 1024 * PAGE);
        world_close(&w); /* asks the host whether the pages are gone */
    }
}

/* 100 pages with others between them; world_close asks the host whether they are gone. */
static int single_pages_go(void *filter)
{
    struct mem_world w;

    if (filter && forbid_call(FORBID_PROCESS_MADVISE, EPERM))
        return FORBID_SKIP;
    world_open(&w, 512, 0, 0, NULL);
    fill_frames(&w, 0, 512);
    for (uint64_t g = 0; g < 200; g += 2)
        assert_true(mem_balloon_inflate(w.mem, gfn_make(g)));
    mem_give_back_flush(w.mem);
    assert_int_equal(stats(&w)->host_runs, 100);
    assert_int_equal(mem_host_bytes(w.mem), 412 * PAGE);
    for (uint64_t g = 0; g < 200; g += 2)
        assert_true(reads_zero(&w, g));
    world_close(&w);
    return 0;
}

/* All at once where the kernel does that, and where a filter forbids it one after the other. */
static void single_pages_go_with_and_without_one_call(void **state)
{
    int got = 0;
    (void)state;

    assert_int_equal(single_pages_go(NULL), 0);
    got = forbid_run(single_pages_go, &got);
    if (got == FORBID_SKIP)
        print_message("SKIP: the host has no filters for system calls\n");
    else
        assert_int_equal(got, 0);
}

/* A run may not cross from the memory below the hole to the memory above it. */
static void runs_end_at_the_hole(void **state)
{
    const uint64_t last = (MEM_HOLE_START >> 12) - 1, first = MEM_HOLE_END >> 12;
    uint8_t page[PAGE];
    struct mem_world w;
    (void)state;

    world_open(&w, (MEM_HOLE_START >> 12) + 512, 0, 0, NULL);
    content(1, page);
    assert_true(cpu_fill(&w, last, MEM_FOR_WRITE, page));
    assert_true(cpu_fill(&w, first, MEM_FOR_WRITE, page));
    assert_true(mem_balloon_inflate(w.mem, gfn_make(last)));
    assert_true(mem_balloon_inflate(w.mem, gfn_make(first)));
    mem_give_back_flush(w.mem);
    assert_int_equal(stats(&w)->host_runs, 2);
    assert_true(reads_zero(&w, last));
    assert_true(reads_zero(&w, first));
    world_close(&w);
}

static void a_reset_forgets(void **state)
{
    struct mem_world w;
    (void)state;

    world_open(&w, 512, 64, 0, NULL);
    fill_frames(&w, 0, 40);
    for (uint64_t g = 0; g < 10; g++)
        assert_true(mem_balloon_inflate(w.mem, gfn_make(g)));
    evict_all(&w, MEM_MEANS_ALL);
    mem_reset(w.mem);
    assert_int_equal(in_state(&w, PAGE_ABSENT), 512);
    assert_int_equal(mem_host_bytes(w.mem), 0);
    fill_frames(&w, 0, 10);
    for (uint64_t g = 0; g < 10; g++)
        assert_true(reads_as(&w, g, g));
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_and_out),
        cmocka_unit_test(touched_anyway),
        cmocka_unit_test(from_every_state),
        cmocka_unit_test(hostile_numbers),
        cmocka_unit_test(neighbours_go_in_runs),
        cmocka_unit_test(single_pages_go_with_and_without_one_call),
        cmocka_unit_test(runs_end_at_the_hole),
        cmocka_unit_test(a_reset_forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
