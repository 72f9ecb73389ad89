/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions across pages: the page behind is asked for only when the instruction needs it; CR2
 * and IP.
 */
#include "guest.h"

#define EDGE (SCRATCH + 0x1000)

static uint8_t *page;

static void place(const uint8_t *code, unsigned bytes, unsigned inside)
{
    memcpy(page + 4096 - inside, code, bytes < inside ? bytes : inside);
}

#define RUN(at) asm volatile(FAULTS("jmp *%0") ::"r"(at) : "eax", "memory", "cc")

GUEST
{
    uint8_t *second = page_alloc();
    static const uint8_t mov[] = {0xb8, 0x44, 0x33, 0x22, 0x11}, jump[] = {0xeb, 0xf0};
    static const uint8_t ud2[] = {0x0f, 0x0b};

    paging_on();
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 0x800);
    page = page_alloc();
    page_map(SCRATCH, (word)page, P_RWU);
    /* The last byte of an instruction lies at the edge: it runs, the next one faults. */
    place(mov, 5, 5);
    RUN(EDGE - 5);
    check_pf(1, 0x10, (void *)EDGE);
    check(2, last.f.ip, EDGE);
    check(3, last.f.ax, 0x11223344);
    /* it lies across: IP is its first byte, CR2 the edge */
    for (unsigned inside = 1; inside < 5; inside++) {
        memset(page + 4090, 0x90, 6);
        place(mov, 5, inside);
        RUN(EDGE - inside);
        check_pf(10 + inside, 0x10, (void *)EDGE);
        check(10 + inside, last.f.ip, EDGE - inside);
    }
    /* A jump away or an invalid opcode right at the edge needs nothing behind. */
    memset(page, 0xcc, 4096);
    place(jump, 2, 2);
    RUN(EDGE - 2);
    check(20, last.f.vector, BP);
    check(21, last.f.ip, EDGE - 15);
    place(ud2, 2, 2);
    RUN(EDGE - 2);
    check(22, last.f.vector, UD);
    check(23, last.f.ip, EDGE - 2);
    /* Behind lies a page without the right to execute. */
    page_map(EDGE, (word)second, P_RWU | P_NX);
    place(mov, 5, 3);
    RUN(EDGE - 3);
    check_pf(24, 0x11, (void *)EDGE);
    check(25, last.f.ip, EDGE - 3);
    /* Put right by the handler it runs on. */
    second[0] = 0x22;
    second[1] = 0x11;
    second[2] = 0x0f;
    second[3] = 0x0b;
    page_map(EDGE, (word)second, P_RWU);
    invlpg((void *)EDGE);
    RUN(EDGE - 3);
    check(26, last.f.vector, UD);
    check(27, last.f.ip, EDGE + 2);
    check(28, last.f.ax, 0x11223344);
    /* The first page goes, the second stays. */
    pte_write(SCRATCH, 1, 0);
    invlpg((void *)SCRATCH);
    RUN(EDGE - 3);
    check_pf(29, 0x10, (void *)(EDGE - 3));
}
