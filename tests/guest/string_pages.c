/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REP string instructions that meet a missing page: the registers say exactly how far it came; it
 * resumes.
 */
#include "guest.h"

#define BASE  SCRATCH
#define LIMIT (SCRATCH + 0x2000) /* pages 0 and 1 are there, page 2 appears on demand */

static uint8_t *page[4];
static unsigned faults;
static word fault_cx, fault_si, fault_di;

static void map_third(struct frame *f)
{
    faults++;
    fault_cx = f->cx;
    fault_si = f->si;
    fault_di = f->di;
    check(1, get_cr2() & ~0xffful, LIMIT);
    page_map(LIMIT, (word)page[2], P_RWU);
}

static void unmap(void)
{
    pte_write(LIMIT, 1, 0);
    invlpg((void *)LIMIT);
    faults = 0;
    for (unsigned i = 0; i < 3; i++)
        for (unsigned j = 0; j < 4096; j++)
            page[i][j] = (uint8_t)(j * 7 + i);
}

/* di, si, cx to begin with; answers what is left afterwards */
struct left {
    word di, si, cx, ax;
};
#define REP(insn, di, si, cx)                                                                      \
    ({                                                                                             \
        word di_ = (di), si_ = (si), cx_ = (cx), ax_ = 0x5a5a5a5a;                                 \
        asm volatile(insn : "+D"(di_), "+S"(si_), "+c"(cx_), "+a"(ax_)::"memory", "cc");           \
        (struct left){di_, si_, cx_, ax_};                                     \
    })

GUEST
{
    paging_on();
    for (unsigned i = 0; i < 4; i++)
        page[i] = page_alloc();
    page_map(BASE, (word)page[0], P_RWU);
    page_map(BASE + 0x1000, (word)page[1], P_RWU);
    hook[PF] = map_third;

    unmap(); /* stosb, upward: 100 bytes before the edge */
    REP("rep stosb", LIMIT - 100, 0, 300);
    check(2, faults, 1);
    check(3, fault_cx, 200);
    check(4, fault_di, LIMIT);
    check(5, page[1][4095], 0x5a);
    check(6, page[2][199], 0x5a);
    check(7, page[2][200], (uint8_t)(200 * 7 + 2));
    check(8, page[1][4096 - 101], (uint8_t)((4096 - 101) * 7 + 1));

    /*
     * movsl with the destination two bytes before the edge: the element that crosses is not begun
     */
    unmap();
    REP("rep movsl", LIMIT - 10, BASE, 8);
    check(10, faults, 1);
    check(11, fault_cx, 6);
    check(12, fault_di, LIMIT - 2);
    check(13, fault_si, BASE + 8);
    for (unsigned i = 0; i < 32; i++)
        check(14, i < 10 ? page[1][4086 + i] : page[2][i - 10], (uint8_t)(i * 7));

    unmap(); /* lodsw from the missing page, downward into the page that is there */
    asm volatile("std");
    REP("rep lodsw", 0, LIMIT + 6, 10);
    asm volatile("cld");
    check(20, faults, 1);
    check(21, fault_cx, 10);
    check(22, fault_si, LIMIT + 6);

    unmap(); /* movsb downward, source goes from page 1 to page 0 */
    asm volatile("std");
    REP("rep movsb", LIMIT + 19, BASE + 0x1000 + 9, 20);
    asm volatile("cld");
    check(30, faults, 1);
    check(31, fault_cx, 20);
    for (unsigned i = 0; i < 20; i++)
        check(32, page[2][i], i < 10 ? page[0][4086 + i] : page[1][i - 10]);

    /* scasb stops at a match in the page that comes later; flags are those of the last compare */
    unmap();
    page[1][4095] = 1;
    page[2][0] = 1;
    page[2][50] = 0x5a;
    for (unsigned i = 4000; i < 4096; i++)
        page[1][i] = 1;
    for (unsigned i = 0; i < 50; i++)
        page[2][i] = 1;
    word left = REP("repne scasb", BASE + 0x1000 + 4000, 0, 1000).cx;
    check(40, faults, 1);
    check(41, fault_cx, 1000 - 96);
    check(42, left, 1000 - 96 - 51);

    unmap(); /* cmpsb across: equal for 96 + 30 bytes */
    memcpy(page[0], page[1] + 4000, 96);
    memcpy(page[0] + 96, page[2], 30);
    page[0][126] = (uint8_t)(page[2][30] + 1);
    left = REP("repe cmpsb", BASE + 0x1000 + 4000, BASE, 1000).cx;
    check(50, faults, 1);
    check(51, fault_cx, 1000 - 96);
    check(52, left, 1000 - 127);

    unmap(); /* no count, no access */
    REP("rep stosb", LIMIT, 0, 0);
    check(60, faults, 0);

    unmap(); /* overlap: a copy by one spreads the first byte */
    REP("rep movsb", BASE + 0x1000 - 3, BASE + 0x1000 - 4, 8);
    for (unsigned i = 0; i < 9; i++)
        check(61, i < 4 ? page[0][4092 + i] : page[1][i - 4], page[0][4092]);

    unmap(); /* insb: the port is not read when the page is missing */
    hook[PF] = NULL;
    outb(0x3f8 + 7, 0xa7); /* UART scratch register */
    asm volatile(FAULTS("rep insb") ::"D"(LIMIT - 2), "d"(0x3ff), "c"(4) : "memory");
    check(70, last.f.vector, PF);
    check(71, last.f.cx, 2);
    check(72, page[1][4095], 0xa7);
}
