/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device's insides: blk.c (the device and its queue), blk_request.c (what a request asks
 * for, and its end), blk_piece.c (one transfer between guest memory and image), blk_bounce.c.
 *
 *   START --header--> BEGIN --piece submitted--> FLYING --aio--> LANDED --copied in--> BEGIN
 *                       \-- nothing left, or failed --> DONE --status, push--> free
 *
 * Only FLYING waits for the host's disk. In every other phase a request can meet a host that cannot
 * bring in a page now, or wait for a bounce buffer: it stays there and is tried again.
 *
 * Invariants
 *   B1  the image is changed only after mem_image_overwritten agreed, for every block it touches
 *   B2  a page is said to equal a block only if, from the submission of its transfer to the moment
 *       it is said, no other transfer that changes the block was in flight
 *   B3  memory that the host's kernel reads or writes is a bounce buffer, never the guest's
 */
#ifndef UMBRA_MACHINE_VIRTIO_BLK_PRIVATE_H
#define UMBRA_MACHINE_VIRTIO_BLK_PRIVATE_H

#include "base/log.h"
#include "machine/virtio/blk.h"
#include "mem/image.h"

#define BLK_QUEUE_SIZE   256
#define BLK_REQUESTS_MAX 64
#define BLK_RANGES_MAX   16

#define BLK_BOUNCE_PAGES 1024 /* all requests of a disk together: 4 MiB */
#define BLK_PIECE_PAGES  256
#define BLK_RANGE_BYTES  (UINT64_C(256) << 20) /* discarded or zeroed at a time */
/* the most that a segment of DISCARD or WRITE_ZEROES may ask for: 1 GiB */
#define BLK_RANGE_SECTORS_MAX (UINT32_C(1) << 21)

/* Request types (VIRTIO 1.2 5.2.6). */
#define BLK_T_IN           0
#define BLK_T_OUT          1
#define BLK_T_FLUSH        4
#define BLK_T_GET_ID       8
#define BLK_T_DISCARD      11
#define BLK_T_WRITE_ZEROES 13

#define BLK_S_OK     0
#define BLK_S_IOERR  1
#define BLK_S_UNSUPP 2

/* Feature bits (VIRTIO 1.2 5.2.3). */
#define BLK_F_SEG_MAX      (UINT64_C(1) << 2)
#define BLK_F_RO           (UINT64_C(1) << 5)
#define BLK_F_BLK_SIZE     (UINT64_C(1) << 6)
#define BLK_F_FLUSH        (UINT64_C(1) << 9)
#define BLK_F_TOPOLOGY     (UINT64_C(1) << 10)
#define BLK_F_CONFIG_WCE   (UINT64_C(1) << 11)
#define BLK_F_DISCARD      (UINT64_C(1) << 13)
#define BLK_F_WRITE_ZEROES (UINT64_C(1) << 14)

enum blk_phase { BLK_FREE, BLK_START, BLK_BEGIN, BLK_FLYING, BLK_LANDED, BLK_DONE };

/* A part of the image still to be transferred; bytes, multiples of a sector. */
struct blk_range {
    uint64_t at, bytes;
    bool unmap;
};

/* A whole page that was copied out to be written to a block. */
struct blk_ticket {
    gfn_t gfn;
    uint64_t ticket;
};

/*
 * what is left:  ranges[range ..], beginning with ranges[range].at; data_done bytes of the chain's
 *                data have been transferred
 * the piece:     at, bytes of the image; bounce: its buffer, NULL: none
 * sole:          B2 holds for the piece so far
 * needs_sync:    the write is to be stable before it is told
 */
struct blk_request {
    struct blk *blk;
    struct blk_request *next; /* in the order of arrival */
    enum blk_phase phase;
    uint32_t type;
    uint8_t status;
    bool needs_sync;
    uint64_t data_bytes, data_done;
    struct blk_range ranges[BLK_RANGES_MAX];
    unsigned range, range_count;

    struct aio_request aio;
    struct iovec iov;
    int result;
    uint64_t at, bytes;
    uint8_t *bounce;
    bool sole;
    unsigned ticket_count;
    struct blk_ticket tickets[BLK_PIECE_PAGES];

    struct virtq_chain chain;
};

struct blk_bounce {
    uint8_t *base;
    uint64_t taken[BLK_BOUNCE_PAGES / 64];
};

struct blk {
    struct blk_config config;
    struct virtio_device *dev;
    struct blk_stats stats;
    struct log_limit log;
    uint8_t writeback;
    unsigned unable_ops; /* bit by aio_op: the host cannot, WRITE_ZEROES takes the next means */
    struct blk_bounce bounce;
    struct blk_request *first, *last;
    struct blk_request requests[BLK_REQUESTS_MAX];
};

/* ---- blk_bounce.c ---- */

enum err blk_bounce_init(struct blk_bounce *b) MUST_USE;
void blk_bounce_fini(struct blk_bounce *b);
/*
 * Room for *pages neighbouring pages, or for fewer if that is all there is (*pages then says how
 * many, at least 16 of a larger wish). NULL: not now.
 */
uint8_t *blk_bounce_take(struct blk_bounce *b, unsigned *pages);
void blk_bounce_give(struct blk_bounce *b, const uint8_t *buf, uint64_t bytes);

/* ---- blk_piece.c ---- */

enum blk_begun {
    BLK_BEGUN,
    BLK_NO_ROOM, /* bounce buffers are all taken: when one is given back */
    BLK_STALLED, /* guest memory cannot be brought in now */
    BLK_REFUSED, /* the image must not or cannot be changed: err_text() */
};

/* Submits the next piece of what is left. */
enum blk_begun blk_piece_begin(struct blk_request *r);
void blk_sync_begin(struct blk_request *r);

/*
 * The piece has landed: data goes to the guest, pages and blocks are said to be equal, buffers are
 * given back, and what is left shrinks. False: guest memory cannot be brought in now; to be called
 * again. r->result is the piece's own.
 */
bool blk_piece_land(struct blk_request *r);
/* The same when the guest no longer wants it. */
void blk_piece_forget(struct blk_request *r);

/* ---- blk_request.c ---- */

enum blk_advanced {
    BLK_WAITS, /* for the disk */
    BLK_WAITS_ROOM,
    BLK_WAITS_MEMORY,
    BLK_ENDED, /* pushed: the request is free */
};

/* Goes on as far as it can now. */
enum blk_advanced blk_request_advance(struct blk_request *r);

#endif
