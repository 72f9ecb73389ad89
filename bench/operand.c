/* SPDX-License-Identifier: Apache-2.0 */
/*
 * build/bench/operand
 * What a guest's load costs by each of four schemes for memory operands (docs/translator.md): as it
 * is, by a window entry that is compared, by a table of distances without a compare, and through
 * the host's MMU behind a segment base. 64 MiB of guest pages lie in frames of random order. Then
 * what each scheme pays when a translation is new, and when it goes.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <asm/prctl.h>
#include <sys/syscall.h>

#define PAGE     UINT64_C(4096)
#define BYTES    (UINT64_C(64) << 20)
#define PAGES    (BYTES / PAGE)
#define GUEST    UINT64_C(0x10000000) /* where the guest has them */
#define ENTRIES  16384u
#define ACCESSES 500000u

/* As in src/cpu/translate/window.h. */
struct entry {
    uint64_t read_tag, write_tag, host, unused;
};

static struct {
    uint8_t *frames, *window;
    struct entry *entry;
    int64_t *delta; /* by linear page */
    uint32_t *at;   /* the stream: offsets */
    int fd;
    sigjmp_buf out;
} b;

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void need(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

/* --- the four loads: a guest's linear address in, eight bytes out --- */

static inline uint64_t load_plain(uint64_t lin)
{
    uint64_t v;

    __asm__ volatile("movq (%1,%2), %0" : "=r"(v) : "r"(b.window - GUEST), "r"(lin) : "memory");
    return v;
}

static inline uint64_t load_window(uint64_t lin)
{
    uint64_t v, entry;

    __asm__ volatile("rorx $7, %1, %2\n\tandl %4, %k2\n\taddq %5, %2\n\txorq (%2), %1\n\t"
                     "cmpq $4088, %1\n\tja 1f\n\taddq 16(%2), %1\n\tmovq (%1), %0\n\t"
                     ".subsection 1\n1: ud2\n\t.previous"
                     : "=&r"(v), "+r"(lin), "=&r"(entry)
                     : "0"(0), "i"((ENTRIES - 1) << 5), "m"(b.entry)
                     : "memory", "cc");
    return v;
}

static inline uint64_t load_delta(uint64_t lin)
{
    uint64_t v, page;

    __asm__ volatile("movq %2, %1\n\tshrq $12, %1\n\tmovq (%3,%1,8), %1\n\tmovq (%1,%2), %0"
                     : "=&r"(v), "=&r"(page)
                     : "r"(lin), "r"(b.delta)
                     : "memory", "cc");
    return v;
}

/* The segment's base is such that the guest's address is the offset. */
static inline uint64_t load_segment(uint64_t lin)
{
    uint64_t v;

    __asm__ volatile("movq %%gs:(%1), %0" : "=r"(v) : "r"(lin) : "memory");
    return v;
}

/* independent: each address comes from the stream; dependent: also from what was loaded (0) */
#define DEFINE_RUN(scheme)                                                                         \
    static double run_##scheme(unsigned dependent)                                                 \
    {                                                                                              \
        uint64_t sum = 0, mask = dependent ? UINT64_MAX : 0;                                       \
        double from = now_ns();                                                                    \
                                                                                                   \
        for (unsigned i = 0; i < ACCESSES; i++)                                                    \
            sum = (sum & mask) + load_##scheme(GUEST + b.at[i] + (sum & mask));                    \
        from = now_ns() - from;                                                                    \
        if (sum)                                                                                   \
            abort();                                                                               \
        return from / ACCESSES;                                                                    \
    }
DEFINE_RUN(plain)
DEFINE_RUN(window)
DEFINE_RUN(delta)
DEFINE_RUN(segment)

static double best(double (*run)(unsigned), unsigned dependent)
{
    double least = run(dependent);

    for (unsigned i = 0; i < 3; i++) {
        double t = run(dependent);

        least = t < least ? t : least;
    }
    return least;
}

static void report(const char *what, unsigned dependent)
{
    printf("%-44s %7.2f %7.2f %7.2f %7.2f\n", what, best(run_plain, dependent),
           best(run_window, dependent), best(run_delta, dependent), best(run_segment, dependent));
}

/* --- streams --- */

static void make_stream(uint64_t span, uint64_t stride)
{
    uint64_t state = 88172645463325252u;

    for (unsigned i = 0; i < ACCESSES; i++)
        b.at[i] = (uint32_t)(stride ? i * stride % span : random_next(&state) % (span / 8) * 8);
}

/* A stack frame, fields of two structs and a buffer, by turns, as compiled code has them. */
static void make_mixed(void)
{
    uint64_t state = 7;

    for (unsigned i = 0; i < ACCESSES; i++) {
        uint64_t r = random_next(&state);
        uint64_t where[4] = {0x3fff000 + r % 32 * 8, (r >> 8) % 512 * PAGE + (r >> 20) % 8 * 8,
                             (uint64_t)i * 8 % (1 << 20), 0x2000000 + (r >> 30) % 64 * PAGE};

        b.at[i] = (uint32_t)where[r >> 60 & 3];
    }
}

/* --- what is new and what goes --- */

static void on_fault(int number)
{
    (void)number;
    siglongjmp(b.out, 1);
}

#define MISSES 20000u

static double cost_of_signal(void)
{
    struct sigaction a = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    volatile uintptr_t nowhere = 64;
    double from;

    sigaction(SIGSEGV, &a, NULL);
    from = now_ns();
    for (volatile unsigned i = 0; i < MISSES; i++)
        if (!sigsetjmp(b.out, 0))
            (void)*(volatile uint64_t *)(uintptr_t)nowhere;
    from = now_ns() - from;
    signal(SIGSEGV, SIG_DFL);
    return from / MISSES;
}

static double cost_of_mapping(void)
{
    uint8_t *at = b.window;
    double from = now_ns();

    for (unsigned i = 0; i < MISSES; i++) {
        uint8_t *p = at + i % 1024 * PAGE;

        need(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, b.fd,
                  (off_t)(i % 1024 * PAGE)) == p,
             "mmap");
        (void)*(volatile uint8_t *)p;
    }
    return (now_ns() - from) / MISSES;
}

static double cost_of_unmapping(void)
{
    double from = now_ns();

    for (unsigned i = 0; i < MISSES; i++) {
        uint8_t *p = b.window + i % 1024 * PAGE;

        need(!mprotect(p, PAGE, i / 1024 % 2 ? PROT_READ : PROT_NONE), "mprotect");
    }
    return (now_ns() - from) / MISSES;
}

static double cost_of_base(void)
{
    double from = now_ns();

    for (unsigned i = 0; i < MISSES; i++)
        need(!syscall(SYS_arch_prctl, ARCH_SET_GS, b.window - GUEST), "arch_prctl");
    return (now_ns() - from) / MISSES;
}

static double cost_of_entry(void)
{
    double from = now_ns();

    for (unsigned i = 0; i < ACCESSES; i++) {
        volatile struct entry *e = &b.entry[b.at[i] / PAGE];

        e->read_tag = GUEST + b.at[i] / PAGE * PAGE;
        e->write_tag = e->read_tag;
    }
    return (now_ns() - from) / ACCESSES;
}

/* --- */

static void *reserve(uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);

    need(p != MAP_FAILED, "mmap");
    return p;
}

static void set_up(void)
{
    uint32_t *frame = malloc(PAGES * sizeof *frame);
    uint64_t state = 99;

    b.fd = memfd_create("frames", MFD_CLOEXEC);
    need(frame && b.fd >= 0 && !ftruncate(b.fd, (off_t)BYTES), "frames");
    b.frames = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, b.fd, 0);
    need(b.frames != MAP_FAILED, "frames");
    b.window = reserve(BYTES);
    b.entry = reserve(ENTRIES * sizeof *b.entry);
    b.delta = reserve((GUEST + BYTES) / PAGE * sizeof *b.delta);
    b.at = reserve(ACCESSES * sizeof *b.at);
    for (uint32_t i = 0; i < PAGES; i++)
        frame[i] = i;
    for (uint32_t i = (uint32_t)PAGES - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(random_next(&state) % i), other = frame[i];

        frame[i] = frame[j];
        frame[j] = other;
    }
    for (uint64_t i = 0; i < PAGES; i++) {
        uint64_t lin = GUEST + i * PAGE, host = (uint64_t)(uintptr_t)b.frames + frame[i] * PAGE;

        b.entry[lin / PAGE % ENTRIES] =
            (struct entry){.read_tag = lin, .write_tag = lin, .host = host};
        b.delta[lin / PAGE] = (int64_t)(host - lin);
        need(mmap(b.window + i * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, b.fd,
                  (off_t)(frame[i] * PAGE)) != MAP_FAILED,
             "mmap");
    }
    need(!syscall(SYS_arch_prctl, ARCH_SET_GS, b.window - GUEST), "arch_prctl");
    free(frame);
}

int main(void)
{
    set_up();
    printf("%-44s %7s %7s %7s %7s\n", "ns for each load, best of four", "plain", "window", "delta",
           "segment");
    for (unsigned dependent = 0; dependent < 2; dependent++) {
        printf("%s\n", dependent ? "each address from the load before" : "addresses known before");
        make_stream(UINT64_C(1) << 20, 8);
        report("  in order through 1 MiB", dependent);
        make_mixed();
        report("  a stack frame, structs, a buffer in turns", dependent);
        make_stream(UINT64_C(256) << 10, 0);
        report("  anywhere in 256 KiB", dependent);
        make_stream(UINT64_C(4) << 20, 0);
        report("  anywhere in 4 MiB", dependent);
        make_stream(BYTES, 0);
        report("  anywhere in 64 MiB", dependent);
        make_stream(BYTES, PAGE + 64);
        report("  in strides of a page and a line", dependent);
    }
    printf("ns to fill or change an entry of a window        %9.1f\n", cost_of_entry());
    printf("ns for a signal: what delta pays on each miss    %9.1f\n", cost_of_signal());
    printf("ns to map a page: what segment pays beside it    %9.1f\n", cost_of_mapping());
    printf("ns to take a page's right away in segment        %9.1f\n", cost_of_unmapping());
    printf("ns to change the base by a system call           %9.1f\n", cost_of_base());
    return 0;
}
