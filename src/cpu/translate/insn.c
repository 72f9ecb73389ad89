/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/insn.h"

#include "cpu/interp/fp.h"

unsigned insn_written(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    unsigned written = 0;

    for (unsigned m = 0; m < i->operand_count; m++)
        if (op[m].type == ZYDIS_OPERAND_TYPE_REGISTER && dec_is_gpr(op[m].reg.value) &&
            (op[m].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            written |= 1u << dec_gpr(op[m].reg.value) / 8;
    return written;
}

static bool is_shift(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
        return true;
    default:
        return false;
    }
}

/* A count of zero leaves all flags as they were; of SHLD the count may pass 16. */
static bool shift_surely_writes(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    if (i->mnemonic != ZYDIS_MNEMONIC_SHL && i->mnemonic != ZYDIS_MNEMONIC_SHR &&
        i->mnemonic != ZYDIS_MNEMONIC_SAR)
        return false;
    return op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
           (op[1].imm.value.u & (i->operand_width == 64 ? 63u : 31u));
}

/*
 * Flags that an instruction leaves undefined: after MUL, IMUL and the BT family CPUs may leave them
 * as they were. These ones write them whatever they were.
 */
static bool writes_undefined(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_XOR:
        return true;
    default:
        return false;
    }
}

struct insn_flags insn_flags(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    const ZydisAccessedFlags *f = i->cpu_flags;
    struct insn_flags r = {0};

    if (!f)
        return r;
    r.reads = (uint32_t)f->tested & RFLAGS_ARITH;
    r.writes = (uint32_t)(f->modified | f->set_0 | f->set_1) & RFLAGS_ARITH;
    r.touches = r.writes | ((uint32_t)f->undefined & RFLAGS_ARITH);
    if (writes_undefined(i->mnemonic))
        r.writes = r.touches;
    if (is_shift(i->mnemonic) && !shift_surely_writes(i, op)) {
        r.writes = 0; /* those that were there may pass through */
    }
    return r;
}

bool insn_is_jcc(const ZydisDecodedInstruction *i)
{
    return (i->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (i->opcode & 0xf0u) == 0x70) ||
           (i->opcode_map == ZYDIS_OPCODE_MAP_0F && (i->opcode & 0xf0u) == 0x80);
}

bool insn_is_nothing(const ZydisDecodedInstruction *i)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_ENDBR64:
    case ZYDIS_MNEMONIC_ENDBR32:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PAUSE:
    case ZYDIS_MNEMONIC_LFENCE:
        return true;
    default:
        return false;
    }
}

static bool is_plain_mnemonic(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_ADCX:
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_ADOX:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
    case ZYDIS_MNEMONIC_BSWAP:
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_CBW:
    case ZYDIS_MNEMONIC_CDQ:
    case ZYDIS_MNEMONIC_CDQE:
    case ZYDIS_MNEMONIC_CLC:
    case ZYDIS_MNEMONIC_CMC:
    case ZYDIS_MNEMONIC_CMOVB:
    case ZYDIS_MNEMONIC_CMOVBE:
    case ZYDIS_MNEMONIC_CMOVL:
    case ZYDIS_MNEMONIC_CMOVLE:
    case ZYDIS_MNEMONIC_CMOVNB:
    case ZYDIS_MNEMONIC_CMOVNBE:
    case ZYDIS_MNEMONIC_CMOVNL:
    case ZYDIS_MNEMONIC_CMOVNLE:
    case ZYDIS_MNEMONIC_CMOVNO:
    case ZYDIS_MNEMONIC_CMOVNP:
    case ZYDIS_MNEMONIC_CMOVNS:
    case ZYDIS_MNEMONIC_CMOVNZ:
    case ZYDIS_MNEMONIC_CMOVO:
    case ZYDIS_MNEMONIC_CMOVP:
    case ZYDIS_MNEMONIC_CMOVS:
    case ZYDIS_MNEMONIC_CMOVZ:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_CMPXCHG:
    case ZYDIS_MNEMONIC_CQO:
    case ZYDIS_MNEMONIC_CRC32:
    case ZYDIS_MNEMONIC_CWD:
    case ZYDIS_MNEMONIC_CWDE:
    case ZYDIS_MNEMONIC_DEC:
    case ZYDIS_MNEMONIC_IMUL:
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_LAHF:
    case ZYDIS_MNEMONIC_LZCNT:
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVBE:
    case ZYDIS_MNEMONIC_MOVNTI:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_NOT:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_POPCNT:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_SAHF:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SBB:
    case ZYDIS_MNEMONIC_SETB:
    case ZYDIS_MNEMONIC_SETBE:
    case ZYDIS_MNEMONIC_SETL:
    case ZYDIS_MNEMONIC_SETLE:
    case ZYDIS_MNEMONIC_SETNB:
    case ZYDIS_MNEMONIC_SETNBE:
    case ZYDIS_MNEMONIC_SETNL:
    case ZYDIS_MNEMONIC_SETNLE:
    case ZYDIS_MNEMONIC_SETNO:
    case ZYDIS_MNEMONIC_SETNP:
    case ZYDIS_MNEMONIC_SETNS:
    case ZYDIS_MNEMONIC_SETNZ:
    case ZYDIS_MNEMONIC_SETO:
    case ZYDIS_MNEMONIC_SETP:
    case ZYDIS_MNEMONIC_SETS:
    case ZYDIS_MNEMONIC_SETZ:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SHRD:
    case ZYDIS_MNEMONIC_STC:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_TZCNT:
    case ZYDIS_MNEMONIC_XADD:
    case ZYDIS_MNEMONIC_XCHG:
    case ZYDIS_MNEMONIC_XOR:
        return true;
    default:
        return false;
    }
}

/* Bit offsets in registers reach beyond a memory operand's own bytes. */
static bool reaches_beyond(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
        return op[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
               op[1].type != ZYDIS_OPERAND_TYPE_IMMEDIATE;
    default:
        return false;
    }
}

static bool operand_is_plain(const ZydisDecodedOperand *op)
{
    switch (op->type) {
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        return true;
    case ZYDIS_OPERAND_TYPE_MEMORY:
        return op->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN;
    case ZYDIS_OPERAND_TYPE_REGISTER:
        if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
            return ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_FLAGS ||
                   (dec_is_gpr(op->reg.value) && dec_gpr(op->reg.value) <= 8 * RDX + 1);
        return dec_is_gpr(op->reg.value);
    default:
        return false;
    }
}

bool insn_is_plain(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    if (i->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || !is_plain_mnemonic(i->mnemonic) ||
        reaches_beyond(i, op))
        return false;
    for (unsigned k = 0; k < i->operand_count; k++)
        if (!operand_is_plain(&op[k]))
            return false;
    return true;
}

static bool vector_operand_is_plain(const ZydisDecodedOperand *op)
{
    if (op->type == ZYDIS_OPERAND_TYPE_MEMORY)
        return op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM;
    return operand_is_plain(op) || dec_is_xmm(op) ||
           (op->type == ZYDIS_OPERAND_TYPE_REGISTER && op->reg.value == ZYDIS_REGISTER_MXCSR);
}

bool insn_is_vector(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    bool has_xmm = false;

    /* Those two belong to MMX even with a memory operand. */
    if (i->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
        i->mnemonic == ZYDIS_MNEMONIC_CVTPI2PS || i->mnemonic == ZYDIS_MNEMONIC_CVTPI2PD)
        return false;
    for (unsigned k = 0; k < i->operand_count; k++) {
        if (!vector_operand_is_plain(&op[k]))
            return false;
        has_xmm |= dec_is_xmm(&op[k]);
    }
    return has_xmm;
}
