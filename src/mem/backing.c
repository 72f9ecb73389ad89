/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host memory behind the slots. Nothing is reserved: the kernel gives a page at the first
 * write, so absent and zero frames cost nothing; zero frames are read from one page elsewhere, so
 * that reading does not even fill the host's page tables.
 *
 *   private     anonymous memory, nobody else's
 *   shareable   one file without a name (memfd), slot behind slot:
 *
 *               offset   0            slots[0].pages * 4096
 *                        | slots[0]   | slots[1] |
 *
 * Invariants
 *   B1  backing.fd >= 0 if and only if all slots lie in the file
 *   B2  a page that was given back reads as zeros and takes no memory, whoever maps it
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem/internal.h"

#define PRIVATE (-1)

void backing_init(struct guest_mem *mem)
{
    mem->backing = (struct backing){.fd = PRIVATE, .give_back = MADV_DONTNEED};
}

/* Where the host promises no more memory than it has, it does so for private memory only. */
static bool host_overcommits(void)
{
    char policy = '0';
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return true;
    ssize_t n = read(fd, &policy, 1);
    close(fd);
    return n != 1 || policy != '2';
}

/* Some hosts have such files but cannot give back a part of one. */
static bool can_give_back(int fd)
{
    void *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (page == MAP_FAILED)
        return false;
    bool can = madvise(page, PAGE_SIZE, MADV_REMOVE) == 0;
    munmap(page, PAGE_SIZE);
    return can;
}

void backing_share(struct guest_mem *mem, uint64_t bytes)
{
    int fd = host_overcommits() ? memfd_create("umbra-ram", MFD_CLOEXEC) : PRIVATE;

    if (fd < 0)
        return;
    if (ftruncate(fd, (off_t)bytes) != 0 || !can_give_back(fd)) {
        close(fd);
        return;
    }
    mem->backing = (struct backing){.fd = fd, .give_back = MADV_REMOVE};
}

void *backing_map(const struct guest_mem *mem, uint64_t offset, uint64_t bytes)
{
    int fd = mem->backing.fd;
    int kind = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, kind | MAP_NORESERVE, fd,
                   fd < 0 ? 0 : (off_t)offset);

    if (p == MAP_FAILED)
        return NULL;
    /* Page by page on purpose: a huge page would cost 2 MiB for a guest that touched 4 KiB. */
    (void)madvise(p, bytes, MADV_NOHUGEPAGE);
    return p;
}

void backing_close(struct guest_mem *mem)
{
    if (mem->backing.fd >= 0)
        close(mem->backing.fd);
    backing_init(mem);
}

void backing_give_back(const struct guest_mem *mem, void *at, uint64_t bytes)
{
    int rc = madvise(at, bytes, mem->backing.give_back);

    invariant(rc == 0);
}

int mem_share_of(const struct guest_mem *mem, hva_t hva, uint64_t *offset)
{
    for (size_t s = 0; s < mem->slot_count && mem->backing.fd >= 0; s++) {
        uint64_t off = hva.v - mem->slots[s].userspace_addr.v;

        if (off < mem->slots[s].pages << PAGE_SHIFT) {
            *offset = (mem->slot_first[s] << PAGE_SHIFT) + off;
            return mem->backing.fd;
        }
    }
    return -1;
}
