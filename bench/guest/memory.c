/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of loads and stores: copies and strings of several sizes, walks that miss caches, TLBs. */
#include "rows.h"

#include <string.h>

#define PAGE        4096u
#define MIB         (UINT64_C(1) << 20)
#define CHASE_BYTES (64 * MIB)
#define NODE_WORDS  8u /* a cache line */
#define WALK_BYTES  (16 * MIB)

/* Bytes that one round of a copy or string row goes over, whatever the size of its pieces. */
#define SPAN 65536u

static unsigned char *make_text(size_t bytes)
{
    unsigned char *text = row_memory(bytes);
    for (size_t i = 0; i < bytes; i++)
        text[i] = (unsigned char)(i % 251 + 1);
    return text;
}

static void copy_library(unsigned char *to, const unsigned char *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

static void copy_movsb(unsigned char *to, const unsigned char *from, size_t bytes)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

/* Copies pieces from one buffer to the other and back, at offsets that are not aligned. */
static uint64_t copies(uint64_t rounds, size_t piece,
                       void (*copy)(unsigned char *, const unsigned char *, size_t))
{
    size_t span = piece > SPAN ? piece : SPAN;
    unsigned char *from = make_text(span + 64), *to = make_text(span + 64);
    uint64_t sum = 0;
    ROW_KEEP(copy);
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        for (size_t at = 0; at + piece <= span; at += piece)
            copy(to + at + (r & 15), from + at + (r & 7), piece);
        from[r % span] = to[(r * 7) % span];
        sum = sum * 31 + to[span / 2] + to[r % span];
    }
    return sum;
}

#define COPIES(name, piece)                                                                        \
    static uint64_t run_##name(uint64_t rounds)                                                    \
    {                                                                                              \
        return copies(rounds, piece, copy_library);                                                \
    }                                                                                              \
    static uint64_t run_movsb_##name(uint64_t rounds)                                              \
    {                                                                                              \
        return copies(rounds, piece, copy_movsb);                                                  \
    }
COPIES(64, 64)
COPIES(4k, PAGE)
COPIES(1m, MIB)

static uint64_t lengths(uint64_t rounds, size_t piece)
{
    char *text = (char *)make_text(SPAN);
    uint64_t sum = 0;
    size_t (*length)(const char *) = strlen;
    for (size_t at = piece - 1; at < SPAN; at += piece)
        text[at] = 0;
    ROW_KEEP(length);
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        for (size_t at = 0; at < SPAN; at += piece)
            sum += length(text + at + (r & 7));
    }
    return sum;
}

static uint64_t run_strlen_32(uint64_t rounds)
{
    return lengths(rounds, 32);
}

static uint64_t run_strlen_4k(uint64_t rounds)
{
    return lengths(rounds, PAGE);
}

/* Follows pointers through 64 MiB, a cache line each, in one cycle of random order (Sattolo). */
static uint64_t run_chase(uint64_t rounds)
{
    uint64_t(*nodes)[NODE_WORDS] = row_memory(CHASE_BYTES);
    uint64_t count = CHASE_BYTES / sizeof *nodes, state = 99, at = 0;
    for (uint64_t i = 0; i < count; i++)
        nodes[i][0] = i;
    for (uint64_t i = count - 1; i > 0; i--) {
        uint64_t j = (row_random(&state) >> 32) * i >> 32, swapped = nodes[i][0];
        nodes[i][0] = nodes[j][0];
        nodes[j][0] = swapped;
    }
    row_begins();
    for (uint64_t r = 0; r < rounds; r++)
        at = nodes[at][0];
    return at;
}

/* One word of each page of 64 MiB, over and over: a TLB miss each. */
static uint64_t run_pages(uint64_t rounds)
{
    unsigned char *bytes = row_memory(CHASE_BYTES);
    uint64_t sum = 0;
    for (uint64_t at = 0; at < CHASE_BYTES; at += PAGE)
        bytes[at] = (unsigned char)(at / PAGE);
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        for (uint64_t at = 0; at < CHASE_BYTES; at += PAGE)
            sum += bytes[at + (r & 63) * 64]++;
    }
    return sum;
}

/* Loads, adds and stores through 16 MiB in strides of 72 bytes. */
static uint64_t run_walk(uint64_t rounds)
{
    uint64_t *words = row_memory(WALK_BYTES);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < WALK_BYTES / 8; i += PAGE / 8)
        words[i] = i;
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        for (uint64_t i = r % 9; i < WALK_BYTES / 8; i += 9) {
            words[i] += i ^ r;
            sum += words[i];
        }
    }
    return sum;
}

const struct row memory_rows[] = {{"memcpy-64", "memory", run_64, 600},
                                  {"memcpy-4k", "memory", run_4k, 200},
                                  {"memcpy-1m", "memory", run_1m, 50},
                                  {"strlen-32", "memory", run_strlen_32, 400},
                                  {"strlen-4k", "memory", run_strlen_4k, 2000},
                                  {"movsb-64", "memory", run_movsb_64, 80},
                                  {"movsb-4k", "memory", run_movsb_4k, 200},
                                  {"movsb-1m", "memory", run_movsb_1m, 12},
                                  {"walk", "memory", run_walk, 5},
                                  {"pages", "memory", run_pages, 6},
                                  {"chase", "memory", run_chase, 10000},
                                  {NULL, NULL, NULL, 0}};
