/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of neighbouring pages, first fit: so that what is used stays small and hot. */
#include <sys/mman.h>

#include "base/addr.h"
#include "base/invariant.h"
#include "machine/virtio/blk_private.h"

/* Fewer than these at a time would make many small transfers of a large one. */
#define LEAST_PAGES 16

#define BOUNCE_BYTES (BLK_BOUNCE_PAGES * PAGE_SIZE)

enum err blk_bounce_init(struct blk_bounce *b)
{
    void *base = mmap(NULL, BOUNCE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (base == MAP_FAILED)
        return err_errno(ERR_NOMEM, "no memory for a disk's buffers");
    *b = (struct blk_bounce){.base = base};
    return ERR_OK;
}

void blk_bounce_fini(struct blk_bounce *b)
{
    munmap(b->base, BOUNCE_BYTES);
}

static bool is_taken(const struct blk_bounce *b, unsigned page)
{
    return b->taken[page / 64] >> page % 64 & 1;
}

static void flip(struct blk_bounce *b, unsigned page)
{
    b->taken[page / 64] ^= UINT64_C(1) << page % 64;
}

uint8_t *blk_bounce_take(struct blk_bounce *b, unsigned *pages)
{
    unsigned wanted = *pages, best = 0, best_at = 0, run = 0;

    invariant(wanted && wanted <= BLK_PIECE_PAGES);
    for (unsigned page = 0; page < BLK_BOUNCE_PAGES && best < wanted; page++) {
        run = is_taken(b, page) ? 0 : run + 1;
        if (run > best) {
            best = run;
            best_at = page + 1 - run;
        }
    }
    if (!best || (best < wanted && best < LEAST_PAGES))
        return NULL;
    for (unsigned i = 0; i < best; i++)
        flip(b, best_at + i);
    *pages = best;
    return b->base + best_at * PAGE_SIZE;
}

void blk_bounce_give(struct blk_bounce *b, const uint8_t *buf, uint64_t bytes)
{
    uint64_t first = (uint64_t)(buf - b->base) / PAGE_SIZE;
    uint64_t end = first + (bytes + PAGE_SIZE - 1) / PAGE_SIZE;

    for (uint64_t page = first; page < end; page++) {
        invariant(page < BLK_BOUNCE_PAGES && is_taken(b, (unsigned)page));
        flip(b, (unsigned)page);
    }
}
