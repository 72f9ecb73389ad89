/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions across two pages, of many kinds and at each byte: they do what they do within one,
 * run after run, with the flags as they come; and the page behind is looked at each time.
 */
#include "guest.h"

#define EDGE   (SCRATCH + 0x1000)
#define ROUNDS 20u /* often enough for what an engine learns about code */

/* The instruction `text` between others; all of them are position-independent. */
#define PIECE(name, before, text, after)                                                           \
    asm(".pushsection .text\n" #name ": " before "\n" #name "_insn: " text "\n" #name              \
        "_after: " after "\n\tret\n" #name "_end:\n.popsection");                                  \
    extern const uint8_t name[], name##_insn[], name##_after[], name##_end[]
#define PIECE_OF(name)                                                                             \
    {                                                                                              \
        name, name##_insn, name##_after, name##_end                                                \
    }

#ifdef __x86_64__
#define DX "%rdx"
#define DI "%rdi"
#else
#define DX "%edx"
#define DI "%edi"
#endif

PIECE(adds, "", "adc $0x11223344, %eax", "");
PIECE(loads, "", "mov 0x12345(" DX "), %eax", "adc $0, %eax");
PIECE(stores, "", "movl $0x55667788, 0x12345(" DX ")", "adc $0, %eax");
PIECE(adds_here, "", "lock xadd %eax, 0x12345(" DX ")", "adc $7, %eax");
PIECE(jumps, "", ".byte 0x0f, 0x82, 5, 0, 0, 0", "mov $99, %eax"); /* jc over it */
PIECE(stays, "", ".byte 0x0f, 0x83, 5, 0, 0, 0", "mov $98, %eax"); /* jnc */
PIECE(goes, "", ".byte 0xe9, 5, 0, 0, 0", "mov $97, %eax");
PIECE(loops, "mov $5, %ecx\n11: add $3, %eax\n\tdec %ecx", ".byte 0x0f, 0x85\n\t.long 11b - . - 4",
      "adc $1, %eax");
PIECE(calls, "", ".byte 0xe8, 6, 0, 0, 0", "add $0x100, %eax\n\tret\n\tadc $5, %eax");
PIECE(returns, "", "ret $0", "");
PIECE(pushes, "", "push $0x12345678", "pop " DX "\n\tadc %edx, %eax");
PIECE(turns, "", "rol $7, %eax", "adc $0x10, %eax");
PIECE(sets, "", "setc 0x12345(" DX ")", "adc 0x12345(" DX "), %eax");
PIECE(many, "lea 0x12345(" DX "), " DI "\n\tmov $4, %ecx\n\tcld", "rep stosb", "adc $0, %eax");

static const struct piece {
    const uint8_t *code, *insn, *after, *end;
} pieces[] = {PIECE_OF(adds),  PIECE_OF(loads),   PIECE_OF(stores), PIECE_OF(adds_here),
              PIECE_OF(jumps), PIECE_OF(stays),   PIECE_OF(goes),   PIECE_OF(loops),
              PIECE_OF(calls), PIECE_OF(returns), PIECE_OF(pushes), PIECE_OF(turns),
              PIECE_OF(sets),  PIECE_OF(many)};
#define PIECES (sizeof pieces / sizeof pieces[0])

struct result {
    uint32_t eax, memory;
    uint8_t carry;
};

static uint32_t memory[4];

static struct result run(word at)
{
    struct result r = {.eax = 3};
    word address = (word)memory - 0x12345, ignored;

    memory[0] = 0x01020304;
    asm volatile("stc\n\tcall *%[at]\n\tsetc %[carry]"
                 : "+a"(r.eax), [carry] "=m"(r.carry), "+d"(address), "=c"(ignored), "=D"(ignored)
                 : [at] "S"(at)
                 : "memory", "cc");
    r.memory = memory[0];
    return r;
}

static void check_same(unsigned n, const struct result *got, const struct result *want)
{
    check(n, got->eax, want->eax);
    check(n, got->memory, want->memory);
    check(n, got->carry, want->carry);
}

/* So that `inside` bytes of the instruction lie in the first page. */
static word place(uint8_t *page, uint8_t *second, const struct piece *p, unsigned inside)
{
    unsigned first = (unsigned)(p->insn - p->code) + inside;

    memcpy(page + 4096 - first, p->code, first);
    memcpy(second, p->code + first, (size_t)(p->end - p->code) - first);
    return EDGE - first;
}

GUEST
{
    uint8_t *page = page_alloc(), *second = page_alloc(), *third = page_alloc();
    struct result want, got;
    word at;

    paging_on();
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 0x800);
    page_map(SCRATCH, (word)page, P_RWU);
    page_map(EDGE, (word)second, P_RWU);
    for (unsigned n = 0; n < PIECES; n++) {
        const struct piece *p = &pieces[n];

        memcpy(third, p->code, (size_t)(p->end - p->code));
        want = run((word)third);
        for (unsigned inside = 1; inside < (unsigned)(p->after - p->insn); inside++) {
            at = place(page, second, p, inside);
            for (unsigned i = 0; i < ROUNDS; i++) {
                got = run(at);
                check_same(1 + n, &got, &want);
            }
        }
    }
    /* Its end is written, is mapped elsewhere, goes, and comes back. */
    at = place(page, second, &pieces[0], 2);
    memcpy(third, second, 16);
    for (unsigned i = 0; i < ROUNDS; i++) {
        second[2] = (uint8_t)i;
        third[2] = (uint8_t)(0x40 + i);
        check(40, run(at).eax, 0x00223344u + 4 + (i << 24));
        page_map(EDGE, (word)third, P_RWU);
        invlpg((void *)EDGE);
        check(41, run(at).eax, 0x40223344u + 4 + (i << 24));
        pte_write(EDGE, 1, 0);
        invlpg((void *)EDGE);
        asm volatile(FAULTS("jmp *%0")::"r"(at) : "eax", "memory", "cc");
        check_pf(42, 0x10, (void *)EDGE);
        check(43, last.f.ip, at);
        page_map(EDGE, (word)second, P_RWU);
        check(44, run(at).eax, 0x00223344u + 4 + (i << 24));
    }
}
