/* SPDX-License-Identifier: Apache-2.0 */
#include "control/compare/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ASKED_SECONDS 10

/* In the child: never returns. */
static _Noreturn void become(const char *const *words, int in, int out, const char *messages,
                             pid_t parent)
{
    int err = open(messages, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent && err >= 0 && dup2(in, STDIN_FILENO) >= 0 &&
        dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0)
        execv("/proc/self/exe", (char *const *)(uintptr_t)words);
    _exit(127);
}

enum err child_start(struct child *child, const char *const *words, const char *messages)
{
    int in[2], out[2];
    pid_t parent = getpid();

    *child = (struct child){.pid = -1, .keys = -1, .console = -1};
    if (pipe2(in, O_CLOEXEC))
        return err_errno(ERR_IO, "cannot make a pipe");
    if (pipe2(out, O_CLOEXEC)) {
        close(in[0]);
        close(in[1]);
        return err_errno(ERR_IO, "cannot make a pipe");
    }
    child->pid = fork();
    if (child->pid == 0)
        become(words, in[0], out[1], messages, parent);
    close(in[0]);
    close(out[1]);
    child->keys = in[1];
    child->console = out[0];
    (void)fcntl(child->console, F_SETFL, O_NONBLOCK);
    (void)fcntl(child->keys, F_SETFL, O_NONBLOCK);
    if (child->pid >= 0)
        return ERR_OK;
    close(child->keys);
    close(child->console);
    return err_errno(ERR_IO, "cannot start a process");
}

/* A VM that has ended takes no keys; its end is seen on its console. */
void child_press(struct child *child, char key)
{
    ssize_t written = write(child->keys, &key, 1);

    (void)written;
}

static void take_byte(struct child *child, char byte, void (*take)(void *arg, char *line),
                      void *arg)
{
    if (byte == '\r')
        return;
    if (byte == '\n') {
        child->line[child->line_bytes] = '\0';
        if (!child->line_is_long)
            take(arg, child->line);
        child->line_bytes = 0;
        child->line_is_long = false;
    } else if (child->line_bytes + 1 < sizeof(child->line)) {
        child->line[child->line_bytes++] = byte;
    } else {
        child->line_is_long = true;
    }
}

void child_read(struct child *child, void (*take)(void *arg, char *line), void *arg)
{
    char buf[4096];
    ssize_t n = read(child->console, buf, sizeof(buf));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close(child->console);
        child->console = -1;
        return;
    }
    for (ssize_t i = 0; i < n; i++)
        take_byte(child, buf[i], take, arg);
}

static void drop_line(void *arg, char *line)
{
    (void)arg;
    (void)line;
}

/* True: it has ended. Its console is emptied meanwhile, or it would wait for us. */
static bool wait_for(struct child *child, unsigned seconds)
{
    const struct timespec tick = {.tv_nsec = 20000000};

    for (unsigned i = 0; i < seconds * 50 + 1; i++) {
        if (waitpid(child->pid, NULL, WNOHANG) == child->pid)
            return true;
        if (child->console >= 0)
            child_read(child, drop_line, NULL);
        nanosleep(&tick, NULL);
    }
    return false;
}

void child_end(struct child *child, unsigned seconds)
{
    if (child->pid < 0)
        return;
    if (!wait_for(child, seconds)) {
        kill(child->pid, SIGTERM);
        if (!wait_for(child, ASKED_SECONDS)) {
            kill(child->pid, SIGKILL);
            waitpid(child->pid, NULL, 0);
        }
    }
    close(child->keys);
    if (child->console >= 0)
        close(child->console);
    child->pid = -1;
}
