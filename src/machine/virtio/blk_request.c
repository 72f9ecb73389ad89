/* SPDX-License-Identifier: Apache-2.0 */
/* From the header to the status (VIRTIO 1.2 5.2.6). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/invariant.h"
#include "machine/virtio/blk_private.h"

#define ID_BYTES     20
#define STATUS_BYTES 1

struct header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
};
_Static_assert(sizeof(struct header) == 16, "the layout of the specification");

struct segment {
    uint64_t sector;
    uint32_t sectors;
    uint32_t flags;
};
_Static_assert(sizeof(struct segment) == 16, "the layout of the specification");

#define FLAG_UNMAP UINT32_C(1)

/* ---- what it asks for ---- */

static enum blk_phase fail(struct blk_request *r, uint8_t status)
{
    r->status = status;
    return BLK_DONE;
}

/* Adds a range if it lies inside the disk. */
static bool add_range(struct blk_request *r, uint64_t sector, uint64_t sectors, bool unmap)
{
    uint64_t capacity = disk_bytes(r->blk->config.disk) / DISK_SECTOR;

    if (sector > capacity || sectors > capacity - sector)
        return false;
    if (sectors)
        r->ranges[r->range_count++] =
            (struct blk_range){sector * DISK_SECTOR, sectors * DISK_SECTOR, unmap};
    return true;
}

static enum blk_phase start_transfer(struct blk_request *r, uint64_t sector, uint64_t bytes)
{
    if (r->type == BLK_T_OUT && disk_is_read_only(r->blk->config.disk))
        return fail(r, BLK_S_IOERR);
    if (bytes % DISK_SECTOR || !add_range(r, sector, bytes / DISK_SECTOR, false))
        return fail(r, BLK_S_IOERR);
    r->data_bytes = bytes;
    return BLK_BEGIN;
}

/* Every segment is looked at before the first is done. */
static enum blk_phase start_ranges(struct blk_request *r, uint64_t bytes)
{
    struct blk *blk = r->blk;
    struct segment segments[BLK_RANGES_MAX];
    uint32_t known = r->type == BLK_T_WRITE_ZEROES ? FLAG_UNMAP : 0;
    uint64_t feature = r->type == BLK_T_DISCARD ? BLK_F_DISCARD : BLK_F_WRITE_ZEROES;
    size_t count;

    if (disk_is_read_only(blk->config.disk))
        return fail(r, BLK_S_IOERR);
    if (!virtio_has(blk->dev, feature)) {
        blk->stats.unsupported++;
        return fail(r, BLK_S_UNSUPP);
    }
    if (!bytes || bytes % sizeof(segments[0]) || bytes > sizeof(segments))
        return fail(r, BLK_S_IOERR);
    if (!virtq_read(&blk->dev->queue[0], &r->chain, sizeof(struct header), segments, bytes))
        return BLK_START;
    count = bytes / sizeof(segments[0]);
    for (size_t i = 0; i < count; i++) {
        if (segments[i].flags & ~known) {
            blk->stats.unsupported++;
            return fail(r, BLK_S_UNSUPP);
        }
    }
    for (size_t i = 0; i < count; i++) {
        bool unmap = segments[i].flags & FLAG_UNMAP;

        if (segments[i].sectors > BLK_RANGE_SECTORS_MAX ||
            !add_range(r, segments[i].sector, segments[i].sectors, unmap))
            return fail(r, BLK_S_IOERR);
    }
    return BLK_BEGIN;
}

static enum blk_phase get_id(struct blk_request *r)
{
    struct blk *blk = r->blk;
    char id[ID_BYTES + 1] = "";
    uint64_t room = r->chain.writable_bytes - STATUS_BYTES;

    snprintf(id, sizeof(id), "umbra-disk%u", blk->config.number);
    r->data_done = room < ID_BYTES ? room : ID_BYTES;
    return virtq_write(&blk->dev->queue[0], &r->chain, 0, id, r->data_done) ? BLK_DONE : BLK_START;
}

/*
 * Reads the header. START: guest memory cannot be brought in now. FREE: the chain has no place for
 * header and status, so that the queue is broken.
 */
static enum blk_phase start(struct blk_request *r)
{
    struct virtq *q = &r->blk->dev->queue[0];
    struct header header;

    if (r->chain.readable_bytes < sizeof(header)) {
        virtq_break(q, "a block request without a whole header");
        return BLK_FREE;
    }
    if (r->chain.writable_bytes < STATUS_BYTES) {
        virtq_break(q, "a block request without a status byte");
        return BLK_FREE;
    }
    if (!virtq_read(q, &r->chain, 0, &header, sizeof(header)))
        return BLK_START;
    r->type = header.type;
    r->status = BLK_S_OK;
    r->range = r->range_count = 0;
    r->data_bytes = r->data_done = 0;
    r->needs_sync = false;
    switch (header.type) {
    case BLK_T_IN:
        return start_transfer(r, header.sector, r->chain.writable_bytes - STATUS_BYTES);
    case BLK_T_OUT:
        return start_transfer(r, header.sector, r->chain.readable_bytes - sizeof(header));
    case BLK_T_DISCARD:
    case BLK_T_WRITE_ZEROES:
        return start_ranges(r, r->chain.readable_bytes - sizeof(header));
    case BLK_T_FLUSH:
        r->needs_sync = true;
        return BLK_BEGIN;
    case BLK_T_GET_ID:
        return get_id(r);
    default:
        r->blk->stats.unsupported++;
        return fail(r, BLK_S_UNSUPP);
    }
}

/* ---- its end ---- */

static const char *word_of(uint32_t type)
{
    switch (type) {
    case BLK_T_IN:
        return "read";
    case BLK_T_OUT:
        return "write";
    case BLK_T_DISCARD:
        return "discard";
    case BLK_T_WRITE_ZEROES:
        return "write-zeroes";
    default:
        return "flush";
    }
}

static void log_failure(struct blk_request *r, const char *text)
{
    log_limited(&r->blk->log, LOG_ERROR, "disk", "file=%s op=%s error=\"%s\"",
                disk_path(r->blk->config.disk), word_of(r->type), text);
}

static void count(struct blk_request *r)
{
    struct blk_stats *stats = &r->blk->stats;

    if (r->status != BLK_S_OK) {
        stats->errors += r->status == BLK_S_IOERR;
        return;
    }
    switch (r->type) {
    case BLK_T_IN:
        stats->reads++;
        stats->read_bytes += r->data_bytes;
        break;
    case BLK_T_OUT:
        stats->writes++;
        stats->write_bytes += r->data_bytes;
        break;
    case BLK_T_FLUSH:
        stats->flushes++;
        break;
    case BLK_T_DISCARD:
        stats->discards++;
        break;
    case BLK_T_WRITE_ZEROES:
        stats->zeroes++;
        break;
    default:
        break;
    }
}

/*
 * Told as written: what lies before the status only if all of it was, because the length counts
 * from the beginning (VIRTIO 1.2 2.7.8.2).
 */
static bool finish(struct blk_request *r)
{
    struct virtq *q = &r->blk->dev->queue[0];
    uint64_t status_at = r->chain.writable_bytes - STATUS_BYTES;
    uint64_t data = r->type == BLK_T_IN || r->type == BLK_T_GET_ID ? r->data_done : 0;

    if (!virtq_write(q, &r->chain, status_at, &r->status, STATUS_BYTES))
        return false;
    count(r);
    (void)virtq_push(q, r->chain.head, (uint32_t)(data == status_at ? data + STATUS_BYTES : data));
    return true;
}

/* Writes are stable when they are told, unless the driver said that it flushes (5.2.6.2). */
static bool is_write_through(const struct blk *blk)
{
    return !blk->writeback;
}

static bool is_write(const struct blk_request *r)
{
    return r->type == BLK_T_OUT || r->type == BLK_T_WRITE_ZEROES;
}

static enum blk_begun begin(struct blk_request *r)
{
    if (r->range < r->range_count) {
        enum blk_begun begun = blk_piece_begin(r);

        if (begun == BLK_BEGUN && is_write(r) && is_write_through(r->blk))
            r->needs_sync = true;
        if (begun == BLK_REFUSED) {
            log_failure(r, err_text());
            r->phase = fail(r, BLK_S_IOERR);
        }
        return begun;
    }
    if (r->needs_sync) {
        r->needs_sync = false;
        blk_sync_begin(r);
    } else {
        r->phase = BLK_DONE;
    }
    return BLK_BEGUN;
}

static bool land(struct blk_request *r)
{
    if (!blk_piece_land(r))
        return false;
    r->phase = BLK_BEGIN;
    if (r->result) {
        log_failure(r, strerror(-r->result));
        r->phase = fail(r, BLK_S_IOERR);
    }
    return true;
}

enum blk_advanced blk_request_advance(struct blk_request *r)
{
    for (;;) {
        switch (r->phase) {
        case BLK_START:
            r->phase = start(r);
            if (r->phase == BLK_START)
                return BLK_WAITS_MEMORY;
            break;
        case BLK_BEGIN:
            switch (begin(r)) {
            case BLK_NO_ROOM:
                return BLK_WAITS_ROOM;
            case BLK_STALLED:
                return BLK_WAITS_MEMORY;
            case BLK_BEGUN:
            case BLK_REFUSED:
                break;
            }
            break;
        case BLK_FLYING:
            return BLK_WAITS;
        case BLK_LANDED:
            if (!land(r))
                return BLK_WAITS_MEMORY;
            break;
        case BLK_DONE:
            if (!finish(r))
                return BLK_WAITS_MEMORY;
            r->phase = BLK_FREE;
            break;
        case BLK_FREE:
            return BLK_ENDED;
        }
    }
}
