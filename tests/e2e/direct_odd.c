/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program can do in the midst of a long computation that neither the host's CPU nor its
 * kernel may answer for: for guests, static. Each line of output is the same on any CPU:
 *
 * direct_odd   faults and traps of all kinds, as a handler sees them; flags; single steps, by
 *              itself and by a tracer; bases of FS and GS; unmasked exceptions and rounding of
 *              floating point; pages at both ends of the address space and below a stack that
 *              grows; 32-bit code within; clocks that never go back
 */
#include <asm/prctl.h>
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "direct_spin.h"

#define PAGE   4096u
#define ROUNDS 3u
#define SPIN   1500000u /* enough to be run directly */

#define FLAG_TF UINT64_C(0x100)
#define FLAG_DF UINT64_C(0x400)
#define FLAG_NT UINT64_C(0x4000)
#define FLAG_AC UINT64_C(0x40000)
#define FLAG_ID UINT64_C(0x200000)

static volatile uint64_t heat;

static void compute(void)
{
    heat = spin(heat, SPIN);
}

static uint8_t *map(uint64_t at, size_t bytes, int flags)
{
    int all = MAP_PRIVATE | MAP_ANONYMOUS | flags;
    void *p = mmap((void *)(uintptr_t)at, bytes, PROT_READ | PROT_WRITE, all, -1, 0);

    if (p == MAP_FAILED)
        exit(2);
    return p;
}

/* --- faults and traps --- */

static sigjmp_buf back;
static volatile int number, code;
static volatile uintptr_t address;

static inline uint64_t flags(void)
{
    uint64_t f;

    __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; pop %0; lea 128(%%rsp), %%rsp"
                     : "=r"(f)::"memory");
    return f;
}

static inline void set_flags(uint64_t f)
{
    __asm__ volatile("lea -128(%%rsp), %%rsp; push %0; popfq; lea 128(%%rsp), %%rsp" ::"r"(f)
                     : "memory", "cc");
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)context;
    set_flags(flags() & ~FLAG_AC);
    number = signal;
    code = info->si_code;
    address = (uintptr_t)info->si_addr;
    siglongjmp(back, 1);
}

static void catch_signals(void)
{
    static const int all[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        sigaction(all[i], &action, NULL);
}

/* What comes of it behind a long computation; addresses relative to `base`, if they are near. */
#define TRY(what, base, ...)                                                                       \
    do {                                                                                           \
        number = code = 0;                                                                         \
        address = 0;                                                                               \
        compute();                                                                                 \
        if (!sigsetjmp(back, 1)) {                                                                 \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
        uintptr_t near = address - (uintptr_t)(base);                                              \
        printf("odd: %s: signal %d code %d at %lx\n", what, number, code,                          \
               near < 2 * PAGE     ? near                                                          \
               : number == SIGSEGV ? address                                                       \
                                   : 0);                                                           \
    } while (0)

static void faults(void)
{
    uint8_t *p = map(0, 2 * PAGE, 0);

    munmap(p + PAGE, PAGE);
    TRY("int3", p, __asm__ volatile("int3"));
    TRY("int3 of two bytes", p, __asm__ volatile(".byte 0xcd, 3"));
    TRY("int1", p, __asm__ volatile(".byte 0xf1"));
    TRY("int 4", p, __asm__ volatile("int $4"));
    TRY("ud2", p, __asm__ volatile("ud2"));
    TRY("lock nop", p, __asm__ volatile(".byte 0xf0, 0x90"));
    TRY("push es", p, __asm__ volatile(".byte 0x06"));
    TRY("hlt", p, __asm__ volatile("hlt"));
    TRY("in", p, __asm__ volatile("in $0x60, %%al" ::: "eax"));
    TRY("swapgs", p, __asm__ volatile("swapgs"));
    TRY("read of nothing", p, *(volatile uint8_t *)(p + PAGE));
    TRY("read across", p, __asm__ volatile("mov (%0), %%eax" ::"r"(p + PAGE - 2) : "eax"));
    TRY("jump to data", p, __asm__ volatile("call *%0" ::"r"(p) : "memory"));
    mprotect(p, PAGE, PROT_READ);
    TRY("write to read-only", p, *(volatile uint8_t *)(p + 5) = 1);
    mprotect(p, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    p[PAGE - 1] = 0xb8; /* mov $imm32, %eax */
    TRY("code across", p, __asm__ volatile("call *%0" ::"r"(p + PAGE - 1) : "memory"));
    TRY("the kernel's", p, *(volatile uint8_t *)0xffff888000000000);
    TRY("not canonical", p, *(volatile uint8_t *)0x800000000000);
    TRY("of the stack", p,
        __asm__ volatile("push %%rbp; mov %0, %%rbp; mov (%%rbp), %%eax" ::"r"(0x8000000000000000)
                         : "rax", "memory"));
    TRY("movaps", p, __asm__ volatile("movaps 1(%0), %%xmm0" ::"r"(p) : "xmm0"));
    TRY("divided by 0", p, __asm__ volatile("xor %%ecx, %%ecx; div %%ecx" ::: "eax", "ecx", "edx"));
    TRY("not aligned", p, set_flags(flags() | FLAG_AC); spin(1, SPIN);
        __asm__ volatile("mov 1(%0), %%eax" ::"r"(p)
                         : "eax"));
    munmap(p, PAGE);
}

/* --- flags and single steps --- */

static void of_flags(void)
{
    static const uint64_t bit[] = {FLAG_ID, FLAG_NT, FLAG_DF, FLAG_ID};

    for (unsigned i = 0; i < sizeof bit / sizeof *bit; i++) {
        uint64_t before = flags(), first, second, third;

        compute();
        set_flags(before ^ bit[i]);
        first = flags();
        second = spin(1, SPIN) ? flags() : 0;
        set_flags(second & ~(FLAG_DF | FLAG_NT));
        getppid();
        third = flags();
        printf("odd: flag %lx: %d %d %d\n", (unsigned long)bit[i], !!((before ^ first) & bit[i]),
               !!((before ^ second) & bit[i]), !!((before ^ third) & bit[i]));
    }
}

static volatile unsigned steps;

static void on_step(int signal)
{
    (void)signal;
    steps++;
}

static void single_steps(void)
{
    uint64_t rip = 0, x;
    pid_t child;
    int status;

    signal(SIGTRAP, on_step);
    compute();
    __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orl $0x100, (%%rsp); popfq\n"
                     "mov $50, %%ecx\n 1: dec %%ecx; jnz 1b\n"
                     "pushfq; andl $~0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::
                         : "ecx", "memory", "cc");
    printf("odd: %u steps\n", steps);
    child = fork();
    if (!child) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        compute();
        raise(SIGSTOP);
        x = spin(1, SPIN);
        _exit((int)(x & 127));
    }
    waitpid(child, &status, 0);
    for (unsigned i = 0; i < 300 && WIFSTOPPED(status); i++) {
        ptrace(PTRACE_SINGLESTEP, child, 0, 0);
        waitpid(child, &status, 0);
        rip += WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
    }
    ptrace(PTRACE_CONT, child, 0, 0);
    waitpid(child, &status, 0);
    printf("odd: %u steps of a child, status %x\n", (unsigned)rip, (unsigned)status);
}

/* --- segments --- */

static void bases(void)
{
    uint64_t *p = (uint64_t *)(void *)map(0, PAGE, 0), x = 0, value, base;

    for (unsigned i = 0; i < 512; i++)
        p[i] = mix(i);
    for (unsigned i = 0; i < ROUNDS; i++) {
        syscall(SYS_arch_prctl, ARCH_SET_GS, p + i);
        compute();
        __asm__ volatile("incq %%gs:24; mov %%gs:24, %0" : "=r"(value)::"memory");
        syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
        x = mix(x + value + base - (uintptr_t)p);
    }
    printf("odd: bases %lx\n", (unsigned long)x);
    munmap(p, PAGE);
}

/* 64-bit code jumps far to a 32-bit loop, which jumps far to a RET in 64-bit code. */
static void short_code(void)
{
    static const uint8_t loop[] = {0xb9, 0x40, 0x42, 0x0f, 0, /*    mov $1000000, %ecx */
                                   0x6b, 0xc0, 17,   0x40,    /* 1: imul $17, %eax; inc */
                                   0x49, 0x75, 0xf9, 0xea};   /*    dec; jnz 1b; ljmp */
    uint8_t *p = map(0, 2 * PAGE, MAP_32BIT);
    uint32_t end = (uint32_t)(uintptr_t)p + 0x100, eax = 1;
    struct {
        uint32_t offset;
        uint16_t selector;
    } far = {(uint32_t)(uintptr_t)p, 0x23};

    memcpy(p, loop, sizeof loop);
    memcpy(p + sizeof loop, &end, 4);
    p[sizeof loop + 4] = 0x33;
    p[0x100] = 0xc3;
    mprotect(p, PAGE, PROT_READ | PROT_EXEC);
    for (unsigned i = 0; i < ROUNDS; i++) {
        compute();
        __asm__ volatile("mov %%rsp, %%r15; mov %2, %%rsp; lea 1f(%%rip), %%rbx; push %%rbx\n"
                         "ljmp *(%1)\n 1: mov %%r15, %%rsp"
                         : "+a"(eax)
                         : "r"(&far), "r"(p + 2 * PAGE)
                         : "r15", "rcx", "rbx", "memory", "cc");
    }
    printf("odd: 32-bit code %x\n", eax);
    munmap(p, 2 * PAGE);
}

/* --- floating point --- */

static void floats(void)
{
    static const int mode[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    volatile double zero = 0, one = 1, ratio;
    uint64_t x = 0, bits;

    for (unsigned i = 0; i < 4; i++) {
        volatile double sum = 0;
        volatile long double old = 0;
        double both;

        fesetround(mode[i]);
        for (unsigned j = 1; j < SPIN / 4; j++) {
            sum += 1.0 / j;
            old += 1.0L / j;
        }
        both = sum + (double)old;
        memcpy(&bits, &both, sizeof bits);
        x = mix(x + bits);
    }
    fesetround(FE_TONEAREST);
    printf("odd: rounding %lx\n", (unsigned long)x);
    TRY("SSE exception", &zero, feenableexcept(FE_DIVBYZERO); compute(); ratio = one / zero;
        (void)ratio);
    feenableexcept(FE_DIVBYZERO);
    TRY("x87 exception", &zero,
        __asm__ volatile("fldz; fld1; fdivp" ::
                             : "st");
        compute(); __asm__ volatile("fwait"));
    fesetenv(FE_DFL_ENV);
}

/* --- places and time --- */

static void places(void)
{
    static const uint64_t place[] = {0x10000, 0x20000, 0x21000, 0x7fffffffe000};
    uint8_t *hole = map(0, 64 << 20, MAP_NORESERVE), *stack;
    volatile uint64_t x = 0;

    for (unsigned i = 0; i < sizeof place / sizeof *place; i++) {
        volatile uint8_t *p = map(place[i], PAGE, MAP_FIXED);

        x = mix(x + p[0]); /* read before it is written */
        compute();
        x = mix(x + p[100]);
        p[100] = 1;
        compute();
        x = mix(x + ++p[100]);
        munmap((void *)(uintptr_t)place[i], PAGE);
        TRY("no page any more", p, p[1] = 1);
    }
    munmap(hole, 64 << 20);
    stack = map((uintptr_t)hole + (63 << 20), 2 * PAGE, MAP_FIXED | MAP_GROWSDOWN);
    for (unsigned i = 1; i < 1000; i++) {
        volatile uint8_t *p = stack - i * PAGE;

        *p = (uint8_t)i;
        x = spin(x + *p, 10000);
    }
    printf("odd: places %lx\n", (unsigned long)x);
}

static void clocks(void)
{
    uint64_t tsc = 0, ns = 0;
    unsigned wrong = 0;

    for (unsigned i = 0; i < 30000; i++) {
        uint64_t t = __builtin_ia32_rdtsc(), n;
        struct timespec now;

        if (i % 2)
            clock_gettime(CLOCK_MONOTONIC, &now);
        else
            syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
        n = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
        wrong += t < tsc || n < ns;
        tsc = t;
        ns = n;
        if (i % 1000 == 0)
            compute();
    }
    printf("odd: clocks went back %u times\n", wrong);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    catch_signals();
    faults();
    of_flags();
    floats();
    places();
    bases();
    short_code();
    clocks();
    single_steps();
    return 0;
}
