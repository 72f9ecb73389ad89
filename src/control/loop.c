/* SPDX-License-Identifier: Apache-2.0 */
#include "control/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/log.h"
#include "control/escape.h"

/*
 * What one write to standard output may carry so that it does not block after poll() said
 * "writable": a pipe promises PIPE_BUF, a terminal 256 characters. (O_NONBLOCK is not used: it
 * would stick to a descriptor that we share with the shell.)
 */
#define PIPE_CHUNK 4096u
#define TTY_CHUNK  256u

/* How long the guest's last words may take when the user ends the VM. */
#define FAREWELL_MS 200

struct loop {
    struct vm *vm;
    struct qmp_server *server;
    struct member *member;
    struct terminal *terminal;
    struct escape escape;
    int signal_fd;
    bool in_open, in_ours; /* ours: not while in the background of a terminal */
    uint8_t in[256], out[PIPE_CHUNK];
    size_t in_used, out_used;
    const char *end_reason; /* for the SHUTDOWN event, when the end was ordered here */
    int signal_number;
    unsigned stall_told;
};

static void loop_signals(sigset_t *set)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT};

    sigemptyset(set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(set, numbers[i]);
}

void loop_block_signals(void)
{
    sigset_t set;

    loop_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at the user's size limit: an error of that write */
}

bool loop_is_plain_file(int fd)
{
    struct stat st;

    if (fstat(fd, &st))
        return false;
    return S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

/* ---- signals ---- */

static void suspend(struct loop *l)
{
    terminal_give_back(l->terminal);
    kill(getpid(), SIGSTOP);
    /* Continues here after SIGCONT, which is then waiting in the descriptor. */
}

static void on_signal(struct loop *l)
{
    struct signalfd_siginfo info;

    if (read(l->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    switch (info.ssi_signo) {
    case SIGTSTP:
        suspend(l);
        break;
    case SIGCONT:
        terminal_give_back(l->terminal);
        l->in_ours = terminal_take(l->terminal);
        break;
    default:
        l->signal_number = (int)info.ssi_signo;
        l->end_reason = "host-signal";
        vm_stop(l->vm);
        break;
    }
}

/* ---- console input ---- */

static void show_help(void)
{
    static const char text[] = "\r\nCtrl-A X        end the VM\r\n"
                               "Ctrl-A H        this help\r\n"
                               "Ctrl-A Ctrl-A   send Ctrl-A to the guest\r\n";

    fwrite(text, 1, sizeof(text) - 1, stderr);
}

static void offer_input(struct loop *l)
{
    size_t taken = vm_console_put(l->vm, l->in, l->in_used);

    memmove(l->in, l->in + taken, l->in_used - taken);
    l->in_used -= taken;
}

static void on_input(struct loop *l)
{
    uint8_t raw[sizeof(l->in) / 2];
    ssize_t n = read(STDIN_FILENO, raw, sizeof(raw));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        l->in_open = false;
        /*
         * A terminal that is gone (EIO) takes its guest along; the end of a file or pipe does not.
         */
        if (l->terminal->is_in_tty) {
            l->end_reason = "host-ui";
            vm_stop(l->vm);
        }
        return;
    }
    if (!l->terminal->is_in_tty) {
        memcpy(l->in, raw, (size_t)n);
        l->in_used = (size_t)n;
        offer_input(l);
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        uint8_t bytes[2];
        size_t count;

        switch (escape_feed(&l->escape, raw[i], bytes, &count)) {
        case ESCAPE_QUIT:
            l->end_reason = "host-ui";
            vm_stop(l->vm);
            return;
        case ESCAPE_HELP:
            show_help();
            break;
        case ESCAPE_NONE:
            break;
        }
        if (l->in_used + count > sizeof(l->in))
            continue; /* typed ahead of a guest that does not read */
        memcpy(l->in + l->in_used, bytes, count);
        l->in_used += count;
    }
    offer_input(l);
}

/* ---- console output ---- */

static void fetch_output(struct loop *l)
{
    if (!l->out_used)
        l->out_used =
            vm_console_take(l->vm, l->out, l->terminal->is_out_tty ? TTY_CHUNK : PIPE_CHUNK);
}

static enum err write_output(struct loop *l)
{
    ssize_t n = write(STDOUT_FILENO, l->out, l->out_used);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return ERR_OK;
    if (n < 0)
        return err_errno(ERR_IO, "cannot write the guest's console to standard output");
    terminal_note_output(l->terminal, l->out, (size_t)n);
    memmove(l->out, l->out + n, l->out_used - (size_t)n);
    l->out_used -= (size_t)n;
    return ERR_OK;
}

/*
 * A user who ends the VM gets what can be written at once; a reader that has stopped must not keep
 * a dead VM.
 */
static enum err flush_output(struct loop *l)
{
    enum err err = ERR_OK;

    for (;;) {
        struct pollfd fd = {.fd = STDOUT_FILENO, .events = POLLOUT};

        fetch_output(l);
        if (!l->out_used || err || poll(&fd, 1, FAREWELL_MS) <= 0)
            return err;
        err = write_output(l);
    }
}

/* ---- memory that cannot be had ---- */

/* why: "" at the end of it */
static void tell_change(struct loop *l, const char *why)
{
    fprintf(stderr, "umbra: VM %s %s%s%s", vm_get_config(l->vm)->name,
            why[0] ? "waits: " : "goes on", why, l->terminal->raw ? "\r\n" : "\n");
    if (l->server)
        qmp_server_tell_stall(l->server, why);
}

/*
 * Each beginning is told and then its end, also when it has ended, or has begun anew, since we
 * looked.
 */
static void tell_stall(struct loop *l)
{
    struct vm_stall stall = vm_stall(l->vm);
    bool was_told = l->stall_told % 2, is_on = stall.number % 2;

    if (stall.number == l->stall_told)
        return;
    if (was_told)
        tell_change(l, "");
    if (!was_told || is_on || stall.number > l->stall_told + 1) {
        tell_change(l, stall.last);
        if (!is_on)
            tell_change(l, "");
    }
    l->stall_told = stall.number;
}

/* ---- the loop ---- */

enum { FD_WAKE, FD_TIMER, FD_SIGNAL, FD_IN, FD_OUT, FD_POOL, FD_IO, FD_FIXED = FD_IO + VM_IOS };

static size_t collect(struct loop *l, struct pollfd *fds)
{
    /* The escape key must work even when the guest reads nothing, so a terminal is always read. */
    bool want_in = l->in_open && l->in_ours && (!l->in_used || l->terminal->is_in_tty);
    int io[VM_IOS];

    fds[FD_WAKE] = (struct pollfd){.fd = vm_wake_fd(l->vm), .events = POLLIN};
    fds[FD_TIMER] = (struct pollfd){.fd = vm_timer_fd(l->vm), .events = POLLIN};
    fds[FD_SIGNAL] = (struct pollfd){.fd = l->signal_fd, .events = POLLIN};
    fds[FD_IN] = (struct pollfd){.fd = want_in ? STDIN_FILENO : -1, .events = POLLIN};
    fds[FD_OUT] = (struct pollfd){.fd = l->out_used ? STDOUT_FILENO : -1, .events = POLLOUT};
    fds[FD_POOL] = l->member ? member_pollfd(l->member) : (struct pollfd){.fd = -1};
    vm_io_fds(l->vm, io);
    for (unsigned i = 0; i < VM_IOS; i++)
        fds[FD_IO + i] = (struct pollfd){.fd = io[i], .events = POLLIN};
    return FD_FIXED + (l->server ? qmp_server_pollfds(l->server, fds + FD_FIXED) : 0);
}

static enum err turn(struct loop *l)
{
    struct pollfd fds[FD_FIXED + QMP_POLLFDS_MAX];
    size_t count;
    enum err err = ERR_OK;

    fetch_output(l);
    count = collect(l, fds);
    if (poll(fds, count, l->member ? member_timeout_ms(l->member) : -1) < 0)
        return errno == EINTR ? ERR_OK : err_errno(ERR_IO, "poll");
    if (fds[FD_WAKE].revents) {
        vm_wake_seen(l->vm);
        offer_input(l);
    }
    if (fds[FD_TIMER].revents)
        vm_timer_due(l->vm);
    if (fds[FD_SIGNAL].revents)
        on_signal(l);
    if (fds[FD_IN].revents)
        on_input(l);
    if (fds[FD_OUT].revents)
        err = write_output(l);
    for (unsigned i = 0; i < VM_IOS; i++) {
        if (fds[FD_IO + i].revents)
            vm_io_ready(l->vm, (enum vm_io)i);
    }
    if (l->member)
        member_serve(l->member, fds[FD_POOL].revents);
    tell_stall(l);
    if (l->server) {
        qmp_server_handle(l->server, fds + FD_FIXED, count - FD_FIXED);
        qmp_server_tell_resets(l->server);
    }
    return err;
}

static void tell_end(struct loop *l)
{
    struct vm_end end = vm_end(l->vm);
    const char *reason = l->end_reason ? l->end_reason : "host-qmp-quit";
    bool by_guest = true;

    switch (end.kind) {
    case VM_END_POWER_OFF:
    case VM_END_DEBUG_EXIT:
        reason = "guest-shutdown";
        break;
    case VM_END_RESET:
        reason = "guest-reset";
        break;
    case VM_END_GUEST_CRASH:
        reason = "guest-panic";
        break;
    case VM_END_HOST_ERROR:
        reason = "host-error";
        by_guest = false;
        break;
    case VM_END_STOPPED:
    case VM_END_NONE:
        by_guest = false;
        break;
    }
    qmp_server_tell_end(l->server, reason, by_guest);
}

enum err loop_run(struct vm *vm, struct qmp_server *server, struct member *member,
                  struct terminal *terminal, int *ended_by_signal)
{
    struct loop l = {.vm = vm, .server = server, .member = member, .terminal = terminal};
    enum err err = ERR_OK;
    sigset_t set;

    loop_signals(&set);
    l.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (l.signal_fd < 0)
        return err_errno(ERR_IO, "cannot make a signalfd");
    /*
     * With instruction time a plain file is read by the vCPU's thread, at fixed points of guest
     * time.
     */
    l.in_open = vm_get_config(vm)->input_file < 0;
    l.in_ours = terminal_take(terminal);
    while (!err && vm_end(vm).kind == VM_END_NONE)
        err = turn(&l);
    if (err)
        vm_stop(vm);
    vm_join(vm);
    if (server)
        tell_end(&l);
    /* However slowly it is read, what a guest wrote before its own end goes out. */
    for (fetch_output(&l); !err && l.out_used && !vm_is_stop_asked(vm); fetch_output(&l))
        err = turn(&l);
    if (!err)
        err = flush_output(&l);
    terminal_give_back(terminal);
    terminal_finish(terminal);
    close(l.signal_fd);
    *ended_by_signal = l.signal_number;
    return err;
}
