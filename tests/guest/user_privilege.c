/* SPDX-License-Identifier: Apache-2.0 */
/* CPL 3: privileged instructions fault, POPF leaves IF and IOPL, the stack comes from the TSS. */
#include "guest.h"

#define PRIVILEGED(n, text)                                                                        \
    asm volatile(FAULTS(text) ::"a"(0), "c"(0x1b), "d"(0x80) : "memory");                          \
    check_fault(n, GP, 0, 0)

extern uint8_t user_return_sp[];

static word user(word arg)
{
    PRIVILEGED(1, "hlt");
    PRIVILEGED(2, "cli");
    PRIVILEGED(3, "sti");
    PRIVILEGED(4, "clts");
    PRIVILEGED(5, "invd");
    PRIVILEGED(6, "wbinvd");
    PRIVILEGED(7, "rdmsr");
    PRIVILEGED(8, "wrmsr");
    PRIVILEGED(9, "lgdt gdt_ptr");
    PRIVILEGED(10, "lidt idt_ptr");
    PRIVILEGED(11, "lldt %%ax");
    PRIVILEGED(12, "ltr %%ax");
    PRIVILEGED(13, "lmsw %%ax");
    PRIVILEGED(14, "mov %%cr0, " A(ax));
    PRIVILEGED(15, "mov " A(ax) ", %%cr3");
    PRIVILEGED(16, "mov %%dr7, " A(ax));
    PRIVILEGED(17, "mov " A(ax) ", %%dr0");
    PRIVILEGED(18, "invlpg (" A(dx) ")");
    PRIVILEGED(19, "in %%dx, %%al");
    PRIVILEGED(20, "out %%al, $0x80");
    check(21, last.f.cs & 3, 3);
    check(22, last.f.ss & 3, 3);
    check(23, last.f.sp >= (word)user_stack && last.f.sp < (word)user_stack_top, 1);

    word flags = get_flags();
    set_flags(flags ^ 0x3200);
    check(30, get_flags(), flags);
    set_flags(flags ^ 0x200cd5);
    check(31, get_flags(), flags ^ 0x200cd5);
    set_flags(flags);
    return arg + 1;
}

static uint8_t trap_stack[1024] __attribute__((aligned(64)));
static struct frame *seen;

static void note_frame(struct frame *f)
{
    seen = f;
}

static word traps(word arg)
{
    asm volatile("int $0x40" ::: "memory");
    return arg;
}

static word with_own_stack(word arg)
{
    /* enter_user stored its own stack in the TSS: replace it from CPL 3 for the next trap */
    tss[1] = (uint32_t)(word)(trap_stack + sizeof(trap_stack));
    return traps(arg);
}

GUEST
{
    check(40, call_user(user, 41), 42);
    hook[0x40] = note_frame;
    idt_dpl(0x40, 3);
    check(41, call_user(with_own_stack, 7), 7);
    check(42, (word)seen + sizeof(struct frame), (word)(trap_stack + sizeof(trap_stack)));
    check(43, seen->ss, GUEST_BITS == 64 ? SEL_UDATA : SEL_UDATA);
    check(44, seen->cs, SEL_UCODE);
}
