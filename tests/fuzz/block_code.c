/* SPDX-License-Identifier: Apache-2.0 */
/* Random programs: what compilers write, and what nobody would. */
#include "block_code.h"

#include <string.h>

static void fulfil(struct writer *w)
{
    for (unsigned n = 0; n < w->wishes;) {
        struct wish *x = &w->wish[n];
        int32_t distance = (int32_t)(w->at - (x->at + 4) + x->plus);

        if (!x->in || --x->in) {
            n++;
            continue;
        }
        memcpy(w->p->code + x->at, &distance, 4);
        *x = w->wish[--w->wishes];
    }
}

static bool is_full(const struct writer *w)
{
    return w->at + 320 > CODE_BYTES;
}

void code_put(struct writer *w, const void *bytes, unsigned n)
{
    static const uint8_t prefixes[] = {0x64, 0x65, 0x66, 0xf0, 0xf2, 0xf3};
    uint8_t narrow[16];
    unsigned rex = 0;

    memcpy(narrow, bytes, n);
    while (memchr(prefixes, narrow[rex], sizeof prefixes))
        rex++;
    if (w->p->narrow && (narrow[rex] & 0xf0) == 0x40) {
        n--;
        memmove(narrow + rex, narrow + rex + 1, n - rex);
    }
    code_put_whole(w, narrow, n);
}

void code_put_whole(struct writer *w, const void *bytes, unsigned n)
{
    w->p->start[w->p->starts++] = (uint16_t)w->at;
    fulfil(w);
    memcpy(w->p->code + w->at, bytes, n);
    w->at += n;
}
/* --- branches --- */

static void wish_for(struct writer *w, unsigned instructions)
{
    if (w->wishes < PENDING)
        w->wish[w->wishes++] = (struct wish){.at = w->at - 4, .in = instructions};
}

/* What RIP-relative code would have: 32-bit code has an address. */
static uint32_t origin(const struct writer *w)
{
    return w->p->narrow ? (uint32_t)CODE_VA + w->at : 0;
}

static void put_branch_to(struct writer *w, const uint8_t *opcode, unsigned n)
{
    uint8_t bytes[8] = {0};

    memcpy(bytes, opcode, n);
    code_put(w, bytes, n + 4);
}

/* To some instruction that is there already, in whatever page. */
static int32_t back(struct writer *w, unsigned end)
{
    return (int32_t)w->p->start[dice_below(w->d, w->p->starts)] - (int32_t)end;
}

static void put_jcc(struct writer *w)
{
    const uint8_t opcode[] = {0x0f, (uint8_t)(0x80 + dice_below(w->d, 16))};

    put_branch_to(w, opcode, 2);
    if (dice_percent(w->d, 85)) {
        wish_for(w, dice_percent(w->d, 20) ? 0 : 1 + dice_below(w->d, 8));
    } else {
        int32_t distance = back(w, w->at);
        memcpy(w->p->code + w->at - 4, &distance, 4);
    }
}

static void put_short_jcc(struct writer *w)
{
    unsigned distance = 3 + dice_below(w->d, 6);

    PUT((uint8_t)(0x70 + dice_below(w->d, 16)), (uint8_t)distance);
    if (distance == 3)
        PUT(0x0f, 0x0b, 0x90); /* ud2: a check */
    else
        PUT(0x48, 0xff, 0xc0); /* inc rax: the least that may be jumped over, or into */
}

static void put_jump(struct writer *w)
{
    static const uint8_t opcode[] = {0xe9};

    put_branch_to(w, opcode, 1);
    wish_for(w, dice_percent(w->d, 30) ? 0 : 1 + dice_below(w->d, 5));
}

/* Returns that do not go back to their call, as the first instructions of a function. */
static void put_odd_return(struct writer *w)
{
    switch (dice_below(w->d, 5)) {
    case 0: /* to the caller's caller */
        PUT(0x48, 0x83, 0xc4, w->p->narrow ? 4 : 8);
        break;
    case 1: /* to some bytes further on, or into an instruction */
        PUT(0x48, 0x83, 0x04, 0x24, (uint8_t)dice_below(w->d, 8));
        break;
    case 2: /* on another stack: xchg rsp, rbp, now and for ever or until after the return */
        PUT(0xff, 0x34, 0x24); /* push [rsp] */
        PUT(0x8f, 0x45, 0);    /* pop [rbp] */
        PUT(0x48, 0x87, 0xec); /* xchg rsp, rbp */
        break;
    case 3:                                /* to the other mapping of the code, or nowhere */
        PUT(0x81, 0x04, 0x24, 0, 0, 1, 1); /* add dword [rsp], ALIAS_VA - CODE_VA */
        break;
    default:             /* the code behind the call is written: call's address + distance */
        PUT(0x41, 0x5b); /* pop r11 */
        PUT(0x41, 0xc6, 0x43, (uint8_t)dice_below(w->d, 6), 0x90); /* mov byte [r11 + n], nop */
        PUT(0x41, 0x53);                                           /* push r11 */
    }
}

/* Calls that never return: more of them than any stack of pairs holds, if a loop is around. */
static void put_calls_down(struct writer *w)
{
    for (unsigned n = 1 + dice_below(w->d, 5); n; n--)
        PUT(0xe8, 0, 0, 0, 0);
    if (dice_percent(w->d, 60))
        PUT(0x48, 0x81, 0xe4, 0xf8, 0xcf, 0xff, 0xff); /* and rsp: not too far down */
}

/* call +; jmp over; body; ret */
static void put_body(struct writer *w, unsigned n);

static void put_call(struct writer *w)
{
    static const uint8_t call[] = {0xe8}, jump[] = {0xe9};
    unsigned over;
    int32_t distance;

    put_branch_to(w, call, 1);
    if (dice_percent(w->d, 40)) { /* something that may return or not */
        distance = back(w, w->at);
        memcpy(w->p->code + w->at - 4, &distance, 4);
        return;
    }
    wish_for(w, 2);
    put_branch_to(w, jump, 1);
    over = w->at;
    if (dice_percent(w->d, 20))
        put_odd_return(w);
    put_body(w, 1 + dice_below(w->d, 4));
    if (dice_percent(w->d, 20))
        PUT(0xc2, 0, 0);
    else
        PUT(0xc3);
    distance = (int32_t)(w->at - over);
    memcpy(w->p->code + over - 4, &distance, 4);
}

/* lea reg, [rip + target]; jmp or call by register or memory */
static void put_indirect(struct writer *w)
{
    unsigned r = value_register(w), at;
    uint8_t lea[] = {(uint8_t)(r >= 8 ? 0x4c : 0x48), 0x8d, (uint8_t)(5 | (r & 7) << 3)};
    uint8_t call = dice_percent(w->d, 50) ? 0x10 : 0x20;

    if (w->keep >> r & 1)
        return;
    put_branch_to(w, lea, 3);
    at = w->at;
    if (dice_percent(w->d, 70)) {
        wish_for(w, 3);
        w->wish[w->wishes - 1].plus = origin(w);
    } else {
        int32_t distance = back(w, at) + (int32_t)origin(w);
        memcpy(w->p->code + at - 4, &distance, 4);
    }
    if (dice_percent(w->d, 50)) {
        PUT((uint8_t)(r >= 8 ? 0x41 : 0x40), 0xff, (uint8_t)(0xc0 | call | (r & 7)));
    } else { /* mov [rbx], reg; jmp [rbx] */
        PUT((uint8_t)(r >= 8 ? 0x4c : 0x48), 0x89, (uint8_t)(0x03 | (r & 7) << 3));
        PUT(0xff, (uint8_t)(0x03 | call));
    }
}

/* jcc out of a loop: to some instruction behind */
static void put_break(struct writer *w)
{
    put_branch_to(w, (const uint8_t[]){0x0f, (uint8_t)(0x80 + dice_below(w->d, 16))}, 2);
    wish_for(w, 6 + dice_below(w->d, 12));
}

static void put_loop(struct writer *w)
{
    static const uint8_t counters[] = {1, 8, 11, 13, 15};
    unsigned r = w->p->narrow ? 1 : ONE_OF(counters);
    unsigned turns = 2 + dice_below(w->d, dice_percent(w->d, 10) ? 300 : 20);
    unsigned top;
    int32_t distance;
    uint32_t keep = w->keep;
    bool through_arrays = dice_percent(w->d, 40);
    struct arrays arrays;

    if (w->keep)
        return;
    PUT((uint8_t)(r >= 8 ? 0x41 : 0x40), (uint8_t)(0xb8 | (r & 7)), (uint8_t)turns,
        (uint8_t)(turns >> 8), 0, 0);
    w->keep |= 1u << r;
    if (through_arrays)
        put_arrays(w, &arrays);
    top = w->at;
    if (through_arrays) {
        put_array_body(w, &arrays);
        if (dice_percent(w->d, 30))
            put_break(w);
    } else {
        put_body(w, 1 + dice_below(w->d, 7));
    }
    w->keep = keep;
    if (r == 1 && dice_percent(w->d, 30) && w->at - top < 120) {
        PUT(0xe2, (uint8_t)(top - (w->at + 2)));
        return;
    }
    if (w->p->narrow && dice_percent(w->d, 50))
        code_put_whole(w, (const uint8_t[]){0x49}, 1); /* dec ecx */
    else if (dice_percent(w->d, 50))
        PUT((uint8_t)(r >= 8 ? 0x41 : 0x40), 0xff, (uint8_t)(0xc8 | (r & 7)));
    else
        PUT((uint8_t)(r >= 8 ? 0x49 : 0x48), 0x83, (uint8_t)(0xe8 | (r & 7)), 1);
    if (dice_percent(w->d, 20)) /* flags over a memory access */
        PUT(0x4c, 0x8b, 0x55, 0x08);
    put_branch_to(w, (const uint8_t[]){0x0f, 0x85}, 2);
    distance = (int32_t)(top - w->at);
    memcpy(w->p->code + w->at - 4, &distance, 4);
}

/* --- code that writes code --- */

/* mov byte [its own future], imm; then the instruction whose immediate that is */
static void put_self_write(struct writer *w)
{
    uint8_t value = (uint8_t)dice_next(w->d);
    unsigned between = dice_below(w->d, 4), store;
    uint32_t plus;
    uint64_t target;
    int32_t distance;

    if (dice_percent(w->d, 70)) { /* RIP-relative: where the mapping of the code allows it */
        PUT(0xc6, 0x05, 0, 0, 0, 0, value);
        store = w->at - 5;
        plus = origin(w);
        put_body(w, between);
        PUT(0xb8, value, 0, 0, 0); /* mov eax, imm */
        distance = (int32_t)(w->at - 4 + plus) - (int32_t)(store + 5);
        memcpy(w->p->code + store, &distance, 4);
        return;
    }
    PUT(0xc6, 0x04, 0x25, 0, 0, 0, 0, value); /* by the other mapping */
    store = w->at - 5;
    put_body(w, between);
    PUT(0x41, 0xb8, value, 0, 0, 0); /* mov r8d, imm */
    target = ALIAS_VA + w->at - 4;
    if (dice_percent(w->d, 40)) /* something in another page, perhaps behind a loop */
        target = ALIAS_VA + dice_below(w->d, CODE_BYTES);
    memcpy(w->p->code + store, &target, 4);
}

/* rep movs or stos of some bytes */
static void put_string(struct writer *w)
{
    static const uint8_t operations[] = {0xa4, 0xa5, 0xaa, 0xab, 0xa6, 0xae, 0xac};
    uint8_t n = (uint8_t)dice_below(w->d, 200);

    if (!w->p->repeats || w->keep & 2)
        return;
    PUT(0xb9, n, dice_percent(w->d, 5), 0, 0);
    PUT(dice_percent(w->d, 90) ? 0xf3 : 0xf2, 0x48, operations[dice_below(w->d, 7)]);
}

/* push flags that are harmless, and take them */
static void put_flags(struct writer *w)
{
    uint32_t flags = 0x202 | ((uint32_t)dice_next(w->d) & 0x8d5);
    uint8_t push[5] = {0x68};

    if (dice_percent(w->d, 10))
        flags |= 0x400;
    if (dice_percent(w->d, 5))
        flags |= 0x40000;
    if (dice_percent(w->d, 2))
        flags |= 0x100;
    if (dice_percent(w->d, 10))
        flags &= ~0x200u;
    memcpy(push + 1, &flags, 4);
    code_put(w, push, sizeof push);
    PUT(0x9d);
}

/* mov ecx, a place in the code; mov r11d, flags; sysretq */
static void put_sysret(struct writer *w)
{
    uint32_t flags = 0x202 | ((uint32_t)dice_next(w->d) & 0x8d5), place;

    if (w->keep & 2)
        return;
    place = (uint32_t)(CODE_VA + w->p->start[dice_below(w->d, w->p->starts)]);
    if (dice_percent(w->d, 10))
        flags ^= 1u << dice_below(w->d, 22);
    PUT(0xb9, (uint8_t)place, (uint8_t)(place >> 8), (uint8_t)(place >> 16),
        (uint8_t)(place >> 24));
    PUT(0x41, 0xbb, (uint8_t)flags, (uint8_t)(flags >> 8), (uint8_t)(flags >> 16), 0);
    PUT(0x48, 0x0f, 0x07);
}

static void put_system(struct writer *w)
{
    static const uint8_t three[][3] = {{0x0f, 0x01, 0xca}, {0x0f, 0x01, 0xcb}, {0x0f, 0x01, 0xf8}};

    switch (dice_below(w->d, w->p->narrow ? 10 : 16)) {
    case 13:
    case 14:
    case 15:
    case 10:
        if (!(w->keep & 2))  /* RCX */
            PUT(0x0f, 0x05); /* syscall */
        break;
    case 11:
    case 12:
        put_sysret(w);
        break;
    case 0:
        PUT(0xcd, 0x40);
        break;
    case 6: /* lock cmpxchg16b [rbx + 8 n] */
        PUT(0xf0, 0x48, 0x0f, 0xc7, 0x4b, (uint8_t)(8 * dice_below(w->d, 8)));
        break;
    case 7: /* bt, bts, btr, btc [rsi + 8 n], rax or r10 */
        PUT(dice_percent(w->d, 50) ? 0x48 : 0x4c, 0x0f, (uint8_t)(0xa3 + 8 * dice_below(w->d, 4)),
            dice_percent(w->d, 50) ? 0x46 : 0x56, (uint8_t)(8 * dice_below(w->d, 8)));
        break;
    case 8: /* rdfsbase, rdgsbase rdx or r10 */
        PUT(0xf3, dice_percent(w->d, 50) ? 0x48 : 0x49, 0x0f, 0xae,
            (uint8_t)(0xc2 + 8 * dice_below(w->d, 2)));
        break;
    case 9: /* mov eax or r9, a selector */
        PUT(dice_percent(w->d, 50) ? 0x40 : 0x49, 0x8c,
            (uint8_t)(0xc0 | dice_below(w->d, 6) << 3 | dice_below(w->d, 2)));
        break;
    case 1:
        PUT(0x0f, 0x01, 0x3b); /* invlpg [rbx] */
        break;
    case 2:
        PUT(0xfb); /* sti */
        break;
    default:
        code_put(w, three[dice_below(w->d, 3)], 3);
    }
}

void put_pointer_to(struct writer *w, unsigned reg, uint32_t offset)
{
    uint32_t v = (uint32_t)DATA_VA + offset;

    PUT((uint8_t)(reg >= 8 ? 0x41 : 0x40), (uint8_t)(0xb8 | (reg & 7)), (uint8_t)v,
        (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24));
}

/* A pointer is made good again. */
static void put_pointer(struct writer *w)
{
    unsigned r = pointer_register(w);

    put_pointer_to(w, r,
                   r == 4 ? STACK_PAGE * 4096 + 512 + 8 * dice_below(w->d, 700)
                          : dice_below(w->d, DATA_PAGES * 4096));
}

static void put_one(struct writer *w)
{
    unsigned kind = dice_below(w->d, 1000);

    if (is_full(w))
        return;
    if (w->p->narrow && kind < 100)
        put_narrow(w);
    else if (kind < 25 && !w->p->narrow)
        put_chain(w);
    else if (kind < 500)
        put_operation(w);
    else if (kind < 560)
        put_run(w);
    else if (kind < 680)
        put_random(w);
    else if (w->p->narrow && kind < 700)
        put_segment(w);
    else if (kind < 700)
        put_segment_load(w);
    else if (kind < 770)
        put_jcc(w);
    else if (kind < 785)
        put_short_jcc(w);
    else if (kind < 805)
        put_jump(w);
    else if (kind < 833)
        put_call(w);
    else if (kind < 835)
        put_calls_down(w);
    else if (kind < 860)
        put_indirect(w);
    else if (kind < 900)
        put_loop(w);
    else if (kind < 915)
        put_self_write(w);
    else if (kind < 930)
        put_string(w);
    else if (kind < 945)
        put_flags(w);
    else if (kind < 962)
        put_system(w);
    else
        put_pointer(w);
}

static void put_body(struct writer *w, unsigned n)
{
    while (n--)
        put_one(w);
}

/* What SYSCALL goes to: swapgs, sometimes stac and clac, perhaps no flags, swapgs, sysretq. */
static void put_system_call(struct writer *w)
{
    w->p->system_call = (uint16_t)w->at;
    PUT(0x0f, 0x01, 0xf8);
    if (dice_percent(w->d, 30)) {
        PUT(0x0f, 0x01, 0xcb);
        PUT(0x48, 0x8b, 0x03); /* mov rax, [rbx] */
        PUT(0x0f, 0x01, 0xca);
    }
    if (dice_percent(w->d, 30))
        PUT(0x48, 0x39, 0xd8); /* cmp rax, rbx */
    PUT(0x0f, 0x01, 0xf8);
    PUT(0x48, 0x0f, 0x07);
}

void program_make(struct program *p, struct dice *d)
{
    struct writer w = {.p = p, .d = d};

    p->starts = 0;
    memset(p->code, 0xcc, sizeof p->code);
    code_put(&w, (const uint8_t[]){0x90}, 1); /* so that there is something behind */
    put_system_call(&w);
    while (!is_full(&w))
        put_one(&w);
    for (unsigned n = 0; n < w.wishes; n++) {
        int32_t distance = back(&w, w.wish[n].at + 4) + (int32_t)w.wish[n].plus;
        memcpy(p->code + w.wish[n].at, &distance, 4);
    }
}
