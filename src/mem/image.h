/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages equal a block of a disk image (the Swap Mapper of [Amit14]): such a page is dropped
 * instead of written to the swap file, and read back from the image. Blocks are 4 KiB, numbered
 * from the image's beginning; disks are numbered by their order on the command line.
 *
 *   block device                             here
 *   read of a whole page done: copied,  ---> mem_image_is_equal
 *   write of a whole page begins        ---> mem_image_overwritten, mem_image_write_begins
 *   write done                          ---> mem_image_write_done (equal, unless the page was
 *                                            written meanwhile)
 *   discard, zeroes, partial write      ---> mem_image_overwritten, before the image changes
 *
 * A frame that equals a block is tracked (MEM_TRACK_IMAGE): the first write to it ends that.
 */
#ifndef UMBRA_MEM_IMAGE_H
#define UMBRA_MEM_IMAGE_H

#include "mem/mem.h"

#define MEM_DISKS_MAX 16

/*
 * Reads `count` blocks of 4 KiB from `block` on, waiting for them. Comes from the owner of the
 * disks. ERR_IO: short or failed (err_text()).
 */
struct mem_image_source {
    void *arg;
    enum err (*read)(void *arg, unsigned disk, uint64_t block, void *buf, size_t count);
};
void mem_set_image_source(struct guest_mem *mem, const struct mem_image_source *source);

/* The frame now holds exactly what the block holds. */
void mem_image_is_equal(struct guest_mem *mem, gfn_t gfn, unsigned disk, uint64_t block);

/*
 * Blocks are about to change: pages that were dropped because of them come in first, pages that
 * equal them do so no more. False: a page cannot be read back (err_text()); the image must not be
 * changed then.
 */
bool mem_image_overwritten(struct guest_mem *mem, unsigned disk, uint64_t first_block,
                           uint64_t blocks) MUST_USE;

/*
 * A write of the frame's whole content to the block was copied out and begins; `ticket` is handed
 * to write_done, which makes the frame equal to the block if `written` and nothing wrote to the
 * frame or overwrote the block since.
 */
uint64_t mem_image_write_begins(struct guest_mem *mem, gfn_t gfn, unsigned disk, uint64_t block);
void mem_image_write_done(struct guest_mem *mem, gfn_t gfn, uint64_t ticket, bool written);

#endif
