/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/emit.h"

#include <string.h>

void emit_bytes(struct emit *e, const void *bytes, unsigned count)
{
    if ((uint64_t)(e->end - e->at) < count) {
        e->full = true;
        return;
    }
    memcpy(e->at, bytes, count);
    e->at += count;
}

void emit_u8(struct emit *e, unsigned v)
{
    const uint8_t b = (uint8_t)v;

    emit_bytes(e, &b, 1);
}

void emit_u32(struct emit *e, uint32_t v)
{
    emit_bytes(e, &v, sizeof v);
}

void emit_u64(struct emit *e, uint64_t v)
{
    emit_bytes(e, &v, sizeof v);
}

static unsigned extension(unsigned reg)
{
    return reg != X_NONE && reg >= 8;
}

static void emit_modrm_memory(struct emit *e, const struct x_form *f)
{
    unsigned reg = (f->reg & 7u) << 3;
    bool needs_sib = f->index != X_NONE || f->base == X_NONE || (f->base & 7u) == X_RSP;
    unsigned mod = f->disp >= INT8_MIN && f->disp <= INT8_MAX ? 1 : 2;

    if (f->base == X_NONE)
        mod = 0;
    else if (f->disp == 0 && (f->base & 7u) != X_RBP)
        mod = 0;
    emit_u8(e, mod << 6 | reg | (needs_sib ? 4u : f->base & 7u));
    if (needs_sib)
        emit_u8(e, (unsigned)f->scale << 6 | (f->index == X_NONE ? 4u : f->index & 7u) << 3 |
                       (f->base == X_NONE ? 5u : f->base & 7u));
    if (mod == 1)
        emit_u8(e, (uint8_t)f->disp);
    else if (mod == 2 || f->base == X_NONE)
        emit_u32(e, (uint32_t)f->disp);
}

static void emit_prefixes(struct emit *e, const struct x_form *f)
{
    unsigned rex = (f->w ? 8u : 0) | extension(f->reg) << 2;

    if (f->rm == XRM_MEM)
        rex |= extension(f->index) << 1;
    if (f->rm != XRM_ABS)
        rex |= extension(f->base);
    if (f->gs)
        emit_u8(e, 0x65);
    if (f->lock)
        emit_u8(e, 0xf0);
    if (f->size16)
        emit_u8(e, 0x66);
    if (f->rep)
        emit_u8(e, f->rep);
    if (rex || f->rex)
        emit_u8(e, 0x40 | rex);
    if (f->map)
        emit_u8(e, 0x0f);
    if (f->map == 2)
        emit_u8(e, 0x38);
    if (f->map == 3)
        emit_u8(e, 0x3a);
}

void emit_form(struct emit *e, const struct x_form *f)
{
    emit_prefixes(e, f);
    switch (f->rm) {
    case XRM_NONE:
        emit_u8(e, f->op | (f->base == X_NONE ? 0u : f->base & 7u));
        return;
    case XRM_REG:
        emit_u8(e, f->op);
        emit_u8(e, 0xc0 | (f->reg & 7u) << 3 | (f->base & 7u));
        return;
    case XRM_MEM:
        emit_u8(e, f->op);
        emit_modrm_memory(e, f);
        return;
    case XRM_ABS:
        emit_u8(e, f->op);
        emit_u8(e, (f->reg & 7u) << 3 | 4u);
        emit_u8(e, 0x25);
        emit_u32(e, (uint32_t)f->disp);
        return;
    }
}

void emit_on(struct emit *e, unsigned op, unsigned reg, uint32_t address)
{
    emit_form(e, &(struct x_form){.op = (uint8_t)op,
                                  .w = true,
                                  .reg = (uint8_t)reg,
                                  .rm = XRM_ABS,
                                  .disp = (int32_t)address});
}

void emit_load(struct emit *e, unsigned reg, uint32_t address)
{
    emit_on(e, 0x8b, reg, address);
}

void emit_store(struct emit *e, unsigned reg, uint32_t address)
{
    emit_on(e, 0x89, reg, address);
}

void emit_push_at(struct emit *e, uint32_t address)
{
    emit_form(e, &(struct x_form){.op = 0xff, .reg = 6, .rm = XRM_ABS, .disp = (int32_t)address});
}

void emit_pop_at(struct emit *e, uint32_t address)
{
    emit_form(e, &(struct x_form){.op = 0x8f, .rm = XRM_ABS, .disp = (int32_t)address});
}

struct x_form move_form(unsigned to, unsigned from)
{
    return (struct x_form){
        .op = 0x89, .w = true, .reg = (uint8_t)from, .rm = XRM_REG, .base = (uint8_t)to};
}

struct x_form lea_form(unsigned to, unsigned base, int32_t disp)
{
    return (struct x_form){.op = 0x8d,
                           .w = true,
                           .reg = (uint8_t)to,
                           .rm = XRM_MEM,
                           .base = (uint8_t)base,
                           .index = X_NONE,
                           .disp = disp};
}

void emit_move(struct emit *e, unsigned to, unsigned from)
{
    struct x_form f = move_form(to, from);

    emit_form(e, &f);
}

void emit_lea(struct emit *e, unsigned to, unsigned base, int32_t disp)
{
    struct x_form f = lea_form(to, base, disp);

    emit_form(e, &f);
}

void emit_imm32(struct emit *e, unsigned reg, uint32_t value)
{
    emit_form(e, &(struct x_form){.op = 0xb8, .rm = XRM_NONE, .base = (uint8_t)reg});
    emit_u32(e, value);
}

void emit_imm64(struct emit *e, unsigned reg, uint64_t value)
{
    emit_form(e, &(struct x_form){.op = 0xb8, .w = true, .rm = XRM_NONE, .base = (uint8_t)reg});
    emit_u64(e, value);
}

void emit_nops(struct emit *e, unsigned bytes)
{
    static const uint8_t nine[] = {0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0};
    static const uint8_t four[] = {0x0f, 0x1f, 0x40, 0};

    for (; bytes >= sizeof nine; bytes -= sizeof nine)
        emit_bytes(e, nine, sizeof nine);
    for (; bytes >= sizeof four; bytes -= sizeof four)
        emit_bytes(e, four, sizeof four);
    for (; bytes; bytes--)
        emit_u8(e, 0x90);
}

static uint8_t *emit_distance(struct emit *e)
{
    uint8_t *place = e->at;

    emit_u32(e, 0);
    return place;
}

uint8_t *emit_jump(struct emit *e)
{
    emit_u8(e, 0xe9);
    return emit_distance(e);
}

uint8_t *emit_call(struct emit *e)
{
    emit_u8(e, 0xe8);
    return emit_distance(e);
}

uint8_t *emit_jcc(struct emit *e, unsigned condition)
{
    emit_u8(e, 0x0f);
    emit_u8(e, 0x80 | condition);
    return emit_distance(e);
}

void emit_patch(uint8_t *place, const uint8_t *target)
{
    int32_t distance = (int32_t)(target - (place + 4));

    memcpy(place, &distance, sizeof distance);
}
