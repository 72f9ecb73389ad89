/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16550A serial port (National PC16550D data sheet). Sending takes no time: THR is always empty. A
 * receive FIFO below its trigger level tells at once instead of after four character times.
 *
 * Bytes from the line wait outside until the guest listens: its receive interrupt can reach the
 * CPU, or it polls LSR and does nothing else. What is typed or piped in while a kernel boots would
 * otherwise be lost when its driver probes the chip and clears the FIFO.
 */
#ifndef UMBRA_MACHINE_DEV_UART_H
#define UMBRA_MACHINE_DEV_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/irq.h"

#define UART_PORTS      8
#define UART_FIFO_BYTES 16

/* So many fruitless reads of LSR in a row are a guest that waits for input. */
#define UART_LISTENING_POLLS 64

struct uart {
    uint16_t base;
    struct irq_line irq;
    void *arg;
    void (*send)(void *arg, const uint8_t *bytes, size_t count);
    /* the receiver refused bytes earlier and has room now */
    void (*room)(void *arg);

    uint8_t ier, fcr, lcr, mcr, scratch, errors, msr_delta;
    uint16_t divisor;
    uint8_t fifo[UART_FIFO_BYTES];
    unsigned head, count;
    bool thr_empty_pending;
    bool refused;
    unsigned polls; /* reads of LSR in a row that found nothing, up to UART_LISTENING_POLLS */
};

void uart_reset(struct uart *uart);
uint32_t uart_in(void *arg, uint16_t port, unsigned bytes);
void uart_out(void *arg, uint16_t port, unsigned bytes, uint32_t value);

/* Bytes from the line; answers how many the receiver took. */
size_t uart_receive(struct uart *uart, const uint8_t *bytes, size_t count);

#endif
