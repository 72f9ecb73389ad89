/* SPDX-License-Identifier: Apache-2.0 */
/* A triple fault with an empty IDT is a reset: with --no-reboot the end of the run. */
#include "guest.h"

GUEST
{
    struct table_ptr none = {0, 0};

    say("PASS reset_triple\n");
    asm volatile("lidt %0\n\tud2" ::"m"(none));
}
