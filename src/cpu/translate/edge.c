/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses across two pages that the window both has. Their bytes go through a buffer, which has
 * the end of the one page and the beginning of the other side by side:
 *
 *   a page      ........aaaa│            [r10 + r11]
 *   the next                │bbbb......      ▼
 *   buffer              aaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbb
 *
 * What reads goes on at its own access then, which finds its operand there. A store is written once
 * more, behind the check that failed, and what it stored is copied out: its own bytes, no others.
 * Locked and other accesses that read and write are their handlers'.
 */
#include "cpu/translate/compile.h"

#define HALF EDGE_BYTES

static bool is_store(const struct compile *k, unsigned n, const ZydisDecodedOperand *mem)
{
    struct insn_flags f = insn_flags(&k->i[n], k->op[n]);

    return mem->actions == ZYDIS_OPERAND_ACTION_WRITE && !k->i[n].raw.imm[0].size && !f.reads &&
           !f.touches;
}

void edge_note(struct compile *k, unsigned n, unsigned slow)
{
    const ZydisDecodedOperand *mem = memory_operand(k, n);
    struct slow_way *s = &k->slow[slow];
    bool store = is_store(k, n, mem);

    if (slow >= k->slow_count || !s->looked_up || mem->size <= 8 || mem->size > 8 * HALF ||
        vector_is_aligned(k, n) || (!store && mem->actions != ZYDIS_OPERAND_ACTION_READ))
        return;
    s->access = k->e.at;
    s->stored = store ? mem->size / 8u : 0;
}

void put_edge_way(struct compile *k, const struct slow_way *s)
{
    uint8_t *refused;

    if (!s->access)
        return;
    if (!s->stored) {
        emit_patch(emit_call(&k->e), code_rw(&k->t->code, k->t->edge_read));
        emit_patch(emit_jcc(&k->e, 4), s->access);
        return;
    }
    emit_patch(emit_call(&k->e), code_rw(&k->t->code, k->t->edge_write));
    refused = emit_jcc(&k->e, 5);
    emit_bytes(&k->e, s->access, (unsigned)(s->resume - s->access));
    emit_imm32(&k->e, HOST_T1, s->stored);
    emit_patch(emit_call(&k->e), code_rw(&k->t->code, k->t->edge_stored));
    emit_patch(emit_jump(&k->e), s->resume);
    emit_patch(refused, k->e.at);
}

/* --- routines --- */

/* op reg, [base + disp] */
static void put_memory(struct emit *e, unsigned op, unsigned reg, unsigned base, int32_t disp)
{
    emit_form(e, &(struct x_form){.op = (uint8_t)op,
                                  .w = true,
                                  .reg = (uint8_t)reg,
                                  .rm = XRM_MEM,
                                  .base = (uint8_t)base,
                                  .index = X_NONE,
                                  .disp = disp});
}

static void put_field(struct emit *e, unsigned op, unsigned reg, size_t field)
{
    const struct x_form f = in_window(op, reg, field);

    emit_form(e, &f);
}

/*
 * After put_lookup with the tag at that offset of an entry: r10 an offset in the page if that hits,
 * r11 the entry. Equal: r10 + r11 is where the operand lies in the buffer; RFLAGS are lost.
 * Reading fills it; writing keeps where it goes.
 */
static const uint8_t *put_begin(struct emit *e, struct translate *t, size_t tag)
{
    static const uint8_t rorx_t1_rax_7[] = {0xc4, 0x63, 0xfb, 0xf0, 0xd8, 0x07};
    const uint8_t *at = code_rx(&t->code, e->at);
    uint8_t *miss, *next_miss;

    EMIT(e, 0x49, 0x81, 0xfa); /* cmp r10, page */
    emit_u32(e, PAGE_SIZE);
    miss = emit_jcc(e, 3);          /* above or equal */
    EMIT(e, 0x50, 0x51);            /* push rax, rcx */
    put_field(e, 0x8b, X_RAX, tag); /* mov */
    put_field(e, 0x8b, X_RCX, offsetof(struct window_entry, host));
    EMIT(e, 0x48, 0x05); /* add rax, page */
    emit_u32(e, PAGE_SIZE);
    emit_bytes(e, rorx_t1_rax_7, sizeof rorx_t1_rax_7);
    EMIT(e, 0x41, 0x81, 0xe3); /* and r11d, mask */
    emit_u32(e, ENTRY_MASK);
    put_field(e, 0x3b, X_RAX, tag); /* cmp */
    next_miss = emit_jcc(e, 5);
    put_field(e, 0x8b, X_R11, offsetof(struct window_entry, host));
    if (tag == offsetof(struct window_entry, read_tag)) {
        for (int n = 0; n < 4; n++) {
            put_memory(e, 0x8b, X_RAX, n < 2 ? X_RCX : X_R11,
                       8 * (n % 2) + (n < 2 ? (int32_t)PAGE_SIZE - (int32_t)HALF : 0));
            emit_store(e, X_RAX, ABS(t->edge.bytes[8 * n]));
        }
    } else {
        emit_store(e, X_R10, ABS(t->edge.at));
        emit_store(e, X_RCX, ABS(t->edge.page[0]));
        emit_store(e, X_R11, ABS(t->edge.page[1]));
    }
    emit_lea(e, X_R10, X_R10, (int32_t)ABS(t->edge.bytes[0]) - (int32_t)(PAGE_SIZE - HALF));
    EMIT(e, 0x45, 0x31, 0xdb); /* xor r11d, r11d */
    EMIT(e, 0x59, 0x58, 0xc3); /* pop rcx, rax; ret */
    emit_patch(next_miss, e->at);
    EMIT(e, 0x59, 0x58);
    emit_patch(miss, e->at);
    EMIT(e, 0x41, 0x83, 0xcb, 0x01, 0xc3); /* or r11d, 1; ret */
    return at;
}

/* r11: bytes that were stored into the buffer. r10, r11 and RFLAGS are lost. */
static const uint8_t *put_stored(struct emit *e, struct translate *t)
{
    const uint8_t *at = code_rx(&t->code, e->at);

    EMIT(e, 0x51, 0x56, 0x57); /* push rcx, rsi, rdi */
    emit_load(e, X_R10, ABS(t->edge.at));
    emit_lea(e, X_RSI, X_R10, (int32_t)ABS(t->edge.bytes[0]) - (int32_t)(PAGE_SIZE - HALF));
    emit_imm32(e, X_RCX, (uint32_t)PAGE_SIZE);
    EMIT(e, 0x44, 0x29, 0xd1); /* sub ecx, r10d */
    EMIT(e, 0x41, 0x29, 0xcb); /* sub r11d, ecx */
    emit_load(e, X_RDI, ABS(t->edge.page[0]));
    EMIT(e, 0x4c, 0x01, 0xd7); /* add rdi, r10 */
    EMIT(e, 0xf3, 0xa4);       /* rep movsb */
    emit_load(e, X_RDI, ABS(t->edge.page[1]));
    EMIT(e, 0x44, 0x89, 0xd9); /* mov ecx, r11d */
    EMIT(e, 0xf3, 0xa4);       /* rep movsb */
    EMIT(e, 0x5f, 0x5e, 0x59, 0xc3);
    return at;
}

void edges_write_routines(struct emit *e, struct translate *t)
{
    t->edge_read = put_begin(e, t, offsetof(struct window_entry, read_tag));
    t->edge_write = put_begin(e, t, offsetof(struct window_entry, write_tag));
    t->edge_stored = put_stored(e, t);
}
