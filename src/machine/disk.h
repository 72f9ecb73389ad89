/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A raw disk image on the host: opened past the host's page cache where the file system allows it
 * (so that what a VM holds is what its limit says), locked against a second writer, read and written
 * through one aio ring with buffers of its own.
 */
#ifndef UMBRA_MACHINE_DISK_H
#define UMBRA_MACHINE_DISK_H

#include "base/aio.h"
#include "base/err.h"

#define DISK_SECTOR 512

struct disk;

/*
 * path: a regular file or a block device. ERR_INVAL with one clear line: not there, a folder, empty,
 * not a multiple of 512 bytes, read-only without `read_only`, in use by another VM.
 */
enum err disk_open(struct disk **out, const char *path, bool read_only, struct aio *aio) MUST_USE;
void disk_close(struct disk *disk);

const char *disk_path(const struct disk *disk);
uint64_t disk_bytes(const struct disk *disk);
bool disk_is_read_only(const struct disk *disk);
/* Memory and offsets of requests must be multiples of this (512 to 4096). */
unsigned disk_alignment(const struct disk *disk);
int disk_file(const struct disk *disk);
struct aio *disk_aio(const struct disk *disk);

/* Waits. For reading pages back (mem/image.h). ERR_IO also when the image has become short. */
enum err disk_read_now(struct disk *disk, uint64_t offset, void *buf, size_t bytes) MUST_USE;

#endif
