/* SPDX-License-Identifier: Apache-2.0 */
#include "control/vm_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lock.h"
#include "control/paths.h"

/* How often somebody else may remove the folder between our making and our locking it. */
#define OPEN_TRIES 8

/* ---- where ---- */

static enum err state_folder(char *buf, size_t buf_bytes)
{
    enum err err = paths_state_dir(buf, buf_bytes);

    return err ? err_new(err, "%s; name one for the VM's swap file with --swap-dir", err_text())
               : ERR_OK;
}

static enum err make_path(const char *path)
{
    enum err err = paths_make(path);

    return err ? err_new(err,
                         "%s; name another folder for the VM's swap file with --swap-dir, or "
                         "reserve all of its memory with --reservation",
                         err_text())
               : ERR_OK;
}

static enum err check_own(int fd, const char *dir)
{
    struct stat st;

    if (fstat(fd, &st))
        return err_errno(ERR_IO, "cannot look at %s", dir);
    if (st.st_uid != geteuid())
        return err_new(ERR_IO, "%s belongs to somebody else; name a folder with --swap-dir", dir);
    if (st.st_mode & 077)
        return err_new(ERR_IO, "%s is open to others; run: chmod 700 %s", dir, dir);
    return ERR_OK;
}

/* ---- locks ---- */

/* Opens and locks a folder. ERR_NOTFOUND: it was removed meanwhile. how: of flock(2) */
static enum err lock_dir(const char *dir, int how, int *fd)
{
    struct stat st;

    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return errno == ENOENT ? err_new(ERR_NOTFOUND, "%s is gone", dir)
                               : err_errno(ERR_IO, "cannot open %s", dir);
    if (!flock(*fd, how) && !fstat(*fd, &st) && st.st_nlink)
        return ERR_OK;
    close(*fd);
    *fd = -1;
    return err_new(ERR_NOTFOUND, "%s is gone, or in use", dir);
}

/* Whether a VM holds its file, also after wait_ms milliseconds. */
static bool is_held(const char *swap_file, unsigned wait_ms)
{
    int fd = open(swap_file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool held;

    if (fd < 0)
        return false;
    held = !lock_file(fd, wait_ms);
    close(fd);
    return held;
}

/* ---- one VM's folder ---- */

static enum err open_own(struct vm_folder *folder, const char *name)
{
    char base[VM_FOLDER_PATH_MAX];
    enum err err = state_folder(base, sizeof(base));
    int length;

    if (err)
        return err;
    length = snprintf(folder->dir, sizeof(folder->dir), "%s/%s", base, name);
    if (length < 0 || (size_t)length >= sizeof(folder->dir))
        return err_new(ERR_INVAL, "the name of the VM's folder is too long; use --swap-dir");
    for (unsigned tries = 0; tries < OPEN_TRIES; tries++) {
        err = make_path(folder->dir);
        if (!err)
            err = lock_dir(folder->dir, LOCK_EX, &folder->dir_fd);
        if (err != ERR_NOTFOUND)
            break;
    }
    if (!err)
        err = check_own(folder->dir_fd, folder->dir);
    folder->is_own = !err;
    return err;
}

static enum err check_given(const char *option, const char *dir)
{
    struct stat st;

    if (!dir[0] || strlen(dir) >= VM_FOLDER_PATH_MAX)
        return err_new(ERR_INVAL, "%s: '%.40s' cannot be a folder's name", option, dir);
    if (stat(dir, &st))
        return err_errno(ERR_INVAL, "%s: cannot use %s", option, dir);
    if (!S_ISDIR(st.st_mode))
        return err_new(ERR_INVAL, "%s: %s is not a folder", option, dir);
    if (access(dir, W_OK | X_OK))
        return err_errno(ERR_INVAL, "%s: cannot write to %s", option, dir);
    return ERR_OK;
}

static enum err open_given(struct vm_folder *folder, const char *swap_dir)
{
    enum err err = check_given("--swap-dir", swap_dir);

    if (!err)
        snprintf(folder->dir, sizeof(folder->dir), "%s", swap_dir);
    return err;
}

enum err vm_folder_open(struct vm_folder *out, const char *name, const char *swap_dir)
{
    enum err err;

    *out = VM_FOLDER_NONE;
    err = swap_dir ? open_given(out, swap_dir) : open_own(out, name);
    if (err)
        return err;
    snprintf(out->swap_file, sizeof(out->swap_file), "%s/%s.vswp", out->dir, name);
    if (!is_held(out->swap_file, LOCK_KILLED_MS))
        return ERR_OK;
    out->is_own = false;
    return err_new(ERR_BUSY, "a VM named '%s' is running already; choose another --name", name);
}

enum err vm_folder_smart(struct vm_folder *folder, const char *name, const char *smart_dir)
{
    enum err err = smart_dir ? check_given("--smart-paging-dir", smart_dir) : ERR_OK;

    if (!err)
        snprintf(folder->smart_file, sizeof(folder->smart_file), "%s/%s.smart",
                 smart_dir ? smart_dir : folder->dir, name);
    return err;
}

void vm_folder_settle(struct vm_folder *folder)
{
    if (folder->dir_fd >= 0)
        close(folder->dir_fd);
    folder->dir_fd = -1;
}

void vm_folder_close(struct vm_folder *folder)
{
    if (folder->is_own)
        (void)!rmdir(folder->dir);
    vm_folder_settle(folder);
    *folder = VM_FOLDER_NONE;
}

/* ---- what killed VMs leave ---- */

static void sweep_one(const char *base, const char *name)
{
    char dir[VM_FOLDER_PATH_MAX + NAME_MAX_BYTES + 2];
    char swap_file[sizeof(dir) + NAME_MAX_BYTES + 8], smart_file[sizeof(swap_file)];
    int dir_fd;

    if (paths_check_name(name))
        return;
    snprintf(dir, sizeof(dir), "%s/%.*s", base, NAME_MAX_BYTES, name);
    snprintf(swap_file, sizeof(swap_file), "%s/%.*s.vswp", dir, NAME_MAX_BYTES, name);
    snprintf(smart_file, sizeof(smart_file), "%s/%.*s.smart", dir, NAME_MAX_BYTES, name);
    if (lock_dir(dir, LOCK_EX | LOCK_NB, &dir_fd))
        return;
    if (!is_held(swap_file, 0) && !is_held(smart_file, 0)) {
        unlink(swap_file);
        unlink(smart_file);
        (void)!rmdir(dir);
    }
    close(dir_fd);
}

void vm_folder_sweep(void)
{
    char base[VM_FOLDER_PATH_MAX];
    DIR *dir = state_folder(base, sizeof(base)) ? NULL : opendir(base);

    if (!dir)
        return;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] != '.')
            sweep_one(base, entry->d_name);
    }
    closedir(dir);
}
