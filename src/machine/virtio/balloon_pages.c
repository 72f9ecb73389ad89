/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The balloon's queues of pages: inflate and deflate carry arrays of 32-bit frame numbers in their
 * readable part; reports and hints are themselves the pages, as writable buffers.
 *
 *   pop --> a share of the chain's pages --> more? ask for service again : push
 *
 * A chain may name any number of pages, any number of times: a service does BUDGET of them and goes
 * on at the next, so that a guest slows down nobody but itself. Pages are given to mem before the
 * chain is pushed: until then the device may change what they hold (VIRTIO 1.2 5.5.6.2, 5.5.6.7.2).
 */
#include <string.h>

#include "machine/virtio/balloon_private.h"
#include "mem/balloon.h"

#define BUDGET    8192
#define PFN_BYTES 4
#define PFN_BATCH 1024

enum outcome {
    ALL_DONE,
    BUDGET_SPENT,
    HOST_FAILED, /* what the chain holds cannot be read now: at a later service */
    QUEUE_BROKE
};

/* ---- arrays of frame numbers ---- */

static enum outcome serve_pfns(struct balloon *b, enum balloon_queue index, struct balloon_work *w,
                               uint64_t *budget)
{
    struct virtq *q = &b->dev->queue[index];
    uint64_t total = w->chain.readable_bytes / PFN_BYTES;
    uint32_t pfns[PFN_BATCH];
    gfn_t gfns[PFN_BATCH];

    while (w->done < total) {
        uint64_t n = total - w->done;

        if (!*budget)
            return BUDGET_SPENT;
        n = n < PFN_BATCH ? n : PFN_BATCH;
        n = n < *budget ? n : *budget;
        if (!virtq_read(q, &w->chain, w->done * PFN_BYTES, pfns, n * PFN_BYTES))
            return HOST_FAILED;
        for (uint64_t i = 0; i < n; i++)
            gfns[i] = gfn_make(pfns[i]);
        if (index == BALLOON_INFLATE)
            b->held_pages += mem_balloon_inflate_many(b->config.mem, gfns, n);
        else
            mem_balloon_deflate_many(b->config.mem, gfns, n);
        b->moved_ns = host_ns();
        w->done += n;
        *budget -= n;
    }
    return ALL_DONE;
}

/* ---- buffers that are pages ---- */

/*
 * 5.5.6.5.2: a hinted page may be changed only if the guest has not written to it since, and the
 * guest may use it again before we come to look. Making zeros of zeros changes nothing, whenever
 * they were written; so only pages of zeros go, which all are where the guest's kernel clears what
 * it hands out (init_on_alloc).
 */
static bool is_zero(struct guest_mem *mem, gfn_t gfn)
{
    bool writable;
    hva_t hva;

    return mem_peek(mem, gfn, MEM_FOR_READ, &hva, &writable) == MEM_OK &&
           !memcmp(hva_ptr(hva), hva_ptr(mem_zero_page(mem)), PAGE_SIZE);
}

static void take_hints(struct balloon *b, gfn_t first, uint64_t pages)
{
    uint64_t run = 0;

    for (uint64_t i = 0; i <= pages; i++) {
        if (i < pages && is_zero(b->config.mem, gfn_make(first.v + i))) {
            run++;
        } else if (run) {
            mem_report_free(b->config.mem, gfn_make(first.v + i - run), run, MEM_FREE_HINTED);
            run = 0;
        }
    }
}

/* Whole pages inside the chain's writable buffers. */
static enum outcome serve_ranges(struct balloon *b, enum balloon_queue index,
                                 struct balloon_work *w, uint64_t *budget)
{
    for (; w->buffer < w->chain.count; w->buffer++, w->done = 0) {
        const struct virtq_buffer *buffer = &w->chain.buffers[w->buffer];
        uint64_t first = (buffer->gpa.v + PAGE_SIZE - 1) >> PAGE_SHIFT;
        uint64_t end = (buffer->gpa.v + buffer->bytes) >> PAGE_SHIFT;

        while (first + w->done < end) {
            gfn_t gfn = gfn_make(first + w->done);
            uint64_t n = end - gfn.v;

            if (!*budget)
                return BUDGET_SPENT;
            n = n < *budget ? n : *budget;
            if (index == BALLOON_REPORT)
                mem_report_free(b->config.mem, gfn, n, MEM_FREE_REPORTED);
            else
                take_hints(b, gfn, n);
            w->done += n;
            *budget -= n;
        }
    }
    return ALL_DONE;
}

/*
 * 5.5.6.7.2: with PAGE_POISON a reported page keeps poison_val; given back it would read as zeros.
 * Pages of another value stay, and are all alike: sharing and compression make little of them.
 */
static enum outcome serve_report(struct balloon *b, struct balloon_work *w, uint64_t *budget)
{
    if (b->poison_val)
        return ALL_DONE;
    return serve_ranges(b, BALLOON_REPORT, w, budget);
}

/* The driver begins or ends a round of hints; ids of former rounds mean nothing (B4). */
static void take_command(struct balloon *b, uint32_t id)
{
    if (id == BALLOON_CMD_STOP) {
        if (!b->hint_started)
            return;
        /* all that was hinted has been looked at: the guest may have it again (5.5.6.5.2) */
        b->hint_started = false;
        b->reg.hint_cmd_id = BALLOON_CMD_DONE;
        virtio_config_changed(b->dev);
    } else {
        b->hint_started = id == b->reg.hint_cmd_id && id > BALLOON_CMD_DONE;
    }
}

static enum outcome serve_hint(struct balloon *b, struct balloon_work *w, uint64_t *budget)
{
    struct virtq *q = &b->dev->queue[BALLOON_HINT];
    uint32_t id;

    if (w->chain.readable_bytes && w->buffer < w->chain.readable) {
        if (w->chain.readable_bytes != sizeof(id)) {
            virtq_break(q, "a command of free page hinting is not of 4 bytes");
            return QUEUE_BROKE;
        }
        if (!virtq_read(q, &w->chain, 0, &id, sizeof(id)))
            return HOST_FAILED;
        w->buffer = w->chain.readable;
        take_command(b, id);
    }
    return b->hint_started ? serve_ranges(b, BALLOON_HINT, w, budget) : ALL_DONE;
}

/* ---- any of them ---- */

static enum outcome serve_chain(struct balloon *b, enum balloon_queue index, uint64_t *budget)
{
    struct balloon_work *w = &b->work[index];

    switch (index) {
    case BALLOON_HINT:
        return serve_hint(b, w, budget);
    case BALLOON_REPORT:
        return serve_report(b, w, budget);
    default:
        return serve_pfns(b, index, w, budget);
    }
}

static bool next_chain(struct balloon *b, enum balloon_queue index)
{
    struct balloon_work *w = &b->work[index];

    if (w->busy)
        return true;
    w->done = 0;
    w->busy = virtq_pop(&b->dev->queue[index], &w->chain) == VIRTQ_CHAIN;
    w->buffer = index == BALLOON_REPORT && w->busy ? w->chain.readable : 0;
    return w->busy;
}

void balloon_serve_pages(struct balloon *b, enum balloon_queue index)
{
    struct balloon_work *w = &b->work[index];
    uint64_t budget = BUDGET;
    enum outcome outcome = ALL_DONE;

    while (outcome == ALL_DONE && next_chain(b, index)) {
        outcome = serve_chain(b, index, &budget);
        if (outcome == ALL_DONE || outcome == QUEUE_BROKE)
            w->busy = false;
        if (outcome == ALL_DONE)
            (void)virtq_push(&b->dev->queue[index], w->chain.head, 0);
    }
    virtio_queue_done(b->dev, index);
    if (w->busy)
        virtio_ask_service(b->dev);
}

void balloon_pages_reset(struct balloon *b)
{
    for (unsigned i = 0; i < BALLOON_QUEUES; i++)
        b->work[i].busy = false;
    b->hint_started = false;
}
