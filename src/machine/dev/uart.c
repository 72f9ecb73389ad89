/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/uart.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCRATCH };

#define IER_RX    0x01
#define IER_THR   0x02
#define IER_LINE  0x04
#define IER_MODEM 0x08
#define IER_ALL   0x0f

#define IIR_NONE    0x01
#define IIR_MODEM   0x00
#define IIR_THR     0x02
#define IIR_RX      0x04
#define IIR_LINE    0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS   0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_KEPT     0xc9

#define LCR_BREAK 0x40
#define LCR_DLAB  0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_ALL  0x1f

#define LSR_DATA    0x01
#define LSR_OVERRUN 0x02
#define LSR_BREAK   0x10
#define LSR_THRE    0x20
#define LSR_IDLE    0x40

#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI  0x40
#define MSR_DCD 0x80

static unsigned capacity(const struct uart *uart)
{
    return uart->fcr & FCR_ENABLE ? UART_FIFO_BYTES : 1;
}

static unsigned trigger_level(const struct uart *uart)
{
    static const uint8_t levels[4] = {1, 4, 8, 14};

    return uart->fcr & FCR_ENABLE ? levels[uart->fcr >> 6] : 1;
}

static uint8_t interrupt_id(const struct uart *uart)
{
    if ((uart->ier & IER_LINE) && uart->errors)
        return IIR_LINE;
    if ((uart->ier & IER_RX) && uart->count)
        return uart->count >= trigger_level(uart) ? IIR_RX : IIR_TIMEOUT;
    if ((uart->ier & IER_THR) && uart->thr_empty_pending)
        return IIR_THR;
    if ((uart->ier & IER_MODEM) && uart->msr_delta)
        return IIR_MODEM;
    return IIR_NONE;
}

/* On a PC, OUT2 connects the chip's interrupt to the line; loopback pulls OUT2 inactive. */
static void update_irq(struct uart *uart)
{
    bool connected = (uart->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

    irq_set(&uart->irq, connected && interrupt_id(uart) != IIR_NONE);
}

static uint8_t modem_lines(const struct uart *uart)
{
    uint8_t lines = 0;

    if (!(uart->mcr & MCR_LOOP))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    if (uart->mcr & MCR_RTS)
        lines |= MSR_CTS;
    if (uart->mcr & MCR_DTR)
        lines |= MSR_DSR;
    if (uart->mcr & MCR_OUT1)
        lines |= MSR_RI;
    if (uart->mcr & MCR_OUT2)
        lines |= MSR_DCD;
    return lines;
}

static void note_modem_change(struct uart *uart, uint8_t before)
{
    uint8_t after = modem_lines(uart);
    uint8_t changed = before ^ after;

    if (after & MSR_RI) /* RI tells only of its trailing edge */
        changed &= (uint8_t)~MSR_RI;
    uart->msr_delta |= changed >> 4;
}

static bool push(struct uart *uart, uint8_t byte)
{
    if (uart->count >= capacity(uart))
        return false;
    uart->fifo[(uart->head + uart->count++) % UART_FIFO_BYTES] = byte;
    return true;
}

/* May a byte from the line come in? Loopback takes the receiver off the line. */
static bool takes_input(const struct uart *uart)
{
    bool listens =
        ((uart->ier & IER_RX) && (uart->mcr & MCR_OUT2)) || uart->polls >= UART_LISTENING_POLLS;

    return listens && !(uart->mcr & MCR_LOOP) && uart->count < capacity(uart);
}

static void tell_room(struct uart *uart)
{
    if (uart->refused && takes_input(uart)) {
        uart->refused = false;
        if (uart->room)
            uart->room(uart->arg);
    }
}

static uint8_t pop(struct uart *uart)
{
    uint8_t byte;

    if (!uart->count)
        return 0;
    byte = uart->fifo[uart->head];
    uart->head = (uart->head + 1) % UART_FIFO_BYTES;
    uart->count--;
    return byte;
}

static void send_byte(struct uart *uart, uint8_t byte)
{
    if (!(uart->mcr & MCR_LOOP)) {
        if (uart->send)
            uart->send(uart->arg, &byte, 1);
    } else if (!push(uart, byte)) {
        uart->errors |= LSR_OVERRUN;
    }
    uart->thr_empty_pending = true;
}

static void write_fcr(struct uart *uart, uint8_t value)
{
    bool disabled = uart->fcr & ~value & FCR_ENABLE;

    /*
     * Enabling the FIFO clears it in the real chip. Here a byte that waits is kept: Linux enables
     * the receive interrupt first, the FIFO next, and would lose the first byte typed.
     */
    if (disabled || (value & FCR_CLEAR_RX)) {
        uart->head = 0;
        uart->count = 0;
    }
    uart->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
}

static void write_ier(struct uart *uart, uint8_t value)
{
    /* Enabling the THR interrupt while THR is empty raises it: drivers start to send this way. */
    if ((value & ~uart->ier) & IER_THR)
        uart->thr_empty_pending = true;
    uart->ier = value & IER_ALL;
}

static void write_lcr(struct uart *uart, uint8_t value)
{
    if ((value & ~uart->lcr & LCR_BREAK) && (uart->mcr & MCR_LOOP) && push(uart, 0))
        uart->errors |= LSR_BREAK;
    uart->lcr = value;
}

static void write_mcr(struct uart *uart, uint8_t value)
{
    uint8_t before = modem_lines(uart);

    uart->mcr = value & MCR_ALL;
    note_modem_change(uart, before);
}

static uint8_t read_iir(struct uart *uart)
{
    uint8_t id = interrupt_id(uart);

    if (id == IIR_THR)
        uart->thr_empty_pending = false;
    return id | (uart->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct uart *uart)
{
    uint8_t value = LSR_THRE | LSR_IDLE | uart->errors | (uart->count ? LSR_DATA : 0);

    uart->errors = 0;
    if (uart->polls < UART_LISTENING_POLLS)
        uart->polls++;
    return value;
}

static uint8_t read_msr(struct uart *uart)
{
    uint8_t value = modem_lines(uart) | uart->msr_delta;

    uart->msr_delta = 0;
    return value;
}

static uint8_t read_register(struct uart *uart, unsigned reg)
{
    switch (reg) {
    case REG_DATA:
        return uart->lcr & LCR_DLAB ? (uint8_t)uart->divisor : pop(uart);
    case REG_IER:
        return uart->lcr & LCR_DLAB ? (uint8_t)(uart->divisor >> 8) : uart->ier;
    case REG_IIR_FCR:
        return read_iir(uart);
    case REG_LCR:
        return uart->lcr;
    case REG_MCR:
        return uart->mcr;
    case REG_LSR:
        return read_lsr(uart);
    case REG_MSR:
        return read_msr(uart);
    default:
        return uart->scratch;
    }
}

uint32_t uart_in(void *arg, uint16_t port, unsigned bytes)
{
    struct uart *uart = arg;
    uint8_t value = read_register(uart, port - uart->base);

    (void)bytes;
    tell_room(uart);
    update_irq(uart);
    return value;
}

void uart_out(void *arg, uint16_t port, unsigned bytes, uint32_t value32)
{
    struct uart *uart = arg;
    uint8_t value = (uint8_t)value32;

    (void)bytes;
    uart->polls = 0;
    switch (port - uart->base) {
    case REG_DATA:
        if (uart->lcr & LCR_DLAB)
            uart->divisor = (uart->divisor & 0xff00) | value;
        else
            send_byte(uart, value);
        break;
    case REG_IER:
        if (uart->lcr & LCR_DLAB)
            uart->divisor = (uint16_t)(value << 8) | (uart->divisor & 0xff);
        else
            write_ier(uart, value);
        break;
    case REG_IIR_FCR:
        write_fcr(uart, value);
        break;
    case REG_LCR:
        write_lcr(uart, value);
        break;
    case REG_MCR:
        write_mcr(uart, value);
        break;
    case REG_SCRATCH:
        uart->scratch = value;
        break;
    default: /* LSR and MSR are read-only */
        break;
    }
    tell_room(uart);
    update_irq(uart);
}

size_t uart_receive(struct uart *uart, const uint8_t *bytes, size_t count)
{
    size_t taken = 0;

    while (taken < count && takes_input(uart))
        push(uart, bytes[taken++]);
    uart->refused = taken < count;
    update_irq(uart);
    return taken;
}

void uart_reset(struct uart *uart)
{
    uart->ier = 0;
    uart->fcr = 0;
    uart->lcr = 0;
    uart->mcr = 0;
    uart->scratch = 0;
    uart->errors = 0;
    uart->msr_delta = 0;
    uart->divisor = 12; /* 9600 baud */
    uart->head = 0;
    uart->count = 0;
    uart->thr_empty_pending = false;
    uart->polls = 0;
    update_irq(uart);
}
