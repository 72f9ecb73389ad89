/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random instructions without branches. Eight registers mostly hold pointers, the others values, so
 * that a run goes on for some time before it faults.
 */
#include <string.h>

#include <Zydis/Zydis.h>

#include "block_code.h"
#include "insn.h"

static const uint8_t pointer_registers[] = {3, 5, 6, 7, 9, 12, 14, 4};
static const uint8_t value_registers[] = {0, 1, 2, 8, 10, 11, 13, 15};

bool is_pointer_register(unsigned reg)
{
    return memchr(pointer_registers, (int)reg, sizeof pointer_registers) != NULL;
}

unsigned pointer_register(struct writer *w)
{
    if (w->p->narrow)
        return dice_percent(w->d, 20) ? 4 : pointer_registers[dice_below(w->d, 4)];
    return ONE_OF(pointer_registers);
}

unsigned value_register(struct writer *w)
{
    if (w->p->narrow)
        return value_registers[dice_below(w->d, 3)];
    return ONE_OF(value_registers);
}

/* --- by Zydis' encoder --- */

static ZydisRegister gpr(unsigned reg, unsigned bytes)
{
    static const ZydisRegister first[] = {[1] = ZYDIS_REGISTER_AL,
                                          [2] = ZYDIS_REGISTER_AX,
                                          [4] = ZYDIS_REGISTER_EAX,
                                          [8] = ZYDIS_REGISTER_RAX};

    if (bytes == 1 && reg >= 4)
        return (ZydisRegister)((reg < 8 ? ZYDIS_REGISTER_SPL - 4 : ZYDIS_REGISTER_R8B - 8) +
                               (int)reg);
    return (ZydisRegister)(first[bytes] + (int)reg);
}

/* Bytes of an address, and of the widest value. */
static unsigned word(const struct writer *w)
{
    return w->p->narrow ? 4 : 8;
}

static unsigned some_register(struct writer *w)
{
    for (;;) {
        unsigned r = dice_percent(w->d, 94) ? value_register(w) : pointer_register(w);
        if (!(w->keep >> r & 1))
            return r;
    }
}

static ZydisEncoderOperand op_register(struct writer *w, unsigned bytes)
{
    ZydisEncoderOperand o = {.type = ZYDIS_OPERAND_TYPE_REGISTER};
    unsigned r = some_register(w);

    o.reg.value = gpr(r, bytes);
    if (bytes == 1 && r < 3 && dice_percent(w->d, 30) && !(w->keep & 0xf))
        o.reg.value = (ZydisRegister)(ZYDIS_REGISTER_AH + (int)r);
    return o;
}

static ZydisEncoderOperand op_memory(struct writer *w, unsigned bytes)
{
    ZydisEncoderOperand o = {.type = ZYDIS_OPERAND_TYPE_MEMORY};
    int64_t small = (int64_t)dice_below(w->d, 96) - 32;

    o.mem.size = (ZyanU16)bytes;
    o.mem.base = gpr(pointer_register(w), word(w));
    o.mem.displacement = dice_percent(w->d, 60) ? (small & ~7) : small;
    if (dice_percent(w->d, 8))
        o.mem.displacement = (int64_t)dice_below(w->d, 8192) - 4096;
    if (dice_percent(w->d, 15)) {
        o.mem.index = gpr(value_register(w), word(w));
        o.mem.scale = (ZyanU8)(1u << dice_below(w->d, 4));
    }
    if (dice_percent(w->d, 3)) {
        o.mem.base = gpr(pointer_register(w), 4);
        o.mem.index = ZYDIS_REGISTER_NONE;
        o.mem.scale = 0;
    }
    if (dice_percent(w->d, 5)) { /* absolute */
        o.mem.base = o.mem.index = ZYDIS_REGISTER_NONE;
        o.mem.scale = 0;
        o.mem.displacement = (int64_t)(DATA_VA + dice_below(w->d, DATA_PAGES * 4096));
    }
    return o;
}

static ZydisEncoderOperand op_immediate(struct writer *w, unsigned bytes)
{
    ZydisEncoderOperand o = {.type = ZYDIS_OPERAND_TYPE_IMMEDIATE};
    uint64_t v = gen_integer(&w->d->s);

    o.imm.s = bytes == 1 ? (int8_t)v : bytes == 2 ? (int16_t)v : (int32_t)v;
    return o;
}

static bool encode(struct writer *w, ZydisEncoderRequest *r)
{
    uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
    ZyanUSize length = sizeof bytes;

    r->machine_mode = w->p->narrow ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LONG_64;
    if (!ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(r, bytes, &length)))
        return false;
    code_put_whole(w, bytes, (unsigned)length);
    return true;
}

/* --- straight-line instructions --- */

static const ZydisMnemonic two_operands[] = {
    ZYDIS_MNEMONIC_ADD,  ZYDIS_MNEMONIC_ADC,  ZYDIS_MNEMONIC_SUB,    ZYDIS_MNEMONIC_SBB,
    ZYDIS_MNEMONIC_AND,  ZYDIS_MNEMONIC_OR,   ZYDIS_MNEMONIC_XOR,    ZYDIS_MNEMONIC_CMP,
    ZYDIS_MNEMONIC_MOV,  ZYDIS_MNEMONIC_MOV,  ZYDIS_MNEMONIC_MOV,    ZYDIS_MNEMONIC_TEST,
    ZYDIS_MNEMONIC_XCHG, ZYDIS_MNEMONIC_XADD, ZYDIS_MNEMONIC_CMPXCHG};
static const ZydisMnemonic into_register[] = {
    ZYDIS_MNEMONIC_IMUL,   ZYDIS_MNEMONIC_BSF,   ZYDIS_MNEMONIC_BSR,   ZYDIS_MNEMONIC_CMOVB,
    ZYDIS_MNEMONIC_CMOVNZ, ZYDIS_MNEMONIC_CMOVL, ZYDIS_MNEMONIC_CMOVO, ZYDIS_MNEMONIC_CMOVNP,
    ZYDIS_MNEMONIC_POPCNT, ZYDIS_MNEMONIC_TZCNT, ZYDIS_MNEMONIC_LZCNT, ZYDIS_MNEMONIC_MOVBE,
    ZYDIS_MNEMONIC_ADCX,   ZYDIS_MNEMONIC_ADOX,  ZYDIS_MNEMONIC_LEA,   ZYDIS_MNEMONIC_LEA,
    ZYDIS_MNEMONIC_CRC32};
static const ZydisMnemonic one_operand[] = {
    ZYDIS_MNEMONIC_INC,  ZYDIS_MNEMONIC_DEC,  ZYDIS_MNEMONIC_NEG, ZYDIS_MNEMONIC_NOT,
    ZYDIS_MNEMONIC_MUL,  ZYDIS_MNEMONIC_IMUL, ZYDIS_MNEMONIC_DIV, ZYDIS_MNEMONIC_IDIV,
    ZYDIS_MNEMONIC_PUSH, ZYDIS_MNEMONIC_PUSH, ZYDIS_MNEMONIC_POP, ZYDIS_MNEMONIC_POP,
    ZYDIS_MNEMONIC_BSWAP};
static const ZydisMnemonic set_byte[] = {ZYDIS_MNEMONIC_SETZ,  ZYDIS_MNEMONIC_SETB,
                                         ZYDIS_MNEMONIC_SETLE, ZYDIS_MNEMONIC_SETO,
                                         ZYDIS_MNEMONIC_SETNS, ZYDIS_MNEMONIC_SETP};
static const ZydisMnemonic shifts[] = {ZYDIS_MNEMONIC_SHL, ZYDIS_MNEMONIC_SHR, ZYDIS_MNEMONIC_SAR,
                                       ZYDIS_MNEMONIC_ROL, ZYDIS_MNEMONIC_ROR, ZYDIS_MNEMONIC_RCL,
                                       ZYDIS_MNEMONIC_RCR, ZYDIS_MNEMONIC_BT,  ZYDIS_MNEMONIC_BTS,
                                       ZYDIS_MNEMONIC_BTR, ZYDIS_MNEMONIC_BTC};
static const ZydisMnemonic alone[] = {
    ZYDIS_MNEMONIC_CBW,   ZYDIS_MNEMONIC_CWDE,  ZYDIS_MNEMONIC_CDQE,   ZYDIS_MNEMONIC_CWD,
    ZYDIS_MNEMONIC_CDQ,   ZYDIS_MNEMONIC_CQO,   ZYDIS_MNEMONIC_CLC,    ZYDIS_MNEMONIC_STC,
    ZYDIS_MNEMONIC_CMC,   ZYDIS_MNEMONIC_LAHF,  ZYDIS_MNEMONIC_SAHF,   ZYDIS_MNEMONIC_CLD,
    ZYDIS_MNEMONIC_NOP,   ZYDIS_MNEMONIC_LEAVE, ZYDIS_MNEMONIC_PUSHFQ, ZYDIS_MNEMONIC_LODSD,
    ZYDIS_MNEMONIC_STOSQ, ZYDIS_MNEMONIC_MOVSB, ZYDIS_MNEMONIC_SCASB,  ZYDIS_MNEMONIC_CMPSQ,
    ZYDIS_MNEMONIC_CPUID, ZYDIS_MNEMONIC_RDTSC};

static unsigned some_size(struct writer *w)
{
    static const uint8_t sizes[] = {1, 2, 4, 4, 4, 8, 8, 8};

    return sizes[dice_below(w->d, w->p->narrow ? 5 : sizeof sizes)];
}

void put_operation(struct writer *w)
{
    ZydisEncoderRequest r = {0};
    unsigned bytes = some_size(w), kind = dice_below(w->d, 100);
    bool memory = dice_percent(w->d, 45);
    ZydisEncoderOperand rm = memory ? op_memory(w, bytes) : op_register(w, bytes);

    r.operand_count = 2;
    r.operands[0] = rm;
    if (kind < 45) {
        r.mnemonic = ONE_OF(two_operands);
        if (dice_percent(w->d, 25)) {
            r.operands[1] = op_immediate(w, bytes);
        } else if (dice_percent(w->d, 50)) {
            r.operands[1] = op_register(w, bytes);
        } else {
            r.operands[0] = op_register(w, bytes);
            r.operands[1] = rm;
        }
        if (memory && r.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY && dice_percent(w->d, 8))
            r.prefixes = ZYDIS_ATTRIB_HAS_LOCK;
    } else if (kind < 62) {
        r.mnemonic = ONE_OF(into_register);
        r.operands[0] = op_register(w, bytes);
        r.operands[1] = rm;
    } else if (kind < 70) {
        unsigned from = dice_percent(w->d, 50) ? 1 : 2;

        r.mnemonic = dice_percent(w->d, 50) ? ZYDIS_MNEMONIC_MOVZX : ZYDIS_MNEMONIC_MOVSX;
        r.operands[0] = op_register(w, bytes);
        r.operands[1] = memory ? op_memory(w, from) : op_register(w, from);
    } else if (kind < 82) {
        r.mnemonic = ONE_OF(one_operand);
        r.operand_count = 1;
    } else if (kind < 87) {
        r.mnemonic = ONE_OF(set_byte);
        r.operand_count = 1;
        r.operands[0] = memory ? op_memory(w, 1) : op_register(w, 1);
    } else if (kind < 96) {
        r.mnemonic = ONE_OF(shifts);
        if (r.mnemonic >= ZYDIS_MNEMONIC_BT && r.mnemonic <= ZYDIS_MNEMONIC_BTS &&
            dice_percent(w->d, 40))
            r.operands[1] = op_register(w, bytes);
        else if (dice_percent(w->d, 60))
            r.operands[1] = (ZydisEncoderOperand){.type = ZYDIS_OPERAND_TYPE_IMMEDIATE,
                                                  .imm.u = dice_below(w->d, 70)};
        else
            r.operands[1] = (ZydisEncoderOperand){.type = ZYDIS_OPERAND_TYPE_REGISTER,
                                                  .reg.value = ZYDIS_REGISTER_CL};
    } else {
        r.operand_count = 0;
        r.mnemonic = ONE_OF(alone);
    }
    (void)encode(w, &r);
}

/* One byte of a segment prefix before what comes: FS or GS. */
void put_segment_load(struct writer *w)
{
    unsigned r = value_register(w);
    uint8_t b[9] = {dice_percent(w->d, 50) ? 0x64 : 0x65, r >= 8 ? 0x4c : 0x48,
                    dice_percent(w->d, 50) ? 0x8b : 0x89, (uint8_t)((r & 7) << 3 | 4), 0x25};
    uint32_t at = dice_below(w->d, 3000);

    if (w->keep >> r & 1)
        return;
    memcpy(b + 5, &at, 4);
    code_put(w, b, sizeof b);
}

/* Moves and operations between the same few registers, those that live in memory among them. */
void put_chain(struct writer *w)
{
    static const uint8_t registers[] = {0, 2, 10, 10, 11, 11};
    static const uint8_t operations[] = {0x89, 0x89, 0x8b, 0x8b, 0x01, 0x03, 0x2b, 0x33, 0x39};

    for (unsigned left = 2 + dice_below(w->d, 6); left; left--) {
        unsigned reg = ONE_OF(registers), rm = ONE_OF(registers);
        unsigned wide = dice_percent(w->d, 75) ? 8 : 0;

        if ((w->keep >> reg | w->keep >> rm) & 1)
            continue;
        PUT((uint8_t)(0x40 | wide | (reg >= 8 ? 4 : 0) | (rm >= 8 ? 1 : 0)), ONE_OF(operations),
            (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7)));
    }
}

static void move_pointer(struct writer *w, ZydisRegister base)
{
    static const ZydisMnemonic moves[] = {ZYDIS_MNEMONIC_ADD, ZYDIS_MNEMONIC_SUB,
                                          ZYDIS_MNEMONIC_INC, ZYDIS_MNEMONIC_DEC,
                                          ZYDIS_MNEMONIC_LEA};
    ZydisEncoderRequest r = {.mnemonic = ONE_OF(moves), .operand_count = 2};
    int64_t by =
        dice_percent(w->d, 80) ? 8 << dice_below(w->d, 4) : (int64_t)dice_below(w->d, 400) - 200;

    r.operands[0] = (ZydisEncoderOperand){.type = ZYDIS_OPERAND_TYPE_REGISTER, .reg.value = base};
    r.operands[1] = (ZydisEncoderOperand){.type = ZYDIS_OPERAND_TYPE_IMMEDIATE, .imm.s = by};
    if (r.mnemonic == ZYDIS_MNEMONIC_INC || r.mnemonic == ZYDIS_MNEMONIC_DEC)
        r.operand_count = 1;
    if (r.mnemonic == ZYDIS_MNEMONIC_LEA)
        r.operands[1] = (ZydisEncoderOperand){
            .type = ZYDIS_OPERAND_TYPE_MEMORY,
            .mem = {.base = base, .displacement = by, .size = (ZyanU16)word(w)}};
    (void)encode(w, &r);
}

/* One access of a run: a value or a vector to or from near a register. */
static void put_run_access(struct writer *w, ZydisRegister base, ZydisRegister index,
                           unsigned scale)
{
    static const ZydisMnemonic vectors[] = {ZYDIS_MNEMONIC_MOVUPS, ZYDIS_MNEMONIC_MOVAPS,
                                            ZYDIS_MNEMONIC_MOVDQU, ZYDIS_MNEMONIC_MOVDQA};
    static const ZydisMnemonic values[] = {ZYDIS_MNEMONIC_MOV, ZYDIS_MNEMONIC_MOV,
                                           ZYDIS_MNEMONIC_MOV, ZYDIS_MNEMONIC_ADD,
                                           ZYDIS_MNEMONIC_CMP, ZYDIS_MNEMONIC_XOR};
    bool vector = dice_percent(w->d, 20), store = dice_percent(w->d, 45);
    unsigned bytes = vector ? 16 : some_size(w);
    ZydisEncoderOperand near = {.type = ZYDIS_OPERAND_TYPE_MEMORY};
    ZydisEncoderRequest r = {.mnemonic = vector ? ONE_OF(vectors) : ONE_OF(values),
                             .operand_count = 2};

    near.mem.base = base;
    near.mem.index = index;
    near.mem.scale = (ZyanU8)(index == ZYDIS_REGISTER_NONE ? 0 : scale);
    near.mem.size = (ZyanU16)bytes;
    near.mem.displacement = (int64_t)(dice_below(w->d, 16) * bytes) - 32;
    r.operands[store ? 0 : 1] = near;
    r.operands[store ? 1 : 0] = op_register(w, vector ? word(w) : bytes);
    if (vector)
        r.operands[store ? 1 : 0].reg.value =
            (ZydisRegister)(ZYDIS_REGISTER_XMM0 + (int)dice_below(w->d, 2 * word(w)));
    (void)encode(w, &r);
}

/* Accesses near one register, which moves now and then: a structure, an array, a stack frame. */
void put_run(struct writer *w)
{
    bool stack = dice_percent(w->d, 25), indexed = !stack && dice_percent(w->d, 20);
    ZydisRegister base = gpr(stack ? 4 : pointer_register(w), word(w));
    ZydisRegister index = indexed ? gpr(value_register(w), word(w)) : ZYDIS_REGISTER_NONE;
    unsigned scale = indexed ? 1u << dice_below(w->d, 4) : 0;

    for (unsigned n = 2 + dice_below(w->d, 9); n > 0; n--) {
        ZydisEncoderRequest push = {.operand_count = 1};

        if (w->p->narrow && dice_percent(w->d, 5))
            put_padding(w);
        if (stack && dice_percent(w->d, 50)) {
            push.mnemonic = dice_percent(w->d, 50) ? ZYDIS_MNEMONIC_PUSH : ZYDIS_MNEMONIC_POP;
            push.operands[0] = op_register(w, word(w));
            (void)encode(w, &push);
        } else if (dice_percent(w->d, 12)) {
            move_pointer(w, base);
        } else {
            put_run_access(w, base, index, scale);
        }
    }
}

/* --- loops through arrays --- */

/* mov reg, n */
static void put_small(struct writer *w, unsigned reg, unsigned n)
{
    PUT((uint8_t)(reg >= 8 ? 0x49 : 0x48), 0xc7, (uint8_t)(0xc0 | (reg & 7)), (uint8_t)n, 0, 0, 0);
}

void put_arrays(struct writer *w, struct arrays *a)
{
    unsigned index = value_register(w), step = value_register(w);

    *a = (struct arrays){.count = 1 + dice_below(w->d, 3)};
    if (dice_percent(w->d, 30) && !(w->keep >> step & 1)) {
        a->has_step = true;
        a->step = step;
        w->keep |= 1u << step;
        put_small(w, step,
                  dice_percent(w->d, 60) ? 16 * dice_below(w->d, 8) : dice_below(w->d, 256));
    }
    for (unsigned n = 0; n < a->count; n++) {
        unsigned r = pointer_register(w);

        a->base[n] = r;
        w->keep |= 1u << r;
        if (r != 4)
            put_pointer_to(w, r, dice_below(w->d, DATA_PAGES * 4096));
    }
    if (dice_percent(w->d, 50) || (w->keep >> index & 1))
        return;
    a->scale = 1u << dice_below(w->d, 4);
    a->index = index;
    w->keep |= 1u << index;
    put_small(w, index, dice_below(w->d, 256));
}

/* Mostly by steps that are known, sometimes by a register. */
static void move_array(struct writer *w, const struct arrays *a)
{
    bool index = a->scale && dice_percent(w->d, 70);
    unsigned r = index ? a->index : a->base[dice_below(w->d, a->count)];
    ZydisEncoderRequest add = {.mnemonic = ZYDIS_MNEMONIC_ADD, .operand_count = 2};

    if (r == 4)
        return;
    if (dice_percent(w->d, a->has_step ? 40 : 95)) {
        move_pointer(w, gpr(r, word(w)));
        return;
    }
    add.operands[0] =
        (ZydisEncoderOperand){.type = ZYDIS_OPERAND_TYPE_REGISTER, .reg.value = gpr(r, word(w))};
    add.operands[1] = op_register(w, word(w));
    if (a->has_step)
        add.operands[1].reg.value = gpr(a->step, word(w));
    (void)encode(w, &add);
}

void put_array_body(struct writer *w, const struct arrays *a)
{
    for (unsigned n = 1 + dice_below(w->d, 7); n > 0; n--) {
        unsigned base = a->base[dice_below(w->d, a->count)];

        if (dice_percent(w->d, 15))
            put_operation(w);
        else if (dice_percent(w->d, 20))
            move_array(w, a);
        else
            put_run_access(w, gpr(base, word(w)),
                           a->scale && dice_percent(w->d, 80) ? gpr(a->index, word(w))
                                                              : ZYDIS_REGISTER_NONE,
                           a->scale);
    }
    move_array(w, a);
}

static bool is_tame(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    if (!gen_is_offered(i) || (i->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED))
        return false;
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_IN: /* the port of the events is not for them */
    case ZYDIS_MNEMONIC_OUT:
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSD:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
    case ZYDIS_MNEMONIC_SYSCALL: /* leave the kernel's stack and flags to chance */
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFQ:
        return false;
    default:
        break;
    }
    for (unsigned n = 0; n < i->operand_count; n++)
        if (op[n].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            (op[n].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
            (ZydisRegisterGetClass(op[n].reg.value) == ZYDIS_REGCLASS_SEGMENT ||
             ZydisRegisterGetClass(op[n].reg.value) == ZYDIS_REGCLASS_CONTROL ||
             ZydisRegisterGetClass(op[n].reg.value) == ZYDIS_REGCLASS_DEBUG))
            return i->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
    return true;
}

static bool is_repeated(const ZydisDecodedInstruction *i)
{
    return i->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
}

/* Random bytes that are an instruction; a memory operand gets a base that is a pointer. */
static unsigned random_instruction(struct dice *d, const struct program *p, uint8_t bytes[16])
{
    ZydisDecodedInstruction i;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecoder decoder;

    if (p->narrow)
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    else
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (;;) {
        gen_bytes(bytes, &d->s, false);
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, 15, &i, op)) || !is_tame(&i, op))
            continue;
        if (!p->repeats && is_repeated(&i))
            continue;
        if ((i.attributes & ZYDIS_ATTRIB_HAS_MODRM) && i.raw.modrm.mod != 3 &&
            (i.raw.modrm.rm & 7) != 4 && dice_percent(d, 85)) {
            static const uint8_t near_pointers[] = {3, 5, 6, 7};
            uint8_t *modrm = bytes + i.raw.modrm.offset;

            *modrm = (uint8_t)((*modrm & 0x38) | 0x40 | near_pointers[dice_below(d, 4)]);
            for (unsigned n = 0; n < i.raw.prefix_count; n++)
                if (!p->narrow && bytes[n] >= 0x40 && bytes[n] <= 0x4f)
                    bytes[n] &= 0xfe; /* REX.B would change the base */
            if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, 15, &i, op)) ||
                !is_tame(&i, op))
                continue;
        }
        return i.length;
    }
}

unsigned program_patch(const struct program *p, struct dice *d, uint8_t bytes[16])
{
    return random_instruction(d, p, bytes);
}

void put_random(struct writer *w)
{
    uint8_t bytes[16];
    unsigned n = random_instruction(w->d, w->p, bytes);

    code_put_whole(w, bytes, n);
}
