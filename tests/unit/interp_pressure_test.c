/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interp engine while frames leave memory between two runs: whole pages overwritten without
 * being read, a host that fails in the middle of instructions and events, kicks from memory.
 */
#include "interp_guest.h"

#include "pressure.h"

#define PAGES(n) ((n) * (uint64_t)PAGE_SIZE)

static void fill_frame(struct guest *g, uint64_t gpa, uint64_t seed)
{
    uint64_t page[512];

    for (unsigned i = 0; i < 512; i++)
        page[i] = (seed + i) * UINT64_C(0x9e3779b97f4a7c15);
    assert_true(mem_write(g->mem, gpa_make(gpa), page, sizeof page));
}

static enum page_state state_of(struct guest *g, uint64_t gpa)
{
    return mem_page_state(g->mem, gfn_make(gpa >> PAGE_SHIFT));
}

static uint64_t saved(struct guest *g)
{
    return mem_reclaim_stats(g->mem)->false_reads_saved;
}

/* --- overwriting --- */

GUEST(stosq, 64, "cld; rep stosq");
GUEST(stosb, 64, "cld; rep stosb");
GUEST(movsq, 64, "cld; rep movsq");
GUEST(movsb, 64, "cld; rep movsb");
GUEST(backward, 64, "std; rep stosq");

static void overwriting_reads_nothing(void **state)
{
    static const struct {
        const uint8_t *code, *end;
        uint64_t count, from;
    } whole[] = {
        {stosq, stosq_end, 512, 0},
        {stosb, stosb_end, 4096, 0},
        {movsq, movsq_end, 512, DATA + 0x20000},
        {movsb, movsb_end, 4096, DATA + 0x20000},
        {movsb, movsb_end, 4096, DATA + 0x20123},
        {movsq, movsq_end, 512, DATA + 0x20808},
    };
    (void)state;

    for (unsigned i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        struct guest g;
        struct pressure p;
        uint8_t page[PAGE_SIZE], want[PAGE_SIZE];

        guest_open(&g, 64);
        pressure_open(&p, g.mem);
        fill_frame(&g, DATA + 0x20000, 1);
        fill_frame(&g, DATA + 0x21000, 2);
        fill_frame(&g, DATA + 0x8000, 3);
        pressure_drop(&p, DATA + 0x8000);
        assert_int_equal(state_of(&g, DATA + 0x8000), PAGE_IMAGE);
        g.s.gpr[RDI] = DATA + 0x8000;
        g.s.gpr[RSI] = whole[i].from;
        g.s.gpr[RCX] = whole[i].count;
        g.s.gpr[RAX] = UINT64_C(0x4141414141414141);
        run_at(&g, CODE, whole[i].code, whole[i].end);
        assert_int_equal(g.s.gpr[RDI], DATA + 0x9000);
        assert_int_equal(g.s.gpr[RCX], 0);
        assert_int_equal(p.reads, 0);
        assert_int_equal(saved(&g), 1);
        if (whole[i].from) {
            assert_int_equal(g.s.gpr[RSI], whole[i].from + PAGE_SIZE);
            assert_true(mem_read(g.mem, gpa_make(whole[i].from), want, sizeof want));
        } else {
            memset(want, 0x41, sizeof want);
        }
        assert_true(mem_read(g.mem, gpa_make(DATA + 0x8000), page, sizeof page));
        assert_memory_equal(page, want, sizeof page);
        pressure_close(&p);
        guest_close(&g);
    }
}

static void anything_less_reads(void **state)
{
    static const struct {
        const uint8_t *code, *end;
        uint64_t at, count, from;
    } less[] = {
        {stosq, stosq_end, 0, 511, 0},
        {stosb, stosb_end, 0, 4095, 0},
        {stosq, stosq_end, 8, 511, 0},
        {backward, backward_end, 4088, 512, 0},
        {movsq, movsq_end, 0, 511, DATA + 0x20000},
        {movsb, movsb_end, 1, 4095, DATA + 0x20000},
        {movsq, movsq_end, 0, 512, DATA + 0x7ff8}, /* feeds on itself */
        {movsq, movsq_end, 0, 512, DATA + 0x8008},
    };
    (void)state;

    for (unsigned i = 0; i < sizeof less / sizeof less[0]; i++) {
        struct guest g;
        struct pressure p;
        uint64_t before[3 * 512], page[512];

        guest_open(&g, 64);
        pressure_open(&p, g.mem);
        for (unsigned k = 0; k < 3; k++)
            fill_frame(&g, DATA + 0x7000 + PAGES(k), 3 + k);
        fill_frame(&g, DATA + 0x20000, 1);
        assert_true(mem_read(g.mem, gpa_make(DATA + 0x7000), before, sizeof before));
        pressure_drop(&p, DATA + 0x8000);
        g.s.gpr[RDI] = DATA + 0x8000 + less[i].at;
        g.s.gpr[RSI] = less[i].from;
        g.s.gpr[RCX] = less[i].count;
        g.s.gpr[RAX] = UINT64_C(0x4141414141414141);
        run_at(&g, CODE, less[i].code, less[i].end);
        assert_int_equal(p.reads, 1);
        assert_int_equal(saved(&g), 0);
        assert_true(mem_read(g.mem, gpa_make(DATA + 0x8000), page, sizeof page));
        if (less[i].from == DATA + 0x7ff8) {
            for (unsigned k = 0; k < 512; k++)
                assert_int_equal(page[k], before[511]);
        } else if (less[i].from == DATA + 0x8008) {
            assert_memory_equal(page, before + 513, sizeof page);
        } else if (!less[i].from && less[i].at != 4088) {
            uint8_t want[PAGE_SIZE];
            unsigned bytes = less[i].code == stosb ? 1 : 8;
            memcpy(want, before + 512, sizeof want);
            memset(want + less[i].at, 0x41, less[i].count * bytes);
            assert_memory_equal(page, want, sizeof page);
        }
        pressure_close(&p);
        guest_close(&g);
    }
}

/* The target's frame is the source's under another address; it reads as zeros from one page. */
static void the_source_is_not_lost(void **state)
{
    struct guest g;
    struct pressure p;
    uint64_t page[512];
    (void)state;

    guest_open(&g, 64);
    pressure_open(&p, g.mem);
    fill_frame(&g, DATA + 0x8000, 7);
    fill_frame(&g, DATA + 0x9000, 7); /* equal: both read from one copy */
    pressure_evict(&p, MEM_MEANS_SHARE);
    assert_int_equal(state_of(&g, DATA + 0x8000), PAGE_SHARED);
    put64(&g, PT + 8 * 16, (DATA + 0x8000) | 3);
    g.s.gpr[RSI] = DATA + 0x8000;
    g.s.gpr[RDI] = DATA + PAGES(16);
    g.s.gpr[RCX] = 512;
    RUN(&g, movsq);
    for (unsigned k = 0; k < 2; k++) {
        assert_true(mem_read(g.mem, gpa_make(DATA + 0x8000 + PAGES(k)), page, sizeof page));
        assert_int_equal(page[5], 12 * UINT64_C(0x9e3779b97f4a7c15));
    }
    pressure_close(&p);
    guest_close(&g);
}

/* A table that is overwritten while the walk goes through it keeps its other entries. */
static void a_table_is_not_lost(void **state)
{
    struct guest g;
    struct pressure p;
    (void)state;

    guest_open(&g, 64);
    pressure_open(&p, g.mem);
    put64(&g, PT + 8 * 16, PT | 3);
    pressure_drop(&p, PT);
    g.s.gpr[RDI] = DATA + PAGES(16);
    g.s.gpr[RCX] = 512;
    g.s.gpr[RAX] = 0x3;
    RUN(&g, stosq);
    assert_int_equal(get64(&g, PT), 3);
    assert_int_equal(get64(&g, PT + 4088), 3);
    assert_int_equal(p.reads, 1);
    pressure_close(&p);
    guest_close(&g);
}

/* --- the host fails --- */

static void start_at(struct guest *g, const uint8_t *code, const uint8_t *end)
{
    assert_true(mem_write(g->mem, gpa_make(CODE), code, (size_t)(end - code)));
    g->s.rip = CODE;
    g->vcpu->ops->set_state(g->vcpu, &g->s);
}

/* Runs until the HLT, however often the host fails; how often it did. */
static unsigned run_through(struct guest *g, struct pressure *p)
{
    unsigned failed = 0;

    for (;;) {
        switch (g->vcpu->ops->run(g->vcpu)) {
        case ENGINE_EXIT_HALTED:
            g->vcpu->ops->get_state(g->vcpu, &g->s);
            return failed;
        case ENGINE_EXIT_HOST_ERROR:
            failed++;
            assert_non_null(mem_stall(g->mem));
            while (mem_stall(g->mem))
                pressure_age(p);
            break;
        default:
            fail_msg("left for another reason");
        }
    }
}

GUEST(read_write, 64,
      "mov $1, %eax; mov $0x208010, %ebx; add $2, %eax; add %rax, (%rbx); add $4, %eax\n"
      "push 8(%rbx); pop %rdx; xchg %rax, 16(%rbx)");

static void instructions_begin_anew(void **state)
{
    struct guest g;
    struct pressure p;
    uint64_t counted;
    (void)state;

    guest_open(&g, 64);
    pressure_open(&p, g.mem);
    put64(&g, DATA + 0x8010, 100);
    put64(&g, DATA + 0x8018, 200);
    put64(&g, DATA + 0x8020, 300);
    pressure_drop(&p, DATA + 0x8000);
    start_at(&g, read_write, read_write_end);
    counted = g.vcpu->ops->instructions(g.vcpu);
    p.fails = 3;
    assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_HOST_ERROR);
    g.vcpu->ops->get_state(g.vcpu, &g.s);
    assert_int_equal(g.s.rip, CODE + 13); /* at ADD to memory, which has not begun */
    assert_int_equal(g.s.gpr[RAX], 3);
    assert_int_equal(g.vcpu->ops->instructions(g.vcpu) - counted, 3);
    assert_int_equal(run_through(&g, &p), 1);
    assert_int_equal(g.s.gpr[RDX], 200);
    assert_int_equal(g.s.gpr[RAX], 300);
    assert_int_equal(get64(&g, DATA + 0x8010), 103);
    assert_int_equal(get64(&g, DATA + 0x8020), 7);
    assert_int_equal(g.vcpu->ops->instructions(g.vcpu) - counted, 9);
    pressure_close(&p);
    guest_close(&g);
}

static void a_string_goes_on_where_it_was(void **state)
{
    struct guest g;
    struct pressure p;
    uint8_t a[3 * PAGE_SIZE], b[3 * PAGE_SIZE];
    (void)state;

    guest_open(&g, 64);
    pressure_open(&p, g.mem);
    for (unsigned k = 0; k < 3; k++)
        fill_frame(&g, DATA + 0x20000 + PAGES(k), k);
    assert_true(mem_read(g.mem, gpa_make(DATA + 0x20000), a, sizeof a));
    pressure_drop(&p, DATA + 0x21000);
    start_at(&g, movsb, movsb_end);
    g.s.gpr[RSI] = DATA + 0x20000;
    g.s.gpr[RDI] = DATA + 0x30010;
    g.s.gpr[RCX] = sizeof a;
    g.vcpu->ops->set_state(g.vcpu, &g.s);
    p.fails = 2;
    assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_HOST_ERROR);
    g.vcpu->ops->get_state(g.vcpu, &g.s);
    assert_int_equal(g.s.gpr[RSI], DATA + 0x21000);
    assert_int_equal(g.s.gpr[RCX], PAGES(2));
    run_through(&g, &p);
    assert_true(mem_read(g.mem, gpa_make(DATA + 0x30010), b, sizeof b));
    assert_memory_equal(a, b, sizeof a);
    pressure_close(&p);
    guest_close(&g);
}

static int acks;

static int ack_once(void *arg)
{
    struct guest *g = arg;

    acks++;
    g->vcpu->ops->set_irq(g->vcpu, false);
    return 0x20;
}

GUEST(waits, 64, "mov $0x77, %ebx; 1: test %edi, %edi; jz 1b");

/* An interrupt that was taken from the controller is delivered, whatever fails on the way. */
static void interrupts_are_not_lost(void **state)
{
    static const uint64_t places[] = {IDT, GDT, STACK - PAGE_SIZE, FAULT_CODE};
    (void)state;

    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct guest g;
        struct pressure p;
        const uint8_t handler[] = {0xbf, 0x20, 0, 0, 0, 0xf4}; /* mov $0x20, %edi; hlt */

        guest_open(&g, 64);
        pressure_open(&p, g.mem);
        acks = 0;
        g.bus.irq_ack = ack_once;
        assert_true(mem_write(g.mem, gpa_make(FAULT_CODE + 0x200), handler, sizeof handler));
        put64(&g, IDT + 0x20 * 16,
              ((FAULT_CODE + 0x200) & 0xffff) | 8u << 16 | UINT64_C(0x8e00) << 32 |
                  UINT64_C(1) << 48);
        put64(&g, IDT + 0x20 * 16 + 8, 0);
        put64(&g, STACK - 64, 1);
        g.s.idtr.limit = 0x21 * 16 - 1;
        g.s.rflags |= RFLAGS_IF;
        g.s.gpr[RDI] = 0;
        start_at(&g, waits, waits_end);
        pressure_drop(&p, places[i]);
        g.vcpu->ops->set_irq(g.vcpu, true);
        p.fails = 3;
        assert_true(run_through(&g, &p) >= 1);
        assert_int_equal(acks, 1);
        assert_int_equal(g.s.gpr[RDI], 0x20);
        assert_int_equal(g.s.gpr[RSP], STACK - 40);
        assert_int_equal(g.vcpu->ops->stats(g.vcpu)->interrupts, 1);
        pressure_close(&p);
        guest_close(&g);
    }
}

GUEST(traps, 64, "mov $5, %ebx; int3; mov $6, %ebx");

static void traps_are_delivered_once(void **state)
{
    struct guest g;
    struct pressure p;
    (void)state;

    guest_open(&g, 64);
    pressure_open(&p, g.mem);
    put64(&g, STACK - 64, 1);
    start_at(&g, traps, traps_end);
    pressure_drop(&p, IDT);
    p.fails = 2;
    assert_int_equal(run_through(&g, &p), 1);
    assert_int_equal(g.s.gpr[RDI], 3);
    assert_int_equal(g.s.gpr[RBX], 5);
    assert_int_equal(get64(&g, g.s.gpr[RSP]), CODE + 6); /* behind INT3 */
    assert_int_equal(g.vcpu->ops->stats(g.vcpu)->exceptions, 1);
    pressure_close(&p);
    guest_close(&g);
}

/* STI lets one more instruction through, also if that has to be begun twice. */
GUEST(window, 64, "sti; mov 0x208000, %rax; mov $1, %ebx; nop; nop");

static void the_shadow_of_sti_lasts(void **state)
{
    struct guest g;
    struct pressure p;
    const uint8_t handler[] = {0xf4};
    (void)state;

    guest_open(&g, 64);
    pressure_open(&p, g.mem);
    g.bus.irq_ack = ack_once;
    assert_true(mem_write(g.mem, gpa_make(FAULT_CODE + 0x200), handler, sizeof handler));
    put64(&g, IDT + 0x20 * 16,
          ((FAULT_CODE + 0x200) & 0xffff) | 8u << 16 | UINT64_C(0x8e00) << 32 | UINT64_C(1) << 48);
    put64(&g, IDT + 0x20 * 16 + 8, 0);
    put64(&g, DATA + 0x8000, 42);
    put64(&g, STACK - 64, 1);
    g.s.idtr.limit = 0x21 * 16 - 1;
    g.s.gpr[RAX] = g.s.gpr[RBX] = 0;
    start_at(&g, window, window_end);
    pressure_drop(&p, DATA + 0x8000);
    g.vcpu->ops->set_irq(g.vcpu, true);
    p.fails = 2;
    assert_int_equal(run_through(&g, &p), 1);
    assert_int_equal(g.s.gpr[RAX], 42);
    assert_int_equal(g.s.gpr[RBX], 0);
    pressure_close(&p);
    guest_close(&g);
}

/* --- memory asks for service --- */

static void kick_vcpu(void *arg)
{
    struct guest *g = arg;

    g->vcpu->ops->kick(g->vcpu);
}

static void pressure_ends_a_string(void **state)
{
    struct guest g;
    struct mem_orders orders = {.target_bytes = UINT64_MAX};
    (void)state;

    guest_open(&g, 64);
    start_at(&g, stosb, stosb_end);
    /* Once before: what is decoded counts under a limit, too. */
    g.s.gpr[RDI] = DATA + 0x10000;
    g.s.gpr[RCX] = 1;
    g.vcpu->ops->set_state(g.vcpu, &g.s);
    assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_HALTED);
    g.s.gpr[RCX] = PAGES(64);
    g.vcpu->ops->set_state(g.vcpu, &g.s);
    mem_set_pressure_hook(g.mem, kick_vcpu, &g);
    orders.limit_bytes = mem_host_bytes(g.mem) + PAGES(8);
    mem_set_orders(g.mem, &orders);
    assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_KICKED);
    g.vcpu->ops->get_state(g.vcpu, &g.s);
    assert_in_range(g.s.gpr[RCX], PAGES(54), PAGES(60));
    assert_int_equal(g.s.rip, CODE + 1);
    assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_HALTED);
    g.vcpu->ops->get_state(g.vcpu, &g.s);
    assert_int_equal(g.s.gpr[RCX], 0);
    guest_close(&g);
}

/* --- ages --- */

GUEST(touch, 64, "1: mov (%rsi), %al; add $4096, %rsi; dec %ecx; jnz 1b");

static void use_is_seen_through_the_tlb(void **state)
{
    struct guest g;
    struct pressure p;
    uint64_t ages[MEM_AGES];
    (void)state;

    guest_open(&g, 64);
    pressure_open(&p, g.mem);
    for (unsigned k = 0; k < 40; k++)
        fill_frame(&g, DATA + PAGES(k), k);
    for (unsigned i = 0; i < 3; i++) {
        pressure_age(&p);
        pressure_age(&p);
        mem_age_histogram(g.mem, ages);
        assert_int_equal(ages[0], 0);
        g.s.gpr[RSI] = DATA;
        g.s.gpr[RCX] = 10;
        RUN(&g, touch);
        mem_age_histogram(g.mem, ages);
        assert_int_equal(ages[0], 10 + 1 + 4); /* data, code, tables */
    }
    pressure_close(&p);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overwriting_reads_nothing),
        cmocka_unit_test(anything_less_reads),
        cmocka_unit_test(the_source_is_not_lost),
        cmocka_unit_test(a_table_is_not_lost),
        cmocka_unit_test(instructions_begin_anew),
        cmocka_unit_test(a_string_goes_on_where_it_was),
        cmocka_unit_test(interrupts_are_not_lost),
        cmocka_unit_test(traps_are_delivered_once),
        cmocka_unit_test(the_shadow_of_sti_lasts),
        cmocka_unit_test(pressure_ends_a_string),
        cmocka_unit_test(use_is_seen_through_the_tlb),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
