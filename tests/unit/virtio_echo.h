/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device for tests of what all devices share: two queues, which write back what they were
 * given to read, and a configuration of 12 bytes. Feature 1 requires feature 0.
 */
#ifndef UMBRA_TESTS_UNIT_VIRTIO_ECHO_H
#define UMBRA_TESTS_UNIT_VIRTIO_ECHO_H

#include <string.h>

#include "machine/virtio/virtio.h"

#define ECHO_QUEUES       2
#define ECHO_QUEUE_SIZE   16
#define ECHO_CONFIG_BYTES 12
#define ECHO_ID           42
#define ECHO_F_ONE        (UINT64_C(1) << 0)
#define ECHO_F_TWO        (UINT64_C(1) << 1)

/*
 * keep: chains are taken and not given back;  idle: not even taken;  between: called for each chain
 * that was given back, for guests that are not held
 */
struct echo {
    struct virtio_device *dev;
    struct virtq_chain chain;
    uint8_t config[ECHO_CONFIG_BYTES];
    bool keep, idle;
    unsigned chains, oks, resets, polls, destroyed;
    uint16_t last_head;
    void (*between)(void *arg);
    void *between_arg;
};

static inline uint64_t echo_features(void *arg)
{
    (void)arg;
    return ECHO_F_ONE | ECHO_F_TWO;
}

static inline bool echo_features_ok(void *arg, uint64_t features)
{
    (void)arg;
    return !(features & ECHO_F_TWO) || (features & ECHO_F_ONE);
}

static inline void echo_config_read(void *arg, size_t offset, void *buf, size_t bytes)
{
    const struct echo *echo = arg;

    memcpy(buf, echo->config + offset, bytes);
}

static inline void echo_config_write(void *arg, size_t offset, const void *buf, size_t bytes)
{
    struct echo *echo = arg;

    memcpy(echo->config + offset, buf, bytes);
}

static inline void echo_driver_ok(void *arg, uint64_t features)
{
    struct echo *echo = arg;

    (void)features;
    echo->oks++;
}

/* Copies as much as both sides have, at most `sizeof(bytes)`. False: the host failed. */
static inline bool echo_copy(struct echo *echo, struct virtq *q, uint32_t *written)
{
    uint8_t bytes[512];
    uint64_t n = echo->chain.readable_bytes;

    if (n > echo->chain.writable_bytes)
        n = echo->chain.writable_bytes;
    if (n > sizeof(bytes))
        n = sizeof(bytes);
    *written = (uint32_t)n;
    return virtq_read(q, &echo->chain, 0, bytes, n) && virtq_write(q, &echo->chain, 0, bytes, n);
}

static inline void echo_service(void *arg, unsigned index)
{
    struct echo *echo = arg;
    struct virtq *q = &echo->dev->queue[index];

    while (!echo->idle && virtq_pop(q, &echo->chain) == VIRTQ_CHAIN) {
        uint32_t written;

        echo->chains++;
        echo->last_head = echo->chain.head;
        if (echo->keep)
            continue;
        if (!echo_copy(echo, q, &written)) {
            virtq_unpop(q, &echo->chain);
            break;
        }
        virtq_push(q, echo->chain.head, written);
        if (echo->between)
            echo->between(echo->between_arg);
    }
    virtio_queue_done(echo->dev, index);
}

static inline void echo_poll(void *arg)
{
    struct echo *echo = arg;

    echo->polls++;
}

static inline void echo_reset(void *arg)
{
    struct echo *echo = arg;

    echo->resets++;
}

static inline void echo_destroy(void *arg)
{
    struct echo *echo = arg;

    echo->destroyed++;
}

static const struct virtio_ops echo_ops = {
    .name = "echo",
    .id = ECHO_ID,
    .class_code = 0xff0000,
    .queues = ECHO_QUEUES,
    .queue_size = ECHO_QUEUE_SIZE,
    .config_bytes = ECHO_CONFIG_BYTES,
    .features = echo_features,
    .features_ok = echo_features_ok,
    .config_read = echo_config_read,
    .config_write = echo_config_write,
    .driver_ok = echo_driver_ok,
    .service = echo_service,
    .poll = echo_poll,
    .reset = echo_reset,
    .destroy = echo_destroy,
};

#endif
