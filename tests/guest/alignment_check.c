/* SPDX-License-Identifier: Apache-2.0 */
/* #AC: at CPL 3 with CR0.AM and EFLAGS.AC only, error code 0, by the size of the access. */
#include "guest.h"

static uint8_t area[64] __attribute__((aligned(16)));

#define TRY(text)                                                                                  \
    asm volatile("pushf\n\torl $0x40000, (" A(sp) ")\n\tpopf\n\t" FAULTS(text)                     \
                 "pushf\n\tandl $~0x40000, (" A(sp) ")\n\tpopf" ::"D"(area) : "eax", "memory", "cc")
#define FAULTY(n, text)                                                                            \
    TRY(text);                                                                                     \
    check_fault(n, AC, 0, 0)
#define FINE(n, text)                                                                              \
    TRY(text);                                                                                     \
    check_no_fault(n)

static word user(word on)
{
    if (!on) {
        FINE(1, "movl 1(" A(di) "), %%eax");
        return 0;
    }
    FAULTY(2, "movl 1(" A(di) "), %%eax");
    FAULTY(3, "movl %%eax, 2(" A(di) ")");
    FAULTY(4, "movw 1(" A(di) "), %%ax");
    FINE(5, "movb 1(" A(di) "), %%al");
    FINE(6, "movl 4(" A(di) "), %%eax");
    FAULTY(7, "incl 3(" A(di) ")");
    FINE(8, "movups 1(" A(di) "), %%xmm0");
    FAULTY(9, "fildll 4(" A(di) ")");
#ifdef __x86_64__
    FAULTY(10, "movq 4(%%rdi), %%rax");
#endif
    asm volatile(FAULTS("movl 1(%0), %%eax") ::"r"(area) : "eax", "memory"); /* AC clear */
    check_no_fault(11);
    return 0;
}

GUEST
{
    call_user(user, 0);
    set_cr0(get_cr0() | 0x40000);
    TRY("movl 1(" A(di) "), %%eax"); /* CPL 0 */
    check_no_fault(20);
    call_user(user, 1);
}
