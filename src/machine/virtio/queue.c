/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   desc    size x { addr:64 len:32 flags:16 next:16 }
 *   avail   flags:16 idx:16 ring[size]:16 used_event:16        (driver to device)
 *   used    flags:16 idx:16 ring[size]{ id:32 len:32 } avail_event:16   (device to driver)
 *
 * Indices run freely modulo 2^16; the guest and the host are both little-endian.
 */
#include "machine/virtio/queue.h"

#include <string.h>

#include "base/invariant.h"

#define DESC_BYTES    16
#define DESC_NEXT     1
#define DESC_WRITE    2
#define DESC_INDIRECT 4

#define AVAIL_NO_INTERRUPT 1
#define AVAIL_IDX          2
#define AVAIL_RING         4
#define USED_RING          4
#define USED_ELEM_BYTES    8

/* VIRTIO 1.2 2.7.5: a chain is at most this long in bytes. */
#define CHAIN_BYTES_MAX (UINT64_C(1) << 32)

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};
_Static_assert(sizeof(struct desc) == DESC_BYTES, "the layout of the specification");

/* Where descriptors are read from: the queue's table, or an indirect one. */
struct table {
    gpa_t base;
    uint32_t entries;
    bool indirect;
};

void virtq_reset(struct virtq *q, struct guest_mem *mem, uint16_t size)
{
    invariant(size && size <= VIRTQ_SIZE_MAX && !(size & (size - 1)));
    *q = (struct virtq){.mem = mem, .size = size};
}

void virtq_break(struct virtq *q, const char *why)
{
    if (q->broken)
        return;
    q->broken = true;
    q->why_broken = why;
}

void virtq_enable(struct virtq *q)
{
    uint64_t avail_bytes = AVAIL_RING + UINT64_C(2) * q->size + 2;
    uint64_t used_bytes = USED_RING + (uint64_t)USED_ELEM_BYTES * q->size + 2;

    q->enabled = true;
    q->budget = q->size;
    if (q->desc.v % DESC_BYTES || q->avail.v % 2 || q->used.v % 4)
        virtq_break(q, "a ring is not aligned");
    else if (!mem_is_ram(q->mem, q->desc, (uint64_t)DESC_BYTES * q->size) ||
             !mem_is_ram(q->mem, q->avail, avail_bytes) || !mem_is_ram(q->mem, q->used, used_bytes))
        virtq_break(q, "a ring is not in memory");
}

/* The rings were RAM when the queue was enabled, so a failure here is the host's. */
static bool read16(struct virtq *q, gpa_t from, uint16_t *value)
{
    return mem_read(q->mem, from, value, sizeof(*value));
}

static bool is_in_flight(const struct virtq *q, uint16_t head)
{
    return q->in_flight[head / 64] >> head % 64 & 1;
}

static void set_in_flight(struct virtq *q, uint16_t head, bool value)
{
    uint64_t bit = UINT64_C(1) << head % 64;
    uint64_t *word = &q->in_flight[head / 64];

    *word = value ? *word | bit : *word & ~bit;
}

static enum virtq_pop broken(struct virtq *q, const char *why)
{
    virtq_break(q, why);
    return VIRTQ_BROKEN;
}

static enum virtq_pop stalled(struct virtq *q)
{
    q->again = true;
    return VIRTQ_STALLED;
}

/* ---- descriptors ---- */

static enum virtq_pop add_buffer(struct virtq *q, struct virtq_chain *chain,
                                 const struct desc *desc)
{
    bool writable = desc->flags & DESC_WRITE;

    if (!desc->len) /* describes nothing, which the specification does not forbid */
        return VIRTQ_CHAIN;
    if (!writable && chain->count > chain->readable)
        return broken(q, "a readable buffer after a writable one");
    if (chain->count == VIRTQ_CHAIN_MAX)
        return broken(q, "a chain of too many buffers");
    if (desc->addr + desc->len < desc->addr || !mem_is_ram(q->mem, gpa_make(desc->addr), desc->len))
        return broken(q, "a buffer is not in memory");
    chain->buffers[chain->count++] = (struct virtq_buffer){gpa_make(desc->addr), desc->len};
    if (writable) {
        chain->writable_bytes += desc->len;
    } else {
        chain->readable++;
        chain->readable_bytes += desc->len;
    }
    if (chain->readable_bytes + chain->writable_bytes > CHAIN_BYTES_MAX)
        return broken(q, "a chain of more than 4 GiB");
    return VIRTQ_CHAIN;
}

/* VIRTIO 1.2 2.7.5.3. The device ignores the writable bit of such a descriptor. */
static enum virtq_pop enter_indirect(struct virtq *q, const struct desc *desc, struct table *table)
{
    if (!q->indirect)
        return broken(q, "an indirect descriptor without the feature");
    if (table->indirect)
        return broken(q, "an indirect descriptor inside an indirect table");
    if (desc->flags & DESC_NEXT)
        return broken(q, "an indirect descriptor with a next one");
    if (!desc->len || desc->len % DESC_BYTES || desc->len > VIRTQ_CHAIN_MAX * DESC_BYTES)
        return broken(q, "an indirect table of a wrong size");
    if (desc->addr + desc->len < desc->addr || !mem_is_ram(q->mem, gpa_make(desc->addr), desc->len))
        return broken(q, "an indirect table is not in memory");
    *table = (struct table){gpa_make(desc->addr), desc->len / DESC_BYTES, .indirect = true};
    return VIRTQ_CHAIN;
}

/* Each descriptor is read once; a table of n entries is left after n steps at the latest. */
static enum virtq_pop walk(struct virtq *q, struct virtq_chain *chain)
{
    struct table table = {q->desc, q->size, .indirect = false};
    uint32_t index = chain->head;
    uint32_t steps = 0;

    for (;;) {
        enum virtq_pop got;
        struct desc desc;

        if (index >= table.entries)
            return broken(q, "a descriptor index out of range");
        if (steps++ == table.entries)
            return broken(q, "a chain that loops");
        if (!mem_read(q->mem, gpa_add(table.base, (uint64_t)DESC_BYTES * index), &desc,
                      sizeof(desc)))
            return stalled(q);
        if (desc.flags & DESC_INDIRECT) {
            got = enter_indirect(q, &desc, &table);
            if (got != VIRTQ_CHAIN)
                return got;
            index = steps = 0;
            continue;
        }
        got = add_buffer(q, chain, &desc);
        if (got != VIRTQ_CHAIN || !(desc.flags & DESC_NEXT))
            return got;
        index = desc.next;
    }
}

/* ---- avail ring ---- */

/* Asks the driver to notify when it makes the chain number `event` available (2.7.10.1). */
static bool ask_notification(struct virtq *q, uint16_t event)
{
    if (!q->event_idx || (q->told_event_valid && q->told_event == event))
        return true;
    if (!mem_write(q->mem, gpa_add(q->used, USED_RING + (uint64_t)USED_ELEM_BYTES * q->size),
                   &event, sizeof(event)))
        return false;
    q->told_event = event;
    q->told_event_valid = true;
    return true;
}

/* The driver's index, now known to the device. */
static bool look(struct virtq *q, uint16_t *idx)
{
    if (!read16(q, gpa_add(q->avail, AVAIL_IDX), idx))
        return false;
    q->seen_avail = *idx;
    return true;
}

/*
 * The driver may be between making a chain available and asking whether we want to know: it will
 * not notify of what it made before we asked. So that is as good as a notification.
 */
void virtq_arm(struct virtq *q)
{
    uint16_t idx, seen = q->seen_avail;

    if (!q->enabled || q->broken)
        return;
    if (!look(q, &idx) || !ask_notification(q, idx) || idx != seen)
        q->again = true;
}

/* The index is looked at again after asking, so that no notification is missed. */
static enum virtq_pop has_avail(struct virtq *q)
{
    uint16_t idx;

    if (!look(q, &idx))
        return stalled(q);
    if (idx == q->next_avail && (!ask_notification(q, idx) || !look(q, &idx)))
        return stalled(q);
    if (idx == q->next_avail)
        return VIRTQ_EMPTY;
    if ((uint16_t)(idx - q->next_avail) > q->size)
        return broken(q, "the available index jumped by more than the queue's size");
    return VIRTQ_CHAIN;
}

enum virtq_pop virtq_pop(struct virtq *q, struct virtq_chain *out)
{
    enum virtq_pop got;
    uint16_t slot = q->next_avail & (q->size - 1);

    if (q->broken)
        return VIRTQ_BROKEN;
    if (!q->enabled)
        return VIRTQ_EMPTY;
    got = has_avail(q);
    if (got != VIRTQ_CHAIN)
        return got;
    if (!q->budget) {
        q->again = true;
        return VIRTQ_EMPTY;
    }
    out->count = out->readable = 0;
    out->readable_bytes = out->writable_bytes = 0;
    if (!read16(q, gpa_add(q->avail, AVAIL_RING + UINT64_C(2) * slot), &out->head))
        return stalled(q);
    if (out->head >= q->size)
        return broken(q, "a head index out of range");
    if (is_in_flight(q, out->head))
        return broken(q, "a head that is in flight");
    got = walk(q, out);
    if (got != VIRTQ_CHAIN)
        return got;
    set_in_flight(q, out->head, true);
    q->next_avail++;
    q->budget--;
    return VIRTQ_CHAIN;
}

void virtq_unpop(struct virtq *q, const struct virtq_chain *chain)
{
    invariant(chain->head < q->size && is_in_flight(q, chain->head));
    set_in_flight(q, chain->head, false);
    q->next_avail--;
    q->again = true;
}

/* ---- used ring ---- */

/* The element first, then the index that makes it visible (VIRTIO 1.2 2.7.8.2). */
static bool tell_used(struct virtq *q, const struct virtq_done *done)
{
    uint32_t elem[2] = {done->head, done->written_bytes};
    uint64_t slot = q->next_used & (q->size - 1);
    uint16_t flags_idx[2] = {0, (uint16_t)(q->next_used + 1)};

    if (!mem_write(q->mem, gpa_add(q->used, USED_RING + USED_ELEM_BYTES * slot), elem,
                   sizeof(elem)) ||
        !mem_write(q->mem, q->used, flags_idx, sizeof(flags_idx)))
        return false;
    q->next_used++;
    set_in_flight(q, done->head, false);
    return true;
}

bool virtq_flush(struct virtq *q)
{
    unsigned told = 0;

    if (q->broken)
        q->done_count = 0;
    while (told < q->done_count && tell_used(q, &q->done[told]))
        told++;
    q->done_count = (uint16_t)(q->done_count - told);
    memmove(q->done, q->done + told, q->done_count * sizeof(q->done[0]));
    if (q->done_count)
        q->again = true;
    return !q->done_count;
}

bool virtq_push(struct virtq *q, uint16_t head, uint32_t written_bytes)
{
    if (q->broken)
        return false;
    invariant(head < q->size && is_in_flight(q, head) && q->done_count < VIRTQ_SIZE_MAX);
    q->done[q->done_count++] = (struct virtq_done){head, written_bytes};
    (void)virtq_flush(q); /* what is left goes with the next service */
    return true;
}

/* One interrupt too many never hurts, one too few does: a doubt is a yes. */
bool virtq_wants_interrupt(struct virtq *q)
{
    uint16_t before = q->signalled_used;
    uint16_t value;

    if (q->broken || before == q->next_used)
        return false;
    q->signalled_used = q->next_used;
    if (!q->event_idx)
        return !read16(q, q->avail, &value) || !(value & AVAIL_NO_INTERRUPT);
    if (!read16(q, gpa_add(q->avail, AVAIL_RING + UINT64_C(2) * q->size), &value))
        return true;
    /* did the used index pass the driver's event since the last look? */
    return (uint16_t)(q->next_used - value - 1) < (uint16_t)(q->next_used - before);
}

/* ---- contents ---- */

enum direction { FROM_CHAIN, TO_CHAIN };

static bool copy(struct virtq *q, const struct virtq_buffer *buffers, unsigned count,
                 uint64_t offset, void *out, const void *in, size_t bytes, enum direction way)
{
    size_t done = 0;

    for (unsigned i = 0; i < count && done < bytes; i++) {
        const struct virtq_buffer *b = &buffers[i];
        size_t n = b->bytes;
        bool ok;

        if (offset >= n) {
            offset -= n;
            continue;
        }
        n -= (size_t)offset;
        if (n > bytes - done)
            n = bytes - done;
        if (way == FROM_CHAIN)
            ok = mem_read(q->mem, gpa_add(b->gpa, offset), (uint8_t *)out + done, n);
        else
            ok = mem_write(q->mem, gpa_add(b->gpa, offset), (const uint8_t *)in + done, n);
        if (!ok)
            return false;
        offset = 0;
        done += n;
    }
    invariant(done == bytes);
    return true;
}

bool virtq_read(struct virtq *q, const struct virtq_chain *chain, uint64_t offset, void *buf,
                size_t bytes)
{
    return copy(q, chain->buffers, chain->readable, offset, buf, NULL, bytes, FROM_CHAIN);
}

bool virtq_write(struct virtq *q, const struct virtq_chain *chain, uint64_t offset, const void *buf,
                 size_t bytes)
{
    return copy(q, chain->buffers + chain->readable, chain->count - chain->readable, offset, NULL,
                buf, bytes, TO_CHAIN);
}
