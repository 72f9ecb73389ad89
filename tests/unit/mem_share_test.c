/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory that other processes can map: where it lies, that it goes, and what it costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "mem/balloon.h"
#include "mem/mem.h"

#define MIB      UINT64_C(0x100000)
#define GIB      UINT64_C(0x40000000)
#define HIGH_GFN (MEM_HOLE_END >> 12)

static struct guest_mem *open_mem(uint64_t bytes)
{
    struct guest_mem *mem;

    assert_int_equal(mem_create_shareable(&mem, bytes), ERR_OK);
    return mem;
}

static void close_mem(struct guest_mem *mem)
{
    if (!mem_check(mem))
        fail_msg("%s", err_text());
    mem_destroy(mem);
}

/* The file of the first slot; a host without such files skips the test. */
static int file_of(const struct guest_mem *mem)
{
    size_t count;
    uint64_t offset = 77;
    const struct mem_slot *slots = mem_slots(mem, &count);
    int fd = mem_share_of(mem, slots[0].userspace_addr, &offset);

    if (fd < 0) {
        print_message("SKIP: this host cannot give back a part of a memfd\n");
        skip();
    }
    assert_int_equal(offset, 0);
    return fd;
}

static uint64_t pages_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_blocks * 512 / 4096;
}

static hva_t write_page(struct guest_mem *mem, uint64_t gfn, int byte)
{
    hva_t hva;
    bool writable;

    assert_int_equal(mem_make_resident(mem, gfn_make(gfn), MEM_FOR_WRITE, &hva, &writable), MEM_OK);
    memset(hva_ptr(hva), byte, 4096);
    return hva;
}

/* The page at an offset of the file, as another process sees it. */
static volatile uint8_t *see(int fd, uint64_t offset)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

    assert_ptr_not_equal(page, MAP_FAILED);
    return page;
}

static void both_slots_lie_in_one_file(void **state)
{
    struct guest_mem *mem = open_mem(4 * GIB);
    int fd = file_of(mem);
    const uint64_t gfn[] = {
        0, 5, (MEM_HOLE_START >> 12) - 1, HIGH_GFN, HIGH_GFN + 7, HIGH_GFN + (GIB >> 12) - 1};
    const uint64_t page[] = {
        0, 5, (3 * GIB >> 12) - 1, 3 * GIB >> 12, (3 * GIB >> 12) + 7, (4 * GIB >> 12) - 1};
    struct stat st;
    (void)state;

    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 4 * GIB);
    for (unsigned i = 0; i < sizeof gfn / sizeof *gfn; i++) {
        hva_t hva = write_page(mem, gfn[i], (int)i + 1);
        uint64_t offset = 0;

        assert_int_equal(mem_share_of(mem, hva_make(hva.v + 0x123), &offset), fd);
        assert_int_equal(offset, page[i] * 4096 + 0x123);
        volatile uint8_t *seen = see(fd, offset & ~UINT64_C(4095));
        assert_int_equal(seen[4095], i + 1);
        seen[9] = 0xee; /* and the other way round */
        assert_int_equal(((uint8_t *)hva_ptr(hva))[9], 0xee);
        munmap((void *)(uintptr_t)seen, 4096);
    }
    assert_int_equal(pages_of(fd), sizeof gfn / sizeof *gfn);
    close_mem(mem);
}

static void what_lies_elsewhere_has_no_file(void **state)
{
    struct guest_mem *mem = open_mem(4 * MIB);
    int here;
    uint64_t offset = 77;
    size_t count;
    const struct mem_slot *slot = mem_slots(mem, &count);
    hva_t hva;
    bool writable;
    (void)state;

    file_of(mem);
    assert_int_equal(mem_make_resident(mem, gfn_make(3), MEM_FOR_READ, &hva, &writable), MEM_OK);
    assert_int_equal(mem_share_of(mem, hva, &offset), -1); /* the zero page */
    assert_int_equal(mem_share_of(mem, hva_from_ptr(&here), &offset), -1);
    assert_int_equal(mem_share_of(mem, hva_make(0), &offset), -1);
    assert_int_equal(mem_share_of(mem, hva_make(slot->userspace_addr.v - 1), &offset), -1);
    assert_int_equal(mem_share_of(mem, hva_make(slot->userspace_addr.v + 4 * MIB), &offset), -1);
    assert_int_equal(offset, 77);
    close_mem(mem);
}

static void private_memory_has_no_file(void **state)
{
    struct guest_mem *mem;
    uint64_t offset = 77;
    (void)state;

    assert_int_equal(mem_create(&mem, MIB), ERR_OK);
    assert_int_equal(mem_share_of(mem, write_page(mem, 1, 1), &offset), -1);
    assert_int_equal(offset, 77);
    close_mem(mem);
}

/* Every second page, so that each is a run of its own; then all, over the border of the slots. */
static void pages_given_back_take_no_memory(void **state)
{
    struct guest_mem *mem = open_mem(3 * GIB + 4 * MIB);
    const uint64_t first = (MEM_HOLE_START >> 12) - 32, pages = 64;
    int fd = file_of(mem);
    volatile uint8_t *seen = see(fd, first * 4096);
    (void)state;

    for (uint64_t step = 2; step; step--) {
        for (uint64_t i = 0; i < pages; i++)
            write_page(mem, i < 32 ? first + i : HIGH_GFN + i - 32, 0x5a);
        assert_int_equal(pages_of(fd), pages);
        assert_int_equal(seen[100], 0x5a);
        for (uint64_t i = 0; i < pages; i += step)
            mem_report_free(mem, gfn_make(i < 32 ? first + i : HIGH_GFN + i - 32), 1,
                            MEM_FREE_REPORTED);
        mem_give_back_flush(mem);
        assert_true(mem_check(mem));
        assert_int_equal(pages_of(fd), step == 2 ? pages / 2 : 0);
    }
    assert_int_equal(*(uint8_t *)hva_ptr(write_page(mem, first + 1, 0)), 0);
    close_mem(mem);
    munmap((void *)(uintptr_t)seen, 4096);
}

static void a_page_that_comes_again_is_zeros(void **state)
{
    struct guest_mem *mem = open_mem(MIB);
    int fd = file_of(mem);
    volatile uint8_t *seen = see(fd, 8 * 4096);
    hva_t hva;
    bool writable;
    (void)state;

    write_page(mem, 8, 0xa5);
    mem_report_free(mem, gfn_make(8), 1, MEM_FREE_REPORTED);
    mem_give_back_flush(mem);
    assert_int_equal(mem_make_resident(mem, gfn_make(8), MEM_FOR_WRITE, &hva, &writable), MEM_OK);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(((uint8_t *)hva_ptr(hva))[i] | seen[i], 0);
    *(uint8_t *)hva_ptr(hva) = 1;
    assert_int_equal(seen[0], 1);
    close_mem(mem);
    munmap((void *)(uintptr_t)seen, 4096);
}

static void a_reset_gives_all_back(void **state)
{
    struct guest_mem *mem = open_mem(3 * GIB + MIB);
    int fd = file_of(mem);
    (void)state;

    for (uint64_t i = 0; i < 100; i++)
        write_page(mem, i * 3, 1);
    write_page(mem, HIGH_GFN + 1, 1);
    assert_int_equal(pages_of(fd), 101);
    mem_reset(mem);
    assert_int_equal(pages_of(fd), 0);
    assert_int_equal(mem_ledger(mem).pages[PAGE_RESIDENT], 0);
    close_mem(mem);
}

/* A host that has no room for the file gives private memory. */
static void without_a_file_memory_is_private(void **state)
{
    struct rlimit was, none;
    struct guest_mem *mem;
    uint64_t offset = 77;
    (void)state;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum err err = mem_create_shareable(&mem, 2 * MIB);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);

    assert_int_equal(err, ERR_OK);
    hva_t hva = write_page(mem, 8, 0xa5);
    assert_int_equal(mem_share_of(mem, hva, &offset), -1);
    mem_report_free(mem, gfn_make(8), 1, MEM_FREE_REPORTED);
    mem_give_back_flush(mem);
    assert_true(mem_check(mem));
    mem_reset(mem);
    close_mem(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_slots_lie_in_one_file),
        cmocka_unit_test(what_lies_elsewhere_has_no_file),
        cmocka_unit_test(private_memory_has_no_file),
        cmocka_unit_test(pages_given_back_take_no_memory),
        cmocka_unit_test(a_page_that_comes_again_is_zeros),
        cmocka_unit_test(a_reset_gives_all_back),
        cmocka_unit_test(without_a_file_memory_is_private),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
