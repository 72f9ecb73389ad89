/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs and kernels that are after the borders of direct execution: flags that ptrace does not
 * give, TF before anything that ends a run, addresses that are none, code between instructions,
 * control registers that change what code means, a host that refuses.
 */
#include "direct_same.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "cpu/direct/stub.h"

/* With pages that the stub has: 200000h, 280000h, the stack. */
#define PAGES "movq $0, 0x200000\n movq $0, 0x280000\n push %rax\n pop %rax\n" SHORT

/* RFLAGS.ID of a program is there before the stub is. */
#define WAIT_LONG "mov $2000000, %r13d\n 773: imul $5, %rax, %rax\n dec %r13\n jnz 773b\n"
SAME(id_flag, "pushf\n orl $0x200000, (%rsp)\n popf\n" WAIT_LONG "pushf\n pop %r9\n"
              "and $0x200000, %r9d\n xor %eax, %eax");
SAME(id_flag_goes, "pushf\n orl $0x200000, (%rsp)\n popf\n" SHORT
                   "pushf\n andl $~0x200000, (%rsp)\n popf\n cpuid\n xor %eax, %eax\n"
                   "xor %edx, %edx\n xor %ecx, %ecx\n xor %ebx, %ebx\n" SHORT
                   "pushf\n pop %r9\n and $0x200000, %r9d");
SAME(flags_that_stay, PAGES "pushf\n orl $0x1bb000, (%rsp)\n andl $~0x200, (%rsp)\n popf\n"
                            "pushf\n pop %rbp");
SAME(nested, PAGES "pushf\n orl $0x4000, (%rsp)\n popf\n mov 0x200001, %rax\n mov $7, %ebp");
SAME(aligned, PAGES "pushf\n orl $0x40000, (%rsp)\n popf\n mov 0x200001, %rax\n mov $7, %ebp");
SAME(steps_cpuid, PAGES "pushf\n orl $0x100, (%rsp)\n popf\n cpuid");
SAME(steps_nowhere, PAGES "pushf\n orl $0x100, (%rsp)\n mov $0x1234567000, %rax\n popf\n"
                          "mov (%rax), %eax");
SAME(steps_new_page, PAGES "pushf\n orl $0x100, (%rsp)\n mov $0x290000, %eax\n popf\n"
                           "mov (%rax), %ebx");
SAME(steps_string, PAGES "pushf\n orl $0x100, (%rsp)\n mov $0x280000, %edi\n mov $3, %ecx\n"
                         "popf\n rep stosb\n nop");
/* Until the outer loop's next turn finds it. */
SAME(steps_after_fault, "jmp 8f\n 9: movq $0, 0x13080\n invlpg 0x210000\n ret\n 8:" CALL0(
                            "9b") "mov 0x210000, %rax\n push %rax\n pop %rax\n"
                                  "mov $12000000, %r13d\n 7: dec %r13\n jnz 7b\n"
                                  "pushf\n orl $0x100, (%rsp)\n popf\n inc %r14d\n inc %r14d");
SAME(jumps_nowhere, "mov $0x800000000000, %rax\n jmp *%rax");
SAME(calls_nowhere, "mov $0x8000000000000000, %rax\n call *%rax");
SAME(returns_nowhere, PAGES "mov $0x800000000000, %rax\n push %rax\n ret");
SAME(stack_nowhere, "mov $0x800000000000, %rsp\n push %rax");
SAME(frame_nowhere, "mov $0x800000000000, %rbp\n mov (%rbp), %rax");
SAME(end_of_half, "mov $0x7ffffffffffd, %rax\n mov (%rax), %rcx");
SAME(old_time, "mov $0xffffffffff600000, %rax\n jmp *%rax");
SAME(old_time_no_stack, "mov $0xffffffffff600400, %rax\n mov $0x77777777, %rsp\n jmp *%rax");
SAME(base_above, "mov $0xffff888000000000, %rax\n wrfsbase %rax\n" SHORT "rdfsbase %rcx");
SAME(base_nowhere, "mov $0x888000000000, %rax\n wrfsbase %rax\n" SHORT "rdfsbase %rcx");
SAME(hidden_syscall, "mov $-1, %rax\n jmp 1f + 1\n 1: .byte 0xb8, 0x0f, 0x05, 0x90, 0x90");
SAME(syscall_with_prefix, "mov $-1, %rax\n .byte 0x66, 0x48, 0x0f, 0x05");
SAME(float_that_waits, PAGES "movw $0x0360, 0x200000\n fldcw 0x200000\n fld1\n fldz\n"
                             "fdivrp\n" SHORT "fld1");
SAME(pairs_not_aligned, PAGES "mov $0x280001, %ebx\n lock cmpxchg16b (%rbx)");
SAME(too_long, PAGES ".skip 15, 0x66\n .byte 0x90");
SAME(nested_frames, PAGES "mov $0x280010, %rsp\n mov $0x280100, %rbp\n enter $16, $5\n leave");
SAME(selectors_are_stored, PAGES "mov %ss, 0x280000\n mov %cs, 0x280002\n push %fs\n"
                                 "push %gs\n pop %rcx\n pop %rdx");

static void ends_as_if_interpreted(void **state)
{
    static const struct same all[] = {
        ONE(id_flag),
        ONE(id_flag_goes),
        ONE(flags_that_stay),
        ONE(nested),
        ONE(aligned),
        ONE(steps_cpuid),
        ONE(steps_nowhere),
        ONE(steps_new_page),
        ONE(steps_string),
        ONE(steps_after_fault),
        ONE(jumps_nowhere),
        ONE(calls_nowhere),
        ONE(returns_nowhere),
        ONE(stack_nowhere),
        ONE(frame_nowhere),
        ONE(end_of_half),
        ONE(old_time),
        ONE(old_time_no_stack),
        ONE(base_above),
        ONE(base_nowhere),
        ONE(hidden_syscall),
        ONE(syscall_with_prefix),
        ONE(float_that_waits),
        ONE(pairs_not_aligned),
        ONE(too_long),
        ONE(nested_frames),
        ONE(selectors_are_stored),
    };
    (void)state;

    all_same(all, sizeof all / sizeof *all);
}

static void runs(struct guest *g, const uint8_t *code, const uint8_t *end)
{
    direct_open(g, "translate");
    start_at(g, code, end, SPIN);
}

/* Misaligned operands, which AMD's CPUs let programs choose in MXCSR; others refuse at once. */
GUEST(own_mxcsr, 64, LONG PAGES "movl $0x21f80, 0x200000\n ldmxcsr 0x200000\n" SHORT END);

static void mxcsr_is_the_guests(void **state)
{
    struct guest g;
    uint32_t mxcsr;
    (void)state;

    runs(&g, own_mxcsr, own_mxcsr_end);
    run_to_halt(&g);
    memcpy(&mxcsr, g.s.fpu + 24, sizeof mxcsr);
    assert_int_equal(g.s.gpr[RDI], VEC_GP);
    assert_int_equal(mxcsr, 0x1f80);
    assert_true(direct_runs(&g) > 0);
    guest_close(&g);
}

/* The kernel takes CR4.FSGSBASE away from code that has run with it. */
GUEST(bases_go, 64,
      LONG "rdfsbase %rax\n" SHORT CALL0("1f") SHORT
      "mov $1, %ebp\n 2: rdfsbase %rax\n" END
      "1: mov %cr4, %rax\n btr $16, %rax\n mov %rax, %cr4\n ret");

static void code_follows_control_registers(void **state)
{
    struct guest g;
    (void)state;

    runs(&g, bases_go, bases_go_end);
    run_to_halt(&g);
    assert_int_equal(g.s.gpr[RBP], 1);
    assert_int_equal(g.s.gpr[RDI], VEC_UD);
    assert_true(direct_runs(&g) > 0);
    guest_close(&g);
}

/* --- a host that refuses --- */

/* It ends when the word is no longer 0. */
GUEST(waits, 64, LONG "xor %eax, %eax\n 1: inc %rax\n cmpq $0, 0x200000\n je 1b\n" END);

struct bell {
    struct guest *g;
    atomic_bool over;
};

static void *ring(void *arg)
{
    struct bell *bell = arg;

    while (!atomic_load(&bell->over)) {
        usleep(20000); /* a view is hot when it ran long without a kick */
        bell->g->vcpu->ops->kick(bell->g->vcpu);
    }
    return NULL;
}

static void until_runs(struct guest *g, uint64_t runs)
{
    while (direct_runs(g) < runs)
        assert_int_equal(g->vcpu->ops->run(g->vcpu), ENGINE_EXIT_KICKED);
}

/*
 * Stubs are ended while the guest does not run: nothing of it is lost, and it goes on. Each view
 * is another one, with a new stub also where there have been more views than stubs.
 */
static void it_goes_on_without(void **state)
{
    struct guest g;
    struct bell bell = {.g = &g};
    struct x86_state user;
    uint64_t runs_before;
    pthread_t thread;
    (void)state;

    runs(&g, waits, waits_end);
    user = g.s;
    assert_int_equal(pthread_create(&thread, NULL, ring, &bell), 0);
    for (unsigned view = 0; view < 6; view++) {
        put64(&g, DATA, 0);
        g.s = user;
        start_at(&g, waits, waits_end, SPIN);
        until_runs(&g, direct_runs(&g) + 3);
        runs_before = direct_runs(&g);
        assert_true(end_stubs() > 0);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_KICKED);
        assert_int_equal(direct_runs(&g), runs_before);
        put64(&g, DATA, 1);
        run_to_halt(&g);
        assert_int_equal(g.s.gpr[RDI], VEC_GP);
    }
    atomic_store(&bell.over, true);
    pthread_join(thread, NULL);
    guest_close(&g);
}

/* No process can be made. */
static void it_goes_on_where_none_can_be_made(void **state)
{
    struct rlimit before, none;
    struct guest g;
    (void)state;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    runs(&g, own_mxcsr, own_mxcsr_end);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    run_to_halt(&g);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(g.s.gpr[RDI], VEC_GP);
    assert_int_equal(direct_runs(&g), 0);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_as_if_interpreted),
        cmocka_unit_test(mxcsr_is_the_guests),
        cmocka_unit_test(code_follows_control_registers),
        cmocka_unit_test(it_goes_on_without),
        cmocka_unit_test(it_goes_on_where_none_can_be_made),
    };
    int skipped = direct_is_skipped();

    return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
