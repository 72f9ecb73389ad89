/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IRETQ from level 0 to 64-bit code of level 3 or 0. What the two selectors of a frame mean is
 * learnt from the handler (interp/iret.c): native code does the same again while the descriptors
 * that are in the guest's table now are byte for byte those of that time. All is found and asked
 * before anything is changed; a frame in two pages, a descriptor or a target that the window does
 * not know, and flags, segments and events that are not the usual ones are the handler's.
 *
 * It has r10, r11 and rax to work with; rax comes back on each way.
 */
#include "cpu/interp/mem.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/system.h"
#include "cpu/translate/compile.h"

#define PUT(...) EMIT(&k->e, __VA_ARGS__)

/* The image on the stack. */
enum {
    FRAME_RIP = 0,
    FRAME_CS = 8,
    FRAME_FLAGS = 16,
    FRAME_RSP = 24,
    FRAME_SS = 32,
    FRAME_BYTES = 40
};

/* RF is dropped: where there are breakpoints nothing is native. */
#define FLAGS_TAKEN   (RFLAGS_ARITH | RFLAGS_DF | RFLAGS_IF | RFLAGS_IOPL | RFLAGS_ID)
#define FLAGS_REFUSED (RFLAGS_TF | RFLAGS_NT | RFLAGS_AC | RFLAGS_VIF | RFLAGS_VIP)

/* Conditions of jumps. */
enum { IF_NOT_BELOW = 3, IF_ZERO = 4, IF_NOT_ZERO = 5 };

#define NO_KEY UINT64_MAX

/* --- what the handler did --- */

void iret_ways_forget(struct translate *t)
{
    for (unsigned n = 0; n < IRET_WAYS; n++)
        t->iret[n].key = NO_KEY;
}

/* A descriptor's bytes if they are in the way's page and make this segment. */
static bool learn_descriptor(const struct window_entry *e, const struct iret_way *way,
                             const struct x86_segment *s, uint64_t *at, uint64_t *raw)
{
    unsigned offset = s->selector & 0xfff8u;
    struct x86_segment made;

    *at = way->gdt_base + offset - way->page;
    if ((s->selector & SELECTOR_TI) || offset + 7 > way->gdt_limit || *at > PAGE_SIZE - 8)
        return false;
    memcpy(raw, (const char *)(uintptr_t)e->host + *at, sizeof *raw);
    made = desc_to_segment(*raw, s->selector);
    return made.base == s->base && made.limit == s->limit && made.attr == s->attr;
}

/* window: of the level that the handler came from. A null SS has no descriptor but that of CS. */
static void learn(struct translate *t, unsigned window)
{
    const struct x86_state *s = &t->c.s;
    const struct x86_segment *cs = &s->seg[SEG_CS], *ss = &s->seg[SEG_SS];
    bool is_null = selector_is_null(ss->selector);
    struct iret_way way = {.key = cs->selector | (uint32_t)ss->selector << 16,
                           .gdt_base = s->gdtr.base,
                           .gdt_limit = s->gdtr.limit,
                           .cs = *cs,
                           .ss = *ss};
    const struct window_entry *e;

    way.page = (way.gdt_base + (cs->selector & 0xfff8u)) & PAGE_MASK;
    way.entry = tlb_index(way.page, 0) << WINDOW_ENTRY_SHIFT;
    e = &t->windows.window[window].entry[way.entry >> WINDOW_ENTRY_SHIFT];
    if (e->read_tag != way.page || (t->c.cpl != 0 && t->c.cpl != 3) ||
        !learn_descriptor(e, &way, cs, &way.cs_at, &way.cs_raw) ||
        !learn_descriptor(e, &way, is_null ? cs : ss, &way.ss_at, &way.ss_raw))
        return;
    t->iret[t->c.cpl ? IRET_TO_USER : is_null ? IRET_TO_KERNEL_NULL : IRET_TO_KERNEL] = way;
}

/* Native code has left this IRET; the windows learn what the TLB knows. */
const struct uop *op_iret(struct interp *c, const struct uop *u)
{
    struct translate *t = translate_of(c);
    unsigned window = t->windows.current;
    bool may_learn = c->cpl == 0 && !(c->s.rflags & RFLAGS_AC);
    const struct uop *next;

    if (may_learn) {
        windows_learn(&t->windows, c, c->gpr[RSP]);
        windows_learn(&t->windows, c, c->s.gdtr.base);
    }
    next = sys_iret(c, u);
    if (may_learn && c->mode == CODE_64)
        learn(t, window);
    return next;
}

/* --- the same in native code --- */

#define REFUSALS 48u

struct iret {
    struct compile *k;
    uint8_t *refused[REFUSALS];
    unsigned refusals;
};

static void refuse_at(struct iret *i, uint8_t *place)
{
    invariant(i->refusals < REFUSALS);
    i->refused[i->refusals++] = place;
}

static void refuse_if(struct iret *i, unsigned condition)
{
    refuse_at(i, emit_jcc(&i->k->e, condition));
}

static void refuse_unless_clear(struct iret *i, uint32_t byte)
{
    put_abs(i->k, 0x80, 7, byte); /* cmp byte, 0 */
    emit_u8(&i->k->e, 0);
    refuse_if(i, IF_NOT_ZERO);
}

/* rax, against what is at an address. */
static void refuse_unless_same(struct iret *i, uint32_t address)
{
    emit_on(&i->k->e, 0x3b, X_RAX, address);
    refuse_if(i, IF_NOT_ZERO);
}

/* What is so far behind where a register points to; of 64 bits. */
static struct x_form behind(unsigned base, int32_t at, unsigned op, unsigned reg)
{
    return (struct x_form){.op = (uint8_t)op,
                           .w = true,
                           .reg = (uint8_t)reg,
                           .rm = XRM_MEM,
                           .base = (uint8_t)base,
                           .index = X_NONE,
                           .disp = at};
}

static void put_form(struct compile *k, struct x_form f)
{
    emit_form(&k->e, &f);
}

static void put_form32(struct compile *k, struct x_form f)
{
    f.w = false;
    emit_form(&k->e, &f);
}

/* Its lowest 16 bits, zeros above. */
static void put_load_word(struct compile *k, struct x_form f)
{
    f.map = 1; /* movzx */
    f.op = 0xb7;
    put_form32(k, f);
}

/* Level 0, nothing that is taken behind it, a frame in a page that is known: r10 is where. */
static void put_questions(struct iret *i)
{
    struct compile *k = i->k;

    refuse_unless_clear(i, ABS(k->t->c.cpl));
    put_abs(k, 0xf7, 0, ABS(k->t->c.s.rflags)); /* test dword */
    emit_u32(&k->e, RFLAGS_NT | RFLAGS_AC);
    refuse_if(i, IF_NOT_ZERO);
    refuse_unless_clear(i, ABS(k->t->c.s.nmi_blocked));
    refuse_unless_clear(i, ABS(k->t->c.irq_line));
    refuse_at(i, put_poll(k));
    emit_move(&k->e, HOST_T0, HOST_SP);
    refuse_at(i, put_lookup(k, FRAME_BYTES, false));
    put_host(k);
}

/* Level 0 may read both descriptors, and they are as they were. r10 stays. */
static void put_descriptors(struct iret *i, const struct iret_way *way)
{
    struct compile *k = i->k;
    struct x_form raw = behind(HOST_T1, 0, 0x8b, X_RAX);

    raw.index = X_RAX;
    emit_load(&k->e, X_RAX, ABS(k->t->c.s.gdtr.base));
    refuse_unless_same(i, ABS(way->gdt_base));
    put_load_word(k, (struct x_form){
                         .reg = X_RAX, .rm = XRM_ABS, .disp = (int32_t)ABS(k->t->c.s.gdtr.limit)});
    put_abs(k, 0x3b, X_RAX, ABS(way->gdt_limit)); /* cmp */
    refuse_if(i, IF_NOT_ZERO);
    emit_load(&k->e, HOST_T1, ABS(way->entry));
    emit_load(&k->e, X_RAX, ABS(way->page));
    put_form(k, in_window(0x3b, X_RAX, offsetof(struct window_entry, read_tag)));
    refuse_if(i, IF_NOT_ZERO);
    put_form(k, in_window(0x8b, HOST_T1, offsetof(struct window_entry, host)));
    emit_load(&k->e, X_RAX, ABS(way->cs_at));
    put_form(k, raw);
    refuse_unless_same(i, ABS(way->cs_raw));
    emit_load(&k->e, X_RAX, ABS(way->ss_at));
    put_form(k, raw);
    refuse_unless_same(i, ABS(way->ss_raw));
}

/* None of the data segments becomes null at level 3: all are so, or all are for that level. */
static void put_data_segments(struct iret *i)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    struct compile *k = i->k;
    uint8_t *none;

    for (unsigned n = 0; n < sizeof data; n++) /* mov, and */
        put_abs(k, n ? 0x23 : 0x8b, X_RAX, ABS(k->t->c.s.seg[data[n]].attr));
    PUT(0xa9); /* test eax, imm */
    emit_u32(&k->e, SEG_ATTR_UNUSABLE);
    none = emit_jcc(&k->e, IF_NOT_ZERO);
    PUT(0x25); /* and eax, imm */
    emit_u32(&k->e, SEG_ATTR_DPL);
    PUT(0x3d); /* cmp eax, imm */
    emit_u32(&k->e, SEG_ATTR_DPL);
    refuse_if(i, IF_NOT_ZERO);
    emit_patch(none, k->e.at);
}

/*
 * The native code at the frame's RIP, which is canonical if it has some. rax: the frame, r10: RIP,
 * from here on.
 */
static void put_target(struct iret *i, bool to_user)
{
    struct compile *k = i->k;

    emit_move(&k->e, X_RAX, HOST_T0);
    put_form(k, behind(X_RAX, FRAME_RIP, 0x8b, HOST_T0));
    put_jump_entry(k, to_user ? ABS(k->t->near[NEAR_USER].base) : ABS(k->t->window_base));
    put_form(k, behind(HOST_T1, (int32_t)JUMP_OFFSET(lin), 0x3b, HOST_T0));
    refuse_if(i, IF_NOT_ZERO);
    put_form(k, behind(HOST_T1, (int32_t)JUMP_OFFSET(code), 0x8b, HOST_T1));
    emit_store(&k->e, HOST_T1, ABS(k->t->target));
}

static void put_copy(struct compile *k, const struct x86_segment *to,
                     const struct x86_segment *from)
{
    for (uint32_t at = 0; at < sizeof *to; at += 8) {
        emit_load(&k->e, HOST_T0, ABS(*from) + at);
        emit_store(&k->e, HOST_T0, ABS(*to) + at);
    }
}

_Static_assert(sizeof(struct x86_segment) % 8 == 0, "copied by words");

/* All is certain: rax, r10 as put_target leaves them. */
static void put_changes(struct compile *k, const struct uop *u, const struct iret_way *way,
                        bool to_user)
{
    put_form(k, behind(X_RAX, FRAME_RSP, 0x8b, HOST_SP));
    put_form32(k, behind(X_RAX, FRAME_FLAGS, 0x8b, HOST_T1));
    emit_move(&k->e, X_RAX, HOST_T0);
    PUT(0x41, 0x81, 0xe3); /* and r11d, imm */
    emit_u32(&k->e, FLAGS_TAKEN);
    put_set_flags(k);
    put_copy(k, &k->t->c.s.seg[SEG_CS], &way->cs);
    put_copy(k, &k->t->c.s.seg[SEG_SS], &way->ss);
    if (to_user)
        put_enter_level(k, 3);
    emit_move(&k->e, HOST_T0, X_RAX);
    emit_load(&k->e, X_RAX, ABS(k->t->iret_rax));
    put_go_to_target(k, u);
}

/* r10: the frame. */
static void put_way(struct iret *i, const struct uop *u, const struct iret_way *way, bool to_user)
{
    struct compile *k = i->k;

    put_form32(k, behind(HOST_T0, FRAME_FLAGS, 0xf7, 0)); /* test dword */
    emit_u32(&k->e, FLAGS_REFUSED);
    refuse_if(i, IF_NOT_ZERO);
    put_descriptors(i, way);
    if (to_user) {
        put_abs(k, 0x80, 7, ABS(k->t->near[NEAR_USER].is_known)); /* cmp byte, 0 */
        emit_u8(&k->e, 0);
        refuse_if(i, IF_ZERO);
        put_data_segments(i);
    }
    put_target(i, to_user);
    put_changes(k, u, way, to_user);
}

static void put_refused(struct iret *i, const struct uop *copy)
{
    struct compile *k = i->k;
    bool was_cold = go_cold(k);

    for (unsigned n = 0; n < i->refusals; n++)
        emit_patch(i->refused[n], k->e.at);
    emit_load(&k->e, X_RAX, ABS(k->t->iret_rax));
    put_leave(k, copy, k->flags);
    go_back(k, was_cold);
}

bool put_iret(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n), *copy;
    struct uop asked = *u;
    struct iret i = {.k = k};

    if (k->i[n].mnemonic != ZYDIS_MNEMONIC_IRETQ || k->word != 8)
        return false;
    asked.fn = op_iret;
    copy = leaving_copy(k, &asked);
    if (!copy)
        return true;
    flags_away(k);
    emit_store(&k->e, X_RAX, ABS(k->t->iret_rax));
    put_questions(&i);
    put_load_word(k, behind(HOST_T0, FRAME_SS, 0, X_RAX));
    put_load_word(k, behind(HOST_T0, FRAME_CS, 0, HOST_T1));
    PUT(0xc1, 0xe0, 16);   /* shl eax, 16 */
    PUT(0x44, 0x09, 0xd8); /* or eax, r11d */
    for (unsigned w = 0; w < IRET_WAYS; w++) {
        uint8_t *other;

        emit_on(&k->e, 0x3b, X_RAX, ABS(k->t->iret[w].key)); /* cmp */
        other = emit_jcc(&k->e, IF_NOT_ZERO);
        put_way(&i, u, &k->t->iret[w], w == IRET_TO_USER);
        emit_patch(other, k->e.at);
    }
    refuse_at(&i, emit_jump(&k->e));
    put_refused(&i, copy);
    return true;
}
