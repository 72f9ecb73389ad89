/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hardware task switch by CALL, JMP, IRET and task gates: registers, busy bits, NT, back link,
 * CR0.TS, checks.
 */
#include "guest.h"

#define SEL_TASK (SEL_FREE)
#define SEL_GATE (SEL_FREE + 8)
#define SEL_LDT  (SEL_FREE + 16)

struct task {
    uint32_t link, sp0, ss0, sp1, ss1, sp2, ss2, cr3, ip, flags, ax, cx, dx, bx, sp, bp, si, di;
    uint32_t es, cs, ss, ds, fs, gs, ldt, iomap;
};

static struct task task __attribute__((aligned(128)));
static uint32_t stack[256];
static uint64_t ldt[2];
uint32_t seen[16], turns;
void task_entry(void);
void task_fault(void);
void task_jump(void);

/*
 * The other task: notes what it was started with, returns by IRET, and begins behind it the next
 * time.
 */
asm(".pushsection .text\n"
    "task_entry:\n"
    "1: mov %eax, seen\n\tmov %esp, seen + 4\n\tmov %fs, seen + 8\n\t"
    "pushf\n\tpop seen + 12\n\tmov %cr0, %eax\n\tmov %eax, seen + 16\n\tstr seen + 20\n\t"
    "sldt seen + 24\n\t"
    "clts\n\tincl turns\n\tmov $0x1234, %ebx\n\tmov $0x55, %eax\n\tiret\n\t"
    "jmp 1b\n"
    "task_fault: pop seen + 28\n\tmov %esp, seen + 4\n\tmov resume_ip, %eax\n\t"
    "mov %eax, tss + 32\n\tiret\n"
    "task_jump: pushf\n\tpop seen + 12\n\tljmp $0x68, $0\n"
    ".popsection");

static uint8_t type(unsigned selector)
{
    return gdt[selector / 8] >> 40 & 0xff;
}

static void start(void)
{
    memset(&task, 0, sizeof(task));
    task.ip = (word)task_entry;
    task.flags = 2;
    task.sp = (word)(stack + 200);
    task.cs = SEL_K32;
    task.ss = task.ds = task.es = SEL_KDATA;
    task.ax = 0xaaaa;
    task.ldt = SEL_LDT;
    task.fs = 8 | 4;
    gdt[SEL_TASK / 8] = descriptor((word)&task, sizeof(task) - 1, 0x89, 0);
}

GUEST
{
    uint32_t value;

    ldt[1] = descriptor(0, 0xfffff, 0x93, 0xc);
    gdt[SEL_LDT / 8] = descriptor((word)ldt, sizeof(ldt) - 1, 0x82, 0);
    gate_set(&gdt[SEL_GATE / 8], 0, SEL_TASK, 0x85, 0);

    start();
    asm volatile("movl $0x77, %%ebx\n\tstc\n\tjmp 1f\n1: lcall %1, $0\n\tsetc %%al\n\t"
                 "movzbl %%al, %%eax\n\taddl %%ebx, %%eax"
                 : "=a"(value) : "i"(SEL_TASK) : "ebx", "memory", "cc");
    check(1, turns, 1);
    check(2, value, 0x78); /* EBX and CF are this task's */
    check(3, seen[0], 0xaaaa);
    check(4, seen[1], (word)(stack + 200));
    check(5, seen[2], 8 | 4);
    check(6, seen[3] & 0x4000, 0x4000); /* NT: nested */
    check(7, seen[4] & 8, 8);           /* TS is set by the switch */
    check(8, seen[5] & 0xffff, SEL_TASK);
    check(9, seen[6] & 0xffff, SEL_LDT);
    check(10, task.link & 0xffff, SEL_TSS);
    check(11, type(SEL_TASK), 0x89); /* no longer busy after its IRET */
    check(12, type(SEL_TSS), 0x8b);
    check(13, task.bx, 0x1234); /* saved on the way out */
    check(14, task.flags & 0x4000, 0);
    check(15, get_flags() & 0x4000, 0);

    /* The second call goes on behind the IRET. Through a task gate. */
    asm volatile("lcall %0, $0" ::"i"(SEL_GATE) : "eax", "ebx", "memory", "cc");
    check(20, turns, 2);
    check(21, seen[0], 0x55);

    /* As an interrupt: the gate in the IDT. */
    gate_set(&idt[0x60], 0, SEL_TASK, 0x85, 0);
    asm volatile("int $0x60" ::: "memory");
    check(22, turns, 3);
    /*
     * As an exception with an error code, which lies on the new task's stack. It moves the saved
     * EIP on.
     */
    start();
    task.ip = (word)task_fault;
    gate_set(&idt[GP], 0, SEL_TASK, 0x85, 0);
    asm volatile("movl $1f, resume_ip\n\tmov %0, %%fs\n"
                 "1: movl $0, resume_ip" ::"r"(GDT_SLOTS * 8) : "memory");
    check(23, seen[7], GDT_SLOTS * 8);
    check(24, seen[1], (word)(stack + 200));

    /* Busy: a call to a task in the chain is #GP, a jump too. */
    asm volatile("clts");
    idt_load();
    pic_mask_all();
    start();
    gdt[SEL_TASK / 8] |= 2ull << 40;
    asm volatile(FAULTS("lcall %0, $0") ::"i"(SEL_TASK) : "memory");
    check_fault(30, GP, SEL_TASK, 0);
    start();
    gdt[SEL_TASK / 8] &= ~(1ull << 47);
    asm volatile(FAULTS("lcall %0, $0") ::"i"(SEL_TASK) : "memory");
    check_fault(31, NP, SEL_TASK, 0);
    start();
    gdt[SEL_TASK / 8] = descriptor((word)&task, 0x66, 0x89, 0); /* one byte short */
    asm volatile(FAULTS("lcall %0, $0") ::"i"(SEL_TASK) : "memory");
    check_fault(32, TS, SEL_TASK, 0);

    /* A jump is not nested: no NT, no link; and back by another jump, which frees the busy bit. */
    start();
    task.ip = (word)task_jump;
    asm volatile("ljmp %0, $0" ::"i"(SEL_TASK) : "memory", "cc");
    check(40, seen[3] & 0x4000, 0);
    check(41, task.link, 0);
    check(42, type(SEL_TASK), 0x89);
    check(43, type(SEL_TSS), 0x8b);
    asm volatile("clts");
}
