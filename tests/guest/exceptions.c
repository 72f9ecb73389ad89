/* SPDX-License-Identifier: Apache-2.0 */
/* Each exception of plain instructions: vector, error code, saved IP (fault or trap). */
#include "guest.h"

GUEST
{
    static uint32_t zero;

    asm volatile(FAULTS("divl %0") ::"m"(zero), "a"(1), "d"(0) : "memory");
    check_fault(1, DE, 0, 0);
    asm volatile(FAULTS("idivb %b0") ::"q"(1), "a"(0x7fff) : "memory"); /* quotient too large */
    check_fault(2, DE, 0, 0);
    asm volatile(FAULTS("int3") ::: "memory");
    check_fault(3, BP, 0, 1);
    asm volatile(FAULTS(".byte 0xcd, 3") ::: "memory");
    check_fault(4, BP, 0, 2);
    asm volatile(FAULTS("ud2") ::: "memory");
    check_fault(5, UD, 0, 0);
    asm volatile(FAULTS("ud1 %%eax, %%eax") ::: "memory");
    check_fault(6, UD, 0, 0);
    asm volatile(FAULTS(".byte 0xf0, 0x90") ::: "memory"); /* lock nop */
    check_fault(7, UD, 0, 0);
    asm volatile(FAULTS(".byte 0xf0, 0x01, 0xc0") ::: "memory"); /* lock add %eax, %eax */
    check_fault(8, UD, 0, 0);
    asm volatile(FAULTS("int $0x70") ::: "memory");
    check_fault(9, 0x70, 0, 2);
    asm volatile(FAULTS("mov %0, %%ds") ::"r"(0x3f8) : "memory"); /* selects nothing */
    check_fault(11, GP, 0x3f8 & ~3, 0);
    asm volatile(FAULTS(".fill 15, 1, 0x66\n\tnop") ::: "memory"); /* 16 bytes long */
    check_fault(12, GP, 0, 0);

    /* The fault hands the registers over as they were. */
    asm volatile(FAULTS("ud2") ::"a"(0x11111111), "b"(0x22222222), "c"(0x33333333), "d"(0x44444444)
                 : "memory");
    check(20, last.f.ax, 0x11111111);
    check(21, last.f.bx, 0x22222222);
    check(22, last.f.cx, 0x33333333);
    check(23, last.f.dx, 0x44444444);

    /*
     * Interrupt gates clear IF, trap gates leave it: seen by the frame's flags being those of the
     * code.
     */
    sti();
    asm volatile(FAULTS("ud2") ::: "memory");
    check(30, last.f.flags & 0x200, 0x200);
    check(31, get_flags() & 0x200, 0x200);
    cli();

#ifdef __x86_64__
    static const uint8_t gone[] = {0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f,
                                   0x60, 0x61, 0x62, 0x82, 0x9a, 0xce, 0xd4, 0xd5, 0xea, 0xd6};
    static uint8_t code[16] __attribute__((aligned(16)));

    for (unsigned i = 0; i < sizeof(gone); i++) {
        memset(code, 0, sizeof(code));
        code[0] = gone[i];
        asm volatile(FAULTS("jmp *%0") ::"r"(code) : "memory");
        check(40, last.f.vector | (uint64_t)gone[i] << 16, UD | (uint64_t)gone[i] << 16);
        check(41, last.f.ip, (word)code);
    }
#else
    uint32_t bounds[2] = {5, 10};

    asm volatile(FAULTS("bound %0, %1") ::"r"(11), "m"(bounds) : "memory");
    check_fault(50, BR, 0, 0);
    asm volatile(FAULTS("bound %0, %1") ::"r"(10), "m"(bounds) : "memory");
    check_no_fault(51);
    asm volatile(FAULTS("movb $0x7f, %%al\n\taddb $1, %%al\n\tinto") ::: "eax", "memory");
    check_fault(52, OF, 0, 5);
    asm volatile(FAULTS("xorl %%eax, %%eax\n\tinto") ::: "eax", "memory");
    check_no_fault(53);
    asm volatile(FAULTS("aam $0") ::: "eax", "memory");
    check_fault(54, DE, 0, 0);
#endif
}
