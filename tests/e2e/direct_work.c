/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program can do to its pages and its code between long computations: for guests, static.
 *
 * direct_work memory MIB   fills its memory and verifies it, again and again, until a line on
 *                          standard input; tells each pass
 * direct_work mixed N      N rounds of copies on write, protection and signals for it, code that is
 *                          written (at its own place, at another), threads, timers and
 *                          floating point; one line with a checksum at the end, always the same
 *
 * Status 0: all was as it should be.
 */
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "direct_spin.h"

#define PAGE  4096u
#define PAGES 256u
#define SPIN  300000u

static void *map(int prot, int fd)
{
    void *p =
        mmap(NULL, PAGES * PAGE, prot, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        exit(2);
    return p;
}

/* --- memory --- */

static int own(uint64_t mib)
{
    uint64_t words = mib << 17, mismatches = 0;
    uint64_t *word =
        mmap(NULL, words * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct pollfd input = {.fd = 0, .events = POLLIN};

    if (word == MAP_FAILED)
        return 2;
    for (unsigned pass = 0;; pass++) {
        for (uint64_t i = 0; i < words; i++) {
            if (pass && word[i] != mix(i + pass - 1))
                mismatches++;
            word[i] = mix(i + pass);
        }
        printf("work: pass %u, %llu mismatches\n", pass, (unsigned long long)mismatches);
        fflush(stdout);
        if (poll(&input, 1, 0) > 0)
            break;
    }
    printf("work: done, %llu mismatches\n", (unsigned long long)mismatches);
    return mismatches != 0;
}

/* --- mixed --- */

static volatile sig_atomic_t faults, alarms;
static uint8_t *volatile guarded;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    uint8_t *page = (uint8_t *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));

    (void)signal;
    (void)context;
    if (!guarded || page < guarded || page >= guarded + PAGES * PAGE)
        _exit(3);
    faults++;
    if (mprotect(page, PAGE, PROT_READ | PROT_WRITE))
        _exit(4);
}

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
}

static uint64_t copies(uint64_t x)
{
    uint64_t *p = map(PROT_READ | PROT_WRITE, -1);
    int status = 0;

    for (unsigned i = 0; i < PAGES * PAGE / 8; i++)
        p[i] = x + i;
    pid_t child = fork();
    if (!child) {
        for (unsigned i = 0; i < PAGES; i++)
            p[i * 512] = spin(p[i * 512], 1000);
        for (unsigned i = 0; i < PAGES; i++)
            if (p[i * 512] != spin(x + (uint64_t)i * 512, 1000) ||
                p[i * 512 + 1] != x + i * 512u + 1)
                _exit(1);
        _exit(0);
    }
    for (unsigned i = 0; i < PAGES; i++) {
        p[i * 512 + 2] = 0;
        x = spin(x, 1000) + p[i * 512] + p[i * 512 + 2];
    }
    waitpid(child, &status, 0);
    munmap(p, PAGES * PAGE);
    return x + (uint64_t)status;
}

static uint64_t protection(uint64_t x)
{
    uint8_t *p = map(PROT_READ | PROT_WRITE, -1);

    memset(p, 1, PAGES * PAGE);
    guarded = p;
    faults = 0;
    for (unsigned round = 0; round < 4; round++) {
        mprotect(p, PAGES * PAGE, round & 1 ? PROT_NONE : PROT_READ);
        for (unsigned i = 0; i < PAGES; i++) {
            x = spin(x, 500);
            p[i * PAGE + round]++;
            x += p[i * PAGE + round];
        }
    }
    guarded = NULL;
    munmap(p, PAGES * PAGE);
    return x + (uint64_t)faults;
}

/* mov $imm32, %eax; ret */
static void write_code(uint8_t *at, uint32_t value)
{
    memcpy(at, (const uint8_t[]){0xb8, 0, 0, 0, 0, 0xc3}, 6);
    memcpy(at + 1, &value, 4);
}

static uint64_t call(const void *at)
{
    uint32_t (*f)(void);

    memcpy(&f, &at, sizeof f);
    return f();
}

static uint64_t code(uint64_t x)
{
    int fd = memfd_create("code", 0);
    uint8_t *own_place, *write, *run;

    if (fd < 0 || ftruncate(fd, PAGES * PAGE))
        exit(2);
    own_place = map(PROT_READ | PROT_WRITE | PROT_EXEC, -1);
    write = map(PROT_READ | PROT_WRITE, fd);
    run = map(PROT_READ | PROT_EXEC, fd);
    for (unsigned i = 0; i < PAGES; i++) {
        unsigned at = (i % 16) * PAGE + (i * 64) % PAGE;

        write_code(own_place + at, i);
        write_code(write + at, i);
        x = spin(x, 3000);
        if (call(own_place + at) != i || call(run + at) != i)
            exit(5);
        write_code(own_place + at, i + 1);
        write_code(write + at, i + 1);
        if (call(own_place + at) != i + 1 || call(run + at) != i + 1)
            exit(6);
        /* the same page, not writable while it runs, as compilers do it */
        mprotect(own_place, 16 * PAGE, PROT_READ | PROT_EXEC);
        x += call(own_place + at);
        mprotect(own_place, 16 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
        /* other pages come to the place */
        if (i % 32 == 31) {
            if (mmap(run, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd,
                     (i / 32 + 1) * PAGE) != run)
                exit(2);
            write_code(write + (size_t)(i / 32 + 1) * PAGE, 7 * i);
            if (call(run) != 7 * i)
                exit(7);
            if (mmap(run, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0) != run)
                exit(2);
        }
    }
    munmap(own_place, PAGES * PAGE);
    munmap(write, PAGES * PAGE);
    munmap(run, PAGES * PAGE);
    close(fd);
    return x;
}

static __thread uint64_t of_thread;

static void *thread(void *arg)
{
    for (unsigned i = 0; i < 10; i++)
        of_thread = spin(of_thread + (uintptr_t)arg, SPIN / 10);
    return (void *)(uintptr_t)of_thread;
}

static uint64_t threads(uint64_t x)
{
    pthread_t t[4];
    void *result;

    for (uintptr_t i = 0; i < 4; i++)
        if (pthread_create(&t[i], NULL, thread, (void *)(i + 1)))
            exit(2);
    of_thread = spin(x, SPIN);
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(t[i], &result);
        x += (uintptr_t)result;
    }
    return x + of_thread;
}

static uint64_t floats(uint64_t x)
{
    double sum = 0;
    long double old = 0;
    uint64_t bits;

    for (unsigned i = 1; i < SPIN; i++) {
        sum += 1.0 / (double)i;
        old += 1.0L / (long double)i;
    }
    sum += (double)(old * 1e6L);
    memcpy(&bits, &sum, sizeof bits);
    return x ^ bits;
}

static int do_all(unsigned rounds)
{
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct sigaction alarm = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval often = {.it_interval = {.tv_usec = 3000}, .it_value = {.tv_usec = 3000}};
    uint64_t x = 1;

    sigaction(SIGSEGV, &fault, NULL);
    sigaction(SIGALRM, &alarm, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (unsigned i = 0; i < rounds; i++) {
        x = spin(x, SPIN);
        x = copies(x);
        x = protection(x);
        x = code(x);
        x = threads(x);
        x = floats(x);
    }
    printf("work: sum %llx, %s\n", (unsigned long long)x, alarms ? "alarms came" : "no alarm");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "memory"))
        return own(strtoull(argv[2], NULL, 10));
    if (argc == 3 && !strcmp(argv[1], "mixed"))
        return do_all((unsigned)strtoul(argv[2], NULL, 10));
    fprintf(stderr, "usage: direct_work memory MIB | mixed ROUNDS\n");
    return 2;
}
