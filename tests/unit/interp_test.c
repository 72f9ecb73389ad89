/* SPDX-License-Identifier: Apache-2.0 */
/* The interp engine: instructions, modes, faults, budgets, devices, kicks. */
#include <pthread.h>
#include <time.h>

#include "interp_guest.h"

/* --- arithmetic --- */

GUEST(alu64, 64,
      "mov $5, %eax; mov $7, %ecx; add %rcx, %rax; lea (%rax,%rcx,4), %rdx; sub $50, %rax\n"
      "sbb %rbx, %rbx; mov $-1, %rsi; mov $1, %edi; add %rdi, %rsi; setc %r8b; adc $0, %r9\n"
      "mov $0x123456789abcdef0, %r10; bswap %r10; popcnt %r10, %r11; imul $3, %rcx, %r12\n"
      "mov $100, %eax; cqo; mov $7, %r13d; div %r13; mov %rdx, %r14; xchg %rax, %r15");

static void test_alu64(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 64);
    g.s.gpr[R8] = g.s.gpr[R9] = 0;
    RUN(&g, alu64);
    assert_int_equal(g.s.gpr[RBX], UINT64_MAX);
    assert_int_equal(g.s.gpr[RDX], 2);
    assert_int_equal(g.s.gpr[RSI], 0);
    assert_int_equal(g.s.gpr[R8], 1);
    assert_int_equal(g.s.gpr[R9], 1);
    assert_int_equal(g.s.gpr[R10], UINT64_C(0xf0debc9a78563412));
    assert_int_equal(g.s.gpr[R11], 32);
    assert_int_equal(g.s.gpr[R12], 21);
    assert_int_equal(g.s.gpr[R14], 2);
    assert_int_equal(g.s.gpr[R15], 14);
    guest_close(&g);
}

GUEST(calls64, 64,
      "xor %eax, %eax; mov $1000, %ecx\n"
      "1: call 2f; dec %ecx; jnz 1b; jmp 3f\n"
      "2: push %rcx; add %rcx, %rax; pop %rdx; ret\n"
      "3:");

static void test_calls64(void **state)
{
    struct guest g;
    uint64_t before;
    (void)state;

    guest_open(&g, 64);
    before = g.vcpu->ops->instructions(g.vcpu);
    RUN(&g, calls64);
    assert_int_equal(g.s.gpr[RAX], 500500);
    assert_int_equal(g.s.gpr[RSP], STACK);
    assert_int_equal(g.vcpu->ops->instructions(g.vcpu) - before, 2 + 1000 * 7 + 2);
    guest_close(&g);
}

/* A budget of any size stops without changing what is computed or counted. */
static void test_budget(void **state)
{
    (void)state;

    for (uint64_t budget = 1; budget < 100; budget += 7) {
        struct guest g;

        guest_open(&g, 64);
        g.budget = budget;
        RUN(&g, calls64);
        assert_int_equal(g.s.gpr[RAX], 500500);
        assert_int_equal(g.vcpu->ops->instructions(g.vcpu), 2 + 1000 * 7 + 2);
        guest_close(&g);
    }
}

GUEST(flat32, 32,
      "mov $10, %ecx; xor %eax, %eax\n"
      "1: add %ecx, %eax; loop 1b\n"
      "pusha; popa; push %eax; mov $0x200000, %ebx; pop (%ebx); bts $35, (%ebx); mov (%ebx), %edx\n"
      "mov $0x12345678, %esi; mov %si, 8(%ebx); movsbl 8(%ebx), %edi; call 2f\n"
      "2: pop %ebp; aam; enter $16, $1; leave");

static void test_flat32(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 32);
    RUN(&g, flat32);
    assert_int_equal(g.s.gpr[RDX], 55 | 8);
    assert_int_equal(g.s.gpr[RDI], 0x78);
    assert_int_equal(g.s.gpr[RAX], 0x0505);
    assert_int_equal(g.s.gpr[RSP], STACK);
    assert_true(g.s.gpr[RBP] > CODE && g.s.gpr[RBP] < CODE + 0x100);
    guest_close(&g);
}

/* --- strings and faults --- */

GUEST(repmovs64, 64, "rep movsb");
GUEST(repstos64, 64, "rep stosq");
GUEST(repescas64, 64, "repne scasb");
GUEST(overlap64, 64,
      "mov $0x200000, %esi; lea 1(%rsi), %rdi; movb $7, (%rsi); mov $5000, %ecx; rep movsb");

static void test_rep_copies_pages(void **state)
{
    struct guest g;
    uint8_t buf[9000], out[9000];
    (void)state;

    guest_open(&g, 64);
    for (unsigned i = 0; i < sizeof buf; i++)
        buf[i] = (uint8_t)(i * 7 + i / 256);
    assert_true(mem_write(g.mem, gpa_make(DATA + 100), buf, sizeof buf));
    g.s.gpr[RSI] = DATA + 100;
    g.s.gpr[RDI] = DATA + 0x8123;
    g.s.gpr[RCX] = sizeof buf;
    RUN(&g, repmovs64);
    assert_true(mem_read(g.mem, gpa_make(DATA + 0x8123), out, sizeof out));
    assert_memory_equal(buf, out, sizeof buf);
    assert_int_equal(g.s.gpr[RCX], 0);
    assert_int_equal(g.s.gpr[RSI], DATA + 100 + sizeof buf);
    RUN(&g, overlap64);
    assert_true(mem_read(g.mem, gpa_make(DATA), out, 5001));
    for (unsigned i = 0; i < 5001; i++)
        assert_int_equal(out[i], 7);
    g.s.gpr[RDI] = DATA;
    g.s.gpr[RCX] = 10000;
    g.s.gpr[RAX] = buf[0];
    put64(&g, DATA + 5001, 0);
    RUN(&g, repescas64);
    assert_int_equal(g.s.gpr[RDI], DATA + 5002);
    guest_close(&g);
}

/*
 * The third page is not present: two pages are stored, then #PF with the registers of whole
 * iterations.
 */
static void test_rep_fault_in_the_middle(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 64);
    put64(&g, PT + 8 * 2, 0);
    g.s.gpr[RDI] = DATA + 4;
    g.s.gpr[RCX] = 2000;
    g.s.gpr[RAX] = UINT64_C(0x5555555555555555);
    g.s.gpr[RDX] = 0;
    RUN(&g, repstos64);
    assert_int_equal(g.s.gpr[RDI], VEC_PF);
    assert_int_equal(g.s.gpr[RSI], 2);
    assert_int_equal(g.s.gpr[RCX], 2000 - 1023);
    assert_int_equal(g.s.cr2, DATA + 0x2000);
    assert_int_equal(get64(&g, DATA + 0x1ff4), UINT64_C(0x5555555555555555));
    assert_int_equal(get64(&g, DATA + 0x1ffc) >> 32, 0);
    /* RIP on the stack is the instruction itself. */
    assert_int_equal(get64(&g, g.s.gpr[RSP]), CODE);
    guest_close(&g);
}

GUEST(div0_64, 64, "xor %ecx, %ecx; mov $1, %eax; xor %edx, %edx; nop; div %rcx");
GUEST(noncanonical64, 64, "mov $0x8000000000000000, %rax; mov (%rax), %rbx");
GUEST(badop64, 64, "ud2");

static void test_faults(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 64);
    RUN(&g, div0_64);
    assert_int_equal(g.s.gpr[RDI], VEC_DE);
    RUN(&g, noncanonical64);
    assert_int_equal(g.s.gpr[RDI], VEC_GP);
    assert_int_equal(g.s.gpr[RSI], 0);
    RUN(&g, badop64);
    assert_int_equal(g.s.gpr[RDI], VEC_UD);
    guest_close(&g);
}

/* --- devices, alignment, kicks --- */

GUEST(device32, 32,
      "mov $0xd0000000, %ebx; mov 4(%ebx), %eax; movb 7(%ebx), %cl; mov %eax, (%ebx)");

static void test_device(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 32);
    g.s.gpr[RCX] = 0;
    RUN(&g, device32);
    assert_int_equal(g.s.gpr[RAX], 0xd0000004 + 4);
    assert_int_equal(g.s.gpr[RCX], 8);
    assert_int_equal(g.vcpu->ops->stats(g.vcpu)->exits_mmio_write, 1);
    guest_close(&g);
}

GUEST(forever64, 64, "1: jmp 1b");

static void *kick_soon(void *arg)
{
    struct vcpu *vcpu = arg;

    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    vcpu->ops->kick(vcpu);
    return NULL;
}

static void test_kick(void **state)
{
    struct guest g;
    pthread_t thread;
    (void)state;

    guest_open(&g, 64);
    g.budget = UINT64_MAX;
    assert_true(mem_write(g.mem, gpa_make(CODE), forever64, (size_t)(forever64_end - forever64)));
    g.vcpu->ops->set_state(g.vcpu, &g.s);
    assert_int_equal(pthread_create(&thread, NULL, kick_soon, g.vcpu), 0);
    assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_KICKED);
    pthread_join(thread, NULL);
    guest_close(&g);
}

/* --- 16-bit: a limited CS --- */

GUEST(real16, 16, "mov $1000, %cx; xor %ax, %ax\n1: add %cx, %ax; loop 1b; push %ax; pop %bx");

static void test_real_mode(void **state)
{
    struct guest g;
    (void)state;

    guest_open(&g, 32);
    g.s.cr0 &= ~(uint64_t)CR0_PE;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        g.s.seg[i] =
            (struct x86_segment){.base = 0x8000, .limit = 0xffff, .attr = 0x93, .selector = 0x800};
    g.s.gpr[RSP] = 0x4000;
    assert_true(mem_write(g.mem, gpa_make(0x8100), real16, (size_t)(real16_end - real16)));
    g.s.rip = 0x100;
    g.vcpu->ops->set_state(g.vcpu, &g.s);
    assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_HALTED);
    g.vcpu->ops->get_state(g.vcpu, &g.s);
    assert_int_equal(g.s.gpr[RBX] & 0xffff, 500500 & 0xffff);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alu64),
        cmocka_unit_test(test_calls64),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_flat32),
        cmocka_unit_test(test_rep_copies_pages),
        cmocka_unit_test(test_rep_fault_in_the_middle),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_kick),
        cmocka_unit_test(test_real_mode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
