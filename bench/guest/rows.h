/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark's rows: pieces of work of a fixed amount, in one static program that runs unchanged
 * on the host and in any guest. A row's checksum depends on the amount of work alone, so it must be
 * the same everywhere; its time is taken on the host, between the lines "begin" and "end".
 */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <stddef.h>
#include <stdint.h>

struct row {
    const char *name;
    const char *group;
    uint64_t (*run)(uint64_t rounds); /* prepares, says row_begins, works, answers a checksum */
    uint64_t rounds;                  /* of one percent of scale */
};

/* Each file's rows; the last one has no name. */
extern const struct row compute_rows[], floating_rows[], vector_rows[], memory_rows[],
    kernel_rows[], compress_rows[], database_rows[], rewrite_rows[];

/* Says that the preparation is over: time counts from here. */
void row_begins(void);

/* Ends the row: this CPU or this build does not have what it needs; why: a few words. */
_Noreturn void row_is_missing(const char *why);

/* Ends the row as failed when what it needs (memory, a system call) was refused. */
void row_needs(int condition, const char *what);

/* Anonymous memory, zeroed, never released: a row is a process. */
void *row_memory(size_t bytes);

/* The program's own path, for rows that execute it. */
const char *row_program(void);

/* The next number of a generator whose state is not 0 (xorshift64*). */
static inline uint64_t row_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1d;
}

/* Compilers must believe that the value is used and that it may have changed. */
#define ROW_KEEP(value) __asm__ volatile("" : "+r"(value) : : "memory")

#endif
