/* SPDX-License-Identifier: Apache-2.0 */
#include "control/pool/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_MAX_BYTES (4u * 1024 * 1024)

void pool_link_close(struct pool_link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    json_stream_fini(&link->in);
    free(link->out);
    *link = (struct pool_link){.fd = -1};
}

static void flush(struct pool_link *link)
{
    while (link->fd >= 0 && link->out_used) {
        ssize_t n = send(link->fd, link->out, link->out_used, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR)
                pool_link_close(link);
            return;
        }
        memmove(link->out, link->out + n, link->out_used - (size_t)n);
        link->out_used -= (size_t)n;
    }
}

void pool_link_send(struct pool_link *link, json_t *message)
{
    char *text = message && link->fd >= 0 ? json_dumps(message, JSON_COMPACT) : NULL;
    size_t length = text ? strlen(text) : 0;
    char *out = NULL;

    json_decref(message);
    if (text && link->out_used + length + 1 <= OUT_MAX_BYTES)
        out = realloc(link->out, link->out_used + length + 1);
    if (out) {
        memcpy(out + link->out_used, text, length);
        out[link->out_used + length] = '\n';
        link->out = out;
        link->out_used += length + 1;
        flush(link);
    } else if (link->fd >= 0) {
        pool_link_close(link);
    }
    free(text);
}

short pool_link_events(const struct pool_link *link)
{
    return (short)(POLLIN | (link->out_used ? POLLOUT : 0));
}

static void feed(struct pool_link *link, const char *bytes, size_t count,
                 void (*take)(void *arg, const json_t *message), void *arg)
{
    for (size_t i = 0; i < count && link->fd >= 0; i++) {
        json_t *value = NULL;
        const char *why;

        switch (json_stream_feed(&link->in, bytes[i], &value, &why)) {
        case JSON_STREAM_MORE:
            continue;
        case JSON_STREAM_VALUE:
            if (json_is_object(value))
                take(arg, value);
            else
                pool_link_close(link);
            json_decref(value);
            continue;
        case JSON_STREAM_BAD:
            pool_link_close(link);
            return;
        }
    }
}

void pool_link_serve(struct pool_link *link, short revents,
                     void (*take)(void *arg, const json_t *message), void *arg)
{
    char bytes[16384];
    ssize_t n;

    if (revents & POLLOUT)
        flush(link);
    if (link->fd < 0 || !(revents & (POLLIN | POLLHUP | POLLERR)))
        return;
    n = recv(link->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n > 0)
        feed(link, bytes, (size_t)n, take, arg);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        pool_link_close(link);
}
