/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The balloon device: what is asked of the driver and what it says it has.
 *
 *   host: target --> num_pages, config interrupt --> driver takes pages from its guest
 *   driver: PFNs --> inflateq --> mem/balloon.h          (balloon_pages.c)
 *   driver: actual <-- how many there are now --> config.changed
 *
 * MUST_TELL_HOST is not offered: a ballooned page that the guest uses without a word simply gets
 * host memory again, so nothing would be won by making the driver wait.
 */
#include "machine/virtio/balloon.h"

#include <stdlib.h>
#include <string.h>

#include "machine/virtio/balloon_private.h"
#include "mem/balloon.h"

#define QUEUE_SIZE 128

enum err balloon_create(struct balloon **out, const struct balloon_config *config)
{
    struct balloon *b = calloc(1, sizeof(*b));

    *out = b;
    if (!b)
        return err_new(ERR_NOMEM, "no memory for the balloon device");
    b->config = *config;
    b->hint_last_id = BALLOON_CMD_DONE;
    balloon_stats_reset(b);
    return ERR_OK;
}

void balloon_attach(struct balloon *balloon, struct virtio_device *dev)
{
    balloon->dev = dev;
}

/* ---- what the host asks ---- */

void balloon_set_target(struct balloon *balloon, uint64_t pages)
{
    if (pages > balloon->config.memory_pages)
        pages = balloon->config.memory_pages;
    if (pages > UINT32_MAX)
        pages = UINT32_MAX;
    if (balloon->reg.num_pages == pages)
        return;
    balloon->reg.num_pages = (uint32_t)pages;
    virtio_config_changed(balloon->dev);
}

/* 5.5.6.5: no id is used twice before all have been, and 0 and 1 are not ids. */
bool balloon_start_hinting(struct balloon *balloon)
{
    if (!virtio_is_live(balloon->dev) || !virtio_has(balloon->dev, BALLOON_F_FREE_PAGE_HINT))
        return false;
    if (++balloon->hint_last_id <= BALLOON_CMD_DONE)
        balloon->hint_last_id = BALLOON_CMD_DONE + 1;
    balloon->reg.hint_cmd_id = balloon->hint_last_id;
    balloon->hint_started = false;
    virtio_config_changed(balloon->dev);
    return true;
}

void balloon_get_info(const struct balloon *balloon, struct balloon_info *out)
{
    const struct virtio_device *dev = balloon->dev;
    uint64_t most = balloon->config.memory_pages;

    *out = (struct balloon_info){
        .has_driver = virtio_is_live(dev),
        .target_pages = balloon->reg.num_pages,
        .actual_pages = balloon->reg.actual < most ? balloon->reg.actual : most,
        .moved_ns = balloon->moved_ns,
        .stats = balloon->stats,
    };
    out->has_stats = out->has_driver && virtio_has(dev, BALLOON_F_STATS_VQ);
    out->has_reporting = out->has_driver && virtio_has(dev, BALLOON_F_REPORTING);
    out->has_hinting = out->has_driver && virtio_has(dev, BALLOON_F_FREE_PAGE_HINT);
    out->is_hinting = balloon->reg.hint_cmd_id > BALLOON_CMD_DONE;
}

/* ---- what the driver does ---- */

static uint64_t offered(void *arg)
{
    const struct balloon *b = arg;

    return BALLOON_F_STATS_VQ | BALLOON_F_DEFLATE_ON_OOM | BALLOON_F_FREE_PAGE_HINT |
           BALLOON_F_PAGE_POISON | (b->config.no_reporting ? 0 : BALLOON_F_REPORTING);
}

static void config_read(void *arg, size_t offset, void *buf, size_t bytes)
{
    const struct balloon *b = arg;

    memcpy(buf, (const char *)&b->reg + offset, bytes);
}

static bool is_full(const struct balloon *b)
{
    return b->reg.actual >= b->reg.num_pages;
}

/* The driver writes actual, and poison_val; the rest is read-only (5.5.4). */
static void config_write(void *arg, size_t offset, const void *buf, size_t bytes)
{
    struct balloon *b = arg;
    struct balloon_registers now = b->reg;
    bool moved;

    memcpy((char *)&now + offset, buf, bytes);
    b->reg.poison_val = now.poison_val;
    moved = b->reg.actual != now.actual;
    b->reg.actual = now.actual;
    if (b->held_pages && is_full(b))
        virtio_ask_service(b->dev);
    if (moved && b->config.changed)
        b->config.changed(b->config.arg);
}

/* 5.5.6.6: poison_val is settled by now; what a driver writes there later has no effect. */
static void driver_ok(void *arg, uint64_t features)
{
    struct balloon *b = arg;

    b->poison_val = features & BALLOON_F_PAGE_POISON ? b->reg.poison_val : 0;
    b->moved_ns = host_ns();
    if (b->reg.num_pages)
        virtio_config_changed(b->dev);
}

static void give_back(struct balloon *b)
{
    b->held_pages = 0;
    mem_give_back_flush(b->config.mem);
}

static void service(void *arg, unsigned index)
{
    static const uint64_t needs[BALLOON_QUEUES] = {
        [BALLOON_STATS] = BALLOON_F_STATS_VQ,
        [BALLOON_HINT] = BALLOON_F_FREE_PAGE_HINT,
        [BALLOON_REPORT] = BALLOON_F_REPORTING,
    };
    struct balloon *b = arg;

    /* a queue of a feature that was not negotiated does not exist */
    if (index >= BALLOON_QUEUES || !virtio_has(b->dev, needs[index]))
        return;
    if (index == BALLOON_STATS)
        balloon_serve_stats(b);
    else
        balloon_serve_pages(b, index);
    /* more is about to come from a driver that is on its way */
    if (index != BALLOON_INFLATE || is_full(b) || b->held_pages >= BALLOON_HOLD_PAGES)
        give_back(b);
}

/* Asked for by balloon_ask_stats, and by services that left something for the next. */
static void poll(void *arg)
{
    struct balloon *b = arg;

    balloon_poll_stats(b);
    for (unsigned i = 0; i < BALLOON_QUEUES; i++) {
        if (b->work[i].busy)
            service(b, i);
    }
    give_back(b);
}

/* The driver is gone: what it had in the balloon is nobody's, and its word is void. */
static void reset(void *arg)
{
    struct balloon *b = arg;
    bool moved = b->reg.actual != 0;

    mem_balloon_reset(b->config.mem);
    balloon_pages_reset(b);
    balloon_stats_reset(b);
    b->reg = (struct balloon_registers){.num_pages = b->reg.num_pages};
    b->poison_val = 0;
    b->held_pages = 0;
    if (moved && b->config.changed)
        b->config.changed(b->config.arg);
}

const struct virtio_ops balloon_ops = {
    .name = "balloon",
    .id = 5,
    .class_code = 0x00ff00, /* as every virtio function without a class of its own */
    .queues = BALLOON_QUEUES,
    .queue_size = QUEUE_SIZE,
    .config_bytes = sizeof(struct balloon_registers),
    .features = offered,
    .config_read = config_read,
    .config_write = config_write,
    .driver_ok = driver_ok,
    .service = service,
    .poll = poll,
    .reset = reset,
    .destroy = free,
};
