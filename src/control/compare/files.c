/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a run. What the guest's initramfs lacks comes in a second archive behind it (cpio
 * "newc", Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/addr.h"
#include "control/compare/plan.h"

#define MIB (UINT64_C(1) << 20)

static void pad(FILE *out)
{
    while (ftell(out) % 4)
        fputc(0, out);
}

static void add_header(FILE *out, const char *name, unsigned mode, size_t bytes)
{
    fprintf(out, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", 0u, mode, 0u, 0u,
            1u, 0u, bytes, 0u, 0u, 0u, 0u, strlen(name) + 1, 0u);
    fwrite(name, 1, strlen(name) + 1, out);
    pad(out);
}

static void add_bytes(FILE *out, const char *name, const void *data, size_t bytes)
{
    add_header(out, name, S_IFREG | 0755, bytes);
    fwrite(data, 1, bytes, out);
    pad(out);
}

static enum err read_whole(const char *path, char **data, size_t *bytes)
{
    FILE *in = fopen(path, "re");
    struct stat st;

    *data = NULL;
    if (!in || fstat(fileno(in), &st)) {
        enum err err = err_errno(ERR_INVAL, "cannot open %s", path);
        if (in)
            fclose(in);
        return err;
    }
    *bytes = (size_t)st.st_size;
    *data = malloc(*bytes + 1);
    bool ok = *data && fread(*data, 1, *bytes, in) == *bytes;
    fclose(in);
    if (ok)
        return ERR_OK;
    free(*data);
    *data = NULL;
    return err_new(ERR_INVAL, "cannot read %s", path);
}

/* The end of `out` gets what `path` holds. */
static enum err append_file(FILE *out, const char *path)
{
    char *data;
    size_t bytes;
    enum err err = read_whole(path, &data, &bytes);

    if (err)
        return err;
    fwrite(data, 1, bytes, out);
    free(data);
    return ERR_OK;
}

static enum err add_file(FILE *out, const char *name, const char *path)
{
    char *data;
    size_t bytes;
    enum err err = read_whole(path, &data, &bytes);

    if (err)
        return err;
    add_bytes(out, name, data, bytes);
    free(data);
    return ERR_OK;
}

static enum err add_script(FILE *out, const struct compare_plan *plan)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *script = open_memstream(&text, &bytes);

    if (!script)
        return err_errno(ERR_NOMEM, "no memory for the guest's script");
    compare_write_script(plan, script);
    fclose(script);
    add_bytes(out, "umbra-run", text, bytes);
    free(text);
    return ERR_OK;
}

static enum err make_initrd(const struct compare_plan *plan, const char *path)
{
    FILE *out = fopen(path, "we");
    enum err err;

    if (!out)
        return err_errno(ERR_IO, "cannot make %s", path);
    err = append_file(out, plan->initrd);
    pad(out);
    if (!err)
        err = add_script(out, plan);
    if (!err)
        err = add_file(out, "umbra-workload", plan->program);
    if (!err && plan->command)
        add_bytes(out, "umbra-command", plan->command, strlen(plan->command));
    add_header(out, "TRAILER!!!", 0, 0);
    if ((fflush(out) || ferror(out)) && !err)
        err = err_errno(ERR_IO, "cannot write %s", path);
    fclose(out);
    return err;
}

/* Sparse, and empty again in every run. */
static enum err make_disk(const char *path, uint64_t bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    enum err err = ERR_OK;

    if (fd < 0)
        return err_errno(ERR_IO, "cannot make %s", path);
    if (ftruncate(fd, (off_t)bytes))
        err = err_errno(ERR_IO, "cannot make %s as large as %llu bytes", path,
                        (unsigned long long)bytes);
    close(fd);
    return err;
}

enum err compare_make_files(const struct compare_plan *plan, const char *folder)
{
    char path[512];
    enum err err;

    snprintf(path, sizeof(path), "%s/initrd", folder);
    err = make_initrd(plan, path);
    snprintf(path, sizeof(path), "%s/swap", folder);
    if (!err)
        err = make_disk(path, plan->memory_bytes);
    snprintf(path, sizeof(path), "%s/disk", folder);
    if (!err && plan->workload->has_file)
        err = make_disk(path, plan->load_bytes / MIB * MIB * 9 / 8 + 64 * MIB);
    return err;
}
