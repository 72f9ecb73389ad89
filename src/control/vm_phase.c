/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a VM is in its life, and with that, how much smart paging it may do now.
 *
 *     starting --booted--> running --reset--> restarting --booted--> running
 *
 * Booted: the driver of the balloon has connected, or, for a guest without one, BOOT_NS have
 * passed.
 */
#include "vm_private.h"

#define BOOT_NS UINT64_C(60000000000)
/* Draining takes time, too: it begins when so much of the limit is left. */
#define DRAIN_PART   4
#define DRAIN_NS_MAX UINT64_C(30000000000)

const char *vm_phase_name(enum vm_phase phase)
{
    static const char *const names[] = {"starting", "running", "restarting"};

    return names[phase];
}

void vm_phase_restarts(struct vm *vm)
{
    vm->phase = VM_RESTARTING;
    vm->boot_ns = host_ns();
}

void vm_set_restarting(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm_phase_restarts(vm);
    pthread_mutex_unlock(&vm->lock);
}

static void look(struct vm *vm, bool has_driver, uint64_t now)
{
    if (!has_driver && now < vm->boot_ns + BOOT_NS)
        return;
    vm->phase = VM_RUNNING;
    vm->smart_bytes = 0;
}

/* Of what began at the boot, nothing may be left at the limit. */
static bool is_overdue(const struct vm *vm, uint64_t now)
{
    uint64_t limit = vm->config.smart_limit_ns, drain = limit / DRAIN_PART;

    return now >= vm->boot_ns + limit - (drain < DRAIN_NS_MAX ? drain : DRAIN_NS_MAX);
}

void vm_phase_look(struct vm *vm, struct policy_input *in)
{
    look(vm, in->has_balloon, in->now_ns);
    in->smart_overdue = is_overdue(vm, in->now_ns);
    in->smart_allowed = vm->phase == VM_RESTARTING && !in->smart_overdue ? vm->smart_bytes : 0;
}

enum vm_phase vm_phase(struct vm *vm)
{
    enum vm_phase phase;

    pthread_mutex_lock(&vm->lock);
    look(vm, false, host_ns());
    phase = vm->phase;
    pthread_mutex_unlock(&vm->lock);
    return phase;
}

void vm_set_smart(struct vm *vm, uint64_t bytes)
{
    bool changes;

    pthread_mutex_lock(&vm->lock);
    changes = vm->smart_bytes != bytes;
    vm->smart_bytes = bytes;
    pthread_mutex_unlock(&vm->lock);
    if (changes)
        vm_ask_service(vm, &vm->policy_wanted);
}
