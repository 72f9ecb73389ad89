/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User code that runs directly does what the interpreter does: its results, its exceptions, and the
 * first look at what has changed under it.
 */
#include "direct_same.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "cpu/direct/stub.h"

/* --- the same end as the interpreter's --- */

SAME(integers, "mov $0x123456789abcdef, %rax\n mov $77, %ecx\n mul %rcx\n mov %rdx, %rbp\n"
               "std\n lea -1(%rax), %r8\n bswap %r8\n pushf\n pop %r9\n and $0x400cd5, %r9d\n"
               "cld\n mov $0x200000, %edi\n mov $0x1122, %eax\n mov $5000, %ecx\n rep stosq\n"
               "sub $9, %al");
SAME(vectors, "mov $0x3fc0, %r8d\n mov %r8d, 0x200000\n ldmxcsr 0x200000\n"
              "movq %rsp, %xmm3\n cvtsi2sd %rsp, %xmm1\n sqrtsd %xmm1, %xmm2\n"
              "divsd %xmm2, %xmm1\n pshufd $0x1b, %xmm3, %xmm15\n stmxcsr 0x200004\n"
              "mov 0x200004, %r9d");
SAME(old_floats, "movw $0x0c7f, 0x200000\n fldcw 0x200000\n fldpi\n fldl2e\n fyl2x\n fld1\n"
                 "fldz\n fdivrp\n fstpt 0x200010\n fnstsw %ax\n fxch");
SAME(bases, "mov $0x200100, %eax\n wrfsbase %rax\n add $0x100, %eax\n wrgsbase %rax\n"
            "movq $7, 0x200108\n movq $9, 0x200210\n mov %fs:8, %rcx\n mov %gs:0x10, %rdx\n" SHORT
            "rdfsbase %rsi\n rdgsbase %rbp");
SAME(cpuid, "xor %eax, %eax\n cpuid\n mov %ebx, %ebp\n mov %ecx, %r8d\n mov %edx, %r9d\n"
            "mov $1, %eax\n xor %ecx, %ecx\n cpuid\n mov %eax, %r10d\n mov %ecx, %r11d\n"
            "mov %edx, %r12d\n mov $7, %eax\n xor %ecx, %ecx\n cpuid");
SAME(tables, "sgdt 0x200000\n sidt 0x200010\n smsw %eax\n str %ecx\n sldt %edx\n"
             "mov $0x33, %esi\n lsl %esi, %ebp\n mov $0x28, %esi\n lar %esi, %r8d\n"
             "mov $8, %esi\n verr %si\n setz %r9b");
SAME(segments, "mov %ds, %eax\n mov %es, %ecx\n mov %fs, %edx\n mov %gs, %esi\n mov %ss, %ebp\n"
               "mov %cs, %r8d\n mov $0x2b, %r9d\n mov %r9d, %ds\n" SHORT "mov %ds, %r10d");
SAME(invalid, "ud2");
SAME(breakpoint, "int3");
SAME(int_3, ".byte 0xcd, 3");
SAME(overflow, "int $4\n mov $1, %r14d");
SAME(not_allowed, "int $5");
SAME(int_80, "mov $-1, %rax\n int $0x80");
SAME(by_zero, "xor %ecx, %ecx\n div %ecx");
SAME(privileged, "mov %cr3, %rax");
SAME(port, "in $0x60, %al");
SAME(nothing_there, "mov $0x1234567000, %rax\n mov (%rax), %eax");
SAME(upper_half, "mov $-4096, %rax\n mov %eax, (%rax)");
SAME(not_canonical, "mov $0x8000000000000000, %rax\n mov (%rax), %eax");
SAME(jump_away, "mov $0x1234567000, %rax\n jmp *%rax");
SAME(debug, ".byte 0xf1\n nop");
SAME(single_step, "pushf\n orl $0x100, (%rsp)\n popf\n inc %r14d\n inc %r14d");
SAME(single_step_syscall, "pushf\n orl $0x100, (%rsp)\n popf\n syscall");
SAME(float_exception, "movl $0x1d80, 0x200000\n ldmxcsr 0x200000\n xorps %xmm0, %xmm0\n"
                      "divss %xmm0, %xmm0");
SAME(system_call, "mov $7, %eax\n mov $9, %r11d\n syscall");
SAME(far_away, "push $0x33\n lea 1f(%rip), %rax\n push %rax\n lretq\n ud2\n 1: nop");
SAME(restored, "fxsave64 0x200200\n movl $0x5f80, 0x200218\n fxrstor64 0x200200");
SAME(read_bytes, "mov $0x200000, %esi\n lea 0x1000(%rsi), %edi\n mov $0x3000, %ecx\n"
                 "movq $0x5566, (%rsi)\n rep movsb");

static void ends_as_if_interpreted(void **state)
{
    static const struct same all[] = {
        ONE(integers),
        ONE(vectors),
        ONE(old_floats),
        ONE(bases),
        ONE(cpuid),
        ONE(tables),
        ONE(segments),
        ONE(invalid),
        ONE(breakpoint),
        ONE(int_3),
        ONE(overflow),
        ONE(not_allowed),
        ONE(int_80),
        ONE(by_zero),
        ONE(privileged),
        ONE(port),
        ONE(nothing_there),
        ONE(upper_half),
        ONE(not_canonical),
        ONE(jump_away),
        ONE(debug),
        ONE(single_step),
        ONE(single_step_syscall),
        ONE(float_exception),
        ONE(system_call),
        ONE(far_away),
        ONE(restored),
        ONE(read_bytes),
    };
    (void)state;

    all_same(all, sizeof all / sizeof *all);
}

/* --- what changes under it --- */

static void runs(struct guest *g, const uint8_t *code, const uint8_t *end)
{
    direct_open(g, "translate");
    start_at(g, code, end, SPIN);
}

/* Its own function, which gives a number, through the same address. */
GUEST(rewritten, 64,
      LONG "mov $0x201000, %ebx\n movl $0x000000b8, (%rbx)\n movw $0xc300, 4(%rbx)\n"
           "xor %ebp, %ebp\n mov $1, %ecx\n"
           "1: mov %ecx, 1(%rbx)\n call *%rbx\n add %rax, %rbp\n" SHORT
           "call *%rbx\n add %rax, %rbp\n inc %ecx\n cmp $21, %ecx\n jne 1b\n" END);

/* The same by another address of the frame. */
GUEST(rewritten_elsewhere, 64,
      LONG "lea 2f(%rip), %rbx\n int $0x20\n mov $0x201000, %ebx\n mov $0x240000, %edx\n"
           "movl $0x000000b8, (%rdx)\n movw $0xc300, 4(%rdx)\n xor %ebp, %ebp\n mov $1, %ecx\n"
           "1: mov %ecx, 1(%rdx)\n call *%rbx\n add %rax, %rbp\n" SHORT
           "call *%rbx\n add %rax, %rbp\n inc %ecx\n cmp $21, %ecx\n jne 1b\n" END
           "2: movq $0x201007, 0x13200\n invlpg 0x240000\n ret");

static void code_that_is_written_is_seen(void **state)
{
    struct guest g;
    (void)state;

    runs(&g, rewritten, rewritten_end);
    run_to_halt(&g);
    assert_int_equal(g.s.gpr[RDI], VEC_GP);
    assert_int_equal(g.s.gpr[RBP], 2 * 210);
    assert_true(direct_runs(&g) > 0);
    guest_close(&g);
    runs(&g, rewritten_elsewhere, rewritten_elsewhere_end);
    run_to_halt(&g);
    assert_int_equal(g.s.gpr[RBP], 2 * 210);
    assert_true(direct_runs(&g) > 0);
    guest_close(&g);
}

/* Missing pages come, written ones become writable: each once. */
GUEST(page_after_page, 64,
      LONG CALL0(
          "3f") "mov $0x200000, %ebx\n mov $64, %ecx\n xor %ebp, %ebp\n"
                "1: add (%rbx), %rbp\n inc %rbp\n mov %rbp, 8(%rbx)\n" SHORT
                "add $0x1000, %ebx\n dec %ecx\n jnz 1b\n"
                "mov $0x200000, %ebx\n mov $64, %ecx\n 2: add 8(%rbx), %rbp\n add $0x1000, %ebx\n "
                "dec %ecx\n"
                "jnz 2b\n" END
                /* 64 pages: those with an even number are not there, the others read only */
                "3: mov $64, %ecx\n 4: movq $0, 0x13000-8(,%rcx,8)\n dec %ecx\n"
                "mov %ecx, %eax\n shl $12, %eax\n add $0x200005, %eax\n test $1, %ecx\n jz 5f\n"
                "mov %rax, 0x13000(,%rcx,8)\n 5: test %ecx, %ecx\n jnz 4b\n"
                "mov %cr3, %rax\n mov %rax, %cr3\n ret");

static void pages_come_by_faults(void **state)
{
    struct guest g;
    (void)state;

    runs(&g, page_after_page, page_after_page_end);
    run_to_halt(&g);
    assert_int_equal(g.s.gpr[RDI], VEC_GP);
    assert_int_equal(g.s.gpr[RBP], 64 + 64 * 65 / 2);
    assert_int_equal(get64(&g, COUNTS), 64);
    assert_true(g.vcpu->ops->stats(g.vcpu)->direct_faults > 0);
    guest_close(&g);
}

/*
 * A page's frame is one of two in turn, which hold 1 and 2: data is read, code is called. INVLPG
 * tells, or a load of CR3.
 */
#define ALIASES       (PD + 8 * 33) /* of the pages at DATA */
#define CHANGES(tell) CHANGES_AFTER("", "", tell)
#define CHANGES_AFTER(before, reach, tell)                                                         \
    LONG "movl $0x000001b8, 0x202000\n movw $0xc300, 0x202004\n"                                   \
         "movl $0x000002b8, 0x203000\n movw $0xc300, 0x203004\n"                                   \
         "xor %ebp, %ebp\n mov $40, %ecx\n xor %r8d, %r8d\n"                                       \
         "1:" CALL0("3f") before                                                                   \
        "mov $0x210000, %ebx\n movzbl 1(%rbx), %edx\n call *%rbx\n"                                \
        "shl $8, %edx\n or %edx, %eax\n sub %r12d, %eax\n or %eax, %r8d\n" SHORT reach             \
        "movzbl 1(%rbx), %edx\n call *%rbx\n"                                                      \
        "shl $8, %edx\n or %edx, %eax\n sub %r12d, %eax\n or %eax, %r8d\n"                         \
        "add %r12, %rbp\n dec %ecx\n jnz 1b\n" END                                                 \
        "3: mov %ecx, %eax\n and $1, %eax\n imul $0x101, %eax, %r12d\n add "                       \
        "$0x101, %r12d\n"                                                                          \
        "shl $12, %eax\n add $0x202005, %eax\n mov %rax, 0x13080\n " tell "\n ret"
GUEST(changes_invlpg, 64, CHANGES("invlpg 0x210000"));
GUEST(changes_cr3, 64, CHANGES("mov %cr3, %rax\n mov %rax, %cr3"));

/*
 * Another page has taken its place in the TLB meanwhile, 64 MiB away (ALIASES), and the program
 * runs directly again before it looks.
 */
GUEST(changes_outlived, 64,
      CHANGES_AFTER(SHORT, "movzbl 0x4210001, %edi\n", "invlpg 0x210000\n invlpg 0x4210000"));

/* The same by two address spaces, which differ in that page. */
GUEST(changes_space, 64,
      LONG CALL0(
          "5f") "movl $0x000001b8, 0x202000\n movw $0xc300, 0x202004\n"
                "movl $0x000002b8, 0x203000\n movw $0xc300, 0x203004\n"
                "xor %r8d, %r8d\n mov $40, %ecx\n"
                "1:" CALL0(
                    "3f") "mov $0x210000, %ebx\n movzbl 1(%rbx), %edx\n call *%rbx\n"
                          "shl $8, %edx\n or %edx, %eax\n sub %r12d, %eax\n or %eax, %r8d\n"
                          "mov $1000000, %r13d\n 2: imul $3, %r14, %r14\n dec %r13\n jnz 2b\n"
                          "movzbl 1(%rbx), %edx\n call *%rbx\n"
                          "shl $8, %edx\n or %edx, %eax\n sub %r12d, %eax\n or %eax, %r8d\n dec "
                          "%ecx\n jnz 1b\n" END "3: mov %ecx, %eax\n and $1, %eax\n imul $0x101, "
                          "%eax, %r12d\n add $0x101, %r12d\n"
                          "imul $0x9000, %eax, %eax\n add $0x10000, %eax\n mov %rax, %cr3\n ret\n"
                          /* 19000h to 1CFFFh become what 10000h to 13FFFh are */
                          "5: cld\n mov $0x10000, %esi\n mov $0x19000, %edi\n mov $2048, %ecx\n "
                          "rep movsq\n"
                          "addl $0x9000, 0x19000\n addl $0x9000, 0x1a000\n addl $0x9000, 0x1b008\n"
                          "movq $0x202005, 0x13080\n movq $0x203005, 0x1c080\n ret");

static void changed(const uint8_t *code, const uint8_t *end)
{
    struct guest g;

    runs(&g, code, end);
    put64(&g, ALIASES, PT | 7);
    run_to_halt(&g);
    assert_int_equal(g.s.gpr[RDI], VEC_GP);
    assert_int_equal(g.s.gpr[RCX], 0);
    assert_int_equal(g.s.gpr[R8], 0);
    assert_true(direct_runs(&g) > 0);
    guest_close(&g);
}

static void changed_mappings_are_seen(void **state)
{
    (void)state;
    changed(changes_invlpg, changes_invlpg_end);
    changed(changes_cr3, changes_cr3_end);
    changed(changes_outlived, changes_outlived_end);
}

static void changed_spaces_are_seen(void **state)
{
    (void)state;
    changed(changes_space, changes_space_end);
}

/* --- from outside --- */

struct outside {
    struct guest *g;
    void (*act)(struct outside *o);
    atomic_bool done;
    unsigned acts;
};

static void *act_until_done(void *arg)
{
    struct outside *o = arg;

    while (!atomic_load(&o->done)) {
        usleep(1000);
        o->act(o);
    }
    return NULL;
}

static void with_outside(struct outside *o, pthread_t *thread)
{
    assert_int_equal(pthread_create(thread, NULL, act_until_done, o), 0);
}

static void without(struct outside *o, pthread_t thread)
{
    atomic_store(&o->done, true);
    pthread_join(thread, NULL);
}

GUEST(for_ever, 64, "1: inc %rax\n cmp %rax, 0x200000\n jne 1b\n cmpq $0, 0x30008\n je 1b\n" END);

static void kick(struct outside *o)
{
    o->g->vcpu->ops->kick(o->g->vcpu);
}

static void a_kick_ends_it(void **state)
{
    struct guest g;
    struct outside o = {.g = &g, .act = kick};
    pthread_t thread;
    uint64_t before = 0;
    (void)state;

    runs(&g, for_ever, for_ever_end);
    put64(&g, DATA, UINT64_MAX);
    with_outside(&o, &thread);
    while (direct_runs(&g) < 50) {
        assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_KICKED);
        g.vcpu->ops->get_state(g.vcpu, &g.s);
        assert_true(g.s.gpr[RAX] >= before);
        before = g.s.gpr[RAX];
    }
    without(&o, thread);
    guest_close(&g);
}

static void raise_irq(struct outside *o)
{
    o->g->vcpu->ops->set_irq(o->g->vcpu, true);
}

static int take_irq(void *arg)
{
    struct guest *g = arg;

    g->vcpu->ops->set_irq(g->vcpu, false);
    return VEC_IRQ;
}

/* It ends when the handler has counted to a hundred. */
GUEST(counts_interrupts, 64, LONG "1: inc %rax\n cmpq $100, 0x30008\n jb 1b\n" END);

static void interrupts_are_taken(void **state)
{
    struct guest g;
    struct outside o = {.g = &g, .act = raise_irq};
    pthread_t thread;
    (void)state;

    runs(&g, counts_interrupts, counts_interrupts_end);
    g.bus.irq_ack = take_irq;
    with_outside(&o, &thread);
    run_to_halt(&g);
    without(&o, thread);
    assert_int_equal(g.s.gpr[RDI], VEC_GP);
    assert_true(get64(&g, COUNTS + 8) >= 100);
    assert_true(direct_runs(&g) > 0);
    guest_close(&g);
}

/* If one is at work. */
static void end_one(struct outside *o)
{
    if (direct_runs(o->g) < 3)
        kick(o);
    else
        o->acts += end_stubs();
}

static void its_end_from_outside_is_an_error(void **state)
{
    struct guest g;
    struct outside o = {.g = &g, .act = end_one};
    enum engine_exit exit;
    pthread_t thread;
    (void)state;

    runs(&g, for_ever, for_ever_end);
    put64(&g, DATA, UINT64_MAX);
    with_outside(&o, &thread);
    do
        exit = g.vcpu->ops->run(g.vcpu);
    while (exit == ENGINE_EXIT_KICKED);
    without(&o, thread);
    assert_int_equal(exit, ENGINE_EXIT_HOST_ERROR);
    assert_true(o.acts > 0);
    assert_non_null(strstr(err_text(), "the process that runs guest code was ended by signal 9"));
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_as_if_interpreted),
        cmocka_unit_test(code_that_is_written_is_seen),
        cmocka_unit_test(pages_come_by_faults),
        cmocka_unit_test(changed_mappings_are_seen),
        cmocka_unit_test(changed_spaces_are_seen),
        cmocka_unit_test(a_kick_ends_it),
        cmocka_unit_test(interrupts_are_taken),
        cmocka_unit_test(its_end_from_outside_is_an_error),
    };
    int skipped = direct_is_skipped();

    return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
