/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one instruction on the host CPU with a chosen state and tells what became of it. */
#ifndef UMBRA_TESTS_FP_NATIVE_H
#define UMBRA_TESTS_FP_NATIVE_H

#include <stddef.h>
#include <stdint.h>

/* fx: FXSAVE64 image. vector: -1 when the instruction finished, else the exception's. */
struct native {
    uint64_t gpr[16];
    uint64_t flags;
    uint8_t fx[512] __attribute__((aligned(64)));
    int vector;
};

void native_setup(void);

/* RSP is left as it is: the instruction must not use it. */
void native_run(struct native *n, const uint8_t *insn, size_t bytes);

#endif
