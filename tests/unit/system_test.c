/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system half of the interp engine: short pieces of machine code that write control registers
 * and MSRs or meet exceptions. Every exception ends at a HLT whose address tells the vector.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/engine.h"

#define MEM_BYTES (UINT64_C(4) << 20)
#define CODE      0x8000u
#define HANDLERS  0x9000u
#define STACK     0xa000u
#define PML4      0x10000u
#define PDPT      0x11000u
#define GDT       0x12000u
#define IDT       0x13000u
#define PDPTES    0x14000u
#define NO_VECTOR 256u

enum mode { REAL, FLAT32, LONG64 };

struct guest {
    struct guest_mem *mem;
    struct vcpu *vcpu;
    struct cpu_bus bus;
    struct x86_state s; /* to start with, then what was left */
    enum engine_exit exit;
    uint64_t retired;
};

static uint64_t bus_poll(void *arg)
{
    (void)arg;
    return UINT64_MAX;
}

static int bus_irq_ack(void *arg)
{
    (void)arg;
    return -1;
}

static uint64_t bus_tsc(void *arg)
{
    (void)arg;
    return 1000;
}

/* The machine's MSRs: 800h is one, and takes values below 100h. */
static bool bus_msr_read(void *arg, uint32_t msr, uint64_t *value)
{
    (void)arg;
    *value = 7;
    return msr == 0x800;
}

static bool bus_msr_write(void *arg, uint32_t msr, uint64_t value)
{
    (void)arg;
    return msr == 0x800 && value < 0x100;
}

static uint32_t bus_port_in(void *arg, uint16_t port, unsigned bytes)
{
    (void)arg;
    return port * 0x01010101u + bytes;
}

static void bus_port_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    (void)arg;
    (void)port;
    (void)bytes;
    (void)value;
}

static void put(struct guest *g, uint64_t at, const void *bytes, size_t count)
{
    assert_true(mem_write(g->mem, gpa_make(at), bytes, count));
}

static void put64(struct guest *g, uint64_t at, uint64_t value)
{
    put(g, at, &value, sizeof value);
}

static uint64_t get(struct guest *g, uint64_t at, unsigned bytes)
{
    uint64_t v = 0;
    assert_true(mem_read(g->mem, gpa_make(at), &v, bytes));
    return v;
}

static struct x86_segment flat(uint16_t selector, uint32_t attr)
{
    return (struct x86_segment){.limit = 0xffffffff, .attr = attr, .selector = selector};
}

static void set_mode(struct guest *g, enum mode mode)
{
    struct x86_state *s = &g->s;
    static const uint32_t code_attr[] = {[FLAT32] = 0xc09b, [LONG64] = 0xa09b};
    x86_state_reset(s);
    s->rip = CODE;
    s->gpr[RSP] = STACK;
    if (mode == REAL) {
        s->seg[SEG_CS].selector = 0;
        s->seg[SEG_CS].base = 0;
        s->idtr = (struct x86_table){.base = 0, .limit = 0x3ff};
        return;
    }
    for (unsigned i = 0; i < SEG_COUNT; i++)
        s->seg[i] = flat(16, 0xc093);
    s->seg[SEG_CS] = flat(8, code_attr[mode]);
    s->tr = flat(24, 0x008b);
    s->gdtr = (struct x86_table){.base = GDT, .limit = 31};
    s->idtr = (struct x86_table){.base = IDT, .limit = 0xfff};
    s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP;
    if (mode == LONG64) {
        s->cr0 |= CR0_PG;
        s->cr3 = PML4;
        s->cr4 = CR4_PAE;
        s->efer = EFER_LME | EFER_LMA;
    }
}

static void make_tables(struct guest *g, enum mode mode)
{
    put64(g, PML4, PDPT | 3);
    put64(g, PDPT, 0x83); /* 1 GiB onto itself */
    put64(g, GDT + 8, mode == LONG64 ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff));
    put64(g, GDT + 16, UINT64_C(0x00cf93000000ffff));
    for (unsigned i = 0; i < 256; i++) {
        uint64_t handler = HANDLERS + i * 8;
        uint64_t gate =
            (handler & 0xffff) | 8 << 16 | UINT64_C(0x8e00) << 32 | (handler >> 16) << 48;
        put(g, handler, "\xf4", 1);
        if (mode == REAL) {
            uint32_t vector = (uint32_t)handler;
            put(g, i * 4u, &vector, sizeof vector);
        } else if (mode == LONG64) {
            put64(g, IDT + i * 16, gate);
        } else {
            put64(g, IDT + i * 8, gate);
        }
    }
}

static struct guest *guest_new(enum mode mode)
{
    struct guest *g = calloc(1, sizeof *g);
    assert_non_null(g);
    assert_int_equal(mem_create(&g->mem, MEM_BYTES), ERR_OK);
    g->bus = (struct cpu_bus){.arg = g,
                              .poll = bus_poll,
                              .irq_ack = bus_irq_ack,
                              .tsc = bus_tsc,
                              .msr_read = bus_msr_read,
                              .msr_write = bus_msr_write,
                              .port_in = bus_port_in,
                              .port_out = bus_port_out};
    struct vcpu_config config = {
        .mem = g->mem, .bus = &g->bus, .tsc_khz = 1000000, .features = CPU_FEATURES_DEFAULT};
    assert_int_equal(engine_find("interp")->create(&g->vcpu, &config), ERR_OK);
    make_tables(g, mode);
    set_mode(g, mode);
    return g;
}

static void guest_free(struct guest *g)
{
    g->vcpu->ops->destroy(g->vcpu);
    mem_destroy(g->mem);
    free(g);
}

/*
 * Runs g->s with these bytes and a HLT at CODE. Answers the vector it ended with, NO_VECTOR: none.
 */
static unsigned run(struct guest *g, const char *code, size_t bytes)
{
    uint64_t before = g->vcpu->ops->instructions(g->vcpu);
    put(g, CODE, code, bytes);
    put(g, CODE + bytes, "\xf4", 1);
    g->vcpu->ops->set_state(g->vcpu, &g->s);
    g->exit = g->vcpu->ops->run(g->vcpu);
    g->vcpu->ops->get_state(g->vcpu, &g->s);
    g->retired = g->vcpu->ops->instructions(g->vcpu) - before;
    uint64_t at = g->s.rip - 1;
    if (g->exit == ENGINE_EXIT_HALTED && at >= HANDLERS && at < HANDLERS + 256 * 8)
        return (unsigned)(at - HANDLERS) / 8;
    return NO_VECTOR;
}

#define RUN(g, code) run(g, code, sizeof(code) - 1)

/* --- control registers and MSRs --- */

static void test_cr_writes(void **state)
{
    (void)state;
    static const struct {
        const char *code; /* MOV CRn, RAX */
        uint64_t value;
        unsigned vector;
    } cases[] = {
        {"\x0f\x22\xc0", CR0_PE | CR0_PG | CR0_NE | CR0_WP, NO_VECTOR},
        {"\x0f\x22\xc0", CR0_PE | CR0_PG | CR0_NW, VEC_GP},
        {"\x0f\x22\xc0", CR0_PG, VEC_GP},
        {"\x0f\x22\xc0", CR0_PE, VEC_GP}, /* paging off in 64-bit code */
        {"\x0f\x22\xc0", CR0_PE | CR0_PG | UINT64_C(1) << 32, VEC_GP},
        {"\x0f\x22\xd8", PML4, NO_VECTOR},
        {"\x0f\x22\xd8", PML4 | UINT64_C(1) << 63, VEC_GP}, /* no-flush without PCIDE */
        {"\x0f\x22\xd8", PML4 | UINT64_C(1) << 40, VEC_GP},
        {"\x0f\x22\xe0", CR4_PAE | CR4_PGE | CR4_OSFXSR, NO_VECTOR},
        {"\x0f\x22\xe0", CR4_PAE | CR4_PCIDE, NO_VECTOR},
        {"\x0f\x22\xe0", 0, VEC_GP},
        {"\x0f\x22\xe0", CR4_PAE | CR4_LA57, VEC_GP},
        {"\x0f\x22\xe0", CR4_PAE | CR4_VME, VEC_GP},
        {"\x0f\x22\xe0", CR4_PAE | UINT64_C(1) << 40, VEC_GP},
        {"\x44\x0f\x22\xc0", 16, VEC_GP}, /* CR8 */
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct guest *g = guest_new(LONG64);
        struct x86_state before = g->s;
        g->s.gpr[RAX] = cases[i].value;
        unsigned vector = run(g, cases[i].code, strlen(cases[i].code));
        if (vector != cases[i].vector)
            fail_msg("case %u: vector %u, expected %u", i, vector, cases[i].vector);
        if (vector != NO_VECTOR) {
            assert_int_equal(get(g, g->s.gpr[RSP], 8), 0); /* error code */
            assert_int_equal(g->s.cr0, before.cr0);
            assert_int_equal(g->s.cr3, before.cr3);
            assert_int_equal(g->s.cr4, before.cr4);
        }
        guest_free(g);
    }
}

static void test_pcid_needs_clear_cr3(void **state)
{
    (void)state;
    struct guest *g = guest_new(LONG64);
    g->s.cr3 = PML4 | 0x18;
    g->s.gpr[RAX] = CR4_PAE | CR4_PCIDE;
    assert_int_equal(RUN(g, "\x0f\x22\xe0"), VEC_GP);
    guest_free(g);
}

static void test_pae_pdptes_are_checked(void **state)
{
    (void)state;
    static const struct {
        uint64_t pdpte;
        unsigned vector;
    } cases[] = {{0x1001, NO_VECTOR}, {0x1003, VEC_GP}, {0x1002, NO_VECTOR}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct guest *g = guest_new(FLAT32);
        put64(g, PDPTES, 0x15001);
        put64(g, 0x15000, 0x83); /* 2 MiB onto itself */
        put64(g, PDPTES + 8, cases[i].pdpte);
        g->s.cr3 = PDPTES;
        g->s.cr4 = CR4_PAE;
        g->s.gpr[RAX] = g->s.cr0 | CR0_PG;
        assert_int_equal(RUN(g, "\x0f\x22\xc0"), cases[i].vector);
        assert_int_equal(!(g->s.cr0 & CR0_PG), cases[i].vector != NO_VECTOR);
        guest_free(g);
    }
}

static void test_long_mode_switch(void **state)
{
    (void)state;
    struct guest *g = guest_new(FLAT32);
    put64(g, GDT + 24, UINT64_C(0x00af9b000000ffff));
    g->s.cr3 = PML4;
    g->s.cr4 = CR4_PAE;
    g->s.efer = EFER_LME;
    g->s.gpr[RAX] = g->s.cr0 | CR0_PG;
    /* mov cr0, eax; jmp 24:next; next: mov rcx, -1 (64-bit only) */
    assert_int_equal(RUN(g, "\x0f\x22\xc0\xea\x0a\x80\0\0\x18\0\x48\xc7\xc1\xff\xff\xff\xff"),
                     NO_VECTOR);
    assert_int_equal(g->s.efer, EFER_LME | EFER_LMA);
    assert_int_equal(g->s.gpr[RCX], UINT64_MAX);
    assert_int_equal(g->s.seg[SEG_CS].selector, 24);
    guest_free(g);
    g = guest_new(FLAT32); /* without PAE */
    g->s.efer = EFER_LME;
    g->s.gpr[RAX] = g->s.cr0 | CR0_PG;
    assert_int_equal(RUN(g, "\x0f\x22\xc0"), VEC_GP);
    assert_int_equal(g->s.efer, EFER_LME);
    guest_free(g);
}

static void test_msr_writes(void **state)
{
    (void)state;
    static const struct {
        uint32_t msr;
        uint64_t value;
        unsigned vector;
    } cases[] = {
        {0xc0000080, EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE, NO_VECTOR},
        {0xc0000080, EFER_SCE, VEC_GP}, /* LME with paging on */
        {0xc0000080, EFER_LME | 2, VEC_GP},
        {0xc0000082, UINT64_C(0xffffffff81000000), NO_VECTOR},
        {0xc0000082, UINT64_C(0x0000900000000000), VEC_GP},
        {0xc0000100, UINT64_C(0x00007fffffffffff), NO_VECTOR},
        {0xc0000101, UINT64_C(0x0000800000000000), VEC_GP},
        {0xc0000102, UINT64_C(0x0000800000000000), VEC_GP},
        {0xc0000103, 5, NO_VECTOR},
        {0xc0000103, UINT64_C(1) << 32, VEC_GP},
        {0x277, UINT64_C(0x0007040600070406), NO_VECTOR},
        {0x277, UINT64_C(0x0007040600070402), VEC_GP},
        {0x2ff, 0xc06, NO_VECTOR},
        {0x2ff, 0xc02, VEC_GP},
        {0x200, 0x06, NO_VECTOR},
        {0x201, UINT64_C(1) << 40, VEC_GP},
        {0x800, 0x20, NO_VECTOR}, /* the machine's */
        {0x800, 0x200, VEC_GP},
        {0xfe, 0, VEC_GP}, /* read-only */
        {0x12345678, 0, VEC_GP},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct guest *g = guest_new(LONG64);
        g->s.gpr[RCX] = cases[i].msr;
        g->s.gpr[RAX] = (uint32_t)cases[i].value;
        g->s.gpr[RDX] = cases[i].value >> 32;
        unsigned vector = RUN(g, "\x0f\x30");
        if (vector != cases[i].vector)
            fail_msg("case %u: vector %u, expected %u", i, vector, cases[i].vector);
        guest_free(g);
    }
}

static void test_tsc_adjust(void **state)
{
    (void)state;
    struct guest *g = guest_new(LONG64);
    g->s.gpr[RCX] = 0x10;
    g->s.gpr[RAX] = 5000;
    /* wrmsr; rdtsc; mov rbx, rax; mov ecx, 3bh; rdmsr */
    assert_int_equal(RUN(g, "\x0f\x30\x0f\x31\x48\x89\xc3\xb9\x3b\0\0\0\x0f\x32"), NO_VECTOR);
    assert_int_equal(g->s.gpr[RBX], 5000);
    assert_int_equal(g->s.gpr[RAX], 4000);
    guest_free(g);
}

/* --- exceptions --- */

static void test_real_mode_interrupt(void **state)
{
    (void)state;
    struct guest *g = guest_new(REAL);
    g->s.rflags |= RFLAGS_IF | RFLAGS_CF;
    assert_int_equal(RUN(g, "\xcd\x40"), 0x40);
    assert_int_equal(g->s.gpr[RSP], STACK - 6);
    assert_int_equal(get(g, STACK - 6, 2), CODE + 2);
    assert_int_equal(get(g, STACK - 4, 2), 0);
    assert_int_equal(get(g, STACK - 2, 2), RFLAGS_ONE | RFLAGS_IF | RFLAGS_CF);
    assert_int_equal(g->s.rflags & (RFLAGS_IF | RFLAGS_CF), RFLAGS_CF);
    guest_free(g);
}

/*
 * A frame that wraps at the end of a 16-bit stack: SP 2 takes FLAGS at 0, CS at FFFEh, IP at FFFCh.
 */
static void test_stack_wraps(void **state)
{
    (void)state;
    struct guest *g = guest_new(REAL);
    g->s.gpr[RSP] = 0x12340002;
    g->s.seg[SEG_SS].base = 0x20000;
    assert_int_equal(RUN(g, "\xcd\x40"), 0x40);
    assert_int_equal(g->s.gpr[RSP], 0x1234fffc);
    assert_int_equal(get(g, 0x2fffc, 2), CODE + 2);
    assert_int_equal(get(g, 0x20000, 2), RFLAGS_ONE);
    guest_free(g);
}

static void test_fault_counts_and_frame(void **state)
{
    (void)state;
    struct guest *g = guest_new(LONG64);
    g->s.gpr[RSP] = STACK - 3;
    assert_int_equal(RUN(g, "\x90\x90\x0f\x0b"), VEC_UD);
    assert_int_equal(g->retired, 3); /* two NOPs and the handler's HLT */
    assert_int_equal(g->s.gpr[RSP], STACK - 16 - 40);
    assert_int_equal(get(g, g->s.gpr[RSP], 8), CODE + 2);
    assert_int_equal(get(g, g->s.gpr[RSP] + 16, 8), RFLAGS_ONE | RFLAGS_RF);
    assert_int_equal(get(g, g->s.gpr[RSP] + 24, 8), STACK - 3);
    guest_free(g);
}

static void test_double_and_triple_fault(void **state)
{
    (void)state;
    struct guest *g = guest_new(LONG64);
    put64(g, IDT + VEC_UD * 16,
          0); /* #UD -> #GP(IDT) is benign then contributory: delivered as #GP */
    assert_int_equal(RUN(g, "\x0f\x0b"), VEC_GP);
    assert_int_equal(get(g, g->s.gpr[RSP], 8), VEC_UD * 8 + 3);
    set_mode(g, LONG64);
    put64(g, IDT + VEC_GP * 16, 0);
    assert_int_equal(RUN(g, "\x0f\x0b"), VEC_DF);
    assert_int_equal(get(g, g->s.gpr[RSP], 8), 0);
    set_mode(g, LONG64);
    put64(g, IDT + VEC_DF * 16, 0);
    RUN(g, "\x0f\x0b");
    assert_int_equal(g->exit, ENGINE_EXIT_SHUTDOWN);
    assert_int_equal(g->s.rip, CODE);
    guest_free(g);
}

/* INT n is restarted when its delivery faults, and EXT stays clear. */
static void test_int_through_missing_gate(void **state)
{
    (void)state;
    struct guest *g = guest_new(FLAT32);
    put64(g, IDT + 0x40 * 8, UINT64_C(0x00000e0000080000)); /* not present */
    assert_int_equal(RUN(g, "\x90\xcd\x40"), VEC_NP);
    assert_int_equal(get(g, g->s.gpr[RSP], 4), 0x40 * 8 + 2);
    assert_int_equal(get(g, g->s.gpr[RSP] + 4, 4), CODE + 1);
    guest_free(g);
}

static void test_single_step(void **state)
{
    (void)state;
    struct guest *g = guest_new(LONG64);
    g->s.rflags |= RFLAGS_TF;
    assert_int_equal(RUN(g, "\x90\x90"), VEC_DB);
    assert_int_equal(get(g, g->s.gpr[RSP], 8), CODE + 1);
    assert_true(g->s.dr[6] & 0x4000);
    assert_false(g->s.rflags & RFLAGS_TF);
    guest_free(g);
}

/* The trap behind a stepped HLT ends the halt. */
static void test_single_step_of_hlt(void **state)
{
    (void)state;
    struct guest *g = guest_new(LONG64);
    g->s.rflags |= RFLAGS_TF;
    assert_int_equal(RUN(g, ""), VEC_DB);
    assert_int_equal(get(g, g->s.gpr[RSP], 8), CODE + 1);
    guest_free(g);
}

static void test_ports(void **state)
{
    (void)state;
    struct guest *g = guest_new(LONG64);
    g->s.gpr[RAX] = UINT64_MAX;
    g->s.gpr[RBX] = UINT64_MAX;
    g->s.gpr[RDX] = 0x12;
    /* in al, 10h; mov rbx, rax; in eax, dx */
    assert_int_equal(RUN(g, "\xe4\x10\x48\x89\xc3\xed"), NO_VECTOR);
    assert_int_equal(g->s.gpr[RBX], UINT64_C(0xffffffffffffff11));
    assert_int_equal(g->s.gpr[RAX], 0x12121216);
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cr_writes),
        cmocka_unit_test(test_pcid_needs_clear_cr3),
        cmocka_unit_test(test_pae_pdptes_are_checked),
        cmocka_unit_test(test_long_mode_switch),
        cmocka_unit_test(test_msr_writes),
        cmocka_unit_test(test_tsc_adjust),
        cmocka_unit_test(test_real_mode_interrupt),
        cmocka_unit_test(test_stack_wraps),
        cmocka_unit_test(test_fault_counts_and_frame),
        cmocka_unit_test(test_double_and_triple_fault),
        cmocka_unit_test(test_int_through_missing_gate),
        cmocka_unit_test(test_single_step),
        cmocka_unit_test(test_single_step_of_hlt),
        cmocka_unit_test(test_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
