/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/code.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/addr.h"

#define ALIGN(n) (((n) + 15) & ~(size_t)15)

static enum err map_code(struct code_memory *m, int fd)
{
    void *rw, *rx;

    if (ftruncate(fd, (off_t)m->size))
        return err_errno(ERR_NOMEM, "no room for translated code");
    rw = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (rw == MAP_FAILED)
        return err_errno(ERR_NOMEM, "cannot map translated code");
    m->rw = rw;
    rx = mmap(NULL, m->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (rx == MAP_FAILED)
        return err_errno(ERR_UNSUPPORTED, "this host does not let translated code run");
    m->rx = rx;
    return ERR_OK;
}

enum err code_memory_create(struct code_memory *m, size_t bytes)
{
    int fd = memfd_create("umbra-code", MFD_CLOEXEC);
    enum err err;
    void *data;

    if (fd < 0)
        return err_errno(ERR_UNSUPPORTED, "cannot make a file for translated code");
    *m = (struct code_memory){.size = bytes, .cold_used = bytes / 2, .data_size = 2 * bytes};
    err = map_code(m, fd);
    close(fd);
    if (err)
        return err;
    data = mmap(NULL, m->data_size, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_32BIT, -1, 0);
    if (data == MAP_FAILED)
        return err_errno(ERR_NOMEM, "no memory beside translated code");
    m->data = data;
    return ERR_OK;
}

void code_memory_destroy(struct code_memory *m)
{
    if (m->rw)
        munmap(m->rw, m->size);
    if (m->rx)
        munmap((void *)(uintptr_t)m->rx, m->size);
    if (m->data)
        munmap(m->data, m->data_size);
    *m = (struct code_memory){0};
}

void code_memory_reset(struct code_memory *m)
{
    size_t keep = (m->keep + PAGE_SIZE - 1) & PAGE_MASK;

    m->used = m->keep;
    m->cold_used = m->size / 2;
    m->data_used = 0;
    madvise(m->rw + keep, m->size - keep, MADV_REMOVE);
    madvise(m->data, m->data_size, MADV_DONTNEED);
}

void *code_memory_data(struct code_memory *m, size_t bytes)
{
    void *p = m->data + m->data_used;

    if (m->data_size - m->data_used < ALIGN(bytes))
        return NULL;
    m->data_used += ALIGN(bytes);
    return p;
}
