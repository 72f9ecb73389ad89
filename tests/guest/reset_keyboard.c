/* SPDX-License-Identifier: Apache-2.0 */
/* The keyboard controller pulses the reset line. */
#include "guest.h"

GUEST
{
    say("PASS reset_keyboard\n");
    for (unsigned i = 0; inb(0x64) & 2; i++)
        check(1, i < 100000, 1);
    outb(0x64, 0xfe);
    for (;;)
        asm volatile("pause");
}
