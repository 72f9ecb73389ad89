/* SPDX-License-Identifier: Apache-2.0 */
#include "machine_time.h"

#include <string.h>

#include "machine/dev/uart.h"

enum { DATA, IER, FCR, LCR, MCR, LSR, MSR, SCRATCH };

struct fixture {
    struct uart uart;
    struct line_probe line;
    uint8_t sent[64];
    size_t sent_count;
    unsigned rooms;
};

static void on_send(void *arg, const uint8_t *bytes, size_t count)
{
    struct fixture *f = arg;

    assert_true(f->sent_count + count <= sizeof(f->sent));
    memcpy(f->sent + f->sent_count, bytes, count);
    f->sent_count += count;
}

static void on_room(void *arg)
{
    struct fixture *f = arg;

    f->rooms++;
}

static struct fixture *setup(struct fixture *f)
{
    *f = (struct fixture){0};
    f->uart = (struct uart){
        .base = 0x3f8, .irq = line_to(&f->line), .arg = f, .send = on_send, .room = on_room};
    uart_reset(&f->uart);
    return f;
}

static uint8_t in(struct fixture *f, unsigned reg)
{
    return (uint8_t)uart_in(&f->uart, (uint16_t)(0x3f8 + reg), 1);
}

static void out(struct fixture *f, unsigned reg, uint8_t value)
{
    uart_out(&f->uart, (uint16_t)(0x3f8 + reg), 1, value);
}

/* The steps by which Linux' 8250 driver tells the kinds apart (its autoconfig). */
static void test_detected_as_16550a(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    out(f, IER, 0);
    assert_int_equal(in(f, IER) & 0x0f, 0);
    out(f, IER, 0x0f);
    assert_int_equal(in(f, IER), 0x0f);
    out(f, IER, 0);
    out(f, MCR, 0x10 | 0x0a);
    assert_int_equal(in(f, MSR) & 0xf0, 0x90);
    out(f, MCR, 0);
    out(f, LCR, 0xbf); /* an EFR would be at offset 2 now */
    out(f, LCR, 0);
    out(f, FCR, 1);
    assert_int_equal(in(f, FCR) >> 6, 3);
    out(f, FCR, 0);
    assert_int_equal(in(f, FCR) >> 6, 0);
    out(f, SCRATCH, 0xa5);
    assert_int_equal(in(f, SCRATCH), 0xa5);
}

static void test_send(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    out(f, MCR, 0x08);
    assert_int_equal(in(f, LSR), 0x60);
    out(f, DATA, 'h');
    out(f, DATA, 'i');
    assert_int_equal(f->sent_count, 2);
    assert_memory_equal(f->sent, "hi", 2);
    assert_false(f->line.level);
    out(f, IER, 2); /* THR is empty: interrupts at once */
    assert_true(f->line.level);
    assert_int_equal(in(f, FCR) & 0x0f, 0x02);
    assert_false(f->line.level); /* told by reading IIR */
    assert_int_equal(in(f, FCR) & 0x0f, 0x01);
    out(f, DATA, '!');
    assert_true(f->line.level);
    out(f, MCR, 0); /* OUT2 disconnects the line */
    assert_false(f->line.level);
}

static void test_receive(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    out(f, MCR, 0x08);
    out(f, FCR, 0x81); /* FIFO, trigger at 8 */
    out(f, IER, 1);
    assert_int_equal(uart_receive(&f->uart, (const uint8_t *)"abc", 3), 3);
    assert_true(f->line.level);
    assert_int_equal(in(f, FCR) & 0x0f, 0x0c);
    assert_int_equal(uart_receive(&f->uart, (const uint8_t *)"defghijklmnopqr", 15), 13);
    assert_int_equal(in(f, FCR) & 0x0f, 0x04);
    assert_int_equal(f->rooms, 0);
    assert_int_equal(in(f, LSR) & 1, 1);
    assert_int_equal(in(f, DATA), 'a');
    assert_int_equal(f->rooms, 1);
    for (char c = 'b'; c <= 'p'; c++)
        assert_int_equal(in(f, DATA), c);
    assert_int_equal(in(f, LSR) & 1, 0);
    assert_false(f->line.level);
    assert_int_equal(f->rooms, 1);
}

/* Nothing is taken while a guest only prints or probes; a polling guest is served. */
static void test_waits_for_a_listener(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    assert_int_equal(uart_receive(&f->uart, (const uint8_t *)"ab", 2), 0);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(in(f, LSR) & 1, 0);
        out(f, DATA, '.');
        f->sent_count = 0;
    }
    out(f, FCR, 0x07);
    assert_int_equal(f->rooms, 0);
    for (unsigned i = 0; i < UART_LISTENING_POLLS; i++)
        in(f, LSR);
    assert_int_equal(f->rooms, 1);
    assert_int_equal(uart_receive(&f->uart, (const uint8_t *)"ab", 2), 2);
    assert_int_equal(in(f, LSR) & 1, 1);
    assert_int_equal(in(f, DATA), 'a');
    assert_int_equal(in(f, DATA), 'b');
    out(f, IER, 0);
    assert_int_equal(uart_receive(&f->uart, (const uint8_t *)"c", 1), 0);
    out(f, IER, 1);
    assert_int_equal(f->rooms, 1);
    out(f, MCR, 0x0b);
    assert_int_equal(f->rooms, 2);
    assert_int_equal(uart_receive(&f->uart, (const uint8_t *)"c", 1), 1);
}

static void test_loopback(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    out(f, MCR, 0x10);
    in(f, MSR);
    out(f, DATA, 'x');
    assert_int_equal(f->sent_count, 0);
    assert_int_equal(in(f, LSR) & 0x03, 0x01);
    out(f, DATA, 'y'); /* no FIFO: the second one overruns */
    assert_int_equal(in(f, LSR) & 0x03, 0x03);
    assert_int_equal(in(f, LSR) & 0x03, 0x01);
    assert_int_equal(in(f, DATA), 'x');
    out(f, MCR, 0x1f);
    assert_int_equal(in(f, MSR),
                     0xfb); /* all lines up; changes: CTS, DSR, DCD, and no trailing RI */
    assert_int_equal(in(f, MSR), 0xf0);
    out(f, MCR, 0x1b);
    assert_int_equal(in(f, MSR), 0xb4); /* RI fell */
    assert_int_equal(uart_receive(&f->uart, (const uint8_t *)"z", 1), 0);
}

static void test_divisor(void **state)
{
    struct fixture storage, *f = setup(&storage);

    (void)state;
    out(f, LCR, 0x83);
    out(f, DATA, 1);
    out(f, IER, 0x12);
    assert_int_equal(in(f, DATA), 1);
    assert_int_equal(in(f, IER), 0x12);
    out(f, LCR, 0x03);
    assert_int_equal(f->sent_count, 0);
    assert_int_equal(in(f, IER), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_detected_as_16550a),
        cmocka_unit_test(test_send),
        cmocka_unit_test(test_receive),
        cmocka_unit_test(test_waits_for_a_listener),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_divisor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
