/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of IRETQ: a kernel that returns by the same frame again and again, to itself or to a
 * program, and a program that comes back. Each engine runs it in a guest of its own.
 */
#ifndef UMBRA_TESTS_IRET_GUEST_H
#define UMBRA_TESTS_IRET_GUEST_H

#include "interp_guest.h"

#include <stdio.h>

#define LAND     0x180000u
#define HANDLER  0x181000u
#define HOLE     0x280000u
#define RSP0     0x190000u
#define KERNEL   0x18f800u /* its stack in the loop */
#define USER     (DATA + 0x1800u)
#define GDT_COPY (GDT + 0x800u)
#define VECTOR   0x40u
#define IRQ      0x41u

#define CS_KERNEL 0x08u
#define SS_KERNEL 0x10u
#define CS_USER32 0x23u
#define SS_USER   0x2bu
#define CS_USER   0x33u

#define DESC_SS_USER UINT64_C(0x00cff3000000ffff)
#define DESC_CS_USER UINT64_C(0x00affb000000ffff)

/* What the loop reads, from DATA on. */
#define FRAME(n)   (DATA + 8u * (n))
#define LANDINGS   (DATA + 0x30u)
#define LEFT       (DATA + 0x38u)
#define ODD_AT     (DATA + 0x40u)
#define CHANGE_AT  (DATA + 0x48u)
#define CHANGE     (DATA + 0x50u) /* as usual, and at last */
#define STACK_AT   (DATA + 0x60u)
#define FLAGS      (DATA + 0x68u)
#define FS         (DATA + 0x70u)
#define INVALIDATE (DATA + 0x78u)
#define GDTR       (DATA + 0x80u)
#define AGAIN      (DATA + 0xc8u)
#define LOOKS_AT   (DATA + 0xd0u) /* code behind the return does */
#define NMIS       (DATA + 0xd8u)
#define DEVICE     (DATA + 0x6000u)

/* Changes one thing, takes what it is told, and returns by a frame. */
GUEST(to_frame, 64,
      "mov $0x200000, %ebx\n mov 0x50(%rbx), %rax\n mov 0x38(%rbx), %rcx\n cmp 0x40(%rbx), %rcx\n"
      "cmove 0x58(%rbx), %rax\n mov 0x48(%rbx), %rdx\n mov %rax, (%rdx)\n"
      "mov 0x60(%rbx), %rsp\n lgdt 0x80(%rbx)\n mov 0x70(%rbx), %eax\n mov %eax, %fs\n"
      "mov 0x78(%rbx), %rax\n invlpg (%rax)\n pushq 0x68(%rbx)\n popfq\n"
      "pushq 0x20(%rbx)\n pushq 0x18(%rbx)\n pushq 0x10(%rbx)\n pushq 8(%rbx)\n pushq (%rbx)\n"
      "mov $0x1234567, %eax\n mov $0x11, %r9d\n mov $0x12, %r10d\n mov $0x13, %r11d\n"
      "iret_in_loop: iretq");
extern const uint8_t iret_in_loop[];

GUEST(land, 64,
      "incq 0x30(%rbx)\n mov %rax, 0xb8(%rbx)\n pushfq\n popq 0xc0(%rbx)\n"
      "mov 0xd0(%rbx), %rdx\n mov (%rdx), %rdx\n int $0x40");

GUEST(handler, 64,
      "mov (%rsp), %rax\n mov %rax, 0x90(%rbx)\n mov 8(%rsp), %rax\n mov %rax, 0x98(%rbx)\n"
      "mov 16(%rsp), %rax\n mov %rax, 0xa0(%rbx)\n mov 24(%rsp), %rax\n mov %rax, 0xa8(%rbx)\n"
      "mov 32(%rsp), %rax\n mov %rax, 0xb0(%rbx)\n"
      "decq 0x38(%rbx)\n jz 1f\n jmp *0xc8(%rbx)\n1:");

GUEST(nmi, 64, "incq 0xd8(%rbx)\n iretq");

static inline void put_code(struct guest *g, uint64_t at, const uint8_t *code, const uint8_t *end)
{
    assert_true(mem_write(g->mem, gpa_make(at), code, (size_t)(end - code)));
}

static inline void put_gate(struct guest *g, unsigned vector, uint64_t at)
{
    put64(g, IDT + vector * 16,
          (at & 0xffff) | 8u << 16 | UINT64_C(0xee00) << 32 | (at >> 16) << 48);
    put64(g, IDT + vector * 16 + 8, 0);
}

static inline void put_gdt(struct guest *g, uint64_t at)
{
    static const uint64_t gdt[] = {0,           0x00af9b000000ffff, 0x00cf93000000ffff,
                                   0,           0x00cffb000000ffff, DESC_SS_USER,
                                   DESC_CS_USER};

    for (unsigned n = 0; n < sizeof gdt / sizeof *gdt; n++)
        put64(g, at + 8 * n, gdt[n]);
}

static inline int take_irq(void *arg)
{
    struct guest *g = arg;

    g->vcpu->ops->set_irq(g->vcpu, false);
    return IRQ;
}

/* Bit 0: an interrupt from now on, bit 1: an NMI. */
static inline void device_write(void *arg, gpa_t gpa, unsigned bytes, uint64_t value)
{
    struct guest *g = arg;

    (void)gpa, (void)bytes;
    if (value & 1)
        g->vcpu->ops->set_irq(g->vcpu, true);
    if (value & 2)
        g->vcpu->ops->raise_nmi(g->vcpu);
}

/* level: that the frame leads to. */
static inline void open_on(struct guest *g, const char *engine, unsigned level)
{
    const uint64_t frame[5] = {LAND, level ? CS_USER : CS_KERNEL, 0x202, USER,
                               level ? SS_USER : SS_KERNEL};

    guest_open_on(g, 64, engine, true, 1);
    g->bus.irq_ack = take_irq;
    g->bus.mmio_write = device_write;
    put64(g, PML4, PDPT | 7);
    put64(g, PDPT, PD | 7);
    for (unsigned i = 0; i < 4; i++)
        put64(g, PD + 8 * i, i * 0x200000u | 0x87);
    put64(g, PD + 8, PT | 7);
    for (unsigned i = 0; i < 512; i++)
        put64(g, PT + 8 * i, DATA + i * 0x1000u == HOLE ? 0 : (DATA + i * 0x1000u) | 7);
    put64(g, PT + 8 * ((DEVICE - DATA) / PAGE_SIZE), UINT64_C(0xe0000007));
    put_gdt(g, GDT);
    put_gdt(g, GDT_COPY);
    put_gate(g, VECTOR, HANDLER);
    put_gate(g, IRQ, FAULT_CODE);
    put_gate(g, VEC_NMI, HANDLER + 0x800);
    put64(g, 4, RSP0);
    g->s.gdtr.limit = 7 * 8 - 1;
    g->s.idtr.limit = (IRQ + 1) * 16 - 1;
    put_code(g, CODE, to_frame, to_frame_end);
    put_code(g, LAND, land, land_end);
    put_code(g, HANDLER, handler, handler_end);
    put_code(g, HANDLER + 0x800, nmi, nmi_end);
    for (unsigned n = 0; n < 5; n++)
        put64(g, FRAME(n), frame[n]);
    put64(g, STACK_AT, KERNEL);
    put64(g, FLAGS, 2);
    put64(g, INVALIDATE, DATA + 0x5000u);
    put64(g, GDTR, (uint64_t)GDT << 16 | g->s.gdtr.limit);
    put64(g, AGAIN, CODE);
    put64(g, LOOKS_AT, DATA);
}

/* The loop so many times, the last one with the odd value; why it ended. */
static inline enum engine_exit run_loop(struct guest *g, unsigned times)
{
    enum engine_exit why;

    put64(g, LEFT, times);
    put64(g, ODD_AT, 1);
    g->s.rip = CODE;
    g->s.halted = false;
    g->s.rflags = RFLAGS_ONE;
    g->vcpu->ops->set_state(g->vcpu, &g->s);
    why = g->vcpu->ops->run(g->vcpu);
    g->vcpu->ops->get_state(g->vcpu, &g->s);
    return why;
}

static inline void same_memory(struct guest *a, struct guest *b, uint64_t at)
{
    uint8_t one[PAGE_SIZE], two[PAGE_SIZE];

    assert_true(mem_read(a->mem, gpa_make(at), one, sizeof one));
    assert_true(mem_read(b->mem, gpa_make(at), two, sizeof two));
    assert_memory_equal(one, two, sizeof one);
}

static inline void same_state(struct guest *a, struct guest *b)
{
    assert_memory_equal(a->s.gpr, b->s.gpr, sizeof a->s.gpr);
    assert_int_equal(a->s.rip, b->s.rip);
    assert_int_equal(a->s.rflags, b->s.rflags);
    assert_int_equal(a->s.cr2, b->s.cr2);
    assert_int_equal(a->s.nmi_blocked, b->s.nmi_blocked);
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        assert_int_equal(a->s.seg[n].base, b->s.seg[n].base);
        assert_int_equal(a->s.seg[n].limit, b->s.seg[n].limit);
        assert_int_equal(a->s.seg[n].attr, b->s.seg[n].attr);
        assert_int_equal(a->s.seg[n].selector, b->s.seg[n].selector);
    }
    assert_int_equal(a->vcpu->ops->instructions(a->vcpu), b->vcpu->ops->instructions(b->vcpu));
    same_memory(a, b, DATA);
    same_memory(a, b, DATA + 0x1000);
    same_memory(a, b, GDT);
    same_memory(a, b, KERNEL & PAGE_MASK);
    same_memory(a, b, RSP0 - PAGE_SIZE);
}

#define TIMES 60u

static inline void open_both(struct guest g[2], unsigned level)
{
    open_on(&g[0], "interp", level);
    open_on(&g[1], "translate", level);
}

static inline void close_both(struct guest g[2])
{
    guest_close(&g[0]);
    guest_close(&g[1]);
}

#endif
