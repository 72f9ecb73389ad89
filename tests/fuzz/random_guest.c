/* SPDX-License-Identifier: Apache-2.0 */
/*
 * random_guest [--seed N] [--count N] [--instructions N] [--engine E] [--verbose]
 * Boots N Multiboot images of random bytes (seed N, N + 1, ...) on a whole board, each twice. A run
 * gets a budget of instructions and two seconds; how it ends is its own business. What must not
 * happen: a signal, an abort, a host error, a run that does not stop when kicked, memory or shadow
 * tables that disagree afterwards, an oracle mismatch, or another result the second time.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/engine.h"
#include "machine/board.h"
#include "machine/boot/boot.h"
#include "random_guest.h"

/* Each tick kicks the engine, which must change nothing that the guest can see. */
#define TICK_US     500
#define LIMIT_TICKS 4000  /* the guest's time is over: 2 s */
#define HANG_TICKS  60000 /* it did not stop: 30 s */
#define IDLE_LIMIT  2000

/* Out of loops: an interrupt so often, every tenth of them an NMI. */
#define INTERRUPT_INSTRUCTIONS 1500
#define INTERRUPT_VECTOR       0x21

enum end { END_SHUTDOWN, END_HALTED, END_EVENT, END_BUDGET, END_TIME, ENDS };

static const char *const end_names[ENDS] = {"triple fault", "halted for ever",
                                            "power-off, reset or debug exit", "budget used up",
                                            "time over"};

/* Shared with the child processes. */
struct tally {
    uint64_t seed;
    uint64_t ends[ENDS], worlds[WORLDS];
    uint64_t instructions, exceptions, oracle_checks;
};

struct options {
    uint64_t seed, count, instructions;
    const char *engine;
    bool verbose;
};

/* One guest's machine. */
struct box {
    const struct engine_ops *engine;
    struct guest_mem *mem;
    struct clock *clock;
    struct board *board;
    struct vcpu *vcpu;
    struct cpu_bus bus;
    const struct cpu_bus *board_bus;
    uint64_t limit, next_interrupt;
    uint64_t serial_sum;
    bool event, over, board_irq, own_irq;
};

/* What a second run of the same seed must give again. */
struct result {
    enum end end;
    uint64_t instructions, sum;
};

static _Atomic unsigned ticks;
static struct vcpu *_Atomic ticking;
static struct box *boxed; /* the one that runs */

static void on_tick(int number)
{
    struct vcpu *vcpu = ticking;

    (void)number;
    if (!vcpu)
        return;
    ticks++;
    if (ticks > HANG_TICKS) {
        static const char text[] = "random_guest: the guest does not stop when kicked\n";
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
        _exit(9);
    }
    vcpu->ops->kick(vcpu);
}

static uint64_t cb_instructions(void *arg)
{
    const struct box *b = arg;

    return b->vcpu ? b->engine->instructions(b->vcpu) : 0;
}

static void cb_serial(void *arg, const uint8_t *bytes, size_t count)
{
    struct box *b = arg;

    for (size_t i = 0; i < count; i++)
        b->serial_sum = b->serial_sum * 31 + bytes[i];
}

static void cb_set_irq(void *arg, unsigned cpu, bool level)
{
    struct box *b = arg;

    (void)cpu;
    b->board_irq = level;
    if (b->vcpu)
        b->engine->set_irq(b->vcpu, level || b->own_irq);
}

static void cb_nmi(void *arg, unsigned cpu)
{
    struct box *b = arg;

    (void)cpu;
    if (b->vcpu)
        b->engine->raise_nmi(b->vcpu);
}

static void cb_event(void *arg, enum board_event event, uint32_t code)
{
    struct box *b = arg;

    (void)event;
    (void)code;
    b->event = true;
    if (b->vcpu)
        b->engine->kick(b->vcpu);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t bus_poll(void *arg)
{
    struct box *b = arg;
    uint64_t budget = b->board_bus->poll(b->board_bus->poll_arg),
             used = b->engine->instructions(b->vcpu);

    if (used >= b->limit) {
        b->over = true;
        b->engine->kick(b->vcpu);
        return 1;
    }
    if (used >= b->next_interrupt) {
        b->next_interrupt = used + INTERRUPT_INSTRUCTIONS;
        b->own_irq = true;
        b->engine->set_irq(b->vcpu, true);
        if (used / INTERRUPT_INSTRUCTIONS % 10 == 9)
            b->engine->raise_nmi(b->vcpu);
    }
    return smaller(smaller(budget, b->limit - used), b->next_interrupt - used);
}

/* The other functions of the bus are the board's, and so is their argument. */
static int bus_irq_ack(void *arg)
{
    struct box *b = boxed;

    (void)arg;
    if (!b->own_irq)
        return b->board_bus->irq_ack(b->board_bus->arg);
    b->own_irq = false;
    b->engine->set_irq(b->vcpu, b->board_irq);
    return INTERRUPT_VECTOR;
}

/* A flat Multiboot image at CODE_AT, behind a memory file that boot_load can open. */
static bool load(struct box *b, const uint8_t *code, struct x86_state *state)
{
    const uint32_t flags = 0x10000, magic = 0x1badb002;
    const uint32_t header[8] = {magic, flags, -(magic + flags), CODE_AT, CODE_AT,
                                CODE_AT + CODE_BYTES, 0, CODE_AT + 32};
    char path[64];
    struct boot_info info;
    int fd = memfd_create("random_guest", MFD_CLOEXEC);
    bool ok;

    if (fd < 0)
        return false;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ok = write(fd, header, sizeof header) == (ssize_t)sizeof header &&
         write(fd, code + sizeof header, CODE_BYTES - sizeof header) ==
             (ssize_t)(CODE_BYTES - sizeof header);
    x86_state_reset(state);
    ok = ok && boot_load(&(struct boot_config){.mem = b->mem, .kernel = path, .append = ""}, state,
                         &info) == ERR_OK;
    close(fd);
    return ok;
}

static bool box_make(struct box *b, const struct options *o, bool oracle)
{
    struct vcpu_config config = {.bus = &b->bus,
                                 .tsc_khz = 1000000,
                                 .features = CPU_FEATURES_DEFAULT,
                                 .mmu_oracle = oracle,
                                 .budgeted = true};
    struct board_config board = {.cpus = 1,
                                 .tsc_khz = 1000000,
                                 .debug_exit = true,
                                 .host = {.arg = b,
                                          .serial_out = cb_serial,
                                          .set_irq = cb_set_irq,
                                          .raise_nmi = cb_nmi,
                                          .event = cb_event}};
    struct clock_config clock = {
        .mode = CLOCK_INSTRUCTIONS, .instructions = cb_instructions, .arg = b};

    *b = (struct box){.engine = engine_find(o->engine), .limit = o->instructions};
    if (!b->engine || mem_create(&b->mem, GUEST_BYTES) || clock_create(&b->clock, &clock))
        return false;
    board.mem = config.mem = b->mem;
    board.clock = b->clock;
    if (board_create(&b->board, &board))
        return false;
    b->board_bus = board_cpu_bus(b->board, 0);
    b->bus = *b->board_bus;
    b->bus.poll = bus_poll;
    b->bus.poll_arg = b;
    b->bus.irq_ack = bus_irq_ack;
    b->next_interrupt = INTERRUPT_INSTRUCTIONS;
    boxed = b;
    return b->engine->create(&b->vcpu, &config) == ERR_OK;
}

static void box_destroy(struct box *b)
{
    if (b->vcpu)
        b->engine->destroy(b->vcpu);
    if (b->board)
        board_destroy(b->board);
    if (b->clock)
        clock_destroy(b->clock);
    if (b->mem)
        mem_destroy(b->mem);
}

/* HLT: on to the next timer. False: there is none that can end it. */
static bool box_idle(struct box *b)
{
    struct x86_state s;
    uint64_t due = board_next_due(b->board), now = clock_now(b->clock);

    b->engine->get_state(b->vcpu, &s);
    if (!(s.rflags & RFLAGS_IF) || due == CLOCK_NEVER)
        return false;
    if (due > now)
        clock_skip_to(b->clock, due);
    board_run_due(b->board);
    return true;
}

/* ENDS: the host failed. */
static enum end box_run(struct box *b)
{
    unsigned idle = 0;

    for (;;) {
        switch (b->engine->run(b->vcpu)) {
        case ENGINE_EXIT_KICKED:
            if (b->event)
                return END_EVENT;
            if (b->over)
                return END_BUDGET;
            if (ticks > LIMIT_TICKS)
                return END_TIME;
            break;
        case ENGINE_EXIT_HALTED:
            if (b->event)
                return END_EVENT;
            if (++idle > IDLE_LIMIT || !box_idle(b))
                return END_HALTED;
            break;
        case ENGINE_EXIT_SHUTDOWN:
            return END_SHUTDOWN;
        case ENGINE_EXIT_HOST_ERROR:
            return ENDS;
        }
    }
}

static uint64_t box_sum(struct box *b)
{
    struct x86_state s;
    uint64_t sum = b->serial_sum;

    b->engine->get_state(b->vcpu, &s);
    for (unsigned i = 0; i < 16; i++)
        sum = sum * 31 + s.gpr[i];
    for (unsigned i = 0; i < sizeof s.fpu; i++)
        sum = sum * 31 + s.fpu[i];
    return ((sum * 31 + s.rip) * 31 + s.rflags) * 31 + s.cr2;
}

static bool box_check(struct box *b, uint64_t seed, struct tally *tally)
{
    struct mmu *mmu = b->engine->mmu(b->vcpu);
    const struct mmu_stats *stats = mmu_stats(mmu);

    tally->oracle_checks += stats->oracle_checks;
    if (stats->oracle_mismatches)
        fprintf(stderr, "seed %llu: %llu oracle mismatches\n", (unsigned long long)seed,
                (unsigned long long)stats->oracle_mismatches);
    else if (!mem_check(b->mem) || !mmu_audit(mmu))
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, err_text());
    else
        return true;
    return false;
}

static bool run_once(const struct options *o, uint64_t seed, struct tally *tally,
                     struct result *result)
{
    static uint8_t code[CODE_BYTES];
    enum world world = (enum world)(seed % WORLDS);
    struct dice d = {.s = seed * 0x2545f4914f6cdd1d + 99};
    struct x86_state state;
    struct box b;
    bool ok = box_make(&b, o, seed % 4 == 0);

    if (world == WORLD_RAW) {
        for (size_t i = 0; i < CODE_BYTES; i++)
            code[i] = (uint8_t)dice_below(&d, 256);
    } else {
        random_code(&d, code, CODE_BYTES, world_bits(world));
    }
    ok = ok && load(&b, code, &state) && world_enter(world, &d, b.mem, &state);
    if (ok) {
        b.engine->set_state(b.vcpu, &state);
        ticks = 0;
        ticking = b.vcpu;
        result->end = box_run(&b);
        ticking = NULL;
        result->instructions = b.engine->instructions(b.vcpu);
        result->sum = box_sum(&b);
        ok = result->end != ENDS;
    }
    if (!ok) {
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, err_text());
    } else {
        ok = box_check(&b, seed, tally);
        tally->ends[result->end]++;
        tally->worlds[world] += result->instructions;
        tally->instructions += result->instructions;
        tally->exceptions += b.engine->stats(b.vcpu)->exceptions;
        if (o->verbose)
            printf("seed %llu %s: %s after %llu instructions, %llu exceptions\n",
                   (unsigned long long)seed, world_names[world], end_names[result->end],
                   (unsigned long long)result->instructions,
                   (unsigned long long)b.engine->stats(b.vcpu)->exceptions);
    }
    box_destroy(&b);
    return ok;
}

static bool run_seed(const struct options *o, uint64_t seed, struct tally *tally)
{
    struct result first, second;

    if (!run_once(o, seed, tally, &first))
        return false;
    if (first.end == END_TIME)
        return true;
    if (!run_once(o, seed, tally, &second))
        return false;
    if (second.end == END_TIME ||
        (first.end == second.end && first.instructions == second.instructions &&
         first.sum == second.sum))
        return true;
    fprintf(stderr,
            "seed %llu: the second run differs: %s after %llu, %s after %llu instructions\n",
            (unsigned long long)seed, end_names[first.end], (unsigned long long)first.instructions,
            end_names[second.end], (unsigned long long)second.instructions);
    return false;
}

/* Child process: goes on from tally->seed to the end. */
static int child(const struct options *o, struct tally *tally)
{
    const struct itimerval timer = {{0, TICK_US}, {0, TICK_US}};
    struct sigaction sa = {.sa_handler = on_tick, .sa_flags = SA_RESTART};

    log_set_level(LOG_ERROR);
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (; tally->seed < o->seed + o->count; tally->seed++) {
        if (!run_seed(o, tally->seed, tally))
            return 1;
    }
    return 0;
}

/* Runs all seeds, with a new child behind each that fails. Answers the number of failures. */
static uint64_t run_all(const struct options *o, struct tally *tally)
{
    uint64_t failures = 0;

    for (tally->seed = o->seed; tally->seed < o->seed + o->count && failures < 20; tally->seed++) {
        int status = 0;
        pid_t pid;

        fflush(NULL);
        pid = fork();
        if (pid == 0)
            exit(child(o, tally));
        if (pid < 0 || waitpid(pid, &status, 0) != pid) {
            perror("random_guest: fork");
            return failures + 1;
        }
        if (status == 0)
            break;
        failures++;
        if (WIFSIGNALED(status))
            fprintf(stderr, "seed %llu: signal %d\n", (unsigned long long)tally->seed,
                    WTERMSIG(status));
        else
            fprintf(stderr, "seed %llu: failed\n", (unsigned long long)tally->seed);
    }
    return failures;
}

static bool parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--verbose")) {
            o->verbose = true;
            continue;
        }
        if (!strcmp(argv[i], "--seed"))
            o->seed = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--count"))
            o->count = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--instructions"))
            o->instructions = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--engine"))
            o->engine = value;
        else
            return false;
        i++;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options o = {.seed = 1, .count = 1000, .instructions = 100000, .engine = "interp"};
    struct tally *tally;
    uint64_t failures;

    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: random_guest [--seed N] [--count N] [--instructions N] "
                        "[--engine E] [--verbose]\n");
        return 2;
    }
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED) {
        perror("random_guest: mmap");
        return 4;
    }
    failures = run_all(&o, tally);
    for (unsigned i = 0; i < ENDS; i++)
        printf("%6llu %s\n", (unsigned long long)tally->ends[i], end_names[i]);
    for (unsigned i = 0; i < WORLDS; i++)
        printf("%12llu instructions in %s\n", (unsigned long long)tally->worlds[i], world_names[i]);
    printf("%llu random guests: %llu instructions, %llu exceptions, %llu oracle checks, "
           "%llu failures\n",
           (unsigned long long)o.count, (unsigned long long)tally->instructions,
           (unsigned long long)tally->exceptions, (unsigned long long)tally->oracle_checks,
           (unsigned long long)failures);
    return failures ? 1 : 0;
}
