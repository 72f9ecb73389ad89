/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State images (FXSAVE, XSAVE, FNSTENV, FNSAVE and back) against the host CPU, and the checks
 * before every instruction: CR0.EM, MP, TS, CR4.OSFXSR, OSXSAVE, alignment, reserved bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/x86/cpuid.h"
#include "fp_harness.h"

#define CR0_PLAIN (CR0_PE | CR0_NE | CR0_MP | CR0_ET | CR0_PG)
#define CR4_PLAIN (CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE)

static uint8_t before[DATA_BYTES], wanted[DATA_BYTES];

static void assemble(struct dec *d, struct uop *u, const char *insn, size_t bytes)
{
    uint8_t padded[16] = {0};
    memcpy(padded, insn, bytes);
    assert_true(decode(d, u, padded, sizeof padded));
    assert_int_equal(d->i.length, bytes);
}

/* Pointers in the images differ from the host's by design (docs/fp.md). */
static void clear(uint8_t *at, unsigned from, unsigned bytes)
{
    memset(data + (at - data) + from, 0, bytes);
    memset(wanted + (at - data) + from, 0, bytes);
}

struct masked {
    unsigned from, bytes;
};

static void compare_at(const char *insn, size_t bytes, struct native *start, uint8_t *at,
                       const struct masked *masks)
{
    struct dec d;
    struct uop u;
    struct native want = *start, got = *start;
    assemble(&d, &u, insn, bytes);
    memcpy(before, data, DATA_BYTES);
    native_run(&want, (const uint8_t *)insn, bytes);
    memcpy(wanted, data, DATA_BYTES);
    memcpy(data, before, DATA_BYTES);
    interp_run(&got, &u);
    for (; masks && masks->bytes; masks++)
        clear(at, masks->from, masks->bytes);
    assert_true(host_is_clean());
    if (!same(&got, &want, data, wanted)) {
        report(&d, (const uint8_t *)insn, start, &want, &got, at, wanted);
        for (unsigned i = 0; i < DATA_BYTES; i++) {
            if (data[i] != wanted[i])
                fprintf(stderr, "byte %ld: got %02x want %02x\n", (long)(data + i - at), data[i],
                        wanted[i]);
        }
        fail();
    }
}

static uint8_t *random_data(struct native *start, unsigned align)
{
    uint8_t *at = data + 4096 - 4 * align * (rnd() % 8);
    for (size_t i = 0; i < DATA_BYTES; i += 8) {
        uint64_t v = special64();
        memcpy(data + i, &v, 8);
    }
    random_state(start);
    start->gpr[RDI] = (uint64_t)(uintptr_t)at;
    return at;
}

#define INSN(bytes) bytes, sizeof(bytes) - 1

static void environment_matches_host(void **state)
{
    static const struct masked env32[] = {{12, 16}, {0, 0}}, env16[] = {{6, 8}, {0, 0}};
    struct native start;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        uint8_t *at = random_data(&start, 1);
        compare_at(INSN("\xd9\x37"), &start, at, env32); /* FNSTENV */
        compare_at(INSN("\x66\xd9\x37"), &start, at, env16);
        compare_at(INSN("\xdd\x37"), &start, at, env32); /* FNSAVE */
        compare_at(INSN("\x66\xdd\x37"), &start, at, env16);
        at = random_data(&start, 1);
        compare_at(INSN("\xd9\x27"), &start, at, NULL); /* FLDENV */
        compare_at(INSN("\x66\xd9\x27"), &start, at, NULL);
        compare_at(INSN("\xdd\x27"), &start, at, NULL); /* FRSTOR */
        compare_at(INSN("\x66\xdd\x27"), &start, at, NULL);
        compare_at(INSN("\x9b"), &start, at, NULL);     /* FWAIT */
        compare_at(INSN("\x0f\x77"), &start, at, NULL); /* EMMS */
        compare_at(INSN("\xdb\xe3"), &start, at, NULL); /* FNINIT */
        compare_at(INSN("\xdb\xe2"), &start, at, NULL); /* FNCLEX */
    }
}

/* MXCSR_MASK: the host may have MM (bit 17). */
static const struct masked image[] = {{FPU_FOP, FPU_MXCSR - FPU_FOP}, {FPU_MXCSR_MASK, 4}, {0, 0}};

/* x87 as FNINIT leaves it; sometimes one byte differs. */
static void put_initial_x87(uint8_t *at)
{
    static const uint8_t control[2] = {FP_FCW_INIT & 0xff, FP_FCW_INIT >> 8};

    memcpy(at + FPU_FCW, control, sizeof control);
    clear(at, FPU_FSW, FPU_FOP - FPU_FSW);
    clear(at, FPU_ST, FPU_XMM - FPU_ST);
    if (rnd() % 2)
        at[rnd() % 2 ? rnd() % FPU_FOP : FPU_ST + rnd() % (FPU_XMM - FPU_ST)] = (uint8_t)rnd();
}

static void put_valid_image(uint8_t *at)
{
    struct native n;
    random_state(&n);
    memcpy(at, n.fx, FPU_END);
    if (rnd() % 4 == 0)
        put_initial_x87(at);
    if (rnd() % 8 == 0)
        at[FPU_MXCSR + 2] = (uint8_t)rnd() & 0xfc; /* reserved bits; MM is left out */
}

static void fxsave_matches_host(void **state)
{
    struct native start;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        uint8_t *at = random_data(&start, 16);
        compare_at(INSN("\x0f\xae\x07"), &start, at, image);
        compare_at(INSN("\x48\x0f\xae\x07"), &start, at, image);
        put_valid_image(at);
        compare_at(INSN("\x0f\xae\x0f"), &start, at, NULL);
        compare_at(INSN("\x48\x0f\xae\x0f"), &start, at, NULL);
        start.gpr[RDI] += 8;
        compare_at(INSN("\x0f\xae\x07"), &start, at, NULL);
        compare_at(INSN("\x0f\xae\x0f"), &start, at, NULL);
        start.gpr[RDI] = (uint64_t)(uintptr_t)(data + DATA_BYTES - 496);
        compare_at(INSN("\x0f\xae\x07"), &start, at, NULL);
        compare_at(INSN("\x0f\xae\x0f"), &start, at, NULL);
    }
}

static void xsave_matches_host(void **state)
{
    struct native start;
    (void)state;
    if (!(x86_cpuid(&cpu->s, 1, 0, &cpu->identity).ecx & 1u << 27)) /* OSXSAVE */
        skip();
    for (int i = 0; i < 2000; i++) {
        uint8_t *at = random_data(&start, 64);
        start.gpr[RAX] = rnd() & 3;
        start.gpr[RDX] = 0;
        compare_at(INSN("\x0f\xae\x27"), &start, at, image); /* XSAVE */
        compare_at(INSN("\x48\x0f\xae\x27"), &start, at, image);
        put_valid_image(at);
        memset(at + 512, 0, 64);
        at[512] = rnd() & 3;
        if (rnd() % 8 == 0)
            at[512 + rnd() % 24] = 0x10;
        compare_at(INSN("\x0f\xae\x2f"), &start, at, NULL); /* XRSTOR */
        compare_at(INSN("\x48\x0f\xae\x2f"), &start, at, NULL);
        start.gpr[RDI] += 16;
        compare_at(INSN("\x0f\xae\x27"), &start, at, NULL);
        compare_at(INSN("\x0f\xae\x2f"), &start, at, NULL);
    }
}

/*
 * XSAVEOPT may leave out what did not change, so it has no host to match: what it writes must
 * restore.
 */
static void xsaveopt_restores(void **state)
{
    struct native start, saved, restored;
    struct dec d;
    struct uop save, restore;
    (void)state;
    assemble(&d, &save, INSN("\x48\x0f\xae\x37"));
    assemble(&d, &restore, INSN("\x48\x0f\xae\x2f"));
    for (int i = 0; i < 500; i++) {
        uint8_t *at = random_data(&start, 64);
        memset(at, 0, 576);
        start.vector = -1;
        start.gpr[RAX] = 3;
        start.gpr[RDX] = 0;
        if (rnd() % 4 == 0)
            memset(start.fx + FPU_XMM, 0, 256);
        saved = start;
        interp_run(&saved, &save);
        assert_int_equal(saved.vector, -1);
        random_state(&restored);
        memcpy(restored.gpr, start.gpr, sizeof start.gpr);
        restored.flags = start.flags;
        interp_run(&restored, &restore);
        assert_int_equal(restored.vector, -1);
        if (!same(&restored, &start, data, data)) {
            report(&d, (const uint8_t *)"\x48\x0f\xae\x2f", &start, &start, &restored, at, data);
            fail();
        }
    }
}

/* 32-bit code has XMM0..7: the others are neither written to memory nor changed. */
static void fxsave_of_32_bit_code_has_8_xmm(void **state)
{
    struct native start, n;
    struct dec d;
    struct uop save, restore;
    (void)state;
    assemble(&d, &save, INSN("\x0f\xae\x07"));
    assemble(&d, &restore, INSN("\x0f\xae\x0f"));
    uint8_t *at = random_data(&start, 16);
    memset(at, 0x5a, 512);
    cpu->mode = CODE_32;
    n = start;
    interp_run(&n, &save);
    assert_int_equal(n.vector, -1);
    assert_memory_equal(at + FPU_XMM, start.fx + FPU_XMM, 128);
    for (unsigned i = FPU_XMM + 128; i < 512; i++)
        assert_int_equal(at[i], 0x5a);
    memset(n.fx + FPU_XMM, 0x77, 256);
    interp_run(&n, &restore);
    cpu->mode = CODE_64;
    assert_int_equal(n.vector, -1);
    assert_memory_equal(n.fx + FPU_XMM, start.fx + FPU_XMM, 128);
    for (unsigned i = FPU_XMM + 128; i < FPU_END; i++)
        assert_int_equal(n.fx[i], 0x77);
}

/* Pointers through the environment: what was stored comes back as far as the format holds it. */
static void environment_keeps_pointers(void **state)
{
    static const struct {
        const char *store, *load;
        size_t bytes;
        bool real;
        uint64_t mask;
        bool has_fop;
    } rows[] = {
        {"\xd9\x37", "\xd9\x27", 2, false, 0xffffffff, true},
        {"\x66\xd9\x37", "\x66\xd9\x27", 3, false, 0xffff, false},
        {"\xd9\x37", "\xd9\x27", 2, true, 0xffffffff, true},
        {"\x66\xd9\x37", "\x66\xd9\x27", 3, true, 0xfffff, true},
    };
    struct native n;
    struct dec d;
    struct uop store, load;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const uint64_t fip = 0x123456789a, fdp = 0xfedcba9876;
        const uint16_t fop = 0x5a5;
        uint64_t v;
        uint16_t v16;
        assemble(&d, &store, rows[i].store, rows[i].bytes);
        assemble(&d, &load, rows[i].load, rows[i].bytes);
        random_data(&n, 16);
        memset(n.fx + FPU_FSW, 0, 2);
        memcpy(n.fx + FPU_FOP, &fop, 2);
        memcpy(n.fx + FPU_FIP, &fip, 8);
        memcpy(n.fx + FPU_FDP, &fdp, 8);
        cpu->s.cr0 = rows[i].real ? CR0_ET | CR0_NE : CR0_PLAIN;
        interp_run(&n, &store);
        memset(n.fx + FPU_FOP, 0, FPU_MXCSR - FPU_FOP);
        interp_run(&n, &load);
        cpu->s.cr0 = CR0_PLAIN;
        assert_int_equal(n.vector, -1);
        memcpy(&v, n.fx + FPU_FIP, 8);
        assert_int_equal(v, fip & rows[i].mask);
        memcpy(&v, n.fx + FPU_FDP, 8);
        assert_int_equal(v, fdp & rows[i].mask);
        memcpy(&v16, n.fx + FPU_FOP, 2);
        assert_int_equal(v16, rows[i].has_fop ? fop : 0);
    }
}

/* --- checks --- */

static int outcome(const char *insn, size_t bytes, uint64_t cr0, uint64_t cr4, uint16_t fsw)
{
    struct native n = {.gpr = {[RDI] = (uint64_t)(uintptr_t)data}};
    struct dec d;
    struct uop u;
    assemble(&d, &u, insn, bytes);
    n.fx[0] = 0x7f;
    n.fx[1] = 0x03;
    memcpy(n.fx + FPU_FSW, &fsw, sizeof fsw);
    n.fx[FPU_MXCSR] = 0x80;
    n.fx[FPU_MXCSR + 1] = 0x1f;
    memset(data, 0, 1024);
    cpu->s.cr0 = cr0;
    cpu->s.cr4 = cr4;
    interp_run(&n, &u);
    cpu->s.cr0 = CR0_PLAIN;
    cpu->s.cr4 = CR4_PLAIN;
    return n.vector;
}

static void control_bits_are_checked(void **state)
{
    /*
     * expected vectors for: EM, TS, EM and TS, TS without MP, OSFXSR = 0, OSXSAVE = 0, a pending
     * x87 exception
     */
    static const struct {
        const char *insn;
        size_t bytes;
        int em, ts, both, ts_no_mp, no_fxsr, no_xsave, pending;
    } rows[] = {
        {INSN("\x0f\x28\xc1"), 6, 7, 6, 7, 6, -1, -1},             /* MOVAPS */
        {INSN("\x0f\x58\xc1"), 6, 7, 6, 7, 6, -1, -1},             /* ADDPS */
        {INSN("\x66\x0f\x3a\x63\xc1\x00"), 6, 7, 6, 7, 6, -1, -1}, /* PCMPISTRI */
        {INSN("\x0f\xae\x1f"), 6, 7, 6, 7, 6, -1, -1},             /* STMXCSR */
        {INSN("\x0f\xfc\xc1"), 6, 7, 6, 7, -1, -1, 16},            /* PADDB mm */
        {INSN("\x0f\x77"), 6, 7, 6, 7, -1, -1, 16},                /* EMMS */
        {INSN("\x0f\x2a\xc1"), 6, 7, 6, 7, 6, -1, 16},             /* CVTPI2PS xmm, mm */
        {INSN("\xd9\xe8"), 7, 7, 7, 7, -1, -1, 16},                /* FLD1 */
        {INSN("\xdb\xe3"), 7, 7, 7, 7, -1, -1, -1},                /* FNINIT */
        {INSN("\x9b"), -1, 7, 7, -1, -1, -1, 16},                  /* FWAIT */
        {INSN("\x0f\xae\x07"), 7, 7, 7, 7, -1, -1, -1},            /* FXSAVE */
        {INSN("\x0f\xae\x27"), -1, 7, 7, 7, -1, 6, -1},            /* XSAVE */
        {INSN("\x0f\x01\xd0"), -1, -1, -1, -1, -1, 6, -1},         /* XGETBV */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *insn = rows[i].insn;
        size_t n = rows[i].bytes;
        assert_int_equal(outcome(insn, n, CR0_PLAIN, CR4_PLAIN, 0), -1);
        assert_int_equal(outcome(insn, n, CR0_PLAIN | CR0_EM, CR4_PLAIN, 0), rows[i].em);
        assert_int_equal(outcome(insn, n, CR0_PLAIN | CR0_TS, CR4_PLAIN, 0), rows[i].ts);
        assert_int_equal(outcome(insn, n, CR0_PLAIN | CR0_EM | CR0_TS, CR4_PLAIN, 0), rows[i].both);
        assert_int_equal(outcome(insn, n, (CR0_PLAIN | CR0_TS) & ~CR0_MP, CR4_PLAIN, 0),
                         rows[i].ts_no_mp);
        assert_int_equal(outcome(insn, n, CR0_PLAIN, CR4_PLAIN & ~CR4_OSFXSR, 0), rows[i].no_fxsr);
        assert_int_equal(outcome(insn, n, CR0_PLAIN, CR4_PLAIN & ~CR4_OSXSAVE, 0),
                         rows[i].no_xsave);
        assert_int_equal(outcome(insn, n, CR0_PLAIN, CR4_PLAIN, 0x8081), rows[i].pending);
    }
}

static void simd_exception_without_osxmmexcpt_is_ud(void **state)
{
    struct native n = {.flags = 2};
    struct dec d;
    struct uop u;
    (void)state;
    assemble(&d, &u, INSN("\x0f\x5e\xc1")); /* DIVPS of zeros: invalid */
    n.fx[0] = 0x7f;
    n.fx[1] = 0x03;
    cpu->s.cr4 = CR4_PLAIN & ~CR4_OSXMMEXCPT;
    interp_run(&n, &u);
    cpu->s.cr4 = CR4_PLAIN;
    assert_int_equal(n.vector, VEC_UD);
    assert_int_equal(n.fx[FPU_MXCSR], 1);
}

static int xsetbv(uint64_t value, uint64_t index, uint8_t cpl)
{
    struct native n = {.gpr = {[RAX] = (uint32_t)value, [RDX] = value >> 32, [RCX] = index}};
    struct dec d;
    struct uop u;
    assemble(&d, &u, INSN("\x0f\x01\xd1"));
    cpu->cpl = cpl;
    interp_run(&n, &u);
    cpu->cpl = 0;
    return n.vector;
}

static void xcr0_takes_x87_and_sse_only(void **state)
{
    (void)state;
    assert_int_equal(xsetbv(1, 0, 0), -1);
    assert_int_equal(cpu->s.xcr0, 1);
    assert_int_equal(xsetbv(3, 0, 0), -1);
    assert_int_equal(cpu->s.xcr0, 3);
    assert_int_equal(xsetbv(2, 0, 0), VEC_GP);
    assert_int_equal(xsetbv(7, 0, 0), VEC_GP);
    assert_int_equal(xsetbv(UINT64_C(1) << 63 | 3, 0, 0), VEC_GP);
    assert_int_equal(xsetbv(3, 1, 0), VEC_GP);
    assert_int_equal(xsetbv(3, 0, 3), VEC_GP);
    assert_int_equal(cpu->s.xcr0, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment_matches_host),
        cmocka_unit_test(fxsave_matches_host),
        cmocka_unit_test(xsave_matches_host),
        cmocka_unit_test(xsaveopt_restores),
        cmocka_unit_test(control_bits_are_checked),
        cmocka_unit_test(simd_exception_without_osxmmexcpt_is_ud),
        cmocka_unit_test(fxsave_of_32_bit_code_has_8_xmm),
        cmocka_unit_test(environment_keeps_pointers),
        cmocka_unit_test(xcr0_takes_x87_and_sse_only),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
