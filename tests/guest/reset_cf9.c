/* SPDX-License-Identifier: Apache-2.0 */
/* The reset control register: system reset, by its rising bit 2. */
#include "guest.h"

GUEST
{
    say("PASS reset_cf9\n");
    outb(0xcf9, 2);
    outb(0xcf9, 6);
    for (;;)
        asm volatile("pause");
}
