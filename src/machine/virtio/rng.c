/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/virtio/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define QUEUE_SIZE 64
#define CLASS_CODE 0xff0000 /* fits no other class */

/* The most that one request is given: fewer bytes than asked for are allowed (5.4.6.2). */
#define REQUEST_BYTES 4096

struct rng {
    struct virtio_device *dev;
    struct virtq_chain chain;
    uint8_t bytes[REQUEST_BYTES];
};

enum err rng_create(struct rng **out)
{
    *out = calloc(1, sizeof(**out));
    return *out ? ERR_OK : err_new(ERR_NOMEM, "no memory for the entropy device");
}

void rng_attach(struct rng *rng, struct virtio_device *dev)
{
    rng->dev = dev;
}

/* False: the host has no random bytes now, or none of the guest's memory. */
static bool fill(struct rng *rng, struct virtq *q, size_t bytes)
{
    size_t done = 0;

    while (done < bytes) {
        ssize_t n = getrandom(rng->bytes + done, bytes - done, 0);

        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return virtq_write(q, &rng->chain, 0, rng->bytes, bytes);
}

static void rng_service(void *arg, unsigned index)
{
    struct rng *rng = arg;
    struct virtq *q = &rng->dev->queue[index];

    while (virtq_pop(q, &rng->chain) == VIRTQ_CHAIN) {
        size_t bytes = REQUEST_BYTES;

        if (rng->chain.readable || !rng->chain.writable_bytes) {
            virtq_break(q, "an entropy request must be writable only");
            return;
        }
        if (bytes > rng->chain.writable_bytes)
            bytes = (size_t)rng->chain.writable_bytes;
        if (!fill(rng, q, bytes)) {
            virtq_unpop(q, &rng->chain);
            break;
        }
        virtq_push(q, rng->chain.head, (uint32_t)bytes);
    }
    explicit_bzero(rng->bytes, sizeof(rng->bytes));
    virtio_queue_done(rng->dev, index);
}

static void rng_destroy(void *arg)
{
    free(arg);
}

const struct virtio_ops rng_ops = {
    .name = "entropy",
    .id = 4,
    .class_code = CLASS_CODE,
    .queues = 1,
    .queue_size = QUEUE_SIZE,
    .service = rng_service,
    .destroy = rng_destroy,
};
