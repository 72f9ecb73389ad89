/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: sizes, states and ledger, the door, tracking, observers, what it costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mem/mem.h"

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

static struct guest_mem *open_mem(uint64_t bytes)
{
    struct guest_mem *mem;
    assert_int_equal(mem_create(&mem, bytes), ERR_OK);
    assert_non_null(mem);
    return mem;
}

static void close_mem(struct guest_mem *mem)
{
    if (!mem_check(mem))
        fail_msg("%s", err_text());
    mem_destroy(mem);
}

static uint64_t pages_in(const struct guest_mem *mem, enum page_state state)
{
    return mem_ledger(mem).pages[state];
}

static void sizes(void **state)
{
    const uint64_t bad[] = {
        0, 1, 4096, MIB - 4096, MIB + 1, UINT64_C(1) << 50, UINT64_MAX & ~UINT64_C(4095)};
    struct guest_mem *mem;
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(mem_create(&mem, bad[i]), ERR_INVAL);
        assert_null(mem);
        assert_true(strlen(err_text()) > 20);
    }
    /* Fits the address format, but no host has room for it. */
    enum err err = mem_create(&mem, UINT64_C(1) << 43);
    if (err) {
        assert_int_equal(err, ERR_NOMEM);
        assert_non_null(strstr(err_text(), "MiB"));
    } else {
        mem_destroy(mem);
    }
    mem = open_mem(MIB);
    assert_int_equal(mem_size_bytes(mem), MIB);
    close_mem(mem);
}

static void slots_leave_the_hole(void **state)
{
    struct guest_mem *mem = open_mem(4 * GIB);
    size_t count;
    const struct mem_slot *slots = mem_slots(mem, &count);
    (void)state;

    assert_int_equal(count, 2);
    assert_int_equal(slots[0].pages, MEM_HOLE_START >> 12);
    assert_int_equal(slots[1].base_gfn.v, MEM_HOLE_END >> 12);
    assert_int_equal(slots[1].pages, GIB >> 12);
    assert_ptr_equal(mem_find_slot(mem, gfn_make(0)), &slots[0]);
    assert_null(mem_find_slot(mem, gfn_make(MEM_HOLE_START >> 12)));
    assert_null(mem_find_slot(mem, gfn_make((MEM_HOLE_END >> 12) - 1)));
    assert_ptr_equal(mem_find_slot(mem, gfn_make(MEM_HOLE_END >> 12)), &slots[1]);
    assert_null(mem_find_slot(mem, gfn_make(5 * GIB >> 12)));
    assert_null(mem_find_slot(mem, gfn_make(UINT64_MAX)));
    assert_true(mem_is_ram(mem, gpa_make(MEM_HOLE_START - 8), 8));
    assert_false(mem_is_ram(mem, gpa_make(MEM_HOLE_START - 8), 9));
    assert_false(mem_is_ram(mem, gpa_make(MEM_HOLE_START), 1));
    assert_true(mem_is_ram(mem, gpa_make(MEM_HOLE_END), GIB));
    assert_false(mem_is_ram(mem, gpa_make(MEM_HOLE_END), GIB + 1));
    assert_false(mem_is_ram(mem, gpa_make(UINT64_MAX), 2));
    assert_true(mem_is_ram(mem, gpa_make(UINT64_MAX), 0));
    close_mem(mem);
}

static void states_and_ledger(void **state)
{
    struct guest_mem *mem = open_mem(2 * MIB);
    const gfn_t f = gfn_make(7), other = gfn_make(8);
    hva_t a, b;
    bool writable;
    (void)state;

    assert_int_equal(mem_page_state(mem, f), PAGE_ABSENT);
    assert_int_equal(mem_peek(mem, f, MEM_FOR_READ, &a, &writable), MEM_NOT_READY);
    assert_int_equal(mem_make_resident(mem, f, MEM_FOR_READ, &a, &writable), MEM_OK);
    assert_int_equal(mem_make_resident(mem, other, MEM_FOR_READ, &b, &writable), MEM_OK);
    assert_false(writable);
    assert_int_equal(a.v, b.v); /* one zero page for all */
    assert_int_equal(a.v, mem_zero_page(mem).v);
    assert_int_equal(*(const char *)hva_ptr(a), 0);
    assert_int_equal(pages_in(mem, PAGE_ZERO), 2);
    assert_int_equal(mem_peek(mem, f, MEM_FOR_READ, &a, &writable), MEM_OK);
    assert_int_equal(mem_peek(mem, f, MEM_FOR_WRITE, &a, &writable), MEM_NOT_READY);

    assert_int_equal(mem_make_resident(mem, f, MEM_FOR_WRITE, &a, &writable), MEM_OK);
    assert_true(writable);
    size_t count;
    const struct mem_slot *slot = mem_slots(mem, &count);
    assert_int_equal(a.v, slot->userspace_addr.v + (7 << 12)); /* the slot formula */
    assert_int_equal(mem_page_state(mem, f), PAGE_RESIDENT);
    assert_int_equal(mem_peek(mem, f, MEM_FOR_WRITE, &b, &writable), MEM_OK);
    assert_int_equal(a.v, b.v);
    assert_int_equal(pages_in(mem, PAGE_ZERO), 1);
    assert_int_equal(pages_in(mem, PAGE_RESIDENT), 1);

    assert_true(mem_pin(mem, other));
    assert_int_equal(mem_page_state(mem, other), PAGE_PINNED);
    mem_unpin(mem, other);
    assert_int_equal(mem_page_state(mem, other), PAGE_RESIDENT);
    assert_false(mem_pin(mem, gfn_make(MEM_HOLE_START >> 12)));
    mem_unpin(mem, gfn_make(MEM_HOLE_START >> 12));

    assert_int_equal(mem_make_resident(mem, gfn_make(512), MEM_FOR_READ, &a, &writable),
                     MEM_NOT_RAM);
    assert_int_equal(mem_peek(mem, gfn_make(512), MEM_FOR_READ, &a, &writable), MEM_NOT_RAM);
    assert_int_equal(mem_page_state(mem, gfn_make(512)), PAGE_ABSENT);
    assert_true(mem_check(mem));

    memset(hva_ptr(b), 0xa5, 4096);
    mem_reset(mem);
    assert_int_equal(pages_in(mem, PAGE_ABSENT), 512);
    assert_int_equal(mem_make_resident(mem, f, MEM_FOR_WRITE, &a, &writable), MEM_OK);
    assert_int_equal(*(const char *)hva_ptr(a), 0);
    close_mem(mem);
}

static void the_door(void **state)
{
    struct guest_mem *mem = open_mem(2 * MIB);
    uint8_t out[9000], in[9000];
    (void)state;

    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 7 + 1);
    assert_true(mem_read(mem, gpa_make(4000), in, sizeof in)); /* absent reads as zeros */
    for (size_t i = 0; i < sizeof in; i++)
        assert_int_equal(in[i], 0);
    assert_int_equal(pages_in(mem, PAGE_RESIDENT), 0);
    assert_true(mem_fill_zero(mem, gpa_make(4000), sizeof in));
    assert_int_equal(pages_in(mem, PAGE_RESIDENT), 0); /* zeros over zeros cost nothing */
    assert_true(mem_write(mem, gpa_make(4000), out, sizeof out));
    assert_true(mem_read(mem, gpa_make(4000), in, sizeof in));
    assert_memory_equal(in, out, sizeof in);
    assert_true(mem_fill_zero(mem, gpa_make(4001), 10));
    assert_true(mem_read(mem, gpa_make(4000), in, 16));
    assert_int_equal(in[0], 1);
    assert_int_equal(in[1] | in[10], 0);
    assert_int_equal(in[11], out[11]);
    /* All or nothing at the end of memory. */
    in[0] = 0x77;
    assert_false(mem_read(mem, gpa_make(2 * MIB - 4), in, 8));
    assert_int_equal(in[0], 0x77);
    assert_false(mem_write(mem, gpa_make(2 * MIB - 4), out, 8));
    assert_true(mem_read(mem, gpa_make(2 * MIB - 4), in, 4));
    assert_int_equal(in[0], 0);
    assert_false(mem_fill_zero(mem, gpa_make(2 * MIB), 1));
    assert_false(mem_read(mem, gpa_make(UINT64_MAX - 3), in, 8));
    assert_true(mem_write(mem, gpa_make(2 * MIB), out, 0));
    close_mem(mem);
}

struct seen {
    unsigned unmap, unmap_all, protect, written;
    uint64_t gfn, gpa, bytes;
};

static void on_unmap(void *arg, gfn_t gfn)
{
    ((struct seen *)arg)->unmap++;
    ((struct seen *)arg)->gfn = gfn.v;
}

static void on_unmap_all(void *arg)
{
    ((struct seen *)arg)->unmap_all++;
}

static void on_protect(void *arg, gfn_t gfn)
{
    ((struct seen *)arg)->protect++;
    ((struct seen *)arg)->gfn = gfn.v;
}

static void on_written(void *arg, gpa_t gpa, size_t bytes)
{
    ((struct seen *)arg)->written++;
    ((struct seen *)arg)->gpa = gpa.v;
    ((struct seen *)arg)->bytes = bytes;
}

static void observers_and_tracking(void **state)
{
    struct guest_mem *mem = open_mem(2 * MIB);
    struct seen s = {0}, every = {0}, only = {0};
    const struct mem_observer a = {.arg = &s,
                                   .unmap = on_unmap,
                                   .unmap_all = on_unmap_all,
                                   .write_protect = on_protect,
                                   .written = on_written};
    const struct mem_observer b = {.arg = &every, .unmap = on_unmap};
    const struct mem_observer nothing = {.arg = &only};
    hva_t hva;
    bool writable;
    (void)state;

    assert_int_equal(mem_add_observer(mem, &a), ERR_OK);
    assert_int_equal(mem_add_observer(mem, &b), ERR_OK);
    assert_int_equal(mem_add_observer(mem, &nothing), ERR_OK);
    mem_make_resident(mem, gfn_make(3), MEM_FOR_WRITE, &hva, &writable);
    assert_int_equal(s.unmap, 0); /* nobody can have translated to an absent frame */
    mem_make_resident(mem, gfn_make(4), MEM_FOR_READ, &hva, &writable);
    mem_make_resident(mem, gfn_make(4), MEM_FOR_WRITE, &hva, &writable);
    assert_int_equal(s.unmap, 1);
    assert_int_equal(s.gfn, 4);

    assert_int_equal(mem_track(mem, gfn_make(3)), 0);
    mem_track_set(mem, gfn_make(3), MEM_TRACK_CODE);
    assert_int_equal(s.protect, 1);
    assert_int_equal(s.gfn, 3);
    mem_track_set(mem, gfn_make(3), MEM_TRACK_TABLE);
    assert_int_equal(s.protect, 1); /* it was protected already */
    assert_int_equal(mem_track(mem, gfn_make(3)), MEM_TRACK_CODE | MEM_TRACK_TABLE);
    assert_true(mem_write(mem, gpa_make(0x2ffc), "12345678", 8));
    assert_int_equal(s.written, 1); /* only the part in the tracked frame */
    assert_int_equal(s.gpa, 0x3000);
    assert_int_equal(s.bytes, 4);
    assert_true(mem_fill_zero(mem, gpa_make(0x3000), 16));
    assert_int_equal(s.written, 2);
    mem_track_clear(mem, gfn_make(3), MEM_TRACK_CODE);
    assert_int_equal(mem_track(mem, gfn_make(3)), MEM_TRACK_TABLE);
    mem_track_set(mem, gfn_make(512), MEM_TRACK_CODE); /* not RAM */
    assert_int_equal(mem_track(mem, gfn_make(512)), 0);
    mem_track_clear(mem, gfn_make(512), MEM_TRACK_CODE);

    mem_reset(mem);
    assert_int_equal(s.unmap_all, 1);
    assert_int_equal(s.unmap, 1);
    assert_int_equal(every.unmap, 1 + 3); /* frames 2, 3 and 4 existed */
    assert_int_equal(s.written, 3);
    mem_remove_observer(mem, &s);
    mem_track_clear(mem, gfn_make(3), MEM_TRACK_TABLE);
    mem_track_set(mem, gfn_make(3), MEM_TRACK_CODE);
    assert_int_equal(s.protect, 1);
    enum err err = ERR_OK;
    for (int i = 0; i < 8 && !err; i++)
        err = mem_add_observer(mem, &nothing);
    assert_int_equal(err, ERR_INTERNAL);
    close_mem(mem);
}

static uint64_t resident_kib(void)
{
    unsigned long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu", &total, &resident), 2);
    fclose(f);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* 16 GiB of guest, of which 32 MiB are written and 1 GiB is read. */
static void only_touched_memory_costs(void **state)
{
    uint64_t before = resident_kib();
    struct guest_mem *mem = open_mem(16 * GIB);
    hva_t hva;
    bool writable;
    (void)state;

    for (uint64_t f = 0; f < 8192; f++) {
        mem_make_resident(mem, gfn_make(f * 90), MEM_FOR_WRITE, &hva, &writable);
        *(volatile char *)hva_ptr(hva) = 1;
    }
    for (uint64_t f = 0; f < GIB >> 12; f++) {
        mem_make_resident(mem, gfn_make((8 * GIB >> 12) + f), MEM_FOR_READ, &hva, &writable);
        assert_int_equal(*(volatile char *)hva_ptr(hva), 0);
    }
    assert_int_equal(pages_in(mem, PAGE_RESIDENT), 8192);
    assert_true(resident_kib() - before <
                96 * 1024); /* 32 MiB, the tables of the host, the states */
    close_mem(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(slots_leave_the_hole),
        cmocka_unit_test(states_and_ledger),
        cmocka_unit_test(the_door),
        cmocka_unit_test(observers_and_tracking),
        cmocka_unit_test(only_touched_memory_costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
