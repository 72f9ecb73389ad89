/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HLT with interrupts off and nothing that could wake the CPU: the runner expects the crash status.
 */
#include "guest.h"

GUEST
{
    say("PASS halt_forever\n");
    cli();
    asm volatile("hlt");
    fail(1, "went on");
}
