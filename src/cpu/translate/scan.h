/* SPDX-License-Identifier: Apache-2.0 */
/* Which code may run on the host's CPU as it is. */
#ifndef UMBRA_CPU_TRANSLATE_SCAN_H
#define UMBRA_CPU_TRANSLATE_SCAN_H

#include "cpu/interp/interp.h"

#define SCAN_TRAPS 64u

/* trap: offsets of instructions that must not run there; is_guess: the last one perhaps may. */
struct scan {
    unsigned traps;
    bool is_guess;
    uint16_t trap[SCAN_TRAPS];
};

/*
 * page: 4096 bytes of 64-bit code; in_step: an instruction begins with them, else what the first
 * few seem to be is no reason; next: those behind it, NULL: not known. It is read from its
 * beginning on, instruction by instruction. Found are those that the host's CPU would do at level 3
 * and c would not do in the same way: they tell of the host (CPUID, SGDT, ...), c's CPU does not
 * have them, they save more than c has (XSAVE), or load segments, whose descriptors are the host's.
 * Not those of AVX and its like, which programs use only where CPUID has it. False: where they are
 * is not sure, because there is data among the code, or they are too many.
 */
bool scan_code(const struct interp *c, const uint8_t *page, const uint8_t *next, bool in_step,
               struct scan *out);

#endif
