/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sensitive instructions that a kernel executes all the time, in line against the virtual CPU's
 * state. Whatever is not the usual case (another privilege, an interrupt that waits, no window) is
 * the handler's.
 */
#include "cpu/interp/mem.h"
#include "cpu/translate/compile.h"

#define PUT(...) EMIT(&k->e, __VA_ARGS__)

void put_abs(struct compile *k, unsigned op, unsigned extension, uint32_t address)
{
    emit_form(&k->e, &(struct x_form){.op = (uint8_t)op,
                                      .reg = (uint8_t)extension,
                                      .rm = XRM_ABS,
                                      .disp = (int32_t)address});
}

void put_guard(struct compile *k, const struct uop *pair, uint32_t address, enum guard refused)
{
    put_abs(k, 0x80, 7, address); /* cmp byte [address], 0 */
    emit_u8(&k->e, 0);
    put_slow_if(k, refused == GUARD_NOT_ZERO ? 5 : 4, pair);
}

/* A program's are on their way to a fault, whose frame has the flags. */
const struct uop *put_kernel_only(struct compile *k, unsigned n)
{
    const struct uop *pair = fallback_pair(k, n, CALLOUT_STATE);

    flags_before(k, k->t->c.cpl ? RFLAGS_ARITH : k->live[n + 1]);
    put_guard(k, pair, ABS(k->t->c.cpl), GUARD_NOT_ZERO);
    return pair;
}

static bool put_cli(struct compile *k, unsigned n)
{
    put_kernel_only(k, n);
    put_abs(k, 0x81, 4, ABS(k->t->c.s.rflags)); /* and dword, ~IF */
    emit_u32(&k->e, ~RFLAGS_IF);
    return true;
}

/*
 * Where no interrupt waits, the instruction after STI runs before the next look for one, because
 * looks come with branches; but the end of the block is none.
 */
static bool put_sti(struct compile *k, unsigned n)
{
    const struct uop *pair;

    if (n == k->n - 1)
        return false;
    pair = put_kernel_only(k, n);
    put_guard(k, pair, ABS(k->t->c.irq_line), GUARD_NOT_ZERO);
    put_guard(k, pair, ABS(k->t->c.nmi_pending), GUARD_NOT_ZERO);
    put_abs(k, 0x81, 1, ABS(k->t->c.s.rflags)); /* or dword, IF */
    emit_u32(&k->e, RFLAGS_IF);
    return true;
}

static bool put_swapgs(struct compile *k, unsigned n)
{
    put_kernel_only(k, n);
    emit_load(&k->e, HOST_T0, ABS(k->t->c.s.seg[SEG_GS].base));
    emit_load(&k->e, HOST_T1, ABS(k->t->c.s.kernel_gs_base));
    emit_store(&k->e, HOST_T1, ABS(k->t->c.s.seg[SEG_GS].base));
    emit_store(&k->e, HOST_T0, ABS(k->t->c.s.kernel_gs_base));
    return true;
}

static void put_move32(struct compile *k, uint32_t from, uint32_t to)
{
    put_abs(k, 0x8b, HOST_T0, from);
    put_abs(k, 0x89, HOST_T0, to);
}

void put_near_view(struct compile *k, const struct near_view *v)
{
    emit_load(&k->e, HOST_T0, ABS(v->base));
    emit_store(&k->e, HOST_T0, ABS(k->t->window_base));
    put_window(&k->e, HOST_T0);
    emit_load(&k->e, HOST_T0, ABS(v->view));
    emit_store(&k->e, HOST_T0, ABS(k->t->c.view));
    put_move32(k, ABS(v->window), ABS(k->t->windows.current));
}

/* The view with or without AC becomes the present one, if it has a window. */
static bool put_ac(struct compile *k, unsigned n, bool on)
{
    const struct near_view *v = &k->t->near[on ? NEAR_KERNEL_AC : NEAR_KERNEL];
    const struct uop *pair;

    if (!(k->t->c.identity.features & CPU_FEATURE_SMAP))
        return false;
    pair = put_kernel_only(k, n);
    put_guard(k, pair, ABS(v->is_known), GUARD_ZERO);
    put_abs(k, 0x81, on ? 1 : 4, ABS(k->t->c.s.rflags));
    emit_u32(&k->e, on ? RFLAGS_AC : ~RFLAGS_AC);
    put_near_view(k, v);
    return true;
}

/* The image that PUSHF pushes, piece by piece onto the stack. */
static bool put_pushf(struct compile *k, unsigned n)
{
    if (uop_of(k, n)->opsize != 8)
        return false;
    flags_away(k);
    put_stack_address(k, n, true);
    emit_load(&k->e, HOST_T1, ABS(k->t->c.s.rflags));
    PUT(0x41, 0x81, 0xe3); /* and r11d, ... */
    emit_u32(&k->e, ~(RFLAGS_VM | RFLAGS_RF | RFLAGS_ARITH));
    PUT(0x4d, 0x89, 0x1a); /* mov [r10], r11 */
    PUT(0x44, 0x0f, 0xb6); /* movzx r11d, byte [flags16 + 1] */
    PUT(0x1c, 0x25);
    emit_u32(&k->e, ABS(k->t->c.flags16) + 1);
    PUT(0x41, 0x81, 0xe3); /* and r11d, SF ZF AF PF CF */
    emit_u32(&k->e, 0xd5);
    PUT(0x4d, 0x09, 0x1a); /* or [r10], r11 */
    PUT(0x44, 0x0f, 0xb6); /* movzx r11d, byte [flags16]: OF */
    PUT(0x1c, 0x25);
    emit_u32(&k->e, ABS(k->t->c.flags16));
    PUT(0x41, 0xc1, 0xe3, 11); /* shl r11d, 11 */
    PUT(0x4d, 0x09, 0x1a);     /* or [r10], r11 */
    emit_lea(&k->e, HOST_SP, HOST_SP, -8);
    return true;
}

/*
 * At level 0, where it changes no more than the arithmetic flags, DF and IF. Behind one that lets
 * interrupts in, the next look for one may come later, if none waits now.
 */
static bool put_popf(struct compile *k, unsigned n)
{
    const uint32_t same = RFLAGS_TF | RFLAGS_NT | RFLAGS_AC | RFLAGS_ID | RFLAGS_IOPL;
    const struct uop *pair;

    if (uop_of(k, n)->opsize != 8)
        return false;
    flags_away(k);
    pair = put_kernel_only(k, n);
    put_guard(k, pair, ABS(k->t->c.irq_line), GUARD_NOT_ZERO);
    put_guard(k, pair, ABS(k->t->c.nmi_pending), GUARD_NOT_ZERO);
    put_stack_address(k, n, false);
    PUT(0x4d, 0x8b, 0x1a); /* mov r11, [r10] */
    put_abs(k, 0x8b, HOST_T0, ABS(k->t->c.s.rflags));
    PUT(0x45, 0x31, 0xda); /* xor r10d, r11d */
    PUT(0x41, 0xf7, 0xc2); /* test r10d, ... */
    emit_u32(&k->e, same);
    put_slow_if(k, 5, pair);
    PUT(0x41, 0x81, 0xe3); /* and r11d, ... */
    emit_u32(&k->e, same | RFLAGS_ARITH | RFLAGS_DF | RFLAGS_IF);
    put_set_flags(k);
    emit_lea(&k->e, HOST_SP, HOST_SP, 8);
    return true;
}

bool put_sensitive(struct compile *k, unsigned n)
{
    switch (k->i[n].mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
        return put_cli(k, n);
    case ZYDIS_MNEMONIC_STI:
        return put_sti(k, n);
    case ZYDIS_MNEMONIC_SWAPGS:
        return put_swapgs(k, n);
    case ZYDIS_MNEMONIC_STAC:
        return put_ac(k, n, true);
    case ZYDIS_MNEMONIC_CLAC:
        return put_ac(k, n, false);
    case ZYDIS_MNEMONIC_PUSHFQ:
        return put_pushf(k, n);
    case ZYDIS_MNEMONIC_POPFQ:
        return put_popf(k, n);
    default:
        return put_system(k, n);
    }
}
