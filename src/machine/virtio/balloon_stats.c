/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's own figures. The driver leaves a buffer with us; giving it back asks for new figures
 * (VIRTIO 1.2 5.5.6.3):
 *
 *   driver: buffer with figures --> held --ask--> pushed --> driver: next buffer --> held
 *
 * They are hints: whatever a guest says here changes only what is asked of it.
 */
#include <assert.h>
#include <string.h>

#include "machine/virtio/balloon_private.h"

#define STATS 10
/* Entries that are looked at: a driver sends one for each tag it knows. */
#define ENTRIES_MAX 256

struct entry {
    uint16_t tag;
    uint64_t value;
} __attribute__((packed));

static_assert(sizeof(struct entry) == 10, "VIRTIO 1.2 5.5.6.3");

static void forget_values(struct balloon *b)
{
    for (unsigned i = 0; i < STATS; i++)
        b->stats.value[i] = UINT64_MAX;
}

/* Unknown tags are skipped, of a tag told twice the last counts, half an entry is none. */
static bool take_figures(struct balloon *b, const struct virtq_chain *chain)
{
    uint64_t count = chain->readable_bytes / sizeof(struct entry);
    struct entry entries[ENTRIES_MAX];

    count = count < ENTRIES_MAX ? count : ENTRIES_MAX;
    if (!virtq_read(&b->dev->queue[BALLOON_STATS], chain, 0, entries, count * sizeof(entries[0])))
        return false;
    forget_values(b);
    for (uint64_t i = 0; i < count; i++) {
        if (entries[i].tag < STATS)
            b->stats.value[entries[i].tag] = entries[i].value;
    }
    if (count) {
        b->stats.updates++;
        b->stats.updated_ns = host_ns();
    }
    return true;
}

/* Gives the buffer back: the driver answers with a new one. */
static void ask(struct balloon *b)
{
    b->stats_held = b->stats_wanted = false;
    (void)virtq_push(&b->dev->queue[BALLOON_STATS], b->work[BALLOON_STATS].chain.head, 0);
}

void balloon_serve_stats(struct balloon *b)
{
    struct virtq *q = &b->dev->queue[BALLOON_STATS];
    struct virtq_chain *chain = &b->work[BALLOON_STATS].chain;
    struct virtq_chain *held = chain;
    struct virtq_chain next;

    while (virtq_pop(q, &next) == VIRTQ_CHAIN) {
        if (!take_figures(b, &next)) {
            virtq_unpop(q, &next);
            break;
        }
        /* one at a time is the driver's duty; of more, the newest is held */
        if (b->stats_held)
            (void)virtq_push(q, held->head, 0);
        held->head = next.head;
        b->stats_held = true;
    }
    balloon_poll_stats(b);
    virtio_queue_done(b->dev, BALLOON_STATS);
}

void balloon_poll_stats(struct balloon *b)
{
    if (!b->stats_wanted || !b->stats_held)
        return;
    ask(b);
    virtio_queue_done(b->dev, BALLOON_STATS);
}

void balloon_ask_stats(struct balloon *balloon)
{
    if (!virtio_is_live(balloon->dev) || !virtio_has(balloon->dev, BALLOON_F_STATS_VQ))
        return;
    balloon->stats_wanted = true;
    virtio_ask_service(balloon->dev);
}

void balloon_stats_reset(struct balloon *b)
{
    b->stats_held = b->stats_wanted = false;
    b->stats = (struct balloon_guest_stats){0};
    forget_values(b);
}
