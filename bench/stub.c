/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stub costs: its birth, runs that do nothing, lists of mappings. `build/bench/stub [N]`:
 * microseconds, the median of N rounds (default 2000; a tenth for lists).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cpu/direct/stub.h"

#define PAGE  UINT64_C(4096)
#define PAGES 1024
#define LIST  100
#define CODE  UINT64_C(0x400000)
#define DATA  UINT64_C(0x10000000)

struct world {
    struct stub *stub;
    int fd;
    struct stub_regs r;
    uint8_t fx[512];
};

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void need(enum err e)
{
    if (e) {
        fprintf(stderr, "stub: %s\n", err_text());
        exit(1);
    }
}

static void run_at(struct world *w, uint64_t rip)
{
    struct stub_exit exit;

    w->r.rip = rip;
    need(stub_run(w->stub, &w->r, w->fx, &exit));
}

static void syscalls(struct world *w)
{
    run_at(w, CODE);
}

static void invalid(struct world *w)
{
    run_at(w, CODE + 2);
}

static void faults(struct world *w)
{
    w->r.gpr[3] = 0;
    run_at(w, CODE + 4);
}

static void vectors(struct world *w)
{
    w->fx[160]++;
    run_at(w, CODE);
}

static void map_list(struct world *w, unsigned step)
{
    for (unsigned i = 0; i < LIST; i++)
        need(stub_map(w->stub, DATA + i * PAGE, (1 + i * step) * PAGE, PROT_READ | PROT_WRITE));
}

static void map_scattered(struct world *w)
{
    map_list(w, 2);
    need(stub_flush(w->stub));
}

static void map_neighbours(struct world *w)
{
    map_list(w, 1);
    need(stub_flush(w->stub));
}

/* The first pages of a program after a switch to it. */
static void begin_anew(struct world *w)
{
    stub_unmap_all(w->stub);
    need(stub_map(w->stub, CODE, 0, PROT_READ | PROT_EXEC));
    map_list(w, 2);
    w->r.gpr[3] = DATA;
    w->r.gpr[1] = LIST;
    run_at(w, CODE + 4);
}

static void birth(struct world *w)
{
    stub_destroy(w->stub);
    need(stub_create(&w->stub, w->fd));
    need(stub_map(w->stub, CODE, 0, PROT_READ | PROT_EXEC));
    need(stub_flush(w->stub));
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The median, because the host is shared. */
static void measure(struct world *w, const char *name, void (*what)(struct world *), unsigned n)
{
    double *each = calloc(n, sizeof *each);

    if (!each)
        need(err_new(ERR_NOMEM, "no memory for %u times", n));
    for (unsigned i = 0; i < n; i++) {
        double start = now_us();
        what(w);
        each[i] = now_us() - start;
    }
    qsort(each, n, sizeof *each, compare);
    printf("%-44s %8.1f us\n", name, each[n / 2]);
    free(each);
}

int main(int argc, char **argv)
{
    static const uint8_t code[] = {0x0f, 0x05, 0x0f, 0x0b,             /* syscall; ud2 */
                                   0x48, 0x89, 0x03,                   /* 1: mov %rax,(%rbx) */
                                   0x48, 0x81, 0xc3, 0,    0x10, 0, 0, /* add $0x1000,%rbx */
                                   0xff, 0xc9, 0x75, 0xf2,             /* dec %ecx; jnz 1b */
                                   0x0f, 0x0b};
    static struct world w = {.r = {.rflags = 2}, .fx = {0x7f, 3, [24] = 0x80, [25] = 0x1f}};
    unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 2000;
    const char *why;

    if (!stub_is_possible(&why)) {
        printf("SKIP: %s\n", why);
        return 0;
    }
    w.fd = memfd_create("ram", 0);
    void *ram = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, w.fd, 0);
    if (ram == MAP_FAILED || ftruncate(w.fd, PAGES * PAGE)) {
        perror("stub");
        return 1;
    }
    for (unsigned i = 0; i < PAGES; i++)
        memcpy((uint8_t *)ram + i * PAGE, code, sizeof code);
    measure(&w, "birth and end", birth, n / 10 + 1);
    measure(&w, "a run that ends with a system call", syscalls, n);
    measure(&w, "  the same with new vector registers", vectors, n);
    measure(&w, "a run that ends with an invalid opcode", invalid, n);
    measure(&w, "a run that ends with a page fault", faults, n);
    measure(&w, "100 pages mapped, no two neighbours", map_scattered, n / 10 + 1);
    measure(&w, "100 pages mapped, neighbours", map_neighbours, n / 10 + 1);
    measure(&w, "all unmapped, 100 mapped and written", begin_anew, n / 10 + 1);
    stub_destroy(w.stub);
    return 0;
}
