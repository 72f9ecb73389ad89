/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every vector and x87 instruction, with random and special operands, against the host CPU:
 * results, flags, sticky bits, exceptions; see docs/fp.md. FP_SEED and FP_ROUNDS in the environment
 * choose another run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fp_harness.h"

struct tally {
    unsigned long runs, faults, failures;
};

/*
 * Pages that the TLB answers for are used in place; the others go through lin_read and lin_write.
 */
static void fill_tlb(void)
{
    for (unsigned i = 0; i < DATA_BYTES / PAGE_SIZE; i++) {
        uint64_t page = (uint64_t)(uintptr_t)data + i * PAGE_SIZE;
        struct tlb_entry *e = tlb_slot(cpu, page);
        e->rtag = rnd() & 1 ? tlb_want(cpu, page) : TLB_NO_TAG;
        e->wtag = rnd() & 1 ? tlb_want(cpu, page) : TLB_NO_TAG;
        e->addend = 0;
    }
}

static void compare(const struct dec *d, struct uop *u, const uint8_t *insn, struct tally *t)
{
    static uint8_t before[DATA_BYTES], wanted[DATA_BYTES];
    struct native start, want, got;
    uint8_t *at = data + 4096 - 64 + 16 * (rnd() % 8);
    random_state(&start);
    if (rnd() % 8 == 0)
        at += rnd() % 16;
    if (rnd() % 8 == 0 && d->mem_op >= 0)
        at = data + DATA_BYTES - d->op[d->mem_op].size / 8 + (rnd() % 4 == 0);
    start.gpr[RDI] = start.gpr[R15] = (uint64_t)(uintptr_t)at;
    for (size_t i = 0; i < 24; i++) {
        uint64_t v = special64();
        memcpy(data + 4096 - 64 + 8 * i, &v, 8);
    }
    for (size_t i = 0; i < 4; i++) {
        uint64_t v = special64();
        memcpy(data + DATA_BYTES - 32 + 8 * i, &v, 8);
    }
    if (d->i.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && d->mem_op >= 0 &&
        d->op[d->mem_op].size == 80 && at + 10 <= data + DATA_BYTES)
        random_st(at);
    memcpy(before, data, DATA_BYTES);
    want = got = start;
    native_run(&want, insn, d->i.length);
    memcpy(wanted, data, DATA_BYTES);
    memcpy(data, before, DATA_BYTES);
    fill_tlb();
    interp_run(&got, u);
    t->runs++;
    t->faults += want.vector >= 0;
    if (!host_is_clean()) {
        fprintf(stderr, "host's unit left dirty by %s\n", ZydisMnemonicGetString(d->i.mnemonic));
        t->failures++;
    }
    if (!same(&got, &want, data, wanted) && t->failures++ < 8)
        report(d, insn, &start, &want, &got, at, wanted);
}

/* State images and control have their own tests. */
static bool is_special(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
    case ZYDIS_MNEMONIC_XGETBV:
    case ZYDIS_MNEMONIC_XSETBV:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
        return true;
    default:
        return false;
    }
}

static void sweep(const uint8_t *head, size_t head_bytes, struct tally *t)
{
    struct dec d;
    struct uop u;
    for (unsigned modrm = 0; modrm < 0x100; modrm++) {
        uint8_t insn[16];
        bool reg = modrm >= 0xc0;
        if (!reg && (modrm & 0xc7) != 0x07)
            continue;
        for (unsigned i = 0; i < (reg ? rounds / 8 + 1 : rounds); i++) {
            size_t n = head_bytes;
            memcpy(insn, head, n);
            insn[n++] = (uint8_t)modrm;
            memset(insn + n, (int)rnd(), sizeof insn - n);
            if (decode(&d, &u, insn, sizeof insn) && !is_special(d.i.mnemonic))
                compare(&d, &u, insn, t);
        }
    }
}

static void x87_matches_host(void **state)
{
    struct tally t = {0};
    (void)state;
    for (unsigned op = 0xd8; op < 0xe0; op++) {
        uint8_t head[] = {(uint8_t)op};
        for (unsigned i = 0; i < 8; i++)
            sweep(head, sizeof head, &t);
    }
    fprintf(stderr, "x87: %lu runs, %lu faults\n", t.runs, t.faults);
    assert_int_equal(t.failures, 0);
}

static void vectors_match_host(void **state)
{
    static const uint8_t prefixes[] = {0, 0x66, 0xf2, 0xf3};
    static const uint8_t maps[] = {0, 0x38, 0x3a};
    struct tally t = {0};
    (void)state;
    for (unsigned p = 0; p < 4; p++) {
        for (unsigned m = 0; m < 3; m++) {
            for (unsigned op = 0; op < 0x100; op++) {
                if (!maps[m] && (op == 0x38 || op == 0x3a))
                    continue;
                uint8_t head[8];
                size_t n = 0;
                if (prefixes[p])
                    head[n++] = prefixes[p];
                for (unsigned rex = 0; rex < 2; rex++) {
                    size_t k = n;
                    if (rex)
                        head[k++] = (uint8_t)(0x40 | (rnd() & 15));
                    head[k++] = 0x0f;
                    if (maps[m])
                        head[k++] = maps[m];
                    head[k++] = (uint8_t)op;
                    sweep(head, k, &t);
                }
            }
        }
    }
    fprintf(stderr, "vectors: %lu runs, %lu faults\n", t.runs, t.faults);
    assert_int_equal(t.failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x87_matches_host),
        cmocka_unit_test(vectors_match_host),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
