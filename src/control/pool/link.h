/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection that carries JSON objects, a line each, in both directions (docs/pool.md). Never
 * blocks and never grows without bound: whoever does not read is cut off.
 */
#ifndef UMBRA_CONTROL_POOL_LINK_H
#define UMBRA_CONTROL_POOL_LINK_H

#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "control/api/json_stream.h"

/* fd -1: closed. Zero-initialise but for fd. */
struct pool_link {
    int fd;
    struct json_stream in;
    char *out;
    size_t out_used;
};

void pool_link_close(struct pool_link *link);

/* Takes `message` over. Closes the link when the other end does not read. */
void pool_link_send(struct pool_link *link, json_t *message);

/* What to poll for. */
short pool_link_events(const struct pool_link *link);

/*
 * After poll: writes what waits, reads what is there and hands each object to `take` (which may
 * close the link). Closes the link at its end and on what is no JSON object.
 */
void pool_link_serve(struct pool_link *link, short revents,
                     void (*take)(void *arg, const json_t *message), void *arg);

#endif
