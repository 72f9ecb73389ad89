/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of native code: registers that live in memory, addresses, and the check of an access. */
#include "cpu/translate/compile.h"

#include "cpu/interp/fp.h"
#include "cpu/interp/mem.h"

#define ENTRY_MASK ((TLB_ENTRIES - 1u) << WINDOW_ENTRY_SHIFT)

unsigned put_register_in(struct compile *k, unsigned guest, unsigned scratch)
{
    unsigned host = host_reg(guest);

    if (host != X_NONE)
        return host;
    emit_load(&k->e, scratch, guest_at(k, guest));
    return scratch;
}

/* --- addresses --- */

static unsigned put_base(struct compile *k, const struct uop *u)
{
    if (u->base == GPR_ZERO)
        return X_NONE;
    if (u->base == GPR_PAGE) {
        emit_load(&k->e, HOST_T0, ABS(k->t->c.gpr[GPR_PAGE / 8]));
        return HOST_T0;
    }
    return put_register_in(k, u->base / 8, HOST_T0);
}

/* base + index * scale + disp, cut to the address size, into `to`. */
static void put_effective(struct compile *k, const struct uop *u, unsigned to)
{
    struct x_form f = {.op = 0x8d,
                       .rm = XRM_MEM,
                       .w = u->addrsize == 8,
                       .reg = (uint8_t)to,
                       .scale = u->scale,
                       .disp = (int32_t)u->disp};

    f.base = (uint8_t)put_base(k, u);
    if (to == HOST_T0 || f.base == HOST_T0)
        k->r10_share = NO_SHARE;
    f.index = X_NONE;
    if (u->index != GPR_ZERO)
        f.index = (uint8_t)put_register_in(k, u->index / 8, HOST_T1);
    if (f.base == to && f.index == X_NONE && f.disp == 0 && f.w)
        return;
    emit_form(&k->e, &f);
}

bool address_fits(const struct uop *u)
{
    return u->disp == (int32_t)u->disp && u->addrsize >= 4;
}

void put_address(struct compile *k, const struct uop *u)
{
    put_effective(k, u, HOST_T0);
    if (!seg_is_flat(u->seg)) {
        emit_load(&k->e, HOST_T1, ABS(k->t->c.s.seg[u->seg].base));
        emit_form(&k->e, &(struct x_form){.op = 0x8d,
                                          .w = true,
                                          .reg = HOST_T0,
                                          .rm = XRM_MEM,
                                          .base = HOST_T0,
                                          .index = HOST_T1});
    }
}

/* --- the check --- */

struct x_form in_window(unsigned op, unsigned reg, size_t field)
{
    return (struct x_form){.op = (uint8_t)op,
                           .w = true,
                           .gs = true,
                           .reg = (uint8_t)reg,
                           .rm = XRM_MEM,
                           .base = HOST_T1,
                           .index = X_NONE,
                           .disp = (int32_t)field};
}

/* What the check refuses at `from` is the handler's, or the careful copy's. */
static void add_refusal(struct compile *k, unsigned n, uint8_t *from, const struct uop *handler)
{
    if (k->in_run)
        k->refusal[k->refusal_count++] = (struct refusal){.from = from, .n = n, .flags = k->flags};
    else
        k->slow[k->slow_count++] =
            (struct slow_way){.from = from, .uop = handler, .flags = k->flags};
}

void put_window_check(struct compile *k, unsigned n, unsigned bytes, bool write, bool aligned)
{
    static const uint8_t test_t0_15[] = {0x41, 0xf6, 0xc2, 0x0f};
    static const uint8_t rorx_t1_t0_7[] = {0xc4, 0x43, 0xfb, 0xf0, 0xda, 0x07};
    static const uint8_t and_t1[] = {0x41, 0x81, 0xe3}, cmp_t0[] = {0x49, 0x81, 0xfa};
    struct x_form tag = in_window(0x33, HOST_T0,
                                  write ? offsetof(struct window_entry, write_tag)
                                        : offsetof(struct window_entry, read_tag));
    struct x_form host = in_window(0x03, HOST_T0, offsetof(struct window_entry, host));
    const struct uop *handler = NULL;

    k->r10_share = NO_SHARE;
    if (!k->in_run)
        handler = compile_leaves(k, n) ? learning_copy(k, n) : fallback_pair(k, n, CALLOUT_WINDOW);
    flags_before(k, k->live[n]);
    emit_bytes(&k->e, rorx_t1_t0_7, sizeof rorx_t1_t0_7);
    emit_bytes(&k->e, and_t1, sizeof and_t1);
    emit_u32(&k->e, ENTRY_MASK);
    emit_form(&k->e, &tag);
    emit_bytes(&k->e, cmp_t0, sizeof cmp_t0);
    emit_u32(&k->e, (uint32_t)PAGE_SIZE - bytes);
    add_refusal(k, n, emit_jcc(&k->e, 7), handler); /* above */
    if (aligned) {
        emit_bytes(&k->e, test_t0_15, sizeof test_t0_15);
        add_refusal(k, n, emit_jcc(&k->e, 5), handler); /* not zero */
    }
    emit_form(&k->e, &host);
}

void put_check(struct compile *k, unsigned n, unsigned bytes, bool write)
{
    put_window_check(k, n, bytes, write, vector_is_aligned(k, n));
}

struct x_form at_t0(unsigned op, unsigned reg)
{
    return (struct x_form){.op = (uint8_t)op,
                           .w = true,
                           .reg = (uint8_t)reg,
                           .rm = XRM_MEM,
                           .base = HOST_T0,
                           .index = X_NONE};
}

/* --- plain instructions --- */

/* One register operand on its way into a form. */
struct reg_use {
    unsigned guest, scratch; /* scratch X_NONE: it has a host register */
    bool written;
};

struct plain {
    struct x_form f;
    struct reg_use use[2];
    unsigned uses;
    bool high_byte;
};

static unsigned take_register(struct compile *k, struct plain *p, const ZydisDecodedOperand *op,
                              bool has_memory)
{
    unsigned guest, scratch;
    uint8_t at;

    if (dec_is_xmm(op))
        return (unsigned)ZydisRegisterGetId(op->reg.value);
    at = dec_gpr(op->reg.value);
    guest = at / 8;

    if (at & 1u) {
        p->high_byte = true;
        return guest + 4;
    }
    if (host_reg(guest) != X_NONE)
        return host_reg(guest);
    for (unsigned n = 0; n < p->uses; n++) {
        if (p->use[n].guest != guest)
            continue;
        p->use[n].written |= (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
        return p->use[n].scratch;
    }
    if (p->uses == (has_memory ? 1u : 2u)) {
        k->failed = true; /* put_plain asks before */
        return HOST_T1;
    }
    scratch = has_memory || p->uses ? HOST_T1 : HOST_T0;
    if (scratch == HOST_T0)
        k->r10_share = NO_SHARE;
    p->use[p->uses++] =
        (struct reg_use){.guest = guest,
                         .scratch = scratch,
                         .written = (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0};
    return scratch;
}

static bool start_form(struct plain *p, const ZydisDecodedInstruction *i)
{
    static const uint8_t map[] = {[ZYDIS_OPCODE_MAP_DEFAULT] = 0,
                                  [ZYDIS_OPCODE_MAP_0F] = 1,
                                  [ZYDIS_OPCODE_MAP_0F38] = 2,
                                  [ZYDIS_OPCODE_MAP_0F3A] = 3};

    if (i->opcode_map > ZYDIS_OPCODE_MAP_0F3A)
        return false;
    *p = (struct plain){.f = {.map = map[i->opcode_map],
                              .op = i->opcode,
                              .w = i->raw.rex.W,
                              .rex = (i->attributes & ZYDIS_ATTRIB_HAS_REX) != 0,
                              .lock = (i->attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0,
                              .base = X_NONE,
                              .index = X_NONE}};
    for (unsigned n = 0; n < i->raw.prefix_count; n++) {
        unsigned v = i->raw.prefixes[n].value;

        if (v == 0x66)
            p->f.size16 = true;
        if (v == 0xf2 || v == 0xf3)
            p->f.rep = (uint8_t)v;
    }
    if (i->attributes & ZYDIS_ATTRIB_HAS_MODRM) {
        p->f.rm = XRM_REG;
        p->f.reg = i->raw.modrm.reg;
    }
    return true;
}

/* Distinct registers among the operands that live in memory. */
static unsigned count_resident(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    uint32_t seen = 0;

    for (unsigned n = 0; n < i->operand_count_visible; n++)
        if (op[n].type == ZYDIS_OPERAND_TYPE_REGISTER && !dec_is_xmm(&op[n])) {
            unsigned guest = dec_gpr(op[n].reg.value) / 8;

            if (host_reg(guest) == X_NONE)
                seen |= 1u << guest;
        }
    return (unsigned)__builtin_popcount(seen);
}

const ZydisDecodedOperand *memory_operand(const struct compile *k, unsigned n)
{
    for (unsigned m = 0; m < k->i[n].operand_count_visible; m++)
        if (k->op[n][m].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            k->op[n][m].mem.type == ZYDIS_MEMOP_TYPE_MEM)
            return &k->op[n][m];
    return NULL;
}

static void place_registers(struct compile *k, struct plain *p, unsigned n, bool has_memory)
{
    for (unsigned m = 0; m < k->i[n].operand_count_visible; m++) {
        const ZydisDecodedOperand *op = &k->op[n][m];

        if (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        switch (op->encoding) {
        case ZYDIS_OPERAND_ENCODING_MODRM_REG:
            p->f.reg = (uint8_t)take_register(k, p, op, has_memory);
            break;
        case ZYDIS_OPERAND_ENCODING_MODRM_RM:
        case ZYDIS_OPERAND_ENCODING_OPCODE:
            p->f.base = (uint8_t)take_register(k, p, op, has_memory);
            break;
        default:
            break; /* implied: rax, rcx or rdx */
        }
    }
    /* The opcode holds the register's low bits. */
    if (p->f.rm == XRM_NONE && p->f.base != X_NONE)
        p->f.op &= 0xf8;
}

static bool form_is_possible(const struct plain *p)
{
    const struct x_form *f = &p->f;
    bool extends = f->w || f->rex || (f->rm == XRM_REG && f->reg >= 8) || f->base >= 8;

    if (f->rm == XRM_MEM)
        extends = true; /* by r10 */
    return !p->high_byte || !extends;
}

static bool prepare_plain(struct compile *k, unsigned n, const ZydisDecodedOperand *mem,
                          struct plain *p)
{
    const ZydisDecodedInstruction *i = &k->i[n];

    if (!start_form(p, i) || count_resident(i, k->op[n]) > (mem ? 1u : 2u) ||
        (mem && (!(i->attributes & ZYDIS_ATTRIB_HAS_MODRM) || !address_fits(uop_of(k, n)))))
        return false;
    place_registers(k, p, n, mem != NULL);
    if (mem) {
        p->f.rm = XRM_MEM;
        p->f.base = HOST_T0;
    }
    return form_is_possible(p);
}

bool plain_is_possible(struct compile *k, unsigned n)
{
    struct plain p;

    return prepare_plain(k, n, memory_operand(k, n), &p);
}

bool put_plain(struct compile *k, unsigned n)
{
    const ZydisDecodedInstruction *i = &k->i[n];
    const ZydisDecodedOperand *mem = memory_operand(k, n);
    const struct uop *u = uop_of(k, n);
    struct plain p;

    if (!prepare_plain(k, n, mem, &p))
        return false;
    if (mem && has_share(k, n)) {
        p.f.disp = put_shared(k, n);
    } else if (mem) {
        put_address(k, u);
        put_check(k, n, mem->size / 8, (mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0);
    }
    flags_for(k, n);
    for (unsigned m = 0; m < p.uses; m++)
        emit_load(&k->e, p.use[m].scratch, guest_at(k, p.use[m].guest));
    emit_form(&k->e, &p.f);
    note_immediate(k, n, k->e.at);
    if (i->raw.imm[0].size)
        emit_bytes(&k->e, k->b->host + u->off + i->raw.imm[0].offset,
                   (unsigned)i->length - i->raw.imm[0].offset);
    for (unsigned m = 0; m < p.uses; m++)
        if (p.use[m].written)
            emit_store(&k->e, p.use[m].scratch, guest_at(k, p.use[m].guest));
    return true;
}

bool lea_is_possible(const struct compile *k, unsigned n)
{
    return address_fits(uop_of(k, n)) && k->i[n].operand_width != 16;
}

bool put_lea(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);
    unsigned guest = dec_gpr(k->op[n][0].reg.value) / 8, to = host_reg(guest);
    unsigned width = k->i[n].operand_width;

    if (!lea_is_possible(k, n))
        return false;
    if (width == 64 && to != X_NONE) {
        put_effective(k, u, to);
        return true;
    }
    put_effective(k, u, HOST_T0);
    if (width == 32) /* mov r32, r32 */
        emit_form(&k->e, &(struct x_form){.op = 0x89,
                                          .rm = XRM_REG,
                                          .reg = HOST_T0,
                                          .base = to == X_NONE ? HOST_T0 : (uint8_t)to});
    if (to == X_NONE)
        emit_store(&k->e, HOST_T0, guest_at(k, guest));
    return true;
}
