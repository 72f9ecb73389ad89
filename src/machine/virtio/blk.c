/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/virtio/blk.h"

#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "machine/virtio/blk_private.h"

#define CLASS_SCSI_STORAGE 0x010000 /* as other virtio disks call themselves */

/* VIRTIO 1.2 5.2.4, as far as the features offered here go. */
struct config {
    uint64_t capacity;
    uint32_t size_max;
    uint32_t seg_max;
    uint16_t cylinders;
    uint8_t heads;
    uint8_t sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp;
    uint8_t alignment_offset;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint8_t writeback;
    uint8_t unused0;
    uint16_t num_queues;
    uint32_t max_discard_sectors;
    uint32_t max_discard_seg;
    uint32_t discard_sector_alignment;
    uint32_t max_write_zeroes_sectors;
    uint32_t max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap;
    uint8_t unused1[3];
} __attribute__((packed));
_Static_assert(offsetof(struct config, writeback) == 32, "the layout of the specification");
_Static_assert(sizeof(struct config) == 60, "the layout of the specification");

/* Header and status take two of the queue's descriptors. */
#define SEG_MAX (BLK_QUEUE_SIZE - 2)

/* Blocks of the host's file systems and of guest pages: 4 KiB, in sectors, as a power of two. */
#define BLOCK_EXP 3

/* ---- requests ---- */

static struct blk_request *find_free(struct blk *blk)
{
    for (size_t i = 0; i < BLK_REQUESTS_MAX; i++) {
        if (blk->requests[i].phase == BLK_FREE)
            return &blk->requests[i];
    }
    return NULL;
}

static void append(struct blk *blk, struct blk_request *r)
{
    r->next = NULL;
    if (blk->last)
        blk->last->next = r;
    else
        blk->first = r;
    blk->last = r;
}

/* at_once: waits for the host's disk instead of leaving. */
static enum blk_advanced advance(struct blk *blk, struct blk_request *r)
{
    enum blk_advanced how = blk_request_advance(r);

    while (blk->config.at_once && how == BLK_WAITS) {
        aio_wait(disk_aio(blk->config.disk), &r->aio);
        how = blk_request_advance(r);
    }
    if (how == BLK_WAITS_MEMORY)
        virtio_ask_service(blk->dev);
    return how;
}

/* Who waits for anything but the disk makes those behind it wait too, so that its turn comes. */
static bool blocks_others(enum blk_advanced how)
{
    return how == BLK_WAITS_ROOM || how == BLK_WAITS_MEMORY;
}

/* Takes the ended ones out. False: no other request may begin now. */
static bool advance_all(struct blk *blk)
{
    struct blk_request **at = &blk->first, *r;
    bool may_begin = true;

    blk->last = NULL;
    while ((r = *at)) {
        enum blk_advanced how = BLK_WAITS;

        if (may_begin || r->phase == BLK_LANDED || r->phase == BLK_DONE)
            how = advance(blk, r);
        if (blocks_others(how))
            may_begin = false;
        if (how == BLK_ENDED) {
            *at = r->next;
        } else {
            blk->last = r;
            at = &r->next;
        }
    }
    return may_begin;
}

static void work(struct blk *blk)
{
    struct virtq *q = &blk->dev->queue[0];
    bool may_begin = advance_all(blk);
    struct blk_request *r;

    while (may_begin && (r = find_free(blk)) && virtq_pop(q, &r->chain) == VIRTQ_CHAIN) {
        enum blk_advanced how;

        r->blk = blk;
        r->phase = BLK_START;
        how = advance(blk, r);
        if (how != BLK_ENDED)
            append(blk, r);
        may_begin = !blocks_others(how);
    }
    aio_flush(disk_aio(blk->config.disk));
    virtio_queue_done(blk->dev, 0);
}

static void forget_all(struct blk *blk)
{
    for (struct blk_request *r = blk->first; r; r = r->next) {
        if (r->phase == BLK_FLYING)
            aio_wait(disk_aio(blk->config.disk), &r->aio);
        if (r->phase == BLK_LANDED)
            blk_piece_forget(r);
        r->phase = BLK_FREE;
    }
    blk->first = blk->last = NULL;
}

/* ---- the device ---- */

static uint64_t on_features(void *arg)
{
    const struct blk *blk = arg;
    uint64_t features =
        BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_TOPOLOGY | BLK_F_FLUSH | BLK_F_CONFIG_WCE;

    if (disk_is_read_only(blk->config.disk))
        return features | BLK_F_RO;
    return features | BLK_F_DISCARD | BLK_F_WRITE_ZEROES;
}

/* Who cannot flush gets stable writes (VIRTIO 1.2 5.2.5.2). */
static bool on_features_ok(void *arg, uint64_t features)
{
    struct blk *blk = arg;

    blk->writeback = features & BLK_F_FLUSH ? 1 : 0;
    return true;
}

static void fill_config(const struct blk *blk, struct config *config)
{
    *config = (struct config){
        .capacity = disk_bytes(blk->config.disk) / DISK_SECTOR,
        .seg_max = SEG_MAX,
        .blk_size = DISK_SECTOR,
        .physical_block_exp = BLOCK_EXP,
        .min_io_size = 1 << BLOCK_EXP,
        .writeback = blk->writeback,
    };
    if (disk_is_read_only(blk->config.disk))
        return;
    config->max_discard_sectors = config->max_write_zeroes_sectors = BLK_RANGE_SECTORS_MAX;
    config->max_discard_seg = config->max_write_zeroes_seg = BLK_RANGES_MAX;
    config->discard_sector_alignment = 1 << BLOCK_EXP;
    config->write_zeroes_may_unmap = 1;
}

static void on_config_read(void *arg, size_t offset, void *buf, size_t bytes)
{
    struct config config;

    fill_config(arg, &config);
    memcpy(buf, (const uint8_t *)&config + offset, bytes);
}

/* Only the cache mode can be written. */
static void on_config_write(void *arg, size_t offset, const void *buf, size_t bytes)
{
    struct blk *blk = arg;
    size_t at = offsetof(struct config, writeback);

    if (virtio_has(blk->dev, BLK_F_CONFIG_WCE) && offset <= at && at - offset < bytes)
        blk->writeback = ((const uint8_t *)buf)[at - offset] ? 1 : 0;
}

static void on_service(void *arg, unsigned index)
{
    (void)index;
    work(arg);
}

static void on_poll(void *arg)
{
    work(arg);
}

static void on_reset(void *arg)
{
    struct blk *blk = arg;

    forget_all(blk);
    blk->writeback = 1;
}

static void on_destroy(void *arg)
{
    struct blk *blk = arg;

    forget_all(blk);
    blk_bounce_fini(&blk->bounce);
    disk_close(blk->config.disk);
    free(blk);
}

const struct virtio_ops blk_ops = {
    .name = "virtio-blk",
    .id = 2,
    .class_code = CLASS_SCSI_STORAGE,
    .queues = 1,
    .queue_size = BLK_QUEUE_SIZE,
    .config_bytes = sizeof(struct config),
    .features = on_features,
    .features_ok = on_features_ok,
    .config_read = on_config_read,
    .config_write = on_config_write,
    .service = on_service,
    .poll = on_poll,
    .reset = on_reset,
    .destroy = on_destroy,
};

enum err blk_create(struct blk **out, const struct blk_config *config)
{
    struct blk *blk = calloc(1, sizeof(*blk));
    enum err err;

    invariant(config->number < MEM_DISKS_MAX);
    if (!blk)
        return err_new(ERR_NOMEM, "no memory for a disk");
    err = blk_bounce_init(&blk->bounce);
    if (err) {
        free(blk);
        return err;
    }
    blk->config = *config;
    blk->writeback = 1;
    *out = blk;
    return ERR_OK;
}

void blk_attach(struct blk *blk, struct virtio_device *dev)
{
    blk->dev = dev;
}

const struct blk_stats *blk_stats(const struct blk *blk)
{
    return &blk->stats;
}
