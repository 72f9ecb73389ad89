/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A raw disk image on the host: opened past the host's page cache where the file system allows it
 * (so that what a VM holds is what its limit says), locked against a second writer, read and
 * written through one aio ring.
 */
#ifndef UMBRA_MACHINE_DISK_H
#define UMBRA_MACHINE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/aio.h"
#include "base/err.h"

#define DISK_SECTOR 512

struct disk;

/*
 * path: a regular file or a block device. ERR_INVAL with one clear line: not there, a folder,
 * empty, not a multiple of 512 bytes, read-only without `read_only`, in use by another VM.
 */
enum err disk_open(struct disk **out, const char *path, bool read_only, struct aio *aio) MUST_USE;
void disk_close(struct disk *disk);

const char *disk_path(const struct disk *disk);
/* As it was opened. */
uint64_t disk_bytes(const struct disk *disk);
bool disk_is_read_only(const struct disk *disk);
struct aio *disk_aio(const struct disk *disk);

/*
 * Memory, offset and length of a transfer past the page cache must be multiples of this (512 or
 * 4096); 0: the file system has no such transfers.
 */
unsigned disk_alignment(const struct disk *disk);

/*
 * The descriptor for a transfer: past the page cache if all three are aligned, else through it; the
 * host keeps the two coherent. For other requests: NULL and zeros.
 */
int disk_file(const struct disk *disk, const void *buf, uint64_t offset, uint64_t bytes);

/*
 * False, with err_text(): the file has become shorter than it was. Writing to it now would make
 * zeros of what was cut off.
 */
bool disk_is_whole(const struct disk *disk) MUST_USE;

/*
 * Waits; requests in flight may complete meanwhile. For reading pages back (mem/image.h). ERR_IO
 * also when the image has become short.
 */
enum err disk_read_now(struct disk *disk, uint64_t offset, void *buf, size_t bytes) MUST_USE;

#endif
