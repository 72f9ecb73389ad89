/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/boot/load.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err cannot_open(const char *what, const char *path)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return err_new(ERR_INVAL, "%s '%s' does not exist: check the path", what, path);
    case EACCES:
    case EPERM:
        return err_new(ERR_INVAL,
                       "%s '%s' may not be read by you: change its permissions or copy it", what,
                       path);
    default:
        return err_errno(ERR_INVAL, "cannot open %s '%s': give another path", what, path);
    }
}

enum err boot_file_open(struct boot_file *file, const char *what, const char *path)
{
    struct stat st;
    enum err err;

    /* O_NONBLOCK: a FIFO nobody writes to must not hang us */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return cannot_open(what, path);
    *file = (struct boot_file){.what = what, .path = path, .fd = fd};

    if (fstat(fd, &st) < 0)
        err = err_errno(ERR_IO, "cannot inspect %s '%s'", what, path);
    else if (S_ISDIR(st.st_mode))
        err = err_new(ERR_INVAL, "%s '%s' is a directory: give a file", what, path);
    else if (!S_ISREG(st.st_mode))
        err = err_new(ERR_INVAL, "%s '%s' is not a regular file: copy it into one", what, path);
    else if (st.st_size == 0)
        err = err_new(ERR_INVAL, "%s '%s' is empty: fetch or build it again", what, path);
    else {
        file->size = (uint64_t)st.st_size;
        return ERR_OK;
    }
    boot_file_close(file);
    return err;
}

void boot_file_close(struct boot_file *file)
{
    close(file->fd);
    file->fd = -1;
}

enum err boot_file_read(const struct boot_file *file, uint64_t offset, void *buf, size_t bytes)
{
    uint8_t *to = buf;

    while (bytes > 0) {
        ssize_t n = pread(file->fd, to, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(ERR_IO, "cannot read %s '%s'", file->what, file->path);
        if (n == 0)
            return err_new(ERR_INVAL, "%s '%s' became shorter while it was read: try again",
                           file->what, file->path);
        to += n;
        offset += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return ERR_OK;
}
