/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For unit tests of the interp engine: a vCPU without a machine that runs short pieces of machine
 * code in guest memory, 32-bit with paging off and 64-bit with identity-mapped pages. The host's
 * assembler makes the code.
 */
#ifndef UMBRA_TESTS_INTERP_GUEST_H
#define UMBRA_TESTS_INTERP_GUEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

static inline uint64_t bus_poll(void *arg)
{
    return ((struct guest *)arg)->budget;
}

static inline int bus_irq_ack(void *arg)
{
    (void)arg;
    return -1;
}

static inline uint64_t bus_mmio_read(void *arg, gpa_t gpa, unsigned bytes)
{
    (void)arg;
    return gpa.v + bytes;
}

static inline void bus_mmio_write(void *arg, gpa_t gpa, unsigned bytes, uint64_t value)
{
    (void)arg;
    (void)gpa;
    (void)bytes;
    (void)value;
}

static inline void put64(struct guest *g, uint64_t gpa, uint64_t v)
{
    assert_true(mem_write(g->mem, gpa_make(gpa), &v, sizeof v));
}

static inline uint64_t get64(struct guest *g, uint64_t gpa)
{
    uint64_t v;

    assert_true(mem_read(g->mem, gpa_make(gpa), &v, sizeof v));
    return v;
}

static inline struct x86_segment segment(uint16_t selector, uint32_t attr)
{
    return (struct x86_segment){.limit = 0xffffffff, .attr = attr, .selector = selector};
}

static inline void set_segments(struct x86_state *s, uint32_t code_attr)
{
    for (unsigned i = 0; i < SEG_COUNT; i++)
        s->seg[i] = segment(16, 0xc093);
    s->seg[SEG_CS] = segment(8, code_attr);
    s->tr = segment(24, 0x008b);
    s->ldtr.attr = SEG_ATTR_UNUSABLE;
}

/*
 * A 64-bit guest: 0..8 MiB identity-mapped, the 2 MiB at DATA through 4 KiB pages so that tests
 * can unmap some.
 */
static inline void make_tables(struct guest *g)
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
static inline void make_idt(struct guest *g)
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
        put64(g, IDT + v * 16,
              (at & 0xffff) | 8u << 16 | UINT64_C(0x8e00) << 32 | (at >> 16) << 48);
        put64(g, IDT + v * 16 + 8, 0);
    }
    g->s.idtr = (struct x86_table){IDT, 32 * 16 - 1};
    g->s.gdtr = (struct x86_table){GDT, 23};
}

/* config: what differs from a default machine. */
static inline void guest_open_with(struct guest *g, unsigned bits, const char *engine,
                                   struct vcpu_config config)
{
    config.bus = &g->bus;
    config.tsc_khz = 1000000;
    config.features = CPU_FEATURES_DEFAULT;
    memset(g, 0, sizeof *g);
    g->budget = 1000000;
    g->bus = (struct cpu_bus){.arg = g,
                              .poll_arg = g,
                              .poll = bus_poll,
                              .irq_ack = bus_irq_ack,
                              .mmio_read = bus_mmio_read,
                              .mmio_write = bus_mmio_write};
    assert_int_equal(mem_create(&g->mem, MEM_BYTES), ERR_OK);
    config.mem = g->mem;
    assert_int_equal(engine_find(engine)->create(&g->vcpu, &config), ERR_OK);
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

static inline void guest_open_on(struct guest *g, unsigned bits, const char *engine, bool at_once,
                                 uint64_t code_bytes)
{
    guest_open_with(g, bits, engine,
                    (struct vcpu_config){.hot_runs = at_once ? 1 : 0, .code_bytes = code_bytes});
}

static inline void guest_open(struct guest *g, unsigned bits)
{
    guest_open_on(g, bits, "interp", false, 0);
}

static inline void guest_close(struct guest *g)
{
    g->vcpu->ops->destroy(g->vcpu);
    mem_destroy(g->mem);
}

/* Puts code at `at` and runs from there to the HLT. */
static inline void run_at(struct guest *g, uint64_t at, const uint8_t *code, const uint8_t *end)
{
    assert_true(mem_write(g->mem, gpa_make(at), code, (size_t)(end - code)));
    g->s.rip = at;
    g->s.halted = false;
    g->vcpu->ops->set_state(g->vcpu, &g->s);
    assert_int_equal(g->vcpu->ops->run(g->vcpu), ENGINE_EXIT_HALTED);
    g->vcpu->ops->get_state(g->vcpu, &g->s);
}

#define RUN(g, name) run_at((g), CODE, name, name##_end)

#endif
