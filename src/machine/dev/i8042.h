/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyboard controller without keyboard or mouse: its self-tests pass, bytes sent to a device are
 * answered as "nobody there" at once, and its two reset ways work. Ports 0x60 and 0x64, and port
 * 0x92 (fast A20, fast reset).
 */
#ifndef UMBRA_MACHINE_DEV_I8042_H
#define UMBRA_MACHINE_DEV_I8042_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/irq.h"

struct i8042 {
    struct irq_line irq;
    void *arg;
    void (*reset_machine)(void *arg);

    uint8_t command; /* the command byte */
    uint8_t pending; /* controller command that waits for its data byte, 0: none */
    uint8_t output, status;
    uint8_t port92;
};

void i8042_reset(struct i8042 *kbc);
uint32_t i8042_in(void *arg, uint16_t port, unsigned bytes);
void i8042_out(void *arg, uint16_t port, unsigned bytes, uint32_t value);
uint32_t i8042_port92_in(void *arg, uint16_t port, unsigned bytes);
void i8042_port92_out(void *arg, uint16_t port, unsigned bytes, uint32_t value);

#endif
