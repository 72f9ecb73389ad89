/* SPDX-License-Identifier: Apache-2.0 */
/* The block fuzzer's code while it is written. */
#ifndef UMBRA_TESTS_FUZZ_BLOCK_CODE_H
#define UMBRA_TESTS_FUZZ_BLOCK_CODE_H

#include "block.h"

#define PENDING 64u

/* A 32-bit distance that waits for its target. */
struct wish {
    unsigned at, in; /* place; instructions until the target, 0: anywhere at the end */
    uint32_t plus;   /* to what is written: the address of the place, for an absolute one */
};

struct writer {
    struct program *p;
    struct dice *d;
    unsigned at;
    struct wish wish[PENDING];
    unsigned wishes;
    uint32_t keep; /* registers that a loop counts with */
};

/* One instruction; without its REX prefix in 32-bit code. As it is. */
void code_put(struct writer *w, const void *bytes, unsigned n);
void code_put_whole(struct writer *w, const void *bytes, unsigned n);
#define PUT(...) code_put(w, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

#define ONE_OF(list_) (list_)[dice_below(w->d, sizeof(list_) / sizeof *(list_))]

/* --- block_narrow.c: for 32-bit code; a segment is loaded; nothing --- */
void put_narrow(struct writer *w);
void put_padding(struct writer *w);
void put_segment(struct writer *w);

/* --- block_insn.c --- */
unsigned pointer_register(struct writer *w);
unsigned value_register(struct writer *w);
/* As compilers make them; with FS and GS; several near one address; anything at all. */
void put_operation(struct writer *w);
void put_segment_load(struct writer *w);
void put_run(struct writer *w);
void put_chain(struct writer *w); /* not in 32-bit code */
void put_random(struct writer *w);

/*
 * What a loop goes through: by its bases alone, or with an index too (scale not 0). step: a
 * register that moves them.
 */
struct arrays {
    unsigned base[3], count, index, scale, step;
    bool has_step;
};

/* Before the loop: its registers, which are kept. Then its body, which moves them. */
void put_arrays(struct writer *w, struct arrays *a);
void put_array_body(struct writer *w, const struct arrays *a);

/* --- block_code.c --- */

/* mov register, an address so far into the data */
void put_pointer_to(struct writer *w, unsigned reg, uint32_t offset);

#endif
