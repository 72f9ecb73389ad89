/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of guest code, and kicks.
 *
 * A kick sets `kicked` and then, if it sees `running`, sends SIGUSR1; a run sets `running` and
 * then looks at `kicked`: one of both sees the other. A signal of a kick that the run has noticed
 * without it comes later, finds `kicked` clear and changes nothing.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/direct/stub_private.h"

#define FLAG_TF UINT64_C(0x100)
#define FLAG_ID UINT64_C(0x200000)
/* CF PF AF ZF SF DF OF NT AC: what ptrace gives and takes; ID it takes only. */
#define FLAGS_USER  UINT64_C(0x44cd5)
#define FLAGS_FIXED UINT64_C(0x202)
#define SEL_CODE    0x33
#define SEL_DATA    0x2b
#define FX_BYTES    416 /* the rest is nobody's */
#define CALL_BYTES  2   /* of SYSCALL and INT 80h */
#define OPCODE_INT3 0xcc

static bool can_run(const struct stub_regs *r)
{
    return r->fs_base < STUB_TOP && r->gs_base < STUB_TOP && r->rip < STUB_TOP &&
           !(r->rflags & FLAG_TF);
}

static enum err give(struct stub *s, const struct stub_regs *r, const uint8_t fx[512])
{
    const uint64_t *g = r->gpr;
    struct user_regs_struct regs = {
        .rax = g[0],
        .rcx = g[1],
        .rdx = g[2],
        .rbx = g[3],
        .rsp = g[4],
        .rbp = g[5],
        .rsi = g[6],
        .rdi = g[7],
        .r8 = g[8],
        .r9 = g[9],
        .r10 = g[10],
        .r11 = g[11],
        .r12 = g[12],
        .r13 = g[13],
        .r14 = g[14],
        .r15 = g[15],
        .rip = r->rip,
        .eflags = (r->rflags & (FLAGS_USER | FLAG_ID)) | FLAGS_FIXED,
        .orig_rax = ~0ULL, /* no system call to be restarted */
        .fs_base = r->fs_base,
        .gs_base = r->gs_base,
        .cs = SEL_CODE,
        .ss = SEL_DATA,
    };
    enum err e = ERR_OK;

    if (!s->set_valid || memcmp(&regs, &s->set, sizeof regs) != 0)
        e = stub_ask(s, PTRACE_SETREGS, 0, &regs, "set the registers of");
    if (!e && (!s->fx_valid || memcmp(fx, s->fx, FX_BYTES) != 0)) {
        memcpy(s->fx, fx, FX_BYTES);
        s->fx_valid = false;
        e = stub_ask(s, PTRACE_SETFPREGS, 0, s->fx, "set the floating-point registers of");
    }
    s->set = regs;
    s->set_valid = false;
    return e;
}

static void selectors(const struct user_regs_struct *regs, struct stub_exit *exit)
{
    uint16_t now[6] = {(uint16_t)regs->es, (uint16_t)regs->cs, (uint16_t)regs->ss,
                       (uint16_t)regs->ds, (uint16_t)regs->fs, (uint16_t)regs->gs};
    static const uint16_t plain[6] = {0, SEL_CODE, SEL_DATA, 0, 0, 0};

    memcpy(exit->selectors, now, sizeof now);
    exit->selectors_moved = memcmp(now, plain, sizeof now) != 0;
}

/* Puts rip where the instruction begins that the engine is to execute. */
static void step_back(struct stub *s, struct user_regs_struct *regs, const struct stub_exit *exit)
{
    switch (exit->why) {
    case STUB_SYSCALL:
        regs->rip -= CALL_BYTES;
        regs->rax = regs->orig_rax;
        break;
    case STUB_TRAP:
        if (exit->code == SI_KERNEL) { /* INT3 or, two bytes long, INT 3 */
            errno = 0;
            long byte = ptrace(PTRACE_PEEKTEXT, s->pid, regs->rip - 1, NULL);
            regs->rip -= errno || (byte & 0xff) == OPCODE_INT3 ? 1 : 2;
        }
        break;
    case STUB_FAULT:
        if (exit->signal == SIGSYS) { /* a call of the vsyscall page, which the filter refused */
            regs->rip = exit->address;
            regs->rsp -= 8;
        }
        break;
    case STUB_KICKED:
        break;
    }
}

static enum err take(struct stub *s, struct stub_regs *r, uint8_t fx[512], struct stub_exit *exit)
{
    struct user_regs_struct regs;
    const uint64_t taken = FLAGS_USER | FLAG_TF | FLAG_ID;
    enum err e = stub_ask(s, PTRACE_GETREGS, 0, &regs, "read the registers of");

    if (!e)
        e = stub_ask(s, PTRACE_GETFPREGS, 0, s->fx, "read the floating-point registers of");
    if (e)
        return e;
    s->fx_valid = true;
    memcpy(fx, s->fx, FX_BYTES);
    s->set = regs;
    s->set_valid = exit->why != STUB_SYSCALL; /* orig_rax is in the way */
    selectors(&regs, exit);
    step_back(s, &regs, exit);
    *r = (struct stub_regs){
        .gpr = {regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi,
                regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15},
        .rip = regs.rip,
        .rflags = (r->rflags & ~taken) | (regs.eflags & taken),
        .fs_base = regs.fs_base,
        .gs_base = regs.gs_base,
    };
    return ERR_OK;
}

static enum err why_signal(struct stub *s, struct stub_exit *exit)
{
    siginfo_t info;
    enum err e = stub_ask(s, PTRACE_GETSIGINFO, 0, &info, "ask for the signal of");

    if (e)
        return e;
    if (info.si_code <= 0) /* somebody has sent it */
        return ERR_OK;
    exit->why = exit->signal == SIGTRAP ? STUB_TRAP : STUB_FAULT;
    exit->code = info.si_code;
    exit->address = (uintptr_t)(exit->signal == SIGSYS ? info.si_call_addr : info.si_addr);
    return ERR_OK;
}

/* Runs until there is something to tell. */
static enum err run(struct stub *s, struct stub_exit *exit)
{
    enum err e;

    do {
        e = stub_resume(s, PTRACE_SYSEMU, &exit->has_begun);
        if (e)
            return e;
        exit->signal = WSTOPSIG(s->status);
    } while (exit->signal == SIGUSR1 && !atomic_exchange(&s->kicked, false));
    switch (exit->signal) {
    case SIGTRAP | 0x80:
        exit->why = STUB_SYSCALL;
        exit->signal = 0;
        return ERR_OK;
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE:
    case SIGTRAP:
    case SIGSYS:
        e = why_signal(s, exit);
        break;
    default:
        break;
    }
    if (exit->why == STUB_KICKED)
        exit->signal = 0;
    return e;
}

enum err stub_run(struct stub *s, struct stub_regs *r, uint8_t fx[512], struct stub_exit *exit)
{
    enum err e = stub_flush(s);

    *exit = (struct stub_exit){.why = STUB_KICKED, .selectors = {0, SEL_CODE, SEL_DATA}};
    if (e)
        return e;
    if (!can_run(r)) {
        exit->why = STUB_FAULT;
        exit->signal = SIGSEGV;
        exit->code = SI_KERNEL;
        return ERR_OK;
    }
    if ((r->rflags ^ s->set.eflags) & FLAG_ID)
        e = stub_batch_set_flags(s, FLAGS_FIXED | (r->rflags & FLAG_ID));
    if (e)
        return e;
    atomic_store(&s->running, true);
    if (!atomic_exchange(&s->kicked, false)) {
        e = give(s, r, fx);
        if (!e)
            e = run(s, exit);
        if (!e)
            e = take(s, r, fx, exit);
    }
    atomic_store(&s->running, false);
    return e;
}

void stub_kick(struct stub *s)
{
    int saved = errno;

    if (!atomic_exchange(&s->kicked, true) && atomic_load(&s->running))
        (void)syscall(SYS_pidfd_send_signal, s->pidfd, SIGUSR1, NULL, 0);
    errno = saved;
}
