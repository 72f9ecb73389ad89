/* SPDX-License-Identifier: Apache-2.0 */
/* What the main thread asks of a running VM, and asks about it. */
#include "vm_private.h"

#include <stdio.h>

void vm_set_end(struct vm *vm, enum vm_end_kind kind, uint32_t code, const char *text)
{
    pthread_mutex_lock(&vm->lock);
    if (vm->end.kind == VM_END_NONE) {
        vm->end.kind = kind;
        vm->end.code = code;
        snprintf(vm->end.text, sizeof(vm->end.text), "%s", text);
        vm->end_ns = host_ns();
    }
    pthread_cond_broadcast(&vm->cond);
    pthread_mutex_unlock(&vm->lock);
    mem_hurry(vm->mem);
    vm->engine->kick(vm->vcpu);
    vm_poke(vm);
}

static void request(struct vm *vm, bool *flag, bool value)
{
    pthread_mutex_lock(&vm->lock);
    *flag = value;
    pthread_cond_broadcast(&vm->cond);
    pthread_mutex_unlock(&vm->lock);
    vm->engine->kick(vm->vcpu);
}

void vm_pause(struct vm *vm)
{
    request(vm, &vm->paused, true);
}

void vm_resume(struct vm *vm)
{
    request(vm, &vm->paused, false);
}

void vm_reset(struct vm *vm)
{
    if (vm->config.reboot == VM_REBOOT_ENDS)
        vm_set_end(vm, VM_END_RESET, 0, "the guest asked for a reset");
    else
        request(vm, &vm->reset_wanted, true);
}

void vm_stop(struct vm *vm)
{
    vm->stop_asked = true;
    vm_set_end(vm, VM_END_STOPPED, 0, "stopped");
}

void vm_hold(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->hold++;
    pthread_cond_broadcast(&vm->cond);
    pthread_mutex_unlock(&vm->lock);
    mem_hurry(vm->mem);
    vm->engine->kick(vm->vcpu);
    pthread_mutex_lock(&vm->lock);
    while (vm->thread_started && !vm->parked && !vm->thread_done)
        pthread_cond_wait(&vm->cond, &vm->lock);
    pthread_mutex_unlock(&vm->lock);
}

void vm_release(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->hold--;
    mem_hurry_over(vm->mem); /* before it goes on */
    pthread_cond_broadcast(&vm->cond);
    pthread_mutex_unlock(&vm->lock);
}

/* ---- questions ---- */

bool vm_is_paused(const struct vm *vm)
{
    return vm->paused; /* written by the main thread only */
}

bool vm_is_stop_asked(const struct vm *vm)
{
    return vm->stop_asked;
}

struct vm_end vm_end(struct vm *vm)
{
    struct vm_end end;

    pthread_mutex_lock(&vm->lock);
    end = vm->end;
    pthread_mutex_unlock(&vm->lock);
    return end;
}

unsigned vm_resets(struct vm *vm)
{
    unsigned resets;

    pthread_mutex_lock(&vm->lock);
    resets = vm->resets;
    pthread_mutex_unlock(&vm->lock);
    return resets;
}

unsigned vm_balloon_changes(struct vm *vm)
{
    unsigned changes;

    pthread_mutex_lock(&vm->lock);
    changes = vm->balloon_changes;
    pthread_mutex_unlock(&vm->lock);
    return changes;
}

struct board *vm_board(struct vm *vm)
{
    return vm->board;
}

void vm_cpu_state(struct vm *vm, struct x86_state *out)
{
    vm->engine->get_state(vm->vcpu, out);
}

struct guest_mem *vm_mem(struct vm *vm)
{
    return vm->mem;
}

struct mmu *vm_mmu(struct vm *vm)
{
    return vm->engine->mmu(vm->vcpu);
}

const struct cpu_stats *vm_cpu_stats(struct vm *vm)
{
    return vm->engine->stats(vm->vcpu);
}

bool vm_phases(const struct vm *vm, uint64_t counts[ENGINE_PHASE_COUNT])
{
    if (vm->sampler)
        sampler_counts(vm->sampler, counts);
    return vm->sampler != NULL;
}

unsigned vm_callouts(struct vm *vm, struct engine_callout *out, unsigned room)
{
    return vm->engine->callouts ? vm->engine->callouts(vm->vcpu, out, room) : 0;
}

uint64_t vm_wall_ns(struct vm *vm)
{
    uint64_t end = vm->end_ns;

    if (!vm->start_ns)
        return 0;
    return (end ? end : host_ns()) - vm->start_ns;
}

uint64_t vm_guest_ns(struct vm *vm)
{
    return clock_now(vm->clock);
}

const struct vm_config *vm_get_config(const struct vm *vm)
{
    return &vm->config;
}

const struct engine_ops *vm_engine(const struct vm *vm)
{
    return vm->engine;
}

const char *vm_uuid(const struct vm *vm)
{
    return vm->uuid;
}

const char *vm_boot_protocol(const struct vm *vm)
{
    return vm->protocol;
}

int vm_thread_id(struct vm *vm)
{
    int id;

    pthread_mutex_lock(&vm->lock);
    id = vm->thread_id;
    pthread_mutex_unlock(&vm->lock);
    return id;
}

enum err vm_audit(struct vm *vm)
{
    if (!mem_check(vm->mem))
        return err_new(ERR_INTERNAL, "audit: guest memory: %s", err_text());
    if (!mmu_audit(vm_mmu(vm)))
        return err_new(ERR_INTERNAL, "audit: shadow tables: %s", err_text());
    return ERR_OK;
}
