/* SPDX-License-Identifier: Apache-2.0 */
/* BT and its kin on bits anywhere in memory, and CMPXCHG16B. */
#include "cpu/translate/compile.h"

#define PUT(...) EMIT(&k->e, __VA_ARGS__)

/* r11: the bit number of a register, sign-extended. */
static void put_bit_number(struct compile *k, unsigned guest, bool wide)
{
    unsigned from = put_register_in(k, guest, HOST_T1);

    if (wide)
        emit_move(&k->e, HOST_T1, from);
    else
        emit_form(&k->e, &(struct x_form){.op = 0x63, /* movsxd */
                                          .w = true,
                                          .reg = HOST_T1,
                                          .rm = XRM_REG,
                                          .base = (uint8_t)from});
}

/*
 * The number's upper bits choose the element beside the operand, the lower ones are left for the
 * instruction itself.
 */
bool put_bit_beyond(struct compile *k, unsigned n)
{
    const ZydisDecodedInstruction *i = &k->i[n];
    const struct uop *u = uop_of(k, n);
    bool wide = u->opsize == 8;
    unsigned guest;

    if (!memory_operand(k, n) || k->op[n][1].type != ZYDIS_OPERAND_TYPE_REGISTER || u->opsize < 4 ||
        u->addrsize != 8 || !address_fits(u))
        return false;
    guest = dec_gpr(k->op[n][1].reg.value) / 8;
    flags_before(k, k->live[n]);
    put_address(k, u);
    put_bit_number(k, guest, wide);
    PUT(0x49, 0xc1, 0xfb, wide ? 6 : 5); /* sar r11, 6 */
    emit_form(&k->e, &(struct x_form){.op = 0x8d,
                                      .w = true,
                                      .reg = HOST_T0,
                                      .rm = XRM_MEM,
                                      .base = HOST_T0,
                                      .index = HOST_T1,
                                      .scale = wide ? 3 : 2});
    put_window_check(k, n, u->opsize, i->mnemonic != ZYDIS_MNEMONIC_BT, false);
    put_bit_number(k, guest, wide);
    PUT(0x41, 0x83, 0xe3, wide ? 63 : 31); /* and r11d, 63 */
    if (k->flags == FLAGS_AWAY) {          /* bringing them back takes r11 */
        emit_store(&k->e, HOST_T1, ABS(k->t->target));
        flags_for(k, n);
        emit_load(&k->e, HOST_T1, ABS(k->t->target));
    } else {
        flags_for(k, n);
    }
    emit_form(&k->e, &(struct x_form){.map = 1,
                                      .op = i->opcode,
                                      .w = wide,
                                      .lock = (i->attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0,
                                      .reg = HOST_T1,
                                      .rm = XRM_MEM,
                                      .base = HOST_T0,
                                      .index = X_NONE});
    return true;
}

/* Its four registers are the host's own. */
bool put_cmpxchg16b(struct compile *k, unsigned n)
{
    const struct uop *u = uop_of(k, n);

    if (!address_fits(u))
        return false;
    put_address(k, u);
    put_window_check(k, n, 16, true, true);
    flags_for(k, n);
    emit_form(&k->e, &(struct x_form){.map = 1,
                                      .op = 0xc7,
                                      .w = true,
                                      .lock = (k->i[n].attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0,
                                      .reg = 1,
                                      .rm = XRM_MEM,
                                      .base = HOST_T0,
                                      .index = X_NONE});
    return true;
}
