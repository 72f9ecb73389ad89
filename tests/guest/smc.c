/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that changes: next instruction, same page, other page, through an alias, across pages, in a
 * loop.
 */
#include "guest.h"

typedef unsigned fn(void);

/* mov $imm32, %eax; ret */
static void emit(uint8_t *at, uint32_t value)
{
    at[0] = 0xb8;
    for (unsigned i = 0; i < 4; i++)
        at[1 + i] = (uint8_t)(value >> 8 * i);
    at[5] = 0xc3;
}

GUEST
{
    uint8_t *page = page_alloc(), *second = page_alloc(), *third = page_alloc();
    unsigned value;

    paging_on();
    emit(page, 1);
    check(1, ((fn *)page)(), 1);
    emit(page, 2);
    check(2, ((fn *)page)(), 2);
    for (unsigned i = 0; i < 1000; i++) {
        page[1] = (uint8_t)i;
        check(3, ((fn *)page)(), i & 0xff);
    }

    /* The very next instruction, in the running block. */
    asm volatile("movb $7, 1f + 1\n1: movl $5, %0" : "=a"(value)::"memory");
    check(10, value, 7);
    /* A loop that patches itself at each turn. */
    asm volatile("xorl %0, %0\n\tmovl $0, %%ecx\n"
                 "1: movb %%cl, 2f + 2\n"
                 "2: addl $0x55, %0\n\t"
                 "incl %%ecx\n\tcmpl $100, %%ecx\n\tjb 1b"
                 : "=&a"(value)::"ecx", "memory", "cc");
    check(11, value, 4950);
    /* REP STOS over the instruction behind it. */
    asm volatile("movb $0x90, %%al\n\tmovl $5, %%ecx\n\tmov $1f, " A(di) "\n\tmovl $70, %%edx\n\t"
                 "rep stosb\n"
                 "1: movl $71, %%edx"
                 : "=d"(value)::"eax", "ecx", "edi", "memory", "cc");
    check(12, value, 70);

    /* Through another mapping of the same frame. */
    page_map(SCRATCH, (word)page, P_RWU);
    emit(page, 20);
    check(20, ((fn *)SCRATCH)(), 20);
    check(21, ((fn *)page)(), 20);
    ((volatile uint8_t *)SCRATCH)[1] = 21;
    check(22, ((fn *)page)(), 21);
    page[1] = 22;
    check(23, ((fn *)SCRATCH)(), 22);

    /* An instruction across two pages: its second half changes, then the page under it. */
    page_map(SCRATCH + 0x1000, (word)second, P_RWU);
    page[4094] = 0xb8;
    page[4095] = 0x11;
    memcpy(second, (uint8_t[]){0x22, 0x33, 0x44, 0xc3}, 4);
    fn *across = (fn *)(SCRATCH + 4094);
    check(30, across(), 0x44332211);
    second[2] = 0x55;
    check(31, across(), 0x55332211);
    page[4095] = 0x99;
    check(32, across(), 0x55332299);
    memcpy(third, (uint8_t[]){0x66, 0x77, 0x01, 0xc3}, 4);
    page_map(SCRATCH + 0x1000, (word)third, P_RWU);
    invlpg((void *)(SCRATCH + 0x1000));
    check(33, across(), 0x01776699);
    second[0] = 0xee; /* no longer part of it */
    check(34, across(), 0x01776699);

    /* Another frame under the same address. */
    emit(second, 40);
    emit(third, 41);
    page_map(SCRATCH + 0x1000, (word)second, P_RWU);
    invlpg((void *)(SCRATCH + 0x1000));
    check(40, ((fn *)(SCRATCH + 0x1000))(), 40);
    page_map(SCRATCH + 0x1000, (word)third, P_RWU);
    invlpg((void *)(SCRATCH + 0x1000));
    check(41, ((fn *)(SCRATCH + 0x1000))(), 41);

    /* Code and data side by side in one page: a counter beside the code that is called. */
    emit(page + 64, 50);
    for (unsigned i = 0; i < 1000; i++) {
        *(volatile uint32_t *)(page + 128) += ((fn *)(page + 64))();
        check(50, *(volatile uint32_t *)(page + 128), 50 * (i + 1));
    }

    /*
     * Written by a locked exchange, by a string instruction, and by a store that begins in the page
     * before.
     */
    emit(page, 60);
    emit(second, 60);
    check(60, ((fn *)page)(), 60);
    value = 61;
    asm volatile("lock xchgb %b0, 1(%1)" : "+q"(value) : "r"(page) : "memory");
    check(61, ((fn *)page)(), 61);
    emit(third, 62);
    memcpy(page, third, 6);
    check(62, ((fn *)page)(), 62);
    page_map(SCRATCH + 0x1000, (word)second, P_RWU);
    invlpg((void *)(SCRATCH + 0x1000));
    check(63, ((fn *)(SCRATCH + 0x1000))(), 60);
    *(volatile uint32_t *)(SCRATCH + 0xffe) = 0x40b80000; /* mov $0x..40 */
    check(64, ((fn *)(SCRATCH + 0x1000))(), 0x40);
}
