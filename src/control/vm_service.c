/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between two instructions of the guest, on the vCPU's thread: devices do their work, the policy
 * decides, memory is taken back and I/O completed.
 *
 *     main thread                                   vCPU thread
 *     disk or swap I/O done, timer --vm_io_ready--> vm_service --> board_service
 *     vm_want_*                    --------------->            --> policy_decide = orders
 *     pressure, device notified    (own thread) -->            --> mem_service --> stall?
 *                                  <--timer_fd-- armed for when memory wants to be called next
 *
 * A descriptor that was readable is not polled again until it was served, so a VM that is held does
 * not make the main thread spin.
 */
#include "vm_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/aio.h"

#define SECOND_NS      UINT64_C(1000000000)
#define POLICY_NS      (SECOND_NS / 5)
#define STATS_NS       SECOND_NS
#define STATS_PRESS_NS POLICY_NS /* while memory is short */
/* Under pressure code is trimmed so long after its beginning, then twice as long after that ... */
#define TRIM_FIRST_NS  (3 * SECOND_NS)
#define TRIM_NS        (30 * SECOND_NS) /* at most */
#define STALL_RETRY_NS (SECOND_NS / 10)

/* Places in struct balloon_guest_stats. */
enum { STAT_FREE = 4, STAT_AVAILABLE = 6 };

/* The guest runs at least so long between two slices of memory service. */
#define RUN_AT_LEAST_NS UINT64_C(1000000)

/* ---- the main thread's side ---- */

void vm_io_fds(struct vm *vm, int fds[VM_IOS])
{
    pthread_mutex_lock(&vm->lock);
    fds[VM_IO_DISKS] = vm->disk_aio && !vm->io_told[VM_IO_DISKS] ? aio_fd(vm->disk_aio) : -1;
    fds[VM_IO_SWAP] = vm->io_told[VM_IO_SWAP] ? -1 : mem_io_fd(vm->mem);
    fds[VM_IO_TIMER] = vm->io_timer_fd;
    pthread_mutex_unlock(&vm->lock);
}

void vm_ask_service(struct vm *vm, bool *wanted)
{
    pthread_mutex_lock(&vm->lock);
    *wanted = true;
    pthread_cond_broadcast(&vm->cond);
    pthread_mutex_unlock(&vm->lock);
    if (vm->vcpu)
        vm->engine->kick(vm->vcpu);
}

void vm_io_ready(struct vm *vm, enum vm_io which)
{
    uint64_t expirations;

    if (which == VM_IO_TIMER && read(vm->io_timer_fd, &expirations, sizeof(expirations)) < 0)
        return;
    pthread_mutex_lock(&vm->lock);
    vm->io_told[which] = which != VM_IO_TIMER;
    pthread_mutex_unlock(&vm->lock);
    vm_ask_service(vm, which == VM_IO_DISKS ? &vm->service_wanted : &vm->memory_wanted);
}

void vm_want_resident(struct vm *vm, uint64_t bytes, uint64_t within_ns)
{
    pthread_mutex_lock(&vm->lock);
    vm->user_resident = bytes;
    vm->user_deadline_ns = within_ns ? host_ns() + within_ns : 0;
    pthread_mutex_unlock(&vm->lock);
    vm_ask_service(vm, &vm->policy_wanted);
}

void vm_want_balloon(struct vm *vm, uint64_t bytes)
{
    pthread_mutex_lock(&vm->lock);
    vm->user_balloon = bytes;
    pthread_mutex_unlock(&vm->lock);
    vm_ask_service(vm, &vm->policy_wanted);
}

struct vm_decision vm_decision(struct vm *vm)
{
    struct vm_decision decision;

    pthread_mutex_lock(&vm->lock);
    decision = vm->decision;
    pthread_mutex_unlock(&vm->lock);
    return decision;
}

struct vm_stall vm_stall(struct vm *vm)
{
    struct vm_stall stall;

    pthread_mutex_lock(&vm->lock);
    stall = vm->stall;
    pthread_mutex_unlock(&vm->lock);
    return stall;
}

/* ---- the policy ---- */

uint64_t vm_process_bytes(struct vm *vm)
{
    char text[128], *at;
    ssize_t n = pread(vm->statm_fd, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    at = strchr(text, ' '); /* behind the size of the address space */
    return at ? (uint64_t)strtoull(at, NULL, 10) * PAGE_SIZE : 0;
}

static uint64_t overhead_bytes(struct vm *vm, uint64_t host)
{
    uint64_t process = vm_process_bytes(vm);

    return process > host ? process - host : 0;
}

/*
 * What the guest said was so when it said it: what went into the balloon since is not there to be
 * asked for again, and what came out is.
 */
static uint64_t since_told(const struct vm *vm, uint64_t told, uint64_t balloon_pages)
{
    uint64_t then = vm->balloon_pages_then;

    if (told == UINT64_MAX)
        return told;
    if (balloon_pages < then)
        return told + (then - balloon_pages) * PAGE_SIZE;
    return told > (balloon_pages - then) * PAGE_SIZE ? told - (balloon_pages - then) * PAGE_SIZE
                                                     : 0;
}

#define ACTIVE_PERIODS 5
#define IDLE_PERIODS   30

/* For the manager of a pool: how much is used, and how much comes back. */
static void count_ages(struct vm *vm, struct policy_input *in)
{
    const struct mem_reclaim_stats *s = mem_reclaim_stats(vm->mem);
    uint64_t pages[MEM_AGES];

    mem_age_histogram(vm->mem, pages);
    for (unsigned i = 0; i < ACTIVE_PERIODS; i++)
        in->active_bytes += pages[i] * PAGE_SIZE;
    for (unsigned i = IDLE_PERIODS; i < MEM_AGES; i++)
        in->idle_bytes += pages[i] * PAGE_SIZE;
    in->came_in_pages =
        s->came_from_compressed + s->came_from_swap + s->came_from_smart + s->came_from_image;
}

static void look(struct vm *vm, uint64_t now, struct policy_input *in)
{
    struct balloon_info balloon;
    struct mem_store_info stores;
    bool knows_guest;

    mem_store_info(vm->mem, &stores);
    board_balloon_info(vm->board, &balloon);
    /*
     * The host's time must not reach a guest whose time is counted in instructions: there only the
     * user's word moves the balloon, not what the guest had free at some moment of the host's.
     */
    knows_guest = balloon.has_stats && balloon.stats.updates && vm->config.clock == CLOCK_HOST;
    if (balloon.stats.updates != vm->stats_seen)
        vm->balloon_pages_then = balloon.actual_pages;
    vm->stats_seen = balloon.stats.updates;
    *in = (struct policy_input){
        .now_ns = now,
        .memory = vm->config.memory_bytes,
        .host = mem_host_bytes(vm->mem),
        .compressed = stores.compressed_bytes,
        .compressed_limit = stores.compressed_limit_bytes,
        .smart_failed = stores.smart_failed,
        .knows_disks = !vm->config.without_cures,
        .ledger = mem_ledger(vm->mem),
        .has_balloon = balloon.has_driver,
        .balloon_pages = balloon.actual_pages,
        .balloon_moved_ns = balloon.moved_ns,
        .guest_free = UINT64_MAX,
        .guest_available = UINT64_MAX,
    };
    if (knows_guest) {
        in->guest_free = since_told(vm, balloon.stats.value[STAT_FREE], balloon.actual_pages);
        in->guest_available =
            since_told(vm, balloon.stats.value[STAT_AVAILABLE], balloon.actual_pages);
    }
    if (vm->config.counts_ages)
        count_ages(vm, in);
    in->forbidden = vm->config.forbidden_means;
    in->overhead = overhead_bytes(vm, in->host);
    pthread_mutex_lock(&vm->lock);
    in->limit = vm->limit_bytes;
    in->host_state = vm->host_state;
    in->user_target = vm->user_resident;
    in->user_balloon = vm->user_balloon;
    vm_phase_look(vm, in);
    pthread_mutex_unlock(&vm->lock);
}

/*
 * Code that ran once, when the guest booted, takes memory that pages could have. Dropping it all
 * and decoding what still runs takes some milliseconds.
 */
static void trim_code(struct vm *vm, uint64_t now)
{
    if (vm->config.clock != CLOCK_HOST || vm->decision.decided.rung < POLICY_COMPRESS)
        return;
    if (vm->next_trim_ns && now < vm->next_trim_ns)
        return;
    if (vm->next_trim_ns)
        vm->engine->trim(vm->vcpu);
    vm->trim_ns = vm->trim_ns ? vm->trim_ns * 2 : TRIM_FIRST_NS;
    if (vm->trim_ns > TRIM_NS)
        vm->trim_ns = TRIM_NS;
    vm->next_trim_ns = now + vm->trim_ns;
}

static void decide(struct vm *vm, uint64_t now)
{
    struct vm_decision d;
    bool is_limited;

    look(vm, now, &d.saw);
    is_limited = d.saw.limit != VM_ANY;
    policy_decide(&vm->policy, &d.saw, &d.decided);
    d.decided.orders.without_cures = vm->config.without_cures;
    mem_set_orders(vm->mem, &d.decided.orders);
    if (d.saw.has_balloon)
        board_balloon_set_target(vm->board, d.decided.balloon_target_pages);
    if (is_limited && vm->config.clock == CLOCK_HOST && d.saw.has_balloon &&
        now >= vm->next_stats_ns) {
        vm->next_stats_ns = now + (d.decided.rung == POLICY_NOTHING ? STATS_NS : STATS_PRESS_NS);
        board_balloon_ask_stats(vm->board);
    }
    /* Without a limit and without a wish there is nothing to decide until there is one. */
    vm->next_policy_ns = is_limited || d.saw.user_target != VM_ANY || d.saw.user_balloon != VM_ANY
                             ? now + POLICY_NS
                             : UINT64_MAX;
    pthread_mutex_lock(&vm->lock);
    vm->decision = d;
    pthread_mutex_unlock(&vm->lock);
    if (is_limited)
        trim_code(vm, now);
}

/*
 * Between two decisions code is decoded and buffers are touched: what the limit leaves for pages is
 * measured anew at each service. A limit that is still approached moves by decisions only. Answers
 * whether pages must leave.
 */
static bool measure(struct vm *vm)
{
    const struct vm_decision *d = &vm->decision;

    if (!d->saw.limit || d->saw.limit == VM_ANY || vm->policy.limit_bytes)
        return false;
    return mem_set_limit(vm->mem,
                         policy_room(d->saw.limit, overhead_bytes(vm, mem_host_bytes(vm->mem))));
}

void vm_service_reset(struct vm *vm)
{
    vm->policy = (struct policy_state){0};
    vm->stats_seen = vm->balloon_pages_then = 0;
    if (vm->next_policy_ns != UINT64_MAX)
        vm->next_policy_ns = 0;
    vm->next_memory_ns = 0;
}

/* ---- service ---- */

void vm_memory_pressure(void *arg)
{
    struct vm *vm = arg;

    vm->is_pressed = true;
    vm_ask_service(vm, &vm->memory_wanted);
}

static void arm_timer(struct vm *vm, uint64_t now)
{
    uint64_t due =
        vm->next_memory_ns < vm->next_policy_ns ? vm->next_memory_ns : vm->next_policy_ns;
    struct itimerspec spec = {0};

    if (due != UINT64_MAX && due < now + RUN_AT_LEAST_NS)
        due = now + RUN_AT_LEAST_NS;
    if (due == vm->io_timer_ns)
        return;
    vm->io_timer_ns = due;
    if (due != UINT64_MAX) {
        spec.it_value.tv_sec = (time_t)(due / SECOND_NS);
        spec.it_value.tv_nsec = (long)(due % SECOND_NS);
    }
    timerfd_settime(vm->io_timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* Lock held. */
bool vm_has_work(const struct vm *vm)
{
    return vm->service_wanted || vm->memory_wanted || vm->policy_wanted;
}

struct wants {
    bool devices, memory, policy;
    uint64_t deadline_ns;
};

static struct wants take_wants(struct vm *vm)
{
    struct wants w;

    pthread_mutex_lock(&vm->lock);
    w = (struct wants){.devices = vm->service_wanted,
                       .memory = vm->memory_wanted,
                       .policy = vm->policy_wanted,
                       .deadline_ns = vm->user_deadline_ns};
    vm->service_wanted = vm->memory_wanted = vm->policy_wanted = false;
    pthread_mutex_unlock(&vm->lock);
    return w;
}

/* What was told has been served: the main thread may poll it again. */
static void forget_told(struct vm *vm, enum vm_io which)
{
    bool was_told;

    pthread_mutex_lock(&vm->lock);
    was_told = vm->io_told[which];
    vm->io_told[which] = false;
    pthread_mutex_unlock(&vm->lock);
    if (was_told)
        vm_poke(vm);
}

/* The smart-paging file should be gone by now. */
static bool is_late(const struct vm *vm)
{
    return vm->decision.saw.smart_overdue && vm->decision.saw.ledger.pages[PAGE_SMART];
}

static bool serve_memory(struct vm *vm, const struct wants *w, uint64_t budget_ns)
{
    bool has_news = vm_wait_for_lease(vm);
    uint64_t now = host_ns();
    bool decides = w->policy || has_news || now >= vm->next_policy_ns;
    bool serves = decides || w->memory || now >= vm->next_memory_ns;

    if (decides)
        decide(vm, now);
    else if (measure(vm))
        serves = true;
    if (serves) {
        if (budget_ns < SERVICE_HASTE_NS && (now < w->deadline_ns || is_late(vm)))
            budget_ns = SERVICE_HASTE_NS;
        vm->next_memory_ns = mem_service(vm->mem, now, budget_ns);
        forget_told(vm, VM_IO_SWAP);
        arm_timer(vm, host_ns());
    }
    return serves;
}

bool vm_service(struct vm *vm, uint64_t budget_ns)
{
    struct wants w = take_wants(vm);

    if (w.devices) {
        board_service(vm->board);
        forget_told(vm, VM_IO_DISKS);
        /* what the devices did may have asked for memory's service */
        pthread_mutex_lock(&vm->lock);
        w.memory |= vm->memory_wanted;
        vm->memory_wanted = false;
        pthread_mutex_unlock(&vm->lock);
    }
    return serve_memory(vm, &w, budget_ns) || w.devices;
}

bool vm_service_paused(struct vm *vm)
{
    struct wants w = take_wants(vm);
    bool served = serve_memory(vm, &w, SERVICE_IDLE_NS);

    if (w.devices) { /* they wait for the guest to go on */
        pthread_mutex_lock(&vm->lock);
        vm->service_wanted = true;
        pthread_mutex_unlock(&vm->lock);
    }
    return served;
}

/* ---- stalls ---- */

static void set_stall(struct vm *vm, const char *why)
{
    bool changes;

    pthread_mutex_lock(&vm->lock);
    changes = !vm->stall.why[0] != !why[0];
    vm->stall.number += changes;
    if (changes)
        snprintf(vm->stall.why, sizeof(vm->stall.why), "%s", why);
    if (changes && why[0])
        snprintf(vm->stall.last, sizeof(vm->stall.last), "%s", why);
    pthread_mutex_unlock(&vm->lock);
    if (changes)
        vm_poke(vm);
}

bool vm_wait_out_stall(struct vm *vm)
{
    const char *why = mem_stall(vm->mem);
    uint64_t until = host_ns() + STALL_RETRY_NS;
    struct timespec ts = {.tv_sec = (time_t)(until / SECOND_NS),
                          .tv_nsec = (long)(until % SECOND_NS)};
    int rc = 0;

    if (!why)
        return false;
    set_stall(vm, why);
    pthread_mutex_lock(&vm->lock);
    vm->parked = true;
    pthread_cond_broadcast(&vm->cond);
    while (!vm_needs_gate(vm) && !vm->policy_wanted && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&vm->cond, &vm->lock, &ts);
    while (vm->hold && vm->end.kind == VM_END_NONE)
        pthread_cond_wait(&vm->cond, &vm->lock);
    vm->parked = false;
    vm->memory_wanted = true; /* try again */
    pthread_mutex_unlock(&vm->lock);
    return true;
}

void vm_stall_is_over(struct vm *vm)
{
    if (vm->stall.why[0]) /* written by this thread only */
        set_stall(vm, "");
}
