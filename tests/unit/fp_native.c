/* SPDX-License-Identifier: Apache-2.0 */
#include "fp_native.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

struct native *native_now;
void *native_code;
uint64_t native_rsp;

void native_enter(void);
extern const char native_exit[];

__asm__(".text\n"
        ".globl native_enter, native_exit\n"
        "native_enter:\n"
        "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "  mov %rsp, native_rsp(%rip)\n"
        "  mov native_now(%rip), %rdi\n"
        "  fxrstor64 192(%rdi)\n"
        "  push 128(%rdi); popfq\n"
        "  mov 0(%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n"
        "  mov 40(%rdi), %rbp; mov 48(%rdi), %rsi; mov 64(%rdi), %r8; mov 72(%rdi), %r9\n"
        "  mov 80(%rdi), %r10; mov 88(%rdi), %r11; mov 96(%rdi), %r12; mov 104(%rdi), %r13\n"
        "  mov 112(%rdi), %r14; mov 120(%rdi), %r15; mov 56(%rdi), %rdi\n"
        "  jmp *native_code(%rip)\n"
        "native_exit:\n"
        "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "  ret\n");

static void on_signal(int signal, siginfo_t *info, void *context)
{
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};
    mcontext_t *m = &((ucontext_t *)context)->uc_mcontext;
    struct native *n = native_now;
    (void)signal;
    (void)info;
    if (!n)
        abort();
    for (int i = 0; i < 16; i++)
        n->gpr[i] = (uint64_t)m->gregs[order[i]];
    n->flags = (uint64_t)m->gregs[REG_EFL];
    memcpy(n->fx, m->fpregs, sizeof n->fx);
    n->vector = m->gregs[REG_TRAPNO] == 3 ? -1 : (int)m->gregs[REG_TRAPNO];
    m->gregs[REG_RIP] = (greg_t)(uintptr_t)native_exit;
    m->gregs[REG_RSP] = (greg_t)native_rsp;
    m->fpregs->mxcsr = 0x1f80;
    m->fpregs->cwd = 0x37f;
    m->fpregs->swd = 0;
    m->fpregs->ftw = 0;
    native_now = NULL;
}

void native_setup(void)
{
    static const int signals[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &action, NULL);
    if (!native_code)
        native_code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

void native_run(struct native *n, const uint8_t *insn, size_t bytes)
{
    native_setup();
    memcpy(native_code, insn, bytes);
    ((uint8_t *)native_code)[bytes] = 0xcc;
    native_now = n;
    native_enter();
}
