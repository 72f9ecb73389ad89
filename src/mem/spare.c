/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host pages handed on: under pressure one frame's page goes while another frame needs one, and to
 * free and fault in a page costs the host twice what LZ4 takes to expand what belongs there. So the
 * last pages that left wait (discard.c), and are moved to the frames that come in, by userfaultfd's
 * UFFDIO_MOVE (Linux 6.8): the page table's entry goes from one address to the other.
 *
 * No fault of the guest's memory is handled here: the memory is registered only because the call
 * asks for that. Where the host does not allow it, and in shareable memory, whose pages belong to
 * offsets of a file, pages are freed and faulted in as ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/internal.h"

/* linux/userfaultfd.h of Linux 6.8 */
#define FEATURE_MOVE (UINT64_C(1) << 16)
struct move {
    uint64_t to, from, bytes, mode;
    int64_t moved;
};
#define IOCTL_MOVE _IOWR(UFFDIO, 0x05, struct move)

#define NOT_ASKED (-1)
#define REFUSED   (-2)

void spare_init(struct guest_mem *mem)
{
    mem->discard.fd = NOT_ASKED;
}

static bool prepare(const struct guest_mem *mem, int fd)
{
    struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_MOVE};

    if (ioctl(fd, UFFDIO_API, &api) != 0)
        return false;
    for (size_t s = 0; s < mem->slot_count; s++) {
        struct uffdio_register all = {
            .range = {mem->slots[s].userspace_addr.v, mem->slots[s].pages << PAGE_SHIFT},
            .mode = UFFDIO_REGISTER_MODE_WP,
        };
        if (ioctl(fd, UFFDIO_REGISTER, &all) != 0)
            return false;
    }
    return true;
}

bool spare_open(struct guest_mem *mem)
{
    struct discard *d = &mem->discard;

    if (d->fd != NOT_ASKED)
        return d->fd >= 0;
    if (mem->backing.fd < 0)
        d->fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    if (d->fd >= 0 && !prepare(mem, d->fd)) {
        close(d->fd);
        d->fd = REFUSED;
    }
    if (d->fd < 0)
        d->fd = REFUSED;
    return d->fd >= 0;
}

void spare_close(struct guest_mem *mem)
{
    if (mem->discard.fd >= 0)
        close(mem->discard.fd);
    mem->discard.fd = NOT_ASKED;
}

bool spare_take(struct guest_mem *mem, uint64_t index)
{
    uint64_t from;

    if (mem->discard.fd < 0 || !discard_last(mem, &from))
        return false;
    struct move move = {.to = (uint64_t)(uintptr_t)mem_index_ptr(mem, index),
                        .from = (uint64_t)(uintptr_t)mem_index_ptr(mem, from),
                        .bytes = PAGE_SIZE};
    /* The host may have the page in its own swap, or pinned for I/O: it is freed as ever then. */
    if (ioctl(mem->discard.fd, IOCTL_MOVE, &move) != 0)
        return false;
    discard_forget_last(mem);
    mem->stats.host_pages_moved++;
    return true;
}
