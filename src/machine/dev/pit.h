/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 8254 interval timer (Intel 8254 data sheet) at 1,193,182 Hz, and port 0x61 with channel 2's gate
 * and output. Channel 0's output is IRQ 0. Counters are not stepped: they are computed from guest
 * time when looked at, and one timer stands for channel 0's next rising edge. A new count in modes
 * 2 and 3 starts a new period at once.
 */
#ifndef UMBRA_MACHINE_DEV_PIT_H
#define UMBRA_MACHINE_DEV_PIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "machine/irq.h"

#define PIT_HZ       1193182
#define PIT_CHANNELS 3

struct pit_channel {
    uint8_t mode, access;
    bool bcd, gate;
    bool loaded;  /* a count was written since the control word */
    bool running; /* counts: modes 1 and 5 wait for a trigger, a low gate suspends modes 0 and 4 */
    uint32_t count; /* 1..65536 (BCD: 10000) */
    uint64_t start_ns;
    uint64_t suspended_ticks;
    uint8_t write_low;
    bool write_high_next, read_high_next;
    bool status_latched;
    uint8_t status;
    unsigned latched_bytes; /* of latch still to be read */
    uint16_t latch;
};

struct pit {
    struct clock *clock;
    struct irq_line irq;
    struct pit_channel channel[PIT_CHANNELS];
    struct clock_timer timer;
    uint8_t speaker; /* port 0x61 bits 0..3 as written */
};

void pit_init(struct pit *pit, struct clock *clock, struct irq_line irq);
void pit_reset(struct pit *pit);

/* Ports 0x40..0x43. */
uint32_t pit_in(void *arg, uint16_t port, unsigned bytes);
void pit_out(void *arg, uint16_t port, unsigned bytes, uint32_t value);

/* Port 0x61. */
uint32_t pit_speaker_in(void *arg, uint16_t port, unsigned bytes);
void pit_speaker_out(void *arg, uint16_t port, unsigned bytes, uint32_t value);

#endif
