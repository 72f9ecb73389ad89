/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of what the kernel does for programs: system calls, processes, pages, signals, files. */
#include "rows.h"

#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE       4096u
#define HELD_PAGES 256u
#define MAP_PAGES  64u
#define USED_PAGES 32u
#define FILE_BYTES (4u << 20)

static uint64_t touch(unsigned char *pages, unsigned count)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += ++pages[i * PAGE];
    return sum;
}

static unsigned char *hold_pages(void)
{
    unsigned char *held = row_memory((size_t)HELD_PAGES * PAGE);
    touch(held, HELD_PAGES);
    return held;
}

/* Processes that wait for each other stay on one CPU: a guest has no other. */
static void stay_on_one_cpu(void)
{
    cpu_set_t set;
    int cpu = sched_getcpu();
    CPU_ZERO(&set);
    CPU_SET((size_t)(cpu < 0 ? 0 : cpu), &set);
    row_needs(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

static uint64_t run_syscall(uint64_t rounds)
{
    uint64_t sum = 0;
    row_begins();
    for (uint64_t i = 0; i < rounds; i++)
        sum += (uint64_t)syscall(SYS_getppid) != 0;
    return sum;
}

static uint64_t play(int from, int to, uint64_t rounds, int first, unsigned char *held,
                     unsigned pages)
{
    uint64_t sum = 0;
    char byte = 1;
    for (uint64_t i = 0; i < rounds; i++) {
        row_needs(!first || write(to, &byte, 1) == 1, "write");
        row_needs(read(from, &byte, 1) == 1, "read");
        sum += touch(held, pages) + (uint64_t)byte;
        row_needs(first || write(to, &byte, 1) == 1, "write");
    }
    return sum;
}

/* Two processes hand a byte to and fro through two pipes, each with pages of its own in use. */
static uint64_t ping_pong(uint64_t rounds, unsigned pages)
{
    int there[2] = {-1, -1}, back[2] = {-1, -1}, status = -1;
    unsigned char *held = hold_pages();
    stay_on_one_cpu();
    row_needs(pipe(there) == 0 && pipe(back) == 0, "pipe");
    row_begins();
    pid_t child = fork();
    row_needs(child >= 0, "fork");
    if (child == 0) {
        play(there[0], back[1], rounds, 0, held, pages);
        _exit(0);
    }
    uint64_t sum = play(back[0], there[1], rounds, 1, held, pages);
    row_needs(waitpid(child, &status, 0) == child && status == 0, "the other process");
    return sum;
}

static uint64_t run_pipe(uint64_t rounds)
{
    return ping_pong(rounds, 0);
}

static uint64_t run_switch(uint64_t rounds)
{
    return ping_pong(rounds, USED_PAGES);
}

/* Children that touch a few inherited pages and exit. */
static uint64_t run_fork(uint64_t rounds)
{
    unsigned char *held = hold_pages();
    uint64_t sum = 0;
    stay_on_one_cpu();
    row_begins();
    for (uint64_t i = 0; i < rounds; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0)
            _exit((int)(touch(held, 16) & 127));
        row_needs(child > 0 && waitpid(child, &status, 0) == child, "fork");
        sum += (uint64_t)WEXITSTATUS(status) + touch(held, 1);
    }
    return sum;
}

/* This program anew, which ends at once. */
static uint64_t run_exec(uint64_t rounds)
{
    const char *program = row_program();
    char *const arguments[] = {(char[]){"rows"}, (char[]){"nothing"}, NULL};
    stay_on_one_cpu();
    row_begins();
    for (uint64_t i = 0; i < rounds; i++) {
        int status = 1;
        pid_t child = 0;
        row_needs(posix_spawn(&child, program, NULL, NULL, arguments, environ) == 0, "spawn");
        row_needs(waitpid(child, &status, 0) == child && status == 0, "exec");
    }
    return rounds;
}

/* Pages mapped, touched and unmapped. */
static uint64_t run_faults(uint64_t rounds)
{
    uint64_t sum = 0;
    row_begins();
    for (uint64_t i = 0; i < rounds; i++) {
        unsigned char *pages = row_memory((size_t)MAP_PAGES * PAGE);
        sum += touch(pages, MAP_PAGES);
        munmap(pages, (size_t)MAP_PAGES * PAGE);
    }
    return sum;
}

/* A page made read-only and writable again, with a read and a write in between. */
static uint64_t run_mprotect(uint64_t rounds)
{
    unsigned char *held = hold_pages();
    uint64_t sum = 0;
    row_begins();
    for (uint64_t i = 0; i < rounds; i++) {
        unsigned char *page = held + i % HELD_PAGES * PAGE;
        row_needs(mprotect(page, PAGE, PROT_READ) == 0, "mprotect");
        sum += *(volatile unsigned char *)page;
        row_needs(mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
        ++*(volatile unsigned char *)page;
    }
    return sum;
}

static volatile sig_atomic_t signals_seen;

static void see_signal(int number)
{
    signals_seen += number == SIGUSR1;
}

static uint64_t run_signal(uint64_t rounds)
{
    struct sigaction action = {.sa_handler = see_signal};
    row_needs(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
    pid_t self = getpid();
    row_begins();
    for (uint64_t i = 0; i < rounds; i++)
        kill(self, SIGUSR1);
    return (uint64_t)signals_seen;
}

/* Blocks of 4 KiB read from a file in memory (tmpfs), here and there. */
static uint64_t run_file(uint64_t rounds)
{
    unsigned char *block = row_memory(PAGE);
    uint64_t sum = 0, state = 5;
    int fd = memfd_create("bench", 0);
    row_needs(fd >= 0, "memfd_create");
    for (unsigned at = 0; at < FILE_BYTES; at += PAGE) {
        block[at / PAGE % PAGE] = (unsigned char)(at >> 12);
        row_needs(write(fd, block, PAGE) == PAGE, "write");
    }
    row_begins();
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t at = row_random(&state) % (FILE_BYTES / PAGE);
        row_needs(pread(fd, block, PAGE, (off_t)(at * PAGE)) == PAGE, "pread");
        sum += block[i % (FILE_BYTES / PAGE)];
    }
    return sum;
}

const struct row kernel_rows[] = {
    {"syscall", "kernel", run_syscall, 10000}, {"pipe", "kernel", run_pipe, 400},
    {"switch", "kernel", run_switch, 400},     {"fork", "kernel", run_fork, 10},
    {"exec", "kernel", run_exec, 4},           {"faults", "kernel", run_faults, 20},
    {"mprotect", "kernel", run_mprotect, 300}, {"signal", "kernel", run_signal, 700},
    {"file", "kernel", run_file, 2000},        {NULL, NULL, NULL, 0}};
