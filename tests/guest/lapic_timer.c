/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LAPIC timer: one-shot, periodic, divider, mask, current count; TSC deadline where CPUID offers
 * it.
 */
#include "guest.h"

#define VECTOR 0x50

static bool wait_for(unsigned count)
{
    for (unsigned i = 0; i < 100; i++) {
        if (irq_count[VECTOR] >= count)
            return true;
        pit_wait_us(5000);
    }
    return false;
}

GUEST
{
    hook[VECTOR] = irq_counter;
    apic_enable();
    apic_write(APIC_TPR, 0);
    apic_write(APIC_TIMER_DIV, 3); /* by 16 */
    sti();
    apic_write(APIC_LVT_TIMER, VECTOR);
    apic_write(APIC_TIMER_INIT, 10000);
    check(1, wait_for(1), 1);
    pit_wait_us(20000);
    check(2, irq_count[VECTOR], 1);
    check(3, apic_read(APIC_TIMER_NOW), 0);
    /* Periodic until stopped. */
    apic_write(APIC_LVT_TIMER, VECTOR | 0x20000);
    apic_write(APIC_TIMER_INIT, 10000);
    check(4, wait_for(4), 1);
    apic_write(APIC_TIMER_INIT, 0);
    pit_wait_us(5000);
    unsigned seen = irq_count[VECTOR];
    pit_wait_us(20000);
    check(5, irq_count[VECTOR], seen);
    /* Masked: it counts, but nothing comes. */
    apic_write(APIC_LVT_TIMER, VECTOR | 0x10000);
    apic_write(APIC_TIMER_INIT, 1000);
    pit_wait_us(20000);
    check(6, irq_count[VECTOR], seen);
    check(7, apic_read(APIC_TIMER_NOW), 0);
    apic_write(APIC_TIMER_INIT, 0xffffffff);
    uint32_t now = apic_read(APIC_TIMER_NOW);
    pit_wait_us(5000);
    check(8, apic_read(APIC_TIMER_NOW) < now, 1);
    check(9, apic_read(APIC_TIMER_INIT), 0xffffffff);
    apic_write(APIC_TIMER_INIT, 0);
    check(10, apic_read(APIC_TIMER_NOW), 0);

    if (!(cpuid(1, 0).c >> 24 & 1))
        return;
    apic_write(APIC_LVT_TIMER, VECTOR | 0x40000);
    uint64_t deadline = rdtsc() + 5000000;
    wrmsr(MSR_TSC_DEADLINE, deadline);
    while (irq_count[VECTOR] == seen)
        check(11, rdtsc() < deadline + 100000000000, 1);
    check(12, rdtsc() >= deadline, 1);
    check(13, rdmsr(MSR_TSC_DEADLINE), 0); /* disarmed by the interrupt */
    seen = irq_count[VECTOR];
    wrmsr(MSR_TSC_DEADLINE, 1); /* long past: at once */
    check(14, wait_for(seen + 1), 1);
    seen = irq_count[VECTOR];
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + 10000000);
    wrmsr(MSR_TSC_DEADLINE, 0);
    pit_wait_us(30000);
    check(15, irq_count[VECTOR], seen);
}
