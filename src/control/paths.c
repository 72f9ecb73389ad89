/* SPDX-License-Identifier: Apache-2.0 */
#include "control/paths.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATHS_MAX 1024

enum err paths_check_name(const char *name)
{
    size_t length = strlen(name);

    if (!length || length > NAME_MAX_BYTES)
        return err_new(ERR_INVAL, "a VM's name has 1 to %d characters", NAME_MAX_BYTES);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i];

        if (c >= 0x80 || (!isalnum(c) && !(i && strchr(".-", c)) && c != '_'))
            return err_new(ERR_INVAL,
                           "'%s' cannot be a VM's name; use letters, digits, '.', '_' and '-'",
                           name);
    }
    return ERR_OK;
}

static enum err check_private_dir(const char *dir)
{
    struct stat st;

    if (lstat(dir, &st))
        return errno == ENOENT ? err_new(ERR_NOTFOUND, "%s does not exist", dir)
                               : err_errno(ERR_IO, "cannot look at %s", dir);
    if (!S_ISDIR(st.st_mode))
        return err_new(ERR_IO, "%s is not a folder", dir);
    if (st.st_uid != geteuid())
        return err_new(
            ERR_IO, "%s belongs to somebody else; set XDG_RUNTIME_DIR to a folder of yours", dir);
    if (st.st_mode & 077)
        return err_new(ERR_IO, "%s is open to others; run: chmod 700 %s", dir, dir);
    return ERR_OK;
}

enum err paths_socket_dir(char *buf, size_t buf_bytes, enum paths_create create)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int length;

    if (runtime && runtime[0] == '/')
        length = snprintf(buf, buf_bytes, "%s/umbra", runtime);
    else if (geteuid() == 0)
        length = snprintf(buf, buf_bytes, "/run/umbra");
    else
        length = snprintf(buf, buf_bytes, "/tmp/umbra-%u", (unsigned)geteuid());
    if (length < 0 || (size_t)length >= buf_bytes)
        return err_new(ERR_IO, "XDG_RUNTIME_DIR is too long for a socket's address");
    if (create == PATHS_CREATE && mkdir(buf, 0700) && errno != EEXIST)
        return err_errno(ERR_IO, "cannot make %s", buf);
    return check_private_dir(buf);
}

enum err paths_socket(char *buf, size_t buf_bytes, const char *dir, const char *name)
{
    int length = snprintf(buf, buf_bytes, "%s/%s.sock", dir, name);

    if (length < 0 || (size_t)length >= buf_bytes || length >= SOCKET_PATH_MAX)
        return err_new(ERR_INVAL, "'%s' is too long a name for a socket in %s", name, dir);
    return ERR_OK;
}

enum err paths_pool_socket(char *buf, size_t buf_bytes, const char *name, enum paths_create create)
{
    char dir[SOCKET_PATH_MAX];
    enum err err = paths_check_name(name);

    if (!err)
        err = paths_socket_dir(dir, sizeof(dir), create);
    if (!err && (size_t)snprintf(buf, buf_bytes, "%s/%s.pool", dir, name) >= buf_bytes)
        err = err_new(ERR_INVAL, "the pool's name '%s' is too long", name);
    return err;
}

enum err paths_each_socket(const char *ending, void (*found)(void *arg, const char *name),
                           void *arg)
{
    char dir[SOCKET_PATH_MAX];
    struct dirent **entries = NULL;
    enum err err = paths_socket_dir(dir, sizeof(dir), PATHS_MUST_EXIST);
    int count;

    if (err)
        return err == ERR_NOTFOUND ? ERR_OK : err;
    count = scandir(dir, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char *name = entries[i]->d_name;
        size_t length = strlen(name), tail = strlen(ending);

        if (length > tail && !strcmp(name + length - tail, ending)) {
            name[length - tail] = '\0';
            if (!paths_check_name(name))
                found(arg, name);
        }
        free(entries[i]);
    }
    free(entries);
    return count < 0 ? err_errno(ERR_IO, "cannot read %s", dir) : ERR_OK;
}

enum err paths_state_dir(char *buf, size_t buf_bytes)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int length;

    if (state && state[0] == '/')
        length = snprintf(buf, buf_bytes, "%s/umbra", state);
    else if (home && home[0] == '/' && !access(home, W_OK | X_OK))
        length = snprintf(buf, buf_bytes, "%s/.local/state/umbra", home);
    else if (geteuid() == 0)
        length = snprintf(buf, buf_bytes, "/var/lib/umbra");
    else
        return err_new(ERR_INVAL, "neither XDG_STATE_HOME nor HOME names a folder of yours");
    if (length < 0 || (size_t)length >= buf_bytes)
        return err_new(ERR_INVAL, "the name of the folder for VMs is too long");
    return ERR_OK;
}

enum err paths_make(const char *path)
{
    char copy[PATHS_MAX];

    if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
        return err_new(ERR_IO, "%.40s... is too long", path);
    for (char *slash = copy + 1;; slash++) {
        char kept = *slash;

        if (kept && kept != '/')
            continue;
        *slash = '\0';
        if (mkdir(copy, 0700) && errno != EEXIST)
            return err_errno(ERR_IO, "cannot make %s", copy);
        *slash = kept;
        if (!kept)
            return ERR_OK;
    }
}

enum err paths_guest_file(char *buf, size_t buf_bytes, const char *file)
{
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    int length;

    if (cache && cache[0] == '/')
        length = snprintf(buf, buf_bytes, "%s/umbra/guest/%s", cache, file);
    else if (home && home[0] == '/')
        length = snprintf(buf, buf_bytes, "%s/.cache/umbra/guest/%s", home, file);
    else
        return err_new(ERR_NOTFOUND, "neither XDG_CACHE_HOME nor HOME names a folder");
    if (length < 0 || (size_t)length >= buf_bytes)
        return err_new(ERR_NOTFOUND, "the name of the cache folder is too long");
    return ERR_OK;
}
