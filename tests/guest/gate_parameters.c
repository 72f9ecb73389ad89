/* SPDX-License-Identifier: Apache-2.0 */
/* A call gate that copies the most parameters there can be: 31. */
#include "guest.h"

uint32_t seen[34]; /* EIP, CS, parameters, ESP of the caller */
void many_target(void);

asm(".pushsection .text\n"
    "many_target: mov $0x10, %eax\n\tmov %eax, %ds\n\tmov %eax, %es\n\t"
    "mov %esp, %esi\n\tmov $seen, %edi\n\tmov $34, %ecx\n\tcld\n\trep movsl\n\t"
    "mov $0x23, %eax\n\tmov %eax, %ds\n\tmov %eax, %es\n\tlret $124\n"
    ".popsection");

static word user(word arg)
{
    word before, after;

    (void)arg;
    asm volatile("mov %%esp, %0\n\tmov $31, %%ecx\n1: push %%ecx\n\tloop 1b\n\tlcall %2, $0\n\t"
                 "mov %%esp, %1"
                 : "=&b"(before), "=d"(after)
                 : "i"(SEL_FREE | 3)
                 : "eax", "ecx", "esi", "edi", "memory", "cc");
    check(1, after, before);
    return 0;
}

GUEST
{
    gate_set(&gdt[SEL_FREE / 8], (word)many_target, SEL_K32, 0xec, 31);
    call_user(user, 0);
    check(2, seen[1], SEL_U32);
    for (uint32_t i = 1; i <= 31; i++)
        check(3, seen[1 + i], i);
}
