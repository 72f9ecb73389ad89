/* SPDX-License-Identifier: Apache-2.0 */
#include "control/pool/member.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/u64.h"
#include "control/listen.h"
#include "control/paths.h"
#include "control/pool/link.h"

#define MS           UINT64_C(1000000)
#define REPORT_NS    (250 * MS)
#define PRESSED_NS   (50 * MS)
#define REJOIN_NS    (1000 * MS)
#define JOIN_WAIT_NS (30000 * MS)
#define STEP_BYTES   (16 * MIB)
/* Growth begins with a small step again after so long without meeting a lease. */
#define CALM_NS     (1000 * MS)
#define STARTING_NS (60000 * MS)
#define MIB         (UINT64_C(1) << 20)

struct member {
    struct vm *vm;
    struct member_config config;
    struct pool_link link;
    uint64_t lease, seq;
    uint64_t next_report_ns, next_join_ns;
    uint64_t came_in, came_in_ns;     /* pages that came back so far, when that was counted */
    uint64_t came_bytes;              /* in the last whole second */
    uint64_t step, met_lease, met_ns; /* growth: how much, the lease last met, and when */
    uint64_t lowered_ns;              /* when a lease came that is less than what was held */
    bool was_granted;
    uint64_t since_ns; /* the start */
    unsigned resets_told;
    bool is_told_lost;
    char refused[240];
};

/* ---- what is reported ---- */

/* Held so near to its lease a VM has met it: the limit is kept with a margin (mem_service). */
static uint64_t band_bytes(const struct member *m)
{
    return m->lease / 32 + 2 * MIB;
}

static bool has_met_lease(const struct member *m, uint64_t held)
{
    return held + band_bytes(m) >= m->lease;
}

/* Guest pages that hold something but have no host page of their own. */
static uint64_t away_bytes(const struct vm_decision *d)
{
    const uint64_t *pages = d->saw.ledger.pages;

    return (pages[PAGE_COMPRESSED] + pages[PAGE_SWAPPED] + pages[PAGE_IMAGE] + pages[PAGE_SMART]) *
           PAGE_SIZE;
}

static void count_came_in(struct member *m, const struct vm_decision *d, uint64_t now)
{
    if (now - m->came_in_ns < 1000 * MS)
        return;
    m->came_bytes = (d->saw.came_in_pages - m->came_in) * PAGE_SIZE;
    m->came_in = d->saw.came_in_pages;
    m->came_in_ns = now;
}

/* It is near its lease because that was lowered, and needs nothing of what it gave back. */
static bool only_gave_back(const struct member *m, uint64_t now)
{
    return now - m->lowered_ns < 2 * CALM_NS && m->came_bytes < MIB;
}

/* Beyond what it holds. */
static uint64_t demand_bytes(struct member *m, uint64_t held, uint64_t now)
{
    if (!has_met_lease(m, held)) {
        if (now - m->met_ns > CALM_NS)
            m->step = 0;
        return max_u64(2 * band_bytes(m), m->step);
    }
    if (only_gave_back(m, now)) /* what it gave beyond its lease it may have again */
        return m->lease > held ? m->lease - held : 0;
    if (m->lease > m->met_lease || !m->step)
        m->step = m->step ? 2 * m->step : STEP_BYTES;
    m->met_lease = m->lease;
    m->met_ns = now;
    return max_u64(m->step, 2 * m->came_bytes);
}

/*
 * A VM that has met its lease wants more: a step that doubles with each lease that was met soon
 * after the one before, and twice what came back to it from its stores within a second. So growth
 * follows use, not what the guest could touch at most. One that has not wants some room.
 */
static uint64_t wanted_bytes(struct member *m, const struct vm_decision *d, uint64_t held,
                             uint64_t now)
{
    uint64_t untouched = d->saw.ledger.pages[PAGE_ABSENT] + d->saw.ledger.pages[PAGE_ZERO];
    uint64_t most = away_bytes(d) + untouched * PAGE_SIZE, demand;

    count_came_in(m, d, now);
    demand = demand_bytes(m, held, now);
    m->step = min_u64(m->step, d->saw.memory);
    return held + min_u64(demand, most);
}

static const char *phase_of(struct member *m, uint64_t held, uint64_t now)
{
    if (vm_phase(m->vm) == VM_RESTARTING)
        return vm_phase_name(VM_RESTARTING);
    m->was_granted |= (m->lease > held ? m->lease : held) >= m->config.startup_bytes ||
                      now - m->since_ns > STARTING_NS;
    return vm_phase_name(m->was_granted ? VM_RUNNING : VM_STARTING);
}

static void report(struct member *m)
{
    struct vm_decision d = vm_decision(m->vm);
    uint64_t now = host_ns(), held = vm_process_bytes(m->vm);

    m->resets_told = vm_resets(m->vm);
    pool_link_send(&m->link,
                   json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}}", "report", "seq",
                             (json_int_t)m->seq, "held", (json_int_t)held, "active",
                             (json_int_t)min_u64(held, d.saw.active_bytes + d.saw.overhead),
                             "wanted", (json_int_t)wanted_bytes(m, &d, held, now), "lease",
                             (json_int_t)m->lease, "reclaimable",
                             (json_int_t)d.decided.reclaimable_bytes, "smart",
                             (json_int_t)(d.saw.ledger.pages[PAGE_SMART] * PAGE_SIZE), "phase",
                             phase_of(m, held, now)));
    m->next_report_ns = now + (has_met_lease(m, held) ? PRESSED_NS : REPORT_NS);
}

/* ---- what comes back ---- */

/* One that was a member goes on, asks again, and says once why it is none. */
static void take_refusal(struct member *m, const char *why)
{
    if (m->is_told_lost && strcmp(m->refused, why) != 0)
        fprintf(stderr,
                "umbra: VM %s: pool %s does not take it back: %s; its last lease of %llu MiB stays "
                "in force\n",
                vm_get_config(m->vm)->name, m->config.pool, why,
                (unsigned long long)(m->lease / MIB));
    snprintf(m->refused, sizeof(m->refused), "%s", why);
}

static void take(void *arg, const json_t *message)
{
    struct member *m = arg;
    const json_t *body;

    if ((body = json_object_get(message, "lease"))) {
        json_int_t bytes = json_integer_value(json_object_get(body, "bytes"));
        json_int_t smart = json_integer_value(json_object_get(body, "smart"));
        const char *state = json_string_value(json_object_get(body, "state"));

        if (bytes < 0)
            return;
        if (!m->seq && !m->lease && json_is_true(json_object_get(body, "restart")))
            vm_set_restarting(m->vm);
        m->lease = (uint64_t)bytes;
        if (m->lease < vm_process_bytes(m->vm))
            m->lowered_ns = host_ns();
        m->seq = (uint64_t)json_integer_value(json_object_get(body, "seq"));
        vm_set_lease(m->vm, m->lease, pool_state_of_name(state));
        vm_set_smart(m->vm, smart > 0 ? (uint64_t)smart : 0);
        m->next_report_ns = 0; /* confirms it */
        if (m->is_told_lost)
            fprintf(stderr, "umbra: VM %s: back in pool %s\n", vm_get_config(m->vm)->name,
                    m->config.pool);
        m->is_told_lost = false;
        m->refused[0] = '\0';
    } else if ((body = json_object_get(message, "refused"))) {
        const char *why = json_string_value(json_object_get(body, "why"));

        take_refusal(m, why ? why : "no reason given");
    }
}

/* ---- the connection ---- */

static enum err no_manager(const struct member *m, int error)
{
    return err_new(ERR_NOTFOUND,
                   "cannot reach the manager of pool '%s': %s; start it with: umbra host --name %s "
                   "--memory SIZE",
                   m->config.pool, strerror(error), m->config.pool);
}

static enum err open_link(struct member *m)
{
    char path[SOCKET_PATH_MAX];
    enum err err = paths_pool_socket(path, sizeof(path), m->config.pool, PATHS_MUST_EXIST);
    int fd;

    if (err)
        return err == ERR_NOTFOUND ? no_manager(m, ENOENT) : err;
    fd = listener_reach(path, SOCK_NONBLOCK);
    if (fd < 0)
        return no_manager(m, errno);
    m->link = (struct pool_link){.fd = fd};
    m->seq = 0;
    const struct vm_config *vm = vm_get_config(m->vm);
    pool_link_send(&m->link,
                   json_pack("{s:{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}}", "join", "name",
                             vm->name, "uuid", vm_uuid(m->vm), "pid", (json_int_t)getpid(),
                             "minimum", (json_int_t)m->config.minimum_bytes, "maximum",
                             (json_int_t)(vm->memory_bytes + VM_OVERHEAD_MOST), "startup",
                             (json_int_t)m->config.startup_bytes, "shares",
                             (json_int_t)m->config.shares, "lease", (json_int_t)m->lease));
    return ERR_OK;
}

/* Until it holds a lease of its minimum: admission has made sure that others can give it. */
static enum err wait_for_lease(struct member *m)
{
    uint64_t end = host_ns() + JOIN_WAIT_NS;

    while (m->lease < m->config.minimum_bytes && !m->refused[0]) {
        struct pollfd fd = {.fd = m->link.fd, .events = pool_link_events(&m->link)};

        if (m->link.fd < 0 || (host_ns() > end && !m->lease))
            return err_new(ERR_IO, "the manager of pool '%s' does not answer", m->config.pool);
        if (host_ns() > end)
            return err_new(ERR_IO,
                           "pool '%s' is short of memory: of the minimum of %llu MiB only %llu "
                           "came free; end a VM, or start this one later",
                           m->config.pool, (unsigned long long)(m->config.minimum_bytes / MIB),
                           (unsigned long long)(m->lease / MIB));
        if (poll(&fd, 1, m->seq ? member_timeout_ms(m) : 100) > 0)
            pool_link_serve(&m->link, fd.revents, take, m);
        if (m->link.fd >= 0 && m->seq && host_ns() >= m->next_report_ns)
            report(m);
    }
    return m->refused[0] ? err_new(ERR_INVAL, "pool '%s': %s", m->config.pool, m->refused) : ERR_OK;
}

enum err member_join(struct member **out, struct vm *vm, const struct member_config *config)
{
    struct member *m = calloc(1, sizeof(*m));
    enum err err;

    *out = NULL;
    if (!m)
        return err_new(ERR_NOMEM, "no memory for the pool's member");
    m->vm = vm;
    m->config = *config;
    m->link.fd = -1;
    m->since_ns = host_ns();
    m->next_report_ns = m->since_ns + REPORT_NS;
    err = open_link(m);
    if (!err)
        err = wait_for_lease(m);
    if (err) {
        member_leave(m);
        return err;
    }
    *out = m;
    return ERR_OK;
}

void member_say_goodbye(struct member *m)
{
    if (m)
        pool_link_send(&m->link, json_pack("{s:{}}", "goodbye"));
}

void member_leave(struct member *m)
{
    if (!m)
        return;
    pool_link_close(&m->link);
    free(m);
}

struct pollfd member_pollfd(const struct member *m)
{
    return (struct pollfd){.fd = m->link.fd,
                           .events = m->link.fd < 0 ? 0 : pool_link_events(&m->link)};
}

int member_timeout_ms(const struct member *m)
{
    uint64_t now = host_ns(), due = m->link.fd < 0 ? m->next_join_ns : m->next_report_ns;

    return due <= now ? 0 : (int)((due - now) / MS) + 1;
}

void member_serve(struct member *m, short revents)
{
    uint64_t now = host_ns();
    const char *name = vm_get_config(m->vm)->name;

    if (m->link.fd >= 0 && revents)
        pool_link_serve(&m->link, revents, take, m);
    if (m->link.fd < 0) {
        if (!m->is_told_lost) {
            m->is_told_lost = true;
            vm_set_lease(m->vm, m->lease, POOL_LOW); /* nobody to ask */
            vm_set_smart(m->vm, 0);
            m->next_join_ns = now + REJOIN_NS;
            fprintf(stderr,
                    "umbra: VM %s: the manager of pool %s is gone; its last lease of %llu MiB "
                    "stays in force until there is one again: umbra host --name %s --memory SIZE\n",
                    name, m->config.pool, (unsigned long long)(m->lease / MIB), m->config.pool);
        }
        if (now < m->next_join_ns)
            return;
        m->next_join_ns = now + REJOIN_NS;
        if (open_link(m))
            return;
        m->next_report_ns = 0;
    }
    if (vm_waits_for_lease(m->vm) || vm_resets(m->vm) != m->resets_told || now >= m->next_report_ns)
        report(m);
}
