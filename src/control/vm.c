/* SPDX-License-Identifier: Apache-2.0 */
/* Assembly and the way out. */
#include "vm_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/log.h"
#include "machine/boot/boot.h"

/*
 * Of what a VM may hold, decoded code gets this part at most, but never less than what a running
 * kernel needs.
 */
#define CODE_SHARE 32
#define CODE_LEAST (UINT64_C(8) << 20)

/* Makes wake_fd readable. A full eventfd counter is readable already. */
void vm_poke(struct vm *vm)
{
    uint64_t one = 1;
    ssize_t n = write(vm->wake_fd, &one, sizeof(one));

    (void)n;
}

void vm_wake_seen(struct vm *vm)
{
    uint64_t count;
    ssize_t n = read(vm->wake_fd, &count, sizeof(count));

    (void)n;
}

/* ---- callbacks of clock and board; the board's lock is held ---- */

static uint64_t cb_instructions(void *arg)
{
    struct vm *vm = arg;

    return vm->vcpu ? vm->engine->instructions(vm->vcpu) : 0;
}

static void cb_timer_earlier(void *arg)
{
    struct vm *vm = arg;

    if (vm->config.clock == CLOCK_HOST)
        vm_timer_arm(vm, clock_next_due(vm->clock));
    else if (vm->vcpu) /* its budget was made for the later time: poll again */
        vm->engine->kick(vm->vcpu);
    pthread_mutex_lock(&vm->lock);
    vm->timers_moved = true;
    pthread_cond_broadcast(&vm->cond);
    pthread_mutex_unlock(&vm->lock);
}

static void wake_cpu(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->irq_wake = true;
    pthread_cond_broadcast(&vm->cond);
    pthread_mutex_unlock(&vm->lock);
}

static void cb_set_irq(void *arg, unsigned cpu, bool level)
{
    struct vm *vm = arg;

    (void)cpu;
    if (!vm->vcpu)
        return;
    vm->engine->set_irq(vm->vcpu, level);
    if (level)
        wake_cpu(vm);
}

static void cb_raise_nmi(void *arg, unsigned cpu)
{
    struct vm *vm = arg;

    (void)cpu;
    if (!vm->vcpu)
        return;
    vm->engine->raise_nmi(vm->vcpu);
    wake_cpu(vm);
}

/* Any thread. The vCPU leaves its engine after the present instruction, or its sleep. */
static void cb_service_wanted(void *arg)
{
    struct vm *vm = arg;

    pthread_mutex_lock(&vm->lock);
    vm->service_wanted = true;
    pthread_cond_broadcast(&vm->cond);
    pthread_mutex_unlock(&vm->lock);
    if (vm->vcpu)
        vm->engine->kick(vm->vcpu);
}

/* Board's lock held, vCPU thread. */
static void cb_balloon_changed(void *arg)
{
    struct vm *vm = arg;

    pthread_mutex_lock(&vm->lock);
    vm->balloon_changes++;
    pthread_mutex_unlock(&vm->lock);
    vm_poke(vm);
}

static void cb_event(void *arg, enum board_event event, uint32_t code)
{
    struct vm *vm = arg;

    switch (event) {
    case BOARD_POWER_OFF:
        vm_set_end(vm, VM_END_POWER_OFF, 0, "the guest powered off");
        break;
    case BOARD_DEBUG_EXIT:
        vm_set_end(vm, VM_END_DEBUG_EXIT, code, "the guest wrote to the debug exit port");
        break;
    case BOARD_RESET:
        vm_reset(vm);
        break;
    }
}

/* ---- assembly ---- */

/* A random UUID (RFC 4122 4.4). */
static enum err make_uuid(char text[37])
{
    uint8_t b[16];

    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
        return err_errno(ERR_IO, "cannot get random bytes");
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(text, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
    return ERR_OK;
}

static enum err make_sync(struct vm *vm)
{
    pthread_condattr_t attr;

    if (pthread_mutex_init(&vm->lock, NULL))
        return err_new(ERR_NOMEM, "cannot make a lock");
    if (pthread_condattr_init(&attr) || pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) ||
        pthread_cond_init(&vm->cond, &attr))
        return err_new(ERR_NOMEM, "cannot make a condition");
    pthread_condattr_destroy(&attr);
    vm->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (vm->wake_fd < 0)
        return err_errno(ERR_IO, "cannot make an eventfd");
    vm->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (vm->timer_fd < 0)
        return err_errno(ERR_IO, "cannot make a timerfd");
    vm->timer_armed_ns = CLOCK_NEVER;
    vm->io_timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    vm->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (vm->io_timer_fd < 0 || vm->statm_fd < 0)
        return err_errno(ERR_IO, "cannot make a timerfd or open /proc/self/statm");
    vm->io_timer_ns = UINT64_MAX;
    return ERR_OK;
}

static enum err make_machine(struct vm *vm)
{
    const struct clock_config clock_config = {
        .mode = vm->config.clock,
        .instructions = cb_instructions,
        .on_earlier = cb_timer_earlier,
        .arg = vm,
    };
    struct board_config board_config = {
        .cpus = vm->config.cpus,
        .tsc_khz = VM_TSC_KHZ,
        .debug_exit = vm->config.debug_exit,
        .no_free_page_reporting = vm->config.forbidden_means & POLICY_MEANS_REPORT,
        .host = {.arg = vm,
                 .serial_out = console_serial_out,
                 .set_irq = cb_set_irq,
                 .raise_nmi = cb_raise_nmi,
                 .event = cb_event,
                 .serial_room = console_serial_room,
                 .service_wanted = cb_service_wanted,
                 .balloon_changed = cb_balloon_changed},
    };
    enum err err = vm->config.direct ? mem_create_shareable(&vm->mem, vm->config.memory_bytes)
                                     : mem_create(&vm->mem, vm->config.memory_bytes);

    if (!err)
        err = vm_open_stores(vm);
    if (!err)
        err = clock_create(&vm->clock, &clock_config);
    if (!err)
        err = vm_open_disks(vm, &board_config);
    if (err)
        return err;
    board_config.mem = vm->mem;
    board_config.clock = vm->clock;
    return board_create(&vm->board, &board_config);
}

static uint64_t code_bytes(const struct vm *vm)
{
    /* In a pool any limit may come. */
    uint64_t most = vm->config.counts_ages ? vm->config.memory_bytes : vm->config.limit_bytes;
    uint64_t share = most / CODE_SHARE;

    if (vm->config.code_cache_bytes)
        return vm->config.code_cache_bytes;
    return share < CODE_LEAST ? CODE_LEAST : share;
}

static enum err make_cpu(struct vm *vm)
{
    struct vcpu_config config = {
        .mem = vm->mem,
        .bus = &vm->bus,
        .tsc_khz = VM_TSC_KHZ,
        .apic_id = 0,
        .features = vm->config.features,
        .mmu_strategy = vm->config.mmu_strategy,
        .mmu_oracle = vm->config.mmu_oracle,
        .audit_exits = vm->config.audit && UMBRA_DEBUG_BUILD,
        .code_bytes = code_bytes(vm),
        .budgeted = vm->config.clock == CLOCK_INSTRUCTIONS,
        .hot_runs = vm->config.translate_at_once ? 1 : 0,
        .perf_map = vm->config.perf_map,
        .profile = vm->config.profile,
        .direct = vm->config.direct,
    };

    vm->board_bus = board_cpu_bus(vm->board, 0);
    vm->bus = *vm->board_bus;
    vm->bus.poll = vm_bus_poll;
    vm->bus.poll_arg = vm;
    return vm->engine->create(&vm->vcpu, &config);
}

/* Boot files into fresh memory, and the CPU state that starts them. */
enum err vm_load(struct vm *vm)
{
    struct boot_config config = {
        .mem = vm->mem,
        .kernel = vm->config.kernel,
        .initrd = vm->config.initrd,
        .append = vm->config.append ? vm->config.append : "",
        .five_levels = vm->config.features & CPU_FEATURE_LA57,
    };
    struct boot_info info = {0};
    struct x86_state state;
    enum err err = board_write_acpi(vm->board, &config.rsdp);

    if (err)
        return err;
    x86_state_reset(&state);
    err = boot_load(&config, &state, &info);
    if (err)
        return err;
    vm->protocol = info.protocol;
    vm->engine->set_state(vm->vcpu, &state);
    return ERR_OK;
}

enum err vm_create(struct vm **out, const struct vm_config *config)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    enum err err;

    *out = NULL;
    if (!vm)
        return err_new(ERR_NOMEM, "no memory for a VM");
    vm->config = *config;
    vm->wake_fd = vm->timer_fd = vm->io_timer_fd = vm->statm_fd = -1;
    vm->folder = VM_FOLDER_NONE;
    vm->user_resident = vm->user_balloon = VM_ANY;
    vm->limit_bytes = vm->config.limit_bytes;
    vm->host_state = POOL_LOW;
    vm->boot_ns = host_ns();
    vm->engine = engine_find(config->engine);
    if (!vm->engine) {
        free(vm);
        return ERR_UNSUPPORTED;
    }
    err = make_sync(vm);
    if (!err)
        err = make_uuid(vm->uuid);
    if (!err)
        err = console_init(vm);
    if (!err)
        err = make_machine(vm);
    if (!err)
        err = make_cpu(vm);
    if (!err && vm->config.profile)
        err = sampler_create(&vm->sampler, vm->vcpu);
    if (!err)
        err = vm_load(vm);
    if (err) {
        vm_destroy(vm);
        return err;
    }
    *out = vm;
    return ERR_OK;
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

void vm_destroy(struct vm *vm)
{
    if (!vm)
        return;
    if (vm->thread_started) {
        vm_stop(vm);
        vm_join(vm);
    }
    sampler_destroy(vm->sampler);
    if (vm->vcpu)
        vm->engine->destroy(vm->vcpu);
    if (vm->board)
        board_destroy(vm->board);
    if (vm->clock)
        clock_destroy(vm->clock);
    if (vm->mem)
        mem_destroy(vm->mem);
    vm_close_files(vm);
    console_fini(vm);
    close_all((int[]){vm->timer_fd, vm->io_timer_fd, vm->statm_fd, vm->wake_fd}, 4);
    pthread_cond_destroy(&vm->cond);
    pthread_mutex_destroy(&vm->lock);
    free(vm);
}

enum err vm_start(struct vm *vm)
{
    vm->start_ns = host_ns();
    errno = pthread_create(&vm->thread, NULL, vm_cpu_main, vm);
    if (errno)
        return err_errno(ERR_NOMEM, "cannot start the vCPU's thread");
    vm->thread_started = true;
    return ERR_OK;
}

void vm_join(struct vm *vm)
{
    if (vm->thread_started && !vm->thread_joined) {
        pthread_join(vm->thread, NULL);
        vm->thread_joined = true;
    }
}
