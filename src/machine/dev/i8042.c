/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/i8042.h"

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM      0x04
#define STATUS_COMMAND     0x08
#define STATUS_UNLOCKED    0x10
#define STATUS_TIMEOUT     0x40

#define COMMAND_BYTE_IRQ 0x01

#define CMD_READ_BYTE    0x20
#define CMD_WRITE_BYTE   0x60
#define CMD_TEST_AUX     0xa9
#define CMD_SELF_TEST    0xaa
#define CMD_TEST_KBD     0xab
#define CMD_READ_OUTPUT  0xd0
#define CMD_WRITE_OUTPUT 0xd1
#define CMD_LOOP_KBD     0xd2
#define CMD_WRITE_AUX    0xd4

#define SELF_TEST_PASSED 0x55
#define TEST_NO_CLOCK    0x01 /* interface test: clock line stuck low */
#define ANSWER_RESEND    0xfe

#define OUTPUT_NOT_RESET 0x01
#define OUTPUT_A20       0x02

#define PORT92_RESET 0x01
#define PORT92_A20   0x02

static void update_irq(struct i8042 *kbc)
{
    irq_set(&kbc->irq, (kbc->command & COMMAND_BYTE_IRQ) && (kbc->status & STATUS_OUTPUT_FULL));
}

static void answer(struct i8042 *kbc, uint8_t value, uint8_t status)
{
    kbc->output = value;
    kbc->status = (kbc->status & (uint8_t)~STATUS_TIMEOUT) | STATUS_OUTPUT_FULL | status;
}

static void request_reset(struct i8042 *kbc)
{
    if (kbc->reset_machine)
        kbc->reset_machine(kbc->arg);
}

static void write_command(struct i8042 *kbc, uint8_t value)
{
    kbc->status |= STATUS_COMMAND;
    kbc->pending = 0;
    switch (value) {
    case CMD_READ_BYTE:
        answer(kbc, kbc->command, 0);
        break;
    case CMD_SELF_TEST:
        kbc->status |= STATUS_SYSTEM;
        answer(kbc, SELF_TEST_PASSED, 0);
        break;
    case CMD_TEST_KBD:
        answer(kbc, 0, 0);
        break;
    case CMD_TEST_AUX:
        answer(kbc, TEST_NO_CLOCK, 0);
        break;
    case CMD_READ_OUTPUT:
        answer(kbc, OUTPUT_NOT_RESET | OUTPUT_A20, 0);
        break;
    case CMD_WRITE_BYTE:
    case CMD_WRITE_OUTPUT:
    case CMD_LOOP_KBD:
    case CMD_WRITE_AUX:
        kbc->pending = value;
        break;
    default:
        /* 0xf0..0xff pulse output lines 3..0 that are 0 in the command; line 0 is the reset */
        if (value >= 0xf0 && !(value & 1))
            request_reset(kbc);
        break;
    }
}

static void write_data(struct i8042 *kbc, uint8_t value)
{
    uint8_t pending = kbc->pending;

    kbc->status &= (uint8_t)~STATUS_COMMAND;
    kbc->pending = 0;
    switch (pending) {
    case CMD_WRITE_BYTE:
        kbc->command = value;
        break;
    case CMD_WRITE_OUTPUT:
        if (!(value & OUTPUT_NOT_RESET))
            request_reset(kbc);
        break;
    case CMD_LOOP_KBD:
        answer(kbc, value, 0);
        break;
    default: /* to the keyboard or the mouse: nobody answers, the controller says so */
        answer(kbc, ANSWER_RESEND, STATUS_TIMEOUT);
        break;
    }
}

uint32_t i8042_in(void *arg, uint16_t port, unsigned bytes)
{
    struct i8042 *kbc = arg;

    (void)bytes;
    if (port == 0x64)
        return kbc->status;
    kbc->status &= (uint8_t) ~(STATUS_OUTPUT_FULL | STATUS_TIMEOUT);
    update_irq(kbc);
    return kbc->output;
}

void i8042_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    struct i8042 *kbc = arg;

    (void)bytes;
    if (port == 0x64)
        write_command(kbc, (uint8_t)value);
    else
        write_data(kbc, (uint8_t)value);
    update_irq(kbc);
}

uint32_t i8042_port92_in(void *arg, uint16_t port, unsigned bytes)
{
    struct i8042 *kbc = arg;

    (void)port;
    (void)bytes;
    return kbc->port92;
}

void i8042_port92_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    struct i8042 *kbc = arg;
    bool reset = value & ~(uint32_t)kbc->port92 & PORT92_RESET;

    (void)port;
    (void)bytes;
    /* A20 is always on: its bit is kept, nothing follows from it. */
    kbc->port92 = value & (PORT92_RESET | PORT92_A20);
    if (reset)
        request_reset(kbc);
}

void i8042_reset(struct i8042 *kbc)
{
    kbc->command = 0;
    kbc->pending = 0;
    kbc->output = 0;
    kbc->status = STATUS_UNLOCKED;
    kbc->port92 = PORT92_A20;
    update_irq(kbc);
}
