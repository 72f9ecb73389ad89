/* SPDX-License-Identifier: Apache-2.0 */
/* The cases of a seed: instructions as gen.c makes them, others by hand, changes of the tables. */
#include <string.h>

#include "dice.h"
#include "direct.h"

#define FLAGS_RANDOM 0x244cd5u /* with AC, NT and ID */
#define MXCSR_MASKS  0x1f80u

struct maker {
    struct program *p;
    struct dice d;
    uint8_t *at; /* where the code of the present case goes on */
    unsigned n;
};

static uint64_t va_of(const struct maker *m, const uint8_t *at)
{
    return CODE_BASE + (uint64_t)(at - m->p->code);
}

static void bytes(struct maker *m, const void *from, unsigned n)
{
    memcpy(m->at, from, n);
    m->at += n;
}

/* Whether the kernel stops it wherever it goes: no loop. */
static bool is_harmless_branch(const struct test_case *t)
{
    return t->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE ||
           t->op[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE || t->op[0].imm.value.s > 0;
}

/* Which answers are the CPU's choice, and what writes memory bit by bit. */
static bool is_choice(const struct test_case *t)
{
    unsigned operands = 0;

    for (unsigned i = 0; i < t->insn.operand_count; i++)
        operands += t->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY;
    return operands > 1 || t->insn.mnemonic == ZYDIS_MNEMONIC_ENTER;
}

/* Flags that the manual leaves undefined, as the interpreter's need not be the host's. */
static uint64_t undefined_flags(const struct test_case *t)
{
    uint64_t flags = t->insn.cpu_flags ? t->insn.cpu_flags->undefined : 0;

    if ((t->insn.mnemonic == ZYDIS_MNEMONIC_SHL || t->insn.mnemonic == ZYDIS_MNEMONIC_SHR) &&
        t->insn.operand_width < 32)
        flags |= 1;
    return flags;
}

static bool find_case(struct maker *m, struct test_case *t)
{
    for (unsigned tries = 0; tries < 1000; tries++)
        if (gen_case(t, dice_next(&m->d)) && !t->code32 && !is_choice(t) && is_harmless_branch(t))
            return true;
    return false;
}

/* Its operand relative to RIP is where it was meant to be. */
static void move_case(struct test_case *t, uint64_t to)
{
    for (unsigned i = 0; i < t->insn.operand_count_visible; i++)
        if (t->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (t->op[i].mem.base == ZYDIS_REGISTER_RIP || t->op[i].mem.base == ZYDIS_REGISTER_EIP)) {
            int32_t disp;

            memcpy(&disp, t->bytes + t->insn.raw.disp.offset, sizeof disp);
            disp += (int32_t)(t->start.rip - to);
            memcpy(t->bytes + t->insn.raw.disp.offset, &disp, sizeof disp);
        }
}

static void random_insn(struct maker *m)
{
    struct record *r = &m->p->record[m->n];
    struct test_case t;

    if (!find_case(m, &t))
        return;
    move_case(&t, va_of(m, m->at));
    memcpy(r->in.gpr, t.start.gpr, sizeof r->in.gpr);
    memcpy(r->in.fx, t.start.fx, sizeof r->in.fx);
    r->in.rflags = t.start.rflags;
    if (t.poke_at < RW_BYTES - sizeof t.poke) {
        r->in.poke_at = world_kernel(DATA_GPA + t.poke_at);
        memcpy(r->in.poke, t.poke, sizeof r->in.poke);
    }
    bytes(m, t.bytes, t.length);
    m->p->undefined_flags[m->n] |= undefined_flags(&t);
    if (t.insn.mnemonic == ZYDIS_MNEMONIC_BSF || t.insn.mnemonic == ZYDIS_MNEMONIC_BSR)
        m->p->no_gpr[m->n][ZydisRegisterGetId(t.op[0].reg.value) & 15] = true;
}

static void own_flags(struct maker *m)
{
    uint32_t flags = 0x202 | ((uint32_t)dice_next(&m->d) & FLAGS_RANDOM);

    flags |= dice_percent(&m->d, 30) ? 0x100 : 0;
    bytes(m, "\x68", 1); /* push imm; popf */
    bytes(m, &flags, 4);
    bytes(m, "\x9d", 1);
}

struct piece {
    uint8_t length, code[15];
};

/* What the stub must stop at, or does itself. */
static void special(struct maker *m)
{
    static const struct piece all[] = {
        {2, {0x0f, 0x05}},                               /* syscall */
        {3, {0x48, 0x0f, 0x05}},                         /* with a prefix */
        {1, {0xcc}},                                     /* int3 */
        {2, {0xcd, 0x03}},                               /* int 3 */
        {2, {0xcd, 0x04}},                               /* int 4 */
        {2, {0xcd, 0x80}},                               /* int 80h: beyond the table */
        {1, {0xf1}},                                     /* int1 */
        {2, {0x0f, 0xa2}},                               /* cpuid */
        {3, {0x0f, 0x01, 0xe0}},                         /* smsw eax */
        {3, {0x0f, 0x00, 0xc8}},                         /* str eax */
        {3, {0x0f, 0x02, 0xc1}},                         /* lar eax, ecx */
        {2, {0x8e, 0xd8}},                               /* mov ds, ax */
        {2, {0x0f, 0x34}},                               /* sysenter */
        {5, {0xf3, 0x48, 0x0f, 0xae, 0xd0}},             /* wrfsbase rax */
        {5, {0xf3, 0x48, 0x0f, 0xae, 0xd8}},             /* wrgsbase rax */
        {5, {0xf3, 0x48, 0x0f, 0xae, 0xc1}},             /* rdfsbase rcx */
        {5, {0xf3, 0x48, 0x0f, 0xae, 0xca}},             /* rdgsbase rdx */
        {2, {0x9c, 0x58}},                               /* pushf; pop rax */
        {4, {0xeb, 0x01, 0x90, 0x90}},                   /* jmp over a byte */
        {2, {0xff, 0xe0}},                               /* jmp rax */
        {2, {0xff, 0xd1}},                               /* call rcx */
        {1, {0xc3}},                                     /* ret */
        {2, {0x0f, 0x0b}},                               /* ud2 */
        {1, {0xf4}},                                     /* hlt */
        {1, {0xfa}},                                     /* cli */
        {3, {0x0f, 0x20, 0xd8}},                         /* mov rax, cr3 */
        {3, {0x0f, 0x22, 0xd8}},                         /* mov cr3, rax */
        {2, {0x48, 0xcf}},                               /* iretq */
        {2, {0x48, 0xcb}},                               /* lretq */
        {2, {0xe4, 0x60}},                               /* in al, 60h */
        {8, {0x0f, 0xae, 0x14, 0x25, 0x10, 0, 0, 0x20}}, /* ldmxcsr */
        {8, {0x0f, 0xae, 0x1c, 0x25, 0x20, 0, 0, 0x20}}, /* stmxcsr */
    };
    const struct piece *piece = &all[dice_below(&m->d, sizeof all / sizeof *all)];

    bytes(m, piece->code, piece->length);
}

/* A page of the code or of the data moves to its other frame, loses rights, comes back. */
static void change_tables(struct maker *m, struct record *r)
{
    bool code = dice_percent(&m->d, 30);
    unsigned page = dice_below(&m->d, code ? CODE_PAGES : DATA_PAGES);
    uint64_t gpa = (code ? CODE_GPA : DATA_GPA) + 4096 * page, flags = 0x67;

    if (code && dice_percent(&m->d, 50)) /* that which runs next */
        page = m->n * CASE_BYTES / 4096;
    switch (dice_below(&m->d, 8)) {
    case 0:
        flags = 0x66; /* not there */
        break;
    case 1:
        flags = 0x65; /* not written */
        break;
    case 2:
        flags = 0x63; /* the kernel's */
        break;
    case 3:
        flags |= UINT64_C(1) << 63; /* not executed */
        break;
    case 4:
        gpa = (code ? OTHER_CODE : OTHER_DATA) + 4096 * page;
        break;
    case 5:
        flags = 0x07; /* neither used nor written yet */
        break;
    default:
        break;
    }
    if (code)
        gpa = (gpa < OTHER_CODE ? CODE_GPA : OTHER_CODE) + 4096 * page;
    r->in.page = (code ? CODE_BASE : DATA_BASE) + 4096 * page;
    r->in.pte = world_pte(r->in.page);
    r->in.pte_value = gpa | flags;
    r->in.whole = dice_percent(&m->d, 30);
}

/* The kernel writes code by its own address: the same as it was, or INT3. */
static void change_code(struct maker *m, struct record *r)
{
    unsigned n = dice_percent(&m->d, 50) ? m->n : dice_below(&m->d, CASES);
    uint64_t at = n * CASE_BYTES + 64;

    memcpy(&r->in.code_value, m->p->code + at, 8);
    if (dice_percent(&m->d, 50))
        memset(&r->in.code_value, 0xcc, 1 + dice_below(&m->d, 7));
    r->in.code_at = world_kernel(CODE_GPA + at);
}

static void make_case(struct maker *m)
{
    struct record *r = &m->p->record[m->n];
    uint8_t *start = m->p->code + m->n * CASE_BYTES + 64;
    bool is_last = (m->n + 1) * CASE_BYTES % 4096 == 0;
    unsigned parts = 1 + (dice_percent(&m->d, 40) ? dice_below(&m->d, 3) : 0);

    if (is_last && dice_percent(&m->d, 60)) /* into the next page */
        start = m->p->code + (m->n + 1) * CASE_BYTES - 1 - dice_below(&m->d, 8);
    m->at = start;
    random_insn(m);
    if (dice_percent(&m->d, 50)) { /* by itself, or others before it */
        m->at = start;
        for (unsigned i = 0; i < parts; i++)
            if (dice_percent(&m->d, 40))
                own_flags(m);
            else
                special(m);
        m->p->undefined_flags[m->n] = 0;
        memset(m->p->no_gpr[m->n], 0, sizeof m->p->no_gpr[m->n]);
        if (dice_percent(&m->d, 50))
            random_insn(m);
    }
    r->in.rip = va_of(m, start);
    if (dice_percent(&m->d, 85))
        memcpy(r->in.fx + 24, &(uint32_t){MXCSR_MASKS}, 4);
    if (dice_percent(&m->d, 30))
        change_tables(m, r);
    if (dice_percent(&m->d, 8))
        change_code(m, r);
    if (dice_percent(&m->d, 3))
        r->in.cr4 = world_cr4() ^ (dice_percent(&m->d, 50) ? 0x10000 : 0);
}

void program_make(struct program *p, uint64_t seed)
{
    struct maker m = {.p = p, .d = {seed}};

    memset(p, 0, sizeof *p);
    memset(p->code, 0xcc, sizeof p->code);
    for (m.n = 0; m.n < CASES; m.n++)
        make_case(&m);
}
