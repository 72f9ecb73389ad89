/* SPDX-License-Identifier: Apache-2.0 */
/*
 * String instructions: each size in both directions against a plain loop; prefixes, address size,
 * overlap.
 */
#include "guest.h"

#define SIZE 600

static uint8_t from[SIZE + 16], to[SIZE + 16], want[SIZE + 16];

static void fill(void)
{
    for (unsigned i = 0; i < SIZE + 16; i++) {
        from[i] = (uint8_t)(i * 13 + (i >> 3));
        to[i] = want[i] = (uint8_t)(i * 7 + 1);
    }
}

#define MOVE(n, insn, size)                                                                        \
    for (unsigned down = 0; down < 2; down++)                                                      \
        for (unsigned count = 0; count < 70; count += 23) {                                        \
            unsigned start = down ? (count ? count - 1 : 0) * size : 0;                            \
            word si = (word)from + 3 + start, di = (word)to + 5 + start, cx = count;               \
            word si0 = si, di0 = di;                                                               \
                                                                                                   \
            fill();                                                                                \
            for (unsigned i = 0; i < count * size; i++)                                            \
                want[5 + i] = from[3 + i];                                                         \
            if (down)                                                                              \
                asm volatile("std\n\trep " insn "\n\tcld"                                          \
                             : "+S"(si), "+D"(di), "+c"(cx)::"memory");                            \
            else                                                                                   \
                asm volatile("rep " insn : "+S"(si), "+D"(di), "+c"(cx)::"memory");                \
            check(n, memcmp(to, want, SIZE), 0);                                                   \
            check(n, cx, 0);                                                                       \
            check(n, si - si0, down ? -(word)count * size : count * size);                         \
            check(n, di - di0, down ? -(word)count * size : count * size);                         \
        }

#define STORE(n, insn, size)                                                                       \
    do {                                                                                           \
        word di = (word)to + 7, cx = 20;                                                           \
                                                                                                   \
        fill();                                                                                    \
        for (unsigned i = 0; i < 20 * size; i++)                                                   \
            want[7 + i] = (uint8_t)(0x8877665544332211ull >> 8 * (i % size));                      \
        asm volatile("rep " insn                                                                   \
                     : "+D"(di), "+c"(cx)                                                          \
                     : "a"((word)0x8877665544332211ull)                                            \
                     : "memory");                                                                  \
        check(n, memcmp(to, want, SIZE), 0);                                                       \
        check(n, di, (word)to + 7 + 20 * size);                                                    \
    } while (0)

GUEST
{
    word si, di, cx, ax;
    uint8_t zf;

    MOVE(1, "movsb", 1)
    MOVE(2, "movsw", 2)
    MOVE(3, "movsl", 4)
    STORE(10, "stosb", 1);
    STORE(11, "stosw", 2);
    STORE(12, "stosl", 4);
#ifdef __x86_64__
    MOVE(4, "movsq", 8)
    STORE(13, "stosq", 8);
#endif

    /* Overlap by less than an element spreads the start. */
    fill();
    for (unsigned i = 0; i < 40; i++)
        want[14 + i] = want[11 + i];
    si = (word)to + 11, di = (word)to + 14, cx = 40;
    asm volatile("rep movsb" : "+S"(si), "+D"(di), "+c"(cx)::"memory");
    check(20, memcmp(to, want, SIZE), 0);
    fill();
    for (unsigned i = 0; i < 10; i++)
        /* element by element: four bytes are read before four are written */
        for (unsigned j = 0; j < 4; j++) {
            static uint8_t four[4];
            if (j == 0)
                for (unsigned k = 0; k < 4; k++)
                    four[k] = want[10 + i * 4 + k];
            want[13 + i * 4 + j] = four[j];
        }
    si = (word)to + 10, di = (word)to + 13, cx = 10;
    asm volatile("rep movsl" : "+S"(si), "+D"(di), "+c"(cx)::"memory");
    check(21, memcmp(to, want, SIZE), 0);

    /* Compare and scan: where they stop, and the flags of the last pair. */
    fill();
    memcpy(to, from, 100);
    to[60] ^= 0x80;
    si = (word)from, di = (word)to, cx = 100;
    asm volatile("repe cmpsb\n\tsetz %3" : "+S"(si), "+D"(di), "+c"(cx), "=q"(zf)::"memory", "cc");
    check(30, cx, 39);
    check(31, zf, 0);
    check(32, di, (word)to + 61);
    si = (word)from, di = (word)to, cx = 10;
    asm volatile("repe cmpsl\n\tsetz %3" : "+S"(si), "+D"(di), "+c"(cx), "=q"(zf)::"memory", "cc");
    check(33, cx, 0);
    check(34, zf, 1);
    si = (word)from + 3, di = (word)to + 4, cx = 0; /* no count: flags stay */
    asm volatile("cmp %0, %0\n\trepe cmpsb\n\t"
                 "setz %3" : "+S"(si), "+D"(di), "+c"(cx), "=q"(zf)::"memory", "cc");
    check(35, zf, 1);
    check(36, di, (word)to + 4);
    memset(to, 9, 100);
    to[77] = 42;
    di = (word)to, cx = 100, ax = 42;
    asm volatile("repne scasb" : "+D"(di), "+c"(cx) : "a"(ax) : "memory", "cc");
    check(37, cx, 22);
    di = (word)to + 99, cx = 100;
    asm volatile("std\n\trepne scasb\n\tcld" : "+D"(di), "+c"(cx) : "a"(ax) : "memory", "cc");
    check(38, di, (word)to + 76);
    si = (word)to + 76, ax = -1ul;
    asm volatile("lodsb" : "+S"(si), "+a"(ax)::"memory");
    check(39, ax, (-1ul & ~0xfful) | 9);
    asm volatile("lodsb" : "+S"(si), "+a"(ax)::"memory");
    check(40, ax & 0xff, 42);
    cx = 3;
    asm volatile("rep lodsb" : "+S"(si), "+a"(ax), "+c"(cx)::"memory");
    check(41, ax & 0xff, 9);
    check(42, si, (word)to + 81);

    /* A smaller address size counts in the smaller registers only. */
#ifdef __x86_64__
    fill();
    si = (word)from, di = (word)to | 0xabcd00000000, cx = 0x700000005;
    asm volatile("addr32 rep movsb" : "+S"(si), "+D"(di), "+c"(cx)::"memory");
    check(50, cx, 0);
    check(51, di, (word)to + 5);
    check(52, to[4], from[4]);
#else
    volatile uint8_t *low = (volatile uint8_t *)0x7ff0;
    low[0] = 0;
    di = 0x12347ff0, cx = 0x50002;
    asm volatile("addr16 rep stosb" : "+D"(di), "+c"(cx) : "a"(0x66) : "memory");
    check(50, cx, 0x50000);
    check(51, di, 0x12347ff2);
    check(52, low[1], 0x66);
#endif
}
