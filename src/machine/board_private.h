/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board's insides, shared by board.c (assembly, wiring), board_cpu.c (the CPUs' side) and
 * acpi/.
 */
#ifndef UMBRA_MACHINE_BOARD_PRIVATE_H
#define UMBRA_MACHINE_BOARD_PRIVATE_H

#include <pthread.h>

#include "machine/board.h"
#include "machine/bus.h"
#include "machine/dev/fwcfg.h"
#include "machine/dev/i8042.h"
#include "machine/dev/ioapic.h"
#include "machine/dev/kvmclock.h"
#include "machine/dev/lapic.h"
#include "machine/dev/pci.h"
#include "machine/dev/pic.h"
#include "machine/dev/pit.h"
#include "machine/dev/pm.h"
#include "machine/dev/rtc.h"
#include "machine/dev/uart.h"
#include "machine/virtio/virtio_pci.h"

#define BOARD_COM1_PORT 0x3f8
#define BOARD_ISA_IRQS  16

/* IRQ 0 is wired to pin 2, every other ISA IRQ to the pin of its number; the MADT tells. */
#define BOARD_TIMER_PIN 2

/* PCI slots: the balloon's, the entropy device's, the first disk's. */
#define BOARD_BALLOON_SLOT 1
#define BOARD_RNG_SLOT     2
#define BOARD_DISK_SLOT    3

/* What one CPU sees of the machine. */
struct board_cpu {
    struct board *board;
    unsigned index;
    bool irq_level; /* as last told to the host */
    struct lapic lapic;
    struct kvmclock kvmclock;
    struct cpu_bus bus;
};

struct board {
    pthread_mutex_t lock;
    struct board_config config;
    struct bus bus;
    struct uart uart;
    struct pic pic;
    struct pit pit;
    struct rtc rtc;
    struct i8042 kbc;
    struct fwcfg fwcfg;
    struct ioapic ioapic;
    struct pci pci;
    struct pm pm;
    struct virtio_pci *virtio[PCI_SLOTS]; /* by slot */
    struct balloon *balloon;              /* the device of BOARD_BALLOON_SLOT */
    struct blk *disk[MEM_DISKS_MAX];      /* by number; owned by their functions */
    uint32_t intx[IOAPIC_PINS];           /* slots that pull the pin, by bit */
    struct board_cpu cpu[];               /* config.cpus of them */
};

/* board.c */
void board_lock(struct board *board);
void board_unlock(struct board *board);

/* board_virtio.c: under the lock, but for create and destroy */
enum err board_virtio_create(struct board *board) MUST_USE;
void board_virtio_destroy(struct board *board);
void board_virtio_reset(struct board *board);

/* board_cpu.c */
void board_cpu_init(struct board *board, unsigned index, int64_t power_on_wall_ns);
void board_cpu_reset(struct board_cpu *cpu);
/* Between two instructions: what the host could not do within one. */
void board_cpu_service(struct board_cpu *cpu);
/* Recomputes the INTR line of a CPU and tells the host when it changed. */
void board_cpu_update_irq(struct board_cpu *cpu);
/* Delivers a message to the CPUs it names. */
void board_send_message(struct board *board, const struct apic_message *message);

#endif
