/* SPDX-License-Identifier: Apache-2.0 */
#include "fp_harness.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/x86/cpuid.h"

uint8_t *data;
struct interp *cpu;
unsigned rounds = 40;

/* --- doubles: guest memory is host memory between data and data + DATA_BYTES --- */

void exc_raise_code(struct interp *c, const struct uop *u, enum x86_vector vector, uint32_t error)
{
    (void)u;
    (void)error;
    c->exc.vector = (uint8_t)vector;
    longjmp(c->on_exception, 1);
}

void exc_raise(struct interp *c, const struct uop *u, enum x86_vector vector)
{
    exc_raise_code(c, u, vector, 0);
}

uint64_t insn_rip(const struct interp *c, const struct uop *u)
{
    (void)u;
    return c->rip;
}

void lin_probe(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
               enum mmu_access_kind kind)
{
    (void)kind;
    uint64_t start = (uint64_t)(uintptr_t)data;
    if (lin < start || lin + bytes > start + DATA_BYTES)
        exc_raise(c, u, VEC_PF);
}

void lin_read(struct interp *c, const struct uop *u, uint64_t lin, void *buf, unsigned bytes)
{
    lin_probe(c, u, lin, bytes, MMU_READ);
    memcpy(buf, (const void *)(uintptr_t)lin, bytes);
}

void lin_write(struct interp *c, const struct uop *u, uint64_t lin, const void *buf, unsigned bytes)
{
    lin_probe(c, u, lin, bytes, MMU_WRITE);
    memcpy((void *)(uintptr_t)lin, buf, bytes);
}

uint64_t mem_load_slow(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes)
{
    uint64_t v = 0;
    lin_read(c, u, lin, &v, bytes);
    return v;
}

void mem_store_slow(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
                    uint64_t value)
{
    lin_write(c, u, lin, &value, bytes);
}

uint64_t seg_linear(struct interp *c, const struct uop *u, unsigned seg, uint64_t ea,
                    unsigned bytes, enum mmu_access_kind kind)
{
    (void)c, (void)u, (void)seg, (void)bytes, (void)kind;
    return ea;
}

/* Whatever the host has is tested, offered to guests or not. */
struct cpuid_regs x86_cpuid(const struct x86_state *state, uint32_t leaf, uint32_t subleaf,
                            const struct cpu_identity *identity)
{
    struct cpuid_regs r;
    (void)state, (void)identity;
    __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
    return r;
}

void pkru_set(struct interp *c, uint32_t value)
{
    c->s.pkru = value;
}

/* --- random states --- */

static uint64_t seed = 1;

uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static uint32_t special32(void)
{
    static const uint32_t v[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
                                 0xff800000, 0x7fc00000, 0x7f800001, 0xffc12345, 0x00000001,
                                 0x807fffff, 0x00800000, 0x7f7fffff, 0x4b000000, 0x4f000000,
                                 0xcf000000, 0x3f000000, 0x33800000};
    switch (rnd() % 4) {
    case 0:
        return v[rnd() % (sizeof v / sizeof v[0])];
    case 1:
        return (uint32_t)rnd();
    case 2: /* near 1 */
        return 0x3f800000u + (uint32_t)(rnd() & 0x81ffffff);
    default: /* close to the limits of the range */
        return ((uint32_t)rnd() & 0x807fffff) | (rnd() & 1 ? 0x7e000000 : 0x01000000);
    }
}

uint64_t special64(void)
{
    static const uint64_t v[] = {
        0x0000000000000000, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000,
        0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001,
        0xfff8123456789abc, 0x0000000000000001, 0x800fffffffffffff, 0x0010000000000000,
        0x7fefffffffffffff, 0x4330000000000000, 0x41e0000000000000, 0x43e0000000000000,
        0xc3e0000000000000, 0x3fe0000000000000, 0x36a0000000000000, 0x47f0000000000000};
    switch (rnd() % 5) {
    case 0:
        return v[rnd() % (sizeof v / sizeof v[0])];
    case 1:
        return rnd();
    case 2:
        return (rnd() & 0x800fffffffffffff) | 0x3ff0000000000000;
    case 3:
        return (rnd() & 0x800fffffffffffff) | (rnd() & 1 ? 0x7fc0000000000000 : 0x0020000000000000);
    default:
        return (uint64_t)special32() << 32 | special32();
    }
}

void random_st(uint8_t *st)
{
    static const uint16_t exponents[] = {0, 1, 0x3fff, 0x7ffe, 0x7fff, 0x4000, 0x403e, 0x3fbf};
    uint64_t mantissa = special64();
    uint16_t exponent = rnd() & 1 ? (uint16_t)(0x3ff0 + rnd() % 48) : exponents[rnd() % 8];
    if (rnd() % 8)
        mantissa |= UINT64_C(1) << 63;
    if (rnd() % 16 == 0)
        mantissa = exponent = 0;
    exponent |= (uint16_t)(rnd() & 0x8000);
    memcpy(st, &mantissa, 8);
    memcpy(st + 8, &exponent, 2);
}

/* A state that the CPU can be in: ES and B follow from the other bits. */
static void random_x87(uint8_t *fx, bool pending)
{
    uint16_t fcw = (uint16_t)(0x40 | (rnd() & 0xf00) | (rnd() % 3 ? 0x3f : rnd() & 0x3f));
    uint16_t fsw = (uint16_t)(rnd() & 0x7f7f);
    if (!pending)
        fsw &= (uint16_t)(~0x3f | fcw);
    if (fsw & ~fcw & 0x3f)
        fsw |= 0x8080;
    uint8_t ftw = rnd() % 3 ? 0xff : rnd() % 2 ? 0 : (uint8_t)rnd();
    memcpy(fx, &fcw, 2);
    memcpy(fx + FPU_FSW, &fsw, 2);
    fx[FPU_FTW] = ftw;
    for (int i = 0; i < 8; i++)
        random_st(fx + FPU_ST + 16 * i);
}

void random_state(struct native *n)
{
    static const uint32_t modes[] = {0, 0x2000, 0x4000, 0x6000, 0x8000, 0x40, 0x8040};
    memset(n, 0, sizeof *n);
    for (int i = 0; i < 16; i++)
        n->gpr[i] = rnd() & 1 ? special64() : rnd() % 40;
    n->flags = 0x202 | (rnd() & RFLAGS_ARITH);
    random_x87(n->fx, rnd() % 64 == 0);
    uint32_t mxcsr =
        modes[rnd() % 7] | (rnd() % 3 ? 0x1f80 : rnd() & 0x1f80) | (rnd() & 1 ? rnd() & 0x3f : 0);
    memcpy(n->fx + FPU_MXCSR, &mxcsr, 4);
    bool wide = rnd() & 1, same = rnd() % 8 == 0;
    for (int i = 0; i < 32; i++) {
        uint64_t v = wide ? special64() : (uint64_t)special32() << 32 | special32();
        memcpy(n->fx + FPU_XMM + 8 * i, &v, 8);
        if (same && i >= 2)
            memcpy(n->fx + FPU_XMM + 8 * i, n->fx + FPU_XMM + 8 * (i - 2), 8);
    }
}

/* --- the handler's side --- */

static const struct uop *stop(struct interp *c, const struct uop *u)
{
    (void)c, (void)u;
    return NULL;
}

uint8_t dec_gpr(ZydisRegister reg)
{
    ZyanU8 id = (ZyanU8)ZydisRegisterGetId(reg);
    if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_GPR8 && reg >= ZYDIS_REGISTER_AH &&
        reg <= ZYDIS_REGISTER_BH)
        return (uint8_t)((reg - ZYDIS_REGISTER_AH) * 8 + 1);
    return (uint8_t)(id * 8);
}

bool decode(struct dec *d, struct uop *u, const uint8_t *insn, size_t bytes)
{
    ZydisDecoder decoder;
    memset(d, 0, sizeof *d);
    memset(u, 0, sizeof *u);
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, insn, bytes, &d->i, d->op)))
        return false;
    d->c = cpu;
    d->ops = d->i.operand_count_visible;
    d->mode = CODE_64;
    d->mem_op = -1;
    u->addrsize = 8;
    u->len = d->i.length;
    u->opsize = (uint8_t)(d->i.operand_width / 8);
    u->seg = SEG_DS;
    for (unsigned i = 0; i < d->i.operand_count; i++) {
        const ZydisDecodedOperand *op = &d->op[i];
        if (op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(op->reg.value) != ZYDIS_REGCLASS_XMM &&
            ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, op->reg.value) ==
                ZYDIS_REGISTER_RSP)
            return false;
        if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && i < d->ops) {
            if (op->mem.base == ZYDIS_REGISTER_NONE || op->mem.base == ZYDIS_REGISTER_RIP)
                return false;
            d->mem_op = (int)i;
            u->base = dec_gpr(op->mem.base);
            u->index = GPR_ZERO;
            u->disp = op->mem.disp.value;
        }
    }
    return build_fp(d, u);
}

void interp_run(struct native *n, struct uop *u)
{
    struct uop block[2] = {*u, {.fn = stop}};
    memcpy(cpu->gpr, n->gpr, sizeof n->gpr);
    cpu->flags16 = (uint16_t)(((n->flags & 0xd5) << 8) | 0x200 | (n->flags >> 11 & 1));
    memcpy(cpu->s.fpu, n->fx, sizeof n->fx);
    n->vector = -1;
    if (setjmp(cpu->on_exception) == 0) {
        for (const struct uop *next = block; next;)
            next = next->fn(cpu, next);
    } else {
        n->vector = cpu->exc.vector;
    }
    memcpy(n->gpr, cpu->gpr, sizeof n->gpr);
    n->flags = (n->flags & ~(uint64_t)RFLAGS_ARITH) | ((cpu->flags16 >> 8) & 0xd5) |
               (cpu->flags16 & 1) << 11;
    memcpy(n->fx, cpu->s.fpu, sizeof n->fx);
}

bool host_is_clean(void)
{
    uint8_t fx[512] __attribute__((aligned(16)));
    __asm__ volatile("fxsave64 %0" : "=m"(fx));
    uint32_t mxcsr;
    memcpy(&mxcsr, fx + FPU_MXCSR, 4);
    return fx[0] == 0x7f && fx[1] == 3 && fx[4] == 0 && (mxcsr & ~0x3fu) == 0x1f80;
}

/* --- comparison --- */

static void hex(const char *what, const uint8_t *p, size_t bytes)
{
    fprintf(stderr, "%-8s", what);
    for (size_t i = 0; i < bytes; i++)
        fprintf(stderr, "%02x%s", p[i], i % 16 == 15 ? " " : "");
    fprintf(stderr, "\n");
}

/* What the host and we may show differently: pointers, MXCSR_MASK, bytes after the registers. */
static void mask_fx(uint8_t *fx)
{
    memset(fx + FPU_FOP, 0, FPU_MXCSR - FPU_FOP);
    memset(fx + FPU_MXCSR_MASK, 0, 4);
    memset(fx + FPU_END, 0, 512 - FPU_END);
    for (int i = 0; i < 8; i++)
        memset(fx + FPU_ST + 16 * i + 10, 0, 6);
}

bool same(struct native *a, struct native *b, const uint8_t *ma, const uint8_t *mb)
{
    mask_fx(a->fx);
    mask_fx(b->fx);
    a->gpr[RSP] = b->gpr[RSP];
    a->flags &= RFLAGS_ARITH;
    b->flags &= RFLAGS_ARITH;
    return a->vector == b->vector && !memcmp(a->gpr, b->gpr, sizeof a->gpr) &&
           a->flags == b->flags && !memcmp(a->fx, b->fx, sizeof a->fx) &&
           !memcmp(ma, mb, DATA_BYTES);
}

void report(const struct dec *d, const uint8_t *insn, const struct native *start,
            const struct native *want, const struct native *got, const uint8_t *at,
            const uint8_t *want_mem)
{
    fprintf(stderr, "%s: vector %d, expected %d; flags %lx, expected %lx\n",
            ZydisMnemonicGetString(d->i.mnemonic), got->vector, want->vector, got->flags,
            want->flags);
    hex("insn", insn, d->i.length);
    hex("start", start->fx, 32);
    hex("want", want->fx, 32);
    hex("got", got->fx, 32);
    for (unsigned i = 2; i < 26; i++) {
        if (memcmp(want->fx + 16 * i, got->fx + 16 * i, 16)) {
            fprintf(stderr, "%s%u\n", i < 10 ? "st" : "xmm", i < 10 ? i - 2 : i - 10);
            hex(" start", start->fx + 16 * i, 16);
            hex(" want", want->fx + 16 * i, 16);
            hex(" got", got->fx + 16 * i, 16);
        }
    }
    for (int i = 0; i < 16; i++) {
        if (want->gpr[i] != got->gpr[i])
            fprintf(stderr, "gpr%d start %lx want %lx got %lx\n", i, start->gpr[i], want->gpr[i],
                    got->gpr[i]);
    }
    hex("mem want", want_mem + (at - data), 32);
    hex("mem got", at, at + 32 <= data + DATA_BYTES ? 32 : (size_t)(data + DATA_BYTES - at));
}

int setup(void **state)
{
    (void)state;
    if (getenv("FP_SEED"))
        seed = strtoull(getenv("FP_SEED"), NULL, 0) | 1;
    if (getenv("FP_ROUNDS"))
        rounds = (unsigned)strtoul(getenv("FP_ROUNDS"), NULL, 0);
    data =
        mmap(NULL, DATA_BYTES + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED || mprotect(data + DATA_BYTES, 4096, PROT_NONE))
        return -1;
    cpu = aligned_alloc(64, (sizeof *cpu + 63) / 64 * 64);
    if (!cpu)
        return -1;
    memset(cpu, 0, sizeof *cpu);
    for (int i = 0; i < TLB_ENTRIES; i++)
        cpu->tlb[i].rtag = cpu->tlb[i].wtag = TLB_NO_TAG;
    cpu->view[0] = cpu->view[1] = 4;
    cpu->mode = CODE_64;
    cpu->s.cr0 = CR0_PE | CR0_NE | CR0_MP | CR0_ET | CR0_PG;
    cpu->s.cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    cpu->s.xcr0 = 3;
    native_setup();
    return 0;
}
