/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment limits and rights at each access: byte and page granular, expand-down, read-only, stack,
 * code.
 */
#include "guest.h"

#define S(i) (SEL_FREE + 8 * (i))

static void use(uint64_t d)
{
    gdt[SEL_FREE / 8] = d;
    asm volatile("mov %0, %%es" ::"r"(SEL_FREE));
}

#define BYTE(at)  asm volatile(FAULTS("movb %%es:(%0), %%al") ::"r"(at) : "eax", "memory")
#define LONG(at)  asm volatile(FAULTS("movl %%es:(%0), %%eax") ::"r"(at) : "eax", "memory")
#define WRITE(at) asm volatile(FAULTS("movl %%eax, %%es:(%0)") ::"r"(at) : "memory")
#define OUTSIDE(n, op)                                                                             \
    op;                                                                                            \
    check_fault(n, GP, 0, 0)
#define INSIDE(n, op)                                                                              \
    op;                                                                                            \
    check_no_fault(n)

static uint8_t area[0x3000] __attribute__((aligned(4096)));

static void run_off(word unused)
{
    (void)unused;
    asm volatile("ljmp %0, $0xffd" ::"i"(S(1)));
}

GUEST
{
    use(descriptor((uint32_t)area, 0xfff, 0x93, 4));
    INSIDE(1, BYTE(0xfff));
    OUTSIDE(2, BYTE(0x1000));
    INSIDE(3, LONG(0xffc));
    OUTSIDE(4, LONG(0xffd));
    OUTSIDE(5, LONG(0xffffffff)); /* wraps past the end */
    OUTSIDE(6, WRITE(0xffe));
    OUTSIDE(7, LONG(-4u));
    use(descriptor((uint32_t)area, 1, 0x93, 0xc)); /* two pages */
    INSIDE(8, LONG(0x1ffc));
    OUTSIDE(9, LONG(0x1ffd));
    use(descriptor((uint32_t)area, 0xfff, 0x91, 4));
    INSIDE(10, LONG(0));
    OUTSIDE(11, WRITE(0));
    use(descriptor((uint32_t)area, 0xfff, 0x9b, 4)); /* code: read but never written */
    INSIDE(12, LONG(0));
    OUTSIDE(13, WRITE(0));

    /* Expand-down: above the limit up to 4 GiB (B set) or 64 KiB */
    use(descriptor((uint32_t)area - 0x1000, 0xfff, 0x97, 4));
    OUTSIDE(20, BYTE(0xfff));
    INSIDE(21, BYTE(0x1000));
    OUTSIDE(22, LONG(0xffe));
    use(descriptor((uint32_t)area - 0xf000, 0xefff, 0x97, 0));
    INSIDE(23, LONG(0xfffc));
    OUTSIDE(24, LONG(0xfffd));
    OUTSIDE(25, LONG(0x10000));

    /* String instructions check each element; what came before stays. */
    use(descriptor((uint32_t)area, 0xfff, 0x93, 4));
    asm volatile(FAULTS("rep stosl") ::"D"(0xff0), "c"(8), "a"(0x5a5a5a5a) : "memory");
    check(30, last.f.vector, GP);
    check(31, last.f.cx, 4);
    check(32, last.f.di, 0x1000);
    check(33, *(uint32_t *)(area + 0xffc), 0x5a5a5a5a);
    asm volatile("mov %0, %%es" ::"r"(SEL_KDATA));

    /* A null selector loads; only its use faults. FS and GS are checked like the others. */
    asm volatile("mov %0, %%es" ::"r"(0));
    OUTSIDE(40, BYTE(0));
    asm volatile("mov %0, %%es\n\tmov %1, %%fs" ::"r"(SEL_KDATA), "r"(SEL_FREE));
    asm volatile(FAULTS("movl %%fs:0x1000, %%eax") ::: "eax", "memory");
    check_fault(41, GP, 0, 0);

    /* Code: fetching beyond the limit of CS is #GP(0) at the instruction that lies outside. */
    gdt[S(1) / 8] = descriptor((uint32_t)area, 0xfff, 0x9b, 4);
    memset(area + 0xff0, 0x90, 0x20);
    check(50, guarded(run_off, 0), GP);
    check(51, last.f.ip, 0x1000);
    check(52, last.f.cs, S(1));
    check(53, last.f.error, 0);
    area[0xfff] = 0xb8; /* begins inside, ends outside */
    check(54, guarded(run_off, 0), GP);
    check(55, last.f.ip, 0xfff);
    /* So is a jump out of the segment: at the jump itself. */
    memcpy(area + 0xffd, (uint8_t[]){0xeb, 0x10}, 2);
    check(56, guarded(run_off, 0), GP);
    check(57, last.f.ip, 0xffd);
    asm volatile(FAULTS("ltr %w0") ::"r"(0) : "memory");
    check_fault(60, GP, 0, 0);
}
