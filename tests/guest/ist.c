/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 64-bit interrupt frames: always five words on an aligned stack, SS:RSP also without a ring
 * change; IST.
 */
#include "guest.h"

static uint8_t ist_stack[2][1024] __attribute__((aligned(64)));
static struct frame *at, seen;

static void note(struct frame *f)
{
    at = f;
    seen = *f;
}

static word user(word arg)
{
    asm volatile("int $0x51" ::: "memory");
    return arg;
}

GUEST
{
    word sp;

    hook[0x50] = hook[0x51] = hook[0x52] = note;
    for (unsigned skew = 0; skew < 16; skew++) {
        asm volatile("mov %%rsp, %%rbx\n\tsub $64, %%rsp\n\tsub %1, %%rsp\n\tmov %%rsp, %0\n\t"
                     "int $0x50\n\t"
                     "mov %%rbx, %%rsp" : "=&r"(sp) : "r"((word)skew) : "rbx", "memory");
        check(1, seen.sp, sp);
        check(2, (word)at + sizeof(struct frame), sp & ~15ul);
        check(3, seen.ss, SEL_KDATA2);
        check(4, seen.cs, SEL_K64);
    }
    *(uint64_t *)&tss[9] = (word)ist_stack[1];      /* IST 1: the end of the first */
    *(uint64_t *)&tss[11] = (word)ist_stack[1] + 1024 - 8; /* IST 2, not aligned: the CPU aligns */
    idt[0x51 * 2] |= 1ull << 32;
    idt[0x52 * 2] |= 2ull << 32;
    idt_dpl(0x51, 3);
    asm volatile("int $0x51");
    check(10, (word)at + sizeof(struct frame), (word)ist_stack[1]);
    asm volatile("int $0x52");
    check(11, (word)at + sizeof(struct frame), (word)ist_stack[1] + 1024 - 16);
    call_user(user, 0);
    check(12, (word)at + sizeof(struct frame), (word)ist_stack[1]);
    check(13, seen.ss, SEL_UDATA);

    /* An exception whose frame cannot be pushed becomes a double fault on its own IST stack. */
    idt[DF * 2] |= 1ull << 32;
    resume_ip = 0;
    asm volatile("mov %%rsp, %%rbx\n\tmov $1f, %%eax\n\tmov %%rax, resume_ip\n\t"
                 "mov $0x50000000, %%esp\n\tud2\n"
                 "1: mov %%rbx, %%rsp\n\tmovq $0, resume_ip" ::: "rax", "rbx", "memory");
    check(20, last.f.vector, DF);
    check(21, last.f.error, 0);
    check(22, last.f.sp, 0x50000000);
    check(23, last.cr2, 0x50000000 - 8);
}
