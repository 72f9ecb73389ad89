/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/scan.h"

#include <string.h>

#include "cpu/interp/decode.h"
#include "cpu/interp/run.h"

/* Those that do not fault at level 3, or not on every host. */
static bool tells_of_the_host(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_INT: /* what a stub loses of its registers, or does not report (stub.h) */
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_RDPKRU:
    case ZYDIS_MNEMONIC_RDPMC:
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_SMSW:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_VMCALL:
    case ZYDIS_MNEMONIC_VMMCALL:
    case ZYDIS_MNEMONIC_WRPKRU:
    case ZYDIS_MNEMONIC_XGETBV:
        return true;
    default:
        return false;
    }
}

static bool saves_state(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
        return true;
    default:
        return false;
    }
}

static bool loads_segment(const ZydisDecodedInstruction *i)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_LSS:
        return true;
    case ZYDIS_MNEMONIC_MOV:
        return i->opcode == 0x8e;
    case ZYDIS_MNEMONIC_POP:
        return i->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT;
    default:
        return i->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
    }
}

/* RDFSBASE and its kin, which the host may allow where the guest does not. */
static bool is_of_bases(const struct dec *d)
{
    return d->i.meta.isa_ext == ZYDIS_ISA_EXT_RDWRFSGS && !(d->c->s.cr4 & CR4_FSGSBASE);
}

/*
 * Vectors that c does not have, say of AVX: beside code for all CPUs there is often such that only
 * some run, and they have asked before.
 */
static bool is_of_vectors(const struct dec *d)
{
    if (d->i.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
        d->i.meta.isa_ext == ZYDIS_ISA_EXT_RTM)
        return true;
    for (unsigned n = 0; n < d->i.operand_count_visible; n++)
        if (d->op[n].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(d->op[n].reg.value) == ZYDIS_REGCLASS_XMM)
            return true;
    return false;
}

/* What c raises #UD for, and the host perhaps not. */
static bool is_new_to_it(const struct dec *d, const struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_INVALID:
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
        return false;
    default:
        return u->fn == op_ud && !is_of_vectors(d);
    }
}

/*
 * The page may begin in the middle of an instruction, and reading takes some bytes until it is in
 * step. So there the bytes of those that programs have count wherever an instruction may begin.
 */
#define IN_STEP_AFTER 32u
#define IN_STEP_MOST  512u

static bool is_one_of_them(const uint8_t *at)
{
    if (at[0] != 0x0f)
        return false;
    switch (at[1]) {
    case 0x31: /* RDTSC */
    case 0xa2: /* CPUID */
        return true;
    case 0x01: /* XGETBV, RDTSCP */
        return at[2] == 0xd0 || at[2] == 0xf9;
    case 0xc7: /* RDRAND, RDSEED, RDPID */
        return at[2] >= 0xf0;
    default:
        return false;
    }
}

static bool is_free_of_them(const uint8_t *page, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        if (is_one_of_them(page + i))
            return false;
    return true;
}

/*
 * May what goes on in a page that is not known be one of them? Those of one byte (8E, CA, CD) are,
 * whatever follows; FF has far jumps, but so few that they are left.
 */
static bool may_be_one(const uint8_t *at, const uint8_t *end)
{
    static const uint8_t first[] = {0x8e, 0xca, 0xcd};
    static const uint8_t second[] = {0x00, 0x01, 0x02, 0x03, 0x31, 0x33, 0x34, 0xa1,
                                     0xa2, 0xa9, 0xae, 0xb2, 0xb4, 0xb5, 0xc7};

    while (at < end && ((*at & 0xf0) == 0x40 || *at == 0x66)) /* REX, operand size */
        at++;
    if (at < end && memchr(first, *at, sizeof first))
        return true;
    while (at < end && *at != 0x0f)
        at++;
    return at < end && (at + 1 == end || memchr(second, at[1], sizeof second));
}

static bool add_trap(struct scan *s, unsigned off)
{
    if (s->traps == SCAN_TRAPS)
        return false;
    s->trap[s->traps++] = (uint16_t)off;
    return true;
}

static bool must_not_run(const struct dec *d, const struct uop *u)
{
    return tells_of_the_host(d->i.mnemonic) || saves_state(d->i.mnemonic) || loads_segment(&d->i) ||
           is_of_bases(d) || is_new_to_it(d, u);
}

/* Most instructions need no second look: of the oldest sets, and none of those above. */
static bool is_plain(const ZydisDecodedInstruction *i)
{
    ZydisISAExt set = i->meta.isa_ext;

    if (set != ZYDIS_ISA_EXT_BASE && set != ZYDIS_ISA_EXT_LONGMODE && set != ZYDIS_ISA_EXT_SSE &&
        set != ZYDIS_ISA_EXT_SSE2)
        return false;
    return !tells_of_the_host(i->mnemonic) && !saves_state(i->mnemonic) && !loads_segment(i);
}

/* The instruction at `off` is decoded as the interpreter does it. */
static bool must_not_run_at(struct dec *d, const uint8_t *bytes, unsigned size, unsigned off)
{
    struct uop u;

    return dec_insn(d, bytes, size, off, &u) == DEC_OK && must_not_run(d, &u);
}

/* The one at `off` goes on behind the page. */
static bool last_must_not_run(struct dec *d, const uint8_t *page, const uint8_t *next, unsigned off,
                              bool *is_guess)
{
    uint8_t bytes[2 * ZYDIS_MAX_INSTRUCTION_LENGTH];
    unsigned here = (unsigned)PAGE_SIZE - off;

    *is_guess = !next && may_be_one(page + off, page + PAGE_SIZE);
    if (!next)
        return *is_guess;
    memcpy(bytes, page + off, here);
    memcpy(bytes + here, next, ZYDIS_MAX_INSTRUCTION_LENGTH);
    return must_not_run_at(d, bytes, here + ZYDIS_MAX_INSTRUCTION_LENGTH, off);
}

/* Where the instruction behind the one at `off` begins; what is none has one byte. */
static unsigned behind(const struct dec *d, const uint8_t *page, unsigned off)
{
    ZydisDecodedInstruction i;
    ZyanStatus status =
        ZydisDecoderDecodeInstruction(&d->decoder, NULL, page + off, (unsigned)PAGE_SIZE - off, &i);

    return off + (ZYAN_SUCCESS(status) ? i.length : 1u);
}

/*
 * A page begins somewhere in an instruction, which ends before its 15th byte. Read from each of
 * these on, all come to the same instructions soon: answers where. IN_STEP_MOST and more: not soon,
 * or one of them may be on the way.
 */
static unsigned find_step(const struct dec *d, const uint8_t *page)
{
    unsigned at[ZYDIS_MAX_INSTRUCTION_LENGTH], most = 0;

    for (unsigned k = 0; k < ZYDIS_MAX_INSTRUCTION_LENGTH; k++)
        at[k] = k;
    for (bool differ = true; differ && most < IN_STEP_MOST;) {
        differ = false;
        for (unsigned k = 0; k < ZYDIS_MAX_INSTRUCTION_LENGTH; k++)
            most = at[k] > most ? at[k] : most;
        for (unsigned k = 0; k < ZYDIS_MAX_INSTRUCTION_LENGTH; k++) {
            for (; at[k] < most; at[k] = behind(d, page, at[k]))
                if (is_one_of_them(page + at[k]))
                    return IN_STEP_MOST;
            differ = differ || at[k] != most;
        }
    }
    return most;
}

bool scan_code(const struct interp *c, const uint8_t *page, const uint8_t *next, bool in_step,
               struct scan *out)
{
    ZydisDecodedInstruction i;
    struct dec d;
    unsigned off = 0;
    bool has_data = false;

    out->traps = 0;
    out->is_guess = false;
    dec_init(&d, c);
    if (!in_step)
        off = find_step(&d, page);
    if (off >= IN_STEP_MOST)
        return false;
    while (off < PAGE_SIZE) {
        unsigned left = (unsigned)PAGE_SIZE - off;
        ZyanStatus status = ZydisDecoderDecodeInstruction(&d.decoder, NULL, page + off, left, &i);

        if (status == ZYDIS_STATUS_NO_MORE_DATA && left < ZYDIS_MAX_INSTRUCTION_LENGTH) {
            if (last_must_not_run(&d, page, next, off, &out->is_guess) && !add_trap(out, off))
                return false;
            break;
        }
        if (!ZYAN_SUCCESS(status)) {
            has_data = true;
            off++;
            continue;
        }
        if (!is_plain(&i) && must_not_run_at(&d, page + off, left, off) &&
            (off < IN_STEP_AFTER || !add_trap(out, off)))
            return false;
        off += i.length;
    }
    return !has_data || (!out->traps && is_free_of_them(page, PAGE_SIZE - 2));
}
