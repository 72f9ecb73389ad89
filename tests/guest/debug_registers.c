/* SPDX-License-Identifier: Apache-2.0 */
/* DR0-3 and DR7: code breakpoints fault before, data breakpoints trap after; lengths, REP. */
#include "guest.h"

extern const uint8_t b1[], d1[];
static volatile uint64_t data[2] __attribute__((aligned(16)));

#define CATCH(text)                                                                                \
    set_dr6(0xffff0ff0);                                                                           \
    asm volatile(FAULTS(text) ::"a"(5), "d"(data) : "memory")

static unsigned hits;
static void resume_with_rf(struct frame *f)
{
    hits++;
    check(1, f->ip, (word)b1);
    check(2, get_dr6() & 0xf, 1);
    f->flags |= 0x10000; /* RF: the return runs the instruction */
    set_dr6(0xffff0ff0);
}

static __attribute__((noinline)) uint32_t three(uint32_t value)
{
    asm volatile("incl %0\nb1: incl %0\n\tincl %0" : "+r"(value)::"cc");
    return value;
}

GUEST
{
    uint32_t value = 0;

    check(4, get_dr7() & 0xff, 0);
    check(5, get_dr6(), 0xffff0ff0);
    set_dr0((word)b1);
    set_dr7(0x402);
    hook[DB] = resume_with_rf;
    for (unsigned i = 0; i < 3; i++)
        value = three(value);
    check(6, hits, 3);
    check(7, value, 9);
    set_dr7(0x400);
    hook[DB] = NULL;

    /* Data: write of 4 bytes at data + 4 (DR1), read or write of one byte at data (DR2). */
    set_dr1((word)data + 4);
    set_dr2((word)data);
    set_dr7(0x400 | 2u << 2 | 0xdu << 20 | 2u << 4 | 0x3u << 24);
    CATCH("movl %%eax, 4(" A(dx) ")\nd1:");
    check(10, last.f.vector, DB);
    check(11, last.dr6 & 0xf, 2);
    check(12, last.f.ip, (word)d1); /* behind it */
    check(13, ((volatile uint32_t *)data)[1], 5);
    CATCH("movl 4(" A(dx) "), %%ecx");
    check_no_fault(14); /* a read does not meet a write breakpoint */
    CATCH("movb %%al, 7(" A(dx) ")");
    check(15, last.dr6 & 0xf, 2); /* any byte of it */
    CATCH("movb %%al, 8(" A(dx) ")");
    check_no_fault(16);
    CATCH("movb %%al, 3(" A(dx) ")");
    check_no_fault(17);
    CATCH("movb (" A(dx) "), %%cl");
    check(18, last.dr6 & 0xf, 4);
    CATCH("incb (" A(dx) ")");
    check(19, last.dr6 & 0xf, 4);
    CATCH("movw %%ax, 3(" A(dx) ")");
    check(20, last.dr6 & 0xf, 2); /* overlaps */
    set_dr7(0x400);
    CATCH("movl %%eax, 4(" A(dx) ")");
    check_no_fault(22);

    /* REP STOS traps behind the iteration that wrote there. */
    set_dr3((word)data + 5);
    set_dr7(0x400 | 2u << 6 | 0x1u << 28);
    set_dr6(0xffff0ff0);
    asm volatile(FAULTS("rep stosb") ::"D"(data), "c"(16), "a"(1) : "memory");
    check(30, last.f.vector, DB);
    check(31, last.dr6 & 0xf, 8);
    check(32, last.f.cx, 10);
    set_dr7(0x400);
}
