/* SPDX-License-Identifier: Apache-2.0 */
/* Native code where the mapping changes: another address space, INVLPG; selectors that are read. */
#include "interp_guest.h"

#include <stdio.h>

#include "cpu/translate/translate.h"

#define TURNS     1000
#define TURNS_ASM "1000"
#define FEW       100 /* what may happen until all is known */

static const struct cpu_stats *stats(const struct guest *g)
{
    return g->vcpu->ops->stats(g->vcpu);
}

/* Runs it on both engines, which must agree; the state is that of the translate engine after. */
static void run_on_both(struct guest *g, const uint8_t *code, const uint8_t *end,
                        void (*prepare)(struct guest *g))
{
    struct x86_state interpreted;
    uint64_t instructions;

    guest_open(g, 64);
    if (prepare)
        prepare(g);
    run_at(g, CODE, code, end);
    interpreted = g->s;
    instructions = g->vcpu->ops->instructions(g->vcpu);
    guest_close(g);
    guest_open_on(g, 64, "translate", true, 1);
    if (prepare)
        prepare(g);
    run_at(g, CODE, code, end);
    assert_memory_equal(interpreted.gpr, g->s.gpr, sizeof interpreted.gpr);
    assert_int_equal(interpreted.rip, g->s.rip);
    assert_int_equal(interpreted.rflags, g->s.rflags);
    assert_int_equal(interpreted.cr3, g->s.cr3);
    assert_int_equal(instructions, g->vcpu->ops->instructions(g->vcpu));
}

/* --- selectors --- */

/* 16 bits, in registers of the host and in memory; the others stay. */
GUEST(selectors, 64,
      "mov $" TURNS_ASM
      ", %ecx\n mov $-1, %rax\n mov %rax, %rdx\n mov %rax, %r10\n mov %rax, %r14\n"
      "1: mov %cs, %ax\n mov %ds, %dx\n mov %es, %r10w\n mov %fs, %r14w\n mov %gs, %ebx\n"
      "mov %ss, %r11\n dec %ecx\n jnz 1b\n");

static void selectors_are_read_in_line(void **unused)
{
    struct guest g;

    (void)unused;
    run_on_both(&g, selectors, selectors_end, NULL);
    assert_int_equal(g.s.gpr[RAX], ~UINT64_C(0xffff) | 8);
    assert_int_equal(g.s.gpr[R10], ~UINT64_C(0xffff) | 16);
    assert_int_equal(g.s.gpr[R11], 16);
    assert_true(stats(&g)->native_callouts < FEW);
    guest_close(&g);
}

/* --- pages of both halves --- */

#define UPPER    "0xffffff8000000000"
#define UPPER_PD 0x17000u

/* The page of the code once more in the upper half, at each multiple of 2 MiB. */
static void map_upper(struct guest *g)
{
    put64(g, PML4 + 8 * 511, (UPPER_PD + 0x1000) | 3);
    put64(g, UPPER_PD + 0x1000, UPPER_PD | 3);
    for (unsigned i = 0; i < 8; i++)
        put64(g, UPPER_PD + 8 * i, 0x83);
}

GUEST(both_halves, 64,
      "xor %eax, %eax\n mov $" TURNS_ASM ", %ecx\n"
      "1: mov $" UPPER " + 0x100000, %rbx\n lea 9f(%rip), %rdx\n and $0xfff, %edx\n"
      "add %rdx, %rbx\n mov $8, %edx\n"
      "2: call *%rbx\n add $0x200000, %rbx\n dec %edx\n jnz 2b\n"
      "dec %ecx\n jnz 1b\n hlt\n 9: inc %eax\n ret\n");

static void halves_do_not_share_places(void **unused)
{
    struct guest g;

    (void)unused;
    run_on_both(&g, both_halves, both_halves_end, map_upper);
    assert_int_equal(g.s.gpr[RAX], 8 * TURNS);
    assert_true(stats(&g)->tlb_misses_fetch < FEW);
    guest_close(&g);
}

/* --- address spaces --- */

/*
 * A second one: the page at DATA is another frame, and the page behind the code is, too, which has
 * other code there.
 */
#define OTHER        0x20000u
#define OTHER_DATA   (DATA + 0x5000u)
#define PLACES       "0x101000"
#define OTHER_PLACES 0x280000u
#define OTHER_ASM    "0x20000"
#define NO_FLUSH     "$0x8000000000000000"

static void copy_table(struct guest *g, uint64_t from, uint64_t to, uint64_t next)
{
    for (unsigned i = 0; i < 512; i++)
        put64(g, to + 8 * i, get64(g, from + 8 * i));
    if (next)
        put64(g, to, next | 3);
}

static void make_other(struct guest *g)
{
    uint64_t pt = OTHER + 0x3000, low = OTHER + 0x4000;

    copy_table(g, PML4, OTHER, OTHER + 0x1000);
    copy_table(g, PDPT, OTHER + 0x1000, OTHER + 0x2000);
    copy_table(g, PD, OTHER + 0x2000, low);
    put64(g, OTHER + 0x2000 + 8, pt | 3);
    copy_table(g, PT, pt, 0);
    put64(g, pt, OTHER_DATA | 3);
    for (unsigned i = 0; i < 512; i++)
        put64(g, low + 8 * i, i * 0x1000u | 3);
    put64(g, low + 8 * (0x101000 / 0x1000), OTHER_PLACES | 3);
    put64(g, DATA, 1);
    put64(g, OTHER_DATA, 100);
}

static void with_pcids(struct guest *g)
{
    make_other(g);
    g->s.cr4 |= CR4_PCIDE | CR4_PGE;
}

/* To and fro, and one word of each summed up. */
#define SWITCHES(keep_)                                                                            \
    "mov %cr3, %rbx\n mov $" OTHER_ASM " + 1, %edi\n mov $" TURNS_ASM ", %ecx\n xor %eax, %eax\n"  \
    "mov $0x200000, %esi\n mov " keep_ ", %rdx\n or %rdx, %rbx\n or %rdx, %rdi\n"                  \
    "1: mov %rdi, %cr3\n add (%rsi), %rax\n mov %rbx, %cr3\n add (%rsi), %rax\n"                   \
    "dec %ecx\n jnz 1b\n mov %cr3, %rdx\n"

GUEST(keeping, 64, SWITCHES(NO_FLUSH));
GUEST(flushing, 64, SWITCHES("$0"));

static void switches_stay_native(void **unused)
{
    struct guest g;

    (void)unused;
    run_on_both(&g, keeping, keeping_end, with_pcids);
    assert_int_equal(g.s.gpr[RAX], 101 * TURNS);
    assert_int_equal(g.s.gpr[RDX], PML4);
    assert_true(stats(&g)->native_entries < FEW);
    assert_true(stats(&g)->tlb_misses_data < FEW);
    guest_close(&g);
    run_on_both(&g, flushing, flushing_end, with_pcids);
    assert_int_equal(g.s.gpr[RAX], 101 * TURNS);
    guest_close(&g);
    run_on_both(&g, flushing, flushing_end, make_other);
    assert_int_equal(g.s.gpr[RAX], 101 * TURNS);
    guest_close(&g);
}

/* Behind the switch the page that it lies in has other code at the next instruction, or not. */
GUEST(other_code, 64, "mov %rdi, %cr3\n add $1, %rax\n jmp *%r12\n");
GUEST(other_code_there, 64,
      "nop\n nop\n nop\n add $7, %rax\n mov %rbx, %cr3\n .fill 16, 1, 0x90\n");
GUEST(through_places, 64,
      "mov %cr3, %rbx\n mov $" OTHER_ASM " + 1, %edi\n mov $" TURNS_ASM ", %ecx\n xor %eax, %eax\n"
      "mov " NO_FLUSH ", %rdx\n or %rdx, %rbx\n or %rdx, %rdi\n lea 2f(%rip), %r12\n"
      "mov $" PLACES ", %r13d\n mov %rdi, %r14\n xor %rbx, %r14\n"
      "1: xor %r14, %rdi\n jmp *%r13\n 2: dec %ecx\n jnz 1b\n");

static void put_places(struct guest *g)
{
    static const uint8_t back[] = {0x41, 0xff, 0xe4}; /* jmp *%r12 */
    size_t bytes = (size_t)(other_code_there_end - other_code_there);

    with_pcids(g);
    assert_true(
        mem_write(g->mem, gpa_make(0x101000), other_code, (size_t)(other_code_end - other_code)));
    assert_true(mem_write(g->mem, gpa_make(OTHER_PLACES), other_code_there, bytes));
    assert_true(mem_write(g->mem, gpa_make(0x101000 + 10), back, sizeof back));
}

static void a_switch_may_change_the_code_behind_it(void **unused)
{
    struct guest g;

    (void)unused;
    run_on_both(&g, through_places, through_places_end, put_places);
    assert_int_equal(g.s.gpr[RAX], TURNS / 2 * (1 + 7));
    guest_close(&g);
}

/* --- what is flushed --- */

/*
 * The entry of a page goes to and fro between two frames, which a load sees behind INVLPG, INVPCID
 * or a load of CR3, and not before a kept one.
 */
#define CHANGES(flush_)                                                                            \
    "mov %cr3, %rbx\n mov $" TURNS_ASM ", %ecx\n xor %eax, %eax\n mov $0x200000, %esi\n"           \
    "mov $0x13000, %edi\n mov (%rdi), %rdx\n push $0x200000\n push $0\n xor %r8d, %r8d\n"          \
    "1: xor $0x5000, %edx\n mov %rdx, (%rdi)\n" flush_ "\n add (%rsi), %rax\n"                     \
    "dec %ecx\n jnz 1b\n"

GUEST(by_invlpg, 64, CHANGES("invlpg (%rsi)"));
GUEST(by_invpcid, 64, CHANGES("invpcid (%rsp), %r8"));
GUEST(by_cr3, 64, CHANGES("mov %rbx, %cr3"));

static void writable_tables(struct guest *g)
{
    make_other(g);
    put64(g, PT, (DATA | 3) ^ 0x5000);
}

static void flushes_are_seen(void **unused)
{
    static const uint8_t *const code[][2] = {
        {by_invlpg, by_invlpg_end}, {by_invpcid, by_invpcid_end}, {by_cr3, by_cr3_end}};
    struct guest g;

    (void)unused;
    for (unsigned i = 0; i < sizeof code / sizeof *code; i++) {
        run_on_both(&g, code[i][0], code[i][1], writable_tables);
        assert_int_equal(g.s.gpr[RAX], TURNS / 2 * 101);
        assert_true(i == 2 || stats(&g)->native_entries < FEW);
        guest_close(&g);
    }
}

/* --- what is refused --- */

GUEST(bad_cr3, 64,
      "mov %cr3, %rbx\n mov $200, %ecx\n"
      "1: mov %rbx, %cr3\n dec %ecx\n jnz 1b\n"
      "bts $62, %rbx\n mov $1, %ecx\n jmp 1b\n");

static void reserved_bits_fault(void **unused)
{
    struct guest g;

    (void)unused;
    run_on_both(&g, bad_cr3, bad_cr3_end, NULL);
    assert_int_equal(g.s.gpr[RDI], VEC_GP);
    assert_int_equal(g.s.gpr[RCX], 1);
    assert_int_equal(g.s.cr3, PML4);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selectors_are_read_in_line),
        cmocka_unit_test(halves_do_not_share_places),
        cmocka_unit_test(switches_stay_native),
        cmocka_unit_test(a_switch_may_change_the_code_behind_it),
        cmocka_unit_test(flushes_are_seen),
        cmocka_unit_test(reserved_bits_fault),
    };

    if (!engine_find("translate")) {
        printf("SKIP: %s\n", err_text());
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
