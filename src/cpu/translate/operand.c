/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of native code: registers that live in memory, addresses, and the check of an access. */
#include "cpu/translate/compile.h"

#include "cpu/interp/mem.h"

#define ENTRY_MASK ((TLB_ENTRIES - 1u) << WINDOW_ENTRY_SHIFT)

unsigned put_register_in(struct compile *k, unsigned guest, unsigned scratch)
{
    unsigned host = guest_host(k, guest);

    if (host != X_NONE)
        return host;
    emit_load(&k->e, scratch, guest_at(k, guest));
    return scratch;
}

/* --- addresses --- */

/* An address that counts from the page has no index: its base may be where it goes itself. */
static unsigned put_base(struct compile *k, const struct uop *u, unsigned to)
{
    if (u->base == GPR_ZERO)
        return X_NONE;
    if (u->base == GPR_PAGE) {
        emit_load(&k->e, to, ABS(k->t->c.gpr[GPR_PAGE / 8]));
        return to;
    }
    return put_register_in(k, u->base / 8, HOST_T0);
}

void put_effective(struct compile *k, const struct uop *u, unsigned to)
{
    struct x_form f = {.op = 0x8d,
                       .rm = XRM_MEM,
                       .w = u->addrsize == 8,
                       .reg = (uint8_t)to,
                       .scale = u->scale,
                       .disp = (int32_t)u->disp};

    f.base = (uint8_t)put_base(k, u, to);
    if (to == HOST_T0 || f.base == HOST_T0)
        k->r10_share = NO_SHARE;
    f.index = X_NONE;
    if (u->index != GPR_ZERO)
        f.index = (uint8_t)put_register_in(k, u->index / 8, HOST_T1);
    if (f.base == X_NONE || f.index != X_NONE || f.disp || !f.w)
        emit_form(&k->e, &f);
    else if (f.base != to)
        emit_move(&k->e, to, f.base);
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
                                          .w = k->word == 8,
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

uint8_t *put_lookup(struct compile *k, unsigned bytes, bool write)
{
    static const uint8_t rorx_t1_t0_7[] = {0xc4, 0x43, 0xfb, 0xf0, 0xda, 0x07};
    static const uint8_t and_t1[] = {0x41, 0x81, 0xe3}, cmp_t0[] = {0x49, 0x81, 0xfa};
    struct x_form tag = in_window(0x33, HOST_T0,
                                  write ? offsetof(struct window_entry, write_tag)
                                        : offsetof(struct window_entry, read_tag));

    emit_bytes(&k->e, rorx_t1_t0_7, sizeof rorx_t1_t0_7);
    emit_bytes(&k->e, and_t1, sizeof and_t1);
    emit_u32(&k->e, ENTRY_MASK);
    emit_form(&k->e, &tag);
    emit_bytes(&k->e, cmp_t0, sizeof cmp_t0);
    emit_u32(&k->e, (uint32_t)PAGE_SIZE - bytes);
    return emit_jcc(&k->e, 7); /* above */
}

uint8_t *put_alignment(struct compile *k)
{
    static const uint8_t test_t0_15[] = {0x41, 0xf6, 0xc2, 0x0f};

    emit_bytes(&k->e, test_t0_15, sizeof test_t0_15);
    return emit_jcc(&k->e, 5); /* not zero */
}

/* op `to`, host address of the page */
static void put_host_into(struct compile *k, unsigned op, unsigned to)
{
    const struct x_form host = in_window(op, to, offsetof(struct window_entry, host));

    emit_form(&k->e, &host);
}

void put_host(struct compile *k)
{
    put_host_into(k, 0x03, HOST_T0); /* add */
}

/* Without put_host. */
static void put_question(struct compile *k, unsigned n, unsigned bytes, bool write, bool aligned)
{
    const struct uop *handler = NULL;

    k->r10_share = NO_SHARE;
    if (!k->in_run)
        handler = compile_leaves(k, n) ? learning_copy(k, n) : fallback_pair(k, n, CALLOUT_WINDOW);
    flags_before(k, k->live[n]);
    add_refusal(k, n, put_lookup(k, bytes, write), handler);
    if (aligned)
        add_refusal(k, n, put_alignment(k), handler);
}

void put_window_check(struct compile *k, unsigned n, unsigned bytes, bool write, bool aligned)
{
    put_question(k, n, bytes, write, aligned);
    put_host(k);
}

void put_check_for(struct compile *k, unsigned n, unsigned bytes, bool write, struct x_form *f)
{
    put_question(k, n, bytes, write, vector_is_aligned(k, n));
    if (flags_come_back(k, n)) {
        put_host(k);
        return;
    }
    put_host_into(k, 0x8b, HOST_T1); /* mov */
    f->index = HOST_T1;
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

/* --- which operands --- */

const ZydisDecodedOperand *memory_operand(const struct compile *k, unsigned n)
{
    for (unsigned m = 0; m < k->i[n].operand_count_visible; m++)
        if (k->op[n][m].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            k->op[n][m].mem.type == ZYDIS_MEMOP_TYPE_MEM)
            return &k->op[n][m];
    return NULL;
}

/* --- LEA --- */

bool lea_is_possible(const struct compile *k, unsigned n)
{
    return address_fits(uop_of(k, n)) && k->i[n].operand_width != 16;
}

bool put_lea(struct compile *k, unsigned n)
{
    struct uop u = *uop_of(k, n);
    unsigned guest = dec_gpr(k->op[n][0].reg.value) / 8, to = guest_host(k, guest);

    if (!lea_is_possible(k, n))
        return false;
    if (k->i[n].operand_width == 32)
        u.addrsize = 4; /* the lower half, and zeros above */
    put_effective(k, &u, to == X_NONE ? HOST_T1 : to);
    if (to == X_NONE)
        emit_store(&k->e, HOST_T1, guest_at(k, guest));
    return true;
}
