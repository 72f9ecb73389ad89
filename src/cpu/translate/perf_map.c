/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/perf_map.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct perf_map {
    FILE *file;
};

/* Others may write to /tmp, too: no link is followed, and the file must be this user's. */
static FILE *open_own(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat st;
    FILE *file = NULL;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1 &&
        ftruncate(fd, 0) == 0)
        file = fdopen(fd, "w");
    if (!file)
        close(fd);
    return file;
}

enum err perf_map_open(struct perf_map **out)
{
    struct perf_map *map = calloc(1, sizeof *map);
    char path[64];

    if (!map)
        return err_new(ERR_NOMEM, "no memory for a perf map");
    snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
    map->file = open_own(path);
    if (!map->file) {
        free(map);
        return err_new(ERR_IO, "--perf-map: %s cannot be written, or is not a file of this user's",
                       path);
    }
    /* Whole lines, so that the map of a process that is killed can be read. */
    setvbuf(map->file, NULL, _IOLBF, 0);
    *out = map;
    return ERR_OK;
}

void perf_map_add(struct perf_map *map, const void *code, size_t bytes, uint64_t lin)
{
    if (map)
        fprintf(map->file, "%" PRIxPTR " %zx guest_%016" PRIx64 "\n", (uintptr_t)code, bytes, lin);
}

void perf_map_close(struct perf_map *map)
{
    if (!map)
        return;
    fclose(map->file);
    free(map);
}
