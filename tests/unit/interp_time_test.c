/* SPDX-License-Identifier: Apache-2.0 */
/* The interp engine's count of instructions, by which guest time goes with CLOCK_INSTRUCTIONS. */
#include "interp_guest.h"

#define IRQ_VECTOR  0x20
#define DEVICE_PAGE (DATA + 0x5000)

GUEST(stosq, 64, "rep stosq");
GUEST(movsb, 64, "rep movsb");
GUEST(nothing, 64, "nop");

/* Instructions that a REP takes over two pages, with or without decoded code in them. */
static uint64_t counted(const uint8_t *code, const uint8_t *end, uint64_t n, bool over_code)
{
    struct guest g;
    uint64_t before, count;

    guest_open(&g, 64);
    run_at(&g, CODE + 0x800, nothing, nothing_end);
    if (over_code)
        for (unsigned i = 0; i < 3; i++)
            run_at(&g, DATA + 0x2ff0 + i * 0x800, nothing, nothing_end);
    g.s.gpr[RSI] = DATA + 0x10008;
    g.s.gpr[RDI] = DATA + 0x2800;
    g.s.gpr[RCX] = n;
    before = g.vcpu->ops->instructions(g.vcpu);
    run_at(&g, CODE, code, end);
    count = g.vcpu->ops->instructions(g.vcpu) - before;
    assert_int_equal(g.s.gpr[RCX], 0);
    guest_close(&g);
    return count;
}

/* Whether code has been decoded where it writes is not to be seen in the count of a REP. */
static void a_rep_counts_alike_over_code(void **state)
{
    static const uint64_t bytes[] = {8, 16, 0x700, 0x800, 0x808, 0x1800, 0x1ff8};
    (void)state;

    for (unsigned i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        assert_int_equal(counted(stosq, stosq_end, bytes[i] / 8, true),
                         counted(stosq, stosq_end, bytes[i] / 8, false));
        assert_int_equal(counted(movsb, movsb_end, bytes[i], true),
                         counted(movsb, movsb_end, bytes[i], false));
    }
}

/* --- interrupts from devices --- */

static int ack(void *arg)
{
    struct guest *g = arg;

    g->vcpu->ops->set_irq(g->vcpu, false);
    return IRQ_VECTOR;
}

static void raise_irq(void *arg, gpa_t gpa, unsigned bytes, uint64_t value)
{
    struct guest *g = arg;
    (void)gpa;
    (void)bytes;
    (void)value;

    g->vcpu->ops->set_irq(g->vcpu, true);
}

/* The handler keeps what ECX was. */
GUEST(handler, 64, "mov %ecx, %edx; iretq");
GUEST(device, 64,
      "sti; nop; xor %ecx, %ecx; mov %eax, (%rbx); inc %ecx; inc %ecx; inc %ecx; jmp 1f; 1: cli");

/*
 * With a budget the interrupt is taken right behind the instruction whose store raised it; without
 * one at the end of its block. It is done once.
 */
static void a_device_interrupts_behind_its_instruction(void **state)
{
    (void)state;

    for (unsigned budgeted = 0; budgeted < 2; budgeted++) {
        struct guest g;

        guest_open_with(&g, 64, "interp", (struct vcpu_config){.budgeted = budgeted});
        g.bus.mmio_write = raise_irq;
        g.bus.irq_ack = ack;
        put64(&g, PT + 8 * ((DEVICE_PAGE - DATA) / 0x1000), 0xd0000000 | 3);
        put64(&g, IDT + IRQ_VECTOR * 16,
              (FAULT_CODE + 0x800) % 0x10000 | 8u << 16 | UINT64_C(0x8e00) << 32 |
                  (uint64_t)((FAULT_CODE + 0x800) >> 16) << 48);
        put64(&g, IDT + IRQ_VECTOR * 16 + 8, 0);
        g.s.idtr.limit = IRQ_VECTOR * 16 + 15;
        assert_true(mem_write(g.mem, gpa_make(FAULT_CODE + 0x800), handler,
                              (size_t)(handler_end - handler)));
        g.s.gpr[RBX] = DEVICE_PAGE;
        g.s.gpr[RDX] = 99;
        RUN(&g, device);
        assert_int_equal(g.s.gpr[RDX], budgeted ? 0 : 3);
        assert_int_equal(g.s.gpr[RCX], 3);
        assert_int_equal(g.vcpu->ops->stats(g.vcpu)->exits_mmio_write, 1);
        assert_int_equal(g.vcpu->ops->instructions(g.vcpu), 12);
        guest_close(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rep_counts_alike_over_code),
        cmocka_unit_test(a_device_interrupts_behind_its_instruction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
