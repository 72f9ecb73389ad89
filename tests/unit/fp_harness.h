/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floating-point handlers alone: guest memory, exceptions and decoding have doubles here, and a
 * handler's outcome can be compared with the host CPU's (fp_native.h).
 */
#ifndef UMBRA_TESTS_FP_HARNESS_H
#define UMBRA_TESTS_FP_HARNESS_H

#include "cpu/interp/fp.h"
#include "fp_native.h"

/* Guest memory is host memory from data on; the page behind it is not there. */
#define DATA_BYTES 8192
extern uint8_t *data;
extern struct interp *cpu;
extern unsigned rounds;

/* cmocka group setup. */
int setup(void **state);

uint64_t rnd(void);
uint64_t special64(void); /* a number that is interesting as an integer, a double or two floats */
void random_st(uint8_t *st);
void random_state(struct native *n);

/* False: not an instruction of this family, or one that cannot run in the native harness. */
bool decode(struct dec *d, struct uop *u, const uint8_t *insn, size_t bytes);

/* The same outcome as native_run, by the handler. */
void interp_run(struct native *n, struct uop *u);

/* Did the last handler leave the host's x87 unit and MXCSR as the ABI wants them? */
bool host_is_clean(void);

/*
 * Compares what the host and we must show alike; ma, mb: memory afterwards. Changes what is not
 * compared.
 */
bool same(struct native *a, struct native *b, const uint8_t *ma, const uint8_t *mb);
void report(const struct dec *d, const uint8_t *insn, const struct native *start,
            const struct native *want, const struct native *got, const uint8_t *at,
            const uint8_t *want_mem);

#endif
