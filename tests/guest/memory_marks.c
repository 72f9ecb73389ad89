/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every page from 4 MiB on gets words that follow from its number, a readable mark in its middle,
 * and must still hold them later. Twice on a machine of 16 MiB; on a larger one for ever: something
 * to press for memory, or to kill, from the first millisecond on (tests/e2e/memory_kill.sh).
 */
#include "guest.h"

#define FIRST_PAGE 1024u
#define WORDS      1024u
#define MARK_WORD  512u
#define LAST_PAGE  0xc0000u

static const char mark[16] = {'U', 'M', 'B', 'R', 'A', ' ', 'P', 'L',
                              'A', 'I', 'N', 'T', 'E', 'X', 'T', '!'};

static uint32_t word_of(uint32_t page, uint32_t round, uint32_t i)
{
    uint32_t x = (page * WORDS + i + round * 77u) * 2654435761u;
    return x ^ x >> 15;
}

static void write_page(uint32_t page, uint32_t round)
{
    volatile uint32_t *p = (volatile uint32_t *)(page << 12);
    for (uint32_t i = 0; i < WORDS; i++)
        p[i] = word_of(page, round, i);
    memcpy((void *)(p + MARK_WORD), mark, sizeof(mark));
}

static void check_page(uint32_t page, uint32_t round)
{
    volatile uint32_t *p = (volatile uint32_t *)(page << 12);
    const uint32_t *m = (const uint32_t *)mark;
    for (uint32_t i = 0; i < WORDS; i++) {
        bool in_mark = i - MARK_WORD < sizeof(mark) / 4;
        check(1, p[i], in_mark ? m[i - MARK_WORD] : word_of(page, round, i));
    }
}

static bool is_ram(uint32_t page)
{
    volatile uint32_t *p = (volatile uint32_t *)(page << 12);
    *p = page;
    return *p == page;
}

GUEST
{
    uint32_t end = FIRST_PAGE;
    while (end < LAST_PAGE && is_ram(end))
        end += 256;
    for (uint32_t round = 0; round < 2 || end > 4096; round++) {
        for (uint32_t page = FIRST_PAGE; page < end; page++)
            write_page(page, round);
        for (uint32_t page = FIRST_PAGE; page < end; page++)
            check_page(page, round);
        if (end > 4096)
            say("round\n");
    }
    pass();
}
