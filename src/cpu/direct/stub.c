/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a stub: its birth, what is asked of it by ptrace, its end. */
#include "cpu/direct/stub.h"

#include <errno.h>
#include <linux/elf.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/invariant.h"
#include "cpu/direct/stub_private.h"

#define XSTATE_MOST  65536
#define XSTATE_FCW   0 /* offsets in the image */
#define XSTATE_MXCSR 24
#define FCW_EMPTY    0x37f
#define MXCSR_EMPTY  0x1f80

/* ---- what is asked of the process ---- */

static enum err gone(struct stub *s)
{
    s->pid = 0;
    if (WIFSIGNALED(s->status))
        return err_new(ERR_IO, "the process that runs guest code was ended by signal %d (%s)",
                       WTERMSIG(s->status), strsignal(WTERMSIG(s->status)));
    return err_new(ERR_IO, "the process that runs guest code has ended");
}

/* Until the process has stopped or ended. */
static bool wait_for(struct stub *s)
{
    pid_t got;

    do
        got = waitpid(s->pid, &s->status, __WALL);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        s->status = 0; /* SIGCHLD is ignored: nobody knows how it ended */
    return got > 0 && WIFSTOPPED(s->status);
}

static void end(struct stub *s)
{
    (void)syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
    while (wait_for(s))
        ;
}

enum err stub_ask(struct stub *s, int request, uintptr_t address, void *data, const char *what)
{
    if (!s->pid)
        return gone(s);
    if (ptrace((enum __ptrace_request)request, s->pid, (void *)address, data) >= 0)
        return ERR_OK;
    if (errno != ESRCH)
        return err_errno(ERR_INTERNAL, "cannot %s the process that runs guest code", what);
    end(s); /* it is on its way there, but so it is sure to be */
    return gone(s);
}

enum err stub_resume(struct stub *s, int request, bool *has_gone_on)
{
    enum err e = stub_ask(s, request, 0, NULL, "resume");

    if (e)
        return e;
    if (has_gone_on)
        *has_gone_on = true;
    return wait_for(s) ? ERR_OK : gone(s);
}

int stub_pid(const struct stub *s)
{
    return s->pid;
}

uint64_t stub_cpu_ns(const struct stub *s)
{
    struct timespec t = {0};

    if (s->pid)
        (void)clock_gettime(s->clock, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* ---- birth ---- */

static enum err make_place(struct stub *s)
{
    size_t bytes = (size_t)(stub_batch_end - stub_batch_code);

    invariant(bytes <= sizeof s->place.code);
    memcpy(s->place.code, stub_batch_code, bytes);
    s->place_fd = memfd_create("umbra-stub", MFD_CLOEXEC);
    return s->place_fd < 0 ? err_errno(ERR_NOMEM, "cannot make a memory file") : ERR_OK;
}

/*
 * A copy of this process with no signal at its end. No signal is let in until the copy has
 * forgotten our handlers, which would otherwise work for us there.
 */
static enum err start(struct stub *s, struct stub_birth *birth, int ram_fd)
{
    sigset_t all, before;
    pid_t parent = getpid();

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    long pid = syscall(SYS_clone, CLONE_PIDFD, NULL, &s->pidfd, NULL, 0);
    if (!pid)
        stub_child(birth, s->place_fd, ram_fd, parent);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    if (pid < 0) {
        s->pidfd = -1;
        return err_errno(ERR_NOMEM, "cannot make a process to run guest code");
    }
    s->pid = (pid_t)pid;
    return ERR_OK;
}

/* The first stop, at the INT3 of stub_child. */
static enum err first_stop(struct stub *s, const struct stub_birth *birth)
{
    static const char *const steps[] = {
#define X(name, text) text,
        STUB_STEPS(X)
#undef X
    };

    while (wait_for(s))
        if (WSTOPSIG(s->status) == SIGTRAP) {
            return stub_ask(s, PTRACE_SETOPTIONS, 0,
                            (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), "set options of");
        } else if (ptrace(PTRACE_CONT, s->pid, NULL, NULL) < 0 && errno != ESRCH) {
            return err_errno(ERR_UNSUPPORTED, "cannot resume the process that runs guest code");
        }
    if (!WIFEXITED(s->status))
        return gone(s);
    s->pid = 0;
    errno = birth->error;
    return err_errno(ERR_UNSUPPORTED, "a process that runs guest code is not allowed %s",
                     steps[birth->step]);
}

static enum err give_birth(struct stub *s, int ram_fd)
{
    void *p = mmap(NULL, STUB_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    enum err e;

    if (p == MAP_FAILED)
        return err_errno(ERR_NOMEM, "no memory for a process that runs guest code");
    e = start(s, p, ram_fd);
    if (!e)
        e = first_stop(s, p);
    munmap(p, STUB_PAGE);
    return e;
}

/* An image of the extended state in which nothing is in use. */
static enum err make_xstate(struct stub *s)
{
    uint8_t *image = calloc(1, XSTATE_MOST);
    struct iovec state = {.iov_base = image, .iov_len = XSTATE_MOST};

    s->xstate = image;
    if (!image)
        return err_new(ERR_NOMEM, "no memory for the vector registers");
    enum err e =
        stub_ask(s, PTRACE_GETREGSET, NT_X86_XSTATE, &state, "read the vector registers of");
    if (e)
        return e;
    s->xstate_bytes = state.iov_len;
    memset(image, 0, XSTATE_MOST);
    memcpy(image + XSTATE_FCW, &(uint16_t){FCW_EMPTY}, 2);
    memcpy(image + XSTATE_MXCSR, &(uint32_t){MXCSR_EMPTY}, 4);
    return ERR_OK;
}

enum err stub_create(struct stub **out, int ram_fd)
{
    struct stub *s = calloc(1, sizeof *s);
    enum err e;

    if (!s)
        return err_new(ERR_NOMEM, "no memory for a process that runs guest code");
    s->pidfd = -1;
    e = make_place(s);
    if (!e)
        e = give_birth(s, ram_fd);
    if (!e && clock_getcpuclockid(s->pid, &s->clock))
        e = err_new(ERR_UNSUPPORTED, "no clock for the process that runs guest code");
    if (!e)
        e = make_xstate(s);
    if (!e) {
        stub_unmap_all(s); /* what is left of the copy of our memory */
        stub_batch_clear(s, 0, STUB_PLACE);
        e = stub_flush(s);
    }
    if (e) {
        stub_destroy(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void stub_destroy(struct stub *s)
{
    if (!s)
        return;
    if (s->pid)
        end(s);
    if (s->pidfd >= 0)
        close(s->pidfd);
    if (s->place_fd >= 0)
        close(s->place_fd);
    free(s->xstate);
    free(s);
}

/* ---- whether all this works here ---- */

static enum err try_file(int ram_fd)
{
    static const uint8_t code[] = {0x0f, 0x05}; /* SYSCALL */
    struct stub_regs r = {.gpr = {[0] = SYS_getpid}, .rip = 0x400000, .rflags = 2};
    uint8_t fx[512] = {0};
    struct stub_exit exit;
    struct stub *s = NULL;

    if (ftruncate(ram_fd, (off_t)STUB_PAGE) || pwrite(ram_fd, code, sizeof code, 0) != sizeof code)
        return err_errno(ERR_NOMEM, "cannot write a memory file");
    enum err e = stub_create(&s, ram_fd);
    if (!e)
        e = stub_map(s, r.rip, 0, PROT_READ | PROT_EXEC);
    if (!e)
        e = stub_run(s, &r, fx, &exit);
    if (!e && (exit.why != STUB_SYSCALL || r.rip != 0x400000 || r.gpr[0] != SYS_getpid))
        e = err_new(ERR_UNSUPPORTED, "a system call of guest code is not stopped (PTRACE_SYSEMU)");
    stub_destroy(s);
    return e;
}

bool stub_is_possible(const char **why)
{
    int fd = memfd_create("umbra-try", MFD_CLOEXEC);
    enum err e = fd < 0 ? err_errno(ERR_NOMEM, "cannot make a memory file") : try_file(fd);

    if (fd >= 0)
        close(fd);
    if (e && why)
        *why = err_text();
    return e == ERR_OK;
}
