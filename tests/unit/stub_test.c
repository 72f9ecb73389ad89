/* SPDX-License-Identifier: Apache-2.0 */
/* A stub runs code natively, and everything that is not computation comes back. */
#include "stub_rig.h"

static void registers(void **state)
{
    struct rig *rig = rig_of(state);
    struct stub_regs before;

    for (int i = 0; i < 16; i++)
        if (i != RSP)
            rig->r.gpr[i] = MARKER + (unsigned)i;
    rig->r.rflags = 0x202 | 0x8d5 | 0x400; /* all status flags, DF */
    before = rig->r;
    CODE_IS(rig, 0x0f, 0x0b); /* ud2 */
    RUNS(rig);
    fault(rig, SIGILL, ILL_ILLOPN, CODE);
    assert_memory_equal(rig->r.gpr, before.gpr, sizeof before.gpr);
    assert_int_equal(rig->r.rflags & 0xcd5, 0xcd5);
    assert_false(rig->exit.selectors_moved);

    CODE_IS(rig, 0xfc,        /* cld */
            0x48, 0x01, 0xd8, /* add %rbx,%rax */
            0x4d, 0x87, 0xf7, /* xchg %r14,%r15 */
            0x50,             /* push %rax */
            0x0f, 0x0b);
    rig->r.gpr[RAX] = ~UINT64_C(0);
    rig->r.gpr[RBX] = 1;
    RUNS(rig);
    fault(rig, SIGILL, ILL_ILLOPN, CODE + 8);
    assert_int_equal(rig->r.gpr[RAX], 0);
    assert_int_equal(rig->r.gpr[R15], MARKER + R14);
    assert_int_equal(rig->r.gpr[R14], MARKER + R15);
    assert_int_equal(rig->r.gpr[RSP], DATA + PAGE - 8);
    assert_int_equal(rig->r.rflags & 0xcd5, 0x55); /* CF PF AF ZF */
    assert_int_equal(rig->ram[2 * PAGE - 8], 0);
}

/* ptrace takes RFLAGS.ID, but does not give it. */
static void id_flag(void **state)
{
    struct rig *rig = rig_of(state);

    CODE_IS(rig, 0x9c, 0x58, 0x9d, 0x0f, 0x0b); /* pushf; pop %rax; popf; ud2 */
    for (unsigned i = 0; i < 8; i++) {
        uint64_t before = i & 1 ? 0x200000 : 0, after = i & 2 ? 0x200000 : 0;

        rig->r.rip = CODE;
        rig->r.gpr[RSP] = DATA + PAGE - 8;
        rig->r.rflags = 0x202 | before;
        memcpy(rig->ram + 2 * PAGE - 8, &(uint64_t){0x202 | after}, 8);
        RUNS(rig);
        fault(rig, SIGILL, ILL_ILLOPN, CODE + 3);
        assert_int_equal(rig->r.gpr[RAX] & 0x200000, before);
        assert_int_equal(rig->r.rflags & 0x200000, after);
    }
}

static void bases(void **state)
{
    struct rig *rig = rig_of(state);

    CODE_IS(rig, 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, /* mov %fs:0,%rax */
            0x65, 0x48, 0x8b, 0x0c, 0x25, 8, 0, 0, 0,      /* mov %gs:8,%rcx */
            0x0f, 0x0b);
    memcpy(rig->ram + PAGE + 0x100, &(uint64_t){1}, 8);
    memcpy(rig->ram + PAGE + 0x208, &(uint64_t){2}, 8);
    rig->r.fs_base = DATA + 0x100;
    rig->r.gs_base = DATA + 0x200;
    RUNS(rig);
    assert_int_equal(rig->r.gpr[RAX], 1);
    assert_int_equal(rig->r.gpr[RCX], 2);
    assert_int_equal(rig->r.fs_base, DATA + 0x100);
    assert_int_equal(rig->r.gs_base, DATA + 0x200);

    /* What the kernel would not take is nothing of the host's fault. */
    rig->r.rip = CODE;
    rig->r.fs_base = UINT64_C(0xffff888000000000);
    RUNS(rig);
    fault(rig, SIGSEGV, SI_KERNEL, CODE);
}

static void selectors(void **state)
{
    struct rig *rig = rig_of(state);

    CODE_IS(rig, 0xb8, 0x2b, 0, 0, 0, /* mov $0x2b,%eax */
            0x8e, 0xd8,               /* mov %eax,%ds */
            0x0f, 0x0b);
    RUNS(rig);
    assert_true(rig->exit.selectors_moved);
    assert_int_equal(rig->exit.selectors[3], 0x2b);
    rig->r.rip = CODE + 7;
    RUNS(rig);
    assert_false(rig->exit.selectors_moved);
}

static void vectors(void **state)
{
    struct rig *rig = rig_of(state);

    CODE_IS(rig, 0x66, 0x0f, 0xfe, 0xc1,  /* paddd %xmm1,%xmm0 */
            0x66, 0x44, 0x0f, 0x6f, 0xf8, /* movdqa %xmm0,%xmm15 */
            0x0f, 0x0b);
    for (unsigned i = 0; i < 32; i++)
        rig->fx[160 + i] = (uint8_t)i;
    RUNS(rig);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(rig->fx[160 + i], i + i + 16);
        assert_int_equal(rig->fx[160 + 240 + i], i + i + 16);
        assert_int_equal(rig->fx[176 + i], i + 16);
    }
    rig->r.rip = CODE; /* as they are now */
    RUNS(rig);
    assert_int_equal(rig->fx[160], 32);
    assert_int_equal(rig->fx[25], 0x1f);
}

/* Its time is what it computes, not what it waits. */
static void processor_time(void **state)
{
    struct rig *rig = rig_of(state);
    uint64_t before = stub_cpu_ns(rig->stub), after;

    CODE_IS(rig, 0xff, 0xc9, 0x75, 0xfc, 0x0f, 0x0b); /* 1: dec %ecx; jnz 1b; ud2 */
    rig->r.gpr[RCX] = 10000000;
    RUNS(rig);
    after = stub_cpu_ns(rig->stub);
    assert_true(after > before + 100000);
    assert_int_equal(stub_cpu_ns(rig->stub), after);
}

/* What one program has left beyond XMM does not come to the next. */
static void no_old_vectors(void **state)
{
    struct rig *rig = rig_of(state);

    if (!__builtin_cpu_supports("avx2"))
        skip();
    CODE_IS(rig, 0xc5, 0xf5, 0x76, 0xc9,                    /* vpcmpeqd %ymm1,%ymm1,%ymm1 */
            0x0f, 0x0b, 0xc4, 0xe3, 0x7d, 0x39, 0xca, 0x01, /* vextracti128 $1,%ymm1,%xmm2 */
            0x0f, 0x0b);
    RUNS(rig);
    rig->r.rip = CODE + 6;
    RUNS(rig);
    assert_int_equal(rig->fx[160 + 32], 0xff);
    stub_unmap_all(rig->stub);
    assert_int_equal(stub_map(rig->stub, CODE, 0, PROT_READ | PROT_EXEC), ERR_OK);
    rig->r.rip = CODE + 6;
    RUNS(rig);
    assert_int_equal(rig->fx[160 + 32], 0);
    assert_int_equal(rig->fx[160 + 16], 0xff); /* XMM1 itself is given */
}

static void page_faults(void **state)
{
    struct rig *rig = rig_of(state);

    CODE_IS(rig, 0x48, 0x8b, 0x03, /* mov (%rbx),%rax */
            0x48, 0x89, 0x01,      /* mov %rax,(%rcx) */
            0xff, 0xe2);           /* jmp *%rdx */
    memcpy(rig->ram + PAGE, &(uint64_t){MARKER}, 8);
    rig->r.gpr[RBX] = UINT64_C(0x5555deadb000);
    RUNS(rig);
    fault(rig, SIGSEGV, SEGV_MAPERR, CODE);
    assert_int_equal(rig->exit.address, UINT64_C(0x5555deadb000));

    rig->r.gpr[RBX] = DATA;
    rig->r.gpr[RCX] = CODE + 0x80; /* not writable */
    RUNS(rig);
    fault(rig, SIGSEGV, SEGV_ACCERR, CODE + 3);
    assert_int_equal(rig->exit.address, CODE + 0x80);
    assert_int_equal(rig->r.gpr[RAX], MARKER);
    assert_int_equal(rig->ram[0x80], 0);

    rig->r.gpr[RCX] = DATA + 8;
    rig->r.gpr[RDX] = DATA; /* not executable */
    RUNS(rig);
    fault(rig, SIGSEGV, SEGV_ACCERR, DATA);
    assert_int_equal(rig->exit.address, DATA);
    assert_memory_equal(rig->ram + PAGE + 8, &(uint64_t){MARKER}, 8);
}

static void unmapping(void **state)
{
    struct rig *rig = rig_of(state);

    CODE_IS(rig, 0x48, 0x8b, 0x03, 0x0f, 0x0b); /* mov (%rbx),%rax; ud2 */
    rig->r.gpr[RBX] = DATA;
    RUNS(rig);
    fault(rig, SIGILL, ILL_ILLOPN, CODE + 3);
    rig->r.rip = CODE;
    assert_int_equal(stub_unmap(rig->stub, DATA, PAGE), ERR_OK);
    RUNS(rig);
    fault(rig, SIGSEGV, SEGV_MAPERR, CODE);
    assert_int_equal(stub_map(rig->stub, DATA, PAGE, PROT_READ), ERR_OK);
    RUNS(rig);
    fault(rig, SIGILL, ILL_ILLOPN, CODE + 3);
    rig->r.rip = CODE;
    assert_int_equal(stub_unmap(rig->stub, 0, UINT64_C(1) << 63), ERR_OK);
    RUNS(rig);
    fault(rig, SIGSEGV, SEGV_MAPERR, CODE);
    assert_int_equal(rig->exit.address, CODE);
}

static void system_calls(void **state)
{
    struct rig *rig = rig_of(state);
    int calls[2] = {SYS_exit_group, SYS_munmap}; /* the second one the filter would allow */

    CODE_IS(rig, 0x0f, 0x05, 0x0f, 0x0b, 0xcd, 0x80, 0x0f, 0x0b); /* syscall; ud2; int $0x80; ud2 */
    for (int i = 0; i < 4; i++) {
        uint64_t rip = CODE + (i & 1) * 4U;

        rig->r.rip = rip;
        rig->r.gpr[RAX] = (unsigned)calls[i / 2];
        rig->r.gpr[RDI] = DATA;
        rig->r.gpr[RSI] = PAGE;
        RUNS(rig);
        assert_int_equal(rig->exit.why, STUB_SYSCALL);
        assert_int_equal(rig->r.rip, rip);
        assert_int_equal(rig->r.gpr[RAX], calls[i / 2]);
        rig->r.rip = rip + 2; /* the process lives and goes on where it is told */
        RUNS(rig);
        fault(rig, SIGILL, ILL_ILLOPN, rip + 2);
        assert_int_equal(rig->r.gpr[RAX], calls[i / 2]);
    }
    CODE_IS(rig, 0x48, 0x8b, 0x03, 0x0f, 0x0b); /* mov (%rbx),%rax; ud2: DATA is there still */
    rig->r.rip = CODE;
    rig->r.gpr[RBX] = DATA;
    RUNS(rig);
    fault(rig, SIGILL, ILL_ILLOPN, CODE + 3);
}

/* The answers of a system call that was stopped are not taken for "restart it". */
static void no_restart(void **state)
{
    struct rig *rig = rig_of(state);

    CODE_IS(rig, 0x0f, 0x05, 0x0f, 0x0b);
    for (int answer = 512; answer <= 516; answer++) {
        rig->r.rip = CODE;
        RUNS(rig);
        assert_int_equal(rig->exit.why, STUB_SYSCALL);
        rig->r.rip = CODE + 2;
        rig->r.gpr[RAX] = (uint64_t)-answer;
        RUNS(rig);
        fault(rig, SIGILL, ILL_ILLOPN, CODE + 2);
        assert_int_equal(rig->r.gpr[RAX], (uint64_t)-answer);
    }
}

static void nothing_is_in_its_place(struct rig *rig)
{
    for (uint64_t lin = PLACE; stub_owns(lin); lin += PAGE) {
        rig->r.rip = CODE;
        rig->r.gpr[RBX] = lin;
        rig->r.gpr[RCX] = DATA;
        RUNS(rig);
        fault(rig, SIGBUS, BUS_ADRERR, CODE);
        assert_int_equal(rig->exit.address, lin);
        rig->r.gpr[RBX] = DATA;
        rig->r.gpr[RCX] = lin;
        RUNS(rig);
        fault(rig, rig->exit.signal, rig->exit.code, CODE + 3);
        assert_int_equal(rig->exit.address, lin);
        for (unsigned offset = 0; offset < PAGE; offset += 8) {
            rig->r.rip = lin + offset;
            RUNS(rig);
            fault(rig, SIGBUS, BUS_ADRERR, lin + offset);
        }
    }
}

/*
 * The code that maps pages and its list lie in the stub. To the guest they are nothing: it cannot
 * read, write or execute them, also after a list that filled the whole place.
 */
static void own_place(void **state)
{
    struct rig *rig = rig_of(state);

    assert_true(stub_owns(0));
    assert_true(stub_owns(PLACE));
    assert_false(stub_owns(CODE));
    assert_false(stub_owns(DATA));
    assert_true(stub_owns(UINT64_C(0x7ffffffff000)));
    assert_true(stub_owns(UINT64_C(0xffffffffff600000)));
    CODE_IS(rig, 0x48, 0x8b, 0x03, 0x48, 0x89, 0x01, 0x0f, 0x0b); /* reads rbx, writes to rcx */
    for (unsigned i = 0; i <= 3000; i++) {
        assert_int_equal(
            stub_map(rig->stub, UINT64_C(0x500000) + i * 2 * PAGE, i * PAGE, PROT_READ), ERR_OK);
        if (i % 1000 == 0)
            nothing_is_in_its_place(rig);
    }
    nothing_is_in_its_place(rig);
}

static void vsyscall(void **state)
{
    struct rig *rig = rig_of(state);

    CODE_IS(rig, 0xff, 0xd3, 0x0f, 0x0b); /* call *%rbx; ud2 */
    rig->r.gpr[RBX] = UINT64_C(0xffffffffff600000);
    rig->r.gpr[RDI] = DATA;
    RUNS(rig);
    fault(rig, rig->exit.signal, rig->exit.code,
          rig->r.gpr[RBX]); /* SIGSYS, or SIGSEGV without it */
    assert_int_equal(rig->r.gpr[RSP], DATA + PAGE - 8);
    assert_memory_equal(rig->ram + PAGE, ((uint8_t[16]){0}), 16); /* no time of the host */
}

static void traps(void **state)
{
    struct rig *rig = rig_of(state);

    CODE_IS(rig, 0x90, 0xcc, 0x90, 0xcd, 0x03);
    RUNS(rig);
    assert_int_equal(rig->exit.why, STUB_TRAP);
    assert_int_equal(rig->exit.code, SI_KERNEL);
    assert_int_equal(rig->r.rip, CODE + 1);
    rig->r.rip = CODE + 2;
    RUNS(rig);
    assert_int_equal(rig->exit.why, STUB_TRAP);
    assert_int_equal(rig->r.rip, CODE + 3);

    CODE_IS(rig, 0x9d, 0x90, 0x90, 0x0f, 0x0b); /* popf with TF */
    memcpy(rig->ram + 2 * PAGE - 8, &(uint64_t){0x302}, 8);
    rig->r.rip = CODE;
    rig->r.gpr[RSP] = DATA + PAGE - 8;
    RUNS(rig);
    assert_int_equal(rig->exit.why, STUB_TRAP);
    assert_int_equal(rig->exit.code, TRAP_TRACE);
    assert_int_equal(rig->r.rip, CODE + 2);
    assert_true(rig->r.rflags & 0x100);
    RUNS(rig); /* with TF it is not tried */
    fault(rig, SIGSEGV, SI_KERNEL, CODE + 2);
}

static void exceptions(void **state)
{
    struct rig *rig = rig_of(state);
    static const uint8_t privileged[][3] = {
        {0xf4},             /* hlt */
        {0xfa},             /* cli */
        {0x0f, 0x20, 0xc0}, /* mov %cr0,%rax */
        {0xe4, 0x80},       /* in $0x80,%al */
        {0x0f, 0x30},       /* wrmsr */
        {0xcd, 0x0d},       /* int $13 */
    };

    CODE_IS(rig, 0x48, 0xf7, 0xf1); /* div %rcx */
    RUNS(rig);
    fault(rig, SIGFPE, FPE_INTDIV, CODE);
    for (size_t i = 0; i < sizeof privileged / sizeof privileged[0]; i++) {
        memcpy(rig->ram, privileged[i], 3);
        RUNS(rig);
        fault(rig, SIGSEGV, SI_KERNEL, CODE);
    }
    CODE_IS(rig, 0x48, 0x8b, 0x03); /* mov (%rbx),%rax, of an address that is none */
    rig->r.gpr[RBX] = UINT64_C(1) << 62;
    RUNS(rig);
    fault(rig, SIGSEGV, SI_KERNEL, CODE);
    rig->r.gpr[RBX] = DATA + 1; /* with alignment checks */
    rig->r.rflags |= 0x40000;
    RUNS(rig);
    fault(rig, SIGBUS, BUS_ADRALN, CODE);
    assert_true(rig->r.rflags & 0x40000);

    memcpy(rig->ram, (uint8_t[]){0x0f, 0x58, 0xc1}, 3); /* addps with unmasked exceptions */
    memcpy(rig->fx + 24, &(uint32_t){0}, 4);
    memset(rig->fx + 160, 0x7f, 32);
    RUNS(rig);
    assert_int_equal(rig->exit.why, STUB_FAULT);
    assert_int_equal(rig->exit.signal, SIGFPE);
    assert_int_equal(rig->r.rip, CODE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(registers), TEST(id_flag),        TEST(bases),          TEST(selectors),
        TEST(vectors),   TEST(no_old_vectors), TEST(processor_time), TEST(page_faults),
        TEST(unmapping), TEST(system_calls),   TEST(no_restart),     TEST(own_place),
        TEST(vsyscall),  TEST(traps),          TEST(exceptions),
    };

    begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
