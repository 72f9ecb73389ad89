/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x2APIC, where CPUID offers it: the way in and out, registers as MSRs, self IPI, what is refused.
 */
#include "guest.h"

#define X2(reg) (0x800 + (reg) / 16)

static unsigned count;
static void on_irq(struct frame *f)
{
    (void)f;
    count++;
    wrmsr(X2(APIC_EOI), 0);
}

#define REFUSED(n, msr, lo, hi)                                                                    \
    asm volatile(FAULTS("wrmsr") ::"c"(msr), "a"(lo), "d"(hi) : "memory");                         \
    check_fault(n, GP, 0, 0)

GUEST
{
    if (!(cpuid(1, 0).c >> 21 & 1))
        return;
    hook[0x50] = on_irq;
    apic_enable();
    uint32_t id = apic_read(APIC_ID) >> 24, version = apic_read(APIC_VERSION);
    uint64_t base = rdmsr(MSR_APIC_BASE);

    asm volatile(FAULTS("rdmsr") ::"c"(X2(APIC_ID)) : "eax", "edx", "memory");
    check_fault(1, GP, 0, 0); /* not before it is on */
    wrmsr(MSR_APIC_BASE, base | 0x400);
    check(2, rdmsr(X2(APIC_ID)), id);
    check(3, rdmsr(X2(APIC_VERSION)), version);
    wrmsr(X2(APIC_TPR), 0);
    wrmsr(X2(APIC_SVR), 0x1ff);
    sti();
    wrmsr(0x83f, 0x50); /* self IPI */
    for (unsigned i = 0; count < 1; i++)
        check(4, i < 100000, 1);
    wrmsr(X2(APIC_ICR), (uint64_t)id << 32 | 0x4050);
    for (unsigned i = 0; count < 2; i++)
        check(5, i < 100000, 1);
    cli();
    REFUSED(6, X2(APIC_ID), 0, 0);      /* read only */
    REFUSED(7, X2(APIC_EOI), 1, 0);     /* zero only */
    REFUSED(8, X2(APIC_TPR), 0x100, 0); /* reserved */
    REFUSED(9, X2(APIC_ICR_HI), 0, 0);  /* there is none */
    check(10, rdmsr(0x80d) >> 16 == id >> 4 && (rdmsr(0x80d) & 0xffff) == 1u << (id & 15), 1);
    REFUSED(11, MSR_APIC_BASE, (uint32_t)base, 0); /* straight back to xAPIC */
    wrmsr(MSR_APIC_BASE, base & ~0x800ull);
    check(12, cpuid(1, 0).d >> 9 & 1, 0);
    wrmsr(MSR_APIC_BASE, base);
    check(13, cpuid(1, 0).d >> 9 & 1, 1);
    check(14, apic_read(APIC_ID) >> 24, id);
}
