/* SPDX-License-Identifier: Apache-2.0 */
/* The guest. Its kernel lies in the upper half and is the host assembler's work. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "cpu/engine.h"
#include "direct.h"
#include "no_devices.h"

#define GUEST_BYTES (UINT64_C(16) << 20)
#define TABLES_GPA  UINT64_C(0x100000)
#define IDT_GPA     UINT64_C(0x10000)
#define GDT_GPA     UINT64_C(0x11000)
#define TSS_GPA     UINT64_C(0x12000)
#define REGS_GPA    UINT64_C(0x13000)
#define SPIN_GPA    UINT64_C(0x14000)
#define KERNEL_GPA  UINT64_C(0x20000)
#define STACK_GPA   UINT64_C(0x30000)
#define RECORDS_GPA UINT64_C(0x200000)

#define KERNEL_VA UINT64_C(0xffffffff80000000)
#define REGS_VA   UINT64_C(0x12000000)
#define SPIN_VA   UINT64_C(0x10ff0000)

#define POLL_AFTER UINT64_C(1100000) /* so many without a turn make a view hot */
#define POLLS_MOST 100000u

/*
 * Cells first: the present record, the rounds, the stack, where the registers go. SYSCALL is noted
 * as vector 40h.
 */
extern const uint8_t kernel[], kernel_vectors[], kernel_syscall[], kernel_begin[], kernel_end[];
__asm__(".pushsection .rodata\n"
        "kernel: cur: .quad 0\n spin: .quad 0\n stack: .quad 0\n regs: .quad 0\n saved: .quad 0\n"
        ".balign 16\n kernel_vectors:\n"
        ".set v, 0\n .rept 32\n .balign 16\n"
        ".if v == 8 || (v >= 10 && v <= 14) || v == 17\n .else\n pushq $0\n .endif\n"
        "pushq $v\n jmp common\n .set v, v + 1\n .endr\n"
        "kernel_syscall:\n mov %rsp, saved(%rip)\n mov stack(%rip), %rsp\n"
        "pushq $0x2b\n pushq saved(%rip)\n push %r11\n pushq $0x33\n push %rcx\n pushq $0\n"
        "pushq $0x40\n"
        "common:\n push %rax\n push %rbx\n mov cur(%rip), %rbx\n"
        "mov 8(%rsp), %rax\n mov %rax, (%rbx)\n mov (%rsp), %rax\n mov %rax, 24(%rbx)\n"
        "mov %rcx, 8(%rbx)\n mov %rdx, 16(%rbx)\n mov %rbp, 40(%rbx)\n mov %rsi, 48(%rbx)\n"
        "mov %rdi, 56(%rbx)\n mov %r8, 64(%rbx)\n mov %r9, 72(%rbx)\n mov %r10, 80(%rbx)\n"
        "mov %r11, 88(%rbx)\n mov %r12, 96(%rbx)\n mov %r13, 104(%rbx)\n mov %r14, 112(%rbx)\n"
        "mov %r15, 120(%rbx)\n"
        "lea 16(%rsp), %rsi\n lea 128(%rbx), %rdi\n mov $7, %ecx\n cld\n rep movsq\n"
        "mov %cr2, %rax\n mov %rax, 184(%rbx)\n"
        "mov $0xc0000100, %ecx\n rdmsr\n mov %eax, 192(%rbx)\n mov %edx, 196(%rbx)\n"
        "inc %ecx\n rdmsr\n mov %eax, 200(%rbx)\n mov %edx, 204(%rbx)\n"
        "fxsave64 256(%rbx)\n"
        "add $2048, %rbx\n mov %rbx, cur(%rip)\n"
        "kernel_begin:\n mov cur(%rip), %rbx\n cmpq $0, 1152(%rbx)\n je 9f\n"
        "mov 1168(%rbx), %rax\n test %rax, %rax\n jz 2f\n"
        "mov 1176(%rbx), %rcx\n mov %rcx, (%rax)\n mov 1184(%rbx), %rdx\n"
        "cmpq $0, 1192(%rbx)\n jne 1f\n invlpg (%rdx)\n jmp 2f\n"
        "1: mov %cr3, %rax\n mov %rax, %cr3\n"
        "2: mov 1208(%rbx), %rax\n test %rax, %rax\n jz 3f\n"
        "mov 1216(%rbx), %rcx\n mov %rcx, (%rax)\n"
        "3: mov 1200(%rbx), %rdi\n test %rdi, %rdi\n jz 4f\n"
        "lea 1792(%rbx), %rsi\n mov $8, %ecx\n cld\n rep movsq\n"
        "4: mov 1224(%rbx), %rax\n test %rax, %rax\n jz 5f\n mov %rax, %cr4\n"
        "5: xor %eax, %eax\n xor %edx, %edx\n mov $0xc0000100, %ecx\n wrmsr\n"
        "mov $0x20000100, %eax\n inc %ecx\n wrmsr\n"
        "mov regs(%rip), %rdi\n lea 1024(%rbx), %rsi\n mov $18, %ecx\n cld\n rep movsq\n"
        "fxrstor64 1280(%rbx)\n mov spin(%rip), %r15\n mov stack(%rip), %rsp\n"
        "pushq $0x2b\n pushq $0\n pushq $0x202\n pushq $0x33\n pushq $0x10ff0040\n iretq\n"
        "9: hlt\n"
        "kernel_end:\n .popsection");

/* User code, at 40h of its page: the loop, then all registers. */
extern const uint8_t user[], user_end[];
__asm__(".pushsection .rodata\n"
        "user: .skip 64, 0x90\n 1: dec %r15\n jnz 1b\n mov $0x12000000, %esp\n"
        "pop %rax\n pop %rcx\n pop %rdx\n pop %rbx\n pop %rbp\n pop %rbp\n pop %rsi\n pop %rdi\n"
        "pop %r8\n pop %r9\n pop %r10\n pop %r11\n pop %r12\n pop %r13\n pop %r14\n pop %r15\n"
        "mov $0x12000088, %esp\n popfq\n mov 0x12000020, %rsp\n jmp *0x12000080\n"
        "user_end:\n .popsection");

struct world {
    struct guest_mem *mem;
    struct vcpu *vcpu;
    struct cpu_bus bus;
    uint64_t next_table;
    unsigned polls;
    atomic_bool over;
};

/* Programs that do not end in time are ended. */
static uint64_t poll(void *arg)
{
    struct world *w = arg;

    if (++w->polls > POLLS_MOST)
        w->vcpu->ops->kick(w->vcpu);
    return POLL_AFTER;
}

static bool put(struct world *w, uint64_t gpa, const void *bytes, size_t n)
{
    return mem_write(w->mem, gpa_make(gpa), bytes, n);
}

static bool put64(struct world *w, uint64_t gpa, uint64_t v)
{
    return put(w, gpa, &v, sizeof v);
}

uint64_t world_kernel(uint64_t gpa)
{
    return KERNEL_VA + gpa;
}

/* Tables from one place on: the entry of a page, made if need be. */
static uint64_t entry_of(struct world *w, uint64_t va)
{
    uint64_t table = TABLES_GPA;

    for (int level = 3; level > 0; level--) {
        uint64_t at = table + ((va >> (12 + 9 * level)) & 511) * 8, entry = 0;

        if (!mem_read(w->mem, gpa_make(at), &entry, 8))
            return 0;
        if (!entry) {
            entry = w->next_table | 7;
            w->next_table += 4096;
            (void)put64(w, at, entry);
        }
        table = entry & ~UINT64_C(0xfff);
    }
    return table + ((va >> 12) & 511) * 8;
}

/* As build maps: the code is first, then the data; each within one table. */
#define CODE_TABLE (TABLES_GPA + 0x3000)
#define DATA_TABLE (TABLES_GPA + 0x4000)

uint64_t world_pte(uint64_t va)
{
    return KERNEL_VA + (va >= DATA_BASE ? DATA_TABLE : CODE_TABLE) + ((va >> 12) & 511) * 8;
}

uint64_t world_cr4(void)
{
    return CR4_PAE | CR4_PSE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE;
}

static bool map(struct world *w, uint64_t va, uint64_t gpa, uint64_t bytes, uint64_t flags)
{
    bool ok = true;

    for (uint64_t at = 0; at < bytes; at += 4096)
        ok = ok && put64(w, entry_of(w, va + at), (gpa + at) | flags);
    return ok;
}

static bool put_gate(struct world *w, unsigned vector)
{
    uint64_t to = KERNEL_VA + KERNEL_GPA + (uint64_t)(kernel_vectors - kernel) + 16 * vector;

    return put64(w, IDT_GPA + 16 * vector,
                 (to & 0xffff) | 8u << 16 | UINT64_C(0xee) << 40 | (to >> 16 & 0xffff) << 48) &&
           put64(w, IDT_GPA + 16 * vector + 8, to >> 32);
}

static bool build(struct world *w, const struct program *p, uint64_t spin)
{
    static const uint64_t gdt[] = {0,
                                   0x00af9b000000ffff,
                                   0x00cf93000000ffff,
                                   0,
                                   0x00cffb000000ffff,
                                   0x00cff3000000ffff,
                                   0x00affb000000ffff};
    static const uint16_t no_io_map = 0x68;
    uint64_t cells[] = {KERNEL_VA + RECORDS_GPA, spin, KERNEL_VA + STACK_GPA, KERNEL_VA + REGS_GPA};
    uint8_t data[DATA_BYTES], int3[4096];
    bool ok;

    memset(int3, 0xcc, sizeof int3);
    gen_data(data, 1);
    ok = map(w, CODE_BASE, CODE_GPA, sizeof p->code, 0x65) &&
         map(w, DATA_BASE, DATA_GPA, RW_BYTES, 0x67) &&
         map(w, DATA_BASE + RW_BYTES, DATA_GPA + RW_BYTES, RO_BYTES, 0x65) &&
         map(w, REGS_VA, REGS_GPA, 4096, 0x65) && map(w, SPIN_VA, SPIN_GPA, 4096, 0x65) &&
         map(w, KERNEL_VA, 0, 0x600000, 0x63) && put(w, GDT_GPA, gdt, sizeof gdt) &&
         put64(w, TSS_GPA + 4, KERNEL_VA + STACK_GPA) && put(w, TSS_GPA + 102, &no_io_map, 2) &&
         put(w, KERNEL_GPA, kernel, (size_t)(kernel_end - kernel)) &&
         put(w, KERNEL_GPA, cells, sizeof cells) &&
         put(w, SPIN_GPA, user, (size_t)(user_end - user)) &&
         put(w, CODE_GPA, p->code, sizeof p->code) && put(w, DATA_GPA, data, sizeof data) &&
         put(w, RECORDS_GPA, p->record, sizeof p->record);
    gen_data(data, 2);
    ok = ok && put(w, OTHER_DATA, data, sizeof data);
    for (uint64_t at = 0; at < sizeof p->code; at += 4096)
        ok = ok && put(w, OTHER_CODE + at, int3, sizeof int3);
    for (unsigned v = 0; v < 32; v++)
        ok = ok && put_gate(w, v);
    return ok;
}

static void begin(struct world *w)
{
    struct x86_state s;

    x86_state_reset(&s);
    s.rip = KERNEL_VA + KERNEL_GPA + (uint64_t)(kernel_begin - kernel);
    s.rflags = RFLAGS_ONE;
    s.gpr[4] = KERNEL_VA + STACK_GPA;
    s.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    s.cr3 = TABLES_GPA;
    s.cr4 = world_cr4();
    s.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    s.star = UINT64_C(8) << 32;
    s.lstar = KERNEL_VA + KERNEL_GPA + (uint64_t)(kernel_syscall - kernel);
    s.sfmask = RFLAGS_TF | RFLAGS_IF | RFLAGS_NT | RFLAGS_AC;
    s.gdtr = (struct x86_table){.base = KERNEL_VA + GDT_GPA, .limit = 7 * 8 - 1};
    s.idtr = (struct x86_table){.base = KERNEL_VA + IDT_GPA, .limit = 32 * 16 - 1};
    s.tr = (struct x86_segment){
        .base = KERNEL_VA + TSS_GPA, .limit = 0x67, .attr = 0x8b, .selector = 0x40};
    for (int i = 0; i < SEG_COUNT; i++)
        s.seg[i] = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE};
    s.seg[SEG_CS] = (struct x86_segment){.limit = ~0u, .attr = 0xa09b, .selector = 8};
    w->vcpu->ops->set_state(w->vcpu, &s);
}

struct world *world_open(const char *engine, const struct program *p, uint64_t spin)
{
    struct world *w = calloc(1, sizeof *w);
    const struct engine_ops *ops = engine_find(engine);
    struct vcpu_config config = {
        .tsc_khz = 1000000, .features = CPU_FEATURES_DEFAULT, .direct = true};

    if (!w)
        return NULL;
    w->next_table = TABLES_GPA + 0x1000;
    w->bus = (struct cpu_bus){NO_DEVICES, .arg = w, .poll_arg = w, .poll = poll};
    config.bus = &w->bus;
    if (ops && mem_create_shareable(&w->mem, GUEST_BYTES) == ERR_OK) {
        config.mem = w->mem;
        if (ops->create(&w->vcpu, &config) == ERR_OK && build(w, p, spin)) {
            begin(w);
            return w;
        }
    }
    fprintf(stderr, "direct_fuzz: %s\n", err_text());
    world_close(w);
    return NULL;
}

void world_close(struct world *w)
{
    if (w->vcpu)
        w->vcpu->ops->destroy(w->vcpu);
    mem_destroy(w->mem);
    free(w);
}

static void *ring(void *arg)
{
    struct world *w = arg;

    while (!atomic_load(&w->over)) {
        usleep(300);
        w->vcpu->ops->kick(w->vcpu);
    }
    return NULL;
}

enum world_end world_go(struct world *w, bool kicks)
{
    pthread_t thread;
    enum engine_exit exit;

    kicks = kicks && !pthread_create(&thread, NULL, ring, w);
    do
        exit = w->vcpu->ops->run(w->vcpu);
    while (exit == ENGINE_EXIT_KICKED && w->polls <= POLLS_MOST);
    if (kicks) {
        atomic_store(&w->over, true);
        pthread_join(thread, NULL);
    }
    if (exit == ENGINE_EXIT_HALTED)
        return WORLD_DONE;
    return exit == ENGINE_EXIT_KICKED ? WORLD_TOO_LONG : WORLD_BROKEN;
}

const uint8_t *world_page(const struct world *w, uint64_t gpa)
{
    hva_t hva;
    bool writable;

    if (mem_make_resident(w->mem, gpa_gfn(gpa_make(gpa)), MEM_FOR_READ, &hva, &writable) != MEM_OK)
        abort();
    return hva_ptr(hva);
}

const struct record *world_record(const struct world *w, unsigned n)
{
    uint64_t gpa = RECORDS_GPA + n * sizeof(struct record);

    return (const struct record *)(const void *)(world_page(w, gpa & ~UINT64_C(0xfff)) +
                                                 (gpa & 0xfff));
}

uint64_t world_direct_runs(const struct world *w)
{
    return w->vcpu->ops->stats(w->vcpu)->direct_runs;
}
