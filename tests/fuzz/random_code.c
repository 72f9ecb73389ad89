/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "random_guest.h"

/* SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). */
uint32_t dice_address(struct dice *d)
{
    static const uint32_t places[] = {IDT_AT, GDT_AT, TSS_AT, COUNTER_AT, HANDLER_AT,
                                      STACK_TOP - 64, 0xb8000, 0xfec00000, 0xfee00000,
                                      0xfffffff0, (uint32_t)GUEST_BYTES - 8};
    uint32_t small = dice_below(d, 4096);

    switch (dice_below(d, 8)) {
    case 0:
        return places[dice_below(d, sizeof places / sizeof *places)] + (small & 0xff);
    case 1:
        return TABLES_AT + 4096 * dice_below(d, 6) + (small & ~7u);
    case 2:
        /* page ends */
        return CODE_AT + 4096 * (1 + dice_below(d, CODE_BYTES / 4096)) - (small & 15);
    case 3:
    case 4:
        return CODE_AT + dice_below(d, CODE_BYTES);
    case 5:
        return (uint32_t)dice_next(d);
    default:
        return CODE_AT + CODE_BYTES + dice_below(d, (unsigned)GUEST_BYTES - CODE_AT - CODE_BYTES);
    }
}

/* An assembler of 80 lines: where the bytes go. Overlong emissions are cut off. */
struct out {
    uint8_t *at, *end;
    struct dice *d;
    unsigned bits;
};

static void byte(struct out *o, unsigned v)
{
    if (o->at < o->end)
        *o->at++ = (uint8_t)v;
}

static void word32(struct out *o, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        byte(o, v >> 8 * i & 0xff);
}

/* Operand size of 32 bits in every mode. */
static void wide(struct out *o)
{
    if (o->bits == 16)
        byte(o, 0x66);
}

static void mov_reg(struct out *o, unsigned reg, uint32_t value)
{
    wide(o);
    byte(o, 0xb8 + reg);
    word32(o, value);
}

/* ModRM of an absolute address; digit: the reg field. */
static void absolute(struct out *o, unsigned digit, uint32_t address)
{
    byte(o, digit << 3 | 4);
    byte(o, 0x25);
    word32(o, address);
}

static void op_absolute(struct out *o, unsigned op, unsigned digit)
{
    if (o->bits == 16)
        byte(o, 0x67);
    if (op > 0xff)
        byte(o, op >> 8);
    byte(o, op & 0xff);
    absolute(o, digit, dice_address(o->d));
}

static unsigned pick(struct out *o, const uint8_t *from, unsigned n)
{
    return from[dice_below(o->d, n)];
}
#define PICK(o, ...) pick(o, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static uint32_t selector(struct dice *d)
{
    return dice_below(d, GDT_ENTRIES) * 8 + (dice_percent(d, 30) ? dice_below(d, 8) : 0);
}

static uint32_t flags_value(struct dice *d)
{
    return 2u | ((uint32_t)dice_next(d) & (dice_percent(d, 50) ? 0x3ed5u : 0x3f7fd5u));
}

static void control_register(struct out *o)
{
    static const uint8_t numbers[] = {0, 0, 2, 3, 3, 4, 4, 8};
    unsigned n = numbers[dice_below(o->d, sizeof numbers)];
    uint32_t flip = 1u << dice_below(o->d, 32);

    wide(o);
    byte(o, 0x0f), byte(o, 0x20), byte(o, 0xc0 | n << 3); /* mov eax, crN */
    if (n == 3) {
        mov_reg(o, 0,
                dice_percent(o->d, 70) ? TABLES_AT + dice_below(o->d, 4) : dice_address(o->d));
    } else {
        wide(o);
        /* xor eax, imm */
        byte(o, 0x35), word32(o, dice_percent(o->d, 70) ? flip : (uint32_t)dice_next(o->d));
    }
    byte(o, 0x0f), byte(o, 0x22), byte(o, 0xc0 | n << 3);
}

static void msr(struct out *o)
{
    static const uint32_t numbers[] = {0x10, 0x1b, 0x3b, 0x48, 0x174, 0x175, 0x176, 0x1a0, 0x1d9,
                                       0x200, 0x277, 0x2ff, 0x6e0, 0x808, 0x80b, 0x830, 0x832,
                                       0x838, 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083,
                                       0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103,
                                       0x4b564d00, 0x4b564d01, 0xc0010015};
    uint32_t number = numbers[dice_below(o->d, sizeof numbers / sizeof *numbers)];

    mov_reg(o, 1, dice_percent(o->d, 10) ? 0x800 + dice_below(o->d, 0x40) : number);
    mov_reg(o, 2, dice_percent(o->d, 80) ? 0 : (uint32_t)dice_next(o->d));
    mov_reg(o, 0, dice_percent(o->d, 50) ? dice_address(o->d) : (uint32_t)dice_next(o->d));
    byte(o, 0x0f), byte(o, dice_percent(o->d, 80) ? 0x30 : 0x32);
}

static void table_register(struct out *o)
{
    if (dice_percent(o->d, 60)) {
        op_absolute(o, 0x0f01, PICK(o, 0, 0, 1, 1, 2, 3, 4, 6, 7, 7));
    } else {
        mov_reg(o, 0, selector(o->d));
        /* sldt str lldt ltr verr verw */
        byte(o, 0x0f), byte(o, 0x00), byte(o, 0xc0 | dice_below(o->d, 6) << 3);
    }
}

static void far_transfer(struct out *o)
{
    switch (dice_below(o->d, 6)) {
    case 0:
        wide(o);
        byte(o, PICK(o, 0xea, 0x9a)), word32(o, dice_address(o->d));
        byte(o, selector(o->d)), byte(o, 0);
        break;
    case 1:
        op_absolute(o, 0xff, PICK(o, 3, 5));
        break;
    case 2:
        byte(o, 0xcd), byte(o, dice_below(o->d, 256));
        break;
    case 3:
        byte(o, 0x0f), byte(o, PICK(o, 0x05, 0x07, 0x34, 0x35));
        break;
    default: /* a frame, then iret or retf */
        for (unsigned i = 0; i < 5; i++) {
            /* ss esp flags cs eip, from the top down */
            static const uint8_t what[] = {0, 1, 2, 0, 1};
            uint32_t v = what[i] == 0   ? selector(o->d)
                         : what[i] == 1 ? dice_address(o->d)
                                        : flags_value(o->d);
            wide(o);
            byte(o, 0x68), word32(o, v);
        }
        if (o->bits == 64 && dice_percent(o->d, 80))
            byte(o, 0x48);
        byte(o, PICK(o, 0xcf, 0xcf, 0xcf, 0xcb));
        break;
    }
}

static void segment_load(struct out *o)
{
    mov_reg(o, 0, selector(o->d));
    byte(o, 0x8e), byte(o, 0xc0 | dice_below(o->d, 6) << 3);
}

static void port(struct out *o)
{
    static const uint16_t ports[] = {0x20, 0x21, 0xa0, 0xa1, 0x40, 0x42, 0x43, 0x60, 0x61, 0x64,
                                     0x70, 0x71, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x600, 0x604,
                                     0x608, 0xcf8, 0xcfc, 0xcfe};
    unsigned n = ports[dice_below(o->d, sizeof ports / sizeof *ports)];

    mov_reg(o, 2, dice_percent(o->d, 85) ? n : dice_below(o->d, 0x10000));
    if (dice_percent(o->d, 60))
        mov_reg(o, 0, (uint32_t)dice_next(o->d));
    if (dice_percent(o->d, 15)) {
        mov_reg(o, 1, dice_below(o->d, 300));
        byte(o, 0xf3);
    }
    byte(o, PICK(o, 0xec, 0xed, 0xee, 0xef, 0xee, 0xef, 0x6c, 0x6d, 0x6e, 0x6f));
}

static void string(struct out *o)
{
    mov_reg(o, 1, dice_percent(o->d, 90) ? dice_below(o->d, 9000) : (uint32_t)dice_next(o->d));
    mov_reg(o, 6, dice_address(o->d));
    mov_reg(o, 7, dice_address(o->d));
    if (dice_percent(o->d, 30))
        byte(o, PICK(o, 0xfc, 0xfd));
    byte(o, PICK(o, 0xf3, 0xf3, 0xf2));
    byte(o, PICK(o, 0xa4, 0xa5, 0xaa, 0xab, 0xa6, 0xa7, 0xae, 0xaf, 0xac, 0xad));
}

/* Stores: into code, page tables, descriptors, devices. */
static void store(struct out *o)
{
    uint32_t value = dice_percent(o->d, 50) ? (dice_address(o->d) & ~0xfffu) | dice_below(o->d, 512)
                                            : (uint32_t)dice_next(o->d);

    wide(o);
    op_absolute(o, 0xc7, 0);
    word32(o, value);
    if (dice_percent(o->d, 30))
        op_absolute(o, 0x0f01, 7); /* invlpg */
}

static void flags(struct out *o)
{
    wide(o);
    byte(o, 0x68), word32(o, flags_value(o->d));
    wide(o);
    byte(o, 0x9d);
}

static void debug_register(struct out *o)
{
    unsigned n = dice_below(o->d, 8);

    mov_reg(o, 0, n == 7 ? (uint32_t)dice_next(o->d) & 0xffff27ff : dice_address(o->d));
    byte(o, 0x0f), byte(o, 0x23), byte(o, 0xc0 | n << 3);
}

static void small_system(struct out *o)
{
    static const uint8_t codes[][4] = {
        {2, 0x0f, 0xa2}, {2, 0x0f, 0x31}, {2, 0x0f, 0x06}, {2, 0x0f, 0x09}, {3, 0x0f, 0x01, 0xf8},
        {3, 0x0f, 0x01, 0xf9}, {3, 0x0f, 0xc7, 0xf0}, {3, 0x0f, 0x01, 0xd0}, {3, 0x0f, 0x01, 0xd1},
        {3, 0x0f, 0x01, 0xca}, {3, 0x0f, 0x01, 0xcb}, {1, 0xf4}, {1, 0xfa}, {1, 0xfb}, {1, 0xf1},
        {1, 0xcc}, {3, 0x0f, 0x01, 0xc1}, {3, 0x0f, 0x01, 0xd9}, {2, 0x0f, 0x33}, {1, 0x9b},
        {2, 0xdb, 0xe3}};
    const uint8_t *c = codes[dice_below(o->d, sizeof codes / sizeof *codes)];

    for (unsigned i = 1; i <= c[0]; i++)
        byte(o, c[i]);
}

static void invpcid(struct out *o)
{
    mov_reg(o, 0, dice_below(o->d, 5));
    byte(o, 0x66), byte(o, 0x0f), byte(o, 0x38), byte(o, 0x82);
    absolute(o, 0, dice_address(o->d));
}

static void floating(struct out *o)
{
    switch (dice_below(o->d, 3)) {
    case 0:
        op_absolute(o, 0x0fae, dice_below(o->d, 8));
        break;
    case 1:
        byte(o, 0xd8 + dice_below(o->d, 8)), byte(o, dice_below(o->d, 256));
        break;
    default:
        op_absolute(o, 0x0f00 | (0x10 + dice_below(o->d, 0x70)), dice_below(o->d, 8));
        break;
    }
}

static void jump(struct out *o)
{
    switch (dice_below(o->d, 4)) {
    case 0:
        byte(o, 0xe8 + dice_below(o->d, 2)), word32(o, dice_below(o->d, 8192) - 4096u);
        break;
    case 1:
        mov_reg(o, 0, dice_address(o->d));
        byte(o, 0xff), byte(o, PICK(o, 0xd0, 0xe0));
        break;
    default:
        byte(o, 0x70 + dice_below(o->d, 16)), byte(o, dice_below(o->d, 256));
        break;
    }
}

static void raw(struct out *o)
{
    static const uint8_t prefixes[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64,
                                       0x65, 0x48, 0x4f};

    if (dice_percent(o->d, 40))
        byte(o, prefixes[dice_below(o->d, sizeof prefixes)]);
    if (dice_percent(o->d, 40))
        byte(o, 0x0f);
    for (unsigned n = 1 + dice_below(o->d, 12); n; n--)
        byte(o, dice_below(o->d, 256));
}

void random_code(struct dice *d, uint8_t *code, size_t bytes, unsigned bits)
{
    static void (*const kinds[])(struct out *o) = {
        control_register, msr, table_register, far_transfer, segment_load, port, string, store,
        store, flags, debug_register, small_system, small_system, invpcid, floating, floating,
        jump, jump, raw, raw, raw, raw};
    struct out o = {.at = code, .end = code + bytes, .d = d, .bits = bits};

    while (o.at < o.end)
        kinds[dice_below(d, sizeof kinds / sizeof *kinds)](&o);
}
