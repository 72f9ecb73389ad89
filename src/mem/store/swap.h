/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's swap file. Pages go in by a copy into staging memory, are written in clusters in guest
 * order and read back with their neighbours. What is on disk is encrypted with a key that exists
 * only in this process (AES-256-XTS, tweak = slot): after a kill nothing of the guest can be read
 * there. Each page has a checksum in memory: what comes back is what went in, or an error.
 *
 *   swap_put --> staged --(cluster written)--> stored --swap_get/free--> gone, holes punched in
 *   runs
 *                  \--swap_get/free (no I/O)--> gone
 *
 * A write that fails (ENOSPC, EIO) leaves its pages staged and is tried again; nothing is lost.
 * File past the host's page cache where the file system allows it.
 */
#ifndef UMBRA_MEM_STORE_SWAP_H
#define UMBRA_MEM_STORE_SWAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/aio.h"
#include "base/err.h"

#define SWAP_STAGING_PAGES 1024
#define SWAP_CLUSTER_PAGES 64
#define SWAP_NO_SLOT       UINT32_MAX

struct swap;

/* What the file is for: only the words of messages differ. */
enum swap_use { SWAP_FOR_SWAPPING, SWAP_FOR_SMART_PAGING };

/*
 * path, bytes: made new with mode 0600 and this size, sparse
 * pages:       of the guest: indexes are 0 .. pages-1
 */
enum err swap_open(struct swap **out, enum swap_use use, const char *path, uint64_t bytes,
                   uint64_t pages, const struct aio_faults *faults) MUST_USE;
/* Closes and removes the file. */
void swap_close(struct swap *sw);

/*
 * Removes what a killed VM left at this path; ERR_OK also when nothing is there. ERR_BUSY: a
 * running VM has it; ERR_INVAL: something else is there; ERR_IO.
 */
enum err swap_remove_leftover(enum swap_use use, const char *path) MUST_USE;

int swap_fd(const struct swap *sw); /* aio_fd */

enum swap_put {
    SWAP_OK,
    SWAP_FULL, /* every slot is taken */
    SWAP_BUSY, /* staging is full: swap_work, or wait with swap_wait_room */
};

/*
 * Copies the page of this index (its place in guest order); the slot lies beside its
 * neighbours'.
 */
enum swap_put swap_put(struct swap *sw, uint64_t index, const void *page, uint32_t *slot);

/*
 * Reads slots[0 .. count-1] into pages[i], waiting; the slots stay taken. ok[i]: pages[i] is what
 * was put. Slots beside each other in the file become one read. False: none of the I/O was possible
 * (err_text()); slots that are damaged only have ok false.
 */
bool swap_get(struct swap *sw, const uint32_t *slots, void *const *pages, bool *ok, size_t count);
bool swap_is_staged(const struct swap *sw, uint32_t slot);
void swap_free(struct swap *sw, uint32_t slot);
void swap_free_all(struct swap *sw);

/* Begins what is due and reaps what is done; flush: also clusters that are not full yet. */
enum swap_flush { SWAP_WHEN_DUE, SWAP_ALL_NOW };
void swap_work(struct swap *sw, enum swap_flush flush);

/*
 * Begins to give every hole back to the file system at once. By itself swap_work does so with
 * clusters in which nothing was put or freed for two seconds, and with all when writing fails.
 */
void swap_punch(struct swap *sw);

/* Waits until at least one staged page has been written, or a write has failed. */
void swap_wait_room(struct swap *sw);

/*
 * In words, while the newest write has failed and pages wait for being written, or the newest read
 * has failed ("no space left on device while writing PATH"); else NULL. Writes are tried again by
 * swap_work, at most every 100 ms.
 */
const char *swap_trouble(const struct swap *sw);

/* in_flight: writes and holes on their way; the other counts are pages, bytes, and events so far */
struct swap_info {
    uint64_t slots, used, staged, read_bytes, write_bytes, errors, checksum_errors,
        sequential_reads, in_flight;
};
void swap_get_info(const struct swap *sw, struct swap_info *out);
bool swap_check(const struct swap *sw); /* false and err_text() */

#endif
