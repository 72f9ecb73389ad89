/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices in memory: every kind of instruction reaches them, once each; strings; page crossing into
 * RAM.
 */
#include "guest.h"

#define TPR   ((volatile uint32_t *)(0xfee00000ul + APIC_TPR))
#define INDEX ((volatile uint32_t *)0xfec00000ul)
#define DATA  ((volatile uint32_t *)0xfec00010ul)

GUEST
{
    uint32_t value, copy[4] = {0};

    apic_enable();
    *TPR = 0x10;
    asm volatile("addl $0x10, %0" : "+m"(*TPR)::"cc");
    check(1, *TPR, 0x20);
    asm volatile("lock addl $0x10, %0" : "+m"(*TPR)::"cc");
    check(2, *TPR, 0x30);
    value = 0x40;
    asm volatile("xchgl %0, %1" : "+r"(value), "+m"(*TPR));
    check(3, value, 0x30);
    check(4, *TPR, 0x40);
    asm volatile("cmpxchgl %2, %1" : "+a"(value), "+m"(*TPR) : "r"(0x99) : "cc"); /* unequal */
    check(5, value, 0x40);
    asm volatile("cmpxchgl %2, %1" : "+a"(value), "+m"(*TPR) : "r"(0x50) : "cc");
    check(6, *TPR, 0x50);
    asm volatile("orl $0x20, %0" : "+m"(*TPR)::"cc");
    check(7, *TPR, 0x70);
#ifndef __x86_64__
    asm volatile("pushl %1\n\tpopl %0" : "=r"(value) : "m"(*TPR));
    check(8, value, 0x70);
#endif
    asm volatile("cmpl $0x70, %1\n\tsetz %b0" : "=q"(value) : "m"(*TPR), "0"(0) : "cc");
    check(9, value & 1, 1);
    /* Index and data: each access has an effect, so none may happen twice or not at all. */
    *INDEX = 0x10 + 2 * 10;
    *DATA = 0x10077;
    *INDEX = 0x10 + 2 * 11;
    *DATA = 0x10088;
    *INDEX = 0x10 + 2 * 10;
    check(10, *DATA, 0x10077);
    const volatile void *si = DATA;
    void *di = copy;
    asm volatile("movsl" : "+S"(si), "+D"(di)::"memory");
    check(11, copy[0], 0x10077);
    si = DATA;
    asm volatile("lodsl" : "=a"(value), "+S"(si)::"memory");
    check(12, value, 0x10077);
    copy[0] = 0x10055;
    si = copy;
    di = (void *)DATA;
    asm volatile("movsl" : "+S"(si), "+D"(di)::"memory");
    check(13, *DATA, 0x10055);
    asm volatile("movd %1, %%xmm0\n\tmovd %%xmm0, %0" : "=r"(value) : "m"(*DATA));
    check(14, value, 0x10055);
    *DATA = 0x10000;
    *TPR = 0;
}
