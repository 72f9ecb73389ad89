/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the vm*.c files only: assembly, requests, the vCPU thread, memory, serial queues. */
#ifndef UMBRA_CONTROL_VM_PRIVATE_H
#define UMBRA_CONTROL_VM_PRIVATE_H

#include <pthread.h>

#include "base/clock.h"
#include "control/sampler.h"
#include "control/vm.h"
#include "control/vm_folder.h"
#include "machine/board.h"
#include "mem/policy.h"
#include "mem/reclaim.h"

/*
 * Output: above SOFT the vCPU parks at its next gate until the reader has caught up; HARD is the
 * end of the buffer, out of reach unless one instruction writes more than the difference.
 */
#define CONSOLE_OUT_SOFT (32u * 1024)
#define CONSOLE_OUT_HARD (64u * 1024)
#define CONSOLE_IN_BYTES 1024u

/* CLOCK_INSTRUCTIONS: console input enters the guest at multiples of this. */
#define CONSOLE_TICK_NS UINT64_C(2000000)

/* Slices of memory service: while the guest waits for it, and while it would do nothing anyway. */
#define SERVICE_RUNNING_NS UINT64_C(1000000)
#define SERVICE_HASTE_NS   UINT64_C(4000000)
#define SERVICE_IDLE_NS    UINT64_C(5000000)

struct byte_ring {
    uint8_t *bytes;
    size_t size; /* power of two */
    size_t head, tail;
};

/*
 * Invariants
 *   V1  the vCPU's engine is entered only by its thread, or by the main thread while `parked` and
 *       hold > 0
 *   V2  end.kind leaves VM_END_NONE once
 *   V3  board calls are made without `lock` held
 */
struct vm {
    struct vm_config config;
    char uuid[37];
    const char *protocol;
    struct guest_mem *mem;
    struct clock *clock;
    struct board *board;
    const struct engine_ops *engine;
    struct vcpu *vcpu;
    struct sampler *sampler; /* NULL: nobody asked for it */
    struct cpu_bus bus;      /* the board's, with our poll */
    const struct cpu_bus *board_bus;

    pthread_t thread;
    bool thread_started, thread_joined;
    bool stop_asked; /* main thread only */
    int wake_fd, timer_fd;
    uint64_t start_ns, end_ns; /* host monotonic */
    uint64_t next_input_ns;    /* vCPU thread only */
    bool input_file_done;      /* vCPU thread only */

    struct aio *disk_aio;
    struct aio_faults disk_faults, swap_faults, smart_faults;
    struct vm_folder folder;
    int io_timer_fd, statm_fd;
    /* vCPU thread only, host monotonic: when to do what */
    uint64_t next_memory_ns, next_policy_ns, next_stats_ns, next_trim_ns, io_timer_ns;
    uint64_t trim_ns; /* from one trim to the next */
    struct policy_state policy;
    bool is_pressed;     /* the guest met its limit since the last service */
    uint64_t vain_limit; /* at which the guest waited for more in vain; 0: none */
    uint64_t stats_seen, balloon_pages_then; /* when the guest last told its figures */

    pthread_mutex_t lock; /* all below */
    pthread_cond_t cond;
    struct vm_end end;
    unsigned hold, resets;
    enum vm_phase phase;
    uint64_t boot_ns;     /* when the guest last began to boot, host monotonic */
    uint64_t smart_bytes; /* that the pool allows in the smart-paging file */
    int thread_id;
    bool paused, reset_wanted, parked, thread_done;
    bool irq_wake;        /* something the CPU must look at arrived */
    bool timers_moved;    /* the next due time may be earlier than the idle loop believes */
    bool service_wanted;  /* a device has work to do between two instructions */
    bool memory_wanted;   /* the same for guest memory */
    bool policy_wanted;   /* the user's wishes have changed */
    bool lease_wanted;    /* the guest waits for a bigger lease */
    bool io_told[VM_IOS]; /* was readable: not to be polled until it was served */
    struct vm_stall stall;
    uint64_t user_resident, user_balloon, user_deadline_ns, limit_bytes;
    enum pool_state host_state;
    unsigned balloon_changes;
    struct vm_decision decision;
    uint64_t timer_armed_ns;
    struct byte_ring out, in;
    uint64_t out_dropped;
};

/* vm.c */
enum err vm_load(struct vm *vm) MUST_USE;
void vm_poke(struct vm *vm);

/* vm_requests.c */
void vm_set_end(struct vm *vm, enum vm_end_kind kind, uint32_t code, const char *text);

/* vm_cpu.c */
void *vm_cpu_main(void *arg);
uint64_t vm_bus_poll(void *arg);
void vm_timer_arm(struct vm *vm, uint64_t due_ns);

/* vm_phase.c; lock held */
void vm_phase_restarts(struct vm *vm);
/* What the figures say about the phase, and what that allows. */
void vm_phase_look(struct vm *vm, struct policy_input *in);

/* vm_memory.c: the swap file and disks, at power-on and power-off */
enum err vm_open_disks(struct vm *vm, struct board_config *config) MUST_USE;
enum err vm_open_stores(struct vm *vm) MUST_USE;
void vm_close_files(struct vm *vm);

/* vm_service.c: what is done between two instructions. All on the vCPU's thread, lock not held. */

/* Devices and memory that asked for it, or whose time has come. False: there was nothing to do. */
bool vm_service(struct vm *vm, uint64_t budget_ns);
/* Only what a paused VM needs: memory and policy. */
bool vm_service_paused(struct vm *vm);
/* True: the guest cannot go on now; some time was waited. */
bool vm_wait_out_stall(struct vm *vm);
/* The guest ran without trouble. */
void vm_stall_is_over(struct vm *vm);
bool vm_has_work(const struct vm *vm); /* lock held */
void vm_memory_pressure(void *arg);
/* The guest was reset: what it said and was asked for is void. */
void vm_service_reset(struct vm *vm);

void vm_ask_service(struct vm *vm, bool *wanted);

/* vm_lease.c, on the vCPU's thread. True: the lease or its means are new. */
bool vm_wait_for_lease(struct vm *vm);

/* vm_cpu.c */
bool vm_needs_gate(const struct vm *vm); /* lock held */

/* vm_console.c */
enum err console_init(struct vm *vm) MUST_USE;
void console_fini(struct vm *vm);
void console_serial_out(void *arg, const uint8_t *bytes, size_t count);
void console_serial_room(void *arg);
bool console_out_is_full(const struct vm *vm); /* lock held */
/* Moves queued input into the UART; any thread, lock not held. */
void console_feed(struct vm *vm);
/*
 * CLOCK_INSTRUCTIONS, vCPU thread: feeds when the tick is due. Answers the next tick, CLOCK_NEVER
 * if none.
 */
uint64_t console_tick(struct vm *vm, uint64_t now_ns);

#endif
