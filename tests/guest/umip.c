/* SPDX-License-Identifier: Apache-2.0 */
/* UMIP: what tells of descriptor tables and of CR0 is for CPL 0 only, where CR4 says so. */
#include "guest.h"

static struct table_ptr table;

/* Answers how many of the five faulted, all as they should. */
static word ask(word n)
{
    unsigned faults = 0;
    uint16_t v16;

#define TRY(text)                                                                                  \
    asm volatile(FAULTS(text) : "=&a"(v16), "+m"(table)::"memory");                                \
    if (last.f.vector != NO_FAULT) {                                                               \
        check_fault((unsigned)n, GP, 0, 0);                                                        \
        faults++;                                                                                  \
    }
    TRY("sgdt %1")
    TRY("sidt %1")
    TRY("sldt %w0")
    TRY("str %w0")
    TRY("smsw %w0")
    return faults;
}

GUEST
{
    if (!(cpuid(7, 0).c >> 2 & 1))
        return;
    check(1, ask(10), 0);
    check(2, call_user(ask, 11), 0);
    set_cr4(get_cr4() | 1u << 11);
    check(3, ask(12), 0);
    check(4, call_user(ask, 13), 5);
    set_cr4(get_cr4() & ~(1ul << 11));
    check(6, call_user(ask, 14), 0);
}
