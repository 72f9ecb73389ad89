/* SPDX-License-Identifier: Apache-2.0 */
/* What only 32-bit code has: short forms, other opcodes, segments that count. */
#include <string.h>

#include "block_code.h"
#include "block_world.h"

#define RAW(...)                                                                                   \
    code_put_whole(w, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* INC or DEC of a register, sometimes of 16 bits of it. */
static void put_step(struct writer *w)
{
    unsigned r = dice_percent(w->d, 80) ? value_register(w) : pointer_register(w);
    uint8_t op = (uint8_t)(0x40 | r | dice_below(w->d, 2) << 3);

    if (w->keep >> r & 1)
        return;
    if (dice_percent(w->d, 15))
        RAW(0x66, op);
    else
        RAW(op);
}

/* MOV of AL, AX or EAX from or to an address. */
static void put_absolute(struct writer *w)
{
    uint32_t at = (uint32_t)DATA_VA + dice_below(w->d, DATA_PAGES * 4096);
    uint8_t bytes[] = {0x66, (uint8_t)(0xa0 + dice_below(w->d, 4)), 0, 0, 0, 0};
    unsigned skip = dice_percent(w->d, 80);

    memcpy(bytes + 2, &at, sizeof at);
    code_put_whole(w, bytes + skip, (unsigned)sizeof bytes - skip);
}

/* Addresses around the end of the address space, which wraps. */
static void put_wrap(struct writer *w)
{
    uint32_t disp = (uint32_t)DATA_VA - 0x80000000u + dice_below(w->d, 8192);
    uint8_t bytes[] = {0x8b, 0x94, 0x43, 0, 0, 0, 0}; /* mov edx, [ebx + 2 * eax + disp] */

    if (w->keep)
        return;
    RAW(0xb8, 0, 0, 0, (uint8_t)(0x40 * dice_below(w->d, 4)));
    memcpy(bytes + 3, &disp, sizeof disp);
    code_put_whole(w, bytes, sizeof bytes);
}

/* FS or GS: an operation on what is near a register, or at an address, sometimes by the end. */
static void put_based(struct writer *w)
{
    static const uint8_t ops[] = {0x8b, 0x89, 0x01, 0x03, 0x88, 0x8a, 0xff};
    uint8_t op = ONE_OF(ops), prefix = dice_percent(w->d, 50) ? 0x64 : 0x65;
    unsigned r = op == 0xff ? dice_below(w->d, 2) : value_register(w);
    int32_t at = (int32_t)dice_below(w->d, 3000);
    uint8_t bytes[] = {prefix, op, (uint8_t)(0x05 | r << 3), 0, 0, 0, 0};

    if (op != 0xff && (w->keep >> r & 1))
        return;
    if (dice_percent(w->d, 25)) {
        at = (int32_t)dice_below(w->d, 16) - 12;
        if (dice_percent(w->d, 50)) /* [eax + disp], eax small */
            bytes[2] = (uint8_t)(0x80 | r << 3);
    } else if (dice_percent(w->d, 25)) { /* the same place by a register */
        bytes[2] = (uint8_t)(0x83 | r << 3);
        at -= (int32_t)DATA_VA;
    }
    memcpy(bytes + 3, &at, sizeof at);
    code_put_whole(w, bytes, sizeof bytes);
}

void put_narrow(struct writer *w)
{
    switch (dice_below(w->d, 15)) {
    case 12:
    case 13:
    case 14:
        put_based(w);
        break;
    case 0:
    case 1:
    case 2:
    case 3:
        put_step(w);
        break;
    case 4:
    case 5:
        put_absolute(w);
        break;
    case 6: /* the alias of 80: op al, imm8 or op byte [ebx], imm8 */
        RAW(0x82,
            (uint8_t)(dice_percent(w->d, 50) ? 0xc0 : 0x03) | (uint8_t)(dice_below(w->d, 8) << 3),
            (uint8_t)dice_next(w->d));
        break;
    case 7:
        RAW(dice_percent(w->d, 50) ? 0x60 : 0x61); /* pusha, popa */
        break;
    case 8:
        put_wrap(w);
        break;
    case 9:
        RAW(0x9c); /* pushf */
        break;
    case 10: /* lea with a cut sum */
        RAW(0x8d, 0x44, 0x92, (uint8_t)dice_next(w->d));
        break;
    default: /* push and pop near the top */
        RAW(0xff, 0x74, 0x24, (uint8_t)(4 * dice_below(w->d, 8)));
        RAW(0x8f, 0x44, 0x24, (uint8_t)(4 * dice_below(w->d, 8)));
    }
}

/* NOP with an operand that nobody looks at, in a segment that has a base or none. */
void put_padding(struct writer *w)
{
    static const uint8_t prefixes[] = {0x2e, 0x64, 0x65, 0x66};

    RAW(ONE_OF(prefixes), 0x0f, 0x1f, 0x44, (uint8_t)dice_next(w->d), 0);
}

/* FS or GS without a limit, with another base; or with a limit. */
static void put_other_base(struct writer *w)
{
    static const uint8_t selectors[] = {DS_USER, DS_BASED, DS_BASED, DS_SMALL, DS_SMALL, 0};

    RAW(0x6a, ONE_OF(selectors));
    RAW(0x0f, dice_percent(w->d, 50) ? 0xa1 : 0xa9);
}

/* push; pop: mostly a flat segment again. */
void put_segment(struct writer *w)
{
    static const uint8_t pops[] = {0x1f, 0x07, 0x17}; /* ds, es, ss */
    static const uint8_t others[] = {DS_SMALL, SS_16, 0, DS_SMALL};
    unsigned seg = dice_below(w->d, 8);
    uint8_t selector = dice_percent(w->d, 75) ? DS_USER : ONE_OF(others);

    if (seg >= 3) {
        put_other_base(w);
        return;
    }
    if (seg == 2 && selector == DS_USER && dice_percent(w->d, 20))
        selector = DS_KERNEL;
    RAW(0x6a, selector);
    RAW(pops[seg]);
}
