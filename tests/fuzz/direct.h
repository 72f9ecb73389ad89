/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzing of direct execution: a program of many small cases runs at level 3 in a guest whose
 * kernel logs how each one ended and prepares the next; each begins with a loop that is long for
 * one engine, so that it runs directly, and short for the other.
 *
 *   direct_program.c  makes the cases of a seed: code, registers, what the kernel changes before
 *   direct_world.c    the guest: its kernel, its tables, a run on an engine
 *   direct_fuzz.c     compares, reports, counts
 */
#ifndef UMBRA_TESTS_FUZZ_DIRECT_H
#define UMBRA_TESTS_FUZZ_DIRECT_H

#include <stddef.h>

#include "insn.h"

#define CASES      200u
#define CASE_BYTES 512u /* of code, each */
#define CODE_PAGES (CASES * CASE_BYTES / 4096u + 1)
#define DATA_PAGES (DATA_BYTES / 4096u)

/* Guest physical: frames of the code and of the data, both twice, so that pages can move. */
#define CODE_GPA   UINT64_C(0x400000)
#define OTHER_CODE UINT64_C(0x480000)
#define DATA_GPA   UINT64_C(0x500000)
#define OTHER_DATA UINT64_C(0x510000)

/* What the kernel's routine reads and writes; the offsets are its own. */
struct record {
    struct {
        uint64_t gpr[16];
        uint64_t vector, error, rip, cs, rflags, rsp, ss, cr2, fs_base, gs_base;
        uint64_t pad[6];
        uint8_t fx[512];
    } out;
    uint8_t pad[256];
    struct {
        uint64_t gpr[16];
        uint64_t rip, rflags;                 /* rip 0: the end */
        uint64_t pte, pte_value, page, whole; /* an entry of the tables, INVLPG of page or CR3 */
        uint64_t poke_at, code_at, code_value, cr4; /* 0: nothing */
        uint64_t pad[6];
        uint8_t fx[512];
        uint8_t poke[64];
    } in;
    uint8_t rest[192];
};
static_assert(offsetof(struct record, in) == 1024 && sizeof(struct record) == 2048, "");
static_assert(offsetof(struct record, out.fx) == 256 && offsetof(struct record, in.fx) == 1280, "");

struct program {
    uint8_t code[CODE_PAGES * 4096];
    struct record record[CASES + 1];
    uint64_t undefined_flags[CASES]; /* not compared */
    bool no_gpr[CASES][16];
};

void program_make(struct program *p, uint64_t seed);

/* Kernel addresses, for records. */
uint64_t world_kernel(uint64_t gpa);
uint64_t world_pte(uint64_t va);
uint64_t world_cr4(void);

struct world;

/* spin: rounds before each case; kicks: from another thread meanwhile. NULL: text on stderr. */
struct world *world_open(const char *engine, const struct program *p, uint64_t spin);
void world_close(struct world *w);

enum world_end { WORLD_DONE, WORLD_TOO_LONG, WORLD_BROKEN };
enum world_end world_go(struct world *w, bool kicks);

const struct record *world_record(const struct world *w, unsigned n);
const uint8_t *world_page(const struct world *w, uint64_t gpa);
uint64_t world_direct_runs(const struct world *w);

#endif
