/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IRETQ in native code: that it is there, events that wait behind it, address spaces that change
 * before it.
 */
#include "iret_guest.h"

/* The first instruction behind the frame is not executed. */
static void an_interrupt_is_taken_behind_it(void **unused)
{
    struct guest g[2];

    (void)unused;
    for (unsigned level = 0; level <= 3; level += 3) {
        open_both(g, level);
        for (unsigned n = 0; n < 2; n++) {
            put64(&g[n], CHANGE_AT, DEVICE);
            put64(&g[n], CHANGE + 8, 1);
            assert_int_equal(run_loop(&g[n], TIMES), ENGINE_EXIT_HALTED);
        }
        assert_int_equal(g[1].s.gpr[RDI], 0);
        assert_int_equal(get64(&g[1], LANDINGS), TIMES - 1);
        same_state(&g[0], &g[1]);
        close_both(g);
    }
}

/* Each NMI's handler returns by one, so that the next is taken. */
static void it_ends_the_blocking_of_nmis(void **unused)
{
    struct guest g[2];

    (void)unused;
    open_both(g, 3);
    for (unsigned n = 0; n < 2; n++) {
        put64(&g[n], CHANGE_AT, DEVICE);
        put64(&g[n], CHANGE, 2);
        put64(&g[n], CHANGE + 8, 2);
        assert_int_equal(run_loop(&g[n], TIMES), ENGINE_EXIT_HALTED);
    }
    assert_int_equal(get64(&g[1], NMIS), TIMES);
    assert_false(g[1].s.nmi_blocked);
    same_state(&g[0], &g[1]);
    close_both(g);
}

/* --- in line --- */

/* RDX: SS of a frame to level 0. */
GUEST(to_itself, 64,
      "mov $1000, %ecx\n lea 2f(%rip), %rsi\n"
      "1: mov %rsp, %rax\n push %rdx\n push %rax\n pushfq\n pushq $8\n push %rsi\n iretq\n"
      "2: dec %ecx\n jnz 1b");

/* R8: program, which is in another page; it comes back to program_calls. */
GUEST(to_program, 64,
      "mov $1000, %ebp\n mov $0x18f800, %esp\n"
      "1: pushq $0x2b\n pushq $0x201800\n pushq $0x202\n pushq $0x33\n push %r8\n iretq\n"
      "program_calls: dec %ebp\n jnz 1b");
GUEST(program, 64, "syscall");
extern const uint8_t program_calls[];

static uint64_t entries(const struct guest *g)
{
    return g->vcpu->ops->stats(g->vcpu)->native_entries;
}

static void usual_frames_stay_native(void **unused)
{
    struct guest g;

    (void)unused;
    for (unsigned ss = 0; ss <= SS_KERNEL; ss += SS_KERNEL) {
        open_on(&g, "translate", 0);
        g.s.gpr[RDX] = ss;
        RUN(&g, to_itself);
        assert_int_equal(g.s.gpr[RCX], 0);
        assert_int_equal(g.s.seg[SEG_SS].selector, ss);
        assert_true(entries(&g) < 100);
        guest_close(&g);
    }
    open_on(&g, "translate", 3);
    for (unsigned n = 0; n < SEG_COUNT; n++)
        if (n != SEG_CS && n != SEG_SS)
            g.s.seg[n] = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE};
    g.s.efer |= EFER_SCE;
    g.s.star = UINT64_C(0x0020000800000000);
    g.s.sfmask = 0x300;
    g.s.lstar = CODE + (uint64_t)(program_calls - to_program);
    g.s.gpr[R8] = LAND;
    put_code(&g, LAND, program, program_end);
    RUN(&g, to_program);
    assert_int_equal(g.s.gpr[RBP], 0);
    assert_true(entries(&g) < 100);
    guest_close(&g);
}

/* --- address spaces --- */

#define HIGH   UINT64_C(0xffffffff80000000)
#define TABLES 0x17000u
#define OTHER  0x400000u /* what the second space has at 0 */

/* R12, R13: CR3 in turns; R14: stack. RBX: what was met. */
GUEST(to_spaces, 64,
      "mov $400, %ebp\n"
      "1: mov %r12, %rdx\n test $16, %ebp\n cmovz %r13, %rdx\n mov %rdx, %cr3\n mov %r14, %rsp\n"
      "pushq $0x2b\n pushq $0x201800\n pushq $2\n pushq $0x33\n push %r8\n iretq\n"
      "spaces_call: imul $3, %rbx\n add %rax, %rbx\n dec %ebp\n jnz 1b");
GUEST(first, 64, "mov $1, %eax\n syscall");
GUEST(second, 64, "mov $2, %eax\n syscall");
extern const uint8_t spaces_call[];

/* Under SMAP the kernel's window is the same for all, whose windows of programs come and go. */
static void each_space_has_its_own_program(void **unused)
{
    struct guest g[2];

    (void)unused;
    open_both(g, 3);
    for (unsigned n = 0; n < 2; n++) {
        put64(&g[n], PML4 + 8 * 511, (TABLES + 0x3000) | 3);
        put64(&g[n], TABLES, (TABLES + 0x1000) | 7);
        put64(&g[n], TABLES + 8 * 511, (TABLES + 0x3000) | 3);
        put64(&g[n], TABLES + 0x1000, (TABLES + 0x2000) | 7);
        put64(&g[n], TABLES + 0x2000, OTHER | 0x87);
        put64(&g[n], TABLES + 0x3000 + 8 * 510, (TABLES + 0x4000) | 3);
        put64(&g[n], TABLES + 0x4000, 0x183); /* global */
        put_code(&g[n], CODE, to_spaces, to_spaces_end);
        put_code(&g[n], LAND, first, first_end);
        put_code(&g[n], OTHER + LAND, second, second_end);
        for (unsigned i = 0; i < SEG_COUNT; i++)
            if (i != SEG_CS && i != SEG_SS)
                g[n].s.seg[i] = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE};
        g[n].s.cr4 |= CR4_PGE | CR4_SMAP;
        g[n].s.efer |= EFER_SCE;
        g[n].s.star = UINT64_C(0x0020000800000000);
        g[n].s.lstar = HIGH + CODE + (uint64_t)(spaces_call - to_spaces);
        g[n].s.gdtr.base = HIGH + GDT;
        g[n].s.gpr[R8] = LAND;
        g[n].s.gpr[R12] = PML4;
        g[n].s.gpr[R13] = TABLES;
        g[n].s.gpr[R14] = HIGH + KERNEL;
        g[n].s.rip = HIGH + CODE;
        g[n].vcpu->ops->set_state(g[n].vcpu, &g[n].s);
        assert_int_equal(g[n].vcpu->ops->run(g[n].vcpu), ENGINE_EXIT_HALTED);
        g[n].vcpu->ops->get_state(g[n].vcpu, &g[n].s);
    }
    assert_int_equal(g[1].s.gpr[RBP], 0);
    same_state(&g[0], &g[1]);
    close_both(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_frames_stay_native),
        cmocka_unit_test(an_interrupt_is_taken_behind_it),
        cmocka_unit_test(it_ends_the_blocking_of_nmis),
        cmocka_unit_test(each_space_has_its_own_program),
    };

    if (!engine_find("translate")) {
        printf("SKIP: %s\n", err_text());
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
