/* SPDX-License-Identifier: Apache-2.0 */
/* Cases from numbers: the same number always gives the same case. */
#include <string.h>

#include "dice.h"
#include "insn.h"

static uint64_t next(uint64_t *s)
{
    struct dice d = {*s};
    uint64_t v = dice_next(&d);

    *s = d.s;
    return v;
}

static unsigned below(uint64_t *s, unsigned n)
{
    return (unsigned)(next(s) >> 33) % n;
}

static bool percent(uint64_t *s, unsigned p)
{
    return below(s, 100) < p;
}

void gen_data(uint8_t *data, uint64_t seed)
{
    for (unsigned i = 0; i < DATA_BYTES; i += 8) {
        uint64_t v = next(&seed);
        memcpy(data + i, &v, 8);
    }
}

uint64_t gen_integer(uint64_t *s)
{
    static const uint64_t edges[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
                                     0x80000000, 0xffffffff, 0x7fffffffffffffff,
                                     0x8000000000000000, ~UINT64_C(0)};
    if (percent(s, 30))
        return edges[below(s, sizeof edges / sizeof *edges)];
    uint64_t v = next(s) >> below(s, 64);
    return percent(s, 30) ? (uint64_t)-(int64_t)v : v;
}

/*
 * Bit patterns of floating point: zeros, infinities, NaNs, denormals, ones, near-overflow, random.
 */
static uint64_t gen_double(uint64_t *s)
{
    static const uint64_t edges[] = {0, UINT64_C(1) << 63, 0x7ff0000000000000, 0xfff0000000000000,
                                     0x7ff8000000000001, 0x7ff0000000000001, 1, 0x000fffffffffffff,
                                     0x3ff0000000000000, 0x7fefffffffffffff, 0x4330000000000001,
                                     0x43e0000000000000};
    return percent(s, 50) ? edges[below(s, sizeof edges / sizeof *edges)] : next(s);
}

static uint64_t gen_floats(uint64_t *s)
{
    static const uint32_t edges[] = {0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00001, 0x7f800001,
                                     1, 0x007fffff, 0x3f800000, 0x7f7fffff, 0x4b000001, 0x5f000000};
    uint64_t v = 0;
    for (int i = 0; i < 2; i++)
        v = v << 32 | (percent(s, 50) ? edges[below(s, 12)] : (uint32_t)next(s));
    return v;
}

static uint64_t gen_vector_lane(uint64_t *s)
{
    switch (below(s, 3)) {
    case 0:
        return gen_integer(s);
    case 1:
        return gen_double(s);
    default:
        return gen_floats(s);
    }
}

void gen_fpu(uint8_t *fx, uint64_t *s)
{
    memset(fx, 0, 512);
    uint16_t fcw = percent(s, 70) ? 0x037f : (uint16_t)(0x0040 | (next(s) & 0x0f3f));
    uint16_t fsw = percent(s, 70) ? 0 : (uint16_t)(next(s) & 0x7f7f);
    uint32_t mxcsr = percent(s, 50) ? 0x1f80 : (uint32_t)(next(s) & 0xffff);
    /* ES and B summarise pending unmasked exceptions */
    if (fsw & ~fcw & 0x3f)
        fsw |= 0x8080;
    memcpy(fx, &fcw, 2);
    memcpy(fx + 2, &fsw, 2);
    fx[4] = percent(s, 60) ? 0xff : (uint8_t)next(s);
    memcpy(fx + 24, &mxcsr, 4);
    for (int i = 0; i < 8; i++) {
        uint64_t mantissa = percent(s, 70) ? next(s) | UINT64_C(1) << 63 : gen_integer(s);
        uint16_t exponent = (uint16_t)(percent(s, 60) ? 0x3fe0 + below(s, 64) : next(s));
        if (percent(s, 10))
            exponent |= 0x7fff;
        memcpy(fx + 32 + 16 * i, &mantissa, 8);
        memcpy(fx + 40 + 16 * i, &exponent, 2);
    }
    for (int i = 0; i < 32; i++) {
        uint64_t v = gen_vector_lane(s);
        memcpy(fx + 160 + 8 * i, &v, 8);
    }
}

unsigned gen_bytes(uint8_t *b, uint64_t *s, bool code32)
{
    unsigned n = 0;
    if (percent(s, 15))
        b[n++] = 0x66;
    if (percent(s, 8))
        b[n++] = 0xf2;
    if (percent(s, 10))
        b[n++] = 0xf3;
    if (percent(s, 4))
        b[n++] = 0x67;
    if (percent(s, 5))
        b[n++] = 0xf0;
    if (!code32 && percent(s, 4))
        b[n++] = 0x65;
    bool vex = percent(s, 4);
    if (vex) {
        b[n++] = 0xc4;
        b[n++] = (uint8_t)((next(s) & 0xe0) | (2 + percent(s, 20)));
        b[n++] = (uint8_t)(next(s) & 0xfb); /* L = 0 */
    } else {
        if (!code32 && percent(s, 45))
            b[n++] = (uint8_t)(0x40 | below(s, 16));
        switch (below(s, 10)) {
        case 0:
        case 1:
        case 2:
        case 3:
            break;
        case 4:
        case 5:
        case 6:
            b[n++] = 0x0f;
            break;
        case 7:
        case 8:
            b[n++] = 0x0f;
            b[n++] = percent(s, 70) ? 0x38 : 0x3a;
            break;
        default: /* x87 */
            b[n++] = (uint8_t)(0xd8 | below(s, 8));
            break;
        }
    }
    while (n < 15) {
        uint64_t v = next(s);
        for (unsigned i = 0; i < 8 && n < 15; i++, v >>= 8)
            b[n++] = (uint8_t)v;
    }
    return n;
}

bool gen_is_offered(const ZydisDecodedInstruction *i)
{
    switch (i->meta.isa_ext) {
    case ZYDIS_ISA_EXT_BASE:
    case ZYDIS_ISA_EXT_LONGMODE:
    case ZYDIS_ISA_EXT_X87:
    case ZYDIS_ISA_EXT_MMX:
    case ZYDIS_ISA_EXT_SSE:
    case ZYDIS_ISA_EXT_SSE2:
    case ZYDIS_ISA_EXT_SSE3:
    case ZYDIS_ISA_EXT_SSSE3:
    case ZYDIS_ISA_EXT_SSE4:
        return true;
    case ZYDIS_ISA_EXT_BMI1: /* these came into the world together, near enough */
    case ZYDIS_ISA_EXT_BMI2:
    case ZYDIS_ISA_EXT_ADOX_ADCX:
    case ZYDIS_ISA_EXT_LZCNT:
    case ZYDIS_ISA_EXT_MOVBE:
        return __builtin_cpu_supports("bmi2");
    case ZYDIS_ISA_EXT_AES:
        return __builtin_cpu_supports("aes");
    case ZYDIS_ISA_EXT_PCLMULQDQ:
        return __builtin_cpu_supports("pclmul");
    default:
        return false;
    }
}

static bool has_prefix(const struct test_case *t, uint8_t prefix)
{
    for (unsigned i = 0; i < t->insn.raw.prefix_count; i++) {
        if (t->insn.raw.prefixes[i].value == prefix)
            return true;
    }
    return false;
}

static bool is_compare_string(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_CMPSB || m == ZYDIS_MNEMONIC_CMPSW || m == ZYDIS_MNEMONIC_CMPSD ||
           m == ZYDIS_MNEMONIC_CMPSQ;
}

static bool is_port_string(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_INSB || m == ZYDIS_MNEMONIC_INSW || m == ZYDIS_MNEMONIC_INSD ||
           m == ZYDIS_MNEMONIC_OUTSB || m == ZYDIS_MNEMONIC_OUTSW || m == ZYDIS_MNEMONIC_OUTSD;
}

static bool is_masked_move(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_MASKMOVQ || m == ZYDIS_MNEMONIC_MASKMOVDQU;
}

/* SHLD and SHRD of 16 bits by more than 16 give an undefined result. */
static bool is_undefined_shift(const struct test_case *t)
{
    const ZydisDecodedOperand *count = &t->op[2];
    if ((t->insn.mnemonic != ZYDIS_MNEMONIC_SHLD && t->insn.mnemonic != ZYDIS_MNEMONIC_SHRD) ||
        t->insn.operand_width != 16)
        return false;
    return ((count->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? count->imm.value.u : t->start.gpr[1]) &
            31) > 16;
}

/* Answers that differ between any two machines, or that would take the oracle's process away. */
static bool is_comparable(const struct test_case *t)
{
    const ZydisDecodedInstruction *i = &t->insn;
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDPMC:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_POPF: /* AC and TF would reach the oracle's own handler */
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_FXSAVE: /* instruction pointers in memory differ */
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_MONITOR:
    case ZYDIS_MNEMONIC_MWAIT:
    case ZYDIS_MNEMONIC_VMCALL:
    case ZYDIS_MNEMONIC_VMMCALL:
    case ZYDIS_MNEMONIC_FEMMS:
    case ZYDIS_MNEMONIC_UD0: /* with or without ModRM, by vendor */
    case ZYDIS_MNEMONIC_UD1:
        return false;
    case ZYDIS_MNEMONIC_ARPL: /* AMD writes memory only when it changes */
        return i->raw.modrm.mod == 3;
    default:
        break;
    }
    if (i->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return false;
    /* 64-bit near branches with an operand size prefix: 16 bits on AMD, ignored on Intel */
    if (i->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && !t->code32 &&
        (i->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE))
        return false;
    /* MOVSXD of 16 bits reads four bytes on AMD, two on Intel */
    if (i->mnemonic == ZYDIS_MNEMONIC_MOVSXD && i->operand_width == 16)
        return false;
    /* LOOPE and LOOPNE with F2 or F3: by vendor */
    if ((i->mnemonic == ZYDIS_MNEMONIC_LOOPE || i->mnemonic == ZYDIS_MNEMONIC_LOOPNE) &&
        (has_prefix(t, 0xf2) || has_prefix(t, 0xf3)))
        return false;
    /* 0F 0D with a register: undefined on AMD, a NOP on Intel */
    if (i->opcode_map == ZYDIS_OPCODE_MAP_0F && i->opcode == 0x0d && i->raw.modrm.mod == 3)
        return false;
    for (unsigned n = 0; n < i->operand_count; n++) {
        const ZydisDecodedOperand *op = &t->op[n];
        if (op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_SEGMENT)
            return false;
        if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->mem.segment == ZYDIS_REGISTER_FS)
            return false;
    }
    return true;
}

static int gpr_index(ZydisRegister r)
{
    return ZydisRegisterGetId(r) >= 0 ? ZydisRegisterGetId(r) & 15 : -1;
}

/*
 * Where the memory operand shall lie: mostly good, sometimes across a page, read-only, unmapped,
 * non-canonical.
 */
static uint64_t gen_target(uint64_t *s, bool code32)
{
    unsigned kind = below(s, 100);
    if (kind < 60)
        return DATA_BASE + 512 + (below(s, 3000) & ~(percent(s, 60) ? 15u : 0u));
    if (kind < 75)
        return DATA_BASE + 4096 - below(s, 64);
    if (kind < 82)
        return DATA_BASE + RW_BYTES - below(s, 64);
    if (kind < 88)
        return DATA_BASE + RW_BYTES + below(s, 4000);
    if (kind < 93)
        return DATA_BASE + DATA_BYTES - below(s, 64);
    if (kind < 97 || code32)
        return DATA_BASE + DATA_BYTES + 4096 + below(s, 4096);
    return (UINT64_C(0x8000) << 32) + next(s) % (UINT64_C(1) << 40);
}

/* Chooses registers or displacement so that the explicit memory operand meets the target. */
static void aim(struct test_case *t, uint64_t *s)
{
    const ZydisDecodedOperand *m = NULL;
    for (unsigned n = 0; n < t->insn.operand_count_visible; n++) {
        if (t->op[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
            m = &t->op[n];
    }
    if (!m)
        return;
    uint64_t target = gen_target(s, t->code32);
    uint64_t want = target - (m->mem.segment == ZYDIS_REGISTER_GS ? GS_BASE : 0);
    if (m->mem.base == ZYDIS_REGISTER_NONE && m->mem.index == ZYDIS_REGISTER_NONE) {
        if (t->insn.raw.disp.size >= 32)
            memcpy(t->bytes + t->insn.raw.disp.offset, &want, t->insn.raw.disp.size / 8);
    } else if (m->mem.base == ZYDIS_REGISTER_RIP || m->mem.base == ZYDIS_REGISTER_EIP) {
        uint32_t disp = (uint32_t)(want - (t->start.rip + t->length));
        memcpy(t->bytes + t->insn.raw.disp.offset, &disp, 4);
    } else if (m->mem.base != ZYDIS_REGISTER_NONE) {
        int base = gpr_index(m->mem.base);
        int index = m->mem.index != ZYDIS_REGISTER_NONE ? gpr_index(m->mem.index) : -1;
        uint64_t rest = (uint64_t)m->mem.disp.value;
        if (index == base) {
            t->start.gpr[base] = (want - rest) / (1u + m->mem.scale);
        } else {
            if (index >= 0) {
                if (t->insn.address_width < 64)
                    t->start.gpr[index] &= 0xffff;
                rest += t->start.gpr[index] * (m->mem.scale ? m->mem.scale : 1);
            }
            t->start.gpr[base] = want - rest;
        }
        /* BT with a register offset reaches far from its operand: keep it near */
        if (t->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER && t->insn.mnemonic >= ZYDIS_MNEMONIC_BT &&
            t->insn.mnemonic <= ZYDIS_MNEMONIC_BTS && percent(s, 80)) {
            int r = gpr_index(t->op[1].reg.value);
            if (r != base && r != index)
                t->start.gpr[r] = (uint64_t)(int64_t)((int)below(s, 512) - 256);
        }
    }
    uint64_t at = target - DATA_BASE;
    t->poke_at = at < DATA_BYTES - sizeof t->poke ? at : ~UINT64_C(0);
    for (unsigned i = 0; i < sizeof t->poke; i += 8) {
        uint64_t v = gen_vector_lane(s);
        memcpy(t->poke + i, &v, 8);
    }
}

bool gen_case(struct test_case *t, uint64_t number)
{
    uint64_t s = number * 0x2545f4914f6cdd1d + 0x1234567;
    ZydisDecoder decoder;
    memset(t, 0, sizeof *t);
    t->number = number;
    t->code32 = percent(&s, 25);
    t->poke_at = ~UINT64_C(0);
    ZydisDecoderInit(&decoder,
                     t->code32 ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 : ZYDIS_MACHINE_MODE_LONG_64,
                     t->code32 ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_64);
    gen_bytes(t->bytes, &s, t->code32);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, t->bytes, 15, &t->insn, t->op)) ||
        !gen_is_offered(&t->insn) || !is_comparable(t))
        return false;
    t->length = t->insn.length;
    t->end = t->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE && percent(&s, 60) ? END_INT3
                                                                                   : END_TRAP_FLAG;

    for (int i = 0; i < 16; i++)
        t->start.gpr[i] = gen_integer(&s);
    t->start.gpr[4] = DATA_BASE + 1024 + 8 * below(&s, 256);
    if (percent(&s, 3))
        t->start.gpr[4] = gen_target(&s, t->code32);
    /*
     * String operations and XLAT find something there. Always where it is the CPU's choice what
     * faults: the first operand of CMPS or the second, bytes of a masked move that are not to be
     * written.
     */
    if (percent(&s, 70) || is_compare_string(t->insn.mnemonic) ||
        is_masked_move(t->insn.mnemonic)) {
        t->start.gpr[6] = DATA_BASE + below(&s, RW_BYTES);
        t->start.gpr[7] = DATA_BASE + below(&s, RW_BYTES - 16);
    }
    if (t->insn.attributes &
        (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE))
        t->start.gpr[1] = below(&s, 600);
    /* INS and OUTS of no elements: whether the port is checked is the CPU's choice */
    if (is_port_string(t->insn.mnemonic))
        t->start.gpr[1] |= 1;
    /* an operand that wraps at the end of a 4 GiB segment may fault or not (SDM 3A 5.3) */
    if (t->code32) {
        for (int i = 5; i < 8; i++)
            t->start.gpr[i] &= 0x7fffffff;
    }
    t->start.rflags = 0x202 | (next(&s) & 0xcd5);
    if (percent(&s, 70))
        t->start.rflags &= ~UINT64_C(0x400);
    t->start.rip = CODE_BASE + below(&s, 2048);
    if (percent(&s, 10))
        t->start.rip = CODE_BASE + 4096 - t->length + (percent(&s, 20) ? below(&s, t->length) : 0);
    gen_fpu(t->start.fx, &s);
    aim(t, &s);
    if (is_undefined_shift(t))
        return false;
    if (t->insn.mnemonic == ZYDIS_MNEMONIC_LDMXCSR) {
        t->poke[2] &= 0xfd; /* bit 17: misaligned exception mask on AMD, reserved elsewhere */
        if (t->poke_at == ~UINT64_C(0))
            return false;
    }
    if (t->code32) {
        for (int i = 0; i < 16; i++)
            t->start.gpr[i] = i < 8 ? (uint32_t)t->start.gpr[i] : 0;
    }
    return true;
}
