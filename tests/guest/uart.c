/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16550: loop-back of data and modem lines, FIFO, scratch, divisor latch, interrupt identification,
 * overrun.
 */
#include "guest.h"

#define COM 0x3f8

GUEST
{
    outb(COM + 7, 0x5a);
    check(1, inb(COM + 7), 0x5a);
    outb(COM + 3, 0x83);
    outb(COM, 0x0c);
    outb(COM + 1, 0x01);
    check(2, inb(COM), 0x0c);
    check(3, inb(COM + 1), 0x01);
    outb(COM + 3, 0x03);
    check(4, inb(COM + 3), 0x03);
    check(5, inb(COM + 1), 0);
    outb(COM + 2, 0x07); /* FIFOs on and cleared */
    check(6, inb(COM + 2) & 0xc0, 0xc0);
    check(7, inb(COM + 5) & 0x61, 0x60);

    outb(COM + 4, 0x1f); /* loop-back */
    check(8, inb(COM + 6) & 0xf0, 0xf0);
    outb(COM + 4, 0x12);
    check(9, inb(COM + 6) & 0xf0, 0x10); /* RTS is CTS */
    check(10, inb(COM + 6) & 0x0f, 0);   /* changes are reported once */
    for (unsigned i = 0; i < 10; i++)
        outb(COM, (uint8_t)(0x30 + i));
    for (unsigned i = 0; i < 10; i++) {
        for (unsigned t = 0; !(inb(COM + 5) & 1); t++)
            check(11, t < 100000, 1);
        check(12, inb(COM), 0x30 + i);
    }
    check(13, inb(COM + 5) & 1, 0);
    /*
     * Interrupt identification: received data above transmitter empty; reading clears the latter.
     */
    outb(COM + 1, 3);
    check(14, inb(COM + 2) & 0x0f, 2);
    check(15, inb(COM + 2) & 0x0f, 1);
    outb(COM + 2, 0x01); /* trigger at one byte */
    outb(COM, 0x77);
    for (unsigned t = 0; !(inb(COM + 5) & 1); t++)
        check(16, t < 100000, 1);
    check(17, inb(COM + 2) & 0x0f, 4);
    check(18, inb(COM), 0x77);
    outb(COM + 1, 0);
    check(19, inb(COM + 2) & 0x0f, 1);
    outb(COM + 2, 0);
    check(20, inb(COM + 2) & 0xc0, 0);
    outb(COM + 4, 0);
}
