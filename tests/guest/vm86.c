/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual-8086 mode: entered by IRET, segments by shift, sensitive instructions by IOPL, faults
 * with nine words.
 */
#include "guest.h"

struct vm_frame { /* behind EFLAGS of the ordinary frame */
    uint32_t sp, ss, es, ds, fs, gs;
};

static struct frame seen;
static struct vm_frame seen_vm;
static unsigned count;
word kernel_sp;
void vm_enter(word iopl_flags, word ip);
void vm_leave(void);

/* Runs 1000:ip until an INT 0x90 (DPL 3) or a hook leaves by vm_leave. */
asm(".pushsection .text\n"
    "vm_enter: pusha\n\tmov %esp, kernel_sp\n\tmov %esp, tss + 4\n\t"
    "mov 36(%esp), %eax\n\tmov 40(%esp), %ecx\n\tor $0x20002, %eax\n\t"
    "push $0x5000\n\tpush $0x4000\n\tpush $0x2000\n\tpush $0x2100\n\t" /* GS FS DS ES */
    "push $0x3000\n\tpush $0xfff0\n\tpush %eax\n\tpush $0x1000\n\tpush %ecx\n\tiret\n"
    "vm_leave: mov $0x10, %eax\n\tmov %eax, %ds\n\tmov %eax, %es\n\tmov %eax, %fs\n\t"
    "mov %eax, %gs\n\t"
    "mov kernel_sp, %esp\n\tpopa\n\tret\n"
    ".popsection");

static void leave(struct frame *f)
{
    seen = *f;
    memcpy(&seen_vm, &f->sp, sizeof(seen_vm));
    count++;
    check(100, f->flags & 0x20000, 0x20000);
    check(101, get_flags() & 0x20000, 0);
    asm volatile("jmp vm_leave");
}

extern const uint8_t vm_code[], vm_code_end[], vm_cli[], vm_int[], vm_pushf[], vm_hlt[], vm_in[];
asm(".pushsection .text\n.code16\n"
    "vm_code: movw %cs, %ax\n\tmovw %ax, 0\n\tmovw %ds, 2\n\tmovw %es, 4\n\tmovw %ss, 6\n\t"
    "movw %sp, 8\n\t"
    "movw %fs, 10\n\tmovb $0x5a, %es:0x20\n\tpushw $0x1234\n\tmovw $0x2200, %bx\n\t"
    "movw %bx, %ds\n\t"
    "movw $0x77, 0x30\n\tint $0x90\n"
    "vm_cli: cli\n\tsti\n\tpushfw\n\tpopw %ax\n\tint $0x90\n"
    "vm_int: int $0x21\n"
    "vm_pushf: pushfw\n\tint $0x90\n"
    "vm_hlt: hlt\n"
    "vm_in: inb $0x80, %al\n\tint $0x90\n"
    "vm_code_end:\n.code32\n.popsection");

#define OFFSET(label) ((word)(label - vm_code))

GUEST
{
    memcpy((void *)0x10000, vm_code, (size_t)(vm_code_end - vm_code));
    memset((void *)0x20000, 0, 0x3000);
    hook[GP] = hook[0x90] = leave;
    idt_dpl(0x90, 3);

    vm_enter(0x3000, OFFSET(vm_code));
    check(1, seen.vector, 0x90);
    check(2, seen.cs, 0x1000);
    check(3, seen_vm.ss, 0x3000);
    check(4, seen_vm.sp, 0xfff0 - 2);
    check(5, seen_vm.es, 0x2100);
    check(6, seen_vm.ds, 0x2200);
    check(7, seen_vm.fs, 0x4000);
    check(8, seen_vm.gs, 0x5000);
    check(9, real16(0), 0x1000);
    check(10, real16(2), 0x2000);
    check(11, real16(6), 0x3000);
    check(12, REAL_DATA[0x1020], 0x5a);
    check(13, real16(0x2030), 0x77);
    check(14, *(volatile uint16_t *)0x3ffee, 0x1234);

    /* IOPL 3: CLI, STI, PUSHF work on the real flag. IOPL 0: #GP(0) at the instruction. */
    vm_enter(0x3000, OFFSET(vm_cli));
    check(20, seen.vector, 0x90);
    check(21, seen.ax & 0x200, 0x200);
    vm_enter(0, OFFSET(vm_cli));
    check(22, seen.vector, GP);
    check(23, seen.error, 0);
    check(24, seen.ip, OFFSET(vm_cli));
    vm_enter(0, OFFSET(vm_pushf));
    check(25, seen.vector, GP);
    vm_enter(0, OFFSET(vm_int));
    check(26, seen.vector, GP);
    check(27, seen.error, 0);
    vm_enter(0x3000, OFFSET(vm_int)); /* the gate's DPL counts: 0 */
    check(28, seen.vector, GP);
    check(29, seen.error, 0x21 * 8 + 2);
    vm_enter(0x3000, OFFSET(vm_hlt)); /* always CPL 3 */
    check(30, seen.vector, GP);
    check(31, seen.ip, OFFSET(vm_hlt));
    /* Ports ask the bitmap even with IOPL 3. */
    vm_enter(0x3000, OFFSET(vm_in));
    check(32, seen.vector, GP);
    memset(&tss[32], 0xff, 0x40);
    tss[25] = 128u << 16;
    ((uint8_t *)&tss[32])[16] = 0xfe;
    vm_enter(0x3000, OFFSET(vm_in));
    check(33, seen.vector, 0x90);
    check(34, count, 9);
}
