/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of programs that write code and run it, as just-in-time compilers do. */
#include "rows.h"

#include <string.h>
#include <sys/mman.h>

#define FUNCTIONS 16u
#define SLOT      128u

typedef uint64_t function(uint64_t);

static unsigned char *code_page(void)
{
    void *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    row_needs(page != MAP_FAILED, "no memory that is writable and executable");
    return page;
}

static unsigned char *emit(unsigned char *at, const char *bytes, size_t count)
{
    memcpy(at, bytes, count);
    return at + count;
}

static unsigned char *emit_32(unsigned char *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

/* mov %rdi,%rax; mov $turns,%ecx; 1: steps of add $key,%rax, rol $7,%rax; dec %ecx; jnz 1b; ret */
static void compile(unsigned char *at, uint32_t turns, uint32_t key, unsigned steps)
{
    at = emit(at, "\x48\x89\xf8\xb9", 4);
    at = emit_32(at, turns);
    unsigned char *loop = at;
    for (unsigned i = 0; i < steps; i++) {
        at = emit_32(emit(at, "\x48\x05", 2), (key + i) & 0x7fffffff);
        at = emit(at, "\x48\xc1\xc0\x07", 4);
    }
    at = emit(at, "\xff\xc9\x75", 3);
    at++;
    at[-1] = (unsigned char)(loop - at);
    *at = 0xc3;
}

/* A function compiled anew into a page with fifteen others, called; then its neighbour, called. */
static uint64_t run_jit(uint64_t rounds)
{
    unsigned char *page = code_page();
    uint64_t sum = 1;
    for (unsigned i = 0; i < FUNCTIONS; i++)
        compile(page + (size_t)i * SLOT, 1, i, 2);
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        unsigned char *slot = page + r % FUNCTIONS * SLOT;
        unsigned char *next = page + (r + 1) % FUNCTIONS * SLOT;
        compile(slot, 20, (uint32_t)r, 4 + (unsigned)(r % 6));
        sum = ((function *)(void *)slot)(sum);
        sum = ((function *)(void *)next)(sum);
    }
    return sum;
}

/* One constant inside a function that runs, replaced before each call: an inline cache. */
static uint64_t run_patch(uint64_t rounds)
{
    unsigned char *page = code_page();
    uint64_t sum = 1;
    compile(page, 20, 0, 4);
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        emit_32(page + 10, (uint32_t)r & 0x7fffffff);
        sum = ((function *)(void *)page)(sum);
    }
    return sum;
}

const struct row rewrite_rows[] = {{"jit", "rewriting", run_jit, 6000},
                                   {"patch", "rewriting", run_patch, 20000},
                                   {NULL, NULL, NULL, 0}};
