/* SPDX-License-Identifier: Apache-2.0 */
#include "control/pool/roll.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "control/paths.h"

#define FORMER_NS UINT64_C(600000000000)
#define FILE_MAX  (256u * 1024)

static size_t place(const json_t *names, const char *name)
{
    size_t i;
    json_t *value;

    json_array_foreach(names, i, value)
    {
        if (!strcmp(json_string_value(value), name))
            return i;
    }
    return SIZE_MAX;
}

static bool take_out(json_t *names, const char *name)
{
    size_t i = place(names, name);

    return i != SIZE_MAX && !json_array_remove(names, i);
}

/* ---- the file ---- */

/* Names that are none are left out: whatever the file holds, it is only names. */
static void take_names(struct roll *roll, const json_t *file)
{
    const json_t *members = json_object_get(file, "members");
    size_t i;
    json_t *value;

    json_array_foreach(members, i, value)
    {
        const char *name = json_string_value(value);

        if (!name || paths_check_name(name) || place(roll->names, name) != SIZE_MAX ||
            json_array_size(roll->names) >= ROLL_MAX)
            continue;
        json_array_append(roll->names, value);
        json_array_append(roll->former, value);
    }
}

static void read_file(struct roll *roll)
{
    int fd = open(roll->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE *stream = fd < 0 ? NULL : fdopen(fd, "r");
    struct stat st;

    if (!stream) {
        if (fd >= 0)
            close(fd);
        return;
    }
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= FILE_MAX) {
        json_t *file = json_loadf(stream, 0, NULL);

        take_names(roll, file);
        json_decref(file);
    }
    fclose(stream);
}

/* New, then renamed over the old one: killed at any moment, one of both is there, whole. */
static bool write_file(const struct roll *roll)
{
    char new_path[ROLL_PATH_MAX + 8];
    json_t *file = json_pack("{s:O}", "members", roll->names);
    char *text = file ? json_dumps(file, JSON_COMPACT) : NULL;
    size_t length = text ? strlen(text) : 0;
    bool done = false;
    int fd, error;

    snprintf(new_path, sizeof(new_path), "%s.new", roll->path);
    fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    error = errno;
    if (fd >= 0) {
        errno = ENOSPC; /* what a short write means */
        done = text && write(fd, text, length) == (ssize_t)length && !rename(new_path, roll->path);
        error = errno;
        if (!done)
            unlink(new_path);
        close(fd);
    }
    free(text);
    json_decref(file);
    errno = error;
    return done;
}

/* A roll of nobody is no file. */
static bool remove_file(const struct roll *roll)
{
    return !unlink(roll->path) || errno == ENOENT;
}

static void save(struct roll *roll)
{
    bool is_empty = !json_array_size(roll->names);

    if (!roll->path[0] || (is_empty ? remove_file(roll) : write_file(roll)) || roll->is_told)
        return;
    roll->is_told = true;
    fprintf(stderr,
            "umbra: cannot write %s: %s; VMs that start again after the host was restarted will "
            "count as new ones\n",
            roll->path, strerror(errno));
}

/* ---- names ---- */

void roll_open(struct roll *roll, const char *pool, uint64_t now_ns)
{
    char dir[ROLL_PATH_MAX - NAME_MAX_BYTES - 8];

    *roll = (struct roll){.names = json_array(), .former = json_array()};
    roll->former_until_ns = now_ns + FORMER_NS;
    if (paths_state_dir(dir, sizeof(dir)) || paths_make(dir)) {
        fprintf(stderr, "umbra: the pool's members will not be remembered: %s\n", err_text());
        return;
    }
    snprintf(roll->path, sizeof(roll->path), "%s/.%s.pool", dir, pool);
    read_file(roll);
}

void roll_close(struct roll *roll)
{
    json_decref(roll->names);
    json_decref(roll->former);
    *roll = (struct roll){0};
}

bool roll_enter(struct roll *roll, const char *name, uint64_t now_ns)
{
    bool was_former = take_out(roll->former, name) && now_ns < roll->former_until_ns;

    take_out(roll->names, name);
    if (json_array_size(roll->names) >= ROLL_MAX)
        json_array_remove(roll->names, 0);
    json_array_append_new(roll->names, json_string(name));
    save(roll);
    return was_former;
}

void roll_strike(struct roll *roll, const char *name)
{
    take_out(roll->former, name);
    if (take_out(roll->names, name))
        save(roll);
}
