/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storms on page tables, one static program for the host and for any guest, in the manner of
 * loops.c:
 *
 * fork      children that touch a few inherited pages and exit
 * mmap      64 pages mapped, touched, unmapped
 * switch    two processes that hand a byte to and fro through two pipes, each with pages of its own
 *           in use
 *
 * storms [SCALE [NAME]]    SCALE: amount of work in percent (100); NAME: that storm only
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE       4096u
#define HELD_PAGES 256u
#define MAP_PAGES  64u
#define USED_PAGES 32u

static unsigned char *held;

static uint64_t touch(unsigned char *pages, unsigned count)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += ++pages[i * PAGE];
    return sum;
}

static uint64_t storm_fork(uint64_t rounds)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0)
            _exit((int)(touch(held, 16) & 127));
        if (child < 0 || waitpid(child, &status, 0) != child)
            return 0;
        sum += (uint64_t)WEXITSTATUS(status) + touch(held, 1);
    }
    return sum;
}

static uint64_t storm_mmap(uint64_t rounds)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        void *p = mmap(NULL, (size_t)MAP_PAGES * PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return 0;
        sum += touch(p, MAP_PAGES);
        munmap(p, (size_t)MAP_PAGES * PAGE);
    }
    return sum;
}

static uint64_t play(int from, int to, uint64_t rounds, int first)
{
    uint64_t sum = 0;
    char byte = 1;
    for (uint64_t i = 0; i < rounds; i++) {
        if (first && write(to, &byte, 1) != 1)
            return 0;
        if (read(from, &byte, 1) != 1)
            return 0;
        sum += touch(held, USED_PAGES);
        if (!first && write(to, &byte, 1) != 1)
            return 0;
    }
    return sum;
}

static uint64_t storm_switch(uint64_t rounds)
{
    int there[2], back[2], status;
    if (pipe(there) || pipe(back))
        return 0;
    pid_t child = fork();
    if (child == 0) {
        play(there[0], back[1], rounds, 0);
        _exit(0);
    }
    uint64_t sum = play(back[0], there[1], rounds, 1);
    waitpid(child, &status, 0);
    for (int i = 0; i < 2; i++) {
        close(there[i]);
        close(back[i]);
    }
    return sum;
}

static void measure(const char *name, uint64_t (*storm)(uint64_t), uint64_t rounds)
{
    memset(held, 1, (size_t)HELD_PAGES * PAGE);
    printf("begin %s\n", name);
    fflush(stdout);
    uint64_t sum = storm(rounds);
    printf("end %s %016llx\n", name, (unsigned long long)sum);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint64_t percent = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
    const struct {
        const char *name;
        uint64_t (*storm)(uint64_t);
        uint64_t rounds;
    } storms[] = {{"fork", storm_fork, 10 * percent},
                  {"mmap", storm_mmap, 20 * percent},
                  {"switch", storm_switch, 50 * percent}};

    held = mmap(NULL, (size_t)HELD_PAGES * PAGE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (held == MAP_FAILED)
        return 1;
    for (unsigned i = 0; i < sizeof storms / sizeof *storms; i++) {
        if (argc < 3 || !strcmp(argv[2], storms[i].name))
            measure(storms[i].name, storms[i].storm, storms[i].rounds);
    }
    return 0;
}
