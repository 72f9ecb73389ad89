/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine like `umbra run` whose memory is never at rest: every few thousand instructions,
 * between two of them, frames leave host memory, at random which, how many and where to, or all
 * grow older; with --fail, pages can often not be read back. The guest must not notice.
 *
 *   tests/guest/run --umbra build/tests/guest/chaos --with --shadow=trace --with --seed=7
 *
 * It takes the options that tests/guest/run gives to umbra, and:
 *   --seed=N           what happens when (1)
 *   --every=N          instructions from one moment to the next, on average (2000)
 *   --fail             reading pages back fails at random; the engine is run again then
 *   --shadow=NAME --oracle --audit   as umbra run; all is audited at the end anyway
 *   --engine=translate --translate-at-once   as umbra run; native code stops where it likes, so
 *                      that what happens when is not told by the seed alone then
 *   --figures          what happened, on stderr
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cpu/engine.h"
#include "machine/board.h"
#include "machine/boot/boot.h"
#include "mem/reclaim.h"

#define TSC_KHZ      1000000
#define MEMORY_BYTES (UINT64_C(16) << 20)
#define FRAMES       (MEMORY_BYTES / PAGE_SIZE)
/* A new smart-paging file costs the disk some time. */
#define SMART_FILES 20
#define SECOND_NS   UINT64_C(1000000000)

enum end { RUNNING, ENDED_WELL, ENDED_DEBUG_EXIT, ENDED_CRASH };

struct chaos {
    struct guest_mem *mem;
    struct clock *clock;
    struct board *board;
    const struct engine_ops *engine;
    struct vcpu *vcpu;
    struct cpu_bus bus;
    const struct cpu_bus *board_bus;
    const char *kernel;
    enum mmu_strategy strategy;
    uint32_t features;
    uint64_t seed, every, next, host_ns, moments, failures, stalls;
    uint64_t smart_bytes;
    char smart_path[64];
    bool fail, oracle, audit, figures, service, exact, at_once;
    enum end end;
    uint32_t code;
    uint8_t *disk; /* a block for each frame */
};

static uint64_t random_below(struct chaos *m, uint64_t below)
{
    m->seed = m->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (m->seed >> 33) % below;
}

static void die(const char *what)
{
    fprintf(stderr, "chaos: %s: %s\n", what, err_text());
    exit(4);
}

/* Where the host's time begins; it runs ahead as it likes. */
static uint64_t monotonic_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

/* --- the machine --- */

static uint64_t instructions(void *arg)
{
    struct chaos *m = arg;

    return m->vcpu ? m->engine->instructions(m->vcpu) : 0;
}

static void on_earlier(void *arg)
{
    struct chaos *m = arg;

    if (m->vcpu)
        m->engine->kick(m->vcpu);
}

static void serial_out(void *arg, const uint8_t *bytes, size_t count)
{
    (void)arg;
    fwrite(bytes, 1, count, stdout);
}

static void set_irq(void *arg, unsigned cpu, bool level)
{
    struct chaos *m = arg;

    (void)cpu;
    if (m->vcpu)
        m->engine->set_irq(m->vcpu, level);
}

static void raise_nmi(void *arg, unsigned cpu)
{
    struct chaos *m = arg;

    (void)cpu;
    m->engine->raise_nmi(m->vcpu);
}

static void on_event(void *arg, enum board_event event, uint32_t code)
{
    struct chaos *m = arg;

    m->end = event == BOARD_DEBUG_EXIT ? ENDED_DEBUG_EXIT : ENDED_WELL;
    m->code = code;
    m->engine->kick(m->vcpu);
}

static void service_wanted(void *arg)
{
    struct chaos *m = arg;

    m->service = true;
    if (m->vcpu)
        m->engine->kick(m->vcpu);
}

/* The board's poll; when the next moment has come, the engine is left. */
static uint64_t poll_bus(void *arg)
{
    struct chaos *m = arg;
    uint64_t budget = m->board_bus->poll(m->board_bus->poll_arg);
    uint64_t now = instructions(m);

    if (now >= m->next) {
        m->engine->kick(m->vcpu);
        return budget;
    }
    return budget < m->next - now ? budget : m->next - now;
}

/* --- memory at unrest --- */

static enum err read_disk(void *arg, unsigned disk, uint64_t block, void *buf, size_t count)
{
    struct chaos *m = arg;

    (void)disk;
    if (m->fail && !random_below(m, 3)) {
        m->failures++;
        return err_new(ERR_IO, "a read fails on purpose");
    }
    memcpy(buf, m->disk + block * PAGE_SIZE, count * PAGE_SIZE);
    return ERR_OK;
}

/* Some frames come to equal blocks of the disk. */
static void copy_to_disk(struct chaos *m)
{
    for (uint64_t n = random_below(m, 512); n > 0; n--) {
        uint64_t f = random_below(m, FRAMES);
        gfn_t gfn = gfn_make(f);

        if (mem_page_state(m->mem, gfn) != PAGE_RESIDENT || !mem_image_overwritten(m->mem, 0, f, 1))
            continue;
        if (!mem_read_through(m->mem, gfn_gpa(gfn), m->disk + f * PAGE_SIZE, PAGE_SIZE))
            die("reading a page");
        mem_image_is_equal(m->mem, gfn, 0, f);
    }
}

static void moment(struct chaos *m)
{
    struct mem_orders orders = {.limit_bytes = UINT64_MAX, .target_bytes = UINT64_MAX};

    m->moments++;
    m->next = instructions(m) + 1 + random_below(m, 2 * m->every);
    if (!random_below(m, 4))
        m->host_ns += SECOND_NS;
    if (!random_below(m, 3) || m->fail)
        copy_to_disk(m);
    orders.means = (unsigned)random_below(m, MEM_MEANS_ALL + 1);
    if (random_below(m, 4))
        orders.target_bytes = mem_host_bytes(m->mem) * random_below(m, 100) / 100;
    if (!random_below(m, 16)) {
        bool ends = !random_below(m, 8) && mem_reclaim_stats(m->mem)->smart_files < SMART_FILES;
        m->smart_bytes = ends ? 0 : (1 + random_below(m, FRAMES)) * PAGE_SIZE;
    }
    orders.smart_limit_bytes = m->smart_bytes;
    if (!random_below(m, 4))
        orders.share_scan_pages_per_s = FRAMES;
    mem_set_orders(m->mem, &orders);
    (void)mem_service(m->mem, m->host_ns, SECOND_NS);
    unlink(m->smart_path); /* if it is there; whatever ends this process, nothing is left */
}

/* The host has failed: true when the guest can go on after some time. */
static bool wait_for_host(struct chaos *m)
{
    if (!mem_stall(m->mem))
        return false;
    m->stalls++;
    for (unsigned tries = 0; mem_stall(m->mem) && tries < 1000; tries++) {
        struct mem_orders orders = {.limit_bytes = UINT64_MAX,
                                    .target_bytes = UINT64_MAX,
                                    .smart_limit_bytes = m->smart_bytes};

        m->host_ns += SECOND_NS;
        mem_set_orders(m->mem, &orders);
        (void)mem_service(m->mem, m->host_ns, SECOND_NS);
    }
    return !mem_stall(m->mem);
}

/* --- run --- */

static void halted(struct chaos *m)
{
    struct x86_state state;
    uint64_t due = board_next_due(m->board);

    m->engine->get_state(m->vcpu, &state);
    if (!(state.rflags & RFLAGS_IF) || due == CLOCK_NEVER) {
        m->end = ENDED_CRASH;
        return;
    }
    if (due > clock_now(m->clock))
        clock_skip_to(m->clock, due);
    board_run_due(m->board);
}

static void run(struct chaos *m)
{
    struct x86_state state;

    while (m->end == RUNNING) {
        if (m->service) {
            m->service = false;
            board_service(m->board);
        }
        if (instructions(m) >= m->next)
            moment(m);
        switch (m->engine->run(m->vcpu)) {
        case ENGINE_EXIT_KICKED:
            break;
        case ENGINE_EXIT_HALTED:
            halted(m);
            break;
        case ENGINE_EXIT_SHUTDOWN:
            m->engine->get_state(m->vcpu, &state);
            m->end = state.idtr.limit == 0 ? ENDED_WELL : ENDED_CRASH;
            break;
        case ENGINE_EXIT_HOST_ERROR:
            if (!wait_for_host(m))
                die("the engine");
            break;
        }
    }
}

static void create(struct chaos *m)
{
    char path[64];
    struct mem_store_config stores = {.path = path,
                                      .smart_path = m->smart_path,
                                      .bytes = MEMORY_BYTES,
                                      .compress_bytes = MEMORY_BYTES / 8};
    struct mem_image_source source = {.arg = m, .read = read_disk};
    struct clock_config clock = {.mode = CLOCK_INSTRUCTIONS,
                                 .instructions = instructions,
                                 .on_earlier = on_earlier,
                                 .arg = m};
    struct board_config board = {.cpus = 1,
                                 .tsc_khz = TSC_KHZ,
                                 .debug_exit = true,
                                 .host = {.arg = m,
                                          .serial_out = serial_out,
                                          .set_irq = set_irq,
                                          .raise_nmi = raise_nmi,
                                          .event = on_event,
                                          .service_wanted = service_wanted}};
    struct vcpu_config cpu = {.bus = &m->bus,
                              .tsc_khz = TSC_KHZ,
                              .features = m->features,
                              .mmu_strategy = m->strategy,
                              .mmu_oracle = m->oracle,
                              .audit_exits = m->audit,
                              .hot_runs = m->at_once ? 1 : 0,
                              .budgeted = m->exact};

    snprintf(path, sizeof path, "/tmp/umbra-chaos-%d.vswp", (int)getpid());
    snprintf(m->smart_path, sizeof m->smart_path, "/tmp/umbra-chaos-%d.smart", (int)getpid());
    if (mem_create(&m->mem, MEMORY_BYTES) || mem_stores_open(m->mem, &stores))
        die("guest memory");
    unlink(path);
    if (clock_create(&m->clock, &clock))
        die("clock");
    board.mem = cpu.mem = m->mem;
    board.clock = m->clock;
    if (board_create(&m->board, &board))
        die("board");
    mem_set_image_source(m->mem, &source); /* not the board's disks */
    m->board_bus = board_cpu_bus(m->board, 0);
    m->bus = *m->board_bus;
    m->bus.poll = poll_bus;
    m->bus.poll_arg = m;
    if (m->engine->create(&m->vcpu, &cpu))
        die("engine");
    m->disk = calloc(FRAMES, PAGE_SIZE);
    if (!m->disk)
        die("disk");
}

static void load(struct chaos *m)
{
    struct boot_config config = {.mem = m->mem,
                                 .kernel = m->kernel,
                                 .append = "",
                                 .five_levels = m->features & CPU_FEATURE_LA57};
    struct boot_info info = {0};
    struct x86_state state;

    x86_state_reset(&state);
    if (board_write_acpi(m->board, &config.rsdp) || boot_load(&config, &state, &info))
        die(m->kernel);
    m->engine->set_state(m->vcpu, &state);
}

static void print_figures(const struct chaos *m)
{
    const struct mem_reclaim_stats *s = mem_reclaim_stats(m->mem);

    fprintf(stderr,
            "chaos: instructions=%llu moments=%llu failures=%llu stalls=%llu zero=%llu shared=%llu "
            "compressed=%llu swapped=%llu smart=%llu image=%llu from_swap=%llu from_smart=%llu "
            "from_image=%llu smart_files=%llu "
            "false_reads_saved=%llu unmapped=%llu\n",
            (unsigned long long)m->engine->instructions(m->vcpu), (unsigned long long)m->moments,
            (unsigned long long)m->failures, (unsigned long long)m->stalls,
            (unsigned long long)s->evicted_zero, (unsigned long long)s->evicted_shared,
            (unsigned long long)s->evicted_compressed, (unsigned long long)s->evicted_swapped,
            (unsigned long long)s->evicted_smart, (unsigned long long)s->evicted_image,
            (unsigned long long)s->came_from_swap, (unsigned long long)s->came_from_smart,
            (unsigned long long)s->came_from_image, (unsigned long long)s->smart_files,
            (unsigned long long)s->false_reads_saved,
            (unsigned long long)mmu_stats(m->engine->mmu(m->vcpu))->frames_unmapped);
}

static const char *value_of(const char *arg, const char *name)
{
    size_t n = strlen(name);

    return strncmp(arg, name, n) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
}

static void read_options(struct chaos *m, int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        const char *value;

        if (!strcmp(argv[i], "--kernel") && i + 1 < argc)
            m->kernel = argv[++i];
        else if ((!strcmp(argv[i], "--memory") || !strcmp(argv[i], "--engine")) && i + 1 < argc)
            i++; /* 16M, and interp unless --engine=NAME says otherwise */
        else if (!strcmp(argv[i], "--debug-exit") || !strcmp(argv[i], "--no-reboot"))
            continue;
        else if ((value = value_of(argv[i], "--seed")))
            m->seed = strtoull(value, NULL, 0);
        else if ((value = value_of(argv[i], "--every")))
            m->every = strtoull(value, NULL, 0);
        else if ((value = value_of(argv[i], "--shadow")))
            while (m->strategy < MMU_STRATEGIES && strcmp(mmu_strategy_name(m->strategy), value))
                m->strategy++;
        else if ((value = value_of(argv[i], "--cpu")) && !cpu_features_parse(value, &m->features))
            continue;
        else if ((value = value_of(argv[i], "--engine")) && (m->engine = engine_find(value)))
            m->exact = false;
        else if (!strcmp(argv[i], "--translate-at-once"))
            m->at_once = true;
        else if (!strcmp(argv[i], "--fail"))
            m->fail = true;
        else if (!strcmp(argv[i], "--oracle"))
            m->oracle = true;
        else if (!strcmp(argv[i], "--audit"))
            m->audit = true;
        else if (!strcmp(argv[i], "--figures"))
            m->figures = true;
        else
            m->strategy = MMU_STRATEGIES;
        if (m->strategy == MMU_STRATEGIES) {
            fprintf(stderr, "chaos: what is %s?\n", argv[i]);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct chaos m = {.seed = 1,
                      .every = 2000,
                      .host_ns = monotonic_ns(),
                      .features = CPU_FEATURES_DEFAULT,
                      .exact = true};

    m.engine = engine_find("interp");
    read_options(&m, argc, argv);
    if (!m.kernel || !m.every)
        return 2;
    create(&m);
    load(&m);
    run(&m);
    fflush(stdout);
    if (m.figures)
        print_figures(&m);
    if (!mem_check(m.mem) || !mmu_audit(m.engine->mmu(m.vcpu)) ||
        mmu_stats(m.engine->mmu(m.vcpu))->oracle_mismatches)
        die("audit");
    m.engine->destroy(m.vcpu);
    board_destroy(m.board);
    clock_destroy(m.clock);
    mem_destroy(m.mem);
    free(m.disk);
    return m.end == ENDED_CRASH ? 3 : m.end == ENDED_DEBUG_EXIT ? (int)(m.code << 1 | 1) & 0xff : 0;
}
