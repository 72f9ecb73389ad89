/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first steps of a new stub, still in a copy of our memory: nothing but system calls, because
 * another thread may have held any lock of the C library when the copy was made.
 *
 * RDTSC and CPUID could be made to fault (PR_SET_TSC, ARCH_SET_CPUID), but then each switch to
 * the process and from it writes CR4 or an MSR: as costly in a virtual machine as all the rest.
 *
 * What it sets, it has for ever: the seccomp filter allows nothing that could undo it. The filter
 * answers with SIGSYS and not with death, because the page of old time calls (vsyscall) asks it too
 * and code of the guest may jump there.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu/direct/stub_private.h"

#define RSEQ_BYTES      32 /* the least that the C library registers */
#define ASK_PERSONALITY 0xffffffffUL

static bool default_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < SIGRTMIN; number++)
        sigaction(number, &action, NULL); /* two of them are refused */
    sigemptyset(&none);
    return !sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool end_with(pid_t parent)
{
    return !prctl(PR_SET_PDEATHSIG, SIGKILL) && getppid() == parent;
}

/* The kernel writes to a place of this thread's after each interruption; it will not be there. */
static bool leave_rseq(void)
{
    char *area = (char *)__builtin_thread_pointer() + __rseq_offset;

    if (!__rseq_size)
        return true;
    for (unsigned long bytes = RSEQ_BYTES; bytes <= 8 * RSEQ_BYTES; bytes += RSEQ_BYTES)
        if (!syscall(SYS_rseq, area, bytes, RSEQ_FLAG_UNREGISTER, RSEQ_SIG))
            return true;
    return errno == ENOSYS;
}

/* Some programs ask for it that no page shall be readable and not executable. */
static bool keep_rights(void)
{
    long now = syscall(SYS_personality, ASK_PERSONALITY);

    return now >= 0 && (!(now & READ_IMPLIES_EXEC) ||
                        syscall(SYS_personality, now & ~(long)READ_IMPLIES_EXEC) >= 0);
}

static bool map_place(int fd)
{
    void *place = (void *)STUB_PLACE;

    return mmap(place, STUB_PLACE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0) ==
           place;
}

/* Neither of both may lie where the other is to be. */
static bool keep_only(int ram_fd, int place_fd)
{
    int ram = fcntl(ram_fd, F_DUPFD, STUB_PLACE_FD + 1);
    int place = fcntl(place_fd, F_DUPFD, STUB_PLACE_FD + 1);

    return ram >= 0 && place >= 0 && dup2(ram, STUB_RAM_FD) == STUB_RAM_FD &&
           dup2(place, STUB_PLACE_FD) == STUB_PLACE_FD &&
           !syscall(SYS_close_range, 0, STUB_RAM_FD - 1, 0) &&
           !syscall(SYS_close_range, STUB_PLACE_FD + 1, ~0U, 0);
}

static bool refuse_calls(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 7),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ftruncate, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, STUB_PLACE_FD, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};

    return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
           !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void begin(struct stub_birth *birth, enum stub_step step, bool done)
{
    if (!done) {
        birth->error = errno;
        birth->step = (int)step;
        syscall(SYS_exit_group, 1);
    }
}

void stub_child(struct stub_birth *birth, int place_fd, int ram_fd, pid_t parent)
{
    begin(birth, STUB_STEP_SIGNALS, default_signals());
    begin(birth, STUB_STEP_PARENT, end_with(parent));
    begin(birth, STUB_STEP_RSEQ, leave_rseq());
    begin(birth, STUB_STEP_RIGHTS, keep_rights());
    begin(birth, STUB_STEP_PLACE, map_place(place_fd));
    begin(birth, STUB_STEP_FILES, keep_only(ram_fd, place_fd));
    begin(birth, STUB_STEP_NAME, !prctl(PR_SET_NAME, "umbra-stub"));
    begin(birth, STUB_STEP_TRACE, !ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    begin(birth, STUB_STEP_SECCOMP, refuse_calls());
    for (;;)
        __asm__ volatile("int3" ::: "memory"); /* from here on the tracer has the registers */
}
