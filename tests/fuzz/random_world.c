/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worlds of random guests. Exceptions and interrupts lead to a handler that goes on at another
 * random place of the code, so that one guest meets many of them:
 *
 *     mov esp, STACK_TOP;  ds = es = SEL_DATA;  counter = counter * 1103515245 + 12345;  STI and
 *     jump, or IRET, to CODE_AT + (counter >> 12)
 */
#include <string.h>

#include "random_guest.h"

const char *const world_names[WORLDS] = {"raw", "real16", "prot32", "paged32", "pae",
                                         "long64", "user32", "user64", "compat32", "vm86"};

unsigned world_bits(enum world world)
{
    switch (world) {
    case WORLD_REAL16:
    case WORLD_VM86:
        return 16;
    case WORLD_LONG64:
    case WORLD_USER64:
        return 64;
    default:
        return 32;
    }
}

static bool is_long(enum world w)
{
    return w == WORLD_LONG64 || w == WORLD_USER64 || w == WORLD_COMPAT32;
}

static bool is_user(enum world w)
{
    return w == WORLD_USER32 || w == WORLD_USER64 || w == WORLD_COMPAT32 || w == WORLD_VM86;
}

static bool put(struct guest_mem *mem, uint64_t at, const void *bytes, size_t n)
{
    return mem_write(mem, gpa_make(at), bytes, n);
}

/* ---- handler ---- */

struct text {
    uint8_t bytes[128];
    unsigned n;
};

static void emit(struct text *t, const void *bytes, unsigned n)
{
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
}
#define EMIT(t, ...) emit(t, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void emit32(struct text *t, uint32_t v)
{
    emit(t, &v, 4);
}

static void emit_push(struct text *t, uint32_t v)
{
    EMIT(t, 0x68);
    emit32(t, v);
}

/* The same encodings serve 32- and 64-bit mode. */
static void emit_handler(struct text *t, enum world w)
{
    EMIT(t, 0xbc), emit32(t, STACK_TOP);
    EMIT(t, 0xb8), emit32(t, SEL_DATA);
    EMIT(t, 0x8e, 0xd8, 0x8e, 0xc0);
    EMIT(t, 0x8b, 0x04, 0x25), emit32(t, COUNTER_AT);
    EMIT(t, 0x69, 0xc0), emit32(t, 1103515245);
    EMIT(t, 0x05), emit32(t, 12345);
    EMIT(t, 0x89, 0x04, 0x25), emit32(t, COUNTER_AT);
    EMIT(t, 0xc1, 0xe8, 12);
    EMIT(t, 0x25), emit32(t, w == WORLD_VM86 ? 0x7fff : CODE_BYTES - 1);
    if (w != WORLD_VM86)
        EMIT(t, 0x05), emit32(t, CODE_AT);
    if (!is_user(w)) {
        EMIT(t, 0xfb, 0xff, 0xe0);
        return;
    }
    if (w == WORLD_VM86) {
        for (unsigned i = 0; i < 4; i++)
            emit_push(t, 0x1000); /* gs fs ds es */
    }
    emit_push(t, w == WORLD_VM86 ? 0x1000 : SEL_USER);
    emit_push(t, w == WORLD_VM86 ? 0xfff0 : STACK_TOP - 0x8000);
    emit_push(t, w == WORLD_VM86 ? 0x23202 : 0x202);
    emit_push(t, w == WORLD_VM86 ? 0x1000 : w == WORLD_USER64 ? SEL_USER64 : SEL_USER32);
    EMIT(t, 0x50);
    if (is_long(w))
        EMIT(t, 0x48);
    EMIT(t, 0xcf);
}

/* Real mode: mov sp; mov ax, cs:[counter]; imul; add; mov cs:[counter], ax; or; sti; jmp ax */
static void emit_real_handler(struct text *t)
{
    EMIT(t, 0xbc, 0xf0, 0x7f, 0x2e, 0xa1, COUNTER_AT & 0xff, COUNTER_AT >> 8);
    EMIT(t, 0x69, 0xc0, 0x6d, 0x4e, 0x05, 0x39, 0x30);
    EMIT(t, 0x2e, 0xa3, COUNTER_AT & 0xff, COUNTER_AT >> 8);
    EMIT(t, 0x80, 0xcc, 0x80); /* or ah, 80h: the code lies at 0:8000h */
    EMIT(t, 0xfb, 0xff, 0xe0);
}

/* ---- tables ---- */

static bool write_gdt(struct guest_mem *mem, struct dice *d, bool wide)
{
    uint64_t gdt[GDT_ENTRIES] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff,
                                 0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff,
                                 0x0000890000000067 | (uint64_t)TSS_AT << 16};

    for (unsigned i = wide ? 9 : 8; i < GDT_ENTRIES; i++) {
        uint64_t v = dice_next(d);
        /* a base and a limit that lead somewhere, any type and level, present */
        if (dice_percent(d, 60))
            v = 0x0040800000000fff | (uint64_t)(dice_address(d) & 0xffffff) << 16 |
                (v & 0x00e0ff0000000000);
        gdt[i] = v;
    }
    return put(mem, GDT_AT, gdt, sizeof gdt);
}

static bool write_idt(struct guest_mem *mem, struct dice *d, bool wide)
{
    for (unsigned v = 0; v < 256; v++) {
        uint64_t gate = (HANDLER_AT & 0xffff) | (wide ? SEL_CODE64 : SEL_CODE32) << 16 |
                        (dice_percent(d, 70) ? UINT64_C(0xee) : UINT64_C(0x8f)) << 40;
        if (dice_percent(d, 3))
            gate = (gate & ~UINT64_C(0x9f0000000000)) | (dice_next(d) & UINT64_C(0x9f0700000000));
        if (wide) {
            uint64_t pair[2] = {gate, 0};
            if (!put(mem, IDT_AT + 16 * v, pair, 16))
                return false;
        } else if (!put(mem, IDT_AT + 8 * v, &gate, 8)) {
            return false;
        }
    }
    return true;
}

static bool write_tss(struct guest_mem *mem, bool wide)
{
    uint32_t tss[26] = {0};

    tss[1] = STACK_TOP;
    if (wide)
        tss[9] = STACK_TOP - 0x1000; /* IST1 */
    else
        tss[2] = SEL_DATA;
    tss[25] = 0x68u << 16;
    return put(mem, TSS_AT, tss, sizeof tss);
}

/* A leaf: mostly good; else random rights, reserved bits, holes and frames. */
static uint64_t leaf(struct dice *d, uint64_t frame, uint64_t bits, bool wide)
{
    uint64_t entry = frame | 0x67 | bits;

    if (frame < CODE_AT) {
        return frame == (HANDLER_AT & ~0xfffu) ? entry & ~UINT64_C(2) : entry;
    }
    if (dice_percent(d, 80))
        return entry;
    entry ^= dice_below(d, 512) & (bits ? ~0x80u : ~0u);
    if (wide && dice_percent(d, 20))
        entry |= UINT64_C(1) << 63;
    if (wide && dice_percent(d, 5))
        entry |= UINT64_C(1) << (30 + dice_below(d, 22));
    if (dice_percent(d, 20))
        entry = (entry & 0xfff) | (dice_address(d) & ~UINT64_C(0xfff));
    return entry;
}

/* 16 MiB mapped one to one by two tables of small pages (or one) and large pages behind. */
static bool write_paging32(struct guest_mem *mem, struct dice *d)
{
    uint32_t dir[1024] = {0}, table[1024];

    dir[0] = (TABLES_AT + 0x1000) | 7;
    for (unsigned i = 1; i < 4; i++)
        dir[i] = (uint32_t)leaf(d, (uint64_t)i << 22, 0x80, false);
    for (unsigned i = 4; i < 1024; i += 1 + dice_below(d, 64))
        dir[i] = dice_percent(d, 50) ? (uint32_t)dice_next(d) : (TABLES_AT + 0x1000) | 7;
    dir[0x3fb] = 0xfec00083;
    for (unsigned i = 0; i < 1024; i++)
        table[i] = (uint32_t)leaf(d, (uint64_t)i << 12, 0, false);
    return put(mem, TABLES_AT, dir, sizeof dir) &&
           put(mem, TABLES_AT + 0x1000, table, sizeof table);
}

static bool write_paging64(struct guest_mem *mem, struct dice *d, bool long_mode)
{
    const uint64_t pdpt_at = TABLES_AT + (long_mode ? 0x1000 : 0), dir_at = TABLES_AT + 0x2000;
    uint64_t top[512] = {0}, pdpt[512] = {0}, dir[512] = {0}, table[512];
    bool ok = true;

    pdpt[0] = dir_at | (long_mode ? 7 : 1);
    for (unsigned i = 1; i < (long_mode ? 512 : 4); i += 1 + dice_below(d, 64))
        pdpt[i] = dice_percent(d, 50) && long_mode ? dice_next(d) : pdpt[0];
    for (unsigned i = 0; i < 512; i += 1 + dice_below(d, 64))
        top[i] = dice_percent(d, 50) ? dice_next(d) : pdpt_at | 7;
    top[0] = pdpt_at | 7;
    for (unsigned i = 0; i < 8; i++)
        dir[i] = i < 2 ? (dir_at + 0x1000 * (i + 1)) | 7 : leaf(d, (uint64_t)i << 21, 0x80, true);
    for (unsigned i = 8; i < 512; i += 1 + dice_below(d, 64))
        dir[i] = dice_percent(d, 50) ? dice_next(d) : (dir_at + 0x1000) | 7;
    for (unsigned t = 0; t < 2; t++) {
        for (unsigned i = 0; i < 512; i++)
            table[i] = leaf(d, (uint64_t)(t * 512 + i) << 12, 0, true);
        ok = ok && put(mem, dir_at + 0x1000 * (t + 1), table, sizeof table);
    }
    if (long_mode)
        ok = ok && put(mem, TABLES_AT, top, sizeof top);
    return ok && put(mem, pdpt_at, pdpt, sizeof pdpt) && put(mem, dir_at, dir, sizeof dir);
}

/* ---- state ---- */

static struct x86_segment flat(uint16_t selector, uint32_t attr)
{
    return (struct x86_segment){.limit = UINT32_MAX, .attr = attr, .selector = selector};
}

static void enter_real(struct x86_state *s)
{
    for (unsigned i = 0; i < SEG_COUNT; i++)
        s->seg[i] = (struct x86_segment){.limit = 0xffff, .attr = 0x93};
    s->seg[SEG_CS].attr = 0x9b;
    s->cr0 = CR0_ET;
    s->idtr = (struct x86_table){.limit = 0x3ff};
    s->gdtr = (struct x86_table){.base = GDT_AT, .limit = GDT_ENTRIES * 8 - 1};
    s->rip = 0x8000;
    s->gpr[RSP] = 0x7ff0;
}

static void enter_segments(struct x86_state *s, enum world w)
{
    bool user = is_user(w);
    uint32_t dpl = user ? 3u << SEG_ATTR_DPL_SHIFT : 0;
    uint32_t code = w == WORLD_LONG64 || w == WORLD_USER64 ? 0xa09b : 0xc09b;
    uint16_t cs = w == WORLD_LONG64   ? SEL_CODE64
                  : w == WORLD_USER64 ? SEL_USER64
                  : user              ? SEL_USER32
                                      : SEL_CODE32;

    for (unsigned i = 0; i < SEG_COUNT; i++)
        s->seg[i] = flat(user ? SEL_USER : SEL_DATA, 0xc093 | dpl);
    s->seg[SEG_CS] = flat(cs, code | dpl);
    if (w == WORLD_VM86) {
        for (unsigned i = 0; i < SEG_COUNT; i++)
            s->seg[i] = (struct x86_segment){
                .base = 0x10000, .limit = 0xffff, .attr = 0xf3, .selector = 0x1000};
        s->rflags |= RFLAGS_VM | RFLAGS_IOPL;
        s->rip = 0;
    }
    s->gdtr = (struct x86_table){.base = GDT_AT, .limit = GDT_ENTRIES * 8 - 1};
    s->idtr = (struct x86_table){.base = IDT_AT, .limit = is_long(w) ? 4095 : 2047};
    s->tr = (struct x86_segment){.base = TSS_AT, .limit = 0x67, .attr = 0x8b, .selector = SEL_TSS};
}

static bool enter_paging(enum world w, struct dice *d, struct guest_mem *mem, struct x86_state *s)
{
    s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_MP | (dice_percent(d, 80) ? CR0_WP : 0);
    s->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_PSE |
             (dice_next(d) & (CR4_PGE | CR4_DE | CR4_MCE | CR4_VME));
    if (w == WORLD_PROT32)
        return true;
    s->cr0 |= CR0_PG;
    s->cr3 = TABLES_AT;
    if (w == WORLD_PAGED32 || w == WORLD_USER32 || w == WORLD_VM86)
        return write_paging32(mem, d);
    s->cr4 |= CR4_PAE | (dice_next(d) & (CR4_OSXSAVE | CR4_FSGSBASE));
    s->efer = EFER_NXE | EFER_SCE;
    if (is_long(w)) {
        s->cr4 |= dice_next(d) & CR4_PCIDE;
        s->efer |= EFER_LME | EFER_LMA;
    }
    if (!write_paging64(mem, d, is_long(w)))
        return false;
    return is_long(w) || mem_read(mem, gpa_make(TABLES_AT), s->pdpte, sizeof s->pdpte);
}

/* VM86 and real mode see the first 32 KiB of the code at a place they can reach. */
static bool copy_low(struct guest_mem *mem, uint64_t to)
{
    uint8_t code[0x8000];

    return mem_read(mem, gpa_make(CODE_AT), code, sizeof code) && put(mem, to, code, sizeof code);
}

bool world_enter(enum world w, struct dice *d, struct guest_mem *mem, struct x86_state *s)
{
    struct text handler = {.n = 0};
    uint32_t counter = (uint32_t)dice_next(d);

    if (w == WORLD_RAW)
        return true;
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = dice_percent(d, 70) ? dice_address(d) : dice_next(d);
    s->gpr[RSP] = STACK_TOP;
    if (w == WORLD_REAL16) {
        enter_real(s);
        emit_real_handler(&handler);
        for (unsigned v = 0; v < 256; v++) {
            uint32_t vector = dice_percent(d, 95) ? HANDLER_AT : (uint32_t)dice_next(d);
            if (!put(mem, 4 * v, &vector, 4))
                return false;
        }
        return put(mem, COUNTER_AT, &counter, 4) &&
               put(mem, HANDLER_AT, handler.bytes, handler.n) && copy_low(mem, 0x8000) &&
               write_gdt(mem, d, false);
    }
    enter_segments(s, w);
    emit_handler(&handler, w);
    return enter_paging(w, d, mem, s) && put(mem, COUNTER_AT, &counter, 4) &&
           put(mem, HANDLER_AT, handler.bytes, handler.n) && write_gdt(mem, d, is_long(w)) &&
           write_idt(mem, d, is_long(w)) && write_tss(mem, is_long(w)) &&
           (w != WORLD_VM86 || copy_low(mem, 0x10000));
}
