/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPU's thread.
 *
 *            +--------------------------------------------------+
 *            v                                                  |
 *     [gate: park while held, paused or output full;            |
 *      restart on reset; leave on end]                          |
 *            |                                                  |
 *            v                                                  |
 *     [devices and memory that asked for it are served;         |
 *      while memory stalls, wait and try again] ----------------+
 *            |                                                  |
 *            v                                                  |
 *     engine->run --KICKED--------------------------------------+
 *            |-----HALTED--> idle until interrupt or request ---+
 *            |-----SHUTDOWN--> reset on purpose, or crash ------+
 *            `-----HOST_ERROR--> end, unless memory stalls -----+
 *
 * Time: with CLOCK_HOST a due timer of a running guest kicks the CPU (timerfd, main thread) and the
 * engine's next bus->poll runs it; a halted CPU sleeps here until the due time and runs the timer
 * itself. With CLOCK_INSTRUCTIONS a halted CPU jumps to the next due time.
 */
#include "vm_private.h"

#include <errno.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* ---- host timer of a running guest ---- */

void vm_timer_arm(struct vm *vm, uint64_t due_ns)
{
    struct itimerspec spec = {0};
    uint64_t now = clock_now(vm->clock);
    uint64_t wait = due_ns > now ? due_ns - now : 1;

    pthread_mutex_lock(&vm->lock);
    if (vm->timer_armed_ns == due_ns) {
        pthread_mutex_unlock(&vm->lock);
        return;
    }
    vm->timer_armed_ns = due_ns;
    if (due_ns != CLOCK_NEVER) {
        spec.it_value.tv_sec = (time_t)(wait / UINT64_C(1000000000));
        spec.it_value.tv_nsec = (long)(wait % UINT64_C(1000000000));
    }
    timerfd_settime(vm->timer_fd, 0, &spec, NULL);
    pthread_mutex_unlock(&vm->lock);
}

int vm_timer_fd(const struct vm *vm)
{
    return vm->timer_fd;
}

int vm_wake_fd(const struct vm *vm)
{
    return vm->wake_fd;
}

void vm_timer_due(struct vm *vm)
{
    uint64_t expirations;
    bool idle;

    if (read(vm->timer_fd, &expirations, sizeof(expirations)) < 0)
        return;
    pthread_mutex_lock(&vm->lock);
    vm->timer_armed_ns = 0; /* the next poll arms it again, even for the same moment */
    idle = vm->parked;
    pthread_mutex_unlock(&vm->lock);
    if (!idle)
        vm->engine->kick(vm->vcpu);
}

/* The board's poll, with our own business added: host timer, console input by guest time. */
uint64_t vm_bus_poll(void *arg)
{
    struct vm *vm = arg;
    uint64_t budget = vm->board_bus->poll(vm->board_bus->poll_arg);
    uint64_t now, tick, left;

    if (vm->config.clock == CLOCK_HOST) {
        vm_timer_arm(vm, board_next_due(vm->board));
        return budget;
    }
    now = clock_now(vm->clock);
    tick = console_tick(vm, now);
    if (tick == CLOCK_NEVER)
        return budget;
    left = (tick - now + CLOCK_NS_PER_INSTRUCTION - 1) / CLOCK_NS_PER_INSTRUCTION;
    return left < budget ? left : budget;
}

/* ---- the gate ---- */

/* Lock held. The guest is to stand still. */
static bool must_park(const struct vm *vm)
{
    return vm->hold || vm->paused || console_out_is_full(vm);
}

/* Something other than running the guest is to be done. */
bool vm_needs_gate(const struct vm *vm)
{
    return vm->end.kind != VM_END_NONE || must_park(vm) || vm->reset_wanted;
}

static void restart(struct vm *vm)
{
    board_reset(vm->board); /* first: devices let go of the memory they work on */
    mem_reset(vm->mem);
    vm_service_reset(vm);
    if (vm_load(vm)) {
        char text[240];

        snprintf(text, sizeof(text), "cannot restart the guest: %s", err_text());
        vm_set_end(vm, VM_END_HOST_ERROR, 0, text);
    }
}

/* False: the VM has ended. */
static bool gate(struct vm *vm)
{
    bool running;

    pthread_mutex_lock(&vm->lock);
    while (vm_needs_gate(vm) && vm->end.kind == VM_END_NONE) {
        if (vm->reset_wanted && !vm->hold) { /* also while paused: it stays so */
            vm->reset_wanted = false;
            pthread_mutex_unlock(&vm->lock);
            restart(vm);
            pthread_mutex_lock(&vm->lock);
            vm->resets++;
            vm_phase_restarts(vm);
            vm_poke(vm);
        } else if (!vm->hold && (vm->memory_wanted || vm->policy_wanted)) {
            pthread_mutex_unlock(&vm->lock);
            vm_service_paused(vm);
            pthread_mutex_lock(&vm->lock);
        } else {
            vm->parked = true;
            pthread_cond_broadcast(&vm->cond);
            pthread_cond_wait(&vm->cond, &vm->lock);
            vm->parked = false;
        }
    }
    running = vm->end.kind == VM_END_NONE;
    pthread_mutex_unlock(&vm->lock);
    return running;
}

/* ---- halted ---- */

/* Sleeps until an interrupt, a moved timer, a request or the moment due_ns. */
static void idle_sleep(struct vm *vm, uint64_t due_ns)
{
    uint64_t now = clock_now(vm->clock);
    uint64_t until = host_ns() + (due_ns > now ? due_ns - now : 0);
    struct timespec ts = {.tv_sec = (time_t)(until / UINT64_C(1000000000)),
                          .tv_nsec = (long)(until % UINT64_C(1000000000))};
    int rc = 0;

    vm->vcpu->phase = ENGINE_halted;
    pthread_mutex_lock(&vm->lock);
    vm->parked = true;
    pthread_cond_broadcast(&vm->cond);
    while (!vm->irq_wake && !vm->timers_moved && !vm_has_work(vm) && !vm_needs_gate(vm) &&
           rc != ETIMEDOUT) {
        if (due_ns == CLOCK_NEVER)
            pthread_cond_wait(&vm->cond, &vm->lock);
        else
            rc = pthread_cond_timedwait(&vm->cond, &vm->lock, &ts);
    }
    while (vm->hold && vm->end.kind == VM_END_NONE)
        pthread_cond_wait(&vm->cond, &vm->lock);
    vm->parked = false;
    pthread_mutex_unlock(&vm->lock);
    vm->vcpu->phase = ENGINE_outside;
}

static bool idle_is_over(struct vm *vm)
{
    bool over;

    pthread_mutex_lock(&vm->lock);
    over = vm->irq_wake || vm_needs_gate(vm);
    vm->irq_wake = false;
    vm->timers_moved = false;
    pthread_mutex_unlock(&vm->lock);
    return over;
}

static void idle(struct vm *vm)
{
    while (!idle_is_over(vm)) {
        uint64_t now = clock_now(vm->clock);
        uint64_t tick = console_tick(vm, now);
        uint64_t due = board_next_due(vm->board);

        if (vm_service(vm, SERVICE_IDLE_NS)) {
            if (mem_stall(vm->mem))
                return;
            continue;
        }
        if (tick < due)
            due = tick;
        if (due <= now) {
            board_run_due(vm->board);
        } else if (vm->config.clock == CLOCK_INSTRUCTIONS && due != CLOCK_NEVER) {
            clock_skip_to(vm->clock, due);
            board_run_due(vm->board);
        } else {
            idle_sleep(vm, due);
        }
    }
}

/* A HLT that nothing can end is the end of the guest. */
static bool is_halted_for_ever(struct vm *vm)
{
    struct x86_state state;

    vm->engine->get_state(vm->vcpu, &state);
    return !(state.rflags & RFLAGS_IF);
}

/*
 * A kernel that resets through a triple fault loads an interrupt table of limit zero first (Linux:
 * reboot=t); a crash does not.
 */
static void on_shutdown(struct vm *vm)
{
    struct x86_state state;

    vm->engine->get_state(vm->vcpu, &state);
    if (state.idtr.limit == 0)
        vm_reset(vm);
    else
        vm_set_end(vm, VM_END_GUEST_CRASH, 0, "the guest crashed: triple fault");
}

void *vm_cpu_main(void *arg)
{
    struct vm *vm = arg;

    pthread_mutex_lock(&vm->lock);
    vm->thread_id = (int)gettid();
    pthread_mutex_unlock(&vm->lock);
    while (gate(vm)) {
        enum engine_exit exit;

        vm_service(vm, SERVICE_RUNNING_NS);
        if (vm_wait_out_stall(vm))
            continue;
        exit = vm->engine->run(vm->vcpu);
        if (exit == ENGINE_EXIT_HOST_ERROR && vm_wait_out_stall(vm))
            continue;
        vm_stall_is_over(vm);
        switch (exit) {
        case ENGINE_EXIT_KICKED:
            break;
        case ENGINE_EXIT_HALTED:
            if (is_halted_for_ever(vm))
                vm_set_end(vm, VM_END_GUEST_CRASH, 0,
                           "the guest halted for ever: HLT with interrupts off");
            else
                idle(vm);
            break;
        case ENGINE_EXIT_SHUTDOWN:
            on_shutdown(vm);
            break;
        case ENGINE_EXIT_HOST_ERROR:
            vm_set_end(vm, VM_END_HOST_ERROR, 0, err_text());
            break;
        }
    }
    pthread_mutex_lock(&vm->lock);
    vm->thread_done = true;
    pthread_cond_broadcast(&vm->cond);
    pthread_mutex_unlock(&vm->lock);
    vm_poke(vm);
    return NULL;
}
