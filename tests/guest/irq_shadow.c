/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a pending interrupt is taken: one instruction behind STI, at once after POPF and IRET, not
 * in STI CLI.
 */
#include "guest.h"

static word taken_at;
static unsigned count;
extern const uint8_t w0[], w1[], w2[], w3[], w4[];

static void on_irq(struct frame *f)
{
    taken_at = f->ip;
    count++;
    apic_write(APIC_EOI, 0);
}

static void pend(void)
{
    apic_write(APIC_ICR, 0x40000 | 0x60); /* to self */
    for (unsigned i = 0; !(apic_read(APIC_IRR + 0x30) & 1); i++)
        check(100, i < 1000, 1);
    taken_at = 0;
}

GUEST
{
    hook[0x60] = on_irq;
    apic_enable();
    apic_write(APIC_TPR, 0);
    pend();
    asm volatile("sti\nw0: nop\nw1: nop\n\tcli" ::: "memory");
    check(1, taken_at, (word)w1);
    pend();
    asm volatile("sti\n\tcli" ::: "memory");
    check(2, taken_at, 0);
    asm volatile("pushf\n\torl $0x200, (" A(sp) ")\n\tpopf\nw2: nop\n\tnop\n\tcli" ::: "memory");
    check(3, taken_at, (word)w2);
    pend();
    asm volatile("sti\n\thlt\nw3: cli" ::: "memory"); /* STI; HLT does not miss it */
    check(4, taken_at, (word)w3);
    /*
     * STI when interrupts are on already has no shadow: the pending one is taken before its next
     * instruction.
     */
    count = 0;
    sti();
    apic_write(APIC_ICR, 0x40000 | 0x60);
    for (unsigned i = 0; !count; i++)
        check(5, i < 1000000, 1);
    cli();
    check(6, count, 1);
    /* IRET turns them on at once. */
    pend();
    word flags = get_flags() | 0x200;
#ifdef __x86_64__
    asm volatile("mov %%rsp, %%rcx\n\tpush %1\n\tpush %%rcx\n\tpush %0\n\tpush %2\n\tpush $w4\n\t"
                 "iretq\nw4: nop\n\tcli"
                 ::"r"(flags), "i"(SEL_KDATA2), "i"(SEL_K64) : "rcx", "memory");
#else
    asm volatile("push %0\n\tpush %1\n\tpush $w4\n\tiret\nw4: nop\n\t"
                 "cli" ::"r"(flags), "i"(SEL_K32) : "memory");
#endif
    check(7, taken_at, (word)w4);
}
