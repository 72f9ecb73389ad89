/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of a test in a process of its own, where the kernel refuses a system call as a container's
 * filter would.
 */
#ifndef UMBRA_TESTS_FORBID_H
#define UMBRA_TESTS_FORBID_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FORBID_IO_URING        __NR_io_uring_setup
#define FORBID_FALLOCATE       __NR_fallocate
#define FORBID_PROCESS_MADVISE __NR_process_madvise
#define FORBID_USERFAULTFD     __NR_userfaultfd

/* What fn answers when the host lets it not do what it needs. */
#define FORBID_SKIP 77

/* From now on, for this process: the call fails with this errno. Not 0: the host has no filters. */
static inline int forbid_call(unsigned number, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* Runs fn in a child; its answer, or 128 + the signal that ended it. */
static inline int forbid_run(int (*fn)(void *arg), void *arg)
{
    int status = 0;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0)
        _exit(fn(arg));
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 126;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif
