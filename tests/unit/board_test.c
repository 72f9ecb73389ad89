/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board as a CPU sees it: routing, the four reset ways, kvmclock, and wild accesses that must
 * not hurt.
 */
#include "machine_time.h"

#include <stdlib.h>
#include <string.h>

#include "machine/board.h"
#include "pressure.h"

#define TSC_KHZ  1000000
#define LAPIC    UINT64_C(0xfee00000)
#define IOAPIC   UINT64_C(0xfec00000)
#define MEM_SIZE (UINT64_C(16) << 20)

struct fixture {
    struct guest_mem *mem;
    struct clock *clock;
    struct board *board;
    const struct cpu_bus *bus;
    bool irq;
    unsigned events[3];
    uint32_t code;
    size_t sent;
    unsigned services;
};

static void on_serial(void *arg, const uint8_t *bytes, size_t count)
{
    (void)bytes;
    ((struct fixture *)arg)->sent += count;
}

static void on_irq(void *arg, unsigned cpu, bool level)
{
    assert_int_equal(cpu, 0);
    assert_true(((struct fixture *)arg)->irq != level); /* told only when it changes */
    ((struct fixture *)arg)->irq = level;
}

static void on_nmi(void *arg, unsigned cpu)
{
    (void)arg;
    assert_int_equal(cpu, 0);
}

static void on_event(void *arg, enum board_event event, uint32_t code)
{
    ((struct fixture *)arg)->events[event]++;
    ((struct fixture *)arg)->code = code;
}

static void on_service_wanted(void *arg)
{
    ((struct fixture *)arg)->services++;
}

static struct fixture *setup(struct fixture *f, bool debug_exit)
{
    struct board_config config = {
        .cpus = 1,
        .tsc_khz = TSC_KHZ,
        .debug_exit = debug_exit,
        .host = {.arg = f,
                 .serial_out = on_serial,
                 .set_irq = on_irq,
                 .raise_nmi = on_nmi,
                 .event = on_event,
                 .service_wanted = on_service_wanted},
    };

    *f = (struct fixture){.clock = time_create()};
    assert_int_equal(mem_create(&f->mem, MEM_SIZE), ERR_OK);
    config.mem = f->mem;
    config.clock = f->clock;
    assert_int_equal(board_create(&f->board, &config), ERR_OK);
    f->bus = board_cpu_bus(f->board, 0);
    return f;
}

static void teardown(struct fixture *f)
{
    board_destroy(f->board);
    assert_true(clock_next_due(f->clock) == CLOCK_NEVER); /* no timer is left behind */
    clock_destroy(f->clock);
    mem_destroy(f->mem);
}

static void out(struct fixture *f, uint16_t port, unsigned bytes, uint32_t value)
{
    f->bus->port_out(f->bus->arg, port, bytes, value);
}

static uint32_t in(struct fixture *f, uint16_t port, unsigned bytes)
{
    return f->bus->port_in(f->bus->arg, port, bytes);
}

static void write32(struct fixture *f, uint64_t gpa, uint32_t value)
{
    f->bus->mmio_write(f->bus->arg, gpa_make(gpa), 4, value);
}

static int ack(struct fixture *f)
{
    return f->bus->irq_ack(f->bus->arg);
}

static void program_pic(struct fixture *f)
{
    static const uint8_t words[] = {0x11, 0x30, 0x04, 0x01};

    for (unsigned i = 0; i < sizeof(words); i++)
        out(f, i ? 0x21 : 0x20, 1, words[i]);
    out(f, 0x21, 1, 0);
}

static void start_pit(struct fixture *f)
{
    out(f, 0x43, 1, 0x34);
    out(f, 0x40, 1, 0xff);
    out(f, 0x40, 1, 0x10);
}

/* A guest that knows no APIC: the PIC reaches the CPU as if it were wired to INTR. */
static void test_pic_without_apic(void **state)
{
    struct fixture storage, *f = setup(&storage, false);

    (void)state;
    program_pic(f);
    start_pit(f);
    time_advance(f->clock, 4000000);
    assert_true(f->irq);
    assert_int_equal(ack(f), 0x30);
    assert_false(f->irq);
    assert_int_equal(ack(f), -1);
    teardown(f);
}

static void test_ioapic_path(void **state)
{
    struct fixture storage, *f = setup(&storage, false);

    (void)state;
    write32(f, LAPIC + 0xf0, 0x1ff);
    write32(f, LAPIC + 0x350, 0x10700); /* no PIC */
    write32(f, IOAPIC, 0x14);           /* pin 2 */
    write32(f, IOAPIC + 0x10, 0x0040);
    program_pic(f);
    start_pit(f);
    time_advance(f->clock, 4000000);
    assert_true(f->irq);
    assert_int_equal(ack(f), 0x40);
    assert_false(f->irq);
    write32(f, LAPIC + 0xb0, 0);
    time_advance(f->clock, 4000000);
    assert_int_equal(ack(f), 0x40);
    teardown(f);
}

static void test_serial_interrupt(void **state)
{
    struct fixture storage, *f = setup(&storage, false);

    (void)state;
    program_pic(f);
    out(f, 0x3fc, 1, 0x08);
    out(f, 0x3f9, 1, 0x01);
    assert_int_equal(board_serial_in(f->board, (const uint8_t *)"ab", 2), 1); /* no FIFO yet */
    assert_true(f->irq);
    assert_int_equal(ack(f), 0x34);
    assert_int_equal(in(f, 0x3f8, 1), 'a');
    out(f, 0x3f8, 2, 0x0158); /* a word is two bytes: 'X' sent, then IER */
    assert_int_equal(f->sent, 1);
    assert_int_equal(in(f, 0x3f9, 1), 1);
    teardown(f);
}

static void test_resets(void **state)
{
    struct fixture storage, *f = setup(&storage, false);

    (void)state;
    out(f, 0x64, 1, 0xfe);
    assert_int_equal(f->events[BOARD_RESET], 1);
    out(f, 0xcf9, 1, 0x02);
    assert_int_equal(f->events[BOARD_RESET], 1);
    out(f, 0xcf9, 1, 0x06);
    assert_int_equal(f->events[BOARD_RESET], 2);
    out(f, 0xcf9, 1, 0x0e);
    assert_int_equal(f->events[BOARD_RESET], 3);
    out(f, 0x92, 1, 0x01);
    assert_int_equal(f->events[BOARD_RESET], 4);
    out(f, 0x64, 1, 0xd1);
    out(f, 0x60, 1, 0x02);
    assert_int_equal(f->events[BOARD_RESET], 5);
    out(f, 0x604, 2, 5 << 10 | 0x2000);
    assert_int_equal(f->events[BOARD_POWER_OFF], 1);
    out(f, 0xf4, 4, 7);
    assert_int_equal(f->events[BOARD_DEBUG_EXIT], 0);
    teardown(f);
}

static void test_debug_exit(void **state)
{
    struct fixture storage, *f = setup(&storage, true);

    (void)state;
    out(f, 0xf4, 4, 0x12345);
    assert_int_equal(f->events[BOARD_DEBUG_EXIT], 1);
    assert_int_equal(f->code, 0x12345);
    out(f, 0xf4, 1, 3);
    assert_int_equal(f->code, 3);
    teardown(f);
}

static void test_pci(void **state)
{
    struct fixture storage, *f = setup(&storage, false);

    (void)state;
    out(f, 0xcf8, 4, 0x80000000);
    assert_true(in(f, 0xcf8, 4) == 0x80000000);
    assert_int_equal(in(f, 0xcfc, 4), 0x0d578086);
    assert_int_equal(in(f, 0xcfe, 2), 0x0d57);
    out(f, 0xcf8, 4, 0x80000008);
    assert_int_equal(in(f, 0xcff, 1), 0x06);
    out(f, 0xcf8, 4, 0x80000800); /* slot 1: the balloon, on every machine */
    assert_int_equal(in(f, 0xcfc, 4), 0x10451af4);
    out(f, 0xcf8, 4, 0x8000f800); /* slot 31 */
    assert_true(in(f, 0xcfc, 4) == 0xffffffff);
    out(f, 0xcf8, 4, 0x80010000); /* bus 1 */
    assert_true(in(f, 0xcfc, 4) == 0xffffffff);
    teardown(f);
}

struct pv_time {
    uint32_t version, pad;
    uint64_t tsc, ns;
    uint32_t mul;
    int8_t shift;
    uint8_t flags, pad2[2];
};

static void test_kvmclock(void **state)
{
    struct fixture storage, *f = setup(&storage, false);
    struct pv_time page;
    uint32_t wall[3];
    uint64_t tsc, scaled;

    (void)state;
    time_advance(f->clock, 123456789);
    assert_true(f->bus->msr_write(f->bus->arg, 0x4b564d01, 0x5000 | 1));
    assert_true(mem_read(f->mem, gpa_make(0x5000), &page, sizeof(page)));
    assert_true(page.version && !(page.version & 1));
    assert_int_equal(page.flags, 1);
    time_advance(f->clock, UINT64_C(3600000000000));
    tsc = f->bus->tsc(f->bus->arg) - page.tsc;
    scaled = page.shift < 0 ? tsc >> -page.shift : tsc << page.shift;
    scaled = (uint64_t)((unsigned __int128)scaled * page.mul >> 32) + page.ns;
    assert_in_range(scaled, clock_now(f->clock) - 1000, clock_now(f->clock));
    assert_true(f->bus->msr_write(f->bus->arg, 0x4b564d00, 0x6000));
    assert_true(mem_read(f->mem, gpa_make(0x6000), wall, sizeof(wall)));
    assert_true(!(wall[0] & 1) && wall[1] == 1767225600 && wall[2] == 0);
    /* no RAM there: nothing happens */
    assert_true(f->bus->msr_write(f->bus->arg, 0x4b564d01, UINT64_MAX));
    assert_true(f->bus->msr_write(f->bus->arg, 0x4b564d00, UINT64_MAX));
    assert_false(f->bus->msr_write(f->bus->arg, 0x4b564d02, 0));
    teardown(f);
}

/* Memory that cannot be had now: the page is written when it can, before the guest goes on. */
static void test_kvmclock_waits_for_memory(void **state)
{
    struct fixture storage, *f = setup(&storage, false);
    struct pressure p;
    struct pv_time page;

    (void)state;
    pressure_open(&p, f->mem);
    assert_true(mem_write(f->mem, gpa_make(0x5000), &f, sizeof(f)));
    pressure_drop(&p, 0x5000);
    p.fails = 2;
    assert_true(f->bus->msr_write(f->bus->arg, 0x4b564d01, 0x5008 | 1));
    assert_int_equal(f->services, 1);
    board_service(f->board);
    assert_int_equal(f->services, 2);
    board_service(f->board);
    assert_int_equal(f->services, 2);
    assert_true(mem_read(f->mem, gpa_make(0x5008), &page, sizeof(page)));
    assert_true(page.version && !(page.version & 1) && page.mul);
    pressure_close(&p);
    teardown(f);
}

static void test_unowned(void **state)
{
    struct fixture storage, *f = setup(&storage, false);

    (void)state;
    out(f, 0x80, 1, 1);
    out(f, 0xed, 1, 1);
    assert_true(in(f, 0x80, 1) == 0xff);
    assert_true(in(f, 0x1234, 4) == 0xffffffff);
    assert_true(f->bus->mmio_read(f->bus->arg, gpa_make(0xd0000000), 8) == UINT64_MAX);
    teardown(f);
}

static void test_budget(void **state)
{
    struct fixture storage, *f = setup(&storage, false);

    (void)state;
    assert_true(f->bus->poll(f->bus->arg) == 10000000 / CLOCK_NS_PER_INSTRUCTION);
    out(f, 0x43, 1, 0x30);
    out(f, 0x40, 1, 100);
    out(f, 0x40, 1, 0);
    assert_in_range(f->bus->poll(f->bus->arg), 83000 / CLOCK_NS_PER_INSTRUCTION,
                    84000 / CLOCK_NS_PER_INSTRUCTION);
    clock_skip_to(f->clock, 83800);
    assert_in_range(f->bus->poll(f->bus->arg), 1, 100);
    assert_true(board_next_due(f->board) < 84000);
    teardown(f);
}

/* Ports that tell of resets are as good as any other here: events are only counted. */
static void wild_step(struct fixture *f, uint32_t (*pick)(void))
{
    static const uint16_t ports[] = {
        0x20,  0x21,  0xa0,  0xa1,  0x40,  0x41,  0x42,  0x43,  0x60,  0x61,  0x64,  0x70,
        0x71,  0x92,  0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x4d0, 0x4d1,
        0x600, 0x602, 0x604, 0x608, 0x60c, 0x60f, 0xcf8, 0xcf9, 0xcfc, 0xcff, 0xf4,  0xffff};
    static const unsigned widths[] = {1, 2, 4};
    uint32_t what = pick();
    uint16_t port = (what & 0x300) ? ports[(what >> 10) % (sizeof(ports) / sizeof(ports[0]))]
                                   : (uint16_t)pick();
    unsigned bytes = widths[(what >> 20) % 3];
    uint64_t bases[] = {LAPIC, IOAPIC, pick(), (uint64_t)pick() << 12};
    unsigned mmio_bytes = 1 + (what >> 22) % 8;
    uint64_t gpa = bases[(what >> 26) % 4] + pick() % (PAGE_SIZE - mmio_bytes + 1);
    uint64_t value = (uint64_t)pick() << 32 | pick();
    uint32_t msrs[] = {0x1b, 0x6e0, 0x800 + pick() % 64, 0x4b564d00, 0x4b564d01, pick()};

    switch (what % 12) {
    case 0:
    case 1:
        out(f, port, bytes, pick());
        break;
    case 2:
        out(f, port, bytes, pick() & 0xff);
        break;
    case 3:
        in(f, port, bytes);
        break;
    case 4:
        f->bus->mmio_read(f->bus->arg, gpa_make(gpa & (bytes == 4 ? ~UINT64_C(15) : UINT64_MAX)),
                          mmio_bytes);
        break;
    case 5:
        f->bus->mmio_write(f->bus->arg, gpa_make(gpa & (bytes == 4 ? ~UINT64_C(15) : UINT64_MAX)),
                           mmio_bytes, value);
        break;
    case 6:
        f->bus->msr_write(f->bus->arg, msrs[pick() % 6], pick() & 1 ? value : value & 0xffff);
        break;
    case 7:
        f->bus->msr_read(f->bus->arg, msrs[pick() % 6], &value);
        break;
    case 8:
        ack(f);
        break;
    case 9:
        clock_skip_to(f->clock, clock_now(f->clock) + pick() % 100000000);
        assert_true(f->bus->poll(f->bus->arg) >= 1);
        break;
    case 10:
        f->bus->cr8_write(f->bus->arg, value);
        assert_true(f->bus->cr8_read(f->bus->arg) <= 15);
        break;
    default:
        board_serial_in(f->board, (const uint8_t *)&value, pick() % 9);
        break;
    }
}

static uint32_t pick_random(void)
{
    return (uint32_t)mrand48();
}

static void test_wild_accesses(void **state)
{
    (void)state;
    for (long seed = 1; seed <= 200; seed++) {
        struct fixture storage, *f = setup(&storage, seed & 1);

        srand48(seed);
        for (unsigned i = 0; i < 5000; i++)
            wild_step(f, pick_random);
        board_reset(f->board);
        assert_false(f->irq);
        assert_true(f->bus->mmio_read(f->bus->arg, gpa_make(LAPIC + 0x30), 4) == 0x50014);
        program_pic(f); /* and it still works */
        start_pit(f);
        time_advance(f->clock, 4000000);
        assert_int_equal(ack(f), 0x30);
        teardown(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pic_without_apic), cmocka_unit_test(test_ioapic_path),
        cmocka_unit_test(test_serial_interrupt), cmocka_unit_test(test_resets),
        cmocka_unit_test(test_debug_exit),       cmocka_unit_test(test_pci),
        cmocka_unit_test(test_kvmclock),         cmocka_unit_test(test_kvmclock_waits_for_memory),
        cmocka_unit_test(test_unowned),          cmocka_unit_test(test_budget),
        cmocka_unit_test(test_wild_accesses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
