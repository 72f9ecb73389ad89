/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file itself: made new, ours alone (flock: the kernel drops it when the process dies, however
 * it dies), sparse, past the page cache, removed at the end if it is still ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "mem/store/swap_private.h"

#define CREATE_TRIES 16
/* Buffered files: so much may stay in the page cache before it is written out and dropped. */
#define FORGET_WINDOW (UINT64_C(4) << 20)

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static const struct {
    const char *name, *option;
} words[] = {
    [SWAP_FOR_SWAPPING] = {"swap file", "--swap-dir"},
    [SWAP_FOR_SMART_PAGING] = {"smart-paging file", "--smart-paging-dir"},
};

enum err swap_remove_leftover(enum swap_use use, const char *path)
{
    const char *name = words[use].name, *option = words[use].option;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat here, st;
    enum err err = ERR_OK;

    if (fd < 0 && errno == ENOENT)
        return ERR_OK;
    if (fd < 0)
        return err_errno(ERR_IO,
                         "%s is in the way of the %s: remove it or choose another folder (%s)",
                         path, name, option);
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        err = err_new(ERR_INVAL,
                      "%s is in the way of the %s and is no regular file: remove it or choose "
                      "another folder (%s)",
                      path, name, option);
    else if (!lock_file(fd, LOCK_KILLED_MS))
        err = errno == EWOULDBLOCK
                  ? err_new(ERR_BUSY,
                            "%s is the %s of a VM that runs: choose another name or another folder "
                            "(%s)",
                            path, name, option)
                  : err_errno(ERR_IO, "cannot lock %s", path);
    else if (!lstat(path, &here) && is_same_file(&here, &st) && unlink(path))
        err = err_errno(ERR_IO, "cannot remove the old %s %s", name, path);
    close(fd);
    return err;
}

/* One try. ERR_OK with *fd -1: another process came between, try again. */
static enum err create_locked(const char *path, enum swap_use use, int *fd)
{
    struct stat here, st;

    *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0 && errno == EEXIST)
        return ERR_OK;
    if (*fd < 0)
        return err_errno(ERR_IO,
                         "cannot make the %s %s: choose a folder that can be written to (%s)",
                         words[use].name, path, words[use].option);
    if (!lock_file(*fd, 0) || lstat(path, &here) || fstat(*fd, &st) || !is_same_file(&here, &st)) {
        close(*fd);
        *fd = -1;
    }
    return ERR_OK;
}

/*
 * Whether the file can go past the page cache is only sure when a page has done so. An answer other
 * than EINVAL (a full disk) says nothing about that and comes again in time.
 */
static enum err try_direct(struct swap_file *file)
{
    void *page = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
    int flags = fcntl(file->fd, F_GETFL);
    ssize_t got;

    if (!page)
        return err_new(ERR_NOMEM, "no memory for the %s", words[file->use].name);
    memset(page, 0, PAGE_SIZE);
    file->is_direct = flags >= 0 && fcntl(file->fd, F_SETFL, flags | O_DIRECT) == 0;
    got = pwrite(file->fd, page, PAGE_SIZE, 0);
    if (file->is_direct && got < 0 && errno == EINVAL) {
        file->is_direct = false;
        (void)fcntl(file->fd, F_SETFL, flags);
        got = pwrite(file->fd, page, PAGE_SIZE, 0);
    }
    free(page);
    if (got < 0 && errno != ENOSPC && errno != EDQUOT)
        return err_errno(ERR_IO, "cannot write to the %s %s", words[file->use].name, file->path);
    return swap_file_clear(file) ? ERR_OK : ERR_IO;
}

static void warn_of_memory(const struct swap_file *file)
{
    struct statfs fs;

    if (!fstatfs(file->fd, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC))
        log_msg(LOG_WARN, "swap",
                "path=%s is on a file system in memory: what goes there frees none", file->path);
}

static enum err prepare(struct swap_file *file)
{
    struct stat st;

    if (fstat(file->fd, &st))
        return err_errno(ERR_IO, "cannot look at the %s %s", words[file->use].name, file->path);
    file->device = st.st_dev;
    file->inode = st.st_ino;
    if (fchmod(file->fd, 0600)) /* whatever the umask said */
        return err_errno(ERR_IO, "cannot protect the %s %s", words[file->use].name, file->path);
    if (ftruncate(file->fd, (off_t)file->bytes))
        return err_errno(
            ERR_IO, "cannot give the %s %s its size of %llu MiB: choose another folder (%s)%s",
            words[file->use].name, file->path, (unsigned long long)(file->bytes >> 20),
            words[file->use].option,
            file->use == SWAP_FOR_SWAPPING ? " or a larger reservation (--reservation)" : "");
    warn_of_memory(file);
    return try_direct(file);
}

enum err swap_file_create(struct swap_file *file, enum swap_use use, const char *path,
                          uint64_t bytes)
{
    enum err err = ERR_OK;

    memset(file, 0, sizeof(*file));
    file->fd = -1;
    file->use = use;
    file->bytes = bytes;
    for (int i = 0; !err && file->fd < 0 && i < CREATE_TRIES; i++) {
        err = swap_remove_leftover(use, path);
        if (!err)
            err = create_locked(path, use, &file->fd);
    }
    if (err)
        return err;
    if (file->fd < 0)
        return err_new(ERR_BUSY,
                       "another process makes and removes %s all the time: choose another folder "
                       "(%s)",
                       path, words[use].option);
    file->path = strdup(path);
    if (!file->path) {
        unlink(path);
        close(file->fd);
        return err_new(ERR_NOMEM, "no memory for the %s %s", words[use].name, path);
    }
    err = prepare(file);
    if (err)
        swap_file_remove(file);
    return err;
}

void swap_file_remove(struct swap_file *file)
{
    struct stat here;

    if (!file->path)
        return;
    if (!lstat(file->path, &here) && here.st_dev == file->device && here.st_ino == file->inode)
        unlink(file->path);
    close(file->fd);
    free(file->path);
    file->path = NULL;
}

bool swap_file_clear(struct swap_file *file)
{
    if (!ftruncate(file->fd, 0) && !ftruncate(file->fd, (off_t)file->bytes))
        return true;
    err_note(ERR_IO, "cannot empty the %s %s: %s", words[file->use].name, file->path,
             strerror(errno));
    return false;
}

void swap_file_forget(struct swap_file *file, uint64_t offset, uint64_t bytes)
{
    if (file->is_direct)
        return;
    (void)sync_file_range(file->fd, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
    file->unforgotten_bytes += bytes;
    if (file->unforgotten_bytes < FORGET_WINDOW)
        return;
    file->unforgotten_bytes = 0;
    (void)sync_file_range(file->fd, 0, 0,
                          SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                              SYNC_FILE_RANGE_WAIT_AFTER);
    (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
}
