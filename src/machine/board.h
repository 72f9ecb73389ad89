/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: one board with its chips, assembled from an explicit table in board.c.
 *
 *   COM1 16550 (0x3f8, IRQ 4), PIC pair, PIT, RTC/CMOS, i8042 (reset), port 0x61, ACPI PM1/PM
 * timer/reset register (0xcf9), debug exit (0xf4, optional), PCI host bridge (CF8/CFC), LAPIC
 * (xAPIC and x2APIC, TSC deadline), IOAPIC, kvmclock MSRs, ACPI tables.
 *
 * Lock: every chip runs under the board's one lock. The functions here take it themselves;
 * callbacks of struct board_host are made with it held and must not call back into the board.
 */
#ifndef UMBRA_MACHINE_BOARD_H
#define UMBRA_MACHINE_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "cpu/bus.h"
#include "machine/virtio/balloon.h"
#include "machine/virtio/blk.h"
#include "mem/image.h"
#include "mem/mem.h"

enum board_event {
    BOARD_POWER_OFF, /* ACPI S5 */
    BOARD_RESET, /* i8042 0xfe, ACPI reset register, port 0xcf9 (a triple fault is the engine's to
                    tell) */
    BOARD_DEBUG_EXIT, /* code = the value written to port 0xf4 */
};

struct board_host {
    void *arg;
    void (*serial_out)(void *arg, const uint8_t *bytes, size_t count);
    /* level of the interrupt request line of a CPU */
    void (*set_irq)(void *arg, unsigned cpu, bool level);
    void (*raise_nmi)(void *arg, unsigned cpu);
    /* ends or restarts the machine; the vCPU must leave its run loop soon */
    void (*event)(void *arg, enum board_event event, uint32_t code);
    /* the UART's receive FIFO has room again after it was full */
    void (*serial_room)(void *arg);
    /* a device has work to do between two instructions: board_service soon; any thread */
    void (*service_wanted)(void *arg);
    /* the guest's balloon changed its size */
    void (*balloon_changed)(void *arg);
};

/*
 * cpus:       1 for now
 * tsc_khz:    what the guest's TSC runs at
 * debug_exit: port 0xf4 exists
 * no_free_page_reporting: the balloon does not offer it
 * disks:      virtio-blk devices in this order; the board owns them from now on, also on failure
 * disk_aio:   the ring they all use; outlives the board
 */
struct board_config {
    struct guest_mem *mem;
    struct clock *clock;
    unsigned cpus;
    uint64_t tsc_khz;
    bool debug_exit;
    bool no_free_page_reporting;
    struct disk *disks[MEM_DISKS_MAX];
    size_t disk_count;
    struct aio *disk_aio;
    struct board_host host;
};

struct board;

enum err board_create(struct board **out, const struct board_config *config) MUST_USE;
void board_destroy(struct board *board);

/* Every chip to its power-on state. The vCPUs are stopped. */
void board_reset(struct board *board);

/* The table for a CPU's engine; lives as long as the board. */
const struct cpu_bus *board_cpu_bus(struct board *board, unsigned cpu);

/* Console input: takes up to `count` bytes into the UART; answers how many it took. */
size_t board_serial_in(struct board *board, const uint8_t *bytes, size_t count);

/*
 * On the vCPU's thread between two instructions: devices that were notified, or whose I/O has
 * completed, do their work; guest memory may be taken and given back.
 */
void board_service(struct board *board);

/* The balloon, always there. Any thread. */
void board_balloon_set_target(struct board *board, uint64_t pages);
void board_balloon_ask_stats(struct board *board);
bool board_balloon_start_hinting(struct board *board);
void board_balloon_info(struct board *board, struct balloon_info *out);

/* Counters of disk `number`; NULL: there is none. */
const struct blk_stats *board_disk_stats(struct board *board, unsigned number);
const char *board_disk_path(struct board *board, unsigned number);

/* Runs due timers (CLOCK_HOST: called by the vCPU's poll and while it is halted). */
void board_run_due(struct board *board);

/* Next due time of any timer, CLOCK_NEVER if none. */
uint64_t board_next_due(struct board *board);

/* Writes RSDP, XSDT, FADT, MADT, DSDT, MCFG-free, below 1 MiB; answers the RSDP's address. */
enum err board_write_acpi(struct board *board, gpa_t *rsdp) MUST_USE;

#endif
