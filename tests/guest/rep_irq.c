/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts in the middle of long string instructions and of user code: nothing is lost or done
 * twice.
 */
#include "guest.h"

#define VECTOR 0x50
#define BYTES  0x200000u

static unsigned inside, total, users;

static void on_timer(struct frame *f)
{
    total++;
    if (f->cx && f->cx < BYTES)
        inside++;
    if (f->cs & 3)
        users++;
    apic_write(APIC_EOI, 0);
}

static word user(word arg)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < arg; i++)
        asm volatile("addl %1, %0" : "+r"(sum) : "r"(i) : "cc");
    return sum;
}

GUEST
{
    uint8_t *from = (uint8_t *)0x400000, *to = (uint8_t *)0xc00000;

    hook[VECTOR] = on_timer;
    apic_enable();
    apic_write(APIC_TPR, 0);
    apic_write(APIC_TIMER_DIV, 0xb);
    apic_write(APIC_LVT_TIMER, VECTOR | 0x20000);
    for (unsigned i = 0; i < BYTES; i += 4)
        *(uint32_t *)(from + i) = i * 2654435761u;
    apic_write(APIC_TIMER_INIT, 100000);
    sti();
    for (unsigned turn = 0; turn < 200 && (inside < 3 || turn < 3); turn++) {
        void *si = from, *di = to;
        word cx = BYTES;

        asm volatile("rep movsb" : "+S"(si), "+D"(di), "+c"(cx)::"memory");
        check(1, cx, 0);
        check(2, (word)di, (word)to + BYTES);
        check(3, memcmp(from, to, 4096), 0);
        check(4, memcmp(from + BYTES - 4096, to + BYTES - 4096, 4096), 0);
        memset(to, 0, 4096);
        memset(to + BYTES - 4096, 0, 4096);
    }
    check(5, inside >= 3, 1);
    user_flags = 0x202;
    for (unsigned turn = 0; turn < 100 && users < 3; turn++)
        check(6, (uint32_t)call_user(user, 1000000), 0x6a4ae6e0);
    cli();
    apic_write(APIC_TIMER_INIT, 0);
    check(7, users >= 3, 1);
}
