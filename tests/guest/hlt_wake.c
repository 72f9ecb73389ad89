/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HLT: woken by interrupts that are taken, not by masked ones; the return address lies behind it.
 */
#include "guest.h"

#define VECTOR 0x50
static unsigned count;
static word at;
extern const uint8_t behind[];

static void on_timer(struct frame *f)
{
    count++;
    at = f->ip;
    apic_write(APIC_EOI, 0);
}

static void on_other(struct frame *f)
{
    (void)f;
    count += 100;
    apic_write(APIC_EOI, 0);
}

GUEST
{
    hook[VECTOR] = on_timer;
    hook[0x40] = on_other;
    apic_enable();
    apic_write(APIC_TPR, 0x40); /* vector 0x40 stays masked by priority */
    apic_write(APIC_TIMER_DIV, 3);
    apic_write(APIC_LVT_TIMER, VECTOR);
    for (unsigned i = 1; i <= 20; i++) {
        apic_write(APIC_ICR, 0x44040);
        apic_write(APIC_TIMER_INIT, 20000);
        asm volatile("call 1f\n\tjmp 2f\n1: sti\n\thlt\n\tcli\n\tret\n2:" ::: "memory");
        check(1, count, i);
    }
    apic_write(APIC_TIMER_INIT, 20000);
    asm volatile("sti\n\thlt\nbehind: cli" ::: "memory");
    check(2, at, (word)behind);
    /* Pending already: no sleep at all. */
    apic_write(APIC_TPR, 0x50);
    apic_write(APIC_TIMER_INIT, 100);
    pit_wait_us(10000);
    check(3, count, 21);
    apic_write(APIC_TPR, 0x40);
    asm volatile("sti\n\thlt\n\tcli" ::: "memory");
    check(4, count, 22);
}
