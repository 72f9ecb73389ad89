/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fault that no gate can serve: shutdown. The runner expects the crash status, after the PASS
 * line.
 */
#include "guest.h"

GUEST
{
    say("PASS triple_fault\n");
    memset(idt, 0, sizeof(idt));
    asm volatile("ud2");
}
