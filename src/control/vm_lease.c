/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's lease in a pool: what the main thread hands in, and the guest's short wait for more.
 *
 *     main thread                              vCPU thread
 *                                              the guest meets its limit, the pool has memory
 *     member.c reports at once   <--wake_fd--  vm_wait_for_lease
 *     vm_set_lease               ---cond---->  goes on: nothing had to leave
 *
 * The wait is short and never repeated at the same lease, so a manager that grants nothing, or is
 * gone, holds nobody up: then the guest's own pages leave.
 */
#include <errno.h>
#include <time.h>

#include "vm_private.h"

#define WAIT_NS   UINT64_C(100000000)
#define SECOND_NS UINT64_C(1000000000)

void vm_set_limit(struct vm *vm, uint64_t bytes)
{
    vm_set_lease(vm, bytes, POOL_LOW);
}

uint64_t vm_limit(struct vm *vm)
{
    uint64_t bytes;

    pthread_mutex_lock(&vm->lock);
    bytes = vm->limit_bytes;
    pthread_mutex_unlock(&vm->lock);
    return bytes;
}

void vm_set_lease(struct vm *vm, uint64_t bytes, enum pool_state state)
{
    pthread_mutex_lock(&vm->lock);
    vm->limit_bytes = bytes;
    vm->host_state = state;
    pthread_mutex_unlock(&vm->lock);
    vm_ask_service(vm, &vm->policy_wanted);
}

bool vm_waits_for_lease(struct vm *vm)
{
    bool waits;

    pthread_mutex_lock(&vm->lock);
    waits = vm->lease_wanted;
    vm->lease_wanted = false; /* told once */
    pthread_mutex_unlock(&vm->lock);
    return waits;
}

static bool may_wait(struct vm *vm)
{
    bool may = vm->is_pressed && vm->decision.decided.waits_for_lease;

    vm->is_pressed = false;
    if (!may)
        return false;
    pthread_mutex_lock(&vm->lock);
    may = vm->limit_bytes != VM_ANY && vm->limit_bytes != vm->vain_limit &&
          vm->limit_bytes == vm->decision.saw.limit;
    vm->lease_wanted = may;
    pthread_mutex_unlock(&vm->lock);
    return may;
}

bool vm_wait_for_lease(struct vm *vm)
{
    uint64_t until = host_ns() + WAIT_NS;
    struct timespec ts = {.tv_sec = (time_t)(until / SECOND_NS),
                          .tv_nsec = (long)(until % SECOND_NS)};
    bool has_news;
    int rc = 0;

    if (!may_wait(vm))
        return false;
    vm_poke(vm);
    pthread_mutex_lock(&vm->lock);
    vm->parked = true;
    pthread_cond_broadcast(&vm->cond);
    while (!vm_needs_gate(vm) && !vm->policy_wanted && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&vm->cond, &vm->lock, &ts);
    while (vm->hold && vm->end.kind == VM_END_NONE)
        pthread_cond_wait(&vm->cond, &vm->lock);
    vm->parked = false;
    has_news = vm->limit_bytes != vm->decision.saw.limit || vm->host_state >= POOL_HARD;
    vm->vain_limit = has_news ? 0 : vm->limit_bytes;
    pthread_mutex_unlock(&vm->lock);
    return has_news;
}
