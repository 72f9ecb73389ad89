/* SPDX-License-Identifier: Apache-2.0 */
/* The block device and pages that have left host memory, or may leave because a disk holds them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "blk_rig.h"
#include "mem/reclaim.h"

#define IMAGE (UINT64_C(16) << 20)

static const struct rig_config plain = {.bytes = IMAGE, .features = F_ALL};

static void drop_what_the_disk_holds(struct rig *rig)
{
    struct mem_orders orders = {.limit_bytes = UINT64_MAX, .target_bytes = 0};

    mem_set_orders(rig->d.mem, &orders);
    for (uint64_t i = 1; i < 4; i++)
        mem_service(rig->d.mem, 2 * i * MEM_AGE_PERIOD_NS, MEM_AGE_PERIOD_NS);
    orders.target_bytes = UINT64_MAX;
    mem_set_orders(rig->d.mem, &orders);
}

static enum page_state state_of(struct rig *rig, unsigned page)
{
    return mem_page_state(rig->d.mem, gpa_gfn(RIG_PAGE_AT(page)));
}

static const struct mem_reclaim_stats *saved(struct rig *rig)
{
    return mem_reclaim_stats(rig->d.mem);
}

static void pages_that_were_read_can_be_dropped(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    rig_fill_image(&rig, 0, 65536, 3);
    assert_int_equal(rig_do(&rig, IN, 0, RIG_PAGE_AT(0), 65536), S_OK);
    /* not whole blocks */
    assert_int_equal(rig_do(&rig, IN, 1, RIG_PAGE_AT(32), 8192), S_OK);
    drop_what_the_disk_holds(&rig);
    for (unsigned page = 0; page < 16; page++)
        assert_int_equal(state_of(&rig, page), PAGE_IMAGE);
    assert_int_equal(state_of(&rig, 32), PAGE_RESIDENT);
    assert_true(rig_guest_is(&rig, RIG_PAGE_AT(0), 65536, 3));
    assert_true(mem_check(rig.d.mem));
    rig_stop(&rig);
}

static void pages_that_were_written_can_be_dropped(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    rig_fill_guest(&rig, RIG_PAGE_AT(0), 65536, 5);
    assert_int_equal(rig_do(&rig, OUT, 8, RIG_PAGE_AT(0), 65536), S_OK);
    drop_what_the_disk_holds(&rig);
    for (unsigned page = 0; page < 16; page++)
        assert_int_equal(state_of(&rig, page), PAGE_IMAGE);
    assert_true(rig_guest_is(&rig, RIG_PAGE_AT(0), 65536, 5));
    rig_stop(&rig);
}

/* VSwapper's stale reads: what is about to be overwritten is not read first. */
static void a_read_does_not_bring_its_pages_in(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    rig_fill_image(&rig, 0, 65536, 3);
    rig_fill_image(&rig, 65536, 65536, 4);
    assert_int_equal(rig_do(&rig, IN, 0, RIG_PAGE_AT(0), 65536), S_OK);
    drop_what_the_disk_holds(&rig);
    assert_int_equal(rig_do(&rig, IN, 128, RIG_PAGE_AT(0), 65536), S_OK);
    assert_true(rig_guest_is(&rig, RIG_PAGE_AT(0), 65536, 4));
    assert_int_equal(saved(&rig)->stale_reads_saved, 16);
    assert_int_equal(saved(&rig)->came_from_image, 0);
    rig_stop(&rig);
}

/* Double paging: what the guest writes to a disk is read past, and stays where it is. */
static void a_write_does_not_bring_its_pages_in(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, &plain);
    rig_fill_image(&rig, 0, 65536, 3);
    assert_int_equal(rig_do(&rig, IN, 0, RIG_PAGE_AT(0), 65536), S_OK);
    drop_what_the_disk_holds(&rig);
    assert_int_equal(rig_do(&rig, OUT, 128, RIG_PAGE_AT(0), 65536), S_OK);
    assert_true(rig_image_is(&rig, 65536, 65536, 3));
    for (unsigned page = 0; page < 16; page++)
        assert_int_equal(state_of(&rig, page), PAGE_IMAGE);
    assert_int_equal(saved(&rig)->double_paging_saved, 16);
    rig_stop(&rig);
}

/* What was dropped because of a block comes back before the block changes. */
static void a_block_changes_after_its_pages_came_in(void **state)
{
    const struct rig_segment all = {.sectors = 128};
    struct rig rig;

    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        rig_start(&rig, &plain);
        rig_fill_image(&rig, 0, 65536, 3);
        rig_fill_guest(&rig, RIG_PAGE_AT(100), 65536, 9);
        assert_int_equal(rig_do(&rig, IN, 0, RIG_PAGE_AT(0), 65536), S_OK);
        drop_what_the_disk_holds(&rig);
        if (how == 0)
            assert_int_equal(rig_do(&rig, OUT, 0, RIG_PAGE_AT(100), 65536), S_OK);
        else
            assert_int_equal(rig_do_segments(&rig, how == 1 ? DISCARD : ZEROES, &all, 1), S_OK);
        assert_true(rig_guest_is(&rig, RIG_PAGE_AT(0), 65536, 3));
        rig_stop(&rig);
    }
}

static void a_block_stays_if_its_pages_cannot_come_in(void **state)
{
    const struct aio_fault fault = {AIO_READ, 2, 2, EIO};
    const struct aio_faults faults = {&fault, 1};
    const struct rig_config config = {.bytes = IMAGE, .features = F_ALL, .faults = &faults};
    struct rig rig;

    (void)state;
    rig_start(&rig, &config);
    rig_fill_image(&rig, 0, 4096, 3);
    assert_int_equal(rig_do(&rig, IN, 0, RIG_PAGE_AT(0), 4096), S_OK);
    drop_what_the_disk_holds(&rig);
    assert_int_equal(rig_do(&rig, OUT, 0, RIG_PAGE_AT(100), 4096), S_IOERR);
    assert_true(rig_image_is(&rig, 0, 4096, 3));
    assert_true(rig_guest_is(&rig, RIG_PAGE_AT(0), 4096, 3));
    assert_int_equal(rig_do(&rig, OUT, 0, RIG_PAGE_AT(100), 4096), S_OK);
    assert_true(rig_guest_is(&rig, RIG_PAGE_AT(0), 4096, 3));
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_that_were_read_can_be_dropped),
        cmocka_unit_test(pages_that_were_written_can_be_dropped),
        cmocka_unit_test(a_read_does_not_bring_its_pages_in),
        cmocka_unit_test(a_write_does_not_bring_its_pages_in),
        cmocka_unit_test(a_block_changes_after_its_pages_came_in),
        cmocka_unit_test(a_block_stays_if_its_pages_cannot_come_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
