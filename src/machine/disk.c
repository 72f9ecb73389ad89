/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two descriptors of one image: one past the page cache for all that is aligned, which is nearly
 * everything a guest does, and one through it for the rest.
 */
#include "machine/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lock.h"

#define ALIGNMENT_MAX 4096
/* How long a VM that was killed may keep its image. */
#define LOCK_WAIT_MS 2000
#define LOWER_BYTES  ((off_t)1 << 61)

/* direct: -1 where the file system has no such thing */
struct disk {
    char *path;
    int fd, direct;
    unsigned alignment;
    uint64_t bytes;
    bool read_only, is_device;
    struct aio *aio;
};

/* ---- open ---- */

static enum err check_kind(const char *path, const struct stat *st)
{
    if (S_ISDIR(st->st_mode))
        return err_new(ERR_INVAL, "disk %s is a folder; a raw image is a file", path);
    if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
        return err_new(ERR_INVAL, "disk %s is neither a file nor a block device", path);
    return ERR_OK;
}

static int open_flags(const struct disk *disk)
{
    return (disk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
}

/* Keeps errno. */
static bool can_be_read(const char *path)
{
    int error = errno;
    bool can = !faccessat(AT_FDCWD, path, R_OK, AT_EACCESS);

    errno = error;
    return can;
}

static enum err open_file(struct disk *disk)
{
    struct stat st;

    /* looked at first: opening a pipe or a device can wait or do things */
    if (!stat(disk->path, &st)) {
        enum err err = check_kind(disk->path, &st);

        if (err)
            return err;
        disk->fd = open(disk->path, open_flags(disk));
    }
    if (disk->fd >= 0)
        return ERR_OK;
    if (errno == ENOENT || errno == ENOTDIR)
        return err_new(ERR_INVAL, "disk %s: there is no such file", disk->path);
    if (!disk->read_only && (errno == EACCES || errno == EROFS || errno == EPERM) &&
        can_be_read(disk->path))
        return err_new(ERR_INVAL, "disk %s is read-only; use --disk %s,ro", disk->path, disk->path);
    return err_errno(ERR_INVAL, "disk %s cannot be opened", disk->path);
}

static enum err find_size(struct disk *disk)
{
    struct stat st;

    if (fstat(disk->fd, &st))
        return err_errno(ERR_INVAL, "disk %s: its size is unknown", disk->path);
    disk->is_device = S_ISBLK(st.st_mode);
    disk->bytes = (uint64_t)st.st_size;
    if (disk->is_device && ioctl(disk->fd, BLKGETSIZE64, &disk->bytes))
        return err_errno(ERR_INVAL, "disk %s: its size is unknown", disk->path);
    if (!disk->bytes)
        return err_new(ERR_INVAL, "disk %s is empty; make it as large as the disk is to be",
                       disk->path);
    if (disk->bytes % DISK_SECTOR)
        return err_new(ERR_INVAL, "disk %s: its size, %llu bytes, is not a multiple of %d",
                       disk->path, (unsigned long long)disk->bytes, DISK_SECTOR);
    return ERR_OK;
}

/*
 * Locks of the open file descriptions: they go when the descriptor is closed and what it began has
 * ended, also when we are killed. So each descriptor holds one: `fd` the whole file, then `direct`
 * its lower part in its stead.
 */
static short lock_type(const struct disk *disk)
{
    return disk->read_only ? F_RDLCK : F_WRLCK;
}

static enum err lock(struct disk *disk)
{
    if (lock_records(disk->fd, lock_type(disk), 0, 0, LOCK_WAIT_MS))
        return ERR_OK;
    if (errno == EAGAIN || errno == EACCES)
        return err_new(ERR_INVAL, "disk %s is in use by another VM, or named twice%s", disk->path,
                       disk->read_only ? " (for writing)" : "");
    return err_errno(ERR_INVAL, "disk %s cannot be locked", disk->path);
}

/* The least alignment with which the file can be read past the page cache. */
static unsigned probe_alignment(int fd, uint64_t disk_size)
{
    static const unsigned tries[] = {DISK_SECTOR, ALIGNMENT_MAX};
    unsigned found = 0;
    uint8_t *buf = aligned_alloc(ALIGNMENT_MAX, 2 * ALIGNMENT_MAX);

    for (size_t i = 0; buf && !found && i < sizeof(tries) / sizeof(tries[0]); i++) {
        unsigned a = tries[i];

        /* misaligned for every larger alignment */
        if (disk_size >= 2 * (uint64_t)a && pread(fd, buf + a, a, a) == (ssize_t)a)
            found = a;
    }
    free(buf);
    return found;
}

/* Nobody comes between: the upper part stays locked. */
static bool lock_direct(const struct disk *disk, int fd)
{
    return lock_records(disk->fd, F_UNLCK, 0, LOWER_BYTES, 0) &&
           lock_records(fd, lock_type(disk), 0, LOWER_BYTES, 0);
}

static void open_direct(struct disk *disk)
{
    struct stat st, direct;
    int fd = open(disk->path, open_flags(disk) | O_DIRECT);

    if (fd < 0)
        return;
    /* the name may mean another file by now */
    if (!fstat(disk->fd, &st) && !fstat(fd, &direct) && st.st_dev == direct.st_dev &&
        st.st_ino == direct.st_ino)
        disk->alignment = probe_alignment(fd, disk->bytes);
    if (disk->alignment && !lock_direct(disk, fd))
        disk->alignment = 0;
    if (disk->alignment)
        disk->direct = fd;
    else
        close(fd);
}

enum err disk_open(struct disk **out, const char *path, bool read_only, struct aio *aio)
{
    struct disk *disk = calloc(1, sizeof(*disk));
    enum err err;

    if (disk)
        disk->path = strdup(path);
    if (!disk || !disk->path) {
        free(disk);
        return err_new(ERR_NOMEM, "no memory for disk %s", path);
    }
    disk->fd = disk->direct = -1;
    disk->read_only = read_only;
    disk->aio = aio;
    err = open_file(disk);
    if (!err)
        err = find_size(disk);
    if (!err)
        err = lock(disk);
    if (err) {
        disk_close(disk);
        return err;
    }
    open_direct(disk);
    *out = disk;
    return ERR_OK;
}

void disk_close(struct disk *disk)
{
    if (!disk)
        return;
    if (disk->direct >= 0)
        close(disk->direct);
    if (disk->fd >= 0)
        close(disk->fd);
    free(disk->path);
    free(disk);
}

/* ---- use ---- */

const char *disk_path(const struct disk *disk)
{
    return disk->path;
}

uint64_t disk_bytes(const struct disk *disk)
{
    return disk->bytes;
}

bool disk_is_read_only(const struct disk *disk)
{
    return disk->read_only;
}

unsigned disk_alignment(const struct disk *disk)
{
    return disk->alignment;
}

struct aio *disk_aio(const struct disk *disk)
{
    return disk->aio;
}

int disk_file(const struct disk *disk, const void *buf, uint64_t offset, uint64_t bytes)
{
    uint64_t all = (uintptr_t)buf | offset | bytes;

    return disk->direct >= 0 && !(all & (disk->alignment - 1)) ? disk->direct : disk->fd;
}

bool disk_is_whole(const struct disk *disk)
{
    struct stat st;

    if (disk->is_device)
        return true;
    if (fstat(disk->fd, &st)) {
        err_note(ERR_IO, "disk %s: its size is unknown", disk->path);
        return false;
    }
    if ((uint64_t)st.st_size >= disk->bytes)
        return true;
    err_note(ERR_IO, "disk %s has become shorter, from %llu bytes to %llu", disk->path,
             (unsigned long long)disk->bytes, (unsigned long long)st.st_size);
    return false;
}

static void read_done(struct aio_request *request, int result)
{
    *(int *)request->arg = result;
}

enum err disk_read_now(struct disk *disk, uint64_t offset, void *buf, size_t bytes)
{
    int result = -EIO;
    struct iovec iov = {.iov_base = buf, .iov_len = bytes};
    struct aio_request request = {
        .op = AIO_READ,
        .fd = disk_file(disk, buf, offset, bytes),
        .iov = &iov,
        .iov_count = 1,
        .offset = offset,
        .bytes = bytes,
        .done = read_done,
        .arg = &result,
    };

    if (offset > disk->bytes || bytes > disk->bytes - offset)
        return err_new(ERR_IO, "disk %s: a read past its end", disk->path);
    aio_submit(disk->aio, &request);
    aio_wait(disk->aio, &request);
    if (!result)
        return ERR_OK;
    errno = -result;
    return err_errno(ERR_IO, "disk %s: reading %zu bytes at %llu", disk->path, bytes,
                     (unsigned long long)offset);
}
