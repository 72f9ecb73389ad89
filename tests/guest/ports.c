/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports: nobody there reads ones at every width; wide accesses; string forms; PCI configuration
 * mechanism.
 */
#include "guest.h"

static inline uint32_t inl(uint16_t port)
{
    uint32_t v;
    asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline void outl(uint16_t port, uint32_t v)
{
    asm volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}
static inline uint16_t inw(uint16_t port)
{
    uint16_t v;
    asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static uint32_t pci(uint32_t device, uint32_t reg)
{
    outl(0xcf8, 0x80000000 | device << 11 | reg);
    return inl(0xcfc);
}

GUEST
{
    uint8_t buffer[4];
    word di = (word)buffer, cx = 4;

    outl(0xe000, 0x12345678); /* writes go nowhere */
    check(1, inb(0xe000), 0xff);
    check(2, inw(0xe000), 0xffff);
    check(3, inl(0xe000), 0xffffffff);
    asm volatile("rep insb" : "+D"(di), "+c"(cx) : "d"(0xe000) : "memory");
    check(4, *(uint32_t *)buffer, 0xffffffff);
    uint32_t ax = 0x11223344;
    asm volatile("inb %%dx, %%al" : "+a"(ax) : "d"(0xe000));
    check(5, ax, 0x112233ff); /* only AL changes */
    outb(0x3ff, 0x42);
    check(6, inw(0x3fe) >> 8, 0x42); /* two bytes, two registers */

    uint32_t host = pci(0, 0);
    check(10, host != 0xffffffff && (host & 0xffff) != 0, 1);
    check(11, pci(0, 8) >> 16, 0x0600); /* host bridge */
    check(12, pci(31, 0), 0xffffffff);
    outl(0xcf8, 0x80000000);
    check(13, inl(0xcf8), 0x80000000);
    check(14, inw(0xcfe), host >> 16);
    check(15, inb(0xcfd), host >> 8 & 0xff);
    outl(0xcf8, 0); /* not enabled */
    check(16, inl(0xcfc), 0xffffffff);
}
