/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes and goes, and the loop; decide.c decides, watch.c tells viewers. */
#include "control/pool/manager.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "control/pool/manager_private.h"

#define GRACE_NS (2 * SECOND_NS)
/* A VM may grow by so much before it has to ask. */
#define SLACK_PAGES (4 * MIB_PAGES)

/* ---- members ---- */

static void forget(struct manager *m, struct record *r)
{
    if (r->kind == RECORD_MEMBER) {
        fprintf(stderr, "umbra: pool %s: %s has left\n", m->config.name, r->name);
        m->is_urgent = true;
    }
    pool_link_close(&r->link);
    *r = (struct record){.link = {.fd = -1}};
}

static void refuse(struct record *r, const char *why)
{
    pool_link_send(&r->link, json_pack("{s:{s:s}}", "refused", "why", why));
    r->kind = RECORD_STRANGER;
    if (r->link.fd >= 0)
        shutdown(r->link.fd, SHUT_WR);
}

static void join(struct manager *m, struct record *r, const json_t *message)
{
    char why[200];

    if (!record_join(r, message)) {
        refuse(r, "the manager does not understand this VM: are both of one version?");
        return;
    }
    for (size_t i = 0; i < RECORDS_MAX; i++) {
        const struct record *other = &m->record[i];

        if (other != r && other->kind == RECORD_MEMBER && !strcmp(other->name, r->name)) {
            refuse(r, "a VM of this name is in the pool already");
            return;
        }
    }
    manager_collect(m);
    if (!pool_admits(&m->pool, m->vms, m->count, r->vm.minimum)) {
        snprintf(why, sizeof(why),
                 "the pool of %" PRIu64 " MiB cannot keep a minimum of %" PRIu64
                 " MiB free beside those of its %zu VMs: use a smaller --minimum, or end a VM",
                 manager_mib(m->pool.config.pages), manager_mib(r->vm.minimum), m->count);
        refuse(r, why);
        return;
    }
    r->kind = RECORD_MEMBER;
    m->is_urgent = true;
    /* Who holds a lease has lived on; who comes without one was started anew. */
    if (roll_enter(&m->roll, r->name, host_ns()) && !r->acked_lease)
        record_restarts(r);
    fprintf(stderr, "umbra: pool %s: %s has joined%s\n", m->config.name, r->name,
            r->is_restart ? "; it was here before the manager was restarted, so it restarts" : "");
}

void manager_step(struct manager *m)
{
    if (++m->steps == m->config.die_at_step)
        raise(SIGKILL);
}

static void take_message(struct manager *m, const json_t *message)
{
    struct record *r = m->serving;
    const json_t *body;

    if ((body = json_object_get(message, "join")) && r->kind == RECORD_STRANGER) {
        join(m, r, body);
    } else if ((body = json_object_get(message, "report")) && r->kind == RECORD_MEMBER) {
        enum record_phase before = r->phase;

        if (!record_report(r, body))
            pool_link_close(&r->link);
        m->is_urgent |= r->phase == PHASE_RESTARTING && before != PHASE_RESTARTING;
        /* It met its lease: do not let it wait for the next period. */
        m->is_urgent |= r->vm.wanted > r->vm.held && r->vm.held + MIB_PAGES > r->acked_lease;
    } else if (json_object_get(message, "goodbye") && r->kind == RECORD_MEMBER) {
        roll_strike(&m->roll, r->name);
    } else if (json_object_get(message, "watch") && r->kind == RECORD_STRANGER) {
        r->kind = RECORD_VIEWER;
    } else {
        pool_link_close(&r->link);
    }
}

static void take(void *arg, const json_t *message)
{
    manager_step(arg);
    take_message(arg, message);
    manager_step(arg);
}

/* ---- the loop ---- */

static void accept_one(struct manager *m)
{
    int fd = listener_accept(&m->listener);

    if (fd < 0)
        return;
    for (size_t i = 0; i < RECORDS_MAX; i++) {
        struct record *r = &m->record[i];

        if (r->kind != RECORD_FREE)
            continue;
        r->kind = RECORD_STRANGER;
        r->link.fd = fd;
        return;
    }
    close(fd);
}

enum err manager_run(struct manager *m, int end_fd)
{
    struct pollfd fds[RECORDS_MAX + 2];
    struct record *of[RECORDS_MAX + 2];

    for (;;) {
        uint64_t now = host_ns(), due = m->decided_ns + PERIOD_NS;
        nfds_t count = 0;
        int timeout;

        if (m->is_urgent || now >= due) {
            manager_decide(m, now);
            watch_tell(m, now);
            due = now + PERIOD_NS;
        }
        fds[count++] = (struct pollfd){.fd = end_fd, .events = POLLIN};
        fds[count++] = (struct pollfd){.fd = m->listener.fd, .events = POLLIN};
        for (size_t i = 0; i < RECORDS_MAX; i++) {
            struct record *r = &m->record[i];

            if (r->kind != RECORD_FREE && r->link.fd < 0)
                forget(m, r);
            if (r->kind == RECORD_FREE)
                continue;
            of[count] = r;
            fds[count++] = (struct pollfd){.fd = r->link.fd, .events = pool_link_events(&r->link)};
        }
        timeout = m->is_urgent ? 0 : (int)((due - now) / 1000000) + 1;
        if (poll(fds, count, timeout) < 0) {
            if (errno == EINTR)
                continue;
            return err_errno(ERR_IO, "cannot wait for the VMs of the pool");
        }
        if (fds[0].revents)
            return ERR_OK;
        for (nfds_t i = 2; i < count; i++) {
            if (!fds[i].revents)
                continue;
            m->serving = of[i];
            pool_link_serve(&of[i]->link, fds[i].revents, take, m);
        }
        if (fds[1].revents)
            accept_one(m);
    }
}

enum err manager_create(struct manager **out, const struct manager_config *config)
{
    struct manager *m = calloc(1, sizeof(*m));
    const struct pool_config pool = {.pages = config->bytes / PAGE_SIZE,
                                     .tax_percent = config->tax_percent,
                                     .slack_pages = SLACK_PAGES};
    char path[SOCKET_PATH_MAX];
    enum err err;

    *out = NULL;
    if (!m)
        return err_new(ERR_NOMEM, "no memory for the manager");
    m->config = *config;
    m->listener = LISTENER_NONE;
    for (size_t i = 0; i < RECORDS_MAX; i++)
        m->record[i].link.fd = -1;
    pool_init(&m->pool, &pool);
    err = paths_pool_socket(path, sizeof(path), config->name, PATHS_CREATE);
    if (!err)
        err = listener_open(&m->listener, path);
    if (err == ERR_BUSY)
        err = err_new(ERR_BUSY, "a manager of pool '%s' is running already", config->name);
    if (err) {
        manager_destroy(m);
        return err;
    }
    roll_open(&m->roll, config->name, host_ns());
    if (m->listener.replaced)
        m->grace_until_ns = host_ns() + GRACE_NS;
    *out = m;
    return ERR_OK;
}

void manager_destroy(struct manager *m)
{
    if (!m)
        return;
    listener_close(&m->listener);
    roll_close(&m->roll);
    for (size_t i = 0; i < RECORDS_MAX; i++) {
        pool_link_close(&m->record[i].link);
    }
    free(m);
}
