/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two engines run the same random program, of 64-bit or 32-bit code under a 64-bit kernel, and must
 * agree, instruction for instruction.
 *
 *   block_code.c   makes code: blocks, branches, loops, calls, stores into code
 *   block_narrow.c what only 32-bit code has
 *   block_world.c  one machine: tables, kernel, events, actions; and the log of what happened
 *   block_live.c   which flags nobody can look at any more
 *   block_fuzz.c   leads, follows, compares, reports
 *
 * The leader is the engine under test. It stops where it likes; at each stop and at each exception
 * or interrupt its whole state goes to a log. The follower, the interpreter that stops exactly
 * where it is told to, is led to the same instruction counts and compares.
 */
#ifndef UMBRA_TESTS_FUZZ_BLOCK_H
#define UMBRA_TESTS_FUZZ_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/engine.h"
#include "dice.h"

/* --- what the code sees --- */
#define CODE_VA        UINT64_C(0x11000000)
#define CODE_PAGES     4u
#define CODE_BYTES     (CODE_PAGES * 4096u)
#define ALIAS_VA       UINT64_C(0x12010000) /* the same frames, always writable */
#define DATA_VA        UINT64_C(0x20020000)
#define DATA_PAGES     8u /* of these: */
#define STACK_PAGE     4u /* and 5 */
#define RO_PAGE        6u
#define HOLE_PAGE      7u /* behind it: a page of the kernel's, one of a device */
#define KERNEL_PAGE_VA (DATA_VA + DATA_PAGES * 4096)
#define DEVICE_VA      (KERNEL_PAGE_VA + 4096)
#define TABLE_VA       (DEVICE_VA + 4096) /* the table that maps the data */
#define FS_VA          (DATA_VA + 0x180)
#define GS_VA          (DATA_VA + 0x1100)

#define CODE_GPA UINT64_C(0x400000)
#define DATA_GPA UINT64_C(0x500000)

/*
 * --- code ---
 * repeats: REP instructions, too. How many instructions they count depends on whether their pages
 * have code, which engines need not agree on: then all pages are tracked all the time. narrow:
 * 32-bit code.
 */
struct program {
    bool repeats, narrow;
    uint8_t code[CODE_BYTES];
    uint16_t start[CODE_BYTES]; /* offsets where instructions begin */
    unsigned starts;
    uint16_t system_call; /* offset of a handler */
};

void program_make(struct program *p, struct dice *d);

/* Bytes of one more instruction for an existing place. */
unsigned program_patch(const struct program *p, struct dice *d, uint8_t bytes[16]);

/* The code segments of 32-bit code. */
#define CS_KERNEL_32 0x18
#define CS_USER_32   0x23
bool is_narrow(uint64_t cs);

/* Registers that mostly point to data. */
bool is_pointer_register(unsigned reg);

/*
 * Arithmetic flags at rip, in 32-bit (narrow) or 64-bit code, that no code reads before they are
 * written, whatever happens. fetch answers the code byte at an address, -1: there is none.
 */
uint32_t dead_flags(uint64_t rip, bool narrow, int (*fetch)(void *arg, uint64_t va), void *arg);

/* --- the machine --- */
enum record_kind { REC_STOP, REC_EVENT, REC_END };

struct record {
    enum record_kind kind;
    uint64_t icount;
    uint64_t gpr[16], rip, rflags, cs, error, cr2, sum;
    unsigned vector;
    int end; /* REC_END: enum engine_exit */
    uint8_t fx[512];
};

struct log {
    struct record *r;
    unsigned count, room;
};

struct world_config {
    uint64_t seed;
    const char *engine;
    bool narrow;
    unsigned hot_runs;
    unsigned events;          /* the run ends after so many */
    uint64_t instructions;    /* or so many instructions */
    const struct log *follow; /* NULL: leads */
    uint64_t stop_at_record;  /* leader and follower end there; ~0: run on */
    bool loud;                /* the follower tells differences and the last instructions */
};

struct world;

/* NULL: the host failed, text on stderr. */
struct world *world_create(const struct world_config *config);
void world_destroy(struct world *w);

/* False: it differs from what it follows, or the host failed. */
bool world_run(struct world *w);
const struct log *world_log(const struct world *w);
/*
 * The difference need not mean anything: a REP instruction that nobody meant ran in the last part,
 * whose count may differ, or one that asks for chance; or a store there made flags live that were
 * dead by the code before it.
 */
bool world_is_inconclusive(const struct world *w);
/* Number of the record that was compared last. */
unsigned world_at(const struct world *w);
const struct cpu_stats *world_stats(const struct world *w);

/* The first byte of code or data that differs, on stderr. */
void world_compare_memory(struct world *a, struct world *b);
int world_fetch(void *world, uint64_t va);

#endif
