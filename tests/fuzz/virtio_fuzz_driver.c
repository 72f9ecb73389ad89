/* SPDX-License-Identifier: Apache-2.0 */
/* Chance, and what a driver does by it. */
#include "virtio_fuzz.h"

/* ---- random ---- */

/* SplitMix64. */
uint64_t fuzz_random(struct fuzz *f)
{
    uint64_t x = f->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t fuzz_below(struct fuzz *f, uint64_t below)
{
    return fuzz_random(f) % below;
}

gpa_t fuzz_address(struct fuzz *f)
{
    const struct driver_queue *q = &f->d.queue[fuzz_below(f, f->d.dev->ops->queues)];

    switch (fuzz_below(f, 24)) {
    case 0:
        return gpa_make(FUZZ_MEMORY - fuzz_below(f, 64));
    case 1:
        return gpa_make(fuzz_random(f));
    case 2:
        return gpa_make(UINT64_MAX - fuzz_below(f, 4096));
    case 3:
        return gpa_make(MEM_HOLE_START + fuzz_below(f, UINT64_C(1) << 30));
    case 4:
        return gpa_add(q->desc, fuzz_below(f, 256));
    case 5:
        return gpa_add(q->avail, fuzz_below(f, 16));
    case 6:
        return gpa_add(q->used, fuzz_below(f, 64));
    case 7:
        return gpa_make(fuzz_below(f, FUZZ_MEMORY / 4096) * 4096);
    default:
        return gpa_make(fuzz_below(f, FUZZ_MEMORY));
    }
}

uint32_t fuzz_length(struct fuzz *f)
{
    switch (fuzz_below(f, 16)) {
    case 0:
        return 0;
    case 1:
        return (uint32_t)fuzz_random(f);
    case 2:
        return UINT32_MAX - (uint32_t)fuzz_below(f, 16);
    case 3:
    case 4:
        return 4096;
    case 5:
        return (uint32_t)fuzz_below(f, FUZZ_MEMORY);
    default:
        return (uint32_t)fuzz_below(f, 600);
    }
}

/* ---- things a driver does ---- */

static uint64_t random_features(struct fuzz *f)
{
    uint64_t offered = driver_offered(&f->d);

    switch (fuzz_below(f, 8)) {
    case 0:
        return fuzz_random(f);
    case 1:
        return (offered & fuzz_random(f)) | VIRTIO_F_VERSION_1;
    case 2:
        return VIRTIO_F_VERSION_1;
    default:
        return offered;
    }
}

static void place_queue(struct fuzz *f, unsigned index)
{
    uint16_t most = f->d.dev->ops->queue_size;
    uint16_t size = (uint16_t)(1u << fuzz_below(f, 9));

    if (size > most)
        size = most;
    driver_common_write(&f->d, COMMON_QUEUE_SELECT, 2, index);
    driver_common_write(&f->d, COMMON_QUEUE_VECTOR, 2, fuzz_below(f, VIRTIO_QUEUES_MAX + 2));
    if (fuzz_one_in(f, 16))
        driver_place_queue(&f->d, index, size, fuzz_address(f), fuzz_address(f), fuzz_address(f));
    else
        driver_queue(&f->d, index, size, (uint16_t)index);
}

void fuzz_bring_up(struct fuzz *f)
{
    f->d.next_free = 0x1000 + fuzz_below(f, 0x1000);
    driver_pci_write(&f->d, 0x04, 2, fuzz_one_in(f, 16) ? (uint32_t)fuzz_random(f) : 6);
    driver_find(&f->d);
    (void)driver_negotiate(&f->d, random_features(f));
    for (unsigned i = 0; i < f->d.dev->ops->queues; i++)
        if (!fuzz_one_in(f, 16))
            place_queue(f, i);
    if (fuzz_one_in(f, 2))
        driver_enable_msix(&f->d, f->d.dev->ops->queues + 1);
    driver_ok(&f->d);
}

static void put_if_ram(struct fuzz *f, gpa_t at, const void *bytes, size_t count)
{
    if (mem_is_ram(f->d.mem, at, count))
        driver_put(&f->d, at, bytes, count);
}

static void put16_if_ram(struct fuzz *f, gpa_t at, uint64_t value)
{
    uint16_t narrow = (uint16_t)value;

    put_if_ram(f, at, &narrow, sizeof(narrow));
}

static struct driver_desc random_desc(struct fuzz *f, uint16_t entries)
{
    struct driver_desc desc = {
        .addr = fuzz_address(f).v,
        .len = fuzz_length(f),
        .flags = (uint16_t)fuzz_below(f, 4),
        .next = (uint16_t)fuzz_below(f, entries + fuzz_one_in(f, 16)),
    };

    if (fuzz_one_in(f, 8)) {
        desc.flags |= DRIVER_DESC_INDIRECT;
        desc.len = 16 * (uint32_t)fuzz_below(f, 20);
    }
    if (fuzz_one_in(f, 16))
        desc.flags = (uint16_t)fuzz_random(f);
    return desc;
}

void fuzz_scribble(struct fuzz *f, unsigned queue)
{
    const struct driver_queue *q = &f->d.queue[queue];
    uint16_t size = q->size ? q->size : 1;
    struct driver_desc desc = random_desc(f, size);
    uint64_t any = fuzz_random(f);

    switch (fuzz_below(f, 8)) {
    case 0:
        put16_if_ram(f, gpa_add(q->avail, 2), any);
        break;
    case 1:
        put16_if_ram(f, gpa_add(q->avail, 4 + 2 * fuzz_below(f, size)), any);
        break;
    case 2:
        put16_if_ram(f, q->avail, any);
        break;
    case 3:
        put16_if_ram(f, gpa_add(q->avail, 4 + 2 * (uint64_t)size), any);
        break;
    case 4:
        put_if_ram(f, gpa_add(q->used, fuzz_below(f, 6 + 8 * (uint64_t)size)), &any, sizeof(any));
        break;
    case 5: /* an indirect table, or just memory */
        put_if_ram(f, fuzz_address(f), &desc, sizeof(desc));
        break;
    default:
        put_if_ram(f, gpa_add(q->desc, 16 * fuzz_below(f, size)), &desc, sizeof(desc));
        break;
    }
}

/* Readable buffers first, as a good driver would; where they are is another matter. */
void fuzz_add(struct fuzz *f, unsigned queue)
{
    const struct driver_queue *q = &f->d.queue[queue];
    struct virtq_buffer buffers[16];
    unsigned count = 1 + (unsigned)fuzz_below(f, 8);
    unsigned readable = (unsigned)fuzz_below(f, count + 1);

    if (!q->size || !mem_is_ram(f->d.mem, q->desc, UINT64_C(16) * q->size) ||
        !mem_is_ram(f->d.mem, q->avail, 6 + UINT64_C(2) * q->size))
        return;
    for (unsigned i = 0; i < count; i++)
        buffers[i] = (struct virtq_buffer){fuzz_address(f), fuzz_length(f)};
    if (fuzz_one_in(f, 3) && f->d.next_free < FUZZ_MEMORY - 0x1000)
        driver_add_indirect(&f->d, queue, buffers, readable, count - readable);
    else
        driver_add(&f->d, queue, buffers, readable, count - readable);
}
