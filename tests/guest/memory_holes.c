/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses without memory: reads give ones, writes and read-modify-writes do nothing; the last RAM
 * byte is RAM.
 */
#include "guest.h"

static const word holes[] = {0x1000000, 0x2345678, 0x80000000, 0xd0000000, 0xfdfffffc};

GUEST
{
    volatile uint32_t *last_word = (volatile uint32_t *)0xfffffc;

    *last_word = 0x12345678;
    check(1, *last_word, 0x12345678);
    for (unsigned i = 0; i < sizeof(holes) / sizeof(holes[0]); i++) {
        volatile uint32_t *hole = (volatile uint32_t *)holes[i];

        check(2, *hole, 0xffffffff);
        *hole = 0x55aa55aa;
        check(3, *hole, 0xffffffff);
        *(volatile uint8_t *)hole = 1;
        check(4, *(volatile uint16_t *)hole, 0xffff);
        asm volatile("lock incl %0" : "+m"(*hole)::"cc");
        check(5, *hole, 0xffffffff);
    }
    /* Across the end of RAM: the part that is RAM is RAM. */
    check(6, *(volatile uint32_t *)0xfffffe, 0xffff1234);
    *(volatile uint32_t *)0xfffffe = 0xabcdef01;
    check(7, *last_word, 0xef015678);
    uint32_t copy[8];
    memcpy(copy, (void *)0xfffff8, 32);
    check(8, copy[1], 0xef015678);
    check(9, copy[2], 0xffffffff);
    /* Code there is all ones: FF FF is no instruction. */
    asm volatile(FAULTS("jmp *%0") ::"r"(0x1000000) : "memory");
    check(10, last.f.vector, UD);
    check(11, last.f.ip, 0x1000000);
}
