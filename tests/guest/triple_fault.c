/* SPDX-License-Identifier: Apache-2.0 */
/* A fault that no gate can serve: shutdown. The runner expects the crash status, after the PASS line. */
#include "guest.h"

GUEST
{
    struct table_ptr none = {0, 0};

    say("PASS triple_fault\n");
    asm volatile("lidt %0\n\tud2" ::"m"(none));
}
