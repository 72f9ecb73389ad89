/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a CPU sees of the board: the functions of struct cpu_bus, each under the board's lock, and
 * the way of interrupts to it.
 *
 *     chips --- ISA IRQ ---+--> PIC pair --INTR--> LINT0 of CPU 0 --+
 *                          +--> IOAPIC pin --message--> LAPIC IRR --+--> INTR of the CPU (set_irq)
 */
#include "machine/board_private.h"

/* CLOCK_INSTRUCTIONS: the longest stretch without a look at the machine. */
#define LONGEST_BUDGET_NS UINT64_C(10000000)

static bool pic_reaches(const struct board_cpu *cpu)
{
    return cpu->index == 0 && pic_has_interrupt(&cpu->board->pic) && lapic_takes_pic(&cpu->lapic);
}

void board_cpu_update_irq(struct board_cpu *cpu)
{
    const struct board_host *host = &cpu->board->config.host;
    bool level = lapic_pending(&cpu->lapic) >= 0 || pic_reaches(cpu);

    if (level == cpu->irq_level)
        return;
    cpu->irq_level = level;
    if (host->set_irq)
        host->set_irq(host->arg, cpu->index, level);
}

static bool is_more_willing(const struct board_cpu *a, const struct board_cpu *b)
{
    return !b || lapic_processor_priority(&a->lapic) < lapic_processor_priority(&b->lapic);
}

void board_send_message(struct board *board, const struct apic_message *message)
{
    struct board_cpu *willing = NULL;

    for (unsigned i = 0; i < board->config.cpus; i++) {
        struct board_cpu *cpu = &board->cpu[i];

        if (!lapic_is_destination(&cpu->lapic, message))
            continue;
        if (message->delivery != APIC_LOWEST)
            lapic_accept(&cpu->lapic, message);
        else if (is_more_willing(cpu, willing))
            willing = cpu;
    }
    if (willing)
        lapic_accept(&willing->lapic, message);
}

static void on_lapic_changed(void *arg)
{
    board_cpu_update_irq(arg);
}

static void on_lapic_eoi(void *arg, uint8_t vector)
{
    struct board_cpu *cpu = arg;

    ioapic_eoi(&cpu->board->ioapic, vector);
}

static void on_lapic_send(void *arg, const struct apic_message *message, enum lapic_shorthand to)
{
    struct board_cpu *cpu = arg;
    struct board *board = cpu->board;

    if (to == LAPIC_TO_DEST) {
        board_send_message(board, message);
        return;
    }
    for (unsigned i = 0; i < board->config.cpus; i++) {
        bool self = i == cpu->index;

        if (to == LAPIC_TO_ALL || self == (to == LAPIC_TO_SELF))
            lapic_accept(&board->cpu[i].lapic, message);
    }
}

static void on_lapic_nmi(void *arg)
{
    struct board_cpu *cpu = arg;
    const struct board_host *host = &cpu->board->config.host;

    if (host->raise_nmi)
        host->raise_nmi(host->arg, cpu->index);
}

static uint32_t cpu_port_in(void *arg, uint16_t port, unsigned bytes)
{
    struct board_cpu *cpu = arg;
    uint32_t value;

    board_lock(cpu->board);
    value = bus_port_in(&cpu->board->bus, port, bytes);
    board_unlock(cpu->board);
    return value;
}

static void cpu_port_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    struct board_cpu *cpu = arg;

    board_lock(cpu->board);
    bus_port_out(&cpu->board->bus, port, bytes, value);
    board_unlock(cpu->board);
}

static uint64_t cpu_mmio_read(void *arg, gpa_t gpa, unsigned bytes)
{
    struct board_cpu *cpu = arg;
    uint64_t value;

    board_lock(cpu->board);
    if (lapic_has_address(&cpu->lapic, gpa.v, bytes))
        value = lapic_mmio_read(&cpu->lapic, gpa.v % LAPIC_BYTES, bytes);
    else
        value = bus_mmio_read(&cpu->board->bus, gpa.v, bytes);
    board_unlock(cpu->board);
    return value;
}

static void cpu_mmio_write(void *arg, gpa_t gpa, unsigned bytes, uint64_t value)
{
    struct board_cpu *cpu = arg;

    board_lock(cpu->board);
    if (lapic_has_address(&cpu->lapic, gpa.v, bytes))
        lapic_mmio_write(&cpu->lapic, gpa.v % LAPIC_BYTES, bytes, value);
    else
        bus_mmio_write(&cpu->board->bus, gpa.v, bytes, value);
    board_unlock(cpu->board);
}

static int cpu_irq_ack(void *arg)
{
    struct board_cpu *cpu = arg;
    int vector;

    board_lock(cpu->board);
    vector = lapic_ack(&cpu->lapic);
    if (vector < 0 && pic_reaches(cpu)) {
        vector = pic_ack(&cpu->board->pic);
        board_cpu_update_irq(cpu);
    }
    board_unlock(cpu->board);
    return vector;
}

static bool cpu_msr_read(void *arg, uint32_t msr, uint64_t *value)
{
    struct board_cpu *cpu = arg;
    bool known = true;

    board_lock(cpu->board);
    if (lapic_owns_msr(msr))
        known = lapic_msr_read(&cpu->lapic, msr, value);
    else if (kvmclock_owns_msr(msr))
        *value = kvmclock_msr_read(&cpu->kvmclock, msr);
    else
        known = false;
    board_unlock(cpu->board);
    return known;
}

/* What the host cannot give now is written before the next instruction. */
static void want_service(struct board_cpu *cpu)
{
    const struct board_host *host = &cpu->board->config.host;

    if (host->service_wanted)
        host->service_wanted(host->arg);
}

void board_cpu_service(struct board_cpu *cpu)
{
    if (!kvmclock_service(&cpu->kvmclock))
        want_service(cpu);
}

static bool cpu_msr_write(void *arg, uint32_t msr, uint64_t value)
{
    struct board_cpu *cpu = arg;
    bool known = true;

    board_lock(cpu->board);
    if (lapic_owns_msr(msr))
        known = lapic_msr_write(&cpu->lapic, msr, value);
    else if (kvmclock_owns_msr(msr))
        kvmclock_msr_write(&cpu->kvmclock, msr, value);
    else
        known = false;
    if (cpu->kvmclock.wall_waits || cpu->kvmclock.system_waits)
        want_service(cpu);
    board_unlock(cpu->board);
    return known;
}

static uint64_t cpu_cr8_read(void *arg)
{
    struct board_cpu *cpu = arg;
    uint64_t value;

    board_lock(cpu->board);
    value = lapic_cr8_read(&cpu->lapic);
    board_unlock(cpu->board);
    return value;
}

static void cpu_cr8_write(void *arg, uint64_t value)
{
    struct board_cpu *cpu = arg;

    board_lock(cpu->board);
    lapic_cr8_write(&cpu->lapic, value);
    board_unlock(cpu->board);
}

/* No lock: the clock's reading functions need none on this thread. */
static uint64_t cpu_tsc(void *arg)
{
    const struct board_cpu *cpu = arg;

    return clock_tsc(cpu->board->config.clock, cpu->board->config.tsc_khz);
}

static bool cpu_tsc_scale(void *arg, struct clock_tsc_scale *out)
{
    const struct board_cpu *cpu = arg;

    return clock_get_tsc_scale(cpu->board->config.clock, cpu->board->config.tsc_khz, out);
}

static uint64_t budget(const struct clock *clock)
{
    uint64_t now, due, ns;

    if (clock_mode(clock) == CLOCK_HOST)
        return UINT64_MAX;
    now = clock_now(clock);
    due = clock_next_due(clock);
    ns = due <= now ? 0 : due - now;
    if (ns > LONGEST_BUDGET_NS)
        ns = LONGEST_BUDGET_NS;
    ns = (ns + CLOCK_NS_PER_INSTRUCTION - 1) / CLOCK_NS_PER_INSTRUCTION;
    return ns ? ns : 1;
}

static uint64_t cpu_poll(void *arg)
{
    struct board_cpu *cpu = arg;
    uint64_t instructions;

    board_lock(cpu->board);
    clock_run_due(cpu->board->config.clock);
    instructions = budget(cpu->board->config.clock);
    board_unlock(cpu->board);
    return instructions;
}

void board_cpu_reset(struct board_cpu *cpu)
{
    lapic_reset(&cpu->lapic);
    kvmclock_reset(&cpu->kvmclock);
    board_cpu_update_irq(cpu);
}

void board_cpu_init(struct board *board, unsigned index, int64_t power_on_wall_ns)
{
    struct board_cpu *cpu = &board->cpu[index];
    const struct board_config *config = &board->config;
    struct lapic_host host = {
        .arg = cpu,
        .changed = on_lapic_changed,
        .eoi = on_lapic_eoi,
        .send = on_lapic_send,
        .nmi = on_lapic_nmi,
    };

    cpu->board = board;
    cpu->index = index;
    cpu->bus = (struct cpu_bus){
        .arg = cpu,
        .port_in = cpu_port_in,
        .port_out = cpu_port_out,
        .mmio_read = cpu_mmio_read,
        .mmio_write = cpu_mmio_write,
        .irq_ack = cpu_irq_ack,
        .msr_read = cpu_msr_read,
        .msr_write = cpu_msr_write,
        .cr8_read = cpu_cr8_read,
        .cr8_write = cpu_cr8_write,
        .tsc = cpu_tsc,
        .tsc_scale = cpu_tsc_scale,
        .poll = cpu_poll,
        .poll_arg = cpu,
    };
    cpu->kvmclock = (struct kvmclock){
        .mem = config->mem,
        .clock = config->clock,
        .tsc_khz = config->tsc_khz,
        .power_on_wall_ns = power_on_wall_ns,
    };
    lapic_init(&cpu->lapic, index, index == 0, config->clock, config->tsc_khz, &host);
}
