/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/qmp_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "control/api/json_stream.h"
#include "control/api/qmp_balloon.h"
#include "control/api/qmp_commands.h"
#include "control/api/qmp_trace.h"
#include "control/listen.h"
#include "control/paths.h"

/*
 * A client that does not read is cut off when this much waits for it; above half of it we stop
 * listening.
 */
#define OUT_MAX_BYTES (1024u * 1024)

/* How long the last words may take at the end of the VM. */
#define FAREWELL_MS 200

/*
 * A follower of a trace is sent more while less than this waits for it; what it cannot take is
 * dropped.
 */
#define TRACE_OUT_BYTES (256u * 1024)
#define TRACE_BATCHES   16u /* at a time, so that others are served, too */

struct qmp_client {
    int fd;     /* -1: free */
    bool ready; /* has sent qmp_capabilities */
    struct json_stream in;
    char *out;
    size_t out_used;
};

struct qmp_server {
    struct vm *vm;
    struct listener listener;
    unsigned resets_told;
    bool host_reset;
    struct qmp_trace trace;
    struct qmp_balloon balloon;
    struct qmp_client clients[QMP_CLIENTS_MAX];
};

/* ---- clients ---- */

static void client_close(struct qmp_client *c)
{
    close(c->fd);
    c->fd = -1;
    json_stream_fini(&c->in);
    free(c->out);
    c->out = NULL;
    c->out_used = 0;
    c->ready = false;
}

static void client_flush(struct qmp_client *c)
{
    ssize_t n;

    if (c->fd < 0 || !c->out_used)
        return;
    n = send(c->fd, c->out, c->out_used, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            client_close(c);
        return;
    }
    memmove(c->out, c->out + n, c->out_used - (size_t)n);
    c->out_used -= (size_t)n;
}

/* Bytes that are whole lines. A client that reads too slowly for them is cut off. */
static void client_queue(struct qmp_client *c, const char *bytes, size_t length)
{
    char *out =
        c->out_used + length <= OUT_MAX_BYTES ? realloc(c->out, c->out_used + length) : NULL;

    if (!out) {
        client_close(c);
        return;
    }
    memcpy(out + c->out_used, bytes, length);
    c->out = out;
    c->out_used += length;
    client_flush(c);
}

/* One message: one line, CRLF, one write. Takes `message` over. */
static void client_send(struct qmp_client *c, json_t *message)
{
    char *text = message ? json_dumps(message, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    char *line = NULL;
    int length = text ? asprintf(&line, "%s\r\n", text) : -1;

    json_decref(message);
    free(text);
    if (length < 0)
        return;
    client_queue(c, line, (size_t)length);
    free(line);
}

/* A reply whose "return" is `raw`. Takes `message` over. */
static void client_send_raw(struct qmp_client *c, json_t *message, const char *raw)
{
    const json_t *id = json_object_get(message, "id");
    char *id_text = id ? json_dumps(id, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY) : NULL;
    char *line = NULL;
    int length = asprintf(&line, "{\"return\":%s%s%s}\r\n", raw, id_text ? ",\"id\":" : "",
                          id_text ? id_text : "");

    json_decref(message);
    free(id_text);
    if (length < 0)
        return;
    client_queue(c, line, (size_t)length);
    free(line);
}

/* ---- requests ---- */

static json_t *make_error(const char *class, const char *text)
{
    return json_pack("{s:{s:s, s:s}}", "error", "class", class, "desc", text);
}

/* Checks the shape of a request. NULL: fine, else an error reply. */
static json_t *check_request(const json_t *request)
{
    const char *key;
    json_t *value;
    char text[160];

    if (!json_is_object(request))
        return make_error(QMP_GENERIC, "QMP input must be a JSON object");
    json_object_foreach((json_t *)request, key, value)
    {
        if (!strcmp(key, "execute") && !json_is_string(value))
            return make_error(QMP_GENERIC, "QMP input member 'execute' must be a string");
        if (!strcmp(key, "arguments") && !json_is_object(value))
            return make_error(QMP_GENERIC, "QMP input member 'arguments' must be an object");
        if (strcmp(key, "execute") && strcmp(key, "arguments") && strcmp(key, "id")) {
            snprintf(text, sizeof(text), "QMP input member '%.60s' is unexpected", key);
            return make_error(QMP_GENERIC, text);
        }
    }
    if (!json_object_get(request, "execute"))
        return make_error(QMP_GENERIC, "QMP input lacks member 'execute'");
    return NULL;
}

static json_t *run_capabilities(struct qmp_client *c, const json_t *arguments)
{
    const json_t *enable = json_object_get(arguments, "enable");

    if (c->ready)
        return make_error(QMP_NOT_FOUND,
                          "Capabilities negotiation is already complete, command ignored");
    if (json_object_size(arguments) > (enable ? 1u : 0u))
        return make_error(QMP_GENERIC,
                          "Parameter is unexpected; qmp_capabilities takes 'enable' only");
    if (enable && !json_is_array(enable))
        return make_error(QMP_GENERIC, "Invalid parameter type for 'enable', expected: array");
    if (json_array_size(enable))
        return make_error(QMP_GENERIC, "this server has no capabilities to enable");
    c->ready = true;
    return json_pack("{s:{}}", "return");
}

static json_t *run_command(struct qmp_server *server, struct qmp_client *c, const char *name,
                           struct qmp_call *call)
{
    bool is_trace = !strcmp(name, QMP_TRACE_START) || !strcmp(name, QMP_TRACE_STOP);
    json_t *result =
        is_trace ? qmp_trace_run(&server->trace, name, c, call) : qmp_command_run(name, call);

    server->host_reset |= call->host_reset;
    return result ? json_pack("{s:o}", "return", result)
                  : make_error(call->error_class, call->error_text);
}

static void answer(struct qmp_server *server, struct qmp_client *c, const json_t *request)
{
    json_t *none = json_object();
    const json_t *arguments = json_object_get(request, "arguments");
    struct qmp_call call = {
        .vm = server->vm, .balloon = &server->balloon, .arguments = arguments ? arguments : none};
    json_t *reply = check_request(request);
    json_t *id = json_object_get(request, "id");

    if (!reply) {
        const char *name = json_string_value(json_object_get(request, "execute"));

        if (!strcmp(name, "qmp_capabilities"))
            reply = run_capabilities(c, call.arguments);
        else if (!c->ready)
            reply = make_error(QMP_NOT_FOUND,
                               "Expecting capabilities negotiation with 'qmp_capabilities'");
        else
            reply = run_command(server, c, name, &call);
    }
    if (id && reply)
        json_object_set(reply, "id", id);
    if (call.raw)
        client_send_raw(c, reply, call.raw);
    else
        client_send(c, reply);
    free(call.raw);
    if (call.event)
        qmp_server_event(server, call.event, NULL);
    if (call.host_quit)
        vm_stop(server->vm);
    json_decref(none);
}

static void client_read(struct qmp_server *server, struct qmp_client *c)
{
    char bytes[4096];
    ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        client_close(c);
    for (ssize_t i = 0; i < n && c->fd >= 0; i++) {
        json_t *value = NULL;
        const char *why = "";

        switch (json_stream_feed(&c->in, bytes[i], &value, &why)) {
        case JSON_STREAM_MORE:
            break;
        case JSON_STREAM_BAD:
            client_send(c, make_error(QMP_GENERIC, why));
            break;
        case JSON_STREAM_VALUE:
            answer(server, c, value);
            json_decref(value);
            break;
        }
    }
}

static void accept_client(struct qmp_server *server)
{
    int fd = listener_accept(&server->listener);

    if (fd < 0)
        return;
    for (size_t i = 0; i < QMP_CLIENTS_MAX; i++) {
        struct qmp_client *c = &server->clients[i];

        if (c->fd >= 0)
            continue;
        c->fd = fd;
        client_send(c,
                    json_pack("{s:{s:o, s:[]}}", "QMP", "version", qmp_version(), "capabilities"));
        return;
    }
    close(fd);
}

/* ---- beginning and end ---- */

static enum err socket_path(char path[SOCKET_PATH_MAX], const char *name)
{
    char dir[SOCKET_PATH_MAX];
    enum err err = paths_socket_dir(dir, sizeof(dir), PATHS_CREATE);

    return err ? err : paths_socket(path, SOCKET_PATH_MAX, dir, name);
}

static enum err is_running(const char *name)
{
    return err_new(ERR_BUSY, "a VM named '%s' is running already; choose another --name", name);
}

enum err qmp_server_check_name(const char *name)
{
    char path[SOCKET_PATH_MAX];
    enum err err = socket_path(path, name);

    return !err && listener_answers(path) ? is_running(name) : err;
}

static enum err listen_as(struct qmp_server *server, const char *name)
{
    char path[SOCKET_PATH_MAX];
    enum err err = socket_path(path, name);

    if (!err)
        err = listener_open(&server->listener, path);
    return err == ERR_BUSY ? is_running(name) : err;
}

enum err qmp_server_create(struct qmp_server **out, struct vm *vm)
{
    struct qmp_server *server = calloc(1, sizeof(*server));
    const char *name = vm_get_config(vm)->name;
    enum err err;

    *out = NULL;
    if (!server)
        return err_new(ERR_NOMEM, "no memory for the control socket");
    server->vm = vm;
    server->listener = LISTENER_NONE;
    for (size_t i = 0; i < QMP_CLIENTS_MAX; i++)
        server->clients[i].fd = -1;
    err = qmp_balloon_init(&server->balloon);
    if (!err)
        err = listen_as(server, name);
    if (err) {
        qmp_server_destroy(server);
        return err;
    }
    *out = server;
    return ERR_OK;
}

void qmp_server_let_go(struct qmp_server *server)
{
    if (server)
        qmp_trace_forget(&server->trace, server->trace.client);
}

void qmp_server_destroy(struct qmp_server *server)
{
    if (!server)
        return;
    /* the name goes first: whoever sees the connection end may start a VM of that name */
    listener_unlink(&server->listener);
    qmp_trace_forget(&server->trace, server->trace.client);
    for (size_t i = 0; i < QMP_CLIENTS_MAX; i++) {
        struct qmp_client *c = &server->clients[i];
        struct pollfd fd = {.fd = c->fd, .events = POLLOUT};

        if (c->fd < 0)
            continue;
        if (c->out_used && poll(&fd, 1, FAREWELL_MS) > 0)
            client_flush(c);
        if (c->fd >= 0)
            client_close(c);
    }
    listener_close(&server->listener);
    qmp_balloon_fini(&server->balloon);
    free(server);
}

size_t qmp_server_pollfds(struct qmp_server *server, struct pollfd *fds)
{
    size_t count = 0;

    fds[count++] = (struct pollfd){.fd = server->listener.fd, .events = POLLIN};
    for (size_t i = 0; i < QMP_CLIENTS_MAX; i++) {
        const struct qmp_client *c = &server->clients[i];

        if (c->fd < 0)
            continue;
        fds[count++] = (struct pollfd){
            .fd = c->fd,
            .events = (short)((c->out_used < OUT_MAX_BYTES / 2 ? POLLIN : 0) |
                              (c->out_used ? POLLOUT : 0)),
        };
    }
    fds[count++] = (struct pollfd){.fd = server->balloon.timer_fd, .events = POLLIN};
    if (server->trace.tracer)
        fds[count++] = (struct pollfd){.fd = tracer_fd(server->trace.tracer), .events = POLLIN};
    return count;
}

/* Tracing ends with the connection of whoever asked for it. */
static void end_orphan_trace(struct qmp_server *server)
{
    const struct qmp_client *c = server->trace.client;

    if (server->trace.tracer && c->fd < 0)
        qmp_trace_forget(&server->trace, c);
}

static void send_trace(struct qmp_server *server)
{
    char message[QMP_TRACE_MESSAGE_BYTES];

    end_orphan_trace(server);
    if (!server->trace.tracer)
        return;
    tracer_tick_seen(server->trace.tracer);
    for (struct qmp_client *c = server->clients; c < server->clients + QMP_CLIENTS_MAX; c++) {
        for (unsigned i = 0; c == server->trace.client && i < TRACE_BATCHES; i++) {
            if (c->fd < 0 || c->out_used >= TRACE_OUT_BYTES ||
                !qmp_trace_next(&server->trace, message))
                break;
            client_queue(c, message, strlen(message));
        }
    }
}

void qmp_server_handle(struct qmp_server *server, const struct pollfd *fds, size_t count)
{
    json_t *data;

    send_trace(server);
    if (qmp_balloon_due(&server->balloon, server->vm, &data))
        qmp_server_event(server, "BALLOON_CHANGE", data);
    for (size_t i = 0; i < QMP_CLIENTS_MAX; i++) {
        struct qmp_client *c = &server->clients[i];

        for (size_t j = 1; j < count && c->fd >= 0; j++) {
            if (fds[j].fd != c->fd)
                continue;
            if (fds[j].revents & POLLOUT)
                client_flush(c);
            if (c->fd >= 0 && (fds[j].revents & (POLLIN | POLLHUP | POLLERR)))
                client_read(server, c);
            break;
        }
    }
    end_orphan_trace(server);
    if (count && (fds[0].revents & POLLIN))
        accept_client(server);
}

void qmp_server_event(struct qmp_server *server, const char *name, json_t *data)
{
    struct timeval now;

    gettimeofday(&now, NULL);
    for (size_t i = 0; i < QMP_CLIENTS_MAX; i++) {
        struct qmp_client *c = &server->clients[i];
        json_t *event;

        if (c->fd < 0 || !c->ready)
            continue;
        event = json_pack("{s:s, s:{s:I, s:I}}", "event", name, "timestamp", "seconds",
                          (json_int_t)now.tv_sec, "microseconds", (json_int_t)now.tv_usec);
        if (event && data)
            json_object_set(event, "data", data);
        client_send(c, event);
    }
    json_decref(data);
}

void qmp_server_tell_resets(struct qmp_server *server)
{
    unsigned resets = vm_resets(server->vm);

    if (resets == server->resets_told)
        return;
    server->resets_told = resets;
    qmp_server_event(server, "RESET",
                     json_pack("{s:b, s:s}", "guest", !server->host_reset, "reason",
                               server->host_reset ? "host-qmp-system-reset" : "guest-reset"));
    server->host_reset = false;
}

void qmp_server_tell_stall(struct qmp_server *server, const char *why)
{
    if (why[0])
        qmp_server_event(server, "X_UMBRA_MEMORY_STALL", json_pack("{s:s}", "reason", why));
    /* A VM that the user has paused stands still before, meanwhile and after. */
    if (!vm_is_paused(server->vm))
        qmp_server_event(server, why[0] ? "STOP" : "RESUME", NULL);
}

void qmp_server_tell_end(struct qmp_server *server, const char *reason, bool by_guest)
{
    send_trace(server);
    qmp_server_event(server, "SHUTDOWN",
                     json_pack("{s:b, s:s}", "guest", by_guest, "reason", reason));
}
