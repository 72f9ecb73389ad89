/* SPDX-License-Identifier: Apache-2.0 */
/* From bytes to the generic fields of a uop; the families choose the handler. */
#include "cpu/interp/decode.h"

#include <string.h>

#include "cpu/interp/rewrite.h"
#include "cpu/interp/run.h"

void dec_init(struct dec *d, const struct interp *c)
{
    static const struct {
        ZydisMachineMode machine;
        ZydisStackWidth stack;
    } modes[CODE_MODES] = {
        [CODE_16] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
        [CODE_32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
        [CODE_64] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
    };
    /*
     * What our CPUID does not offer must decode as on CPUs without it: mostly NOPs of the 0F
     * 18..1F range.
     */
    static const ZydisDecoderMode off[] = {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET,
                                           ZYDIS_DECODER_MODE_CLDEMOTE,
                                           ZYDIS_DECODER_MODE_WBNOINVD};

    d->c = c;
    d->mode = c->mode;
    d->linkable = !c->cs_limited;
    d->ends_block = false;
    invariant(
        ZYAN_SUCCESS(ZydisDecoderInit(&d->decoder, modes[c->mode].machine, modes[c->mode].stack)));
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++)
        invariant(ZYAN_SUCCESS(ZydisDecoderEnableMode(&d->decoder, off[i], ZYAN_FALSE)));
}

uint8_t dec_gpr(ZydisRegister reg)
{
    if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
        return (uint8_t)((reg - ZYDIS_REGISTER_RAX) * 8);
    if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D)
        return (uint8_t)((reg - ZYDIS_REGISTER_EAX) * 8);
    if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W)
        return (uint8_t)((reg - ZYDIS_REGISTER_AX) * 8);
    if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL)
        return (uint8_t)((reg - ZYDIS_REGISTER_AL) * 8);
    if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
        return (uint8_t)((reg - ZYDIS_REGISTER_AH) * 8 + 1);
    invariant(reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B);
    return (uint8_t)((reg - ZYDIS_REGISTER_SPL + 4) * 8);
}

bool dec_is_gpr(ZydisRegister reg)
{
    return reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_R15;
}

uint8_t dec_seg(ZydisRegister reg)
{
    switch (reg) {
    case ZYDIS_REGISTER_ES:
        return SEG_ES;
    case ZYDIS_REGISTER_CS:
        return SEG_CS;
    case ZYDIS_REGISTER_SS:
        return SEG_SS;
    case ZYDIS_REGISTER_FS:
        return SEG_FS;
    case ZYDIS_REGISTER_GS:
        return SEG_GS;
    default:
        return SEG_DS;
    }
}

/*
 * In 64-bit mode ES, CS, SS and DS overrides mean nothing; SS stays the default of stack
 * addresses.
 */
static uint8_t memory_seg(const struct dec *d, ZydisRegister reg)
{
    uint8_t seg = dec_seg(reg);

    return d->mode == CODE_64 && seg < SEG_SS ? SEG_DS : seg;
}

uint8_t dec_override(const struct dec *d, uint8_t seg)
{
    static const struct {
        ZydisInstructionAttributes has;
        uint8_t seg;
    } overrides[] = {
        {ZYDIS_ATTRIB_HAS_SEGMENT_CS, SEG_CS}, {ZYDIS_ATTRIB_HAS_SEGMENT_SS, SEG_SS},
        {ZYDIS_ATTRIB_HAS_SEGMENT_DS, SEG_DS}, {ZYDIS_ATTRIB_HAS_SEGMENT_ES, SEG_ES},
        {ZYDIS_ATTRIB_HAS_SEGMENT_FS, SEG_FS}, {ZYDIS_ATTRIB_HAS_SEGMENT_GS, SEG_GS},
    };

    for (size_t i = 0; i < sizeof overrides / sizeof overrides[0]; i++)
        if ((d->i.attributes & overrides[i].has) &&
            (d->mode != CODE_64 || overrides[i].seg >= SEG_FS))
            return overrides[i].seg;
    return seg;
}

static uint8_t address_reg(ZydisRegister reg)
{
    return dec_is_gpr(reg) ? dec_gpr(reg) : GPR_ZERO;
}

/*
 * SIB base 101 with mod 00 is no register whatever REX.B says; the decoder library takes it for
 * r13 then.
 */
static bool is_without_base(const ZydisDecodedInstruction *i)
{
    return i->address_width != 16 && (i->attributes & ZYDIS_ATTRIB_HAS_SIB) &&
           i->raw.modrm.mod == 0 && i->raw.sib.base == 5;
}

static void fill_memory(const struct dec *d, struct uop *u, const ZydisDecodedOperand *op)
{
    static const uint8_t shift[9] = {[2] = 1, [4] = 2, [8] = 3};

    u->seg = memory_seg(d, op->mem.segment);
    u->disp = op->mem.disp.has_displacement ? op->mem.disp.value : 0;
    u->index = address_reg(op->mem.index);
    u->scale = shift[op->mem.scale & 15u];
    if (is_without_base(&d->i)) {
        u->disp = d->i.raw.disp.value;
        u->base = GPR_ZERO;
        return;
    }
    if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP) {
        u->base = GPR_PAGE;
        u->disp += u->off + d->i.length;
    } else {
        u->base = address_reg(op->mem.base);
    }
}

static uint8_t prefixes(const ZydisDecodedInstruction *i)
{
    uint8_t p = i->attributes & ZYDIS_ATTRIB_HAS_LOCK ? UOP_LOCK : 0;

    for (unsigned k = i->raw.prefix_count; k-- > 0;) {
        if (i->raw.prefixes[k].value == 0xf3)
            return p | UOP_REP;
        if (i->raw.prefixes[k].value == 0xf2)
            return p | UOP_REPNE;
    }
    return p;
}

/* Operands in memory, hidden ones (the stack, string operands) too. */
static uint8_t count_memory(const struct dec *d)
{
    unsigned m = 0;

    for (unsigned k = 0; k < d->i.operand_count; k++)
        m +=
            d->op[k].type == ZYDIS_OPERAND_TYPE_MEMORY && d->op[k].mem.type == ZYDIS_MEMOP_TYPE_MEM;
    return (uint8_t)m;
}

static void fill_fields(struct dec *d, struct uop *u)
{
    d->ops = d->i.operand_count_visible;
    d->mem_op = -1;
    u->len = d->i.length;
    u->m = count_memory(d);
    u->opsize = (uint8_t)(d->i.operand_width / 8);
    u->addrsize = (uint8_t)(d->i.address_width / 8);
    u->prefix = prefixes(&d->i);
    u->base = GPR_ZERO;
    u->index = GPR_ZERO;
    u->seg = SEG_DS;
    for (unsigned k = 0; k < d->ops; k++) {
        if (d->op[k].type == ZYDIS_OPERAND_TYPE_MEMORY && d->mem_op < 0) {
            d->mem_op = (int)k;
            fill_memory(d, u, &d->op[k]);
        } else if (d->op[k].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
            u->imm = d->op[k].imm.value.s;
        }
    }
}

enum dec_result dec_insn(struct dec *d, const uint8_t *bytes, unsigned avail, unsigned off,
                         struct uop *u)
{
    ZyanStatus status = ZydisDecoderDecodeFull(&d->decoder, bytes, avail, &d->i, d->op);

    memset(u, 0, sizeof *u);
    u->off = (uint16_t)off;
    u->len = 1;
    d->ends_block = false;
    d->immediate = 0;
    if (status == ZYDIS_STATUS_NO_MORE_DATA && avail < ZYDIS_MAX_INSTRUCTION_LENGTH)
        return DEC_NEEDS_MORE;
    if (ZYAN_SUCCESS(status)) {
        fill_fields(d, u);
        d->immediate = rewrite_immediate(&d->i);
        if (families_build(d, u))
            return DEC_OK;
    }
    u->fn = status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG || status == ZYDIS_STATUS_NO_MORE_DATA
                ? op_too_long
                : op_ud;
    d->ends_block = true;
    return DEC_OK;
}
