/* SPDX-License-Identifier: Apache-2.0 */
/* RTC: plausible time in BCD and binary, update flag, SET, CMOS bytes, valid RAM. */
#include "guest.h"

static uint8_t cmos(uint8_t reg)
{
    outb(0x70, reg);
    return inb(0x71);
}

static void cmos_set(uint8_t reg, uint8_t v)
{
    outb(0x70, reg);
    outb(0x71, v);
}

static unsigned bcd(unsigned v)
{
    return (v >> 4) * 10 + (v & 15);
}

GUEST
{
    check(1, cmos(0x0d) & 0x80, 0x80);
    uint8_t b = cmos(0x0b);
    check(2, b & 2, 2); /* 24 hours */
    cmos_set(0x0b, b & ~4);
    for (unsigned i = 0; cmos(0x0a) & 0x80; i++)
        check(3, i < 10000000, 1);
    unsigned year = bcd(cmos(9)), month = bcd(cmos(8)), day = bcd(cmos(7)), hour = bcd(cmos(4));
    unsigned minute = bcd(cmos(2)), second = bcd(cmos(0));
    check(4, year >= 20 && year <= 99, 1);
    check(5, month >= 1 && month <= 12, 1);
    check(6, day >= 1 && day <= 31, 1);
    check(7, hour <= 23 && minute <= 59 && second <= 59, 1);
    check(8, cmos(6) >= 1 && cmos(6) <= 7, 1);
    check(9, bcd(cmos(0x32)), 20); /* century */
    cmos_set(0x0b, b | 4);
    check(10, cmos(9), year);
    cmos_set(0x0b, b);
    /* It runs. */
    uint8_t first = cmos(0);
    unsigned waited;
    for (waited = 0; waited < 100 && cmos(0) == first; waited++)
        pit_wait_us(20000);
    check(11, waited < 100, 1);
    /* With SET the time stands and can be written. */
    cmos_set(0x0b, b | 0x80);
    cmos_set(2, 0x34);
    check(12, cmos(2), 0x34);
    cmos_set(0x0b, b);
    /* Ordinary CMOS bytes are memory. */
    cmos_set(0x50, 0xa5);
    check(13, cmos(0x50), 0xa5);
    cmos_set(0x50, 0x5a);
    check(14, cmos(0x50), 0x5a);
}
