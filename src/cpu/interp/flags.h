/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic flags, taken from the host CPU as it executes the same operation.
 *
 * c->flags16 is AX after "lahf; seto %al": bits 15..8 = SF ZF 0 AF 0 PF 1 CF, bits 7..0 = OF (0 or
 * 1). So the undefined flags of an instruction are what this host's CPU makes of them.
 */
#ifndef UMBRA_CPU_INTERP_FLAGS_H
#define UMBRA_CPU_INTERP_FLAGS_H

#include "cpu/interp/interp.h"

#define F16_OF  0x0001u
#define F16_CF  0x0100u
#define F16_PF  0x0400u
#define F16_AF  0x1000u
#define F16_ZF  0x4000u
#define F16_SF  0x8000u
#define F16_ONE 0x0200u

/* RFLAGS_ARITH bits <-> flags16. */
static inline uint64_t flags16_to_rflags(uint64_t f)
{
    return ((f >> 8) & 0xd5u) | ((f & 1u) << 11);
}

static inline uint64_t flags16_from_rflags(uint64_t r)
{
    return ((r & 0xd5u) << 8) | F16_ONE | ((r >> 11) & 1u);
}

/* The 16 conditions by the low nibble of Jcc, SETcc, CMOVcc. */
static inline bool flags_cond(uint64_t f, unsigned cc)
{
    bool r;
    switch (cc >> 1) {
    case 0:
        r = f & F16_OF;
        break;
    case 1:
        r = f & F16_CF;
        break;
    case 2:
        r = f & F16_ZF;
        break;
    case 3:
        r = f & (F16_CF | F16_ZF);
        break;
    case 4:
        r = f & F16_SF;
        break;
    case 5:
        r = f & F16_PF;
        break;
    case 6:
        r = ((f >> 15) ^ f) & 1u;
        break;
    default:
        r = (((f >> 15) ^ f) & 1u) || (f & F16_ZF);
        break;
    }
    return r ^ (cc & 1u);
}

#endif
