/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the interp engine runs an integer loop: 64-bit code, paging on, no machine around it.
 * The loop is a mix that compilers make: arithmetic, loads and stores, a call, conditional
 * branches.
 *
 *     build/bench/interp_loop [MILLIONS OF INSTRUCTIONS]
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cpu/engine.h"

#define CODE  0x100000u
#define STACK 0x300000u
#define PML4  0x10000u

extern const uint8_t loop_code[], loop_end[];
__asm__(".pushsection .rodata\n"
        "loop_code:\n"
        "  mov $0x200000, %esi\n"
        "  xor %eax, %eax\n"
        "  xor %ebx, %ebx\n"
        "1: lea (%rax,%rax,2), %rdx\n"
        "  add $17, %rdx\n"
        "  mov %rdx, %rax\n"
        "  shr $7, %rdx\n"
        "  and $0xff8, %edx\n"
        "  add (%rsi,%rdx), %rbx\n"
        "  mov %rax, (%rsi,%rdx)\n"
        "  test $4, %al\n"
        "  jz 2f\n"
        "  xor %rbx, %rax\n"
        "2: call 3f\n"
        "  cmp $1000, %rdi\n"
        "  jb 4f\n"
        "  xor %edi, %edi\n"
        "4: dec %rcx\n"
        "  jnz 1b\n"
        "  hlt\n"
        "3: push %rbp\n"
        "  mov %rsp, %rbp\n"
        "  inc %rdi\n"
        "  movzbl %dil, %r8d\n"
        "  pop %rbp\n"
        "  ret\n"
        "loop_end:\n"
        ".popsection\n");

#define INSNS_PER_ROUND 21

static uint64_t bus_poll(void *arg)
{
    (void)arg;
    return 1000000;
}

static bool put(struct guest_mem *mem, uint64_t gpa, uint64_t v)
{
    return mem_write(mem, gpa_make(gpa), &v, sizeof v);
}

static bool load(struct guest_mem *mem)
{
    bool ok = put(mem, PML4, (PML4 + 0x1000) | 3) && put(mem, PML4 + 0x1000, (PML4 + 0x2000) | 3);

    for (unsigned i = 0; i < 4; i++)
        ok = ok && put(mem, PML4 + 0x2000 + 8 * i, i * 0x200000u | 0x83);
    return ok && mem_write(mem, gpa_make(CODE), loop_code, (size_t)(loop_end - loop_code));
}

static void set_start(struct x86_state *s, uint64_t rounds)
{
    x86_state_reset(s);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        s->seg[i] = (struct x86_segment){.limit = UINT32_MAX, .attr = 0xc093, .selector = 16};
    s->seg[SEG_CS] = (struct x86_segment){.limit = UINT32_MAX, .attr = 0xa09b, .selector = 8};
    s->cr0 = CR0_PE | CR0_PG | CR0_ET;
    s->cr3 = PML4;
    s->cr4 = CR4_PAE;
    s->efer = EFER_LME | EFER_LMA;
    s->rip = CODE;
    s->gpr[RSP] = STACK;
    s->gpr[RCX] = rounds;
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    uint64_t millions = argc > 1 ? strtoull(argv[1], NULL, 10) : 500;
    struct cpu_bus bus = {.poll = bus_poll};
    struct vcpu_config config = {.bus = &bus, .tsc_khz = 1000000, .features = CPU_FEATURES_DEFAULT};
    const struct engine_ops *engine = engine_find("interp");
    struct x86_state state;
    struct vcpu *vcpu;
    double start, taken;

    if (mem_create(&config.mem, UINT64_C(8) << 20) || engine->create(&vcpu, &config) ||
        !load(config.mem)) {
        fprintf(stderr, "interp_loop: %s\n", err_text());
        return 4;
    }
    set_start(&state, millions * 1000000 / INSNS_PER_ROUND);
    engine->set_state(vcpu, &state);
    start = seconds();
    if (engine->run(vcpu) != ENGINE_EXIT_HALTED) {
        fprintf(stderr, "interp_loop: the guest did not reach its end\n");
        return 4;
    }
    taken = seconds() - start;
    printf("interp_loop instructions=%llu seconds=%.3f mips=%.0f\n",
           (unsigned long long)engine->instructions(vcpu), taken,
           (double)engine->instructions(vcpu) / taken / 1e6);
    engine->destroy(vcpu);
    mem_destroy(config.mem);
    return 0;
}
