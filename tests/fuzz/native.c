/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host CPU as the oracle. native_run executes INT3; its signal handler keeps the caller's
 * context, loads the case's registers into the signal frame and returns into the case. The next
 * signal (trap flag, INT3 or a fault) delivers the result, and the handler returns into the caller.
 */
#include <asm/prctl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "insn.h"

#define CS_USER32 0x23
#define DS_USER   0x2b
#define TRAP_FLAG 0x100u

static const int greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};

/* One case at a time, handed to the signal handler. */
static struct {
    const struct test_case *test;
    struct outcome *out;
    bool inside;
    gregset_t caller;
    uint8_t caller_fx[512];
} run;

/* The handler may run with any flags and any MXCSR: it uses no floating point and no libc state. */
static void on_signal(int sig, siginfo_t *info, void *arg)
{
    ucontext_t *uc = arg;
    greg_t *g = uc->uc_mcontext.gregs;
    (void)info;
    if (!run.inside && sig != SIGTRAP) {
        static const char text[] = "insn_fuzz: the oracle itself faulted\n";
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
        _exit(3);
    }
    if (!run.inside) {
        const struct test_case *t = run.test;
        memcpy(run.caller, g, sizeof run.caller);
        memcpy(run.caller_fx, uc->uc_mcontext.fpregs, sizeof run.caller_fx);
        for (int i = 0; i < 16; i++)
            g[greg_of[i]] = (greg_t)t->start.gpr[i];
        g[REG_RIP] = (greg_t)t->start.rip;
        g[REG_EFL] = (greg_t)(t->start.rflags | (t->end == END_TRAP_FLAG ? TRAP_FLAG : 0));
        if (t->code32)
            g[REG_CSGSFS] = (g[REG_CSGSFS] & ~(greg_t)0xffff) | CS_USER32;
        /* keep the software bytes behind the FXSAVE area: they say that more state follows */
        uint8_t *fx = (uint8_t *)uc->uc_mcontext.fpregs;
        memcpy(fx, t->start.fx, 464);
        fx[512] |= 3; /* XSTATE_BV: x87 and SSE are not in their initial state */
        run.inside = true;
        return;
    }
    struct outcome *o = run.out;
    for (int i = 0; i < 16; i++)
        o->cpu.gpr[i] = (uint64_t)g[greg_of[i]];
    o->cpu.rip = (uint64_t)g[REG_RIP];
    o->cpu.rflags = (uint64_t)g[REG_EFL];
    memcpy(o->cpu.fx, uc->uc_mcontext.fpregs, sizeof o->cpu.fx);
    o->vector = (int)g[REG_TRAPNO];
    o->error = (uint32_t)g[REG_ERR];
    o->cr2 = (uint64_t)g[REG_CR2];
    memcpy(g, run.caller, sizeof run.caller);
    memcpy(uc->uc_mcontext.fpregs, run.caller_fx, 464);
    run.inside = false;
}

static const int signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

static bool take_signal(int sig)
{
    struct sigaction sa = {.sa_sigaction = on_signal,
                           .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

    sigfillset(&sa.sa_mask);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        sigdelset(&sa.sa_mask, signals[i]);
    return sigaction(sig, &sa, NULL) == 0;
}

bool native_setup(void)
{
    static uint8_t stack[65536];
    const stack_t ss = {.ss_sp = stack, .ss_size = sizeof stack};

    if (mmap((void *)CODE_BASE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED ||
        mmap((void *)DATA_BASE, DATA_BYTES, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED) {
        perror("insn_fuzz: mmap");
        return false;
    }
    if (sigaltstack(&ss, NULL) != 0)
        return false;
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (!take_signal(signals[i]))
            return false;
    }
    /*
     * 64-bit code does without them; 32-bit code needs flat data segments (Linux' user data
     * selector)
     */
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(DS_USER));
    return syscall(SYS_arch_prctl, ARCH_SET_GS, GS_BASE) == 0;
}

void native_run(const struct test_case *t, const uint8_t *data, struct outcome *out)
{
    uint8_t *code = (uint8_t *)t->start.rip;
    memcpy((void *)DATA_BASE, data, RW_BYTES);
    if (memcmp((void *)(DATA_BASE + RW_BYTES), data + RW_BYTES, RO_BYTES) != 0) {
        mprotect((void *)(DATA_BASE + RW_BYTES), RO_BYTES, PROT_READ | PROT_WRITE);
        memcpy((void *)(DATA_BASE + RW_BYTES), data + RW_BYTES, RO_BYTES);
        mprotect((void *)(DATA_BASE + RW_BYTES), RO_BYTES, PROT_READ);
    }
    memset((void *)CODE_BASE, 0xcc, 4096);
    for (unsigned i = 0; i < t->length && (uint64_t)(code + i) < CODE_BASE + 4096; i++)
        code[i] = t->bytes[i];
    run.test = t;
    run.out = out;
    __asm__ volatile("int3" ::: "memory");
}

const uint8_t *native_data(void)
{
    return (const uint8_t *)DATA_BASE;
}
