/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interp engine without a machine: short pieces of machine code in guest memory, 32-bit with paging off and
 * 64-bit with identity-mapped 2 MiB pages. The host's assembler makes the code.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "cpu/engine.h"

#define MEM_BYTES  (UINT64_C(8) << 20)
#define CODE       0x100000u
#define DATA       0x200000u
#define STACK      0x300000u
#define PML4       0x10000u
#define PDPT       0x11000u
#define PD         0x12000u
#define PT         0x13000u
#define IDT        0x14000u
#define GDT        0x15000u
#define FAULT_CODE 0x16000u

/* Guest code: GUEST(name, bits, "asm") defines name and name_end. */
#define GUEST(name, bits, text)                                                                    \
    extern const uint8_t name[], name##_end[];                                                     \
    __asm__(".pushsection .rodata\n.code" #bits "\n" #name ":\n" text "\nhlt\n" #name              \
            "_end:\n.code64\n.popsection\n")

struct guest {
    struct guest_mem *mem;
    struct vcpu *vcpu;
    struct cpu_bus bus;
    struct x86_state s;
    uint64_t budget;
};

static uint64_t bus_poll(void *arg)
{
    return ((struct guest *)arg)->budget;
}

static int bus_irq_ack(void *arg)
{
    (void)arg;
    return -1;
}

static uint64_t bus_mmio_read(void *arg, gpa_t gpa, unsigned bytes)
{
    (void)arg;
    return gpa.v + bytes;
}

static void bus_mmio_write(void *arg, gpa_t gpa, unsigned bytes, uint64_t value)
{
    (void)arg;
    (void)gpa;
    (void)bytes;
    (void)value;
}

static void put64(struct guest *g, uint64_t gpa, uint64_t v)
{
    assert_true(mem_write(g->mem, gpa_make(gpa), &v, sizeof v));
}

static uint64_t get64(struct guest *g, uint64_t gpa)
{
    uint64_t v;

    assert_true(mem_read(g->mem, gpa_make(gpa), &v, sizeof v));
    return v;
}

static struct x86_segment segment(uint16_t selector, uint32_t attr)
{
    return (struct x86_segment){.limit = 0xffffffff, .attr = attr, .selector = selector};
}

static void set_segments(struct x86_state *s, uint32_t code_attr)
{
    for (unsigned i = 0; i < SEG_COUNT; i++)
        s->seg[i] = segment(16, 0xc093);
    s->seg[SEG_CS] = segment(8, code_attr);
    s->tr = segment(24, 0x008b);
    s->ldtr.attr = SEG_ATTR_UNUSABLE;
}

/* A 64-bit guest: 0..8 MiB identity-mapped, the 2 MiB at DATA through 4 KiB pages so that tests can unmap some. */
static void make_tables(struct guest *g)
{
    put64(g, PML4, PDPT | 3);
    put64(g, PDPT, PD | 3);
    for (unsigned i = 0; i < 4; i++)
        put64(g, PD + 8 * i, i * 0x200000u | 0x83);
    put64(g, PD + 8, PT | 3);
    for (unsigned i = 0; i < 512; i++)
        put64(g, PT + 8 * i, (DATA + i * 0x1000u) | 3);
}

/* Every exception ends at a HLT with the vector in RDI and the error code (or 0) in RSI. */
static void make_idt(struct guest *g)
{
    put64(g, GDT + 8, UINT64_C(0x00af9b000000ffff));
    put64(g, GDT + 16, UINT64_C(0x00cf93000000ffff));
    for (unsigned v = 0; v < 32; v++) {
        bool has_error = v == 8 || (v >= 10 && v <= 14) || v == 17;
        uint64_t at = FAULT_CODE + v * 16;
        uint8_t code[16] = {0xbf, (uint8_t)v, 0, 0, 0, 0x31, 0xf6, 0xf4};

        if (has_error) {
            code[5] = 0x5e;
            code[6] = 0xf4;
        }
        assert_true(mem_write(g->mem, gpa_make(at), code, sizeof code));
        put64(g, IDT + v * 16, (at & 0xffff) | 8u << 16 | UINT64_C(0x8e00) << 32 | (at >> 16) << 48);
        put64(g, IDT + v * 16 + 8, 0);
    }
    g->s.idtr = (struct x86_table){IDT, 32 * 16 - 1};
    g->s.gdtr = (struct x86_table){GDT, 23};
}

static void guest_open(struct guest *g, unsigned bits)
{
    struct vcpu_config config = {.bus = &g->bus, .tsc_khz = 1000000};

    memset(g, 0, sizeof *g);
    g->budget = 1000000;
    g->bus = (struct cpu_bus){.arg = g, .poll_arg = g, .poll = bus_poll, .irq_ack = bus_irq_ack,
                              .mmio_read = bus_mmio_read, .mmio_write = bus_mmio_write};
    assert_int_equal(mem_create(&g->mem, MEM_BYTES), ERR_OK);
    config.mem = g->mem;
    assert_int_equal(engine_find("interp")->create(&g->vcpu, &config), ERR_OK);
    x86_state_reset(&g->s);
    g->s.rip = CODE;
    g->s.gpr[RSP] = STACK;
    g->s.rflags = RFLAGS_ONE;
    g->s.cr0 = CR0_PE | CR0_ET | CR0_NE;
    set_segments(&g->s, 0xc09b);
    if (bits == 64) {
        set_segments(&g->s, 0xa09b);
        make_tables(g);
        make_idt(g);
        g->s.cr0 |= CR0_PG | CR0_WP;
        g->s.cr3 = PML4;
        g->s.cr4 = CR4_PAE;
        g->s.efer = EFER_LME | EFER_LMA;
    }
}

static void guest_close(struct guest *g)
{
    g->vcpu->ops->destroy(g->vcpu);
    mem_destroy(g->mem);
}

/* Puts code at `at` and runs from there to the HLT. */
static void run_at(struct guest *g, uint64_t at, const uint8_t *code, const uint8_t *end)
{
    assert_true(mem_write(g->mem, gpa_make(at), code, (size_t)(end - code)));
    g->s.rip = at;
    g->s.halted = false;
    g->vcpu->ops->set_state(g->vcpu, &g->s);
    assert_int_equal(g->vcpu->ops->run(g->vcpu), ENGINE_EXIT_HALTED);
    g->vcpu->ops->get_state(g->vcpu, &g->s);
}

#define RUN(g, name) run_at((g), CODE, name, name##_end)

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
    assert_int_equal(g.s.gpr[RDX] , 2);
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

/* An instruction across two pages; the second page's part is changed by the door and must be seen. */
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

/* --- strings and faults --- */

GUEST(repmovs64, 64, "rep movsb");
GUEST(repstos64, 64, "rep stosq");
GUEST(repescas64, 64, "repne scasb");
GUEST(overlap64, 64, "mov $0x200000, %esi; lea 1(%rsi), %rdi; movb $7, (%rsi); mov $5000, %ecx; rep movsb");

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

/* The third page is not present: two pages are stored, then #PF with the registers of whole iterations. */
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

/* Code in data pages: every page's copy is overwritten again and again. */
GUEST(patch64, 64,
      "mov $0x210000, %edi; mov $1000, %ecx\n"
      "1: movb $0xb0, (%rdi); mov %cl, 1(%rdi); movb $0xc3, 2(%rdi); call *%rdi; movzbl %al, %eax\n"
      "add %rax, %rbx; movq $5, 64(%rdi); dec %ecx; jnz 1b");

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

/* --- devices, alignment, kicks --- */

GUEST(device32, 32, "mov $0xd0000000, %ebx; mov 4(%ebx), %eax; movb 7(%ebx), %cl; mov %eax, (%ebx)");

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
        g.s.seg[i] = (struct x86_segment){.base = 0x8000, .limit = 0xffff, .attr = 0x93, .selector = 0x800};
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
        cmocka_unit_test(test_self_modifying),
        cmocka_unit_test(test_crossing_instruction),
        cmocka_unit_test(test_rep_copies_pages),
        cmocka_unit_test(test_rep_fault_in_the_middle),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_cache_drops_everything),
        cmocka_unit_test(test_code_written_often),
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_kick),
        cmocka_unit_test(test_real_mode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
