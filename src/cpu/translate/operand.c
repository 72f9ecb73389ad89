/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of native code: registers that live in memory, addresses, and the check of an access. */
#include "cpu/translate/compile.h"

#include "cpu/interp/mem.h"

unsigned put_register_in(struct compile *k, unsigned guest, unsigned scratch)
{
    unsigned host = guest_host(k, guest);

    if (host != X_NONE)
        return host;
    if (scratch == HOST_T0 && r11_holds(k, guest)) {
        emit_move(&k->e, HOST_T0, HOST_T1);
        return HOST_T0;
    }
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
        put_from_page(k, to, 0);
        return to;
    }
    return put_register_in(k, u->base / 8, HOST_T0);
}

static unsigned put_index(struct compile *k, unsigned guest)
{
    unsigned at;

    if (r11_holds(k, guest))
        return HOST_T1;
    at = put_register_in(k, guest, HOST_T1);
    if (at == HOST_T1)
        r11_note(k, guest);
    return at;
}

void put_effective(struct compile *k, const struct uop *u, unsigned to)
{
    const uint8_t *start = k->e.at;
    struct x_form f = {.op = 0x8d,
                       .rm = XRM_MEM,
                       .w = u->addrsize == 8,
                       .reg = (uint8_t)to,
                       .scale = u->scale,
                       .disp = (int32_t)u->disp};

    f.base = (uint8_t)put_base(k, u, to);
    if (to != HOST_T1)
        r11_stays(k, start);
    if (to == HOST_T0 || f.base == HOST_T0)
        k->r10_share = NO_SHARE;
    f.index = X_NONE;
    if (u->index != GPR_ZERO)
        f.index = (uint8_t)put_index(k, u->index / 8);
    start = k->e.at;
    if (f.base == X_NONE || f.index != X_NONE || f.disp || !f.w)
        emit_form(&k->e, &f);
    else if (f.base != to)
        emit_move(&k->e, to, f.base);
    if (to != HOST_T1)
        r11_stays(k, start);
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

static size_t tag_field(bool write)
{
    return write ? offsetof(struct window_entry, write_tag)
                 : offsetof(struct window_entry, read_tag);
}

/* The place of the jump that is taken when r10 is no offset in a page for so many bytes. */
static uint8_t *put_in_page(struct compile *k, unsigned bytes)
{
    static const uint8_t cmp_t0[] = {0x49, 0x81, 0xfa};

    emit_bytes(&k->e, cmp_t0, sizeof cmp_t0);
    emit_u32(&k->e, (uint32_t)PAGE_SIZE - bytes);
    return emit_jcc(&k->e, 7); /* above */
}

uint8_t *put_lookup(struct compile *k, unsigned bytes, bool write)
{
    static const uint8_t rorx_t1_t0_7[] = {0xc4, 0x43, 0xfb, 0xf0, 0xda, 0x07};
    static const uint8_t and_t1[] = {0x41, 0x81, 0xe3};
    struct x_form tag = in_window(0x33, HOST_T0, tag_field(write));

    emit_bytes(&k->e, rorx_t1_t0_7, sizeof rorx_t1_t0_7);
    emit_bytes(&k->e, and_t1, sizeof and_t1);
    emit_u32(&k->e, ENTRY_MASK);
    emit_form(&k->e, &tag);
    return put_in_page(k, bytes);
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

/* Who does instruction n where a check refuses; NULL: the careful copy. */
static const struct uop *handler_of(struct compile *k, unsigned n)
{
    if (k->in_run)
        return NULL;
    return compile_leaves(k, n) ? learning_copy(k, n) : fallback_pair(k, n, CALLOUT_WINDOW);
}

/* Without put_host. */
static void put_question(struct compile *k, unsigned n, unsigned bytes, bool write, bool aligned)
{
    const struct uop *handler = handler_of(k, n);

    k->r10_share = NO_SHARE;
    flags_before(k, k->live[n]);
    add_refusal(k, n, put_lookup(k, bytes, write), handler);
    if (!k->in_run)
        k->slow[k->slow_count - 1].looked_up = true;
    if (aligned)
        add_refusal(k, n, put_alignment(k), handler);
}

void put_window_check(struct compile *k, unsigned n, unsigned bytes, bool write, bool aligned)
{
    put_question(k, n, bytes, write, aligned);
    put_host(k);
}

/* --- places that are known --- */

/* Programs whose addresses are above are at others in each process. */
#define FIXED_BELOW (UINT64_C(1) << 32)

/*
 * An address that counts from the page, or from nothing, and that mostly stays the same as long as
 * the code is used: then its entry is known. Not where the access crosses pages.
 */
static bool place_is_known(const struct compile *k, const struct uop *u, unsigned bytes,
                           uint64_t *lin)
{
    *lin = u->disp + (u->base == GPR_PAGE ? k->t->c.gpr[GPR_PAGE / 8] : 0);
    if (k->word == 4)
        *lin = (uint32_t)*lin;
    return u->base >= GPR_ZERO && u->index == GPR_ZERO && u->addrsize == k->word &&
           seg_is_flat(u->seg) && (*lin < FIXED_BELOW || half_of(*lin)) &&
           *lin % PAGE_SIZE + bytes <= PAGE_SIZE;
}

/* op reg, a field of the entry that is known */
static void put_on_entry(struct compile *k, unsigned op, unsigned reg, uint64_t lin, size_t field)
{
    struct x_form f = in_window(op, reg, field);

    f.base = X_NONE;
    f.disp += (int32_t)(tlb_index(lin, 0) << WINDOW_ENTRY_SHIFT);
    emit_form(&k->e, &f);
}

/*
 * put_question for u's operand, whose address is in r10, and op `to`, host address of the page.
 * Where the page of the code is another one than now, the entry is worked out behind it. False:
 * nothing is known, or there is no such place behind it.
 */
static bool put_known(struct compile *k, unsigned n, const struct uop *u, unsigned bytes,
                      bool write, unsigned op, unsigned to)
{
    const struct uop *handler;
    uint64_t lin;
    uint8_t *miss;

    if (k->is_cold || !place_is_known(k, u, bytes, &lin))
        return false;
    handler = handler_of(k, n);
    k->r10_share = NO_SHARE;
    flags_before(k, k->live[n]);
    put_on_entry(k, 0x33, HOST_T0, lin, tag_field(write)); /* xor */
    miss = put_in_page(k, bytes);
    put_on_entry(k, op, to, lin, offsetof(struct window_entry, host));
    if (u->base == GPR_ZERO) {
        add_refusal(k, n, miss, handler);
        return true;
    }
    (void)go_cold(k);
    emit_patch(miss, k->e.at);
    put_address(k, u);
    add_refusal(k, n, put_lookup(k, bytes, write), handler);
    put_host_into(k, op, to);
    miss = emit_jump(&k->e);
    go_back(k, false);
    emit_patch(miss, k->e.at);
    return true;
}

void put_place_check(struct compile *k, unsigned n, const struct uop *u, unsigned bytes, bool write,
                     bool aligned)
{
    put_address(k, u);
    if (aligned || !put_known(k, n, u, bytes, write, 0x03, HOST_T0)) /* add */
        put_window_check(k, n, bytes, write, aligned);
}

void put_check_for(struct compile *k, unsigned n, unsigned bytes, bool write, struct x_form *f)
{
    const struct uop *u = uop_of(k, n);
    bool aligned = vector_is_aligned(k, n);
    unsigned op = 0x03, to = HOST_T0; /* add */

    put_address(k, u);
    flags_before(k, k->live[n]);
    if (!flags_come_back(k, n)) {
        op = 0x8b; /* mov */
        to = HOST_T1;
        f->index = HOST_T1;
    }
    if (!aligned && put_known(k, n, u, bytes, write, op, to))
        return;
    put_question(k, n, bytes, write, aligned);
    put_host_into(k, op, to);
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
    if (to == X_NONE) {
        emit_store(&k->e, HOST_T1, guest_at(k, guest));
        r11_note(k, guest);
    }
    return true;
}
