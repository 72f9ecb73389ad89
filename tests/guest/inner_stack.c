/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack segment of a ring change: inward from the TSS (#TS for what is wrong, #SS when absent),
 * outward from the frame; a gate to conforming code changes no ring.
 */
#include "guest.h"

#define S(i) (SEL_FREE + 8 * (i))
enum { GATE, GATE_CONF, CONFORMING, ABSENT, ABSENT_USER, READONLY };

word conforming_cs;
void never(void);
void conforming_target(void);
asm(".pushsection .text\n"
    "never: ud2\n"
    "conforming_target: mov %cs, conforming_cs\n\tlret\n"
    ".popsection");

/* The gate needs the TSS's stack, and so would a trap: this one comes by a task. */
struct task {
    uint32_t link, sp0, ss0, sp1, ss1, sp2, ss2, cr3, ip, flags, ax, cx, dx, bx, sp, bp, si, di;
    uint32_t es, cs, ss, ds, fs, gs, ldt, iomap;
};
static struct task task __attribute__((aligned(128)));
static uint32_t stack[64];
uint32_t task_error, task_vector;
void task_trap(void), task_trap_ss(void);

asm(".pushsection .text\n"
    "task_trap_ss: movl $12, task_vector\n\tjmp 1f\n"
    "task_trap: movl $10, task_vector\n"
    "1: pop task_error\n\tmov resume_ip, %eax\n\tmov %eax, tss + 32\n\tclts\n\t"
    "movl $0x10, tss + 8\n\tiret\n"
    ".popsection");

static void set_task(void (*entry)(void))
{
    memset(&task, 0, sizeof(task));
    task.ip = (word)entry;
    task.flags = 2;
    task.sp = (word)(stack + 60);
    task.cs = SEL_K32;
    task.ss = task.ds = task.es = SEL_KDATA;
    gdt[S(8) / 8] = descriptor((word)&task, sizeof(task) - 1, 0x89, 0);
    task_vector = 0;
}

#define INWARD(n, ss, handler, vector, error)                                                      \
    set_task(handler);                                                                             \
    tss[2] = ss;                                                                                   \
    asm volatile("movl $1f, resume_ip\n\tlcall %0, $0\n1: movl $0, resume_ip" ::"i"(S(GATE) | 3)   \
                 : "eax", "memory");                                                               \
    check(n, task_vector, vector);                                                                 \
    check(n, task_error, error)

static word user(word arg)
{
    (void)arg;
    asm volatile("lcall %0, $0" ::"i"(S(GATE_CONF) | 3) : "memory");
    check(1, conforming_cs, S(CONFORMING) | 3);
    INWARD(2, 0, task_trap, TS, 0);
    INWARD(3, SEL_UDATA, task_trap, TS, SEL_UDATA & ~3);
    INWARD(4, SEL_KDATA | 3, task_trap, TS, SEL_KDATA);
    INWARD(5, S(READONLY), task_trap, TS, S(READONLY));
    INWARD(6, GDT_SLOTS * 8, task_trap, TS, GDT_SLOTS * 8);
    INWARD(7, S(ABSENT), task_trap_ss, SS, S(ABSENT));
    return 0;
}

GUEST
{
    uint64_t *free = &gdt[SEL_FREE / 8];

    gate_set(&free[GATE], (word)never, SEL_K32, 0xec, 0);
    free[CONFORMING] = descriptor(0, 0xfffff, 0x9f, 0xc);
    gate_set(&free[GATE_CONF], (word)conforming_target, S(CONFORMING), 0xec, 0);
    free[ABSENT] = descriptor(0, 0xfffff, 0x13, 0xc);
    free[ABSENT_USER] = descriptor(0, 0xfffff, 0x73, 0xc);
    free[READONLY] = descriptor(0, 0xfffff, 0x91, 0xc);

    asm volatile("mov %%esp, %%ebx\n\tpush %0\n\tpush $0x1000\n\tpush $2\n\tpush %1\n\t"
                 "push $0\n\t" FAULTS(
                     "iret") "mov %%ebx, %%esp" ::"i"(S(ABSENT_USER) | 3), "i"(SEL_U32)
                 : "ebx", "memory");
    check_fault(20, SS, S(ABSENT_USER), 0);

    gate_set(&idt[TS], 0, S(8), 0x85, 0);
    gate_set(&idt[SS], 0, S(8), 0x85, 0);
    call_user(user, 0);
}
