/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine: guest memory, board, engine and the boot files, on one vCPU thread of its
 * own.
 *
 *     main thread (event loop)                       vCPU thread
 *     vm_console_put, vm_console_take   <--queues--> serial port
 *     vm_pause, vm_reset, vm_stop       --requests-> gate between two engine runs
 *     vm_want_*, vm_io_ready            --requests-> service between two engine runs
 *     vm_hold ... vm_release            --parks----> (state may be read in between)
 *     vm_wake_fd                        <--eventfd-- output, room, reset, stall, end
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
#include "control/inject.h"
#include "cpu/engine.h"
#include "machine/board.h"
#include "mem/mem.h"
#include "mem/policy.h"

/*
 * The TSC's frequency as the guest sees it: one tick a nanosecond keeps conversions exact, also in
 * instruction time.
 */
#define VM_TSC_KHZ UINT64_C(1000000)

enum vm_reboot { VM_REBOOT_RESTARTS, VM_REBOOT_ENDS };

/* A size of memory that nobody asked for. */
#define VM_ANY UINT64_MAX

struct vm_disk {
    const char *path;
    bool read_only;
};

/*
 * kernel, initrd, append: as for boot_load; borrowed until vm_destroy
 * features:    CPU_FEATURE_* that the CPU offers. With LA57 a Linux kernel is entered by the 64-bit
 *              protocol: only its own way in can turn five levels on
 * input_file:  descriptor of a regular file that is the console's input, read at fixed points of
 * guest time when the clock counts instructions; -1: input comes through vm_console_put only
 * limit_bytes:    host memory that the VM may hold, all of this process counted; VM_ANY
 * reservation_bytes: of guest memory, what the swap file need have no room for
 * compress_bytes: host memory that compressed pages may take; VM_ANY: 5/8 of the limit, or a
 *                 quarter of guest memory
 * swap_dir:       where the swap file lies; NULL: the VM's own folder (vm_folder.h)
 * profile:     measure where the vCPU's time goes (sampler.h)
 * direct:      let user code run directly (docs/direct.md)
 * code_cache_bytes: the most that decoded code may take, and translated code too; 0: a part of
 *              limit_bytes
 * forbidden_means: POLICY_MEANS_*, MEM_MEANS_* not to be used, and without_cures (mem/reclaim.h):
 *              to compare what each is good for
 * counts_ages:    the policy's figures tell active pages, too (for a pool)
 * smart_dir:      where the smart-paging file lies; NULL: as swap_dir
 * smart_limit_ns: so long after a reset at most that file is there; 0: no smart paging at all
 * inject:         made-up failures of the host, for tests
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
    bool translate_at_once;
    bool perf_map;
    bool profile;
    bool direct;
    uint64_t code_cache_bytes;
    uint32_t features;
    int input_file;
    struct vm_disk disks[MEM_DISKS_MAX];
    size_t disk_count;
    uint64_t limit_bytes, reservation_bytes, compress_bytes;
    const char *swap_dir, *smart_dir;
    uint64_t smart_limit_ns;
    unsigned forbidden_means;
    bool without_cures;
    bool counts_ages;
    struct inject inject;
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

/*
 * Descriptors that ask for work between two instructions: completed I/O of disks and of the swap
 * file, and the moment that the vCPU's thread has chosen. -1 in place of one that need not be
 * polled now. When one is readable: vm_io_ready with its place.
 */
enum vm_io { VM_IO_DISKS, VM_IO_SWAP, VM_IO_TIMER, VM_IOS };
void vm_io_fds(struct vm *vm, int fds[VM_IOS]);
void vm_io_ready(struct vm *vm, enum vm_io which);

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

/*
 * The guest waits because the host cannot give it a page or take one (a full disk): why, in words;
 * "" while it can run. The number changes with each beginning and each end of a wait: it is odd
 * meanwhile. last: why it waited last.
 */
struct vm_stall {
    unsigned number;
    char why[200], last[200];
};
struct vm_stall vm_stall(struct vm *vm);

/*
 * What the user wants of guest memory, until said otherwise. Each returns at once.
 * resident: reclaim down to so much host memory, without the guest's help; within_ns: 0, or the
 *           time that may take
 * balloon:  the size that the guest shall make do with, by its balloon
 */
void vm_want_resident(struct vm *vm, uint64_t bytes, uint64_t within_ns);
void vm_want_balloon(struct vm *vm, uint64_t bytes);

/* Beside its memory a guest's machine holds at most about this much. */
#define VM_OVERHEAD_MOST (UINT64_C(128) << 20)

/* Beside its guest the machine needs this much: program, decoded code, shadow tables. */
uint64_t vm_least_limit(uint64_t memory_bytes);

/* The most host memory that the VM may hold from now on, in place of config.limit_bytes. */
void vm_set_limit(struct vm *vm, uint64_t bytes);
uint64_t vm_limit(struct vm *vm);

/* The same as a pool's lease: also by which means it is kept (policy.h). */
void vm_set_lease(struct vm *vm, uint64_t bytes, enum pool_state state);

/* The guest stands still at its lease, for a moment, in the hope of a bigger one. */
bool vm_waits_for_lease(struct vm *vm);

/*
 * Starting: from power-on until the guest has booted; restarting: the same from a reset on. A guest
 * has booted when the driver of its balloon has connected, or after a minute (smart-paging.md).
 */
enum vm_phase { VM_STARTING, VM_RUNNING, VM_RESTARTING };
enum vm_phase vm_phase(struct vm *vm);

/* Before vm_start: the first boot is a restart, too; the host was restarted, for instance. */
void vm_set_restarting(struct vm *vm);
const char *vm_phase_name(enum vm_phase phase); /* "starting", "running", "restarting" */

/*
 * So many bytes of guest memory may go to the smart-paging file, until said otherwise or the guest
 * has booted; 0: none, and what is there is drained. Without effect unless the VM is restarting.
 */
void vm_set_smart(struct vm *vm, uint64_t bytes);

/* The smart-paging file's path while it exists, else "". Needs a held or joined VM. */
const char *vm_smart_path(struct vm *vm);

/* What the policy saw and decided last. saw.now_ns is 0 before the first time. */
struct vm_decision {
    struct policy_input saw;
    struct policy_output decided;
};
struct vm_decision vm_decision(struct vm *vm);

/* Host memory of this process as the host counts it (resident set). */
uint64_t vm_process_bytes(struct vm *vm);

struct board *vm_board(struct vm *vm);

/* The swap file's path, "" when there is none. */
const char *vm_swap_path(const struct vm *vm);

/* Changes of the balloon's size so far. */
unsigned vm_balloon_changes(struct vm *vm);

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
/* Samples of what the vCPU's thread did, by enum engine_phase; false: without --profile. */
bool vm_phases(const struct vm *vm, uint64_t counts[ENGINE_PHASE_COUNT]);

/* As the engine's callouts; 0 where it has none. */
unsigned vm_callouts(struct vm *vm, struct engine_callout *out, unsigned room);

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
