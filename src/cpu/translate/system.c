/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions about the CPU's state that are frequent where the kernel is entered and left: time,
 * control registers and selectors that are read, bases, the direction flag.
 */
#include "cpu/translate/compile.h"

#define PUT(...) EMIT(&k->e, __VA_ARGS__)

/* By the handler, if a bit of CR4 is 1 (is_set) or 0. */
static const struct uop *put_cr4_guard(struct compile *k, unsigned n, uint32_t bit, bool is_set)
{
    const struct uop *pair = fallback_pair(k, n, CALLOUT_STATE);

    flags_before(k, k->live[n + 1]);
    put_abs(k, 0xf7, 0, ABS(k->t->c.s.cr4)); /* test dword, bit */
    emit_u32(&k->e, bit);
    put_slow_if(k, is_set ? 5 : 4, pair);
    return pair;
}

/* c.s's field, 64 bits, into a guest register. */
static void put_field(struct compile *k, unsigned guest, uint32_t address)
{
    unsigned to = host_reg(guest);

    emit_load(&k->e, to == X_NONE ? HOST_T0 : to, address);
    if (to == X_NONE)
        emit_store(&k->e, HOST_T0, guest_at(k, guest));
}

/* What the guest's TSC is made of: (host's - start) * mul / div + TSC_ADJUST. */
static bool put_rdtsc(struct compile *k, unsigned n, bool and_aux)
{
    struct translate *t = k->t;
    const struct uop *pair;

    if (!t->tsc.mul)
        return false;
    pair = put_cr4_guard(k, n, CR4_TSD, true);
    PUT(0x0f, 0x31);                                /* rdtsc */
    PUT(0x48, 0xc1, 0xe2, 32);                      /* shl rdx, 32 */
    PUT(0x48, 0x09, 0xd0);                          /* or rax, rdx */
    emit_on(&k->e, 0x2b, X_RAX, ABS(t->tsc.start)); /* sub rax, [start] */
    put_slow_if(k, 2, pair);                        /* below: never divide what does not fit */
    if (t->tsc.div != 1) {
        emit_on(&k->e, 0xf7, 4, ABS(t->tsc.mul)); /* mul qword [mul] */
        emit_on(&k->e, 0xf7, 6, ABS(t->tsc.div)); /* div qword [div] */
    }
    emit_on(&k->e, 0x03, X_RAX, ABS(t->c.s.tsc_adjust)); /* add rax, [tsc_adjust] */
    emit_move(&k->e, X_RDX, X_RAX);
    PUT(0x48, 0xc1, 0xea, 32); /* shr rdx, 32 */
    PUT(0x89, 0xc0);           /* mov eax, eax */
    if (and_aux)
        put_abs(k, 0x8b, X_RCX, ABS(t->c.s.tsc_aux));
    return true;
}

static bool put_from_cr(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);
    uint32_t address;

    if (k->word != 8)
        return false;
    switch (u->imm) {
    case 0:
        address = ABS(k->t->c.s.cr0);
        break;
    case 2:
        address = ABS(k->t->c.s.cr2);
        break;
    case 3:
        address = ABS(k->t->c.s.cr3);
        break;
    case 4:
        address = ABS(k->t->c.s.cr4);
        break;
    default:
        return false;
    }
    put_kernel_only(k, n);
    put_field(k, u->dst / 8u, address);
    return true;
}

/* 16 bits of a register; the others stay. */
static void put_selector16(struct compile *k, unsigned guest, uint32_t address)
{
    unsigned to = host_reg(guest);
    struct x_form f = {.op = 0x8b,
                       .size16 = true,
                       .reg = (uint8_t)(to == X_NONE ? HOST_T0 : to),
                       .rm = XRM_ABS,
                       .disp = (int32_t)address};

    emit_form(&k->e, &f);
    if (to != X_NONE)
        return;
    f.op = 0x89;
    f.disp = (int32_t)guest_at(k, guest);
    emit_form(&k->e, &f);
}

static bool put_from_sreg(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);
    uint32_t selector = ABS(k->t->c.s.seg[u->src].selector);
    unsigned to = host_reg(u->dst / 8u);

    if (u->opsize == 2) {
        put_selector16(k, u->dst / 8u, selector);
        return true;
    }
    emit_form(&k->e, &(struct x_form){.map = 1, /* movzx */
                                      .op = 0xb7,
                                      .reg = (uint8_t)(to == X_NONE ? HOST_T0 : to),
                                      .rm = XRM_ABS,
                                      .disp = (int32_t)selector});
    if (to == X_NONE)
        emit_store(&k->e, HOST_T0, guest_at(k, u->dst / 8u));
    return true;
}

/* MOV to a general register from a control or segment register. */
static bool put_mov(struct compile *k, unsigned n)
{
    const ZydisDecodedOperand *op = k->op[n];

    if (op[0].type != ZYDIS_OPERAND_TYPE_REGISTER || !dec_is_gpr(op[0].reg.value) ||
        op[1].type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    switch (ZydisRegisterGetClass(op[1].reg.value)) {
    case ZYDIS_REGCLASS_CONTROL:
        return put_from_cr(k, n);
    case ZYDIS_REGCLASS_SEGMENT:
        return put_from_sreg(k, n);
    default:
        return false;
    }
}

static bool put_rdbase(struct compile *k, unsigned n, enum x86_seg seg)
{
    const struct uop *u = uop_of(k, n);

    if (u->opsize != 8)
        return false;
    put_cr4_guard(k, n, CR4_FSGSBASE, false);
    put_field(k, u->dst / 8u, ABS(k->t->c.s.seg[seg].base));
    return true;
}

static bool put_wrbase(struct compile *k, unsigned n, enum x86_seg seg)
{
    const struct uop *u = uop_of(k, n), *pair;
    unsigned from, shift = CANONICAL_SHIFT_48;

    if (u->opsize != 8)
        return false;
    if (k->t->c.identity.features & CPU_FEATURE_LA57)
        shift = CANONICAL_SHIFT_57;
    pair = put_cr4_guard(k, n, CR4_FSGSBASE, false);
    from = put_register_in(k, u->src / 8u, HOST_T0);
    emit_move(&k->e, HOST_T1, from);
    PUT(0x49, 0xc1, 0xe3, (uint8_t)shift); /* shl r11, shift */
    PUT(0x49, 0xc1, 0xfb, (uint8_t)shift); /* sar r11, shift */
    emit_form(&k->e,
              &(struct x_form){
                  .op = 0x3b, .w = true, .reg = HOST_T1, .rm = XRM_REG, .base = (uint8_t)from});
    put_slow_if(k, 5, pair); /* not equal: not canonical */
    emit_store(&k->e, from, ABS(k->t->c.s.seg[seg].base));
    return true;
}

static bool put_direction(struct compile *k, unsigned n, bool down)
{
    flags_before(k, k->live[n + 1]);
    put_abs(k, 0x81, down ? 1 : 4, ABS(k->t->c.s.rflags)); /* or, and */
    emit_u32(&k->e, down ? RFLAGS_DF : ~RFLAGS_DF);
    return true;
}

bool put_system(struct compile *k, unsigned n)
{
    switch (k->i[n].mnemonic) {
    case ZYDIS_MNEMONIC_RDTSC:
        return put_rdtsc(k, n, false);
    case ZYDIS_MNEMONIC_RDTSCP:
        return put_rdtsc(k, n, true);
    case ZYDIS_MNEMONIC_MOV:
        return put_mov(k, n);
    case ZYDIS_MNEMONIC_RDFSBASE:
        return put_rdbase(k, n, SEG_FS);
    case ZYDIS_MNEMONIC_RDGSBASE:
        return put_rdbase(k, n, SEG_GS);
    case ZYDIS_MNEMONIC_WRFSBASE:
        return put_wrbase(k, n, SEG_FS);
    case ZYDIS_MNEMONIC_WRGSBASE:
        return put_wrbase(k, n, SEG_GS);
    case ZYDIS_MNEMONIC_CLD:
        return put_direction(k, n, false);
    case ZYDIS_MNEMONIC_STD:
        return put_direction(k, n, true);
    default:
        return false;
    }
}
