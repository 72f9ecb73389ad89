/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to a VM:
 *
 *   GREETED --greeting: qmp_capabilities--> AGREED --answer: x-umbra-stat--> READY --each period--+
 *      ^                                                                       ^--- answer -------+
 *      +-- closed: once again, at most once a period; nobody listens: the VM is gone
 *
 * A connection to a manager is told everything once it has said "watch" (docs/pool.md).
 */
#include "control/top/gather.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/api/qmp_client.h"
#include "control/listen.h"
#include "control/pool/link.h"

enum source_kind { SOURCE_VM, SOURCE_POOL };
enum vm_phase { VM_GREETED, VM_AGREED, VM_READY };

/*
 * asked_ns:  since when it owes an answer, 0: it owes none
 * is_seen:   its socket was there in the last look;  is_retried: was reached again in this period
 * is_told:   a manager has told a whole picture
 * members:   of a pool's picture that is not complete yet
 */
struct source {
    enum source_kind kind;
    char name[NAME_MAX_BYTES + 1];
    bool is_seen, is_retried, is_told;
    uint64_t asked_ns;
    struct qmp_link vm;
    enum vm_phase phase;
    struct pool_link pool;
    json_t *members;
    struct gather *gather;
    struct source *next;
};

struct gather {
    struct top_model *model;
    int epoll_fd;
    struct source *sources;
    uint64_t now_ns; /* of the call that is being served */
};

/* ---- one source ---- */

static int fd_of(const struct source *s)
{
    return s->kind == SOURCE_VM ? s->vm.fd : s->pool.fd;
}

static void close_source(struct source *s)
{
    if (s->vm.fd >= 0)
        qmp_link_close(&s->vm);
    pool_link_close(&s->pool);
    json_decref(s->members);
    s->members = NULL;
}

static void set_silent(struct source *s)
{
    struct top_row *row;
    struct top_pool *pool;

    if (s->kind == SOURCE_VM && (row = top_model_row(s->gather->model, s->name)))
        row->is_silent = true;
    if (s->kind == SOURCE_POOL && (pool = top_model_pool(s->gather->model, s->name)))
        pool->is_silent = true;
}

/* Its listener is gone: so is it. */
static void drop(struct source *s)
{
    close_source(s);
    s->is_seen = false;
    s->asked_ns = 0;
    if (s->kind == SOURCE_VM)
        top_model_remove(s->gather->model, s->name);
    else
        top_model_remove_pool(s->gather->model, s->name);
}

static enum err reach_pool(struct source *s)
{
    char path[SOCKET_PATH_MAX];
    enum err err = paths_pool_socket(path, sizeof(path), s->name, PATHS_MUST_EXIST);
    int fd = err ? -1 : listener_reach(path, SOCK_NONBLOCK);

    if (fd < 0)
        return err || errno == ECONNREFUSED || errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    s->pool = (struct pool_link){.fd = fd};
    pool_link_send(&s->pool, json_pack("{s:{}}", "watch"));
    return s->pool.fd < 0 ? ERR_IO : ERR_OK;
}

static void reach(struct source *s)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    enum err err;

    s->phase = VM_GREETED;
    s->asked_ns = s->gather->now_ns;
    err = s->kind == SOURCE_VM ? qmp_link_begin(&s->vm, s->name) : reach_pool(s);
    if (!err && epoll_ctl(s->gather->epoll_fd, EPOLL_CTL_ADD, fd_of(s), &event)) {
        close_source(s);
        err = ERR_IO;
    }
    if (err == ERR_NOTFOUND)
        drop(s);
    else if (err)
        set_silent(s);
}

/* The connection ended: it is gone, or has too many others. */
static void lost(struct source *s)
{
    close_source(s);
    if (s->is_retried) {
        set_silent(s);
        return;
    }
    s->is_retried = true;
    reach(s);
}

/* ---- answers ---- */

static enum err take_vm_message(struct source *s, const json_t *message)
{
    const json_t *answer = json_object_get(message, "return");
    struct top_row *row;

    if (s->phase == VM_GREETED && json_object_get(message, "QMP")) {
        s->phase = VM_AGREED;
        return qmp_link_ask(&s->vm, "qmp_capabilities");
    }
    if (s->phase == VM_AGREED && answer) {
        s->phase = VM_READY;
        return qmp_link_ask(&s->vm, "x-umbra-stat");
    }
    if (s->phase == VM_READY && answer) {
        s->asked_ns = 0;
        row = top_model_row(s->gather->model, s->name);
        if (row)
            top_row_take(row, answer, s->gather->now_ns);
    }
    return json_object_get(message, "error") ? ERR_IO : ERR_OK; /* the rest: events */
}

static void serve_vm(struct source *s)
{
    json_t *message = NULL;
    enum err err;

    do {
        err = qmp_link_take(&s->vm, &message);
        if (!err && message)
            err = take_vm_message(s, message);
        json_decref(message);
    } while (!err && message);
    if (err)
        lost(s);
}

static void take_pool_message(void *arg, const json_t *message)
{
    struct source *s = arg;
    json_t *member = json_object_get(message, "member");
    const json_t *told = json_object_get(message, "pool");
    const char *name = json_string_value(json_object_get(member, "name"));
    struct top_pool *pool;

    if (!s->members)
        s->members = json_object();
    if (name)
        json_object_set(s->members, name, member);
    if (!told)
        return;
    s->is_told = true;
    s->asked_ns = s->gather->now_ns; /* the next one is due */
    pool = top_model_pool(s->gather->model, s->name);
    if (!pool)
        return;
    top_pool_take(pool, told, s->members);
    s->members = NULL;
}

static void serve_pool(struct source *s, uint32_t events)
{
    pool_link_serve(&s->pool, (short)events, take_pool_message, s);
    if (s->pool.fd < 0)
        lost(s);
}

void gather_serve(struct gather *g, uint64_t now_ns)
{
    struct epoll_event events[64];
    int count = epoll_wait(g->epoll_fd, events, 64, 0);

    g->now_ns = now_ns;
    for (int i = 0; i < count; i++) {
        struct source *s = events[i].data.ptr;

        if (s->kind == SOURCE_VM)
            serve_vm(s);
        else
            serve_pool(s, events[i].events);
    }
    top_model_sort(g->model);
}

/* ---- each period ---- */

static struct source *find(struct gather *g, enum source_kind kind, const char *name)
{
    for (struct source *s = g->sources; s; s = s->next) {
        if (s->kind == kind && !strcmp(s->name, name))
            return s;
    }
    return NULL;
}

static void see(struct gather *g, enum source_kind kind, const char *name)
{
    struct source *s = find(g, kind, name);

    if (!s) {
        s = calloc(1, sizeof(*s));
        if (!s)
            return;
        s->kind = kind;
        s->gather = g;
        s->vm.fd = s->pool.fd = -1;
        snprintf(s->name, sizeof(s->name), "%s", name);
        s->next = g->sources;
        g->sources = s;
    }
    s->is_seen = true;
}

static void see_vm(void *gather, const char *name)
{
    see(gather, SOURCE_VM, name);
}

static void see_pool(void *gather, const char *name)
{
    see(gather, SOURCE_POOL, name);
}

static void ask(struct source *s)
{
    s->is_retried = false;
    if (fd_of(s) < 0) {
        reach(s);
    } else if (s->kind == SOURCE_VM && s->phase == VM_READY && !s->asked_ns) {
        s->asked_ns = s->gather->now_ns;
        if (qmp_link_ask(&s->vm, "x-umbra-stat"))
            lost(s);
    }
}

static void forget_unseen(struct gather *g)
{
    for (struct source **at = &g->sources; *at;) {
        struct source *s = *at;

        if (s->is_seen) {
            at = &s->next;
            continue;
        }
        drop(s);
        *at = s->next;
        free(s);
    }
}

enum err gather_ask(struct gather *g, uint64_t now_ns)
{
    enum err err;

    g->now_ns = now_ns;
    for (struct source *s = g->sources; s; s = s->next)
        s->is_seen = false;
    err = paths_each_socket(".sock", see_vm, g);
    if (!err)
        err = paths_each_socket(".pool", see_pool, g);
    if (err)
        return err;
    forget_unseen(g);
    for (struct source *s = g->sources; s; s = s->next)
        ask(s);
    forget_unseen(g);
    top_model_sort(g->model);
    return ERR_OK;
}

bool gather_is_waiting(struct gather *g, uint64_t now_ns)
{
    bool is_waiting = false;

    for (struct source *s = g->sources; s; s = s->next) {
        bool is_late = s->asked_ns && now_ns - s->asked_ns >= GATHER_DEADLINE_NS;

        if (is_late)
            set_silent(s);
        /* what a manager tells comes by itself: only its first picture is waited for */
        else if (s->asked_ns && fd_of(s) >= 0)
            is_waiting |= s->kind == SOURCE_VM || !s->is_told;
    }
    return is_waiting;
}

int gather_fd(const struct gather *g)
{
    return g->epoll_fd;
}

enum err gather_create(struct gather **out, struct top_model *model)
{
    struct gather *g = calloc(1, sizeof(*g));

    *out = NULL;
    if (!g)
        return err_new(ERR_NOMEM, "no memory for the view");
    g->model = model;
    g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (g->epoll_fd < 0) {
        free(g);
        return err_errno(ERR_IO, "cannot wait for the VMs");
    }
    *out = g;
    return ERR_OK;
}

void gather_destroy(struct gather *g)
{
    if (!g)
        return;
    while (g->sources) {
        struct source *s = g->sources;

        g->sources = s->next;
        close_source(s);
        free(s);
    }
    close(g->epoll_fd);
    free(g);
}
