/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest whose user mode computes for so long that it runs directly (docs/direct.md), with a
 * kernel that does what the program wants: INT 20h calls the routine at RBX at level 0, INT 21h is
 * the interrupt of a device, SYSCALL ends, and a page fault is counted and mended where the page is
 * one of DATA.
 */
#ifndef UMBRA_TESTS_DIRECT_GUEST_H
#define UMBRA_TESTS_DIRECT_GUEST_H

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cpu/direct/stub.h"
#include "mem/mem.h"

#define mem_create mem_create_shareable
#include "interp_guest.h"
#undef mem_create

#define GATES     0x17000u
#define TSS       0x18000u
#define OTHER     0x19000u /* page tables of a second address space: four pages */
#define KSTACK    0x1f000u
#define COUNTS    0x30000u /* 0: page faults, 8: interrupts */
#define VEC_CALL  0x20u
#define VEC_IRQ   0x21u
#define BUDGET    UINT64_C(20000000)
#define SPIN      UINT64_C(9000000)
#define SPIN_NONE 1

/*
 * At the beginning of a page, where scan.h lets less pass. Adds to R14, R15 times; so many that the
 * code is found to run for long.
 */
#define LONG                                                                                       \
    ".skip 32, 0x90\n mov %r15, %r13\n"                                                            \
    "771: imul $5, %r14, %r14\n add %r13, %r14\n dec %r13\n jnz 771b\n"
/* For a while that is worth it, so that what follows runs directly again. */
#define SHORT        "mov $30000, %r13d\n 772: dec %r13\n jnz 772b\n"
#define CALL0(label) "lea " label "(%rip), %rbx\n int $0x20\n"
#define END          "hlt\n"

GUEST(gate_call, 64, "call *%rbx\n iretq");
GUEST(gate_syscall, 64, "mov $77, %edi");
GUEST(gate_irq, 64, "incq 0x30008\n iretq");
/* Present, user, written; the frame is what the entry has, or that of the same number. */
GUEST(gate_fault, 64,
      "push %rax\n push %rcx\n incq 0x30000\n mov %cr2, %rax\n mov %eax, %ecx\n"
      "sub $0x200000, %ecx\n shr $12, %ecx\n cmp $512, %ecx\n jae 2f\n"
      "testl $0xfffff000, 0x13000(,%rcx,8)\n jnz 1f\n"
      "and $0xfffffffffffff000, %rax\n or %rax, 0x13000(,%rcx,8)\n"
      "1: orq $7, 0x13000(,%rcx,8)\n"
      "pop %rcx\n pop %rax\n add $8, %rsp\n iretq\n"
      "2: mov $14, %edi\n mov 16(%rsp), %rsi\n hlt");

static inline void set_gate(struct guest *g, unsigned vector, uint64_t at, unsigned dpl)
{
    put64(g, IDT + vector * 16,
          (at & 0xffff) | 8u << 16 | (UINT64_C(0x8e00) | dpl << 13) << 32 | (at >> 16) << 48);
    put64(g, IDT + vector * 16 + 8, 0);
}

static inline void put_code(struct guest *g, uint64_t at, const uint8_t *code, const uint8_t *end)
{
    assert_true(mem_write(g->mem, gpa_make(at), code, (size_t)(end - code)));
}

static inline void make_kernel(struct guest *g)
{
    uint64_t idt_end = IDT + (VEC_IRQ + 1) * 16;

    for (unsigned v = 3; v < 5; v++) /* INT3, INTO */
        set_gate(g, v, FAULT_CODE + v * 16, 3);
    put_code(g, GATES, gate_call, gate_call_end);
    put_code(g, GATES + 0x100, gate_irq, gate_irq_end);
    put_code(g, GATES + 0x200, gate_fault, gate_fault_end);
    set_gate(g, VEC_CALL, GATES, 3);
    set_gate(g, VEC_IRQ, GATES + 0x100, 0);
    set_gate(g, VEC_PF, GATES + 0x200, 0);
    put_code(g, GATES + 0x300, gate_syscall, gate_syscall_end);
    g->s.efer |= EFER_SCE;
    g->s.star = UINT64_C(8) << 32;
    g->s.lstar = GATES + 0x300;
    g->s.sfmask = RFLAGS_TF | RFLAGS_IF;
    put64(g, GDT + 0x28, UINT64_C(0x00cff3000000ffff));
    put64(g, GDT + 0x30, UINT64_C(0x00affb000000ffff));
    put64(g, TSS + 4, KSTACK);
    put64(g, TSS + 0x60, UINT64_C(0xffff) << 48); /* no ports */
    g->s.idtr = (struct x86_table){IDT, (uint16_t)(idt_end - IDT - 1)};
    g->s.gdtr = (struct x86_table){GDT, 0x37};
    g->s.tr.base = TSS;
    g->s.tr.limit = 0x67;
}

/* All pages are the user's, the kernel's too, so that a program has its kernel routines with it. */
static inline void make_user(struct guest *g)
{
    const uint64_t tables[] = {PML4, PDPT, PD, PD + 8, PD + 16, PD + 24};

    for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++)
        put64(g, tables[i], get64(g, tables[i]) | 4);
    for (unsigned i = 0; i < 512; i++)
        put64(g, PT + 8 * i, get64(g, PT + 8 * i) | 4);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        g->s.seg[i] = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE};
    g->s.seg[SEG_CS] = segment(0x33, 0xa0fb);
    g->s.seg[SEG_SS] = segment(0x2b, 0xc0f3);
    g->s.rflags = RFLAGS_ONE | RFLAGS_IF;
    g->s.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE;
}

static inline bool no_msr(void *arg, uint32_t msr, uint64_t *value)
{
    (void)arg;
    (void)msr;
    (void)value;
    return false;
}

static inline void direct_open(struct guest *g, const char *engine)
{
    bool direct = strcmp(engine, "translate") == 0;

    guest_open_with(g, 64, engine, (struct vcpu_config){.direct = direct});
    g->budget = BUDGET;
    g->bus.msr_read = no_msr;
    make_kernel(g);
    make_user(g);
}

static inline uint64_t direct_runs(const struct guest *g)
{
    return g->vcpu->ops->stats(g->vcpu)->direct_runs;
}

static inline void start_at(struct guest *g, const uint8_t *code, const uint8_t *end, uint64_t spin)
{
    put_code(g, CODE, code, end);
    g->s.rip = CODE;
    g->s.gpr[R15] = spin;
    g->s.halted = false;
    g->vcpu->ops->set_state(g->vcpu, &g->s);
}

/* Ends the stubs of this process that are there, and says how many. */
static inline unsigned end_stubs(void)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    unsigned ended = 0;

    assert_non_null(proc);
    while ((entry = readdir(proc))) {
        char path[300], name[64] = "";
        int pid = atoi(entry->d_name), parent = 0;
        FILE *stat;

        if (!pid)
            continue;
        (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
        stat = fopen(path, "re");
        if (!stat)
            continue;
        if (fscanf(stat, "%*d (%63[^)]) %*c %d", name, &parent) == 2 && parent == getpid() &&
            !strcmp(name, "umbra-stub")) {
            assert_int_equal(kill(pid, SIGKILL), 0);
            ended++;
        }
        fclose(stat);
    }
    closedir(proc);
    return ended;
}

/* To the HLT of the handler of an exception. */
static inline void run_to_halt(struct guest *g)
{
    enum engine_exit exit;

    do
        exit = g->vcpu->ops->run(g->vcpu);
    while (exit == ENGINE_EXIT_KICKED);
    assert_int_equal(exit, ENGINE_EXIT_HALTED);
    g->vcpu->ops->get_state(g->vcpu, &g->s);
}

/* 77, for main to return, after a word: direct execution is not possible here; 0: it is. */
static inline int direct_is_skipped(void)
{
    const char *why = NULL;

    if (engine_find("translate") && stub_is_possible(&why))
        return 0;
    printf("SKIP: %s\n", why ? why : err_text());
    return 77;
}

#endif
