/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows list                 names and groups of all rows
 * rows SCALE [NAME...]      runs these rows (all), SCALE: amount of work in percent
 * rows serve                says "ready", then runs what lines "NAME SCALE" on its input ask for
 * rows nothing              ends at once: what a row executes
 *
 * A row is a process of its own, so one that dies takes no other along. Lines of a row:
 *   begin NAME
 *   end NAME CHECKSUM MICROSECONDS     of processor time, by the clock of the kernel that ran it
 *   missing NAME WHY | failed NAME WHY
 */
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const struct row *const all_rows[] = {compute_rows,  floating_rows, vector_rows,
                                             memory_rows,   kernel_rows,   compress_rows,
                                             database_rows, rewrite_rows};

#define FILES (sizeof all_rows / sizeof *all_rows)

/* Of the one row that this process runs: rows are plain functions, whatever calls them. */
static const struct row *running;
static const char *program;
static uint64_t spent_before_us;

static uint64_t timeval_us(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

static uint64_t spent_us(void)
{
    struct rusage own = {0}, children = {0};
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return timeval_us(own.ru_utime) + timeval_us(own.ru_stime) + timeval_us(children.ru_utime) +
           timeval_us(children.ru_stime);
}

const char *row_program(void)
{
    return program;
}

void row_begins(void)
{
    printf("begin %s\n", running->name);
    fflush(stdout);
    spent_before_us = spent_us();
}

void row_is_missing(const char *why)
{
    printf("missing %s %s\n", running->name, why);
    fflush(stdout);
    _exit(0);
}

void row_needs(int condition, const char *what)
{
    if (condition)
        return;
    printf("failed %s %s\n", running->name, what);
    fflush(stdout);
    _exit(0);
}

void *row_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    row_needs(memory != MAP_FAILED, "no memory");
    return memory;
}

static const struct row *find_row(const char *name)
{
    for (size_t f = 0; f < FILES; f++) {
        for (const struct row *row = all_rows[f]; row->name; row++) {
            if (!strcmp(row->name, name))
                return row;
        }
    }
    return NULL;
}

static void run_row(const struct row *row, uint64_t scale)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        running = row;
        uint64_t sum = row->run(row->rounds * scale);
        printf("end %s %016llx %llu\n", row->name, (unsigned long long)sum,
               (unsigned long long)(spent_us() - spent_before_us));
        fflush(stdout);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        printf("failed %s no process\n", row->name);
    else if (WIFSIGNALED(status))
        printf("failed %s signal %d\n", row->name, WTERMSIG(status));
    else if (status)
        printf("failed %s status %d\n", row->name, WEXITSTATUS(status));
    fflush(stdout);
}

static int serve(void)
{
    char line[128], name[64];
    struct termios settings;
    if (tcgetattr(STDIN_FILENO, &settings) == 0) {
        settings.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSANOW, &settings);
    }
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        unsigned long long scale;
        if (!strcmp(line, "quit\n"))
            break;
        const struct row *row =
            sscanf(line, "%63s %llu", name, &scale) == 2 ? find_row(name) : NULL;
        if (row)
            run_row(row, scale);
        else
            printf("failed %s", line);
        fflush(stdout);
    }
    return 0;
}

static int list(void)
{
    for (size_t f = 0; f < FILES; f++) {
        for (const struct row *row = all_rows[f]; row->name; row++)
            printf("%s %s\n", row->name, row->group);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "nothing"))
        return 0;
    program = argv[0];
    if (argc == 2 && !strcmp(argv[1], "serve"))
        return serve();
    if (argc == 2 && !strcmp(argv[1], "list"))
        return list();
    uint64_t scale = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    if (scale == 0) {
        fprintf(stderr, "usage: rows list | serve | nothing | SCALE [NAME...]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        const struct row *row = find_row(argv[i]);
        if (!row) {
            fprintf(stderr, "rows: there is no row %s\n", argv[i]);
            return 2;
        }
        run_row(row, scale);
    }
    for (size_t f = 0; argc == 2 && f < FILES; f++) {
        for (const struct row *row = all_rows[f]; row->name; row++)
            run_row(row, scale);
    }
    return 0;
}
