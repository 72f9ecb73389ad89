/* SPDX-License-Identifier: Apache-2.0 */
/* Ports at CPL 3: IOPL, and the bitmap of the TSS: width of the access, bounds, missing map. */
#include "guest.h"

#define ALLOWED(n, insn, port)                                                                     \
    asm volatile(FAULTS(insn) ::"d"(port), "a"(0), "D"(buffer), "S"(buffer) : "memory");           \
    check_no_fault(n)
#define DENIED(n, insn, port)                                                                      \
    asm volatile(FAULTS(insn) ::"d"(port), "a"(0), "D"(buffer), "S"(buffer) : "memory");           \
    check_fault(n, GP, 0, 0)

static uint8_t buffer[16];

static word bitmap(word arg)
{
    (void)arg;
    ALLOWED(1, "inb %%dx, %%al", 0x80);
    DENIED(2, "inb %%dx, %%al", 0x81);
    DENIED(3, "inw %%dx, %%ax", 0x80); /* both bits are asked */
    ALLOWED(4, "inw %%dx, %%ax", 0x84);
    ALLOWED(5, "inl %%dx, %%eax", 0x84);
    DENIED(6, "inl %%dx, %%eax", 0x85);
    ALLOWED(7, "outb %%al, %%dx", 0x80);
    ALLOWED(8, "outb %%al, $0x80", 0);
    DENIED(9, "inb $0x81, %%al", 0);
    DENIED(10, "insb", 0x81);
    DENIED(11, "outsb", 0x81);
    ALLOWED(12, "insb", 0x80);
    DENIED(13, "inb %%dx, %%al", 0x400); /* beyond the limit of the TSS */
    DENIED(14, "inb %%dx, %%al", 0xffff);
    DENIED(15, "cli", 0); /* the bitmap is for ports only */
    return 0;
}

static word none(word arg)
{
    (void)arg;
    DENIED(20, "inb %%dx, %%al", 0x80);
    return 0;
}

static word iopl(word arg)
{
    (void)arg;
    ALLOWED(30, "inb %%dx, %%al", 0x81);
    ALLOWED(31, "inl %%dx, %%eax", 0x85);
    ALLOWED(32, "cli", 0);
    set_flags(get_flags() | 0x200);
    check(33, get_flags() & 0x3200, 0x3200);
    set_flags(get_flags() & ~0x1200ul);
    check(34, get_flags() & 0x3200, 0x3000); /* IF changes, IOPL does not */
    DENIED(35, "hlt", 0);
    return 0;
}

static void load_tss(word base, uint32_t limit)
{
    gdt[SEL_TSS / 8] = descriptor((uint32_t)base, limit, 0x89, 0);
    asm volatile("ltr %w0" ::"r"(SEL_TSS));
}

GUEST
{
    uint8_t *map = (uint8_t *)&tss[32]; /* at 128 */

    memset(map, 0xff, 0x80);
    tss[25] = 128u << 16;
    map[0x80 / 8] = (uint8_t)~0xf1; /* 0x80, 0x84..0x87 */
    call_user(bitmap, 0);
    load_tss((word)tss, 103); /* the map lies outside */
    call_user(none, 0);
    load_tss((word)tss, 255);
    tss[25] = 256u << 16;
    call_user(none, 0);
    user_flags = 0x3002;
    call_user(iopl, 0);
}
