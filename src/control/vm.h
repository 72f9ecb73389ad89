/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine: guest memory, board, engine and the boot files, on one vCPU thread of its
 * own.
 *
 *     main thread (event loop)                       vCPU thread
 *     vm_console_put, vm_console_take   <--queues--> serial port
 *     vm_pause, vm_reset, vm_stop       --requests-> gate between two engine runs
 *     vm_hold ... vm_release            --parks----> (state may be read in between)
 *     vm_wake_fd                        <--eventfd-- output, room, reset, end
 *
 * All functions here belong to the main thread. Nothing is global: a process may hold several VMs.
 *
 * Locks: the board's lock ranks before the VM's lock; the VM's lock is a leaf. Callbacks of the
 * board come with the board's lock held, so nothing called under the VM's lock may enter the board.
 */
#ifndef UMBRA_CONTROL_VM_H
#define UMBRA_CONTROL_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "cpu/engine.h"
#include "mem/mem.h"

/*
 * The TSC's frequency as the guest sees it: one tick a nanosecond keeps conversions exact, also in
 * instruction time.
 */
#define VM_TSC_KHZ UINT64_C(1000000)

enum vm_reboot { VM_REBOOT_RESTARTS, VM_REBOOT_ENDS };

/*
 * kernel, initrd, append: as for boot_load; borrowed until vm_destroy
 * features:    CPU_FEATURE_* that the CPU offers. With LA57 a Linux kernel is entered by the 64-bit
 *              protocol: only its own way in can turn five levels on
 * input_file:  descriptor of a regular file that is the console's input, read at fixed points of
 * guest time when the clock counts instructions; -1: input comes through vm_console_put only
 */
struct vm_config {
    const char *name;
    uint64_t memory_bytes;
    unsigned cpus;
    const char *kernel;
    const char *initrd;
    const char *append;
    const char *engine;
    enum clock_mode clock;
    enum vm_reboot reboot;
    bool debug_exit;
    bool audit;
    enum mmu_strategy mmu_strategy;
    bool mmu_oracle;
    uint32_t features;
    int input_file;
};

enum vm_end_kind {
    VM_END_NONE,        /* still running */
    VM_END_POWER_OFF,   /* the guest powered off */
    VM_END_RESET,       /* the guest reset and VM_REBOOT_ENDS is set */
    VM_END_DEBUG_EXIT,  /* code = value written to the debug exit port */
    VM_END_GUEST_CRASH, /* text says how; registers in crash_state */
    VM_END_HOST_ERROR,  /* text says what */
    VM_END_STOPPED,     /* vm_stop: the user asked */
};

struct vm_end {
    enum vm_end_kind kind;
    uint32_t code;
    char text[240];
};

struct vm;

/* Assembles the VM and loads the boot files; nothing runs yet. ERR_INVAL: the user's input cannot
 * be used. */
enum err vm_create(struct vm **out, const struct vm_config *config) MUST_USE;

/* Ends the VM if it runs, waits for its thread and releases everything. */
void vm_destroy(struct vm *vm);

/* Starts the vCPU thread. */
enum err vm_start(struct vm *vm) MUST_USE;

/* Waits until the vCPU thread has ended; call after vm_end answers an end, or after vm_stop. */
void vm_join(struct vm *vm);

/* Readable when there is output to take, room for input, a reset or the end to hear of. */
int vm_wake_fd(const struct vm *vm);
void vm_wake_seen(struct vm *vm);

/* Readable when a timer of the running guest is due (CLOCK_HOST); then call vm_timer_due. */
int vm_timer_fd(const struct vm *vm);
void vm_timer_due(struct vm *vm);

/* Console. Put answers how many bytes were taken; take copies out what the guest has written. */
size_t vm_console_put(struct vm *vm, const uint8_t *bytes, size_t count);
size_t vm_console_take(struct vm *vm, uint8_t *buf, size_t buf_bytes);

/* Requests; each returns at once. */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
void vm_reset(struct vm *vm);
void vm_stop(struct vm *vm);
bool vm_is_paused(const struct vm *vm);

/* vm_stop was called, perhaps after an end of another kind. */
bool vm_is_stop_asked(const struct vm *vm);

/* VM_END_NONE while it runs. The first reason wins. */
struct vm_end vm_end(struct vm *vm);

/* Resets so far; each new one is worth an event. */
unsigned vm_resets(struct vm *vm);

/* Parks the vCPU at an instruction boundary; the functions below need that, or a joined VM. */
void vm_hold(struct vm *vm);
void vm_release(struct vm *vm);

void vm_cpu_state(struct vm *vm, struct x86_state *out);
struct guest_mem *vm_mem(struct vm *vm);
struct mmu *vm_mmu(struct vm *vm);
const struct cpu_stats *vm_cpu_stats(struct vm *vm);

/* Wall time since vm_start, stopping at the end; boot information for messages. */
uint64_t vm_wall_ns(struct vm *vm);
uint64_t vm_guest_ns(struct vm *vm);

const struct vm_config *vm_get_config(const struct vm *vm);
const struct engine_ops *vm_engine(const struct vm *vm);
const char *vm_uuid(const struct vm *vm);
const char *vm_boot_protocol(const struct vm *vm);

/* The vCPU thread's id as the kernel counts it; 0 before vm_start. */
int vm_thread_id(struct vm *vm);

/* Checks guest memory and shadow tables against each other (--audit). ERR_INTERNAL says what
 * disagrees. */
enum err vm_audit(struct vm *vm) MUST_USE;

#endif
