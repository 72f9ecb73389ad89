/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Effective addresses wrap in their size: 16 and 32 bits, sums of base, index and displacement,
 * negative ones.
 */
#include "guest.h"

static volatile uint32_t word_here = 0x600dcafe;

GUEST
{
    uint32_t value;
#ifdef __x86_64__
    word base = (word)&word_here;

    asm volatile("movl (%1, %2, 8), %0" : "=r"(value) : "r"(base + 80), "r"(-10l));
    check(1, value, 0x600dcafe);
    asm volatile("movl 0x7fffffff(%1), %0" : "=r"(value) : "r"(base - 0x7fffffff));
    check(2, value, 0x600dcafe);
    asm volatile("movl -0x80000000(%1), %0" : "=r"(value) : "r"(base + 0x80000000));
    check(3, value, 0x600dcafe);
    /* With a 32-bit address size the sum is cut, then extended with zeros. */
    asm volatile("movl 0x10(%k1, %k2), %0"
                 : "=r"(value)
                 : "r"(base - 0x30), "r"(0x7777777700000020));
    check(4, value, 0x600dcafe);
    asm volatile("movl -8(%k1), %0" : "=r"(value) : "r"((base + 8) | 0xdead000000000000));
    check(5, value, 0x600dcafe);
    asm volatile(FAULTS("movl -1(%%eax), %%eax") ::"a"(0) : "memory"); /* 0xffffffff, not -1 */
    check(6, last.f.vector, PF);
    check(7, last.cr2, 0xffffffff);
    word lea;
    asm volatile("lea -1(%k1), %0" : "=r"(lea) : "r"(0ul));
    check(8, lea, 0xffffffff);
    asm volatile("lea -1(%1), %k0" : "=r"(lea) : "r"(0ul));
    check(9, lea, 0xffffffff);
    /* from the top over zero: both canonical */
    asm volatile(FAULTS("movl -1(%%rax), %%eax") ::"a"(0) : "memory");
    check(10, last.f.vector, PF);
    check(11, last.cr2, -1ul);
    /* Relative to the next instruction, whatever its length. */
    asm volatile("movl word_rip(%%rip), %0\n\tcmpl $0x600dcafe, word_rip(%%rip)\n\t"
                 "setz %b0" : "=&q"(value)::"cc");
    check(12, value & 0xff, 1);
#else
    uint32_t base = (uint32_t)&word_here;

    asm volatile("movl 0x80000000(%1), %0" : "=r"(value) : "r"(base + 0x80000000));
    check(1, value, 0x600dcafe);
    asm volatile("movl 0x7fffffff(%1, %2, 4), %0"
                 : "=r"(value)
                 : "r"(base - 0x7fffffff - 0xfffffffc), "r"(-1));
    check(2, value, 0x600dcafe);
    /* 16-bit addressing: 64 KiB. */
    volatile uint32_t *low = (volatile uint32_t *)0x7000;
    *low = 0x11112222;
    asm volatile("movl %%ebp, %%ecx\n\tmovl $0x8000, %%ebp\n\tmovl $0xf000, %%edi\n\t"
                 "addr16 movl (%%bp, %%di), %0\n\t"
                 "movl %%ecx, %%ebp" : "=a"(value)::"ecx", "edi", "memory");
    check(3, value, 0x11112222);
    asm volatile("movl $0xabcd6ff0, %%esi\n\t"
                 "addr16 movl 0x10(%%si), %0" : "=a"(value)::"esi", "memory");
    check(4, value, 0x11112222);
    asm volatile("movl $0xabcd0010, %%ebx\n\taddr16 leal -0x20(%%bx), %0" : "=a"(value)::"ebx");
    check(5, value, 0xfff0);
    asm volatile("movl $0xffff, %%eax\n\taddr16 leaw 3(%%bx), %%ax" : "=a"(value) : "b"(0xffff));
    check(6, value, 2);
    /* XLAT and a jump through memory use the address size too. */
    *(volatile uint8_t *)0x7105 = 0x5a;
    asm volatile("addr16 xlatb" : "=a"(value) : "a"(5), "b"(0x99997100) : "memory");
    check(7, value & 0xff, 0x5a);
    /* EIP wraps at 64 KiB with 16-bit operands: a jump of a 16-bit code segment. */
    static uint8_t code[0x10000] __attribute__((aligned(16)));
    gdt[SEL_FREE / 8] = descriptor((uint32_t)code, 0xffff, 0x9b, 0);
    /* lret of 32 bits lives here */
    gdt[SEL_FREE / 8 + 1] = descriptor((uint32_t)code, 0xffff, 0x9b, 4);
    memcpy(code + 0xfff0, (uint8_t[]){0xeb, 0x2e}, 2);                   /* jmp to 0x10020: 0x20 */
    memcpy(code + 0x20, (uint8_t[]){0x66, 0xb8, 0x44, 0x33, 0x22, 0x11, 0x66, 0xcb}, 8);
    asm volatile("lcall %1, $0xfff0" : "=a"(value) : "i"(SEL_FREE) : "memory");
    check(8, value, 0x11223344);
#endif
}

#ifdef __x86_64__
asm(".pushsection .data\nword_rip: .long 0x600dcafe\n.popsection");
#endif
