/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board: which chip sits at which port and on which IRQ, in one table; the wires between them;
 * the lock.
 */
#include "machine/board.h"

#include <stdlib.h>
#include <time.h>

#include "base/invariant.h"
#include "machine/board_private.h"

#define DEBUG_EXIT_PORT 0xf4

/*
 * CLOCK_INSTRUCTIONS: the power-on date of a machine whose runs are all the same: 2026-01-01
 * 00:00:00 UTC.
 */
#define FIXED_WALL_NS INT64_C(1767225600000000000)

void board_lock(struct board *board)
{
    pthread_mutex_lock(&board->lock);
}

void board_unlock(struct board *board)
{
    pthread_mutex_unlock(&board->lock);
}

static void tell_event(struct board *board, enum board_event event, uint32_t code)
{
    const struct board_host *host = &board->config.host;

    if (host->event)
        host->event(host->arg, event, code);
}

static void on_reset_request(void *arg)
{
    tell_event(arg, BOARD_RESET, 0);
}

static void on_power_off(void *arg)
{
    tell_event(arg, BOARD_POWER_OFF, 0);
}

static void on_serial_send(void *arg, const uint8_t *bytes, size_t count)
{
    const struct board *board = arg;
    const struct board_host *host = &board->config.host;

    if (host->serial_out)
        host->serial_out(host->arg, bytes, count);
}

static void on_serial_room(void *arg)
{
    const struct board *board = arg;
    const struct board_host *host = &board->config.host;

    if (host->serial_room)
        host->serial_room(host->arg);
}

/* A chip's interrupt line: both controllers see it; the guest chooses by masking. */
static void on_isa_irq(void *arg, unsigned irq, bool level)
{
    struct board *board = arg;

    pic_set_irq(&board->pic, irq, level);
    ioapic_set_irq(&board->ioapic, irq == 0 ? BOARD_TIMER_PIN : irq, level);
}

static void on_pic_intr(void *arg, unsigned pin, bool level)
{
    struct board *board = arg;

    (void)pin;
    lapic_set_lint0(&board->cpu[0].lapic, level);
    board_cpu_update_irq(&board->cpu[0]);
}

static void on_ioapic_message(void *arg, const struct apic_message *message)
{
    board_send_message(arg, message);
}

static struct irq_line isa_irq(struct board *board, unsigned irq)
{
    return (struct irq_line){.set = on_isa_irq, .arg = board, .pin = irq};
}

static uint32_t nothing_in(void *arg, uint16_t port, unsigned bytes)
{
    (void)arg;
    (void)port;
    (void)bytes;
    return UINT32_MAX;
}

static void debug_exit_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    (void)port;
    (void)bytes;
    tell_event(arg, BOARD_DEBUG_EXIT, value);
}

/*
 * Ports that nobody owns swallow writes: the POST code 0x80 and the delay port 0xed need no chip.
 */
static void add_ports(struct board *board)
{
    const struct bus_ports table[] = {
        {0x0020, 0x0021, 1, &board->pic, pic_in, pic_out},
        {0x00a0, 0x00a1, 1, &board->pic, pic_in, pic_out},
        {0x04d0, 0x04d1, 1, &board->pic, pic_elcr_in, pic_elcr_out},
        {0x0040, 0x0043, 1, &board->pit, pit_in, pit_out},
        {0x0061, 0x0061, 1, &board->pit, pit_speaker_in, pit_speaker_out},
        {0x0060, 0x0060, 1, &board->kbc, i8042_in, i8042_out},
        {0x0064, 0x0064, 1, &board->kbc, i8042_in, i8042_out},
        {0x0092, 0x0092, 1, &board->kbc, i8042_port92_in, i8042_port92_out},
        {0x0070, 0x0071, 1, &board->rtc, rtc_in, rtc_out},
        {BOARD_COM1_PORT, BOARD_COM1_PORT + UART_PORTS - 1, 1, &board->uart, uart_in, uart_out},
        {FWCFG_PORT, FWCFG_LAST_PORT, 2, &board->fwcfg, fwcfg_in, fwcfg_out},
        {PM_BASE, PM_LAST_PORT, 4, &board->pm, pm_in, pm_out},
        {PCI_ADDRESS_PORT, PCI_LAST_PORT, 4, &board->pci, pci_in, pci_out},
    };
    const struct bus_ports debug_exit = {
        DEBUG_EXIT_PORT, DEBUG_EXIT_PORT + 3, 4, board, nothing_in, debug_exit_out,
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        bus_add_ports(&board->bus, &table[i]);
    if (board->config.debug_exit)
        bus_add_ports(&board->bus, &debug_exit);
}

static void add_mmio(struct board *board)
{
    const struct bus_mmio ioapic = {
        IOAPIC_BASE, IOAPIC_BYTES, &board->ioapic, ioapic_read, ioapic_write,
    };
    const struct bus_mmio pci = {
        0, PCI_MEMORY_END, &board->pci, pci_mmio_read, pci_mmio_write,
    };

    bus_add_mmio(&board->bus, &ioapic);
    bus_add_mmio(&board->bus, &pci);
}

/* UNIX time in ns at guest time 0. */
static int64_t power_on_wall_ns(const struct clock *clock)
{
    struct timespec ts;

    if (clock_mode(clock) == CLOCK_INSTRUCTIONS)
        return FIXED_WALL_NS;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec - (int64_t)clock_now(clock);
}

static void init_chips(struct board *board)
{
    struct clock *clock = board->config.clock;
    int64_t wall_ns = power_on_wall_ns(clock);

    board->pic.intr = (struct irq_line){.set = on_pic_intr, .arg = board};
    board->ioapic.arg = board;
    board->ioapic.deliver = on_ioapic_message;
    pic_reset(&board->pic);
    ioapic_reset(&board->ioapic);
    for (unsigned i = 0; i < board->config.cpus; i++)
        board_cpu_init(board, i, wall_ns);
    pit_init(&board->pit, clock, isa_irq(board, 0));
    rtc_init(&board->rtc, clock, isa_irq(board, 8), wall_ns, mem_size_bytes(board->config.mem));
    pm_init(&board->pm, clock, isa_irq(board, PM_SCI_IRQ), board, on_power_off);
    pci_init(&board->pci, board, on_reset_request);
    fwcfg_init(&board->fwcfg, mem_size_bytes(board->config.mem), board->config.cpus);
    board->kbc = (struct i8042){
        .irq = isa_irq(board, 1),
        .arg = board,
        .reset_machine = on_reset_request,
    };
    i8042_reset(&board->kbc);
    board->uart = (struct uart){
        .base = BOARD_COM1_PORT,
        .irq = isa_irq(board, 4),
        .arg = board,
        .send = on_serial_send,
        .room = on_serial_room,
    };
    uart_reset(&board->uart);
}

enum err board_create(struct board **out, const struct board_config *config)
{
    struct board *board = calloc(1, sizeof(*board) + config->cpus * sizeof(board->cpu[0]));
    enum err err;

    invariant(config->cpus >= 1 && config->tsc_khz && config->disk_count <= MEM_DISKS_MAX);
    if (!board) {
        for (size_t i = 0; i < config->disk_count; i++)
            disk_close(config->disks[i]);
        return err_new(ERR_NOMEM, "no memory for the machine");
    }
    pthread_mutex_init(&board->lock, NULL);
    board->config = *config;
    add_ports(board);
    add_mmio(board);
    init_chips(board);
    err = board_virtio_create(board);
    if (err) {
        board_destroy(board);
        return err;
    }
    *out = board;
    return ERR_OK;
}

static void cancel_timers(struct board *board)
{
    struct clock *clock = board->config.clock;

    clock_timer_cancel(clock, &board->pit.timer);
    clock_timer_cancel(clock, &board->rtc.second_timer);
    clock_timer_cancel(clock, &board->rtc.periodic_timer);
    clock_timer_cancel(clock, &board->pm.timer);
    for (unsigned i = 0; i < board->config.cpus; i++)
        clock_timer_cancel(clock, &board->cpu[i].lapic.timer);
}

void board_destroy(struct board *board)
{
    if (!board)
        return;
    board_virtio_destroy(board);
    cancel_timers(board);
    pthread_mutex_destroy(&board->lock);
    free(board);
}

void board_reset(struct board *board)
{
    board_lock(board);
    board_virtio_reset(board);
    for (unsigned i = 0; i < board->config.cpus; i++)
        board_cpu_reset(&board->cpu[i]);
    ioapic_reset(&board->ioapic);
    pic_reset(&board->pic);
    pit_reset(&board->pit);
    rtc_reset(&board->rtc);
    pm_reset(&board->pm);
    pci_reset(&board->pci);
    fwcfg_reset(&board->fwcfg);
    i8042_reset(&board->kbc);
    uart_reset(&board->uart);
    board_unlock(board);
}

const struct cpu_bus *board_cpu_bus(struct board *board, unsigned cpu)
{
    invariant(cpu < board->config.cpus);
    return &board->cpu[cpu].bus;
}

size_t board_serial_in(struct board *board, const uint8_t *bytes, size_t count)
{
    size_t taken;

    board_lock(board);
    taken = uart_receive(&board->uart, bytes, count);
    board_unlock(board);
    return taken;
}

void board_run_due(struct board *board)
{
    board_lock(board);
    clock_run_due(board->config.clock);
    board_unlock(board);
}

uint64_t board_next_due(struct board *board)
{
    uint64_t due;

    board_lock(board);
    due = clock_next_due(board->config.clock);
    board_unlock(board);
    return due;
}
