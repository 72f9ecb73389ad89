/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One transfer. What a piece is of:
 *
 *   IN, OUT        up to 1 MiB of the chain's data, ending at a 4 KiB block of the image if it is
 *                  not the last, through a bounce buffer
 *   DISCARD        a hole
 *   WRITE_ZEROES   a hole if the guest allows it, zeros by the file system, or zeros written
 *
 * Whole pages of the guest that lie on whole blocks are told to mem/image.h.
 */
#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/invariant.h"
#include "machine/virtio/blk_private.h"

/* Readable data begins behind the header: type, reserved, sector. */
#define HEADER_BYTES 16

static bool is_change(const struct blk_request *r)
{
    return r->type == BLK_T_OUT || r->type == BLK_T_DISCARD || r->type == BLK_T_WRITE_ZEROES;
}

static uint64_t block_of(uint64_t at)
{
    return at / PAGE_SIZE;
}

/* Blocks that the piece touches: first .. end-1. */
static uint64_t end_block(const struct blk_request *r)
{
    return block_of(r->at + r->bytes + PAGE_SIZE - 1);
}

/* ---- guest memory ---- */

/* A part of the piece that lies in one buffer of the guest; buf: its place in the bounce buffer. */
struct part {
    gpa_t gpa;
    uint8_t *buf;
    uint64_t at, bytes;
};

typedef bool part_fn(struct blk_request *r, const struct part *part);

/* In the order of the chain, which is the order in which overlapping buffers win. */
static bool each_part(struct blk_request *r, part_fn *fn)
{
    const struct virtq_chain *chain = &r->chain;
    unsigned i = r->type == BLK_T_OUT ? 0 : chain->readable;
    unsigned end = r->type == BLK_T_OUT ? chain->readable : chain->count;
    uint64_t skip = r->data_done + (r->type == BLK_T_OUT ? HEADER_BYTES : 0);
    uint64_t done = 0;

    for (; i < end && done < r->bytes; i++) {
        const struct virtq_buffer *b = &chain->buffers[i];
        struct part part = {.buf = r->bounce + done, .at = r->at + done};

        if (skip >= b->bytes) {
            skip -= b->bytes;
            continue;
        }
        part.gpa = gpa_add(b->gpa, skip);
        part.bytes = b->bytes - skip;
        if (part.bytes > r->bytes - done)
            part.bytes = r->bytes - done;
        if (!fn(r, &part))
            return false;
        skip = 0;
        done += part.bytes;
    }
    invariant(done == r->bytes);
    return true;
}

/* Whole pages on whole blocks: how many, and where in the part the first begins. */
static uint64_t whole_pages(const struct part *part, uint64_t *skip)
{
    *skip = -part->gpa.v & (PAGE_SIZE - 1);
    if ((part->gpa.v ^ part->at) & (PAGE_SIZE - 1) || part->bytes < *skip)
        return 0;
    return (part->bytes - *skip) / PAGE_SIZE;
}

static bool copy_out(struct blk_request *r, const struct part *part)
{
    return mem_read_for_device(r->blk->config.mem, part->gpa, part->buf, part->bytes);
}

static bool take_tickets(struct blk_request *r, const struct part *part)
{
    const struct blk_config *config = &r->blk->config;
    uint64_t skip, pages = whole_pages(part, &skip);

    for (uint64_t i = 0; i < pages; i++) {
        gfn_t gfn = gpa_gfn(gpa_add(part->gpa, skip + i * PAGE_SIZE));
        uint64_t block = block_of(part->at + skip) + i;

        r->tickets[r->ticket_count++] = (struct blk_ticket){
            gfn, mem_image_write_begins(config->mem, gfn, config->number, block)};
    }
    return true;
}

static bool copy_in(struct blk_request *r, const struct part *part)
{
    const struct blk_config *config = &r->blk->config;
    uint64_t skip, pages = whole_pages(part, &skip);

    if (!mem_write(config->mem, part->gpa, part->buf, part->bytes))
        return false;
    /* at once, because a later buffer of the chain may lie in the same page */
    for (uint64_t i = 0; r->sole && i < pages; i++)
        mem_image_is_equal(config->mem, gpa_gfn(gpa_add(part->gpa, skip + i * PAGE_SIZE)),
                           config->number, block_of(part->at + skip) + i);
    return true;
}

/* ---- begin ---- */

static bool overlap(const struct blk_request *a, const struct blk_request *b)
{
    return block_of(a->at) < end_block(b) && block_of(b->at) < end_block(a);
}

static bool has_piece(const struct blk_request *r)
{
    return (r->phase == BLK_FLYING || r->phase == BLK_LANDED) && r->bytes;
}

/* B2. Flushes and requests between two pieces have none in flight. */
static void mark_overlaps(struct blk_request *r)
{
    r->sole = true;
    for (struct blk_request *o = r->blk->first; o; o = o->next) {
        if (o == r || !has_piece(o) || !overlap(o, r))
            continue;
        if (is_change(o))
            r->sole = false;
        if (is_change(r))
            o->sole = false;
    }
}

static void landed(struct aio_request *aio, int result)
{
    struct blk_request *r = aio->arg;

    r->result = result;
    r->phase = BLK_LANDED;
    virtio_ask_service(r->blk->dev);
}

static void submit(struct blk_request *r, enum aio_op op)
{
    struct disk *disk = r->blk->config.disk;

    r->iov = (struct iovec){.iov_base = r->bounce, .iov_len = r->bytes};
    r->aio = (struct aio_request){
        .op = op,
        .fd = disk_file(disk, r->bounce, r->at, r->bytes),
        .iov = &r->iov,
        .iov_count = 1,
        .offset = r->at,
        .bytes = r->bytes,
        .done = landed,
        .arg = r,
    };
    r->phase = BLK_FLYING;
    aio_submit(disk_aio(disk), &r->aio);
}

static enum aio_op op_of(const struct blk_request *r)
{
    unsigned unable = r->blk->unable_ops;

    switch (r->type) {
    case BLK_T_IN:
        return AIO_READ;
    case BLK_T_OUT:
        return AIO_WRITE;
    case BLK_T_DISCARD:
        return AIO_PUNCH;
    default:
        if (r->ranges[r->range].unmap && !(unable & 1U << AIO_PUNCH))
            return AIO_PUNCH;
        return unable & 1U << AIO_ZERO ? AIO_WRITE : AIO_ZERO;
    }
}

/* Sets the piece's place and takes its buffer. */
static bool choose_piece(struct blk_request *r, enum aio_op op)
{
    const struct blk_range *range = &r->ranges[r->range];
    uint64_t most = BLK_RANGE_BYTES;
    unsigned pages;

    r->at = range->at;
    r->bounce = NULL;
    if (op == AIO_READ || op == AIO_WRITE) {
        most =
            range->bytes < BLK_PIECE_PAGES * PAGE_SIZE ? range->bytes : BLK_PIECE_PAGES * PAGE_SIZE;
        pages = (unsigned)((most + PAGE_SIZE - 1) / PAGE_SIZE);
        r->bounce = blk_bounce_take(&r->blk->bounce, &pages);
        if (!r->bounce)
            return false;
        most = pages * PAGE_SIZE;
    }
    r->bytes = range->bytes;
    if (r->bytes > most)
        r->bytes = most - range->at % PAGE_SIZE;
    return true;
}

static void give_buffer(struct blk_request *r)
{
    if (r->bounce)
        blk_bounce_give(&r->blk->bounce, r->bounce, r->bytes);
    r->bounce = NULL;
    r->bytes = 0;
}

/* B1, for a piece that changes the image. */
static bool may_change(struct blk_request *r)
{
    const struct blk_config *config = &r->blk->config;
    uint64_t first = block_of(r->at);

    return disk_is_whole(config->disk) &&
           mem_image_overwritten(config->mem, config->number, first, end_block(r) - first);
}

enum blk_begun blk_piece_begin(struct blk_request *r)
{
    enum aio_op op = op_of(r);

    if (!choose_piece(r, op))
        return BLK_NO_ROOM;
    if (r->type == BLK_T_OUT) {
        if (!each_part(r, copy_out)) {
            give_buffer(r);
            return BLK_STALLED;
        }
    } else if (op == AIO_WRITE) {
        memset(r->bounce, 0, r->bytes);
    }
    if (is_change(r) && !may_change(r)) {
        give_buffer(r);
        return BLK_REFUSED;
    }
    mark_overlaps(r);
    r->ticket_count = 0;
    if (r->type == BLK_T_OUT && r->sole)
        (void)each_part(r, take_tickets);
    submit(r, op);
    return BLK_BEGUN;
}

void blk_sync_begin(struct blk_request *r)
{
    r->at = r->bytes = 0;
    r->bounce = NULL;
    r->ticket_count = 0;
    submit(r, AIO_SYNC);
}

/* ---- end ---- */

static void return_tickets(struct blk_request *r)
{
    for (unsigned i = 0; i < r->ticket_count; i++)
        mem_image_write_done(r->blk->config.mem, r->tickets[i].gfn, r->tickets[i].ticket,
                             r->result == 0);
    r->ticket_count = 0;
}

/*
 * The file system or device cannot do it, or not at this alignment: WRITE_ZEROES goes on by the
 * next means, DISCARD is but a hint.
 */
static bool is_unsupported(const struct blk_request *r)
{
    return r->result == -EOPNOTSUPP || r->result == -ENOSYS || r->result == -EINVAL;
}

bool blk_piece_land(struct blk_request *r)
{
    struct blk_range *range = &r->ranges[r->range];

    if (r->aio.op == AIO_SYNC)
        return true;
    if (r->aio.op == AIO_READ && !r->result && !each_part(r, copy_in))
        return false;
    if ((r->aio.op == AIO_PUNCH || r->aio.op == AIO_ZERO) && is_unsupported(r)) {
        r->result = 0;
        if (r->type == BLK_T_WRITE_ZEROES) {
            r->blk->unable_ops |= 1U << r->aio.op;
            r->bytes = 0; /* begins again */
        }
    }
    if (!r->result) {
        range->at += r->bytes;
        range->bytes -= r->bytes;
        r->data_done += r->bytes;
        if (!range->bytes)
            r->range++;
    }
    blk_piece_forget(r);
    return true;
}

void blk_piece_forget(struct blk_request *r)
{
    return_tickets(r);
    give_buffer(r);
}
