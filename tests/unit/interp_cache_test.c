/* SPDX-License-Identifier: Apache-2.0 */
/* The interp engine's code cache: self-modifying code, page-crossing instructions, its limits. */
#include "interp_guest.h"

/* --- code that changes --- */

/* Increments the immediate of an instruction of its own loop, in the same block. */
GUEST(smc64, 64,
      "xor %eax, %eax; mov $100, %ecx\n"
      "1: incb 2f+1(%rip)\n"
      "2: mov $0, %bl; add %bl, %al; dec %ecx; jnz 1b");

static void test_self_modifying(void **state)
{
    struct guest g;
    const struct cpu_stats *stats;
    (void)state;

    guest_open(&g, 64);
    RUN(&g, smc64);
    assert_int_equal(g.s.gpr[RAX] & 0xff, (100 * 101 / 2) & 0xff);
    stats = g.vcpu->ops->stats(g.vcpu);
    assert_true(stats->code_writes >= 100);
    guest_close(&g);
}

/*
 * An instruction across two pages; the second page's part is changed by the door and must be seen.
 */
GUEST(crossing64, 64, "mov $0x11111111, %eax");

static void test_crossing_instruction(void **state)
{
    struct guest g;
    uint8_t patch = 0x22;
    (void)state;

    guest_open(&g, 64);
    run_at(&g, CODE + 0x1000 - 2, crossing64, crossing64_end);
    assert_int_equal(g.s.gpr[RAX], 0x11111111);
    run_at(&g, CODE + 0x1000 - 2, crossing64, crossing64 + 2);
    assert_true(mem_write(g.mem, gpa_make(CODE + 0x1001), &patch, 1));
    g.s.rip = CODE + 0x1000 - 2;
    g.s.halted = false;
    g.vcpu->ops->set_state(g.vcpu, &g.s);
    assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_HALTED);
    g.vcpu->ops->get_state(g.vcpu, &g.s);
    assert_int_equal(g.s.gpr[RAX], 0x11221111);
    guest_close(&g);
}

/* Bytes that are no instruction, and are one when the second of them changes. */
GUEST(undecodable64, 64, ".byte 0x0f, 0x0a");

static void test_undecodable_bytes(void **state)
{
    const uint8_t second = 0xc8; /* bswap eax */
    struct guest g;
    (void)state;

    guest_open(&g, 64);
    RUN(&g, undecodable64);
    assert_int_equal(g.s.gpr[RDI], VEC_UD);
    assert_true(mem_write(g.mem, gpa_make(CODE + 1), &second, 1));
    g.s.rip = CODE;
    g.s.gpr[RAX] = 0x11223344;
    g.s.halted = false;
    g.vcpu->ops->set_state(g.vcpu, &g.s);
    assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_HALTED);
    g.vcpu->ops->get_state(g.vcpu, &g.s);
    assert_int_equal(g.s.rip, CODE + 3);
    assert_int_equal(g.s.gpr[RAX], 0x44332211);
    guest_close(&g);
}

/* --- the cache's bounds --- */

/* Far more code than the arena holds, twice. */
static void test_cache_drops_everything(void **state)
{
    static uint8_t nops[0x400000 - 16];
    struct guest g;
    (void)state;

    guest_open(&g, 32);
    memset(nops, 0x90, sizeof nops);
    nops[sizeof nops - 1] = 0xf4;
    for (unsigned i = 0; i < 2; i++)
        run_at(&g, 0x400000, nops, nops + sizeof nops);
    assert_int_equal(g.s.rip, 0x400000 + sizeof nops);
    assert_int_equal(g.vcpu->ops->instructions(g.vcpu), 2 * sizeof nops);
    assert_true(g.vcpu->ops->stats(g.vcpu)->cache_drops > 1);
    guest_close(&g);
}

/* Between two runs: what is much is dropped, what is little stays, and all runs on. */
static void test_trim(void **state)
{
    static uint8_t nops[0x20000];
    static const uint8_t halt[] = {0x90, 0xf4};
    struct guest g;
    (void)state;

    guest_open(&g, 32);
    run_at(&g, 0x300000, halt, halt + sizeof halt);
    g.vcpu->ops->trim(g.vcpu);
    assert_int_equal(g.vcpu->ops->stats(g.vcpu)->cache_drops, 0);
    memset(nops, 0x90, sizeof nops);
    nops[sizeof nops - 1] = 0xf4;
    run_at(&g, 0x400000, nops, nops + sizeof nops);
    g.vcpu->ops->trim(g.vcpu);
    assert_int_equal(g.vcpu->ops->stats(g.vcpu)->cache_drops, 1);
    assert_int_equal(mem_track(g.mem, gfn_make(0x400)) & MEM_TRACK_CODE, 0);
    run_at(&g, 0x400000, nops, nops + sizeof nops);
    run_at(&g, 0x300000, halt, halt + sizeof halt);
    assert_int_equal(g.s.rip, 0x300000 + sizeof halt);
    guest_close(&g);
}

/* Code in data pages: every page's copy is overwritten again and again. */
GUEST(patch64, 64,
      "mov $0x210000, %edi; mov $1000, %ecx\n"
      "1: movb $0xb0, (%rdi); mov %cl, 1(%rdi); movb $0xc3, 2(%rdi); call *%rdi; movzbl %al, %eax\n"
      "add %rax, %rbx; movq $5, 64(%rdi); dec %ecx; jnz 1b");

static void ignore_port_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    (void)arg;
    (void)port;
    (void)bytes;
    (void)value;
}

static void test_code_written_often(void **state)
{
    struct guest g;
    uint64_t sum = 0;
    (void)state;

    for (unsigned i = 1; i <= 1000; i++)
        sum += i & 0xff;
    guest_open(&g, 64);
    g.s.gpr[RBX] = 0;
    RUN(&g, patch64);
    assert_int_equal(g.s.gpr[RBX], sum);
    guest_close(&g);
}

/*
 * A page of code that is its own table: the walk for the next page sets A in the first byte of an
 * instruction that crosses into it, which makes it a short one (C7 is a long MOV, E7 is OUT). A
 * CPU may see either.
 */
static void test_code_that_its_own_walk_changes(void **state)
{
    struct guest g;
    uint8_t halts[16];
    (void)state;

    guest_open(&g, 64);
    g.bus.port_out = ignore_port_out;
    memset(halts, 0xf4, sizeof halts);
    assert_true(mem_write(g.mem, gpa_make(0x208000), halts, sizeof halts));
    put64(&g, PT + 8 * 510, PT | 3);
    put64(&g, PT + 8 * 511, 0x2084c7);
    g.s.gpr[RAX] = DATA;
    g.s.rip = DATA + 0x1feff8;
    g.vcpu->ops->set_state(g.vcpu, &g.s);
    assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_HALTED);
    g.vcpu->ops->get_state(g.vcpu, &g.s);
    assert_int_equal(g.s.rip & ~UINT64_C(7), DATA + 0x1ff000);
    assert_int_equal(get64(&g, PT + 8 * 511), 0x2084e7);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self_modifying),
        cmocka_unit_test(test_crossing_instruction),
        cmocka_unit_test(test_undecodable_bytes),
        cmocka_unit_test(test_cache_drops_everything),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_code_written_often),
        cmocka_unit_test(test_code_that_its_own_walk_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
