/* SPDX-License-Identifier: Apache-2.0 */
#include "vm_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t ring_used(const struct byte_ring *r)
{
    return r->head - r->tail;
}

static size_t ring_put(struct byte_ring *r, const uint8_t *bytes, size_t count)
{
    size_t room = r->size - ring_used(r);
    size_t n = count < room ? count : room;

    for (size_t i = 0; i < n; i++)
        r->bytes[r->head++ & (r->size - 1)] = bytes[i];
    return n;
}

static size_t ring_peek(const struct byte_ring *r, uint8_t *buf, size_t buf_bytes)
{
    size_t used = ring_used(r);
    size_t n = used < buf_bytes ? used : buf_bytes;

    for (size_t i = 0; i < n; i++)
        buf[i] = r->bytes[(r->tail + i) & (r->size - 1)];
    return n;
}

enum err console_init(struct vm *vm)
{
    vm->out = (struct byte_ring){.bytes = malloc(CONSOLE_OUT_HARD), .size = CONSOLE_OUT_HARD};
    vm->in = (struct byte_ring){.bytes = malloc(CONSOLE_IN_BYTES), .size = CONSOLE_IN_BYTES};
    if (!vm->out.bytes || !vm->in.bytes)
        return err_new(ERR_NOMEM, "no memory for the console");
    return ERR_OK;
}

void console_fini(struct vm *vm)
{
    free(vm->out.bytes);
    free(vm->in.bytes);
}

bool console_out_is_full(const struct vm *vm)
{
    return ring_used(&vm->out) > CONSOLE_OUT_SOFT;
}

/* Board's lock held, vCPU thread. */
void console_serial_out(void *arg, const uint8_t *bytes, size_t count)
{
    struct vm *vm = arg;
    bool was_empty, is_full;

    pthread_mutex_lock(&vm->lock);
    was_empty = ring_used(&vm->out) == 0;
    vm->out_dropped += count - ring_put(&vm->out, bytes, count);
    is_full = console_out_is_full(vm);
    pthread_mutex_unlock(&vm->lock);
    if (was_empty)
        vm_poke(vm);
    if (is_full)
        vm->engine->kick(vm->vcpu);
}

/* Board's lock held. */
void console_serial_room(void *arg)
{
    vm_poke(arg);
}

size_t vm_console_take(struct vm *vm, uint8_t *buf, size_t buf_bytes)
{
    size_t n;

    pthread_mutex_lock(&vm->lock);
    n = ring_peek(&vm->out, buf, buf_bytes);
    if (n) {
        vm->out.tail += n;
        pthread_cond_broadcast(&vm->cond);
    }
    pthread_mutex_unlock(&vm->lock);
    return n;
}

size_t vm_console_put(struct vm *vm, const uint8_t *bytes, size_t count)
{
    size_t n;

    pthread_mutex_lock(&vm->lock);
    n = ring_put(&vm->in, bytes, count);
    vm->timers_moved = true; /* an idle CPU looks for input again */
    pthread_cond_broadcast(&vm->cond);
    pthread_mutex_unlock(&vm->lock);
    if (vm->config.clock == CLOCK_HOST)
        console_feed(vm);
    else if (n)
        vm->engine->kick(vm->vcpu);
    return n;
}

/*
 * The UART is offered what it may take, then exactly that is removed: only one thread feeds (the
 * main thread with CLOCK_HOST, the vCPU's otherwise), so the queue's front cannot change in
 * between.
 */
void console_feed(struct vm *vm)
{
    uint8_t bytes[64];
    size_t n, taken;

    do {
        pthread_mutex_lock(&vm->lock);
        n = ring_peek(&vm->in, bytes, sizeof(bytes));
        pthread_mutex_unlock(&vm->lock);
        taken = n ? board_serial_in(vm->board, bytes, n) : 0;
        pthread_mutex_lock(&vm->lock);
        vm->in.tail += taken;
        pthread_mutex_unlock(&vm->lock);
    } while (taken);
}

static void refill_from_file(struct vm *vm)
{
    uint8_t bytes[64];
    size_t used;
    ssize_t n;

    pthread_mutex_lock(&vm->lock);
    used = ring_used(&vm->in);
    pthread_mutex_unlock(&vm->lock);
    if (used || vm->input_file_done)
        return;
    n = read(vm->config.input_file, bytes, sizeof(bytes));
    if (n <= 0) {
        vm->input_file_done = true;
        return;
    }
    pthread_mutex_lock(&vm->lock);
    ring_put(&vm->in, bytes, (size_t)n);
    pthread_mutex_unlock(&vm->lock);
}

uint64_t console_tick(struct vm *vm, uint64_t now_ns)
{
    bool waiting;

    if (vm->config.clock != CLOCK_INSTRUCTIONS)
        return CLOCK_NEVER;
    if (now_ns < vm->next_input_ns)
        return vm->next_input_ns;
    vm->next_input_ns = (now_ns / CONSOLE_TICK_NS + 1) * CONSOLE_TICK_NS;
    if (vm->config.input_file >= 0)
        refill_from_file(vm);
    console_feed(vm);
    pthread_mutex_lock(&vm->lock);
    waiting = ring_used(&vm->in) != 0;
    pthread_mutex_unlock(&vm->lock);
    /* With nothing more to come from a file there is no need to wake a sleeping guest for input. */
    if (waiting || (vm->config.input_file >= 0 && !vm->input_file_done))
        return vm->next_input_ns;
    return CLOCK_NEVER;
}
