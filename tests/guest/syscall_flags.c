/* SPDX-License-Identifier: Apache-2.0 */
/* SYSCALL clears exactly the flags of SFMASK and RF; the arithmetic ones survive. */
#include "guest.h"

uint64_t entry_flags;
void syscall_entry(void);
asm(".pushsection .text\nsyscall_entry: pushfq\n\tpop entry_flags\n\tsysretq\n.popsection");

static word user(word mask)
{
    word after;

    asm volatile("pushq $0x8d7\n\tpopfq\n\tsyscall\n\tpushfq\n\t"
                 "pop %0" : "=r"(after)::"rcx", "r11", "memory");
    check(1, entry_flags & 0xfd7, 0x8d7 & ~mask);
    check(2, after & 0xfd7, 0x8d7);
    return 0;
}

GUEST
{
    wrmsr(MSR_STAR, (uint64_t)SEL_K64 << 32 | (uint64_t)SEL_U32B << 48);
    wrmsr(MSR_LSTAR, (word)syscall_entry);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1);
    for (unsigned i = 0; i < 12; i++) {
        wrmsr(MSR_SFMASK, 1u << i);
        call_user(user, 1u << i & ~2u);
    }
}
